"""Offset scores of heads whose keys >= 1 are permuted within each row: what position gives by chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from head_atlas.measures.patterns import packs
from head_atlas.measures.positional import best_offset, share_at
from head_atlas.measures.running_scores import BLOCK_QUERIES
from head_atlas.measures.scores import N_SINGLE_OFFSETS
from head_atlas.models import HeadModel, Intervention
from head_atlas.prompts.prompt import Prompt

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

_DRAWS_PER_BLOCK = 2048


def permuted_masses(
    model: HeadModel,
    prompts: Sequence[Prompt],
    names: Sequence[str],
    n_draws: int,
    *,
    seed: int,
    windows: Sequence[int | None],
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, np.ndarray]:
    """Mean mass over prompts of permuted patterns, [layer, head, draw] float64.

    Args:
        model: whose heads.
        prompts: of any lengths from 3 tokens on.
        names: of "previous_token" and "current_token".
        n_draws: permutations of every row.
        seed: with a prompt's index, of its random numbers.
        windows: per layer, keys that a query sees; None for all.
        progress: is told prompts done and all prompts.
    """
    means = {name: np.zeros((model.n_layers, model.n_heads, n_draws)) for name in names}
    n_queries = BLOCK_QUERIES if model.structure.through_interface else model.max_length
    done = 0
    for members in packs(prompts, model.n_heads, n_queries, n_draws):
        n_pos = len(prompts[members[0]])
        uniform = torch.stack([_uniform(seed, index, n_pos, n_draws) for index in members]).to(model.device)
        running = _PermutedKeys(uniform, windows)
        with model.intervening(running):
            model.attend(model.rows([prompts[i].tokens for i in members]))
        for layer, totals in running.totals.items():
            for name in names:
                # The mass of a prompt is a mean over queries: from 1 on, or from 2 on, where a previous key >= 1 is.
                if name == "current_token":
                    masses = totals / (n_pos - 1)
                else:
                    masses = (totals - running.firsts[layer][..., None]) / (n_pos - 2)
                means[name][layer] += masses.sum(0).cpu().numpy() / len(prompts)
        done += len(members)
        if progress is not None:
            progress(done, len(prompts))
    return means


def even_positional(lengths: Sequence[int], window: int | None, n_draws: int, rng: np.random.Generator) -> np.ndarray:
    """Mean positional shares over prompts of heads whose arg-max is at any key >= 1 with the same chance, [draw]."""
    means = []
    for start in range(0, n_draws, _DRAWS_PER_BLOCK):
        n = min(_DRAWS_PER_BLOCK, n_draws - start)
        # the offset is that of all prompts together, so they are drawn twice over, the same both times: what is kept
        # does not grow with their number
        state = rng.bit_generator.state
        pooled = np.zeros((n, N_SINGLE_OFFSETS), dtype=np.int64)
        for n_pos in lengths:
            pooled += _even_counts(n_pos, window, n, rng)
        offset = best_offset(pooled)
        rng.bit_generator.state = state
        total, defined = np.zeros(n), np.zeros(n, dtype=np.int64)
        for n_pos in lengths:
            share = share_at(_even_counts(n_pos, window, n, rng), offset, n_pos)
            total += np.nan_to_num(share)
            defined += ~np.isnan(share)
        with np.errstate(invalid="ignore"):
            means.append(total / defined)
    return np.concatenate(means)


def _even_counts(n_pos: int, window: int | None, n: int, rng: np.random.Generator) -> np.ndarray:
    """How often each offset has the arg-max in one prompt, [draw, offset], where every key >= 1 has the same chance."""
    counts = np.zeros((n, N_SINGLE_OFFSETS), dtype=np.int32)
    for query in range(1, n_pos):
        offset = rng.integers(query if window is None else min(query, window), size=n)
        kept = np.flatnonzero(offset < N_SINGLE_OFFSETS)
        counts[kept, offset[kept]] += 1
    return counts


def mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis without what is NaN; NaN where all is."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        mean: np.ndarray = np.where(defined, values, 0.0).sum(-1, dtype=np.float64) / defined.sum(-1)
    return mean


class _PermutedKeys(Intervention):
    """Sums, over the rows of every prompt, the attention on one evenly drawn key >= 1 of each row.

    Args:
        uniform: random numbers in [0, 1), the same for all heads.
        windows: per layer.

    Attributes:
        totals: by layer, [prompt, head, draw] over queries i >= 1.
        firsts: by layer, [prompt, head] the row of query 1, whose one key is drawn in every draw.
    """

    wants_pattern = True
    block_queries = BLOCK_QUERIES

    def __init__(self, uniform: Float[Tensor, "prompt query draw"], windows: Sequence[int | None]) -> None:
        self._uniform, self._windows = uniform, windows
        self.totals: dict[int, Float[Tensor, "prompt head draw"]] = {}
        self.firsts: dict[int, Float[Tensor, "prompt head"]] = {}

    def on_pattern_block(
        self, layer: int, pattern: Float[Tensor, "prompt head some_query key"], first_query: int
    ) -> None:
        start = first_query == 0
        rows = (pattern if pattern.dtype == torch.float64 else pattern.float())[:, :, start:]
        if not rows.shape[2]:  # query 0 alone
            return
        query = torch.arange(rows.shape[2], device=rows.device) + first_query + start
        window = self._windows[layer]
        lowest = torch.ones_like(query) if window is None else (query - window + 1).clamp(min=1)
        n_seen = (query - lowest + 1)[:, None]
        uniform = self._uniform[:, first_query + start : first_query + start + rows.shape[2]]
        key = lowest[:, None] + torch.minimum((uniform * n_seen).long(), n_seen - 1)
        drawn = rows.gather(-1, key[:, None].expand(-1, rows.shape[1], -1, -1)).sum(2, dtype=torch.float64)
        self.totals[layer] = self.totals[layer] + drawn if layer in self.totals else drawn
        if start:
            self.firsts[layer] = rows[:, :, 0, 1].double()


def _uniform(seed: int, prompt: int, n_pos: int, n_draws: int) -> Float[Tensor, "query draw"]:
    """Random numbers of a prompt, whatever batch it runs in."""
    rng = np.random.default_rng([seed, 1, prompt])
    return torch.from_numpy(rng.random((n_pos, n_draws), dtype=np.float32))
