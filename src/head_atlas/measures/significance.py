"""Is it more than chance, and how does it compare? Tests, corrections for many heads, ranks, reliability.

Pure numpy, on plain arrays. NaN marks what was not measured: it is never counted and stays NaN.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import numpy as np

from head_atlas.measures.bootstrap import cluster_index

FALSE_DISCOVERIES = 0.05
"""Largest q value that counts as found."""

N_FLIPS = 20_000
"""Sign assignments drawn where there are too many to try them all: p = 0.05 is then known to within 0.003."""

RELIABLE = 0.8
"""Split-half correlation under which a score is flagged."""

TIE = 1e-6
"""Scores that differ by no more are equal: numbers of the order of 1, some kept in float32, averaged in any order."""

_MOST_EXACT_CLUSTERS = 14
_NUMBERS_PER_BLOCK = 2**22
_ROUNDING = 1e-9
_TAIL_SHARE = 0.1
_FEWEST_IN_TAIL = 10
_ENOUGH_BEYOND = 10


def sign_flip_p(
    values: np.ndarray,
    clusters: Sequence[int],
    *,
    seed: int,
    family: str = "",
    n_flips: int = N_FLIPS,
) -> np.ndarray:
    """Two-sided p value of a mean over prompts being 0, by flipping signs of whole clusters.

    If removing a head did nothing, its effect on a prompt would be as likely +x as -x. Prompts of one template
    share whatever that template has of its own, so their signs are not free of each other: the template is the
    unit that flips, as it is the unit that the bootstrap draws. (Flipping prompts would call shared noise an
    effect.) A prompt without a template flips alone. The price: k clusters cannot give a p under 2^(1 - k), which
    is 0.06 for 5 templates and 6e-5 for 15.

    Up to 14 clusters every assignment is tried and p is exact; else `n_flips` are drawn, the same for all heads,
    and `p = (1 + #{|flipped mean| >= |mean|}) / (1 + n_flips)`.

    Args:
        values: [..., prompt] paired effects (ablated - clean), in any unit; NaN where not measured.
        clusters: template of each prompt; a negative one stands alone.
        seed: of the build.
        family: part of the seed, so that a family's p values do not depend on the other families.
        n_flips: assignments drawn if there are too many.

    Returns:
        [...] p values in (0, 1]; NaN with fewer than two clusters that have a defined prompt.
    """
    sums, defined = _cluster_sums(values, clusters)
    n_clusters = sums.shape[1]
    p = np.full(len(sums), np.nan)
    if n_clusters <= _MOST_EXACT_CLUSTERS:
        # an assignment and its opposite give the same |mean|: the first cluster keeps its sign
        free = max(n_clusters - 1, 0)
        bits = np.arange(2**free)[:, None] >> np.arange(free) & 1
        signs = np.concatenate([np.ones((len(bits), min(n_clusters, 1))), 1.0 - 2.0 * bits], axis=1)
        already, of = 0, len(signs)
    else:
        rng = np.random.default_rng([seed, zlib.crc32(f"signs {family}".encode())])
        signs = 1.0 - 2.0 * rng.integers(0, 2, size=(n_flips, n_clusters), dtype=np.int8)
        already, of = 1, n_flips + 1
    step = max(1, _NUMBERS_PER_BLOCK // len(signs))
    for start in range(0, len(sums), step):
        some = sums[start : start + step]
        # what rounding may take from an equal sum must not make it smaller
        least = np.abs(some.sum(1)) - _ROUNDING * np.abs(some).sum(1)
        as_large = (np.abs(some @ signs.T) >= least[:, None]).sum(1)
        p[start : start + step] = (already + as_large) / of
    p[defined < 2] = np.nan
    return p.reshape(np.shape(values)[:-1])


def q_values(p: np.ndarray, axes: tuple[int, ...] | None = None) -> np.ndarray:
    """Benjamini-Hochberg q values: reject q <= 0.05 and at most 5 % of what is rejected is false, on average.

    Args:
        p: p values; NaN is no test and does not count.
        axes: along which lie the tests of one question, for instance layer and head; all axes if None.

    Returns:
        As `p`; never smaller than it.

    Source:
        Benjamini and Hochberg 1995; holds under positive dependence between the tests (Benjamini and Yekutieli 2001).
    """
    flat, back = _together(p, axes)
    n = (~np.isnan(flat)).sum(1, keepdims=True)
    order = np.argsort(flat, axis=1, kind="stable")  # NaN last
    ranked = np.take_along_axis(flat, order, 1) * (n / np.arange(1, flat.shape[1] + 1))
    ranked = np.where(np.isnan(ranked), np.inf, ranked)
    lowest = np.minimum.accumulate(ranked[:, ::-1], axis=1)[:, ::-1]
    q = np.empty_like(flat)
    np.put_along_axis(q, order, np.minimum(lowest, 1.0), 1)
    return back(np.where(np.isnan(flat), np.nan, q))


def percentiles(values: np.ndarray, axes: tuple[int, ...] | None = None) -> np.ndarray:
    """How many of the other heads a head exceeds, in percent: 100 for the largest, 0 for the smallest.

    Args:
        values: any numbers; give magnitudes where both signs are to count as large. NaN does not count.
        axes: along which lie the heads to compare, for instance layer and head, or head alone for the heads of
            one layer; all axes if None.

    Returns:
        As `values`, in [0, 100]. Equal heads share their mean rank. NaN where there is no other head.
    """
    flat, back = _together(values, axes)
    out = np.full(flat.shape, np.nan)
    for row, found in zip(flat, out, strict=True):
        there = ~np.isnan(row)
        if there.sum() > 1:
            found[there] = 100 * (ranks(row[there]) - 1) / (there.sum() - 1)
    return back(out)


def tail_p(observed: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """P value of a score against draws of its null: how often chance gives as much or more.

    `p = (1 + #{draw >= observed}) / (1 + N)`. Where fewer than 10 draws reach the observed value, that says little
    more than "small": the largest tenth of the draws is then fitted by a generalised Pareto distribution
    (probability-weighted moments) and its tail read off. The fitted tail is never taken to end (shape >= 0), and
    no p is claimed under 1 / (1 + N)^2: the fit extrapolates as far again as was sampled, and no further. A draw that
    lies under the observed value by 1e-6 or less counts as equal, so that rounding does not make an equal draw smaller.

    Args:
        observed: [...], of the order of 1.
        draws: [..., draw] under the null.

    Returns:
        [...] p values in (0, 1]; NaN where the observed value or every draw is NaN.

    Source:
        Knijnenburg et al. 2009, Fewer permutations, more accurate P-values; Hosking and Wallis 1987 for the fit.
    """
    x = np.asarray(observed, dtype=np.float64).ravel()
    rows = np.asarray(draws, dtype=np.float64).reshape(len(x), -1)
    p = np.full(len(x), np.nan)
    for index, (value, row) in enumerate(zip(x, rows, strict=True)):
        null = np.sort(row[~np.isnan(row)])
        n = len(null)
        if np.isnan(value) or not n:
            continue
        least = value - TIE
        beyond = int((null >= least).sum())
        p[index] = (1 + beyond) / (1 + n)
        n_tail = int(n * _TAIL_SHARE)
        if beyond < _ENOUGH_BEYOND and n_tail >= _FEWEST_IN_TAIL:
            start = (null[-n_tail - 1] + null[-n_tail]) / 2
            fitted = n_tail / n * _pareto_tail(least - start, null[-n_tail:] - start)
            p[index] = min(p[index], max(fitted, 1 / (1 + n) ** 2))
    return p.reshape(np.shape(observed))


def participation_ratio(amounts: np.ndarray, axis: int = -1) -> np.ndarray:
    """`(sum a)^2 / sum a^2`: over how many parts an amount is spread. 1 for one part, k for k equal ones.

    Args:
        amounts: not negative; NaN is left out.
        axis: of the parts.

    Returns:
        Without that axis; NaN where all amounts are 0 or NaN.
    """
    a = np.nan_to_num(np.asarray(amounts, dtype=np.float64))
    with np.errstate(invalid="ignore"):
        return a.sum(axis) ** 2 / (a**2).sum(axis)


def effective_number(amounts: np.ndarray, axis: int = -1) -> np.ndarray:
    """`exp(entropy)` of the normalised amounts: 1 for one part, k for k equal ones.

    Args:
        amounts: not negative; NaN is left out.
        axis: of the parts.

    Returns:
        Without that axis; NaN where all amounts are 0 or NaN.
    """
    a = np.nan_to_num(np.asarray(amounts, dtype=np.float64))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = a / a.sum(axis, keepdims=True)
        entropy = -np.where(share > 0, share * np.log(share), np.where(np.isnan(share), np.nan, 0.0)).sum(axis)
    return np.exp(entropy)


def split_half(
    values: np.ndarray, clusters: Sequence[int], *, seed: int, family: str = "", n_splits: int = 100
) -> float:
    """Do other prompts rank the heads alike? Spearman correlation over heads between halves of the prompts.

    Args:
        values: [layer, head, prompt] (any axes before the last are taken as heads); NaN where not measured.
        clusters: template of each prompt; a negative one stands alone. A template is in one half only.
        seed: of the build.
        family: part of the seed.
        n_splits: random halvings, over which the correlation is averaged.

    Returns:
        In [-1, 1], for half as many prompts as there are (not stretched by the Spearman-Brown formula); NaN where
        no two heads differ, or with fewer than two clusters. Under 0.8 it is flagged.
    """
    flat = np.asarray(values, dtype=np.float64).reshape(-1, np.shape(values)[-1])
    n_clusters, cluster_of = cluster_index(clusters)
    if n_clusters < 2:
        return float("nan")
    rng = np.random.default_rng([seed, zlib.crc32(f"halves {family}".encode())])
    found = []
    for _ in range(n_splits):
        first = np.isin(cluster_of, rng.permutation(n_clusters)[: n_clusters // 2])
        one, other = (_defined_mean(flat[:, half]) for half in (first, ~first))
        both = ~(np.isnan(one) | np.isnan(other))
        if both.any():
            found.append(spearman(one[both], other[both]))
    return float(np.mean(found)) if found else float("nan")


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Rank correlation, in [-1, 1]; NaN where either is constant."""
    one, other = ranks(one), ranks(other)
    one, other = one - one.mean(), other - other.mean()
    size = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum() / size) if size else float("nan")


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1; ties share their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def _cluster_sums(values: np.ndarray, clusters: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """[row, cluster] sums over defined prompts, and by row the number of clusters that have one."""
    flat = np.asarray(values, dtype=np.float64).reshape(-1, np.shape(values)[-1])
    n_clusters, cluster_of = cluster_index(clusters)
    member = np.zeros((flat.shape[1], n_clusters))
    member[np.arange(flat.shape[1]), cluster_of] = 1
    there = ~np.isnan(flat)
    return np.where(there, flat, 0.0) @ member, ((there @ member) > 0).sum(1)


def _together(
    values: np.ndarray, axes: tuple[int, ...] | None
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """The given axes flattened to the last of two, and how to undo it."""
    array = np.asarray(values, dtype=np.float64)
    chosen = tuple(range(array.ndim)) if axes is None else tuple(axis % array.ndim for axis in axes)
    order = [axis for axis in range(array.ndim) if axis not in chosen] + list(chosen)
    moved = array.transpose(order)
    n_together = int(np.prod([array.shape[axis] for axis in chosen], dtype=int))
    flat = moved.reshape(-1, n_together) if n_together else moved.reshape(0, 1)

    def back(of_flat: np.ndarray) -> np.ndarray:
        return of_flat.reshape(moved.shape).transpose(np.argsort(order))

    return flat, back


def _pareto_tail(x: float, excesses: np.ndarray) -> float:
    """Chance of an excess beyond `x`, for a generalised Pareto distribution fitted to sorted excesses."""
    n = len(excesses)
    mean = excesses.mean()
    weighted = ((n - 1 - np.arange(n)) / (n - 1) * excesses).sum() / n
    if mean <= 2 * weighted:
        return 1.0  # all the same: there is no tail to read
    shape = max(2 - mean / (mean - 2 * weighted), 0.0)
    scale = mean * (1 - shape)  # gives the mean, also where the shape was held at 0
    if scale <= 0:
        return 1.0
    return float(np.exp(-x / scale)) if shape == 0 else float((1 + shape * x / scale) ** (-1 / shape))


def _defined_mean(values: np.ndarray) -> np.ndarray:
    there = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(there, values, 0.0).sum(-1) / there.sum(-1)
