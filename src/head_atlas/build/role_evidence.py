"""From the arrays of a build to the roles of its heads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from head_atlas.build.measurement import DRAWS, Arrays
from head_atlas.build.null_units import syntactic_name
from head_atlas.catalogue import SCORES
from head_atlas.catalogue.named_parts import NAMED_PARTS
from head_atlas.catalogue.roles import ROLE_MODES, ROLES
from head_atlas.measures.evidence import Measured, by_family, from_summary, solved_families, with_shares
from head_atlas.measures.indirect import INDIRECT_MODE, indirect_effects
from head_atlas.measures.roles import assign_roles
from head_atlas.measures.significance import tail_p
from head_atlas.named_array import NamedArray
from head_atlas.store.schema import group_of

if TYPE_CHECKING:
    from head_atlas.build.plan import Plan

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
        measured |= indirect(plan, arrays)
        for measure, values in _relative(plan, arrays):
            measured |= with_shares(
                measured, measure, values, difference, families, templates, seed=plan.config["seed"]
            )
    norm = arrays.get("model/write_norm")
    norms = None if norm is None else norm.values
    offset = summary.get("positional_offset")
    offsets = None if offset is None else offset.values
    found = assign_roles(measured, clean, write_norm=norms, positional_offset=offsets, families=plan.families)
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
    """Scores held against their nulls, on the family that these were drawn on."""
    for name, score in _ENTRIES.items():
        key = f"{name}_excess" if score.has_excess else name, score.family
        if key in found:
            found[key] = _with_null(found[key], name, arrays)
    return found


def _with_null(found: Measured, name: str, arrays: Arrays) -> Measured:
    """The same with the p value and the 99th percentile that the atlas keeps of the null, if it has one."""
    if f"nulls/{name}_p" not in arrays:
        return found
    return replace(found, p=arrays[f"nulls/{name}_p"].values, n99=arrays[f"nulls/{name}_n99"].values)


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
        parts = (arrays[f"syntax/gain_{part}"] for part in ("mean", "ci_low", "ci_high", "n"))
        one = Measured(*(part.sel(relation=relation, direction=direction).values for part in parts))
        if not np.isnan(one.value).all():
            name = syntactic_name(relation, direction)
            found["syntactic_gain", f"{relation}:{direction}"] = _with_null(one, name, arrays)
    return found


def _relative(plan: Plan, arrays: Arrays) -> Iterator[tuple[str, np.ndarray]]:
    """What is also judged as a share of the clean logit difference: name, and [layer, head, prompt]."""
    if "effects/logit_difference" in arrays and role_mode(plan.modes):
        mode = plan.modes.index(role_mode(plan.modes))
        yield "logit_difference", arrays["effects/logit_difference"].values[mode]
    if "direct_logit/heads" in arrays:
        yield "direct_logit", arrays["direct_logit/heads"].values
        if INDIRECT_MODE in plan.modes:
            yield "indirect_effect", _indirect_by_prompt(plan, arrays)


def _indirect_by_prompt(plan: Plan, arrays: Arrays) -> np.ndarray:
    effects = arrays["effects/logit_difference"].values[plan.modes.index(INDIRECT_MODE)]
    return indirect_effects(effects, arrays["direct_logit/heads"].values)


def indirect(plan: Plan, arrays: Arrays) -> dict[tuple[str, str], Measured]:
    """Indirect effects on the families that a role asks for, with their intervals and tests."""
    if INDIRECT_MODE not in plan.modes or "direct_logit/heads" not in arrays:
        return {}
    values = _indirect_by_prompt(plan, arrays)
    asked = {c.where for role in ROLES.values() for c in role.criteria if c.measure == "indirect_effect"}
    values = np.where([p.family in asked for p in plan.prompts], values, np.nan)
    families, templates = [p.family for p in plan.prompts], [p.template for p in plan.prompts]
    return by_family("indirect_effect", values, families, templates, seed=plan.config["seed"])


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
