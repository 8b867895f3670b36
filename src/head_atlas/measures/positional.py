"""Heads that look a fixed distance back: the positional score, from counts of arg-max offsets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from head_atlas.measures.scores import N_SINGLE_OFFSETS


@dataclass(frozen=True)
class Positional:
    """The positional score.

    Attributes:
        share: [layer, head, prompt], in [0, 1]: queries whose arg-max over keys >= 1 lies at the head's offset,
            among those that reach back that far; NaN where none does.
        offset: [layer, head]: the offset of most queries of all prompts together, 0 the query itself; NaN where no
            query has one below 32.
    """

    share: np.ndarray
    offset: np.ndarray


def positional(counts: np.ndarray, lengths: Sequence[int]) -> Positional:
    """Pool the counts of prompts into one offset per head, and look how often each prompt keeps to it.

    A query i reaches back d tokens without touching key 0 if i >= d + 1; the others cannot have that offset and do
    not count. One offset per head, not one per prompt: a head that looks 3 back here and 5 back there is not
    positional.

    Args:
        counts: [layer, head, offset, prompt], from `scores.arg_max_offsets`; of offsets that are equally frequent
            the smallest is taken.
        lengths: tokens of each prompt, BOS counted in.
    """
    single = np.asarray(counts)[:, :, :N_SINGLE_OFFSETS].astype(np.float64)
    pooled = single.sum(-1)
    best = pooled.argmax(-1)
    at_best = np.take_along_axis(single, best[:, :, None, None], axis=2)[:, :, 0]
    reaching = np.asarray(lengths)[None, None] - 1 - best[:, :, None]
    found = (pooled.max(-1) > 0)[:, :, None] & (reaching > 0)
    share = np.where(found, at_best / np.maximum(reaching, 1), np.nan)
    return Positional(share.astype(np.float32), np.where(pooled.max(-1) > 0, best, np.nan).astype(np.float32))
