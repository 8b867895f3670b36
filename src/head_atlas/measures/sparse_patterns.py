"""Patterns of chosen heads on chosen prompts, a few keys of each row; what is left out of a row is counted.

Weights are rounded to `GRID` before anything is decided, so that which keys are kept does not hang on the last bits
of a number, which change with the size of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from head_atlas.measures.running_scores import BLOCK_QUERIES
from head_atlas.models import Intervention

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

GRID = 2.0**-13
"""Stored weights are whole multiples of it: off by at most half of it, 0.00006."""
KEYS_PER_QUERY = 8
SMALLEST_WEIGHT = 0.005
NUMBERS_AT_ONCE = 2**20


class SparsePattern(NamedTuple):
    """A pattern, row by row.

    Attributes:
        n_kept: [query] uint8, keys kept.
        dropped: [query] float32, attention to the keys that are not kept.
        key: [entry] uint16, rising within a row.
        weight: [entry] float32.
    """

    n_kept: np.ndarray
    dropped: np.ndarray
    key: np.ndarray
    weight: np.ndarray


def on_grid(values: np.ndarray) -> np.ndarray:
    """Round to whole multiples of `GRID`, as float32 (exact up to 2048)."""
    return (np.rint(np.asarray(values, dtype=np.float64) / GRID) * GRID).astype(np.float32)


def sparse_rows(pattern: Float[Tensor, "some_query key"]) -> SparsePattern:
    """Keep the `KEYS_PER_QUERY` largest weights of each row that are at least `SMALLEST_WEIGHT`.

    Of equal weights the earlier key is kept. Source: the choice of keys is that of HeadVis.
    """
    pattern = pattern.double()
    n_keys = pattern.shape[-1]
    units = (pattern / GRID).round().long()
    # No two keys of a row have the same place, so there is one answer only.
    places = units * n_keys + torch.arange(n_keys - 1, -1, -1, device=pattern.device)
    first = torch.zeros_like(pattern, dtype=torch.bool)
    first.scatter_(-1, places.topk(min(KEYS_PER_QUERY, n_keys), -1).indices, True)
    kept = first & (units * GRID >= SMALLEST_WEIGHT)
    dropped = pattern.masked_fill(kept, 0.0).sum(-1)
    return SparsePattern(
        kept.sum(-1).cpu().numpy().astype(np.uint8),
        on_grid(dropped.cpu().numpy()),
        kept.nonzero()[:, 1].cpu().numpy().astype(np.uint16),
        (units[kept].double() * GRID).cpu().numpy().astype(np.float32),
    )


class SparsePatternReader(Intervention):
    """Reads the patterns of chosen rows of a batch.

    Args:
        wanted: by layer, pairs of a row of the batch and a head.

    Attributes:
        blocks: by layer, row and head, the blocks of queries in order.
    """

    wants_pattern = True
    block_queries = BLOCK_QUERIES

    def __init__(self, wanted: Mapping[int, Sequence[tuple[int, int]]]) -> None:
        self._wanted = wanted
        self.blocks: dict[tuple[int, int, int], list[SparsePattern]] = {}

    def on_pattern_block(
        self,
        layer: int,
        pattern: Float[Tensor, "prompt head some_query key"],
        first_query: int,  # noqa: ARG002 - blocks come in order
    ) -> None:
        """Keep the rows of a block."""
        pairs = self._wanted.get(layer, ())
        at_once = max(1, NUMBERS_AT_ONCE // (pattern.shape[2] * pattern.shape[3]))
        for start in range(0, len(pairs), at_once):
            some = pairs[start : start + at_once]
            rows, heads = zip(*some, strict=True)
            flat = sparse_rows(pattern[list(rows), list(heads)].flatten(0, 1))
            counts = flat.n_kept.reshape(len(some), -1)
            edges = np.cumsum(counts.sum(1, dtype=np.int64))[:-1]
            parts = (
                counts,
                flat.dropped.reshape(counts.shape),
                np.split(flat.key, edges),
                np.split(flat.weight, edges),
            )
            for (row, head), *one in zip(some, *parts, strict=True):
                self.blocks.setdefault((layer, row, head), []).append(SparsePattern(*one))

    def pattern(self, layer: int, row: int, head: int) -> SparsePattern:
        """A whole pattern, once the run is over."""
        return SparsePattern(*(np.concatenate(parts) for parts in zip(*self.blocks[layer, row, head], strict=True)))
