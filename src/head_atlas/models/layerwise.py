"""Running a model layer by layer, on any number of rows of one length, without padding.

What a layer takes beside the residual stream (mask, rotary angles, position biases) does not depend on the
tokens of such rows. The architecture's own forward pass makes it for one row and for two, its layers left
out; what differs between the two grows with the rows, and the rest is the same for any number. So no
architecture needs code of its own here, and `models.checks` verifies the outcome at every load.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch

from head_atlas.models.intervention import GivenAttention, Intervention, intervening, without_interventions
from head_atlas.models.readers import ReachedZ, StopAtZ

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from head_atlas.models.head_model import HeadModel

_Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class _Skeleton(Intervention):
    """Runs no layer, and keeps what each would have been called with."""

    def __init__(self, hidden: Float[Tensor, "row pos d_model"] | None = None) -> None:
        self._hidden = hidden
        self.arguments: dict[int, _Arguments] = {}

    def on_layer_input(self, layer: int, hidden: Tensor) -> Tensor:
        return self._hidden if layer == 0 and self._hidden is not None else hidden

    def on_layer_arguments(self, layer: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.arguments[layer] = (args, dict(kwargs))

    def skips(self, layer: int) -> bool:  # noqa: ARG002
        return True

    def on_unembed(self, hidden: Tensor) -> Tensor:
        if self._hidden is None:
            raise _Done
        return hidden


class _Done(Exception):
    """The way out of a forward pass of which only the arguments of its layers are wanted: not an error."""


class _Given(Intervention):
    """Puts an attention output in place."""

    def __init__(self, layer: int, given: GivenAttention) -> None:
        self._layer, self._given = layer, given

    def given_attention(self, layer: int) -> GivenAttention | None:
        return self._given if layer == self._layer else None


class Layerwise:
    """The layers of a model, each to be run alone, under the interventions active at the time.

    Gradients flow where the rows have them.

    Args:
        model: whose layers.
        n_pos: length of the rows.
    """

    @torch.no_grad()
    def __init__(self, model: HeadModel, n_pos: int) -> None:
        self._model, self._n_pos = model, n_pos
        self._one, self._two = self._arguments(1), self._arguments(2)

    def _arguments(self, n_rows: int) -> dict[int, _Arguments]:
        skeleton = _Skeleton()
        tokens = torch.zeros(n_rows, self._n_pos, dtype=torch.long, device=self._model.device)
        with suppress(_Done), without_interventions(), intervening(self._model, skeleton):
            self._model.run(tokens)
        return skeleton.arguments

    def run(
        self, layer: int, hidden: Float[Tensor, "row pos d_model"], given: GivenAttention | None = None
    ) -> Float[Tensor, "row pos d_model"]:
        """Run one layer.

        Args:
            layer: zero-based.
            hidden: the residual stream that it reads.
            given: attention output of some last rows, or of all; it is not computed there.
        """
        n_own = len(hidden) if given is None else given.first_row
        args, kwargs = self._for_rows(layer, n_own)
        if given is None:
            output = self._model.structure.blocks[layer](hidden, *args, **kwargs)
        else:
            with intervening(self._model, _Given(layer, given)):
                output = self._model.structure.blocks[layer](hidden, *args, **kwargs)
        return output[0] if isinstance(output, tuple) else output

    def z(self, layer: int, hidden: Float[Tensor, "row pos d_model"]) -> Float[Tensor, "row pos head d_head"]:
        """Run one layer until its heads' outputs are there."""
        args, kwargs = self._for_rows(layer, len(hidden))
        try:
            with intervening(self._model, StopAtZ(layer)):
                self._model.structure.blocks[layer](hidden, *args, **kwargs)
        except ReachedZ as reached:
            return reached.z
        raise AssertionError("the output projection was not called")

    def logits(self, hidden: Float[Tensor, "row pos d_model"]) -> Float[Tensor, "row pos d_vocab"]:
        """From the residual stream after the last layer to the logits."""
        tokens = torch.zeros(hidden.shape[:2], dtype=torch.long, device=hidden.device)
        with intervening(self._model, _Skeleton(hidden)):
            return self._model.run(tokens)

    def _for_rows(self, layer: int, n_rows: int) -> _Arguments:
        args, kwargs = _grown(self._one[layer], self._two[layer], n_rows)
        return args, kwargs


def _grown(one: Any, two: Any, n_rows: int) -> Any:
    """What n rows take, from what one row and two rows take."""
    if isinstance(one, torch.Tensor):
        for axis, (size, double) in enumerate(zip(one.shape, two.shape, strict=True)):
            if double != size:
                if size == 1:  # one slice for all rows: no copy
                    return one.expand(*one.shape[:axis], n_rows, *one.shape[axis + 1 :])
                return one.repeat(*(n_rows if at == axis else 1 for at in range(one.ndim)))
        return one
    if isinstance(one, dict):
        return {key: _grown(value, two[key], n_rows) for key, value in one.items()}
    if isinstance(one, (tuple, list)):
        return type(one)(_grown(a, b, n_rows) for a, b in zip(one, two, strict=True))
    return one
