"""Interventions that read a run."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from head_atlas.models.intervention import Intervention

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


class LayerWatch(Intervention):
    """Changes nothing, and calls a function in front of every layer; what that raises ends the run.

    Args:
        look: is called.
    """

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look

    def on_layer_input(self, layer: int, hidden: Float[Tensor, "batch pos d_model"]) -> Tensor:  # noqa: ARG002
        """Call the function."""
        self._look()
        return hidden


class PatternReader(Intervention):
    """Keeps attention patterns.

    Args:
        layers: those to keep; None for all.

    Attributes:
        patterns: by layer, [batch, head, query, key]. Rows sum to 1, or to less where the architecture has
            sink logits.
    """

    wants_pattern = True

    def __init__(self, layers: Collection[int] | None = None) -> None:
        self._layers = layers
        self.patterns: dict[int, Float[Tensor, "batch head query key"]] = {}

    def on_pattern(self, layer: int, pattern: Float[Tensor, "batch head query key"]) -> None:
        """Keep the pattern."""
        if self._layers is None or layer in self._layers:
            self.patterns[layer] = pattern


class ValueReader(Intervention):
    """Keeps the values that patterns mix.

    Attributes:
        values: by layer, [batch, pos, head, d_head]; heads that share values hold the same.
    """

    wants_values = True

    def __init__(self) -> None:
        self.values: dict[int, Float[Tensor, "batch pos head d_head"]] = {}

    def on_values(self, layer: int, values: Float[Tensor, "batch pos head d_head"]) -> None:
        """Keep the values."""
        self.values[layer] = values


class Trace(Intervention):
    """Keeps what a run can be resumed from.

    Attributes:
        inputs: residual stream that each layer reads, by layer, [batch, pos, d_model].
        z: output of each head, by layer, [batch, pos, head, d_head].
        attention_outputs: z W_O + b_O, by layer, [batch, pos, d_model].
    """

    def __init__(self) -> None:
        self.inputs: dict[int, Float[Tensor, "batch pos d_model"]] = {}
        self.z: dict[int, Float[Tensor, "batch pos head d_head"]] = {}
        self.attention_outputs: dict[int, Float[Tensor, "batch pos d_model"]] = {}

    def on_layer_input(
        self, layer: int, hidden: Float[Tensor, "batch pos d_model"]
    ) -> Float[Tensor, "batch pos d_model"]:
        """Keep the layer's input."""
        self.inputs[layer] = hidden
        return hidden

    def on_z(
        self,
        layer: int,
        z: Float[Tensor, "batch pos head d_head"],
        first_position: int | Int[Tensor, " batch"],  # noqa: ARG002
    ) -> Float[Tensor, "batch pos head d_head"]:
        """Keep z."""
        self.z[layer] = z
        return z

    def on_attention_output(self, layer: int, output: Float[Tensor, "batch pos d_model"]) -> None:
        """Keep the attention output."""
        self.attention_outputs[layer] = output


class StreamReader(Intervention):
    """Keeps the residual stream in front of every layer and behind the last.

    `model.layerwise(n_pos).logits(stream)` unembeds any of them: the logit lens.

    Attributes:
        streams: n_layers + 1 of them, [batch, pos, d_model].
    """

    def __init__(self) -> None:
        self.streams: list[Float[Tensor, "batch pos d_model"]] = []

    def on_layer_input(
        self,
        layer: int,
        hidden: Float[Tensor, "batch pos d_model"],
    ) -> Float[Tensor, "batch pos d_model"]:
        """Keep a layer's input."""
        self.streams[layer:] = [hidden]
        return hidden

    def on_layer_output(self, layer: int, hidden: Float[Tensor, "batch pos d_model"]) -> None:
        """Keep a layer's output, until the next layer's input takes its place."""
        self.streams[layer + 1 :] = [hidden]


class ReachedZ(Exception):
    """The way out of a forward pass that `StopAtZ` ends: not an error.

    Attributes:
        z: where it ended.
    """

    def __init__(self, z: Float[Tensor, "batch pos head d_head"]) -> None:
        super().__init__()
        self.z = z


class StopAtZ(Intervention):
    """Ends a run, by raising `ReachedZ`, as soon as a layer's z is there and earlier interventions have seen it.

    Args:
        layer: zero-based.
    """

    def __init__(self, layer: int) -> None:
        self._layer = layer

    def on_z(
        self,
        layer: int,
        z: Float[Tensor, "batch pos head d_head"],
        first_position: int | Int[Tensor, " batch"],  # noqa: ARG002
    ) -> Float[Tensor, "batch pos head d_head"]:
        """Stop here."""
        if layer == self._layer:
            raise ReachedZ(z)
        return z


class ReadPositions(Intervention):
    """Unembeds only the positions that are read.

    Args:
        positions: for each row of the batch, as many positions.
    """

    def __init__(self, positions: Int[Tensor, "batch read"]) -> None:
        self._positions = positions

    def on_unembed(self, hidden: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch read d_model"]:
        """Pick these positions."""
        index = self._positions.to(hidden.device)[:, :, None].expand(-1, -1, hidden.shape[-1])
        return hidden.gather(1, index)
