"""What the Learn tab draws: chapters, the glossary, further reading."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from head_atlas.catalogue.glossary import GLOSSARY
from head_atlas.catalogue.reading import GROUPS_OF_RESEARCH, PAPERS
from head_atlas.views.terms import marked


def story_props(
    sections: Iterable[tuple[str, Sequence[str]]], *, kind: str = "", title: str = "", papers: Iterable[str] = ()
) -> dict:
    """Text with the glossary's words marked, each where it stands first.

    Args:
        sections: heading, which may be "", and paragraphs.
        kind: a line above the title.
        title: of the text.
        papers: keys of further reading that are listed below.
    """
    seen: set[str] = set()
    return {
        "kind": kind,
        "title": title,
        "sections": [
            {"heading": heading, "paragraphs": [marked(text, seen) for text in paragraphs]}
            for heading, paragraphs in sections
        ],
        "papers": [_paper(key) for key in papers],
    }


def glossary_props() -> dict:
    """Every term and its meaning, in which the other terms are marked."""
    return {
        "kind": "Glossary",
        "title": "The words of the field",
        "sections": [],
        "terms": [{"term": one.name, "meaning": marked(one.meaning, {one.name})} for one in GLOSSARY],
    }


def reading_props() -> dict:
    """Every paper, by first author and year, and the research groups."""
    order = sorted(PAPERS, key=lambda key: (PAPERS[key].first.lower(), PAPERS[key].year))
    return {
        "kind": "Further reading",
        "title": "Where this comes from",
        "sections": [
            {
                "heading": "",
                "paragraphs": [
                    ["The papers behind the chapters and the measures. Links leave this page and open in a new tab."]
                ],
            }
        ],
        "papers": [_paper(key) for key in order],
        "groups": [{"name": g.name, "url": g.url, "sentence": g.sentence} for g in GROUPS_OF_RESEARCH],
    }


def _paper(key: str) -> dict:
    paper = PAPERS[key]
    return {
        "authors": paper.authors,
        "year": str(paper.year),
        "title": paper.title,
        "venue": paper.venue,
        "url": paper.url,
        "why": paper.why,
    }
