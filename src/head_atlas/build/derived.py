"""What is worked out from the measured arrays once all units are done, without the model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from head_atlas.build.measurement import COUNTS, TOTALS, Arrays, spread
from head_atlas.build.plan import Plan
from head_atlas.build.role_evidence import nulls, roles
from head_atlas.measures.positional import positional
from head_atlas.measures.summaries import summarise
from head_atlas.named_array import NamedArray
from head_atlas.prompts.families.sink_probe import STARTS
from head_atlas.store.schema import SCORE_DIMS

Derivation = Callable[[Plan, Arrays, dict[str, str]], Arrays]
"""From the plan and all arrays so far to further ones; reasons for what is missing go into the last argument."""


def _offsets(plan: Plan, arrays: Arrays, left_out: dict[str, str]) -> Arrays:  # noqa: ARG001
    """Mean attention by distance over prompts; NaN where no prompt is that long."""
    if f"{TOTALS}/offsets" not in arrays:
        return {}
    total, n = arrays[f"{TOTALS}/offsets"], arrays[f"{TOTALS}/offsets_n"]
    with np.errstate(invalid="ignore"):
        return {"offsets": NamedArray(total.values / n.values, total.dims, total.coords)}


def _positional(plan: Plan, arrays: Arrays, left_out: dict[str, str]) -> Arrays:  # noqa: ARG001
    """How often each head looks most at its one offset, which is that of most queries of all prompts."""
    if f"{COUNTS}/arg_max_offsets" not in arrays:
        return {}
    counts = arrays[f"{COUNTS}/arg_max_offsets"].values
    index = np.flatnonzero(~np.isnan(counts[0, 0, 0]))
    found = positional(counts[..., index], [len(plan.prompts[i]) for i in index])
    share = spread(found.share, index.tolist(), len(plan.prompts))
    return {"scores/positional": NamedArray(share, SCORE_DIMS)}


def _summary(plan: Plan, arrays: Arrays, left_out: dict[str, str]) -> Arrays:  # noqa: ARG001
    """Means with their intervals and tests."""
    found = summarise(plan.prompts, plan.families, plan.modes, arrays, seed=plan.config["seed"])
    return {f"summary/{name}": array for name, array in found.items()}


def _sink_by_start(plan: Plan, arrays: Arrays, left_out: dict[str, str]) -> Arrays:  # noqa: ARG001
    """How much heads attend to the first position, by what stands there: [start, layer, head]."""
    of = [[i for i, p in enumerate(plan.prompts) if p.family == "sink_probe" and p.template == t] for t in range(3)]
    if "scores/sink" not in arrays or not all(of):
        return {}
    values = arrays["scores/sink"].values
    means = np.stack([values[..., index].mean(-1) for index in of])
    return {"summary/sink_by_start": NamedArray(means, ("start", "layer", "head"), {"start": list(STARTS)})}


DERIVED: tuple[Derivation, ...] = (_offsets, _positional, _summary, _sink_by_start, nulls, roles)
"""In the order they run: each sees what those before it found."""
