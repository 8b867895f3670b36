"""How differently a head behaves on different prompt families, with the uncertainty of every comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist

import numpy as np

from head_atlas.errors import HeadAtlasError
from head_atlas.measures.bootstrap import COVERAGE, Interval, bootstrap_ratio
from head_atlas.measures.significance import FALSE_DISCOVERIES, participation_ratio, q_values
from head_atlas.named_array import NamedArray

_HEADS = ("layer", "head")
_Z = NormalDist().inv_cdf((1 + COVERAGE) / 2)
"""Half-width of an interval in standard errors."""


@dataclass(frozen=True)
class FamilyContrast:
    """What a head is worth to each family, and where that differs.

    Attributes:
        relative: (family, layer, head): mean effect / mean clean logit difference; -1 where removing the head takes
            all of it away.
        low: lower end of its 95 % interval, which resamples effect and clean value together.
        high: upper end.
        n: prompts.
        difference: (pair, layer, head): first family minus second.
        difference_low: lower end of its 95 % interval.
        difference_high: upper end.
        q: of a difference of 0; Benjamini-Hochberg over pairs and heads.
        n_different: (layer, head): pairs with q <= 0.05; NaN where no pair was measured.
        participation: (layer, head): participation ratio over families of |relative|, 0 where its interval spans 0;
            NaN without any.
    """

    relative: NamedArray
    low: NamedArray
    high: NamedArray
    n: NamedArray
    difference: NamedArray
    difference_low: NamedArray
    difference_high: NamedArray
    q: NamedArray
    n_different: NamedArray
    participation: NamedArray


def contrast_families(
    effects: Mapping[str, np.ndarray], clean: Mapping[str, np.ndarray], counts: Mapping[str, np.ndarray]
) -> FamilyContrast:
    """Relative effects of every head by family, and the pairs of families between which they differ.

    A ratio of means, never a mean of ratios. Prompts of two families are drawn independently, so the interval of a
    difference follows from the two intervals (the square-and-add rule: the distances from the estimates to the ends
    that face each other add like standard errors), without another bootstrap.

    Args:
        effects: by family, [layer, head, prompt] on the logit difference, ablated - clean, in one mode. Give families
            that the model solves (`evidence.solved_families`): a share of next to nothing means nothing.
        clean: by family, [prompt] logit difference of the clean model.
        counts: by family, [resample, prompt] from `resample_counts`.

    Raises:
        HeadAtlasError: no family, or a family without its clean values.

    Source:
        Zou and Donner 2008 for the interval of a difference; the comparison is this project's.
    """
    if not effects or set(effects) != set(clean):
        raise HeadAtlasError(f"expected clean values for {sorted(effects) or 'some family'}, found {sorted(clean)}")
    families = list(effects)
    found = {family: bootstrap_ratio(effects[family], clean[family], counts[family]) for family in families}
    value, low, high, n = (
        np.stack([getattr(i, part) for i in found.values()]) for part in ("mean", "low", "high", "n")
    )
    pairs = [(families.index(one), families.index(other)) for one, other in combinations(families, 2)]
    differences = [_difference(found[families[one]], found[families[other]]) for one, other in pairs]
    shape = value.shape[1:]
    stacked = np.stack(differences, axis=1) if pairs else np.zeros((4, 0, *shape))
    q = q_values(stacked[3]) if pairs else stacked[3]
    measured = ~np.isnan(q)
    n_different = np.where(measured.any(0), (measured & (q <= FALSE_DISCOVERIES)).sum(0), np.nan)
    share = np.where(np.isnan(low), np.nan, np.where((low <= 0) & (high >= 0), 0.0, np.abs(value)))
    pair_names = [f"{families[one]} - {families[other]}" for one, other in pairs]

    def by_family(array: np.ndarray) -> NamedArray:
        return NamedArray(array, ("family", *_HEADS), {"family": families})

    def by_pair(array: np.ndarray) -> NamedArray:
        return NamedArray(array.astype(np.float32), ("pair", *_HEADS), {"pair": pair_names})

    return FamilyContrast(
        relative=by_family(value.astype(np.float32)),
        low=by_family(low.astype(np.float32)),
        high=by_family(high.astype(np.float32)),
        n=by_family(n),
        difference=by_pair(stacked[0]),
        difference_low=by_pair(stacked[1]),
        difference_high=by_pair(stacked[2]),
        q=by_pair(q),
        n_different=NamedArray(n_different.astype(np.float32), _HEADS),
        participation=NamedArray(participation_ratio(share, axis=0).astype(np.float32), _HEADS),
    )


def _difference(one: Interval, other: Interval) -> np.ndarray:
    """[4, layer, head]: difference, lower and upper end, p of a difference of 0."""
    estimate = one.mean - other.mean
    below = np.hypot(one.mean - one.low, other.high - other.mean)
    above = np.hypot(one.high - one.mean, other.mean - other.low)
    # the half-width on the side of 0 is _Z standard errors
    towards = np.where(estimate > 0, below, above)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(estimate == 0, 0.0, np.abs(estimate) / towards) * _Z
    p = np.vectorize(lambda value: math.erfc(value / math.sqrt(2)), otypes=[float])(z)
    return np.stack([estimate, estimate - below, estimate + above, np.where(np.isnan(towards), np.nan, p)])
