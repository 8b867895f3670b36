"""From the arrays of a build to the roles of its heads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from head_atlas.build.measurement import DRAWS, Arrays
from head_atlas.build.plan import Plan
from head_atlas.catalogue import SCORES
from head_atlas.catalogue.named_parts import NAMED_PARTS
from head_atlas.measures.evidence import Measured, solved_families
from head_atlas.measures.roles import assign_roles
from head_atlas.measures.significance import tail_p
from head_atlas.named_array import NamedArray

ROLE_MODES = ("resample", "mean", "zero")
"""Roles are judged by the effects of the first of these modes that was measured."""
_HEADS = ("layer", "head")
_ENTRIES = SCORES | NAMED_PARTS
_N99 = 0.99


def role_mode(modes: Sequence[str]) -> str:
    """The mode whose effects roles are judged by; "" without any."""
    return next((mode for mode in ROLE_MODES if mode in modes), "")


def roles(plan: Plan, arrays: Arrays, left_out: dict[str, str]) -> Arrays:
    """Roles, grades and states of every head, from what was measured; what was not is not judged."""
    measured = _scores(arrays) | _weights(arrays) | _attributions(arrays) | _effects(plan, arrays)
    if not measured:
        left_out["roles"] = "no score and no effect was measured that a role is judged by"
        return {}
    clean: dict[str, float] = {}
    if "clean/logit_difference" in arrays:
        families, templates = [p.family for p in plan.prompts], [p.template for p in plan.prompts]
        difference = arrays["clean/logit_difference"].values
        clean = solved_families(difference, families, templates, seed=plan.config["seed"])
    norm = arrays.get("model/write_norm")
    found = assign_roles(measured, clean, write_norm=None if norm is None else norm.values)
    return {f"roles/{name}": _on_all_families(array, plan) for name, array in found.arrays().items()}


def nulls(plan: Plan, arrays: Arrays, left_out: dict[str, str]) -> Arrays:  # noqa: ARG001
    """What is kept of the draws of each null: their 99th percentile, and the p value of what was observed."""
    found: Arrays = {}
    for place, draws in arrays.items():
        group, _, name = place.rpartition("/")
        if group == DRAWS:
            observed = arrays[f"nulls/{name}_observed"].values
            n99 = np.quantile(draws.values, _N99, axis=-1).astype(np.float32)
            found[f"nulls/{name}_n99"] = NamedArray(n99, _HEADS)
            found[f"nulls/{name}_mean"] = NamedArray(draws.values.mean(-1), _HEADS)
            found[f"nulls/{name}_p"] = NamedArray(tail_p(observed, draws.values), _HEADS)
    return found


def _on_all_families(array: NamedArray, plan: Plan) -> NamedArray:
    """An array on some families, on all of the atlas; NaN on the others."""
    if "family" not in array.dims:
        return array
    axis = array.dims.index("family")
    shape = list(array.shape)
    shape[axis] = len(plan.families)
    whole = np.full(shape, np.nan, dtype=np.float32)
    at: list[slice | list[int]] = [slice(None)] * len(shape)
    at[axis] = [plan.families.index(family) for family in array.coords["family"]]
    whole[tuple(at)] = array.values
    return NamedArray(whole, array.dims, {**array.coords, "family": list(plan.families)})


def _interval(arrays: Arrays, mean: str, prefix: str, n: str, **labels: str) -> Measured | None:
    """A mean of /summary with its interval, and with its p value where it has one."""
    places = [f"summary/{name}" for name in (mean, f"{prefix}_ci_low", f"{prefix}_ci_high", n)]
    if not all(place in arrays for place in places):
        return None
    value, low, high, counted = (arrays[place].sel(**labels).values for place in places)
    p = arrays.get(f"summary/{prefix}_p")
    return Measured(value, low, high, counted, p=None if p is None else p.sel(**labels).values)


def _scores(arrays: Arrays) -> dict[tuple[str, str], Measured]:
    """Scores of patterns by family, as excess where they have one, against their nulls."""
    found = {}
    for name, score in _ENTRIES.items():
        for family in score.families:
            prefix = score.summary_prefix(family)
            forms = [(name, f"{prefix}_mean", prefix)]
            if score.has_excess:
                forms.append((f"{name}_excess", f"{prefix}_excess", f"{prefix}_excess"))
            for measure, mean, own in forms:
                measured = _interval(arrays, mean, own, f"{prefix}_n")
                draws = arrays.get(f"{DRAWS}/{name}") if family == score.family else None
                if measured is not None:
                    found[measure, family] = measured if draws is None else measured.against(draws.values)
    return found


def _weights(arrays: Arrays) -> dict[tuple[str, str], Measured]:
    found = {}
    for place, array in arrays.items():
        group, _, name = place.rpartition("/")
        if group == "weights" and array.dims == _HEADS:
            measured = Measured.exact(array.values)
            draws = arrays.get(f"{DRAWS}/{name}")
            found[name, ""] = measured if draws is None else measured.against(draws.values)
    return found


def _attributions(arrays: Arrays) -> dict[tuple[str, str], Measured]:
    found = {}
    if "summary/direct_logit_mean" in arrays:
        for family in arrays["summary/direct_logit_mean"].coords["family"]:
            measured = _interval(arrays, "direct_logit_mean", "direct_logit", "direct_logit_n", family=family)
            if measured is not None:
                found["direct_logit", family] = measured
    measured = _interval(arrays, "induction_copy_mean", "induction_copy", "induction_copy_n")
    return found if measured is None else found | {("induction_copy", "rand_repeat"): measured}


def _effects(plan: Plan, arrays: Arrays) -> dict[tuple[str, str], Measured]:
    """Effects on the logit difference, and on the log-probability of natural text."""
    mode, found = role_mode(plan.modes), {}
    for metric in ("logit_difference", "logprob") if mode else ():
        for family in plan.families:
            measured = _interval(arrays, f"{metric}_mean", metric, f"{metric}_n", mode=mode, family=family)
            wanted = metric == "logit_difference" or family == "natural"
            if measured is not None and wanted and bool((measured.n > 0).any()):
                found[metric, family] = measured
    return found
