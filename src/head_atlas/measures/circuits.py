"""Formulas of joint effects, interactions and circuits. Numbers only: `live` runs the model.

F is the value of a metric (`measures.head_sets`); the harm of removing a set S is D(S) = F() - F(S) = -effect(S).

    interaction      I(i, j) = D(i, j) - D(i) - D(j)        > 0: each stands in for the other (redundancy, backup)
                                                            < 0: one serial path, or saturation
    joint - sum      effect(S) - sum over h in S of effect(h)
    share            (F(S) - F(none)) / (F(all) - F(none))   1: all of the behaviour, 0: what is left without any head

"none" is the model with every candidate head removed, "all" the whole model. Shares are ratios of means over prompts,
never means of ratios. Every interval is the paired cluster bootstrap of `measures.bootstrap`; one draw of prompts
serves all numbers of a result, so differences and ratios keep their meaning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from head_atlas.measures.bootstrap import COVERAGE, bootstrap_mean, resample_counts
from head_atlas.measures.significance import q_values, sign_flip_p
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt

_TAILS = ((1 - COVERAGE) / 2, 1 - (1 - COVERAGE) / 2)


@dataclass(frozen=True)
class OverPrompts:
    """A number over prompts, with its 95 % percentile bootstrap interval; the axes are those of the number.

    Attributes:
        mean: over the prompts (of a share: the ratio of means).
        low: lower bound; NaN with fewer than two prompts, which say nothing about their spread.
        high: upper bound; NaN likewise.
        n: prompts.
    """

    mean: NamedArray
    low: NamedArray
    high: NamedArray
    n: int


def prompt_counts(prompts: Sequence[Prompt], seed: int) -> np.ndarray:
    """How often each prompt is drawn in each resample: templates of a family first, then prompts within them."""
    return resample_counts(prompt_clusters(prompts), seed=seed, family=_families(prompts))


def prompt_clusters(prompts: Sequence[Prompt]) -> list[int]:
    """Number the templates of the prompts, those of each family for themselves; -1 for a prompt without one."""
    known: dict[tuple[str, int], int] = {}
    return [-1 if p.template < 0 else known.setdefault((p.family, p.template), len(known)) for p in prompts]


def _families(prompts: Sequence[Prompt]) -> str:
    return "+".join(sorted({p.family for p in prompts}))


def pair_significance(pairs: np.ndarray, prompts: Sequence[Prompt], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Test every pair's interaction against 0, and correct for how many pairs there are.

    Args:
        pairs: interaction, [head, head, prompt], symmetric, NaN on the diagonal.
        prompts: that were run.
        seed: of the sign flips.

    Returns:
        p of `sign_flip_p`, templates as clusters, and q over all pairs, each counted once (Benjamini and Hochberg
        1995): [head, head], symmetric, NaN on the diagonal, and everywhere with fewer than two clusters.
    """
    one, other = np.triu_indices(len(pairs), 1)
    p = sign_flip_p(pairs[one, other], prompt_clusters(prompts), seed=seed, family=_families(prompts))
    found = np.full((2, len(pairs), len(pairs)), np.nan)
    found[:, one, other] = found[:, other, one] = p, q_values(p)
    return found[0], found[1]


def over_prompts(
    values: np.ndarray, dims: tuple[str, ...], counts: np.ndarray, coords: Mapping[str, Sequence[Any]] | None = None
) -> OverPrompts:
    """Mean over the last axis with its interval.

    Args:
        values: [..., prompt].
        dims: names of the axes before the last.
        counts: [resample, prompt], of `prompt_counts`.
        coords: labels of these axes.
    """
    found = bootstrap_mean(values, counts)
    return _named(found.mean, found.low, found.high, dims, coords, values.shape[-1])


def interaction(pairs: np.ndarray, singles: np.ndarray) -> np.ndarray:
    """I(i, j) = D(i, j) - D(i) - D(j), in the metric's unit.

    Args:
        pairs: harm of removing two heads, [head, head, prompt], symmetric.
        singles: harm of removing one, [head, prompt].

    Returns:
        [head, head, prompt], symmetric; NaN on the diagonal.
    """
    found = pairs - singles[:, None] - singles[None]
    found[np.arange(len(found)), np.arange(len(found))] = np.nan
    return found


def ratio_of_means(
    above: np.ndarray,
    below: np.ndarray,
    dims: tuple[str, ...],
    counts: np.ndarray,
    coords: Mapping[str, Sequence[Any]] | None = None,
) -> OverPrompts:
    """mean(above) / mean(below) over the last axis, both resampled together.

    Args:
        above: [..., prompt].
        below: [prompt].
        dims: names of the axes of `above` before the last.
        counts: [resample, prompt].
        coords: labels of these axes.
    """
    n = above.shape[-1]
    flat = above.reshape(-1, n)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = flat.mean(-1) / below.mean()
        drawn = (counts @ flat.T) / (counts @ below)[:, None]
    low, high = np.quantile(drawn, _TAILS, axis=0) if n > 1 else np.full((2, len(flat)), np.nan)
    shape = above.shape[:-1]
    return _named(mean.reshape(shape), low.reshape(shape), high.reshape(shape), dims, coords, n)


def undefined_share(none: np.ndarray, whole: np.ndarray, counts: np.ndarray) -> str:
    """Say why a share of F(all) - F(none) means nothing; "" where it does.

    Args:
        none: F without any candidate head, [prompt].
        whole: F of the whole model, [prompt].
        counts: [resample, prompt].
    """
    difference = bootstrap_mean((whole - none)[None], counts)
    mean, low = float(difference.mean[0]), float(difference.low[0])
    if mean > 0 and not low <= 0:  # a single prompt has no interval
        return ""
    return (
        f"F(all) - F(none) is {mean:.3g} with a lower bound of {low:.3g}: without its heads the model is not "
        "worse at this, so there is no behaviour of heads to be kept"
    )


def percentile_among(value: np.ndarray, others: np.ndarray, counts: np.ndarray) -> OverPrompts:
    """100 (others below + half of those equal) / number of others, by their means over prompts.

    Args:
        value: F of one circuit, [prompt].
        others: F of the circuits it is held against, [other, prompt].
        counts: [resample, prompt].
    """
    ahead = others - value  # paired: a circuit equal to this one is a tie in every resample
    rounding = 1e-9 * max(1.0, float(np.abs(value).max()))

    def percentile(weights: np.ndarray) -> np.ndarray:
        by_other = weights @ ahead.T
        return 100 * ((by_other < -rounding).mean(-1) + (np.abs(by_other) <= rounding).mean(-1) / 2)

    n = len(value)
    (mean,) = percentile(np.full((1, n), 1 / n))
    drawn = percentile(counts / counts.sum(-1, keepdims=True))
    low, high = np.quantile(drawn, _TAILS) if n > 1 else (np.nan, np.nan)
    return _named(mean, low, high, (), None, n)


def _named(
    mean: Any, low: Any, high: Any, dims: tuple[str, ...], coords: Mapping[str, Sequence[Any]] | None, n: int
) -> OverPrompts:
    mean, low, high = (NamedArray(np.asarray(array), dims, coords or {}) for array in (mean, low, high))
    return OverPrompts(mean, low, high, n)
