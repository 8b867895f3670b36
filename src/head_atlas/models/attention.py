"""One attention function for every architecture, and the interventions it obeys.

transformers looks attention functions up in a registry. Ours is registered once under `NAME`; a model that
is switched to it hands over q, k, v, the mask and the scaling of every layer and takes back `z`, the output
of each head before the output projection. Whatever is to be read or changed in a run is an `Intervention`
held in a ContextVar: nothing global and nothing in the model changes, so two threads that use one model
never see each other's interventions, and an exception leaves none behind.

Axes: `z` is [batch, pos, head, d_head]; `pattern` is [batch, head, query, key], after the softmax.
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
    from jaxtyping import Float
    from torch import Tensor

NAME = "head_atlas"


class Intervention:
    """What one run reads or changes. The base class does neither; subclasses override what they need.

    Attributes:
        wants_pattern: attention patterns are computed (by the architecture's own eager formula, slower).
    """

    wants_pattern: bool = False

    def on_pattern(self, layer: int, pattern: Float[Tensor, "batch head query key"]) -> None:
        """Read a pattern; called only if `wants_pattern`."""

    def on_z(
        self,
        layer: int,  # noqa: ARG002
        z: Float[Tensor, "batch pos head d_head"],
        first_position: int,  # noqa: ARG002
    ) -> Float[Tensor, "batch pos head d_head"]:
        """Return the z to go on with: the same tensor, or a changed copy.

        Args:
            layer: zero-based.
            z: never to be written to.
            first_position: of the first row of z in the prompt; above 0 when a cache holds earlier tokens.
        """
        return z

    def on_layer_input(
        self,
        layer: int,  # noqa: ARG002
        hidden: Float[Tensor, "batch pos d_model"],
    ) -> Float[Tensor, "batch pos d_model"]:
        """Return the residual stream that the layer reads."""
        return hidden

    def skips(self, layer: int) -> bool:  # noqa: ARG002
        """Whether the layer hands its input on without running."""
        return False

    def attention_output(self, layer: int) -> Float[Tensor, "batch pos d_model"] | None:  # noqa: ARG002
        """Return what replaces the layer's attention, which is then not computed; None to compute it."""
        return None

    def on_attention_output(self, layer: int, output: Float[Tensor, "batch pos d_model"]) -> None:
        """Read a computed attention output."""

    def on_unembed(self, hidden: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch read d_model"]:
        """Return the rows of the final, normalised residual stream that are unembedded."""
        return hidden


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


def active(owner: object) -> list[Intervention]:
    """Return the interventions on a model in this thread, the outermost first."""
    return [intervention for of, intervention in _ACTIVE.get() if of is owner]


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
    """Compute z, let the active interventions read the pattern and change z.

    Without a reader of patterns this is transformers' own SDPA path, bit for bit. Soft-capping and sink
    logits, which SDPA cannot compute, and architectures that are eager by default go by the eager formula
    of the architecture itself.
    """
    site: Site | None = getattr(module, "_head_atlas_site", None)
    interventions = active(site.owner) if site is not None else []
    readers = [intervention for intervention in interventions if intervention.wants_pattern]
    beyond_sdpa = kwargs.get("softcap") is not None or kwargs.get("s_aux") is not None
    if readers or beyond_sdpa or (site is not None and site.eager):
        z, pattern = _eager(module, query, key, value, attention_mask, kwargs)
        for intervention in readers:
            intervention.on_pattern(_layer(site), pattern)
    else:
        z, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    calls = _CALLS.get()
    if calls is not None:
        calls.append(AttentionCall(module, z, key.shape[1]))
    for intervention in interventions:
        z = intervention.on_z(_layer(site), z, key.shape[2] - query.shape[2])
    return z, None


def _layer(site: Site | None) -> int:
    assert site is not None  # interventions exist only for modules with a site
    return site.layer


def _eager(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, kwargs: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """Attention by the formula written in the architecture's own file: soft-caps and sinks included."""
    formula = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
    if formula is None:
        raise UnsupportedModelError(
            f"{type(module).__name__} has no eager attention formula, so its patterns cannot be read"
        )
    if mask is None and query.shape[2] > 1:
        n_query, n_key = query.shape[2], key.shape[2]
        mask = torch.ones(n_query, n_key, dtype=torch.bool, device=query.device).tril(n_key - n_query)
    if mask is not None and mask.dtype == torch.bool:
        blocked = torch.finfo(query.dtype).min
        mask = torch.where(mask, torch.zeros((), dtype=query.dtype, device=query.device), blocked)
    z, pattern = formula(module, query, key, value, mask, **kwargs)
    return z, pattern


# Both registries: under a name that only the first one knows, no mask would arrive, and sliding windows
# and padding would silently be ignored.
AttentionInterface.register(NAME, head_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
