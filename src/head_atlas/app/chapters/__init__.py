"""The chapters of the Learn tab, in reading order. Each module holds one: its text and its experiment."""

from head_atlas.app.chapters import (
    ablation,
    attention,
    attribution,
    backup,
    categories,
    circuits,
    facts,
    induction,
    polysemanticity,
    superposition,
)
from head_atlas.app.chapters.chapter import Chapter

CHAPTERS: dict[str, Chapter] = {
    module.CHAPTER.name: module.CHAPTER
    for module in (
        ablation,
        attribution,
        attention,
        categories,
        induction,
        circuits,
        backup,
        polysemanticity,
        superposition,
        facts,
    )
}
"""By name."""

FIRST = next(iter(CHAPTERS))
