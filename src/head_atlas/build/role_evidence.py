"""From the arrays of a build to the roles of its heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from head_atlas.build.measurement import DRAWS, Arrays
from head_atlas.build.null_units import syntactic_name
from head_atlas.catalogue import SCORES
from head_atlas.catalogue.named_parts import NAMED_PARTS
from head_atlas.measures.evidence import Measured, from_summary, solved_families
from head_atlas.measures.roles import assign_roles
from head_atlas.measures.significance import tail_p
from head_atlas.named_array import NamedArray
from head_atlas.store.schema import group_of

if TYPE_CHECKING:
    from head_atlas.build.plan import Plan

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
    summary = {place.rpartition("/")[2]: array for place, array in arrays.items() if group_of(place) == "summary"}
    measured = _against_nulls(from_summary(summary, role_mode(plan.modes)), arrays)
    measured |= _weights(arrays) | _syntax(arrays) | _attributions(summary)
    if not measured:
        left_out["roles"] = "no score and no effect was measured that a role is judged by"
        return {}
    clean: dict[str, float] = {}
    if "clean/logit_difference" in arrays:
        families, templates = [p.family for p in plan.prompts], [p.template for p in plan.prompts]
        difference = arrays["clean/logit_difference"].values
        clean = solved_families(difference, families, templates, seed=plan.config["seed"])
    norm = arrays.get("model/write_norm")
    norms = None if norm is None else norm.values
    found = assign_roles(measured, clean, write_norm=norms, families=plan.families)
    return {f"roles/{name}": array for name, array in found.arrays().items()}


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


def _against_nulls(found: dict[tuple[str, str], Measured], arrays: Arrays) -> dict[tuple[str, str], Measured]:
    """Scores held against the draws of their nulls, on the family that these were drawn on."""
    for name, score in _ENTRIES.items():
        draws = arrays.get(f"{DRAWS}/{name}")
        for measure in (name, f"{name}_excess"):
            if draws is not None and (measure, score.family) in found and score.has_excess == (measure != name):
                found[measure, score.family] = found[measure, score.family].against(draws.values)
    return found


def _weights(arrays: Arrays) -> dict[tuple[str, str], Measured]:
    """Scores of the weights, with the largest of chance as their n99.

    They have few draws of their null, too few for a p value that could survive a correction over all heads.
    """
    found = {}
    for place, array in arrays.items():
        group, _, name = place.rpartition("/")
        if group == "weights" and array.dims == _HEADS:
            n99 = arrays.get(f"nulls/{name}_n99")
            found[name, ""] = Measured.exact(array.values, n99=None if n99 is None else n99.values)
    return found


def _syntax(arrays: Arrays) -> dict[tuple[str, str], Measured]:
    """Gains of every relation and direction that occurs, against their nulls."""
    if "syntax/gain_mean" not in arrays:
        return {}
    found = {}
    coords = arrays["syntax/gain_mean"].coords
    for relation, direction in product(coords["relation"], coords["direction"]):
        draws = arrays.get(f"{DRAWS}/{syntactic_name(relation, direction)}")
        if draws is not None:
            parts = (arrays[f"syntax/gain_{part}"] for part in ("mean", "ci_low", "ci_high", "n"))
            values = (part.sel(relation=relation, direction=direction).values for part in parts)
            found["syntactic_gain", f"{relation}:{direction}"] = Measured(*values).against(draws.values)
    return found


def _attributions(summary: Mapping[str, NamedArray]) -> dict[tuple[str, str], Measured]:
    """Means with their intervals and tests."""

    def measured(name: str, **labels: str) -> Measured:
        parts = (summary[f"{name}_{part}"].sel(**labels).values for part in ("mean", "ci_low", "ci_high", "n", "p"))
        return Measured(*parts)

    found = {}
    if "direct_logit_mean" in summary:
        for family in summary["direct_logit_mean"].coords["family"]:
            found["direct_logit", family] = measured("direct_logit", family=family)
    if "induction_copy_mean" in summary:
        found["induction_copy", "rand_repeat"] = measured("induction_copy")
    return {key: one for key, one in found.items() if not np.isnan(one.value).all()}
