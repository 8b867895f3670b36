"""What is worked out from the measured arrays once all units are done, without the model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from head_atlas.build.measurement import COUNTS, TOTALS, Arrays, spread
from head_atlas.build.null_units import SYNTAX_FAMILY
from head_atlas.build.plan import Plan
from head_atlas.build.role_evidence import nulls, role_mode, roles
from head_atlas.measures.bootstrap import resample_counts
from head_atlas.measures.evidence import solved_families
from head_atlas.measures.polysemanticity import contrast_families
from head_atlas.measures.positional import positional
from head_atlas.measures.significance import split_half
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
    offset = NamedArray(found.offset, ("layer", "head"))
    return {"scores/positional": NamedArray(share, SCORE_DIMS), "summary/positional_offset": offset}


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


def _family_contrasts(plan: Plan, arrays: Arrays, left_out: dict[str, str]) -> Arrays:
    """Between which of the families that the model solves heads differ, in the mode that roles are judged by."""
    mode = role_mode(plan.modes)
    if not mode or "clean/logit_difference" not in arrays:
        return {}
    families, templates = [p.family for p in plan.prompts], [p.template for p in plan.prompts]
    clean, seed = arrays["clean/logit_difference"].values, plan.config["seed"]
    solved = solved_families(clean, families, templates, seed=seed)
    if len(solved) < 2:
        left_out["family_difference"] = f"the model solves {len(solved)} families with a contrast; two make a pair"
        return {}
    effects = arrays["effects/logit_difference"].values[plan.modes.index(mode)]
    index = {family: np.flatnonzero(np.array(families) == family) for family in solved}
    found = contrast_families(
        {family: effects[..., at] for family, at in index.items()},
        {family: clean[at] for family, at in index.items()},
        {f: resample_counts([templates[int(i)] for i in at], seed=seed, family=f) for f, at in index.items()},
    )
    return {
        "roles/family_difference": found.difference,
        "roles/family_difference_low": found.difference_low,
        "roles/family_difference_high": found.difference_high,
        "roles/family_difference_q": found.q,
        "roles/n_different": found.n_different,
    }


def _reliability(plan: Plan, arrays: Arrays, left_out: dict[str, str]) -> Arrays:  # noqa: ARG001
    """Whether other prompts rank the heads alike, of attributions and syntactic gains."""
    seed = plan.config["seed"]
    templates = np.array([prompt.template for prompt in plan.prompts])
    of = np.array([prompt.family for prompt in plan.prompts])

    def halves(values: np.ndarray, family: str) -> float:
        defined = np.flatnonzero((of == family) & ~np.isnan(values).all(axis=(0, 1)))
        if not len(defined):
            return float("nan")
        return split_half(values[..., defined], templates[defined].tolist(), seed=seed, family=family)

    found: Arrays = {}
    if "direct_logit/heads" in arrays:
        by_family = [halves(arrays["direct_logit/heads"].values, family) for family in plan.families]
        coords = {"family": list(plan.families)}
        found["summary/direct_logit_split_half"] = NamedArray(np.array(by_family), ("family",), coords)
    if "direct_logit/induction_copy" in arrays:
        copy = halves(arrays["direct_logit/induction_copy"].values, "rand_repeat")
        found["summary/induction_copy_split_half"] = NamedArray(np.array(copy), ())
    if "syntax/gains" in arrays:
        gains = arrays["syntax/gains"]
        labels = {dim: gains.coords[dim] for dim in ("relation", "direction")}
        by_group = [
            [halves(gains.values[:, :, i, j], SYNTAX_FAMILY) for j in range(len(labels["direction"]))]
            for i in range(len(labels["relation"]))
        ]
        found["syntax/gain_split_half"] = NamedArray(np.array(by_group), ("relation", "direction"), labels)
    return found


DERIVED: tuple[Derivation, ...] = (
    _offsets,
    _positional,
    _summary,
    _sink_by_start,
    nulls,
    roles,
    _family_contrasts,
    _reliability,
)
"""In the order they run: each sees what those before it found."""
