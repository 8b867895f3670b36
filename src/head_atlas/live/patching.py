"""Activation patching on one pair of prompts: where in a model the difference between them sits.

direction "denoise": the corrupted prompt runs, with one place at a time taken from the clean run; a value of 1 means
that the place alone brings the clean answer back. "noise": the clean prompt runs, with one place at a time taken from
the corrupted run; a value of 0 means that this alone ruins the answer. The two answer different questions (is it
enough? is it needed?) and need not mirror each other.

What is equal in both runs need not be patched: before the first token that differs, nothing can change.

Source: Vig et al. 2020; Meng et al. 2022; Heimersheim and Nanda 2024 on the two directions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from head_atlas.errors import HeadAtlasError
from head_atlas.interventions.packing import Budget
from head_atlas.interventions.patching import ATTENTION_INPUTS, OF_HEADS, PLACES, Place, Site, patched_rows
from head_atlas.live.prompt_pair import (
    DIRECTIONS,
    Direction,
    PairMetric,
    PairRuns,
    PromptPair,
    normalised,
    pair_values,
    prompt_pair,
    run_pair,
)
from head_atlas.models import HeadModel
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt

Positions = Literal["each", "together"]


@dataclass(frozen=True)
class Patching:
    """What every place does when it is taken from the other run.

    Attributes:
        values: normalised, axes (layer[, head][, position]); 1: as clean, 0: as corrupted. NaN where undefined, and
            in parts that are not there yet.
        metric_values: the metric of each patched run, in logits or nats, same axes.
        effects: `metric_values` minus the metric of the run that was patched.
        pair: the prompts, target, contrast and metric.
        what: the place.
        direction: "denoise" or "noise".
        clean: the metric on the clean run.
        corrupted: on the corrupted one.
        undefined: why the normalised values are NaN; "" where they are not.
        done: runs finished.
        total: all of them.
    """

    values: NamedArray
    metric_values: NamedArray
    effects: NamedArray
    pair: PromptPair
    what: Place
    direction: Direction
    clean: float
    corrupted: float
    undefined: str
    done: int
    total: int


def patch(
    model: HeadModel,
    clean: str | Prompt,
    corrupted: str | Sequence[int] | None = None,
    what: Place = "z",
    direction: Direction = "denoise",
    metric: PairMetric | None = None,
    *,
    target: str | int | None = None,
    contrast: str | int | None = None,
    positions: Positions | None = None,
    progress: Callable[[int, int], None] | None = None,
    budget: Budget | None = None,
) -> Patching:
    """Take one place at a time from the other run and measure what that changes.

    Args:
        model: to run.
        clean: a text, or a `Prompt` with targets of its own.
        corrupted: a text or token ids of equal length; None for that of a `Prompt`. `propose_corrupted` makes one.
        what: "z" (a head's output), "resid_pre", "attn_out", "mlp_out", or "q", "k", "v" of a head.
        direction: "denoise" patches clean into corrupted, "noise" corrupted into clean.
        metric: "logit_difference" or "logprob"; the former by default where there is a contrast.
        target: of a text; the clean run's top token by default.
        contrast: of a text; the corrupted run's top token by default.
        positions: patch "each" alone, or all "together"; by default each, and together for q, k and v.
        progress: is told runs done, and all runs.
        budget: how much runs at once; None for what suits the model's device.

    Raises:
        PromptError: prompts that are not aligned, or a target that is not one token.
        HeadAtlasError: no such place, direction or metric.
        UnsupportedModelError: q, k and v cannot be reached in this architecture.
        NotApplicableError: what MLPs write cannot be told apart in it.
    """
    last: Patching | None = None
    for last in iter_patch(
        model,
        clean,
        corrupted,
        what,
        direction,
        metric,
        target=target,
        contrast=contrast,
        positions=positions,
        budget=budget,
    ):
        if progress is not None:
            progress(last.done, last.total)
    assert last is not None  # the generator yields at least once
    return last


def iter_patch(
    model: HeadModel,
    clean: str | Prompt,
    corrupted: str | Sequence[int] | None = None,
    what: Place = "z",
    direction: Direction = "denoise",
    metric: PairMetric | None = None,
    *,
    target: str | int | None = None,
    contrast: str | int | None = None,
    positions: Positions | None = None,
    budget: Budget | None = None,
) -> Iterator[Patching]:
    """Patch, part by part: each result has all that is done. Stop iterating to cancel. Arguments as in `patch`."""
    if what not in PLACES:
        raise HeadAtlasError(f"what must be one of {', '.join(PLACES)}, found {str(what)[:40]!r}")
    if direction not in DIRECTIONS:
        raise HeadAtlasError(f"direction must be one of {', '.join(DIRECTIONS)}, found {str(direction)[:40]!r}")
    if positions not in (None, "each", "together"):
        raise HeadAtlasError(f"positions must be each or together, found {str(positions)[:40]!r}")
    pair = prompt_pair(model, clean, corrupted, metric, target, contrast)
    runs = run_pair(model, pair, mlps=what == "mlp_out", attention_inputs=what in ATTENTION_INPUTS)
    each = (positions or ("together" if what in ATTENTION_INPUTS else "each")) == "each"
    return _parts(model, pair, runs, what, direction, each, budget)


def _parts(
    model: HeadModel,
    pair: PromptPair,
    runs: PairRuns,
    what: Place,
    direction: Direction,
    each: bool,
    budget: Budget | None,
) -> Iterator[Patching]:
    one = pair.prompt
    base, source = (runs.corrupted, runs.clean) if direction == "denoise" else (runs.clean, runs.corrupted)
    unpatched = runs.corrupted_value if direction == "denoise" else runs.clean_value
    dims = ["layer"] + ["head"] * (what in OF_HEADS) + ["position"] * each
    heads: list[int | None] = list(range(model.n_heads)) if what in OF_HEADS else [None]
    # before the first token that differs, both runs are the same
    places: list[int | None] = list(range(pair.first_difference, len(one))) if each else [None]
    found = np.full((model.n_layers, len(heads), len(one) if each else 1), np.nan)
    if each:
        found[:, :, : pair.first_difference] = unpatched
    index = [(l, h, p) for l in range(model.n_layers) for h in range(len(heads)) for p in places]  # noqa: E741
    sites = [
        Site(what, (l,), None if heads[h] is None else (h,), None if p is None else (p,))
        for l, h, p in index  # noqa: E741
    ]

    def named(array: np.ndarray) -> NamedArray:
        kept = [n for n, name in zip(array.shape, ("layer", "head", "position"), strict=True) if name in dims]
        return NamedArray(array.reshape(kept).copy(), tuple(dims))

    for block in patched_rows(model, base, source, sites, runs.read, budget=budget):
        values = pair_values(pair, block.logits[:, 0])
        for site, value in zip(block.sites, values, strict=True):
            layer, head, position = index[site]
            found[layer, head, position or 0] = value
        yield Patching(
            values=named(normalised(found, runs.clean_value, runs.corrupted_value, runs.undefined)),
            metric_values=named(found),
            effects=named(found - unpatched),
            pair=pair,
            what=what,
            direction=direction,
            clean=runs.clean_value,
            corrupted=runs.corrupted_value,
            undefined=runs.undefined,
            done=block.done,
            total=block.total,
        )
