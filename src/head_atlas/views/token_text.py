"""Tokens as a reader can tell them apart."""

from __future__ import annotations

from collections.abc import Sequence

# Only what would be invisible or would break the line is replaced; the rest stays as it is.
_VISIBLE = {"\n": "⏎", "\r": "␍", "\t": "⇥", "\u00a0": "⍽", "\u200b": "▯", "\u200e": "▯", "\u200f": "▯", "\u202e": "▯"}


def visible(token: str) -> str:
    """A token with its white space shown: " cat" becomes "·cat", a line break "⏎", nothing "∅"."""
    if not token:
        return "∅"
    shown = "".join(_VISIBLE.get(c, c) for c in token)
    stripped = shown.lstrip(" ")
    lead = len(shown) - len(stripped)
    inner = stripped.rstrip(" ")
    return "·" * lead + inner + "·" * (len(stripped) - len(inner))


def quoted(token: str) -> str:
    """A token within a sentence: “·Potter”."""
    return f"“{visible(token)}”"


def visible_all(tokens: Sequence[str]) -> list[str]:
    """Every token of a prompt."""
    return [visible(token) for token in tokens]
