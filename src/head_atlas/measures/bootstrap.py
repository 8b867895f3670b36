"""Uncertainty of means over prompts: the paired cluster bootstrap.

Prompts are the sampling unit; prompts of one template resemble each other, so templates are drawn first, then
prompts within each. Paired: one draw serves every head, measure and mode, so differences keep their meaning.
With 5 templates a 95 % interval covers 86 % of the time, with 15 templates 95 %.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

N_RESAMPLES = 2000
COVERAGE = 0.95
_TAILS = ((1 - COVERAGE) / 2, 1 - (1 - COVERAGE) / 2)
_FEWEST = 2
_MOST_EMPTY = 0.01
"""Share of resamples that may hold no defined prompt. They have no mean: an interval of the others would be too narrow.
With 5 of many clusters defined it is 0.7 %, with 4 it is 1.8 %."""
_NUMBERS_PER_BLOCK = 2**22
_Combine = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Interval:
    """A mean over prompts, with its percentile bootstrap interval; shapes as the input without prompts.

    Attributes:
        mean: NaN without any defined prompt.
        low: lower bound; NaN with fewer than two defined prompts, which say nothing about their spread, and where
            more than 1 % of the resamples hold none (under about five of many clusters have one).
        high: upper bound; NaN likewise.
        n: prompts with a defined value; of `bootstrap_macro`, families with one.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: np.ndarray


def resample_counts(
    clusters: Sequence[int], *, seed: int, family: str = "", n_resamples: int = N_RESAMPLES
) -> np.ndarray:
    """How often each prompt is drawn in each resample.

    Args:
        clusters: template of each prompt; a negative one stands alone.
        seed: of the build.
        family: part of the seed, so that a family's intervals do not depend on the other families.
        n_resamples: number of resamples.

    Returns:
        [resample, prompt] float64 counts. As many clusters are drawn as there are, and from each drawn one as
        many prompts as it has.
    """
    rng = np.random.default_rng([seed, zlib.crc32(family.encode())])
    n_clusters, cluster_of = cluster_index(clusters)
    drawn = rng.multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), size=n_resamples)
    counts = np.zeros((n_resamples, len(cluster_of)))
    for index in range(n_clusters):
        members = np.flatnonzero(cluster_of == index)
        # drawing a cluster k times and n prompts each time is drawing k * n prompts from it
        share = np.full(len(members), 1 / len(members))
        counts[:, members] = rng.multinomial(drawn[:, index] * len(members), share)
    return counts


def cluster_index(clusters: Sequence[int]) -> tuple[int, np.ndarray]:
    """What is drawn, or flipped, together.

    Args:
        clusters: template of each prompt; a negative one stands alone.

    Returns:
        The number of clusters, and [prompt] the index of each prompt's.
    """
    labels = np.array(clusters, dtype=np.int64)  # a copy: it is written to
    alone = labels < 0
    labels[alone] = labels.max(initial=-1) + 1 + np.arange(alone.sum())
    names, cluster_of = np.unique(labels, return_inverse=True)
    return len(names), cluster_of


