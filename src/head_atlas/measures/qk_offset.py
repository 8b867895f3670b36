"""How far back a head looks by position alone: the attention logit by distance, for average content.

Every position reads the same average token: LN(W_pos + mean W_E) with learned positions, else the mean over tokens of
LN(e_t). What is left to tell keys apart is their position: learned, rotary (q-bar R_d k-bar) or a bias. The logits
come from the model's own attention, run on that input, so scaling, biases, norms of queries and keys and soft-caps
are as they are; a softmax gives logits up to a constant of each query, which is taken out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from head_atlas.errors import NotApplicableError
from head_atlas.models import HeadModel, Intervention, PatternReader
from head_atlas.models.embeddings import Embeddings
from head_atlas.models.intervention import without_interventions

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

N_DISTANCES = 32
_N_POS = 2 * N_DISTANCES


class _Reads(Intervention):
    """Gives a layer's attention its input."""

    def __init__(self, layer: int, hidden: Float[Tensor, "1 pos d_model"]) -> None:
        self._layer, self._hidden = layer, hidden

    def on_attention_input(self, layer: int, hidden: Tensor) -> Tensor:
        return self._hidden if layer == self._layer else hidden


@torch.no_grad()
def qk_offset(
    model: HeadModel, embeddings: Embeddings | None, tokens: Int[Tensor, " token"]
) -> Float[np.ndarray, "layer head distance"]:
    """Mean attention logit by distance back, 0 to 31, minus the query's mean over the distances it sees.

    Args:
        model: whose heads.
        embeddings: of its tokens; None where they cannot be told from positions.
        tokens: that the average is taken over.

    Returns:
        Logits, signed: the difference of two distances is the log of the ratio of the attention that they get.
        NaN at distances that a layer cannot see (a sliding window), or that no prompt of the model is long enough for.

    Raises:
        NotApplicableError: there is no average token; the message says why.
    """
    if embeddings is None:
        raise NotApplicableError("tokens and positions cannot be told apart")
    anatomy = model.anatomy
    n_pos = min(_N_POS, model.max_length)
    n_distances = min(N_DISTANCES, n_pos // 2)
    found = np.full((model.n_layers, model.n_heads, N_DISTANCES), np.nan)
    embedded = embeddings.tokens(tokens)
    query = torch.arange(n_distances, n_pos, device=model.device)
    keys = query[:, None] - torch.arange(n_distances, device=model.device)
    for layer in range(model.n_layers):
        norm = anatomy.layers[layer].pre_norm
        if embeddings.positions is None:
            mean = (embedded if norm is None else norm(embedded)).mean(0).expand(n_pos, -1)
        else:
            stream = embeddings.positions[:n_pos] + embedded.mean(0)
            mean = stream if norm is None else norm(stream)
        read = mean[None].to(model.dtype)
        reader = PatternReader([layer])
        with without_interventions(), model.intervening(reader, _Reads(layer, read)):
            model.layerwise(n_pos).run(layer, read)
        logits = reader.patterns[layer][0].double().log()[:, query[:, None], keys]
        logits = logits.where(logits.isfinite(), torch.nan)
        centred = logits - logits.nanmean(-1, keepdim=True)
        found[layer, :, :n_distances] = centred.mean(1).cpu().numpy()
    return found
