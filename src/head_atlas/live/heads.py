"""Every head on one prompt: exact effect, first-order estimate, and where the effect stands in an atlas.

Standing of an effect among the stored effects of the same head, mode and metric on n prompts:

    percentile = 100 (number of stored costs below this cost + half the number equal to it) / n,    cost = -effect

so 97 reads: it costs more here than on 97 % of the stored prompts (KL, which has no sign: cost = effect). A head is
*unlike its atlas* where its effect lies outside the 1st to 99th percentile of its stored effects, and there are
enough of these for such percentiles to be told at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from head_atlas.errors import HeadAtlasError
from head_atlas.interventions import Budget, Mode, Reference
from head_atlas.measures.effects import Sweep, metric_names, sweep
from head_atlas.measures.estimates import Agreement, agreement, estimate
from head_atlas.models import HeadModel
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt

FEWEST_PROMPTS = 100
"""With fewer stored prompts, an effect beyond all of them says little: a 1st percentile needs a hundred."""
UNLIKE_BELOW, UNLIKE_ABOVE = 1.0, 99.0
HIGHER_IS_COST = ("kl", "flip", "log2_rank")
"""Metrics that grow where the head helped; the others fall."""


@dataclass(frozen=True)
class Standing:
    """Where effects stand among stored ones of the same heads.

    Attributes:
        percentile: of the cost, [layer, head], in [0, 100]; NaN without a stored prompt, or without an effect.
        low: 1st percentile of the stored effects, [layer, head].
        high: 99th percentile likewise.
        unlike: whether the effect lies outside low to high; False with fewer than `fewest` stored prompts.
        n: stored prompts with an effect, [layer, head].
        fewest: stored prompts that the flag needs.
    """

    percentile: NamedArray
    low: NamedArray
    high: NamedArray
    unlike: NamedArray
    n: NamedArray
    fewest: int


@dataclass(frozen=True)
class AllHeads:
    """Every head removed alone from one prompt.

    Attributes:
        sweep: exact effects, all metrics.
        metric: the one that is estimated and compared: logit_difference with a contrast, else logprob.
        exact: effects of `metric`, axes (layer, head), ablated - clean.
        estimated: to first order, likewise.
        agreement: of the two over heads.
        standing: by metric, where stored effects were given.
    """

    sweep: Sweep
    metric: str
    exact: NamedArray
    estimated: NamedArray
    agreement: Agreement
    standing: Mapping[str, Standing]


def all_heads(
    model: HeadModel,
    prompt: str | Prompt,
    mode: Mode = "zero",
    *,
    reference: Reference | None = None,
    target: str | int | None = None,
    contrast: str | int | None = None,
    stored: Mapping[str, NamedArray | np.ndarray] | None = None,
    fewest: int = FEWEST_PROMPTS,
    k: int = 10,
    progress: Callable[[int, int], None] | None = None,
    budget: Budget | None = None,
) -> AllHeads:
    """Remove every head alone, exactly and to first order, and say where each effect stands in an atlas.

    Args:
        model: whose heads.
        prompt: as in `sweep`, one.
        mode: likewise.
        reference: likewise.
        target: likewise.
        contrast: likewise.
        stored: effects by metric, [layer, head, prompt], of the same mode and ablated - clean, NaN where a prompt has
            none: of an atlas, `{name: atlas.effects[name].sel(mode=mode) for name in atlas.effects}`.
        fewest: stored prompts without which no head is called unlike its atlas.
        k: heads of largest magnitude whose overlap is part of the agreement.
        progress: is told pairs of prompt and head done, and all pairs; what it raises ends the run.
        budget: how much runs at once.

    Raises:
        HeadAtlasError: as `sweep`; or stored effects of other heads, or of an unknown metric.
    """
    shape = (model.n_layers, model.n_heads)
    given = {name: np.asarray(values) for name, values in (stored or {}).items()}
    metric_names(given)
    for name, values in given.items():
        if values.ndim != 3 or values.shape[:2] != shape:
            raise HeadAtlasError(
                f"stored {name}: expected [layer, head, prompt] of {shape[0]} x {shape[1]} heads, found {values.shape}"
            )
    swept = sweep(
        model, prompt, mode, reference=reference, target=target, contrast=contrast, progress=progress, budget=budget
    )
    ready = swept.prompts[0]
    metric = "logit_difference" if ready.contrasts else "logprob"
    dims = ("layer", "head")
    exact = {name: np.asarray(values.values[0]) for name, values in swept.effects.items()}
    estimated = estimate(model, [ready], metric, mode, reference=reference, budget=budget).values[0]
    return AllHeads(
        sweep=swept,
        metric=metric,
        exact=NamedArray(exact[metric], dims),
        estimated=NamedArray(estimated, dims),
        agreement=agreement(estimated, exact[metric], k),
        standing={name: standing(exact[name], values, metric=name, fewest=fewest) for name, values in given.items()},
    )


def standing(effects: np.ndarray, stored: np.ndarray, *, metric: str, fewest: int = FEWEST_PROMPTS) -> Standing:
    """Place effects among stored effects of the same heads.

    Args:
        effects: [layer, head].
        stored: [layer, head, prompt]; NaN is no prompt.
        metric: that both measure.
        fewest: stored prompts that the flag needs.
    """
    effects, stored = np.asarray(effects, float), np.asarray(stored, float)
    n = np.isfinite(stored).sum(-1)
    sign = 1.0 if metric in HIGHER_IS_COST else -1.0
    costs, cost = sign * stored, sign * effects[..., None]
    below, equal = (costs < cost).sum(-1), (costs == cost).sum(-1)
    known = (n > 0) & np.isfinite(effects)
    percentile = np.where(known, 100 * (below + equal / 2) / np.maximum(n, 1), np.nan)
    low, high = np.full(effects.shape, np.nan), np.full(effects.shape, np.nan)
    some = n > 0
    if some.any():
        low[some], high[some] = np.nanpercentile(stored[some], (UNLIKE_BELOW, UNLIKE_ABOVE), axis=-1)
    unlike = known & (n >= fewest) & ((effects < low) | (effects > high))

    def named(values: np.ndarray) -> NamedArray:
        return NamedArray(values, ("layer", "head"))

    return Standing(named(percentile), named(low), named(high), named(unlike), named(n), fewest)
