"""Which head of one model behaves like which head of another.

Heads are compared by their profiles (`profiles`), and matched where each is the other's nearest: a head without such a
partner has none. How near means: the similarity of the profiles, less a stated price for a different relative depth.

Whether a match is better than chance is asked of heads that are surely not the same: the different heads of one model.
For each head, how near the match is, in standard deviations from how near the other heads of its own model are to it;
and how far, in the same measure, one of those stands out from the rest. The nearest of as many as there are to choose
from is what chance gives. A head with a twin in its own model therefore needs a match that is nearer than its twin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from head_atlas.errors import AtlasError
from head_atlas.exchange.profiles import Entry, profiles
from head_atlas.exchange.tables import finite
from head_atlas.heads import HeadId
from head_atlas.measures.significance import FALSE_DISCOVERIES, q_values, tail_p
from head_atlas.seeds import checked_seed
from head_atlas.store import Atlas

DEPTH_WEIGHT = 0.5
"""What a head at the very top is away from one at the very bottom, in units of similarity."""
_FEWEST = 3
"""Entries that both heads need for a similarity."""
_FEWEST_HEADS = 6
"""Of a model, to say how near different heads are to each other."""
_MOST_BY_CHANCE = 9_999
"""Pairs of different heads that are drawn from all of them to say what chance gives."""
_NEAREST_TO_ONE = 1e-6
"""Before artanh, which is infinite at 1."""
_MOST_PAIRS = 2**22
"""Pairs of heads that are compared at most: 2,048 heads with as many."""


@dataclass(frozen=True)
class Match:
    """A head, and the head of the other model that behaves most like it.

    Attributes:
        head: of the first model; None if this is a head of the second model without a partner.
        other: of the second model; None if this is a head of the first model without a partner.
        nearest: of a head without a partner, its nearest head of the other model, which has a nearer one; None where
            nothing could be compared.
        similarity: of the two profiles, -1 to 1 (cosine).
        depth: difference of relative depth, 0 to 1.
        nearness: similarity - weight * depth: what is largest for the nearest.
        n: entries that both heads have.
        q: of such a nearness by chance, over the heads of a model, the larger of both directions; NaN where it cannot
            be asked, and of heads without a partner.
        beyond_chance: whether q <= 0.05.
    """

    head: HeadId | None
    other: HeadId | None
    nearest: HeadId | None
    similarity: float
    depth: float
    nearness: float
    n: int
    q: float
    beyond_chance: bool


@dataclass(frozen=True)
class Matching:
    """Heads of two models, matched by behaviour.

    Attributes:
        matches: pairs, the most similar first; then the heads without a partner.
        entries: what the profiles are made of.
        left_out: by entry in words, why it is not in them.
        depth_weight: that was used.
        untested: why there are no q values; "" where there are.
    """

    matches: Sequence[Match]
    entries: Sequence[Entry]
    left_out: Mapping[str, str]
    depth_weight: float
    untested: str

    @property
    def pairs(self) -> list[Match]:
        """Matches of two heads."""
        return [match for match in self.matches if match.head is not None and match.other is not None]

    def as_json(self) -> dict[str, Any]:
        """Plain values; NaN becomes null."""
        rows = []
        for match in self.matches:
            names = {
                key: None if (h := getattr(match, key)) is None else str(h) for key in ("head", "other", "nearest")
            }
            rows.append(finite({**asdict(match), **names}))
        return {
            "matches": rows,
            "entries": [asdict(entry) for entry in self.entries],
            "left_out": dict(self.left_out),
            "depth_weight": self.depth_weight,
            "untested": self.untested,
        }


def match_heads(first: Atlas, second: Atlas, *, depth_weight: float = DEPTH_WEIGHT, seed: int = 0) -> Matching:
    """Match the heads of two models by what they do.

    The similarity of two heads is the cosine of their profiles, over the entries that both have, each kind of entry
    (score, attribution, effect) weighing the same: 1 for the same behaviour within its model, 0 for unrelated, negative
    for opposite. Relative depth is (layer + 0.5) / layers. Two heads match if each is the other's nearest.

    Args:
        first: one atlas.
        second: another, of a model of any size.
        depth_weight: price of the whole depth of a model, in units of similarity; 0 to ignore depth.
        seed: of the draws of pairs, in large models.

    Raises:
        AtlasError: the two hold too little in common, or too many heads.
        HeadAtlasError: a seed that is none.
    """
    seed = checked_seed(seed)
    if max(first.n_layers * first.n_heads, second.n_layers * second.n_heads) ** 2 > _MOST_PAIRS:
        raise AtlasError(f"one of the two models has too many heads to compare (over {_MOST_PAIRS} pairs of its own)")
    found = profiles(first, second)
    if len(found.entries) < _FEWEST:
        raise AtlasError(
            f"the two atlases measured {len(found.entries)} things of each head in common; a comparison needs {_FEWEST}"
        )
    heads = [[HeadId(*divmod(i, a.n_heads)) for i in range(a.n_layers * a.n_heads)] for a in (first, second)]
    depths = [
        np.array([(h.layer + 0.5) / a.n_layers for h in some]) for some, a in zip(heads, (first, second), strict=True)
    ]
    sides = (found.first, found.second)

    def compared(one: int, other: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        apart = np.abs(depths[one][:, None] - depths[other][None, :])
        alike, shared = similarity(sides[one], sides[other], found.weights)
        return alike, apart, shared

    alike, apart, shared = compared(0, 1)
    nearness = alike - depth_weight * apart
    untested = ""
    q = [np.full(len(some), np.nan) for some in heads]
    if min(map(len, heads)) < _FEWEST_HEADS:
        untested = f"chance is known only in models of {_FEWEST_HEADS} heads and more"
    else:
        own = []
        for side in (0, 1):
            own_alike, own_apart, _ = compared(side, side)
            own.append(own_alike - depth_weight * own_apart)
            np.fill_diagonal(own[side], np.nan)
        by_chance = _some(np.concatenate([_outstanding(some) for some in own]), np.random.default_rng(seed))
        q = [_chance(nearness, own[0], by_chance), _chance(nearness.T, own[1], by_chance)]
    rows = _matches(heads, alike, apart, nearness, shared, q)
    return Matching(rows, found.entries, found.left_out, depth_weight, untested)


def similarity(one: np.ndarray, other: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted cosines of profiles, over the entries that both of a pair have.

    Args:
        one: [head, entry]; NaN where it is not measured.
        other: [other head, entry].
        weights: [entry].

    Returns:
        [head, other head] cosines in [-1, 1], NaN with fewer than three entries, or of a head that is average in
        all; and the number of entries behind each.
    """
    there, there_too = np.isfinite(one).astype(np.float64), np.isfinite(other).astype(np.float64)
    filled, filled_too = np.where(there == 1, one, 0.0), np.where(there_too == 1, other, 0.0)
    shared = there @ there_too.T
    lengths = ((filled**2 * weights) @ there_too.T) * ((there * weights) @ (filled_too**2).T)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = ((filled * weights) @ filled_too.T) / np.sqrt(lengths)
    return np.where((shared >= _FEWEST) & (lengths > 0), np.clip(cosine, -1, 1), np.nan), shared.astype(int)


