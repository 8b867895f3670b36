"""What is written down about every measure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["score", "effect", "attribution"]

WITHOUT_EFFECTS = ("rand_flat", "sink_probe")
"""Families with no right answer: nothing is ablated on them."""


@dataclass(frozen=True)
class Measure:
    """One measure.

    Attributes:
        name: as in files and in the library.
        label: as on screen.
        kind: "score", "effect" or "attribution".
        axes: of the stored array.
        unit: of its values.
        low: smallest possible value, or None.
        high: largest possible value, or None.
        signed: whether values of both signs have a meaning.
        formula: in plain characters.
        source: where it was defined.
        sentence: what it says, in one plain sentence.
        pitfall: how it is misread.
        families: prompt families it is measured on, the first of which the default view shows; empty for
            every family that has a target (all except those in `WITHOUT_EFFECTS`).
        measured_on: in words, where that is not these families nor every family that has a target.
        has_excess: whether a causal-uniform baseline is stored beside it.
        variant_of: the measure that this one is another way to read, or "": menus can group or hide it.
    """

    name: str
    label: str
    kind: Kind
    axes: tuple[str, ...]
    unit: str
    low: float | None
    high: float | None
    signed: bool
    formula: str
    source: str
    sentence: str
    pitfall: str
    families: tuple[str, ...] = ()
    measured_on: str = ""
    has_excess: bool = False
    variant_of: str = ""

    @property
    def family(self) -> str:
        """The family that the default view of a score shows; "" for a measure of every family."""
        return self.families[0] if self.families else ""

    def summary_prefix(self, family: str) -> str:
        """The start of this score's names in the summary of an atlas, for one of its families."""
        return self.name if family == self.family else f"{self.name}_{family}"


def by_name(measures: Iterable[Measure]) -> dict[str, Measure]:
    """Entries by their names."""
    return {measure.name: measure for measure in measures}
