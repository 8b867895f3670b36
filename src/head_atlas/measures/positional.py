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
    offset = best_offset(single.sum(-1))
    shares = [share_at(single[..., prompt], offset, n_pos) for prompt, n_pos in enumerate(lengths)]
    share = np.stack(shares, axis=-1) if shares else np.zeros((*offset.shape, 0))
    return Positional(share.astype(np.float32), offset.astype(np.float32))


def best_offset(pooled: np.ndarray) -> np.ndarray:
    """The most frequent offset, the smallest of equally frequent ones; NaN where none was seen.

    Args:
        pooled: [..., offset] counts of all prompts.
    """
    return np.where(pooled.max(-1) > 0, pooled.argmax(-1), np.nan)


def share_at(counts: np.ndarray, offset: np.ndarray, n_pos: int) -> np.ndarray:
    """Share of a prompt's queries at an offset, among those that reach back that far; NaN where none does.

    Args:
        counts: [..., offset] of the prompt.
        offset: [...] to look at; NaN for none.
        n_pos: tokens of the prompt, BOS counted in.
    """
    index = np.nan_to_num(offset).astype(np.int64)
    hits = np.take_along_axis(counts, index[..., None], axis=-1)[..., 0]
    reaching = n_pos - 1 - offset
    return np.where(reaching > 0, hits / np.maximum(reaching, 1), np.nan)
