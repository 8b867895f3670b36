"""From per-prompt numbers to what the app shows first: means over prompts with their intervals and tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from head_atlas.catalogue import SCORES
from head_atlas.catalogue.effects import CORRECT
from head_atlas.catalogue.named_parts import NAMED_PARTS
from head_atlas.measures.bootstrap import Interval, bootstrap_excess, bootstrap_macro, bootstrap_mean, resample_counts
from head_atlas.measures.significance import percentiles, q_values, sign_flip_p, split_half
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt

RIGHT = "right"
"""Group of effects on the positions that the clean model gets right, from which the merge takes the means of these."""
_HEADS = ("layer", "head")
_ENTRIES = SCORES | NAMED_PARTS
_PARTS = ("mean", "ci_low", "ci_high", "n")
_OWN_PARTS = ("", "_ci_low", "_ci_high", "_n")
"""Suffixes of arrays whose mean has the bare name."""
UNSIGNED = ("kl", "flip")
"""Metrics that cannot be negative: a test of the mean being 0 says nothing about them."""


@dataclass(frozen=True)
class _Family:
    """The prompts of one family.

    Attributes:
        index: their places on the prompt axis.
        templates: of each, the clusters of bootstrap and test.
        counts: [resample, prompt] draws; one set serves all measures, modes and heads (a paired bootstrap).
    """

    name: str
    index: np.ndarray
    templates: list[int]
    counts: np.ndarray

    def values(self, array: np.ndarray) -> np.ndarray:
        return array[..., self.index]


def summarise(
    prompts: Sequence[Prompt],
    families: Sequence[str],
    modes: Sequence[str],
    arrays: Mapping[str, NamedArray],
    *,
    seed: int,
) -> dict[str, NamedArray]:
    """Summarise every score and effect.

    Args:
        prompts: in the order of the prompt axis.
        families: in the order of the family axis.
        modes: in the order of the mode axis.
        arrays: by place: /scores, /baselines, /effects and /clean of the atlas, and effects on right positions.
        seed: of bootstrap and tests.

    Returns:
        The arrays of `/summary`, named as `atlas/README.md` says.
    """
    groups: dict[str, dict[str, np.ndarray]] = {"scores": {}, "baselines": {}, "effects": {}, RIGHT: {}, "clean": {}}
    for place, array in arrays.items():
        group, _, name = place.rpartition("/")
        if group in groups:
            groups[group][name] = array.values
    members = {name: _family(name, prompts, seed) for name in families}
    summary: dict[str, NamedArray] = {}
    for name, values in groups["scores"].items():
        summary |= _of_score(name, values, groups["baselines"].get(name), members, seed)
    for group, suffix in (("effects", ""), (RIGHT, CORRECT)):
        for name, values in groups[group].items():
            summary |= _of_effect(f"{name}{suffix}", values, list(modes), list(members.values()), seed)
    for place, prefix in (("heads", "direct_logit"), ("induction_copy", "induction_copy")):
        if f"direct_logit/{place}" in arrays:
            values = arrays[f"direct_logit/{place}"].values
            summary |= _of_attribution(prefix, values, list(members.values()), seed)
    for name, values in groups["clean"].items():
        per_family = [bootstrap_mean(f.values(values), f.counts) for f in members.values()]
        for part, found in zip(_OWN_PARTS, zip(*map(_arrays, per_family), strict=True), strict=True):
            summary[f"clean_{name}{part}"] = NamedArray(np.stack(found), ("family",), {"family": list(families)})
    return summary


def _family(name: str, prompts: Sequence[Prompt], seed: int) -> _Family:
    index = np.array([i for i, prompt in enumerate(prompts) if prompt.family == name])
    templates = [prompts[i].template for i in index]
    return _Family(name, index, templates, resample_counts(templates, seed=seed, family=name))


def _of_score(
    name: str, values: np.ndarray, baseline: np.ndarray | None, members: Mapping[str, _Family], seed: int
) -> dict[str, NamedArray]:
    """Mean, reliability and excess of a score on each of its families."""
    summary: dict[str, NamedArray] = {}
    for family in (members[name] for name in _ENTRIES[name].families if name in members):
        prefix = _ENTRIES[name].summary_prefix(family.name)
        found = bootstrap_mean(family.values(values), family.counts)
        for part, array in zip(_PARTS, _arrays(found), strict=True):
            summary[f"{prefix}_{part}"] = NamedArray(array, _HEADS)
        halves = split_half(family.values(values), family.templates, seed=seed, family=family.name)
        summary[f"{prefix}_split_half"] = NamedArray(np.array(halves), ())
        if baseline is not None:
            found = bootstrap_excess(family.values(values), family.values(baseline), family.counts)
            summary[f"{prefix}_excess"] = NamedArray(found.mean, _HEADS)
            summary[f"{prefix}_excess_ci_low"] = NamedArray(found.low, _HEADS)
            summary[f"{prefix}_excess_ci_high"] = NamedArray(found.high, _HEADS)
    return summary


def _of_effect(
    name: str, values: np.ndarray, modes: list[str], families: Sequence[_Family], seed: int
) -> dict[str, NamedArray]:
    """Mean, test and place among other heads of an effect, per family and over families.

    Args:
        name: of the metric, with "_correct" for the positions that the clean model gets right.
        values: [mode, layer, head, prompt].
        modes: labels.
        families: in the order of the family axis.
        seed: of the test.
    """
    dims, coords = ("mode", *_HEADS, "family"), {"mode": modes, "family": [f.name for f in families]}
    by_family = [f.values(values) for f in families]
    intervals = [bootstrap_mean(some, f.counts) for some, f in zip(by_family, families, strict=True)]
    summary = {
        f"{name}_{part}": NamedArray(np.stack(arrays, axis=-1), dims, coords)
        for part, arrays in zip(_PARTS, zip(*map(_arrays, intervals), strict=True), strict=True)
    }
    macro = bootstrap_macro(by_family, [f.counts for f in families])
    for part, array in zip(_OWN_PARTS, _arrays(macro), strict=True):
        summary[f"{name}_macro{part}"] = NamedArray(array, dims[:-1], {"mode": modes})
    if not name.startswith(UNSIGNED):
        tests = [
            sign_flip_p(some, f.templates, seed=seed, family=f.name)
            for some, f in zip(by_family, families, strict=True)
        ]
        p = np.stack(tests, axis=-1)
        summary[f"{name}_p"] = NamedArray(p, dims, coords)
        summary[f"{name}_q"] = NamedArray(q_values(p, axes=(1, 2)), dims, coords)
    if name.endswith(CORRECT):
        return summary
    for among, axes in (("model", (1, 2)), ("layer", (2,))):
        for what, means in ((name, summary[f"{name}_mean"]), (f"{name}_macro", summary[f"{name}_macro"])):
            of = percentiles(np.abs(means.values), axes=axes)
            summary[f"{what}_percentile_{among}"] = NamedArray(of, means.dims, means.coords)
    return summary


def _of_attribution(name: str, values: np.ndarray, families: Sequence[_Family], seed: int) -> dict[str, NamedArray]:
    """Mean and test of an attribution per family, (layer, head, family); of one family alone, (layer, head)."""
    only = [f for f in families if f.name == "rand_repeat"] if name == "induction_copy" else list(families)
    dims, coords = (*_HEADS, "family"), {"family": [f.name for f in only]}
    intervals = [bootstrap_mean(f.values(values), f.counts) for f in only]
    found = dict(zip(_PARTS, zip(*map(_arrays, intervals), strict=True), strict=True))
    found["p"] = tuple(sign_flip_p(f.values(values), f.templates, seed=seed, family=f.name) for f in only)
    summary = {f"{name}_{part}": NamedArray(np.stack(parts, axis=-1), dims, coords) for part, parts in found.items()}
    if name == "induction_copy":
        return {place: array.sel(family="rand_repeat") for place, array in summary.items()}
    return summary


def _arrays(interval: Interval) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return interval.mean, interval.low, interval.high, interval.n
