"""One attention function for every architecture that takes one, and the interventions that runs obey.

transformers looks attention functions up in a registry. Ours is registered once under `NAME`; a model that
is switched to it hands over q, k, v, the mask and the scaling of every layer. It is there to read patterns
and values; outputs of heads are read and changed where the output projection takes them in, which is the same
place in every architecture (`models.wrapping`). Whatever is to be read or changed in a run is an
`Intervention` held in a ContextVar: nothing global and nothing in the model changes, so two threads that use
one model never see each other's interventions, and an exception leaves none behind.

Axes: `z` and `values` are [batch, pos, head, d_head]; `pattern` is [batch, head, query, key], after the softmax.
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
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from head_atlas.errors import UnsupportedModelError

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

NAME = "head_atlas"


class Intervention:
    """What one run reads or changes. The base class does neither; subclasses override what they need.

    Attributes:
        wants_pattern: attention patterns are computed (by the architecture's own eager formula, slower).
        block_queries: with `wants_pattern`, patterns are handed over in blocks of that many queries, and no
            whole pattern is made where the architecture can be asked for a part; None for whole patterns.
        wants_values: the values that the patterns mix are handed over.
    """

    wants_pattern: bool = False
    block_queries: int | None = None
    wants_values: bool = False

    def on_pattern(self, layer: int, pattern: Float[Tensor, "batch head query key"]) -> None:
        """Read a pattern; called only if `wants_pattern`, and `block_queries` is None."""

    def on_pattern_block(
        self, layer: int, pattern: Float[Tensor, "batch head some_query key"], first_query: int
    ) -> None:
        """Read the rows of a pattern from `first_query` on; keys after the last of these queries may be left out."""

    def on_values(self, layer: int, values: Float[Tensor, "batch pos head d_head"]) -> None:
        """Read the values, shared ones repeated for every head; called before `on_z`, if `wants_values`."""

    def on_z(
        self,
        layer: int,  # noqa: ARG002
        z: Float[Tensor, "batch pos head d_head"],
        first_position: int | Int[Tensor, " batch"],  # noqa: ARG002
    ) -> Float[Tensor, "batch pos head d_head"]:
        """Return the z to go on with: the same tensor, or a changed copy.

        Args:
            layer: zero-based.
            z: never to be written to.
            first_position: of the first row of z in the prompt: above 0 when a cache holds earlier tokens. In
                a padded batch one for each row, below 0 where padding comes first.
        """
        return z

    def on_layer_input(
        self,
        layer: int,  # noqa: ARG002
        hidden: Float[Tensor, "batch pos d_model"],
    ) -> Float[Tensor, "batch pos d_model"]:
        """Return the residual stream that the layer reads."""
        return hidden

    def on_layer_arguments(self, layer: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Read what else the layer is called with."""

    def skips(self, layer: int) -> bool:  # noqa: ARG002
        """Whether the layer hands its input on without running."""
        return False

    def given_attention(self, layer: int) -> GivenAttention | None:  # noqa: ARG002
        """Return what replaces the layer's attention, which is then not computed; None to compute it."""
        return None

    def on_attention_output(self, layer: int, output: Float[Tensor, "batch pos d_model"]) -> None:
        """Read a computed attention output, z W_O + b_O."""

    def on_unembed(self, hidden: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch read d_model"]:
        """Return the rows of the final, normalised residual stream that are unembedded."""
        return hidden


@dataclass(frozen=True)
class GivenAttention:
    """Attention output of the last rows of a batch; that of the rows before them is computed.

    Attributes:
        first_row: the first row whose output is given.
        output: z W_O + b_O.
    """

    first_row: int
    output: Float[Tensor, "row pos d_model"]


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


_ACTIVE: ContextVar[tuple[tuple[object, Intervention], ...]] = ContextVar("head_atlas_active", default=())
_CALLS: ContextVar[list[AttentionCall] | None] = ContextVar("head_atlas_calls", default=None)
_OFFSETS: ContextVar[Any] = ContextVar("head_atlas_offsets", default=0)


@dataclass(frozen=True)
class AttentionCall:
    """One call of the attention function, seen while a model's structure is found out."""

    module: nn.Module
    z: Float[Tensor, "batch pos head d_head"]
    n_kv_heads: int


@contextmanager
def intervening(owner: object, *interventions: Intervention) -> Iterator[None]:
    """Apply interventions to the model with that token, in this thread, on top of those already active."""
    token = _ACTIVE.set(_ACTIVE.get() + tuple((owner, intervention) for intervention in interventions))
    try:
        yield
    finally:
        _ACTIVE.reset(token)


@contextmanager
def without_interventions() -> Iterator[None]:
    """Suspend every active intervention in this thread."""
    token = _ACTIVE.set(())
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def active(owner: object) -> list[Intervention]:
    """Return the interventions on a model in this thread, the outermost first."""
    return [intervention for of, intervention in _ACTIVE.get() if of is owner]


@contextmanager
def rows_start_at(first_positions: Int[Tensor, " batch"]) -> Iterator[None]:
    """Tell interventions where each row of a padded batch starts: minus the number of pads before it."""
    token = _OFFSETS.set(first_positions)
    try:
        yield
    finally:
        _OFFSETS.reset(token)


def first_position(n_cached: int) -> int | Int[Tensor, " batch"]:
    """Position in the prompt of the first row of what runs now."""
    return _OFFSETS.get() + n_cached


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
    beyond_sdpa = kwargs.get("softcap") is not None or kwargs.get("s_aux") is not None
    if site is not None and readers:
        z = _read_patterns(site.layer, readers, module, query, key, value, attention_mask, kwargs)
    elif beyond_sdpa or (site is not None and site.eager):
        mask = causal_mask(query, key) if attention_mask is None else attention_mask
        z, _ = _eager(module, query, key, value, mask, kwargs)
    else:
        z, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    calls = _CALLS.get()
    if calls is not None:
        calls.append(AttentionCall(module, z, key.shape[1]))
    for intervention in interventions:
        if intervention.wants_values and site is not None:
            repeated = value.repeat_interleave(query.shape[1] // value.shape[1], 1)
            intervention.on_values(site.layer, repeated.transpose(1, 2))
    return z, None


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


def tell_pattern(reader: Intervention, layer: int, pattern: Tensor, first_query: int = 0) -> None:
    """Hand over a whole pattern, or some of its rows, in the form that the reader asks for."""
    if reader.block_queries is None:
        reader.on_pattern(layer, pattern)
    else:
        for first in range(0, pattern.shape[2], reader.block_queries):
            rows = pattern[:, :, first : first + reader.block_queries]
            reader.on_pattern_block(layer, rows, first_query + first)


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
