"""Which keys a pattern score looks for: target maps, from token ids alone.

A target map is True at [query, key] where the key is a target of the query. Its queries are the rows with a
target (methods: `Q = {i >= 1, S_i not empty}`). Position 0 is a target of the sink score only, whatever token
stands there, and never a query.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Bool, Int
    from torch import Tensor


def previous_token(tokens: Int[Tensor, "prompt pos"]) -> Bool[Tensor, "prompt query key"]:
    """The key just before, from i = 2 on."""
    return _everywhere(tokens, _distances(tokens.shape[1]) == 1)


def current_token(tokens: Int[Tensor, "prompt pos"]) -> Bool[Tensor, "prompt query key"]:
    """The query's own position."""
    return _everywhere(tokens, _distances(tokens.shape[1]) == 0)


def sink(tokens: Int[Tensor, "prompt pos"]) -> Bool[Tensor, "prompt query key"]:
    """Key 0, for every query but 0 itself."""
    target = torch.zeros(tokens.shape[1], tokens.shape[1], dtype=torch.bool)
    target[1:, 0] = True
    return target.expand(len(tokens), -1, -1)


def duplicate_token(tokens: Int[Tensor, "prompt pos"]) -> Bool[Tensor, "prompt query key"]:
    """Earlier copies of the query's token."""
    return _earlier_copies(tokens) & _everywhere(tokens, _distances(tokens.shape[1]) >= 1)


def induction(tokens: Int[Tensor, "prompt pos"]) -> Bool[Tensor, "prompt query key"]:
    """Keys that follow an earlier copy of the query's token; the query itself is left out."""
    follows = torch.zeros(len(tokens), tokens.shape[1], tokens.shape[1], dtype=torch.bool)
    # a copy at key 0 counts here: key 0 itself is no target, but what follows it is
    follows[:, :, 1:] = _earlier_copies(tokens)[:, :, :-1]
    return follows & _everywhere(tokens, _distances(tokens.shape[1]) >= 1)


TARGETS: dict[str, Callable[[Tensor], Tensor]] = {
    "previous_token": previous_token,
    "current_token": current_token,
    "sink": sink,
    "duplicate_token": duplicate_token,
    "induction": induction,
}


def visible(n_pos: int, window: int | None) -> Bool[Tensor, "query key"]:
    """Keys that each query can see: itself and all before it, or the nearest `window` of these."""
    distance = _distances(n_pos)
    return (distance >= 0) & (distance < (n_pos if window is None else window))


def _earlier_copies(tokens: Int[Tensor, "prompt pos"]) -> Bool[Tensor, "prompt query key"]:
    same = tokens[:, :, None] == tokens[:, None, :]
    return same & (_distances(tokens.shape[1]) >= 1)


def _distances(n_pos: int) -> Int[Tensor, "query key"]:
    position = torch.arange(n_pos)
    return position[:, None] - position[None, :]


def _everywhere(
    tokens: Int[Tensor, "prompt pos"], target: Bool[Tensor, "query key"]
) -> Bool[Tensor, "prompt query key"]:
    """The same map for every prompt, without position 0."""
    target = target.clone()
    target[0, :] = False
    target[:, 0] = False
    return target.expand(len(tokens), -1, -1)
