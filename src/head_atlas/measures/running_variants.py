"""Sink-conditional, norm-weighted and arg-max scores, summed while patterns are made, a block of queries at a time.

The formulas are those of `measures.scores`, taken apart into sums over rows. They run beside `RunningScores` and only
where they are asked for: each is at least one more pass over the pattern.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import torch

from head_atlas.measures.running_scores import BLOCK_QUERIES
from head_atlas.measures.scores import ARG_MAX_OFFSETS, N_SINGLE_OFFSETS
from head_atlas.measures.targets import TARGETS
from head_atlas.models import HeadModel, Intervention

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

SINK_FREE = {f"{name}_sink_free": name for name in TARGETS if name != "sink"}
"""Sink-conditional scores, and the mass of each. The sink itself has none: it would be a share of what it is not."""
NORM_WEIGHTED = {f"{name}_norm_weighted": name for name in TARGETS}
VARIANTS = (*SINK_FREE, *NORM_WEIGHTED, "non_sink", "positional")


def write_factors(model: HeadModel) -> list[Float[Tensor, "head d_head d_head"]]:
    """By layer, R of W_O^T = Q R for each head: Q keeps lengths, `||v W_O|| = ||R v||`, at a fraction of the cost."""
    factors = []
    for layer in range(model.n_layers):
        weight = model.output_weights(layer)[0].double()
        dtype = torch.float64 if model.dtype == torch.float64 else torch.float32
        factors.append(torch.linalg.qr(weight.transpose(-1, -2), mode="r").R.to(dtype))
    return factors


class RunningVariants(Intervention):
    """Sums up variants of every layer over one run.

    Args:
        names: of `VARIANTS`.
        targets: maps of the mass scores that they are variants of.
        factors: of `write_factors`; empty if nothing is weighted.
        n_pos: length of the prompts.
    """

    wants_pattern = True
    block_queries = BLOCK_QUERIES

    def __init__(
        self,
        names: Collection[str],
        targets: Mapping[str, Bool[Tensor, "prompt query key"]],
        factors: list[Float[Tensor, "head d_head d_head"]],
        n_pos: int,
    ) -> None:
        self._names, self._n_pos, self._factors = frozenset(names), n_pos, factors
        self._sink_free = [base for name, base in SINK_FREE.items() if name in names]
        self._weighted = [base for name, base in NORM_WEIGHTED.items() if name in names]
        self.wants_values = bool(self._weighted)
        self._targets = dict(targets)
        self._has_target = {name: target.any(-1) for name, target in targets.items()}
        self._lengths: dict[int, Float[Tensor, "prompt head key"]] = {}
        self._sums: dict[tuple[str, int], Float[Tensor, "prompt head *offset"]] = {}

    def on_values(self, layer: int, values: Float[Tensor, "prompt key head d_head"]) -> None:
        """Measure how much each value writes."""
        factor = self._factors[layer]
        self._lengths[layer] = torch.einsum("hed,pkhd->phke", factor, values.to(factor.dtype)).norm(dim=-1)

    def on_pattern_block(
        self, layer: int, pattern: Float[Tensor, "prompt head some_query key"], first_query: int
    ) -> None:
        """Add the rows of a block."""
        pattern = pattern if pattern.dtype == torch.float64 else pattern.float()
        if self._sink_free or "non_sink" in self._names:
            rest = pattern[..., 1:].sum(-1)
            if "non_sink" in self._names:
                self._add("non_sink", layer, rest[:, :, first_query == 0 :].double().sum(-1))
            for base in self._sink_free:
                of_query = self._queries(base, first_query, pattern.shape[2])
                self._add(f"{base} target", layer, (self._rows(base, pattern, first_query) * of_query).double().sum(-1))
                self._add(f"{base} rest", layer, (rest * of_query).double().sum(-1))
        if self._weighted:
            weighted = pattern * self._lengths[layer][:, :, None, : pattern.shape[3]]
            total = weighted.sum(-1)
            for base in self._weighted:
                shares = self._rows(base, weighted, first_query) / total
                shares = shares.where(self._queries(base, first_query, pattern.shape[2]), 0.0)
                self._add(f"{base} weighted", layer, shares.double().sum(-1))
        if "positional" in self._names:
            self._add("arg-max", layer, _arg_max_offsets(pattern, first_query))

    def score(self, name: str, layer: int) -> Float[Tensor, "prompt head *offset"]:
        """A variant of a layer, once the run is over; for `positional` its counts by arg-max offset."""
        if name == "positional":
            return self._sums["arg-max", layer]
        if name == "non_sink":
            return self._sums["non_sink", layer] / (self._n_pos - 1)
        if name in SINK_FREE:
            base = SINK_FREE[name]
            return self._sums[f"{base} target", layer] / self._sums[f"{base} rest", layer]
        base = NORM_WEIGHTED[name]
        return self._sums[f"{base} weighted", layer] / self._has_target[base].sum(-1)[:, None]

    def _queries(self, base: str, first: int, n: int) -> Bool[Tensor, "prompt 1 some_query"]:
        return self._has_target[base][:, None, first : first + n]

    def _rows(
        self, base: str, rows: Float[Tensor, "prompt head some_query key"], first_query: int
    ) -> Float[Tensor, "prompt head some_query"]:
        """Sum of each row over the targets of its query; anything for queries without one."""
        n_queries, n_keys = rows.shape[2:]
        if base == "sink":
            return rows[..., 0]
        if base in ("previous_token", "current_token"):
            query = torch.arange(n_queries, device=rows.device)
            key = (query + first_query - int(base == "previous_token")).clamp(min=0)
            return rows[:, :, query, key]
        target = self._targets[base][:, None, first_query : first_query + n_queries, :n_keys]
        return (rows * target).sum(-1)

    def _add(self, name: str, layer: int, value: Tensor) -> None:
        before = self._sums.get((name, layer))
        self._sums[name, layer] = value if before is None else before + value


def _arg_max_offsets(
    pattern: Float[Tensor, "prompt head some_query key"], first_query: int
) -> Int[Tensor, "prompt head offset"]:
    """`scores.arg_max_offsets` of some rows."""
    counts = torch.zeros(*pattern.shape[:2], len(ARG_MAX_OFFSETS), dtype=torch.long, device=pattern.device)
    rows = pattern[:, :, first_query == 0 :, 1:]
    if not rows.shape[2]:  # query 0 alone
        return counts
    largest, key = rows.max(-1)
    query = torch.arange(rows.shape[2], device=pattern.device) + max(first_query, 1)
    offset = (query - 1 - key).clamp(max=N_SINGLE_OFFSETS)
    return counts.scatter_add_(-1, offset, (largest > 0).long())
