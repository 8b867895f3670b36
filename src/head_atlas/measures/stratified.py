"""Which prompts stand for a head: the top, an even sample of the rest, and those that suffer most without it.

Pure numpy: from one number per head and prompt to a choice. The choice depends on the numbers, the prompts' tokens
and the seed; not on the order of the prompts, nor on how they were batched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from head_atlas.prompts.prompt import Prompt

HARMED = 0
"""The band of prompts that are chosen for what they lose without the head; quantile bands count from 1."""


@dataclass(frozen=True)
class Strata:
    """How many exemplars of each kind a head gets.

    Attributes:
        n_bands: equal-frequency bands of the largest attention; the last is the highest.
        n_top: from the top of the highest band.
        n_per_band: drawn from each other band.
        n_harmed: with the largest drop without the head.
    """

    n_bands: int = 6
    n_top: int = 10
    n_per_band: int = 3
    n_harmed: int = 5


@dataclass(frozen=True)
class Choice:
    """The exemplars of one head: the highest band first, `HARMED` last.

    Attributes:
        prompt: [exemplar] indices.
        band: [exemplar], 1 to n_bands, or `HARMED`.
        rank: [exemplar], counted from 0 within the band: by largest attention, or by the drop.
        band_low: [band] smallest value of each band; NaN for a band without prompts.
        band_high: [band] its largest.
    """

    prompt: np.ndarray
    band: np.ndarray
    rank: np.ndarray
    band_low: np.ndarray
    band_high: np.ndarray


def canonical_order(prompts: Sequence[Prompt]) -> np.ndarray:
    """Indices of prompts in an order that depends on their tokens alone; equal ones stay in theirs."""
    digests = [hashlib.sha256(np.array(p.tokens, dtype="<i8").tobytes()).digest() for p in prompts]
    return np.array(sorted(range(len(prompts)), key=digests.__getitem__), dtype=np.int64)


def choose(
    largest: np.ndarray, effect: np.ndarray | None, order: np.ndarray, strata: Strata, seed: Sequence[int]
) -> Choice:
    """Choose the exemplars of a head.

    A band's sample is drawn evenly without replacement: each of its prompts is given a random number, and those with
    the smallest are taken, which is what a reservoir comes to. Equal values are put in a random order too.

    Args:
        largest: [prompt]; NaN where a prompt has none, which is then never chosen for it.
        effect: [prompt] ablated - clean, or None; NaN and drops of nothing are never chosen.
        order: of `canonical_order`.
        strata: how many.
        seed: of the draws; one per head.
    """
    draws = np.empty((2, len(largest)))
    draws[:, order] = np.random.default_rng(list(seed)).random((2, len(largest)))
    rising = np.lexsort((draws[0], largest))  # NaN comes last
    rising = rising[: np.isfinite(largest).sum()]
    bands = np.array_split(rising, strata.n_bands)
    chosen: list[tuple[int, np.ndarray]] = []
    for band, members in reversed(list(enumerate(bands, start=1))):
        if band < strata.n_bands:
            drawn = np.sort(np.argsort(draws[1, members])[: strata.n_per_band])
            members = members[drawn]
        chosen.append((band, members[::-1][: strata.n_top if band == strata.n_bands else None]))
    if effect is not None:
        falling = np.lexsort((draws[0], effect))
        chosen.append((HARMED, falling[: min(strata.n_harmed, int((effect < 0).sum()))]))
    return Choice(
        prompt=np.concatenate([members for _, members in chosen]),
        band=np.concatenate([np.full(len(members), band) for band, members in chosen]),
        rank=np.concatenate([np.arange(len(members)) for _, members in chosen]),
        band_low=np.array([largest[members[0]] if len(members) else np.nan for members in bands]),
        band_high=np.array([largest[members[-1]] if len(members) else np.nan for members in bands]),
    )
