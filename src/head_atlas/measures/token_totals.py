"""Attention by token: from which tokens a head looks, and at which.

A total favours tokens that are frequent; beside it stands the lift, the token's share of the head's attention over
its share of the attention of a head that attends evenly, 1 for such a head. Position 0 is left out throughout.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt

SIDES = ("query", "key")
ORDERS = ("share", "lift")
N_TOKENS = 20
FEWEST_OCCURRENCES = 5
"""A token that occurs less often is not ranked by its lift: of a few places, chance makes the largest ratios."""
_DIMS = ("side", "order", "layer", "head", "token_rank")


class TokenTotals:
    """Sums attention by token over prompts; memory grows with the number of different tokens.

    Args:
        prompts: all that will be added.
        n_layers: of the model.
        n_heads: per layer.
    """

    def __init__(self, prompts: Sequence[Prompt], n_layers: int, n_heads: int) -> None:
        self._ids = np.array(sorted({t for p in prompts for t in p.tokens[1:]}), dtype=np.int64)
        self._total = np.zeros((len(SIDES), n_layers, n_heads, len(self._ids)))
        self._even = np.zeros((len(SIDES), n_layers, len(self._ids)))
        self._count = np.zeros(len(self._ids), dtype=np.int64)

    def count(self, ids: np.ndarray) -> None:
        """Count the tokens of prompts, [prompt, pos]."""
        self._count += np.bincount(self._places(ids), minlength=len(self._ids))

    def add(self, layer: int, ids: np.ndarray, side: str, attention: np.ndarray, even: np.ndarray) -> None:
        """Add prompts of one length.

        Args:
            layer: of the heads.
            ids: [prompt, pos].
            side: of `SIDES`.
            attention: [prompt, head, pos] that each position sends or receives.
            even: [pos] the same of a head that attends evenly.
        """
        at = SIDES.index(side)
        present, place = np.unique(self._places(ids), return_inverse=True)
        by_head = attention[:, :, 1:].transpose(1, 0, 2).reshape(attention.shape[1], -1)
        cell = np.arange(len(by_head))[:, None] * len(present) + place
        sums = np.bincount(cell.ravel(), by_head.ravel(), by_head.shape[0] * len(present))
        self._total[at, layer][:, present] += sums.reshape(-1, len(present))
        self._even[at, layer, present] += np.bincount(place, np.tile(even[1:], len(ids)), len(present))

    def _places(self, ids: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._ids, ids[:, 1:].ravel())

    def top(self) -> dict[str, NamedArray]:
        """The first `N_TOKENS` by share and by lift, with what both are: arrays of `_DIMS`."""
        n_layers, n_heads = self._total.shape[1:3]
        shape = (len(SIDES), len(ORDERS), n_layers, n_heads, N_TOKENS)
        found = {
            "token_id": np.full(shape, -1, dtype=np.int32),
            "token_share": np.full(shape, np.nan, dtype=np.float32),
            "token_lift": np.full(shape, np.nan, dtype=np.float32),
            "token_count": np.zeros(shape, dtype=np.int32),
        }
        for side, layer, head in np.ndindex(len(SIDES), n_layers, n_heads):
            total, even = self._total[side, layer, head], self._even[side, layer]
            if total.sum() == 0:  # it rests on position 0 alone
                continue
            share = total / total.sum()
            lift = share / (even / even.sum())
            for place, (values, enough) in enumerate(((share, 1), (lift, FEWEST_OCCURRENCES))):
                # Rounded, so that the last bits do not decide; then by id.
                ranked = np.argsort(-np.round(values, 6), kind="stable")
                ranked = ranked[(self._count[ranked] >= enough) & (share[ranked] > 0)][:N_TOKENS]
                cell = (side, place, layer, head, slice(len(ranked)))
                found["token_id"][cell] = self._ids[ranked]
                found["token_share"][cell] = share[ranked]
                found["token_lift"][cell] = lift[ranked]
                found["token_count"][cell] = self._count[ranked]
        coords = {"side": SIDES, "order": ORDERS}
        return {name: NamedArray(values, _DIMS, coords) for name, values in found.items()}
