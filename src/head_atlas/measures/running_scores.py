"""Pattern scores summed while patterns are made, a block of queries at a time: no pattern is kept, or made whole.

The formulas are those of `measures.scores`, taken apart into sums over rows. What one layer needs at a time is
[prompt, head, block of queries, key], whatever the number of layers, plus the target maps of the scores that
depend on the tokens, [prompt, query, key] of one byte.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from head_atlas.measures.scores import FIRST_DIFFUSE_QUERY, N_SINGLE_OFFSETS, OFFSET_BINS
from head_atlas.models import Intervention

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

BLOCK_QUERIES = 64
SHARED_MASSES = ("previous_token", "current_token", "sink")
"""Mass scores whose targets are the same in every prompt: sums over a diagonal or a column."""


class RunningScores(Intervention):
    """Sums up scores of every layer over one run.

    Args:
        names: of scores.
        targets: maps of the mass scores that depend on the tokens.
        visible: number of keys that each query sees, by layer.
        n_prompts: rows of the batch.
        n_pos: their length.
    """

    wants_pattern = True
    block_queries = BLOCK_QUERIES

    def __init__(
        self,
        names: Collection[str],
        targets: Mapping[str, Bool[Tensor, "prompt query key"]],
        visible: Sequence[Int[Tensor, " query"]],
        n_prompts: int,
        n_pos: int,
    ) -> None:
        self._names, self._visible = frozenset(names), visible
        self._n_prompts, self._n_pos = n_prompts, n_pos
        self._targets = dict(targets)
        self._n_queries = {name: target.any(-1).sum(-1)[:, None] for name, target in self._targets.items()}
        self._sums: dict[tuple[str, int], Float[Tensor, "prompt head *bin"]] = {}

    def on_pattern_block(
        self, layer: int, pattern: Float[Tensor, "prompt head some_query key"], first_query: int
    ) -> None:
        """Add the rows of a block."""
        pattern = pattern if pattern.dtype == torch.float64 else pattern.float()
        last = first_query + pattern.shape[2]
        if "sink" in self._names or "offsets" in self._names:
            self._add("sink", layer, pattern[:, :, first_query == 0 :, 0].double().sum(-1))
        if self._names & {"previous_token", "current_token", "offsets"}:
            self._add("distances", layer, by_distance(pattern, first_query))
        if "offsets" in self._names and last > N_SINGLE_OFFSETS + 1:
            self._add("far", layer, pattern.flatten(2) @ _far(first_query, last, pattern))
        if self._targets:
            rows = [target[:, first_query:last, : pattern.shape[3]] for target in self._targets.values()]
            maps = torch.stack(rows, -1).flatten(1, 2).to(pattern.dtype)  # prompt query*key score
            self._add("targets", layer, pattern.flatten(2) @ maps)
        if self._names & {"diffuse", "diffuse_sink_free"} and last > FIRST_DIFFUSE_QUERY:
            skipped = max(0, FIRST_DIFFUSE_QUERY - first_query)
            queries = torch.arange(first_query + skipped, last, device=pattern.device)
            for name, shares in _diffuse(pattern[:, :, skipped:], self._visible[layer][queries], queries).items():
                self._add(name, layer, shares.nan_to_num(0.0).sum(-1))
                self._add(f"{name} rows", layer, (~shares.isnan()).sum(-1).double())

    def _add(self, name: str, layer: int, value: Tensor) -> None:
        before = self._sums.get((name, layer))
        self._sums[name, layer] = value.double() if before is None else before + value

    def score(self, name: str, layer: int) -> Float[Tensor, "prompt head *bin"]:
        """A score of a layer, once the run is over; offsets have an axis of bins."""
        n = self._n_pos
        if name == "offsets":
            return self._offsets(layer)
        if name in self._targets:
            place = list(self._targets).index(name)
            return self._sums["targets", layer][..., place] / self._n_queries[name]
        if name == "sink":
            return self._sums["sink", layer] / (n - 1)
        if name in SHARED_MASSES:
            distance = int(name == "previous_token")
            return self._sums["distances", layer][..., distance] / (n - 1 - distance)
        if (name, layer) not in self._sums:  # too short for a single row
            heads = next(value.shape[1] for (_, at), value in self._sums.items() if at == layer)
            return torch.full((self._n_prompts, heads), torch.nan)
        return self._sums[name, layer] / self._sums[f"{name} rows", layer]

    def _offsets(self, layer: int) -> Float[Tensor, "prompt head bin"]:
        n, distances = self._n_pos, self._sums["distances", layer]
        profile = distances.new_full((*distances.shape[:2], len(OFFSET_BINS)), torch.nan)
        single = min(N_SINGLE_OFFSETS, n - 1)
        queries = n - 1 - torch.arange(single, device=profile.device)
        profile[..., :single] = distances[..., :single] / queries
        for place, first in enumerate((N_SINGLE_OFFSETS, 2 * N_SINGLE_OFFSETS)):
            if first < n - 1:
                profile[..., N_SINGLE_OFFSETS + place] = self._sums["far", layer][..., place] / (n - 1 - first)
        profile[..., -1] = self._sums["sink", layer] / (n - 1)
        return profile


def by_distance(
    pattern: Float[Tensor, "prompt head some_query key"], first_query: int
) -> Float[Tensor, "prompt head distance"]:
    """Attention by distance back, 0 to 31, summed over the queries of a block; key 0 left out."""
    n_queries, n_keys = pattern.shape[2:]
    width = N_SINGLE_OFFSETS
    total = torch.zeros(*pattern.shape[:2], width, dtype=torch.float64, device=pattern.device)
    # The first queries have fewer than 32 keys behind them: one diagonal at a time.
    few = max(0, min(n_queries, width - first_query))
    for distance in range(min(width, n_keys - 1)):
        start = max(0, distance + 1 - first_query)  # its key is at least 1
        if start < few:
            row = torch.arange(start, few, device=pattern.device)
            total[..., distance] = pattern[:, :, row, row + first_query - distance].double().sum(-1)
    if few < n_queries:
        # The other rows' bands of 32 keys, seen as one array: the next row starts one key later.
        rows = pattern[:, :, few:, first_query + few - width + 1 :]
        band = rows.as_strided(
            (*rows.shape[:3], width), (*rows.stride()[:2], rows.stride(2) + rows.stride(3), rows.stride(3))
        )
        total += band.sum(2, dtype=torch.float64).flip(-1)
    return total


def _far(first_query: int, last_query: int, pattern: Tensor) -> Float[Tensor, "query*key 2"]:
    """Where keys, 0 left out, lie 32 to 63 and 64 or more back."""
    queries = torch.arange(first_query, last_query, device=pattern.device)[:, None]
    keys = torch.arange(pattern.shape[3], device=pattern.device)[None, :]
    distance = queries - keys
    middle = (distance >= N_SINGLE_OFFSETS) & (distance < 2 * N_SINGLE_OFFSETS) & (keys > 0)
    far = (distance >= 2 * N_SINGLE_OFFSETS) & (keys > 0)
    return torch.stack([middle, far], -1).flatten(0, 1).to(pattern.dtype)


def _diffuse(
    pattern: Float[Tensor, "prompt head query key"], seen: Int[Tensor, " query"], queries: Int[Tensor, " query"]
) -> dict[str, Float[Tensor, "prompt head query"]]:
    """Entropy of each row as a share of the largest, with and without key 0; NaN for rows with nothing left.

    With rows renormalised by their sum s, entropy is (sum of -p log p) / s + log s.
    """
    entropy = pattern.clamp_min(torch.finfo(pattern.dtype).tiny).log_().mul_(pattern).neg_()
    rest, rest_entropy = pattern[..., 1:].sum(-1).double(), entropy[..., 1:].sum(-1).double()
    total, total_entropy = rest + pattern[..., 0], rest_entropy + entropy[..., 0]
    whole = (total_entropy / total + total.log()) / seen.double().log()
    without_first = seen - (seen > queries).long()  # a sliding window has left key 0 behind already
    free = (rest_entropy / rest + rest.log()) / without_first.double().log()
    return {"diffuse": whole.where(total > 0, torch.nan), "diffuse_sink_free": free.where(rest > 0, torch.nan)}
