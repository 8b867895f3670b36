"""What the Atlas can show of a file: measures, modes and families, by name and by label."""

from __future__ import annotations

from typing import TYPE_CHECKING

from head_atlas.catalogue import EFFECTS, SCORES, WITHOUT_EFFECTS

if TYPE_CHECKING:
    from head_atlas.catalogue import Measure
    from head_atlas.store import Atlas

EVERY_FAMILY = "all"


def label_of(name: str) -> str:
    """A family's name in words: "rand_repeat" reads "rand repeat"."""
    return "all families (mean of their means)" if name == EVERY_FAMILY else name.replace("_", " ")


def titled(label: str) -> str:
    """A catalogue label at the start of a line."""
    return label if label[:2].isupper() else label[:1].upper() + label[1:]


def measure_named(name: str) -> Measure | None:
    """The catalogue's entry of a score or an effect."""
    return SCORES.get(name) or EFFECTS.get(name)


def score_families(atlas: Atlas, name: str) -> list[str]:
    """Families that the file holds this score of with all that is shown of it, the default one first."""
    measure = SCORES[name]
    shown = ("excess", "excess_ci_low", "excess_ci_high") if measure.has_excess else ("ci_low", "ci_high")
    parts = ("mean", "n", *shown)
    return [f for f in measure.families if all(f"{measure.summary_prefix(f)}_{p}" in atlas.summary for p in parts)]


def effects_of(atlas: Atlas) -> list[str]:
    """Effects that the file holds with all that is shown of them."""
    parts = ("mean", "ci_low", "ci_high", "n")
    return [name for name in EFFECTS if atlas.modes and all(f"{name}_{part}" in atlas.summary for part in parts)]


def measures_of(atlas: Atlas) -> list[tuple[str, str]]:
    """(label, name) of every measure that this file holds a summary of; scores first."""
    scores = [(f"Score · {titled(m.label)}", n) for n, m in SCORES.items() if score_families(atlas, n)]
    effects = [(f"Effect · {titled(EFFECTS[n].label)}", n) for n in effects_of(atlas)]
    return scores + effects


def families_of(atlas: Atlas, measure: str) -> list[tuple[str, str]]:
    """(label, name) of the families a measure can be read on, the default one first."""
    if measure in SCORES:
        return [(label_of(f), f) for f in score_families(atlas, measure)]
    if measure not in effects_of(atlas):
        return []
    every = [(label_of(EVERY_FAMILY), EVERY_FAMILY)] if f"{measure}_macro" in atlas.summary else []
    return every + [(label_of(f), f) for f in atlas.families if f not in WITHOUT_EFFECTS]
