"""What a run reads or changes, and the interventions that are active in a thread.

An `Intervention` is held in a ContextVar: nothing global and nothing in the model changes, so two threads that use one
model never see each other's interventions, and an exception leaves none behind.

Axes: `z` and `values` are [batch, pos, head, d_head]; `pattern` is [batch, head, query, key], after the softmax.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


class Intervention:
    """What one run reads or changes. The base class does neither; subclasses override what they need.

    Attributes:
        wants_pattern: attention patterns are computed (by the architecture's own eager formula, slower).
        block_queries: with `wants_pattern`, patterns are handed over in blocks of that many queries, and no
            whole pattern is made where the architecture can be asked for a part; None for whole patterns.
        wants_values: the values that the patterns mix are handed over.
        wants_attention: q, k and v are handed over, and z can be computed anew from others. Only where
            attention goes through our function (`Structure.through_interface`).
    """

    wants_pattern: bool = False
    block_queries: int | None = None
    wants_values: bool = False
    wants_attention: bool = False

    def on_pattern(self, layer: int, pattern: Float[Tensor, "batch head query key"]) -> None:
        """Read a pattern; called only if `wants_pattern`, and `block_queries` is None."""

    def on_pattern_block(
        self, layer: int, pattern: Float[Tensor, "batch head some_query key"], first_query: int
    ) -> None:
        """Read the rows of a pattern from `first_query` on; keys after the last of these queries may be left out."""

    def on_values(self, layer: int, values: Float[Tensor, "batch pos head d_head"]) -> None:
        """Read the values, shared ones repeated for every head; called, if `wants_values`, before the pattern is."""

    def on_attention(
        self,
        layer: int,  # noqa: ARG002
        inputs: AttentionInputs,  # noqa: ARG002
        z: Float[Tensor, "batch pos head d_head"],
    ) -> Float[Tensor, "batch pos head d_head"]:
        """Return the z to go on with; called before `on_z`, if `wants_attention`.

        Args:
            layer: zero-based.
            inputs: what z was computed from.
            z: never to be written to.
        """
        return z

    def last_query_only(self, layer: int) -> bool:  # noqa: ARG002
        """Whether z at the last position is all that is wanted of the layer; elsewhere it may then be zero.

        Only where attention goes through our function, and nothing else reads patterns or attention there.
        """
        return False

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

    def on_attention_input(
        self,
        layer: int,  # noqa: ARG002
        hidden: Float[Tensor, "batch pos d_model"],
    ) -> Float[Tensor, "batch pos d_model"]:
        """Return what the attention reads: the residual stream behind the norm in front of it."""
        return hidden

    def on_attention_output(self, layer: int, output: Float[Tensor, "batch pos d_model"]) -> None:
        """Read a computed attention output, z W_O + b_O."""

    def on_layer_output(self, layer: int, hidden: Float[Tensor, "batch pos d_model"]) -> None:
        """Read the residual stream behind a layer."""

    def on_mlp_output(self, layer: int, output: Float[Tensor, "*batch d_model"]) -> None:
        """Read what the MLP writes, before it is scaled; called once the model's anatomy is known. Copy to keep."""

    def on_neurons(self, layer: int, activations: Float[Tensor, "*batch neuron"]) -> None:
        """Read the MLP's hidden units; called once the model's anatomy is known. Copy to keep."""

    def change_mlp_output(
        self,
        layer: int,  # noqa: ARG002
        output: Float[Tensor, "*batch d_model"],
    ) -> Float[Tensor, "*batch d_model"]:
        """Return what the MLP is to write, before it is scaled: the same tensor, or a changed copy.

        Called once the model's anatomy is known, before `on_mlp_output`.
        """
        return output

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
class AttentionInputs:
    """What a layer's attention is computed from, positions already in q and k.

    Attributes:
        q: [batch, head, pos, d].
        k: [batch, kv_head, pos, d]; a key head serves `head / kv_head` query heads in a row.
        v: [batch, kv_head, pos, d_head].
        attend: makes z [batch, pos, head, d_head] of any q, k and v of these shapes, as the layer does.
    """

    q: Float[Tensor, "batch head pos d"]
    k: Float[Tensor, "batch kv_head pos d"]
    v: Float[Tensor, "batch kv_head pos d_head"]
    attend: Callable[[Tensor, Tensor, Tensor], Tensor]


_ACTIVE: ContextVar[tuple[tuple[object, Intervention], ...]] = ContextVar("head_atlas_active", default=())
_OFFSETS: ContextVar[Any] = ContextVar("head_atlas_offsets", default=0)


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


def tell_pattern(reader: Intervention, layer: int, pattern: Tensor, first_query: int = 0) -> None:
    """Hand over a whole pattern, or some of its rows, in the form that the reader asks for."""
    if reader.block_queries is None:
        reader.on_pattern(layer, pattern)
    else:
        for first in range(0, pattern.shape[2], reader.block_queries):
            rows = pattern[:, :, first : first + reader.block_queries]
            reader.on_pattern_block(layer, rows, first_query + first)
