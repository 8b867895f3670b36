"""What a head's attention comes to over many prompts, summed while patterns are made: no pattern is kept.

Position 0 is left out as query and as key throughout: what is not on it is a head's other attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

from head_atlas.measures.running_scores import BLOCK_QUERIES
from head_atlas.measures.targets import visible
from head_atlas.models import Intervention

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

DISTANCE_EDGES = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
"""Smallest |query - key| of each bin of the profile; the last has no end."""


class AttentionTotals(Intervention):
    """Sums over one run of prompts of one length.

    Args:
        n_pos: their length.

    Attributes:
        largest: by layer, [prompt, head]: the largest weight of the pattern.
        received: by layer, [prompt, head, pos]: attention to each key, summed over queries.
        sent: by layer, [prompt, head, pos]: attention of each query, summed over keys.
        by_distance: by layer, [prompt, head, bin]: attention summed over the bin and over queries.
    """

    wants_pattern = True
    block_queries = BLOCK_QUERIES

    def __init__(self, n_pos: int) -> None:
        self._n_pos = n_pos
        self.largest: dict[int, Float[Tensor, "prompt head"]] = {}
        self.received: dict[int, Float[Tensor, "prompt head pos"]] = {}
        self.sent: dict[int, Float[Tensor, "prompt head pos"]] = {}
        self.by_distance: dict[int, Float[Tensor, "prompt head bin"]] = {}

    def on_pattern_block(
        self, layer: int, pattern: Float[Tensor, "prompt head some_query key"], first_query: int
    ) -> None:
        """Add the rows of a block."""
        pattern = pattern if pattern.dtype == torch.float64 else pattern.float()
        shape = pattern.shape[:2]
        if layer not in self.largest:
            self.largest[layer] = pattern.new_zeros(shape)
            self.received[layer] = pattern.new_zeros(*shape, self._n_pos, dtype=torch.float64)
            self.sent[layer] = torch.zeros_like(self.received[layer])
            self.by_distance[layer] = pattern.new_zeros(*shape, len(DISTANCE_EDGES), dtype=torch.float64)
        skipped = max(0, 1 - first_query)
        rows = pattern[:, :, skipped:, 1:]
        if not rows.numel():
            return
        first, last = first_query + skipped, first_query + pattern.shape[2]
        self.largest[layer] = torch.maximum(self.largest[layer], rows.amax((-1, -2)))
        self.received[layer][:, :, 1 : pattern.shape[3]] += rows.sum(2, dtype=torch.float64)
        self.sent[layer][:, :, first:last] = rows.sum(3, dtype=torch.float64)
        queries = torch.arange(first, last, device=pattern.device)[:, None]
        keys = torch.arange(1, pattern.shape[3], device=pattern.device)[None, :]
        in_bin = _bins(queries, keys).flatten(0, 1).to(pattern.dtype)
        self.by_distance[layer] += rows.flatten(2) @ in_bin


def uniform_totals(n_pos: int, window: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a head that attends evenly to all it can see would come to on a prompt: received, sent, by distance."""
    totals = AttentionTotals(n_pos)
    seen = visible(n_pos, window)
    for first in range(0, n_pos, BLOCK_QUERIES):
        rows = seen[first : first + BLOCK_QUERIES].double()
        totals.on_pattern_block(0, (rows / rows.sum(-1, keepdim=True))[None, None], first)
    return totals.received[0][0, 0].numpy(), totals.sent[0][0, 0].numpy(), totals.by_distance[0][0, 0].numpy()


def distance_labels(edges: Sequence[int] = DISTANCE_EDGES) -> tuple[str, ...]:
    """Names of the bins: "0", "1", "2-3", ..., "4096+"."""
    names = [str(a) if b == a + 1 else f"{a}-{b - 1}" for a, b in pairwise(edges)]
    return (*names, f"{edges[-1]}+")


def _bins(queries: Tensor, keys: Tensor) -> Tensor:
    """Whether a query and a key at or before it lie in a bin, [query, key, bin]."""
    distance = (queries - keys)[..., None]
    low = torch.tensor(DISTANCE_EDGES, device=distance.device)
    high = torch.tensor((*DISTANCE_EDGES[1:], 2**62), device=distance.device)
    return (distance >= low) & (distance < high)
