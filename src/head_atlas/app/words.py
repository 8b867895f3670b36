"""Status lines, and errors as sentences."""

from __future__ import annotations


def busy(text: str, fraction: float | None = None) -> dict:
    """A status line while something runs."""
    return {"kind": "busy", "text": text, "fraction": fraction}


def failed(error: Exception) -> dict:
    """A status line for an expected error."""
    return {"kind": "error", "text": sentence(error)}


def sentence(error: Exception) -> str:
    """An error's words as a sentence."""
    text = str(error).strip()
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"
