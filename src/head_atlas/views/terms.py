"""Text with the glossary's words marked, for the page to explain where they stand."""

from __future__ import annotations

import re
from functools import cache
from typing import TypedDict

from head_atlas.catalogue.glossary import GLOSSARY, Term


class Marked(TypedDict):
    """A word of the glossary within a text."""

    text: str
    term: str
    meaning: str


Segment = str | Marked


@cache
def _forms() -> dict[str, Term]:
    return {form.lower(): term for term in GLOSSARY for form in (term.name, *term.forms)}


@cache
def _pattern() -> re.Pattern[str]:
    # The longest form first, so that "attention head" is not read as something shorter.
    forms = sorted(_forms(), key=len, reverse=True)
    return re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, forms))})(?![\w-])", re.IGNORECASE)


def marked(text: str, seen: set[str] | None = None) -> list[Segment]:
    """Cut a text where words of the glossary stand; joined together again, the segments are the text.

    Args:
        text: any text.
        seen: names of terms that are not marked again; those that are marked here are added.

    Returns:
        Plain texts, and marked words with their meaning; each term is marked where it stands first.
    """
    known = set() if seen is None else seen
    segments: list[Segment] = []
    start = 0
    for match in _pattern().finditer(text):
        term = _forms()[match[0].lower()]
        if term.name in known:
            continue
        known.add(term.name)
        if match.start() > start:
            segments.append(text[start : match.start()])
        segments.append({"text": match[0], "term": term.name, "meaning": term.meaning})
        start = match.end()
    return [*segments, text[start:]] if start < len(text) else segments