def _stretched(nearness: np.ndarray) -> np.ndarray:
    """Fisher's z: artanh, which makes differences near 1 count. Under -1, which a price can lead to, all are alike."""
    return np.arctanh(np.clip(nearness, _NEAREST_TO_ONE - 1, 1 - _NEAREST_TO_ONE))


def _outstanding(own: np.ndarray) -> np.ndarray:
    """How far each head of a model stands out from the others, seen from each head: in standard deviations of the rest.

    Args:
        own: [head, head] nearness within a model; NaN on the diagonal.

    Returns:
        [pair] of different heads that were compared.
    """
    z = _stretched(own)
    there = np.isfinite(z)
    filled = np.where(there, z, 0.0)
    n = there.sum(axis=1, keepdims=True) - 1
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (filled.sum(axis=1, keepdims=True) - filled) / n
        variance = ((filled**2).sum(axis=1, keepdims=True) - filled**2 - n * mean**2) / (n - 1)
        found = (z - mean) / np.sqrt(variance)
    return found[there & np.isfinite(found)]


def _some(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """At most `_MOST_BY_CHANCE` of them."""
    return values if len(values) <= _MOST_BY_CHANCE else rng.choice(values, _MOST_BY_CHANCE, replace=False)


def _chance(nearness: np.ndarray, own: np.ndarray, by_chance: np.ndarray) -> np.ndarray:
    """[head] q of how near its nearest is, over the heads; NaN where nothing could be compared.

    P that any one of so many different heads stands out as far: `1 - (1 - p)^n`, p from `tail_p`.

    Args:
        nearness: [head, other head].
        own: [head, head] within the model, NaN on the diagonal.
        by_chance: how far different heads of one model stand out.
    """
    z, other = _stretched(own), _stretched(nearness)
    known = np.isfinite(z).sum(axis=1) >= _FEWEST_HEADS - 1
    p = np.full(len(nearness), np.nan)
    for head in np.flatnonzero(known & np.isfinite(other).any(axis=1)):
        among = z[head][np.isfinite(z[head])]
        spread = float(among.std(ddof=1))
        if spread > 0 and len(by_chance):
            stands_out = (float(np.nanmax(other[head])) - float(among.mean())) / spread
            one = float(tail_p(np.array(stands_out), by_chance))
            p[head] = 1 - (1 - one) ** int(np.isfinite(other[head]).sum())
    return q_values(p)


def _matches(
    heads: Sequence[Sequence[HeadId]],
    similarity: np.ndarray,
    apart: np.ndarray,
    nearness: np.ndarray,
    shared: np.ndarray,
    q: Sequence[np.ndarray],
) -> list[Match]:
    known = np.where(np.isnan(nearness), -np.inf, nearness)
    to_second, to_first = known.argmax(axis=1), known.argmax(axis=0)

    def row(i: int, j: int, side: int | None) -> Match:
        """A pair, or the head of one side alone with its nearest."""
        some = np.isfinite(known[i, j])
        both = max(float(q[0][i]), float(q[1][j])) if side is None else float("nan")
        return Match(
            head=heads[0][i] if side in (None, 0) else None,
            other=heads[1][j] if side in (None, 1) else None,
            nearest=None if side is None or not some else heads[1 - side][(j, i)[side]],
            similarity=float(similarity[i, j]),
            depth=float(apart[i, j]) if some else float("nan"),
            nearness=float(nearness[i, j]),
            n=int(shared[i, j]),
            q=both,
            beyond_chance=bool(both <= FALSE_DISCOVERIES),
        )

    mutual = [(i, int(j)) for i, j in enumerate(to_second) if to_first[j] == i and np.isfinite(known[i, j])]
    pairs = sorted((row(i, j, None) for i, j in mutual), key=lambda match: -match.similarity)
    taken = [{i for i, _ in mutual}, {j for _, j in mutual}]
    alone = [row(i, int(j), 0) for i, j in enumerate(to_second) if i not in taken[0]]
    alone += [row(int(i), j, 1) for j, i in enumerate(to_first) if j not in taken[1]]
    return [*pairs, *alone]
