"""Exemplars inside the file: flat arrays with offsets, of which one exemplar is read at a time.

Head h (layer x n_heads + head) has the exemplars `head_offset[h] : head_offset[h + 1]`; exemplar e has the rows
`row_offset[e] : row_offset[e + 1]` and the entries `entry_offset[e] : entry_offset[e + 1]`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from head_atlas.errors import AtlasError
from head_atlas.heads import HeadId

LONGEST_DENSE = 4096
"""Tokens of a prompt whose pattern is spread out: 64 MB."""


@dataclass(frozen=True)
class Exemplar:
    """A prompt that stands for a head.

    Attributes:
        index: its place among all exemplars.
        prompt: index of the prompt.
        band: 1 to the number of bands, the highest; 0 for those chosen by their effect.
        rank: from 0 within the band.
        value: the head's largest attention on the prompt, position 0 left out.
        effect: ablated - clean; NaN where there is none.
    """

    index: int
    prompt: int
    band: int
    rank: int
    value: float
    effect: float


class DensePattern(NamedTuple):
    """A stored pattern, spread out.

    Attributes:
        weights: [query, key] float32; 0 for a key that was not kept.
        dropped: [query] float32, attention to the keys that were not kept.
    """

    weights: np.ndarray
    dropped: np.ndarray


class StoredExemplars:
    """Exemplars as an atlas returns them.

    Args:
        arrays: by name, numpy arrays or datasets of an open file.
        n_layers: of the model.
        n_heads: per layer.
        lengths: tokens of each prompt.

    Raises:
        AtlasError: offsets or indices that point outside of the arrays.
    """

    def __init__(self, arrays: Mapping[str, Any], n_layers: int, n_heads: int, lengths: Sequence[int]) -> None:
        self._arrays, self._shape, self._lengths = arrays, (n_layers, n_heads), lengths
        n = len(arrays["prompt_index"])
        self._heads = _edges(arrays, "head_offset", n_layers * n_heads, n)
        self._rows = _edges(arrays, "row_offset", n, len(arrays["row_count"]))
        self._entries = _edges(arrays, "entry_offset", n, len(arrays["key"]))
        for name, size in (("band", n), ("rank", n), ("value", n), ("effect", n)):
            _expect_length(arrays, name, size)
        _expect_length(arrays, "row_dropped", len(arrays["row_count"]))
        _expect_length(arrays, "weight", len(arrays["key"]))

    def of(self, layer: int, head: int) -> tuple[Exemplar, ...]:
        """The exemplars of a head: the highest band first, those chosen by their effect last.

        Raises:
            HeadError: the model has no such head.
            AtlasError: an exemplar of a prompt that is not there.
        """
        HeadId(layer, head).within(*self._shape)
        flat = layer * self._shape[1] + head
        start, stop = int(self._heads[flat]), int(self._heads[flat + 1])
        names = ("prompt_index", "band", "rank", "value", "effect")
        columns = [np.asarray(self._arrays[name][start:stop]).tolist() for name in names]
        found = tuple(Exemplar(index, *row) for index, row in enumerate(zip(*columns, strict=True), start=start))
        for exemplar in found:
            if not 0 <= exemplar.prompt < len(self._lengths):
                raise AtlasError(f"exemplar {exemplar.index}: no prompt {exemplar.prompt}")
        return found

    def pattern(self, exemplar: Exemplar) -> DensePattern:
        """The head's pattern on the prompt.

        Raises:
            AtlasError: it does not fit its prompt, or is too long to be spread out.
        """
        place, n = f"exemplar {exemplar.index}", self._lengths[exemplar.prompt]
        rows = slice(*self._rows[exemplar.index : exemplar.index + 2].tolist())
        entries = slice(*self._entries[exemplar.index : exemplar.index + 2].tolist())
        if rows.stop - rows.start != n:
            raise AtlasError(f"{place}: expected {n} rows, one per token of its prompt, found {rows.stop - rows.start}")
        if n > LONGEST_DENSE:
            raise AtlasError(f"{place}: its prompt has {n} tokens; at most {LONGEST_DENSE} are spread out")
        count = np.asarray(self._arrays["row_count"][rows]).astype(np.int64)
        key = np.asarray(self._arrays["key"][entries]).astype(np.int64)
        if (count < 0).any() or count.sum() != len(key):
            raise AtlasError(f"{place}: its rows count {count.sum()} keys, found {len(key)}")
        query = np.repeat(np.arange(n), count)
        if (key < 0).any() or (key > query).any():
            raise AtlasError(f"{place}: a key that its query does not see")
        weight = np.asarray(self._arrays["weight"][entries], dtype=np.float32)
        if not ((weight >= 0) & (weight <= 1)).all():
            raise AtlasError(f"{place}: expected weights between 0 and 1")
        weights = np.zeros((n, n), dtype=np.float32)
        weights[query, key] = weight
        return DensePattern(weights, np.asarray(self._arrays["row_dropped"][rows], dtype=np.float32))


def _edges(arrays: Mapping[str, Any], name: str, n: int, end: int) -> np.ndarray:
    _expect_length(arrays, name, n + 1)
    edges = np.asarray(arrays[name][:])
    if edges.dtype.kind not in "iu" or edges[0] != 0 or edges[-1] != end or (edges[1:] < edges[:-1]).any():
        raise AtlasError(f"{name}: offsets must rise from 0 to {end}")
    return edges.astype(np.int64)


def _expect_length(arrays: Mapping[str, Any], name: str, size: int) -> None:
    if tuple(arrays[name].shape) != (size,):
        raise AtlasError(f"{name}: expected {size} numbers, found the shape {tuple(arrays[name].shape)}")
