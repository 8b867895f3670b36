"""Running a model for the logits after the last token alone.

In the last layer, other positions are only attended to: they need keys and values, but no pattern, no output
projection, no MLP and no unembedding, neither forward nor backward. So the model runs as far as the last layer's z,
which is computed for one query (for all of them where an architecture computes attention by itself); from there on,
rows of one position go on, as in the sweep. `models.checks` verifies that this is the same at every load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from head_atlas.models.intervention import GivenAttention, Intervention
from head_atlas.models.readers import ReachedZ, StopAtZ

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

    from head_atlas.models.head_model import HeadModel


class _StopAtLastZ(StopAtZ):
    """Ends a run at a layer's z, computed at the last position alone where the architecture allows it."""

    def last_query_only(self, layer: int) -> bool:
        return layer == self._layer


class _KeepInput(Intervention):
    """Keeps what a layer reads."""

    def __init__(self, layer: int) -> None:
        self._layer = layer
        self.hidden: Tensor | None = None

    def on_layer_input(self, layer: int, hidden: Tensor) -> Tensor:
        if layer == self._layer:
            self.hidden = hidden
        return hidden


def last_logits(
    model: HeadModel,
    tokens: Int[Tensor, "row pos"],
    *,
    embeddings: Float[Tensor, "row pos d_embed"] | None = None,
    seen: Bool[Tensor, "row pos"] | None = None,
) -> Float[Tensor, "row d_vocab"]:
    """Logits after the last token of each row, under the active interventions; gradients flow to `embeddings`.

    Args:
        model: to run.
        tokens: rows of one length.
        embeddings: as in `HeadModel.run`.
        seen: likewise.
    """
    last = model.n_layers - 1
    kept = _KeepInput(last)
    try:
        # innermost, so that others have made of the layer's input and z what they want before these see it
        with model.intervening(kept, _StopAtLastZ(last)):
            model.run(tokens, embeddings=embeddings, seen=seen)
    except ReachedZ as reached:
        z = reached.z
    assert kept.hidden is not None
    end = model.layerwise(1)
    given = GivenAttention(0, model.project(last, z[:, -1:]))
    return end.logits(end.run(last, kept.hidden[:, -1:], given))[:, 0]
