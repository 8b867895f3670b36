"""Scores read from attention patterns. Formulas only; `head_atlas.catalogue` says what each one means.

Axes: `pattern` is [prompt, head, query, key], after the softmax. Rows of prompts of one length, no padding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from head_atlas.errors import PromptError

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

FIRST_DIFFUSE_QUERY = 8
"""Entropy is measured from this query on: before it there are too few keys to spread over."""

N_SINGLE_OFFSETS = 32
OFFSET_BINS = (*(str(d) for d in range(N_SINGLE_OFFSETS)), "32-63", "64+", "sink")
ARG_MAX_OFFSETS = (*(str(d) for d in range(N_SINGLE_OFFSETS)), "32+")


def mass(
    pattern: Float[Tensor, "prompt head query key"], target: Bool[Tensor, "prompt query key"]
) -> Float[Tensor, "prompt head"]:
    """Mean over queries with a target of the attention summed over their targets.

    A sum over targets, never a mean over pairs: with several earlier copies a mean over pairs would cap a
    perfect head far under 1.

    Returns:
        An attention probability in [0, 1].

    Raises:
        PromptError: a prompt has no query with a target.
    """
    queries = queries_with_target(target)
    total = (pattern * target[:, None]).sum(dim=(-2, -1))
    return total / queries.sum(-1)[:, None]


def uniform_mass(
    target: Bool[Tensor, "prompt query key"], visible: Bool[Tensor, "query key"]
) -> Float[Tensor, " prompt"]:
    """What `mass` is for a head that attends evenly to every key that the query can see.

    Args:
        target: where the targets are.
        visible: keys each query can see, fewer than all in a sliding window.

    Returns:
        `mean over Q of |S_i and V_i| / |V_i|`, in float64.
    """
    queries = queries_with_target(target)
    share = (target & visible).sum(-1).double() / visible.sum(-1)
    return (share * queries).sum(-1) / queries.sum(-1)


def diffuse(
    pattern: Float[Tensor, "prompt head query key"],
    visible: Bool[Tensor, "query key"],
    *,
    sink_free: bool = False,
) -> Float[Tensor, "prompt head"]:
    """Entropy of the rows as a share of the largest possible, averaged over queries i >= 8.

    Args:
        pattern: after the softmax.
        visible: keys each query can see.
        sink_free: leave key 0 out and renormalise; rows with nothing left are not averaged.

    Returns:
        A share in [0, 1]; 1 for an even head. NaN for prompts of 8 tokens or fewer, and where no row is left.
    """
    rows = pattern[:, :, FIRST_DIFFUSE_QUERY:].double()
    seen = visible[FIRST_DIFFUSE_QUERY:]
    if sink_free:
        rows, seen = rows[..., 1:], seen[:, 1:]
    total = rows.sum(-1, keepdim=True)
    # Rows are renormalised in any case: with sink logits they sum to less than 1.
    rows = rows / total.clamp_min(torch.finfo(torch.float64).tiny)
    entropy = torch.special.entr(rows).sum(-1)
    share = entropy / seen.sum(-1).double().log()
    return share.where(total[..., 0] > 0, torch.nan).nanmean(-1)


def offsets(pattern: Float[Tensor, "prompt head query key"]) -> Float[Tensor, "prompt head bin"]:
    """Mean attention by distance back; key 0 counts as sink only.

    Returns:
        One value per bin of `OFFSET_BINS`: for a distance d the mean over i >= d + 1 of `pattern[i, i-d]`;
        for a bin of several distances the mean, over queries that reach its first, of the attention summed
        over them; then the sink. NaN for distances that no query of the prompt has.
    """
    n_pos = pattern.shape[-1]
    profile = pattern.new_full((*pattern.shape[:2], len(OFFSET_BINS)), torch.nan, dtype=torch.float64)
    by_distance = torch.zeros(*pattern.shape[:2], n_pos, dtype=torch.float64, device=pattern.device)
    for d in range(n_pos - 1):
        # from key 1 on: the first query of the diagonal stands on key 0
        by_distance[..., d] = pattern.diagonal(offset=-d, dim1=-2, dim2=-1)[..., 1:].double().sum(-1)
    for index in range(min(N_SINGLE_OFFSETS, n_pos - 1)):
        profile[..., index] = by_distance[..., index] / (n_pos - 1 - index)
    for index, (first, last) in enumerate(((32, 63), (64, n_pos)), start=N_SINGLE_OFFSETS):
        if first < n_pos - 1:
            profile[..., index] = by_distance[..., first : last + 1].sum(-1) / (n_pos - 1 - first)
    profile[..., -1] = pattern[:, :, 1:, 0].double().mean(-1)
    return profile


def non_sink(pattern: Float[Tensor, "prompt head query key"]) -> Float[Tensor, "prompt head"]:
    """Mean over queries i >= 1 of the attention on keys other than 0.

    Returns:
        An attention probability in [0, 1]. Where the architecture has sink logits, what they take is not in it.
    """
    return pattern[:, :, 1:, 1:].sum(-1).mean(-1)


def sink_free_mass(
    pattern: Float[Tensor, "prompt head query key"], target: Bool[Tensor, "prompt query key"]
) -> Float[Tensor, "prompt head"]:
    """Attention on targets as a share of all that is not on key 0, both summed over the queries with a target.

    A ratio of sums, never a mean of ratios: rows that rest almost wholly on key 0 would count as much as others.

    Args:
        pattern: after the softmax.
        target: where the targets are, none at key 0.

    Returns:
        A share in [0, 1]; NaN where nothing is left beside key 0.

    Raises:
        PromptError: a prompt has no query with a target.
    """
    queries = queries_with_target(target)
    on_target = (pattern * target[:, None]).sum(dim=(-2, -1))
    rest = (pattern[..., 1:].sum(-1) * queries[:, None]).sum(-1)
    return on_target / rest


def norm_weighted_mass(
    pattern: Float[Tensor, "prompt head query key"],
    lengths: Float[Tensor, "prompt head key"],
    target: Bool[Tensor, "prompt query key"],
) -> Float[Tensor, "prompt head"]:
    """`mass` of the pattern weighted by how much each key's value writes, every row renormalised.

    Args:
        pattern: after the softmax.
        lengths: `||v_j W_O||` of each key.
        target: where the targets are.

    Returns:
        A share in [0, 1]; NaN where a query with a target reads nothing but values that write nothing.

    Raises:
        PromptError: a prompt has no query with a target.
    """
    queries = queries_with_target(target)
    weighted = pattern * lengths[:, :, None]
    shares = (weighted * target[:, None]).sum(-1) / weighted.sum(-1)
    return shares.where(queries[:, None], 0.0).sum(-1) / queries.sum(-1)[:, None]


def arg_max_offsets(pattern: Float[Tensor, "prompt head query key"]) -> Int[Tensor, "prompt head offset"]:
    """How many queries i >= 1 have the largest attention on keys >= 1 at each distance back.

    Returns:
        Counts by `ARG_MAX_OFFSETS`. A query with no attention on these keys at all counts nowhere; of equal
        keys the farthest is taken.
    """
    rows = pattern[:, :, 1:, 1:]
    largest, key = rows.max(-1)
    offset = (torch.arange(rows.shape[-1], device=pattern.device) - key).clamp(max=N_SINGLE_OFFSETS)
    counts = torch.zeros(*pattern.shape[:2], len(ARG_MAX_OFFSETS), dtype=torch.long, device=pattern.device)
    return counts.scatter_add_(-1, offset, (largest > 0).long())


def queries_with_target(target: Bool[Tensor, "prompt query key"]) -> Bool[Tensor, "prompt query"]:
    """Where a query has a target.

    Raises:
        PromptError: a prompt has none.
    """
    queries = target.any(-1)
    if not bool(queries.any(-1).all()):
        raise PromptError("no position of the prompt has a target of this score")
    return queries
