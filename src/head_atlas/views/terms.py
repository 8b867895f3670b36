"""Text with the glossary's words marked, for the page to explain where they stand."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, TypedDict

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


EXPLAINS = ("lead", "note", "pitfall")
"""Under these keys the sections of a card explain themselves."""


def with_terms(sections: Any, seen: set[str] | None = None) -> Any:
    """Sections of a card with the glossary's words marked where they explain themselves, each term once.

    Marked are texts under `EXPLAINS`, and the texts of entries. What is in them otherwise stays as it is.
    """
    known = set() if seen is None else seen
    if isinstance(sections, list):
        return [with_terms(one, known) for one in sections]
    if not isinstance(sections, dict):
        return sections
    return {
        key: marked(value, known)
        if isinstance(value, str) and (key in EXPLAINS or (key == "text" and "term" in sections))
        else with_terms(value, known)
        for key, value in sections.items()
    }
