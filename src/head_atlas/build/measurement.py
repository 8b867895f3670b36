"""What a build can measure: the shape of one entry in the registry `measurements.MEASUREMENTS`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from head_atlas.errors import BuildError
from head_atlas.interventions import MeanReference, ResampleReference, resample_reference
from head_atlas.measures.summaries import RIGHT
from head_atlas.models import HeadModel
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt

if TYPE_CHECKING:
    from head_atlas.build.plan import Plan, Unit

Arrays = dict[str, NamedArray]
"""By place in the atlas ("scores/induction"), or in `INTERNAL` groups, which only the merge reads."""

TOTALS = "totals"
"""Group of arrays that the merge adds up over units."""
DRAWS = "draws"
"""Group of draws of nulls, from which the merge takes p values."""
COUNTS = "counts"
"""Group of counts per prompt, from which the merge takes scores that need all prompts at once."""
REASONS = "reasons"
"""Group of texts: by name, why something is not in the atlas."""
NOTES = "notes"
"""Group of texts: by name, what to know of something that is."""
INTERNAL = (RIGHT, TOTALS, DRAWS, COUNTS, REASONS, NOTES)

MEAN_Z = "references/mean_z"
MEAN_Z_TOKENS = "references/n_tokens"

Progress = Callable[[float], None]
Work = Callable[[float, int], float]
"""From tokens and heads of the whole model to effort, in tokens run through the whole model."""


@dataclass(frozen=True)
class Corpus:
    """Every prompt of a build.

    Attributes:
        families: measured prompts by family.
        reference: natural text whose mean activations stand for removed heads in mean mode.
        resample: natural text that is not measured, whose activations stand for them in resample mode; each as long
            as the longest measured prompt.
        left_out: by family, why it could not be built.
        notes: by family that is there, what is missing in it.
    """

    families: Mapping[str, Sequence[Prompt]]
    reference: Sequence[Prompt] = ()
    resample: Sequence[Prompt] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Workplace:
    """What a unit works with.

    Attributes:
        plan: of the build.
        model: the model of the plan.
        stored: the finished units of a kind that share prompts with some, and what they found, for units that
            need it; those of all prompts for None.
        role_mode: whose effects roles are judged by; "" without any.
    """

    plan: Plan
    model: HeadModel
    stored: Callable[[str, Collection[int] | None], Iterator[tuple[Unit, Arrays]]]
    role_mode: str = ""

    @cached_property
    def mean_reference(self) -> MeanReference:
        """The means that the build stored: live ablation must put in place exactly what the builder did."""
        ((_, found),) = self.stored("reference", None)
        source = self.plan.config["reference_source"]
        return MeanReference(found[MEAN_Z].values, source, int(found[MEAN_Z_TOKENS].values))

    @cached_property
    def resample_reference(self) -> ResampleReference:
        """The heads' outputs on the prompts that the atlas names.

        Raises:
            BuildError: the plan has none.
        """
        prompts = self.plan.resample_prompts
        if not prompts:
            raise BuildError("resample ablation needs reference prompts")
        source, seed = self.plan.config["resample_source"], self.plan.config["seed"]
        n_pos = min(len(prompt) for prompt in prompts)
        return resample_reference(self.model, prompts, source, n_draws=len(prompts), n_pos=n_pos, seed=seed)

    def prompts(self, unit: Unit) -> list[Prompt]:
        """The prompts of a unit."""
        return [self.plan.prompts[index] for index in unit.index]

    def gathered(self, place: str, kind: str, index: Sequence[int]) -> np.ndarray | None:
        """An array that the units of a kind found, its last axis some prompts; None if no unit did."""
        whole: np.ndarray | None = None
        column = {prompt: at for at, prompt in enumerate(index)}
        for unit, arrays in self.stored(kind, index):
            if place in arrays:
                values = arrays[place].values
                if whole is None:
                    whole = np.full((*values.shape[:-1], len(index)), np.nan, dtype=np.float32)
                shared = [(column[prompt], at) for at, prompt in enumerate(unit.index) if prompt in column]
                into, of = zip(*shared, strict=True)
                whole[..., list(into)] = values[..., list(of)]
        return whole


Run = Callable[["Unit", Workplace, Progress], Arrays]
"""Does a unit: prompts in, arrays out."""


@dataclass(frozen=True)
class Measurement:
    """One kind of unit.

    Attributes:
        kind: its name, part of the names of shards.
        run: does a unit. Arrays with an axis `prompt` cover the unit's prompts, in order; NaN where not measured.
            What it finds must depend on these prompts, the configuration and what it needs alone: it may be used
            again in an atlas with other prompts besides.
        work: its cost.
        prompts: which prompts it is done on.
        whole: whether it is done once, on all these prompts together; else in blocks of one family.
        mode: of ablation, for the units that measure effects; "" else.
        needs: given the modes of the build, the kinds whose units on the same prompts are done before.
        numbered: arrays whose values number the unit's prompts, from 0; -1 for none.
        quick: whether it belongs to a quick build.
        lacks: given the corpus, why it cannot be done; "" if it can.
    """

    kind: str
    run: Run
    work: Work
    prompts: Callable[[Prompt], bool]
    whole: bool = False
    mode: str = ""
    needs: Callable[[Sequence[str]], tuple[str, ...]] = lambda _: ()
    numbered: tuple[str, ...] = ()
    quick: bool = True
    lacks: Callable[[Corpus], str] = lambda _: ""


def reason(name: str, why: str) -> Arrays:
    """What a unit gives in place of numbers that do not apply to the model."""
    return {f"{REASONS}/{name}": NamedArray(np.array([why]), ("text",))}


def note(name: str, text: str) -> Arrays:
    """What a unit gives beside its numbers."""
    return {f"{NOTES}/{name}": NamedArray(np.array([text]), ("text",))}


def select(unit: Unit, at: Workplace, wanted: Callable[[Prompt], bool]) -> tuple[list[Prompt], list[int]]:
    """The prompts of a unit that a measurement is done on, and their places in the unit."""
    members = at.prompts(unit)
    chosen = [index for index, prompt in enumerate(members) if wanted(prompt)]
    return [members[index] for index in chosen], chosen


def spread(values: np.ndarray, chosen: list[int], n_prompts: int) -> np.ndarray:
    """Put values of some prompts (last axis) in their places among all of a unit; NaN elsewhere."""
    if len(chosen) == n_prompts:
        return values.astype(np.float32)
    whole = np.full((*values.shape[:-1], n_prompts), np.nan, dtype=np.float32)
    whole[..., chosen] = values
    return whole
