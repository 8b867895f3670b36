"""docs/references.md: every paper in full, what names it, and how it was checked."""

from __future__ import annotations

from collections.abc import Iterable

from head_atlas.catalogue.papers import PAPERS, Paper
from head_atlas.catalogue.published import PUBLISHED, PublishedHead
from head_atlas.catalogue.reading import cited
from head_atlas.catalogue.reference import GROUPS
from head_atlas.catalogue.roles import ROLES


def references_markdown() -> str:
    """The page."""
    uses = _uses()
    parts = [
        "# References",
        "Generated from `head_atlas.catalogue`; do not edit by hand (`python -m head_atlas.catalogue references > "
        "docs/references.md` writes it).",
        "The one bibliography of Head Atlas: of its measures, its chapters, its code and the published heads it shows. "
        "*Checked* says where the fields of an entry were seen when it was written down; *not confirmed* names those "
        "that were not.",
    ]
    parts += [_entry(PAPERS[key], uses.get(key, [])) for key in sorted(PAPERS, key=_order)]
    parts += [
        "## Published heads",
        "Where each claim about a head of a known model was seen. What it should show in an atlas is in "
        "[measures.md](measures.md#published-heads).",
        *_claims(),
    ]
    return "\n\n".join(parts) + "\n"


def _order(key: str) -> tuple[str, int, str]:
    return PAPERS[key].first.lower(), PAPERS[key].year, key


def _uses() -> dict[str, list[str]]:
    """By paper, the names of what is credited to it."""
    uses: dict[str, list[str]] = {}
    named = [(f"`{m.name}`", m.source) for _, group in GROUPS for m in group.values()]
    named += [(f"role `{role.name}`", role.sources) for role in ROLES.values()]
    for name, source in named:
        for key in cited(source):
            uses.setdefault(key, []).append(name)
    for key in dict.fromkeys(one.paper for one in PUBLISHED):
        uses.setdefault(key, []).append("published heads")
    return uses


def _entry(paper: Paper, uses: Iterable[str]) -> str:
    lines = [
        f"- {paper.authors} ({paper.year}). *{paper.title}*. {paper.venue}. <{paper.url}>",
        f"  Read for: {paper.why}.",
    ]
    if used := ", ".join(uses):
        lines.append(f"  Credited with: {used}.")
    lines.append(f"  Checked: {paper.seen}.{f' Not confirmed: {paper.unsure}.' if paper.unsure else ''}")
    return "  \n".join(lines)


def _claims() -> list[str]:
    grouped: dict[tuple[str, str, str, str], list[PublishedHead]] = {}
    for one in PUBLISHED:
        grouped.setdefault((one.model, one.claim, one.paper, one.seen), []).append(one)
    table = ["| model | heads | published as | source | entry | seen in |", "| --- | --- | --- | --- | --- | --- |"]
    for (model, claim, paper, seen), entries in grouped.items():
        heads = " ".join(str(one.head) for one in entries)
        table.append(f"| {model} | {heads} | {claim} | {PAPERS[paper].short} | {entries[0].confidence} | {seen} |")
    return ["\n".join(table)]
