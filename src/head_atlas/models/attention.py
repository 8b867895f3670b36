"""One attention function for every architecture that takes one.

transformers looks attention functions up in a registry. Ours is registered once under `NAME`; a model that
is switched to it hands over q, k, v, the mask and the scaling of every layer. It is there to read patterns
and values; outputs of heads are read and changed where the output projection takes them in, which is the same
place in every architecture (`models.wrapping`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import pad
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from head_atlas.errors import UnsupportedModelError
from head_atlas.models.intervention import AttentionInputs, Intervention, active, tell_pattern

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

NAME = "head_atlas"


@dataclass(frozen=True)
class Site:
    """Where an attention module stands: in which loaded model, at which layer, and its plain formula.

    Attributes:
        owner: the token of the loaded model.
        layer: zero-based.
        eager: the architecture computes attention eagerly by default, so we do as well.
    """

    owner: object
    layer: int
    eager: bool


@dataclass(frozen=True)
class AttentionCall:
    """One call of the attention function, seen while a model's structure is found out."""

    module: nn.Module
    query: Float[Tensor, "batch head query d"]
    key: Float[Tensor, "batch kv_head key d"]
    value: Float[Tensor, "batch kv_head key d_head"]
    z: Float[Tensor, "batch pos head d_head"]

    @property
    def n_kv_heads(self) -> int:
        """Number of heads with keys of their own."""
        return int(self.key.shape[1])


_CALLS: ContextVar[list[AttentionCall] | None] = ContextVar("head_atlas_calls", default=None)


@contextmanager
def recording_calls() -> Iterator[list[AttentionCall]]:
    """Collect the calls of the attention function made in this thread."""
    calls: list[AttentionCall] = []
    token = _CALLS.set(calls)
    try:
        yield calls
    finally:
        _CALLS.reset(token)


def head_attention(
    module: nn.Module,
    query: Float[Tensor, "batch head query d"],
    key: Float[Tensor, "batch kv_head key d"],
    value: Float[Tensor, "batch kv_head key d_head"],
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Float[Tensor, "batch query head d_head"], None]:
    """Compute z, and let the active interventions read patterns and values.

    Without a reader of patterns this is transformers' own SDPA path, bit for bit. Soft-capping and sink
    logits, which SDPA cannot compute, and architectures that are eager by default go by the eager formula
    of the architecture itself.
    """
    site: Site | None = getattr(module, "_head_atlas_site", None)
    interventions = active(site.owner) if site is not None else []
    readers = [intervention for intervention in interventions if intervention.wants_pattern]
    for intervention in interventions:
        if intervention.wants_values and site is not None:
            repeated = value.repeat_interleave(query.shape[1] // value.shape[1], 1)
            intervention.on_values(site.layer, repeated.transpose(1, 2))
    beyond_sdpa = kwargs.get("softcap") is not None or kwargs.get("s_aux") is not None

    def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = attention_mask) -> Tensor:
        if beyond_sdpa or (site is not None and site.eager):
            mask = causal_mask(q, k) if mask is None else mask
            return _eager(module, q, k, v, mask, kwargs)[0]
        return sdpa_attention_forward(module, q, k, v, mask, **kwargs)[0]

    calls = _CALLS.get()
    if site is not None and readers:
        z = _read_patterns(site.layer, readers, module, query, key, value, attention_mask, kwargs)
    elif site is not None and calls is None and _only_last(site.layer, interventions):
        last_row = None if attention_mask is None else attention_mask[..., -1:, :]
        z = pad(attend(query[:, :, -1:], key, value, last_row), (0, 0, 0, 0, query.shape[2] - 1, 0))
    else:
        z = attend(query, key, value)
    if calls is not None:
        calls.append(AttentionCall(module, query, key, value, z))
    for intervention in interventions:
        if intervention.wants_attention and site is not None:
            z = intervention.on_attention(site.layer, AttentionInputs(query, key, value, attend), z)
    return z, None


def _only_last(layer: int, interventions: list[Intervention]) -> bool:
    """Whether one intervention wants z at the last position alone, and none needs more of the attention."""
    wanted = any(intervention.last_query_only(layer) for intervention in interventions)
    return wanted and not any(intervention.wants_attention for intervention in interventions)


def _read_patterns(
    layer: int,
    readers: list[Intervention],
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    kwargs: dict[str, Any],
) -> Float[Tensor, "batch query head d_head"]:
    """Compute z by the eager formula, in blocks of queries if no reader wants whole patterns."""
    n_query, n_key = query.shape[2], key.shape[2]
    sizes = [reader.block_queries for reader in readers]
    size = n_query if n_key != n_query or None in sizes else min(s for s in sizes if s is not None)
    parts = []
    for first in range(0, n_query, size):
        last = min(first + size, n_query)
        if attention_mask is None:
            # Keys after the block's last query are masked for all of it: they are left out.
            end = last + n_key - n_query
            mask = causal_mask(query, key, first, last)[:, :end]
        else:
            end = n_key
            if n_key == n_query and attention_mask.dtype == torch.bool:
                end = n_key if bool(attention_mask[..., first:last, last:].any()) else last
            mask = attention_mask[..., first:last, :end]
        z, pattern = _eager(module, query[:, :, first:last], key[:, :, :end], value[:, :, :end], mask, kwargs)
        parts.append(z)
        for reader in readers:
            tell_pattern(reader, layer, pattern, first)
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def causal_mask(query: Tensor, key: Tensor, first: int = 0, last: int | None = None) -> Bool[Tensor, "query key"]:
    """True where a query of these sees a key; the last query of all stands on the last key."""
    n_query, n_key = query.shape[2], key.shape[2]
    at = torch.arange(first, n_query if last is None else last, device=query.device) + n_key - n_query
    return torch.arange(n_key, device=query.device)[None, :] <= at[:, None]


def _eager(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, kwargs: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """Attention by the formula written in the architecture's own file: soft-caps and sinks included."""
    formula = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
    if formula is None:
        raise UnsupportedModelError(
            f"{type(module).__name__} has no eager attention formula, so its patterns cannot be read"
        )
    if mask.dtype == torch.bool:
        # In float64 as well no less than float32 can hold: the softmax may be taken in it, and a row of -inf is NaN.
        blocked = max(torch.finfo(query.dtype).min, torch.finfo(torch.float32).min)
        mask = torch.where(mask, torch.zeros((), dtype=query.dtype, device=query.device), blocked)
    z, pattern = formula(module, query, key, value, mask, **kwargs)
    return z, pattern


# Both registries: under a name that only the first one knows, no mask would arrive, and sliding windows
# and padding would silently be ignored.
AttentionInterface.register(NAME, head_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
