"""The heads of a HeadVis tree, page by page, into the flat arrays of exemplars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from head_atlas.errors import AtlasError
from head_atlas.exchange.strange_json import listed, number, text, whole
from head_atlas.heads import HeadId
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt

LONGEST_SEQUENCE = 4096
MOST_SEQUENCES = 1000
"""Of a head."""
MOST_TOKENS = 2**26
"""Of all prompts."""
MOST_ENTRIES = 2**28
"""Of all patterns, 6 bytes each and as much again while they are put together: a tree of 80 x 64 heads as published
(5 GB of JSON) has some 1.8e8."""
MOST_BINS = 1000
_LONGEST_TOKEN = 1000
_ROUNDING = 0.02
"""By which rows of rounded attention may exceed 1: bfloat16 patterns, rounded again to four decimals."""
_EDGE_ROUNDING = 1e-3


class Pages:
    """What the pages of all heads come to; heads are to be added in order.

    Attributes:
        prompts: every sequence once.
        token_strings: by invented id.
        mean_largest: [layer, head], NaN where not said.
    """

    def __init__(self, n_layers: int, n_heads: int) -> None:
        self.prompts: list[Prompt] = []
        self.token_strings: dict[int, str] = {}
        self.mean_largest = np.full((n_layers, n_heads), np.nan)
        self._n_tokens = self._n_entries = 0
        self._ids: dict[str, int] = {}
        self._index: dict[tuple[int, ...], int] = {}
        self._per_head = np.zeros(n_layers * n_heads, dtype=np.int64)
        self._histograms: dict[HeadId, np.ndarray] = {}
        self._rows: dict[str, list[Any]] = {name: [] for name in ("prompt_index", "band", "rank", "value")}
        self._patterns: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []

    def prompt_of(self, tokens: list[str], where: str) -> int:
        """The index of a sequence among the prompts, with which it is put if it is new."""
        ids = tuple(self._ids.setdefault(token, len(self._ids)) for token in tokens)
        if ids in self._index:
            return self._index[ids]
        self._n_tokens += len(ids)
        if self._n_tokens > MOST_TOKENS:
            raise AtlasError(f"{where}: more than {MOST_TOKENS} tokens in all")
        for token, token_id in zip(tokens, ids, strict=True):
            self.token_strings[token_id] = token
        # nothing was asked of these prompts; the last token stands for a target
        read_at = max(len(ids) - 2, 0)
        prompt = Prompt("".join(tokens), ids, (read_at,), (ids[-1],), family="headvis")
        self._index[ids] = len(self.prompts)
        self.prompts.append(prompt)
        return self._index[ids]

    def add(
        self,
        head: HeadId,
        place: tuple[int, int, int],
        value: float,
        pattern: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
        where: str,
    ) -> None:
        """Add an exemplar: its prompt, band and rank, its largest attention, and its pattern."""
        self._n_entries += len(pattern[2])
        if self._n_entries > MOST_ENTRIES:
            raise AtlasError(f"{where}: more than {MOST_ENTRIES} numbers of attention in all")
        self._per_head[head.layer * self.mean_largest.shape[1] + head.head] += 1
        for name, number_ in zip(self._rows, (*place, value), strict=True):
            self._rows[name].append(number_)
        self._patterns.append(pattern)

    def add_histogram(self, head: HeadId, counts: np.ndarray) -> None:
        """Add how many sequences had their largest attention in each of some even bins from 0 to 1."""
        self._histograms[head] = counts

    def arrays(self) -> dict[str, NamedArray]:
        """As `measures.exemplars` names them; effects are NaN."""
        kinds = {"prompt_index": np.int32, "band": np.int16, "rank": np.int16, "value": np.float32}
        found = {
            name: NamedArray(np.array(self._rows[name], dtype=kind), ("exemplar",)) for name, kind in kinds.items()
        }
        counts, dropped, keys, weights = (np.concatenate(parts) for parts in zip(*self._patterns, strict=True))
        n_rows = [len(pattern[0]) for pattern in self._patterns]
        n_entries = [len(pattern[2]) for pattern in self._patterns]
        return found | {
            "effect": NamedArray(np.full(len(n_rows), np.nan, dtype=np.float32), ("exemplar",)),
            "head_offset": NamedArray(_edges(self._per_head), ("head_edge",)),
            "row_offset": NamedArray(_edges(n_rows), ("exemplar_edge",)),
            "entry_offset": NamedArray(_edges(n_entries), ("exemplar_edge",)),
            "row_count": NamedArray(counts, ("exemplar_row",)),
            "row_dropped": NamedArray(dropped, ("exemplar_row",)),
            "key": NamedArray(keys, ("exemplar_entry",)),
            "weight": NamedArray(weights, ("exemplar_entry",)),
            "mean_largest": NamedArray(self.mean_largest, ("layer", "head")),
            **self._histogram(),
        }

    def _histogram(self) -> dict[str, NamedArray]:
        """[layer, head, largest_bin], where every head has one, of as many bins as the others."""
        n_bins = {len(counts) for counts in self._histograms.values()}
        if len(n_bins) != 1 or len(self._histograms) < self.mean_largest.size:
            return {}
        shape = (*self.mean_largest.shape, n_bins.pop())
        counts = np.stack([self._histograms[head] for head in sorted(self._histograms)]).reshape(shape)
        return {"histogram": NamedArray(counts.astype(np.int32), ("layer", "head", "largest_bin"))}


def read_page(page: Any, name: str, head: HeadId, pages: Pages) -> None:
    """Add the sequences of one head; absent fields are taken as not measured.

    Args:
        page: an object, or as in trees of the first kind the list of sequences alone.
        name: of the file.
        head: whose page it is.
        pages: of all heads.

    Raises:
        AtlasError: a field of another kind, by name.
    """
    if isinstance(page, list):
        page = {"sequences": page}
    if not isinstance(page, dict):
        raise AtlasError(f"{name}: expected an object or a list of sequences, found {type(page).__name__}")
    ranks: dict[int, int] = {}
    for number_, sequence in enumerate(listed(page.get("sequences", []), f"{name}: sequences", MOST_SEQUENCES)):
        where = f"{name}: sequence {number_}"
        if not isinstance(sequence, dict):
            raise AtlasError(f"{where}: expected an object")
        tokens = _tokens(sequence, where)
        band = whole(sequence.get("interval", 1), f"{where}: interval", 1000)
        value = sequence.get("max_activation")
        largest = np.nan if value is None else number(value, f"{where}: max_activation")
        pattern = _pattern(sequence, len(tokens), where)
        rank = ranks.setdefault(band, 0)
        ranks[band] += 1
        pages.add(head, (pages.prompt_of(tokens, where), band, rank), largest, pattern, where)
    statistics = page.get("statistics")
    if isinstance(statistics, dict) and statistics.get("mean_max_activation") is not None:
        mean = number(statistics["mean_max_activation"], f"{name}: mean_max_activation")
        pages.mean_largest[head.layer, head.head] = mean
    histogram = page.get("histogram")
    if isinstance(histogram, dict) and histogram:
        counts = _histogram(histogram, f"{name}: histogram")
        if counts is not None:
            pages.add_histogram(head, counts)


def _histogram(found: Mapping[str, Any], where: str) -> np.ndarray | None:
    """Counts of even bins from 0 to 1; None for other bins, which an atlas has no place for."""
    if found.get("bin_values") is None or found.get("bin_edges") is None:
        return None
    values = listed(found["bin_values"], f"{where}: bin_values", MOST_BINS)
    edges = listed(found["bin_edges"], f"{where}: bin_edges", MOST_BINS + 1)
    if len(edges) != len(values) + 1:
        raise AtlasError(f"{where}: {len(values)} bin_values and {len(edges)} bin_edges")
    even = np.linspace(0, 1, len(edges)) if values else np.array([])
    given = np.array([number(edge, f"{where}: bin_edges") for edge in edges])
    counts = [number(value, f"{where}: bin_values") for value in values]
    if len(even) != len(given) or np.abs(even - given).max() > _EDGE_ROUNDING:
        return None
    return np.array([whole(int(x) if x == int(x) else x, f"{where}: bin_values", 2**31 - 1) for x in counts])


def _tokens(sequence: Mapping[str, Any], where: str) -> list[str]:
    found = listed(sequence.get("tokens"), f"{where}: tokens", LONGEST_SEQUENCE)
    if not found or not all(isinstance(token, str) and len(token) <= _LONGEST_TOKEN for token in found):
        raise AtlasError(f"{where}: tokens: expected texts of at most {_LONGEST_TOKEN} characters")
    if sequence.get("seq_len", len(found)) != len(found):
        raise AtlasError(f"{where}: seq_len: expected {len(found)}, found {text(str(sequence['seq_len']), 40)!r}")
    return [text(token, _LONGEST_TOKEN) for token in found]


def _pattern(sequence: Mapping[str, Any], n: int, where: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Keys kept per row, attention to the others, keys, weights. What a softmax does not show, it gave to others."""
    most = n * n
    flat = listed(sequence.get("attention_indices", []), f"{where}: attention_indices", most)
    values = listed(sequence.get("attention_values", []), f"{where}: attention_values", most)
    if len(flat) != len(values):
        raise AtlasError(f"{where}: {len(flat)} attention_indices and {len(values)} attention_values")
    if set(map(type, flat)) <= {int} and all(0 <= i < n * n for i in flat):  # patterns are nearly all of a tree
        index = np.array(flat, dtype=np.int64)
    else:
        index = np.array([whole(i, f"{where}: attention_indices", n * n - 1) for i in flat], dtype=np.int64)
    weight = np.array([number(v, f"{where}: attention_values") for v in values], dtype=np.float32)
    # a writer that keeps the largest few of each row, without a threshold, keeps zeros of later keys
    index, weight = index[weight != 0], weight[weight != 0]
    order = np.argsort(index, kind="stable")
    index, weight = index[order], weight[order]
    query, key = np.divmod(index, n)
    if (np.diff(index) == 0).any() or (key > query).any():
        raise AtlasError(f"{where}: attention_indices: one twice, or a key after its query")
    total = np.bincount(query, weights=weight, minlength=n)
    if ((weight < 0) | (weight > 1)).any() or (total > 1 + _ROUNDING).any():
        raise AtlasError(f"{where}: attention_values: expected probabilities, found others")
    counts = np.bincount(query, minlength=n).astype(np.uint16)
    return counts, np.maximum(1 - total, 0).astype(np.float32), key.astype(np.uint16), weight


def _edges(sizes: Any) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64)
