"""What a token brings into the residual stream by itself, told apart from its position."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import torch

from head_atlas.errors import NotApplicableError
from head_atlas.models.intervention import Intervention, without_interventions
from head_atlas.models.structure import probe_tokens

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from head_atlas.models.head_model import HeadModel

_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 3e-2, torch.float16: 3e-3}
_TOKENS_AT_ONCE = 2**12


class _Reached(Exception):
    """The way out of a forward pass of which only the first layer's input is wanted: not an error."""


class _FirstInput(Intervention):
    """Keeps the first layer's input and ends the run."""

    hidden: Tensor

    def on_layer_input(self, layer: int, hidden: Tensor) -> Tensor:  # noqa: ARG002
        self.hidden = hidden
        raise _Reached


class Embeddings:
    """Token embeddings as the first layer reads them, scaled or normalised, without learned positions.

    Args:
        model: whose.

    Attributes:
        positions: [max_length, d_model] float64, what is added at each position; None where nothing is.

    Raises:
        NotApplicableError: tokens and positions cannot be told apart.
    """

    @torch.no_grad()
    def __init__(self, model: HeadModel) -> None:
        self._model = model
        self.positions: Float[Tensor, "pos d_model"] | None = None
        n_pos = min(model.max_length, 8)
        probe = probe_tokens(model.d_vocab, n_rows=6, n_pos=1).to(model.device).expand(-1, n_pos)
        seen = _first_input(model, probe).double()
        spread = seen.std()
        allowed = _TOLERANCE[model.dtype] * spread
        if float((seen - seen[:, :1]).abs().max()) <= allowed:
            return
        name = type(model.model).__name__
        embedded = model.model.get_input_embeddings()(probe).double()
        added = seen - embedded if embedded.shape == seen.shape else None
        if added is None or float((added - added[:1]).abs().max()) > allowed:
            raise NotApplicableError(
                f"{name}: the first layer's input is not a token's embedding plus a vector of its position"
            )
        row = probe[:1, :1].expand(1, model.max_length)
        self.positions = (_first_input(model, row).double() - embedded[:1, :1])[0]

    @torch.no_grad()
    def tokens(self, ids: Int[Tensor, " token"]) -> Float[Tensor, "token d_model"]:
        """Return the embeddings of tokens, float64."""
        found = [_first_input(self._model, some[:, None])[:, 0].double() for some in ids.split(_TOKENS_AT_ONCE)]
        rows = torch.cat(found)
        return rows if self.positions is None else rows - self.positions[0]


def _first_input(model: HeadModel, tokens: Int[Tensor, "row pos"]) -> Float[Tensor, "row pos d_model"]:
    reader = _FirstInput()
    with suppress(_Reached), without_interventions(), model.intervening(reader):
        model.logits(tokens)
    return reader.hidden