def excess(mass: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """`(m - u) / (1 - u)`: 0 for a head that attends evenly, 1 for a perfect one, negative for an avoider."""
    return (mass - uniform) / (1 - uniform)


def bootstrap_mean(values: np.ndarray, counts: np.ndarray) -> Interval:
    """Mean over the last axis (prompts) with its interval. NaN marks a prompt without a value.

    Args:
        values: [..., prompt].
        counts: [resample, prompt], from `resample_counts`.
    """
    return _interval(values, None, counts)


def bootstrap_excess(mass: np.ndarray, uniform: np.ndarray, counts: np.ndarray) -> Interval:
    """Excess `(m - u) / (1 - u)` of the means over prompts, with its interval.

    A ratio of means, never a mean of ratios: prompts whose baseline is high would weigh too much.

    Args:
        mass: [layer, head, prompt].
        uniform: [layer, prompt].
        counts: [resample, prompt].
    """
    return _interval(mass, np.broadcast_to(uniform[:, None], mass.shape), counts, excess)


def bootstrap_ratio(values: np.ndarray, base: np.ndarray, counts: np.ndarray) -> Interval:
    """Ratio of the means over prompts of two quantities, with its interval: a share with its own uncertainty.

    Args:
        values: [..., prompt].
        base: [prompt] what they are a share of; prompts without it, or without a value, do not count.
        counts: [resample, prompt].
    """
    below = np.broadcast_to(base, values.shape)
    return _interval(np.where(np.isnan(below), np.nan, values), below, counts, np.divide)


def bootstrap_macro(values: Sequence[np.ndarray], counts: Sequence[np.ndarray]) -> Interval:
    """Mean over families of their means over prompts, with its interval.

    Each family is resampled by itself; the families are fixed, so the interval speaks of these families, not
    of families in general. Only families with a defined prompt count.

    Args:
        values: per family, [..., prompt]; the same shape but for the prompts.
        counts: per family, [resample, prompt]; the same number of resamples.

    Returns:
        The interval, with `n` the number of families. The bounds are NaN where one of them has none.
    """
    shape, n_resamples = values[0].shape[:-1], len(counts[0])
    flat = [v.reshape(-1, v.shape[-1]).astype(np.float64) for v in values]
    mean, low, high = (np.full(len(flat[0]), np.nan) for _ in range(3))
    n = np.zeros(len(flat[0]), dtype=np.int32)
    step = max(1, _NUMBERS_PER_BLOCK // n_resamples)
    for start in range(0, len(mean), step):
        rows = slice(start, start + step)
        total = np.zeros(len(mean[rows]))
        resampled = np.zeros((n_resamples, len(total)))
        measured = np.ones(len(total), dtype=bool)
        for of_family, drawn in zip(flat, counts, strict=True):
            some = of_family[rows]
            defined = ~np.isnan(some)
            there = defined.any(-1)
            n[rows] += there
            total += np.where(there, _means(some, None, defined, np.ones((1, some.shape[-1])))[0], 0.0)
            means = _means(some, None, defined, drawn)
            resampled += np.where(there, means, 0.0)
            measured &= ~there | _measured(means, defined)
        measured &= n[rows] > 0
        with np.errstate(invalid="ignore"):
            mean[rows] = total / n[rows]
        if measured.any():
            bounds = np.nanquantile(resampled[:, measured], _TAILS, axis=0)
            low[rows][measured], high[rows][measured] = bounds / n[rows][measured]
    return Interval(mean.reshape(shape), low.reshape(shape), high.reshape(shape), n.reshape(shape))


def _interval(
    values: np.ndarray, base: np.ndarray | None, counts: np.ndarray, combine: _Combine = np.divide
) -> Interval:
    shape, n_prompts = values.shape[:-1], values.shape[-1]
    flat = values.reshape(-1, n_prompts)
    flat_base = None if base is None else base.reshape(-1, n_prompts)
    mean, low, high = (np.full(len(flat), np.nan) for _ in range(3))
    defined = ~np.isnan(flat)
    once = np.ones((1, n_prompts))
    step = max(1, _NUMBERS_PER_BLOCK // max(len(counts), n_prompts))
    for start in range(0, len(flat), step):
        rows = slice(start, start + step)
        some = flat[rows].astype(np.float64)  # a block at a time: the whole may not fit in memory twice
        some_base = None if flat_base is None else flat_base[rows].astype(np.float64)
        mean[rows] = _means(some, some_base, defined[rows], once, combine)[0]
        resampled = _means(some, some_base, defined[rows], counts, combine)
        measured = _measured(resampled, defined[rows])
        if measured.any():
            low[rows][measured], high[rows][measured] = np.nanquantile(resampled[:, measured], _TAILS, axis=0)
    n = defined.sum(-1).astype(np.int32)
    return Interval(mean.reshape(shape), low.reshape(shape), high.reshape(shape), n.reshape(shape))


def _measured(resampled: np.ndarray, defined: np.ndarray) -> np.ndarray:
    """[row] whether the resamples, [resample, row], of values defined there, [row, prompt], make an interval."""
    there: np.ndarray = (defined.sum(-1) >= _FEWEST) & (np.isnan(resampled).mean(0) <= _MOST_EMPTY)
    return there


def _means(
    values: np.ndarray,
    base: np.ndarray | None,
    defined: np.ndarray,
    counts: np.ndarray,
    combine: _Combine = np.divide,
) -> np.ndarray:
    """[resample, row] weighted means, combined with those of the base; NaN where no defined prompt was drawn."""
    total = counts @ defined.T.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (counts @ np.where(defined, values, 0.0).T) / total
        if base is None:
            return mean
        return combine(mean, (counts @ np.where(defined, base, 0.0).T) / total)
