"""Which heads' weights are made to work together: Q, K and V composition of every pair, from earlier to later layers.

With W_OV = W_V W_O of the earlier head and W_QK = W_Q W_K^T of the later one, norms folded in and writes centred
(`models.weights.FoldedWeights`), the residual stream being a row on the left:

    Q   |W_OV W_QK|   / (|W_OV| |W_QK|)      the earlier head's output is part of the later head's query
    K   |W_OV W_QK^T| / (|W_OV| |W_QK|)      ... of its keys
    V   |W_OV W_OV'|  / (|W_OV| |W_OV'|)     ... of its values

all norms Frobenius, minus 1 / sqrt(d_model), about what random matrices give. Everything is a d_head x d_head product:
|A B C|, with A and C tall and wide, is |R_A B R_C| of their QR factors.

Source: Elhage et al. 2021, A Mathematical Framework for Transformer Circuits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from head_atlas.errors import NotApplicableError
from head_atlas.models import HeadModel
from head_atlas.models.weights import FoldedWeights, folded_weights
from head_atlas.named_array import NamedArray

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

KINDS = ("Q", "K", "V")
ROTARY = (
    "Rotary embeddings turn queries and keys by their positions, between the two weight matrices of a QK circuit: "
    "Q and K composition are of the unturned weights, exact only where query and key stand at one position."
)


@dataclass(frozen=True)
class Composition:
    """Composition of every pair of heads.

    Attributes:
        values: (kind, layer_from, head_from, layer, head) float32: the ratio minus `null`; above 0, more than
            chance. NaN where layer_from is not before layer, where a norm is 0, and where a kind does not apply.
        null: 1 / sqrt(d_model).
        caveat: what rotary embeddings do to Q and K, or "".
        not_applicable: by kind, why it is NaN throughout or in some layers.
    """

    values: NamedArray
    null: float
    caveat: str
    not_applicable: dict[str, str]


@dataclass(frozen=True)
class _Reader:
    """A later layer's heads: what they read by, and the R factor of what lies behind, by kind."""

    reads: dict[str, Float[Tensor, "head d_model d_head"]]
    behind: dict[str, Float[Tensor, "head d_head d_head"]]
    norms: dict[str, Float[Tensor, " head"]]


@torch.no_grad()
def composition(model: HeadModel, progress: Callable[[int, int], None] | None = None) -> Composition:
    """Measure Q, K and V composition between every pair of heads.

    Args:
        model: whose heads.
        progress: is told layers done and all layers.
    """
    n_layers, n_heads = model.n_layers, model.n_heads
    found = np.full((len(KINDS), n_layers, n_heads, n_layers, n_heads), np.nan, dtype=np.float32)
    null = model.d_model**-0.5
    reasons: dict[str, str] = {}
    writers: list[tuple[Tensor, Tensor, Tensor] | None] = []
    for layer in range(n_layers):
        try:
            weights = folded_weights(model, layer)
        except NotApplicableError as error:
            reasons = dict.fromkeys(KINDS, str(error))
            break
        reader = _reader(weights, reasons)
        for before, writer in enumerate(writers):
            if writer is None:
                continue
            front, output, norm = writer
            for index, kind in enumerate(KINDS):
                if kind in reader.reads:
                    ratio = _ratios(front, output.to(model.device), reader.reads[kind], reader.behind[kind])
                    ratio = ratio / (norm[:, None] * reader.norms[kind])
                    found[index, before, :, layer] = (ratio - null).cpu().numpy()
        writers.append(_writer(weights))
        if progress is not None:
            progress(layer + 1, n_layers)
    rotates = not reasons.get("Q") and any(places.rotates for places in model.weight_places)
    return Composition(
        NamedArray(found, ("kind", "layer_from", "head_from", "layer", "head"), {"kind": KINDS}),
        null,
        ROTARY if rotates else "",
        reasons,
    )


def _reader(weights: FoldedWeights, reasons: dict[str, str]) -> _Reader:
    reads, behind, norms = {}, {}, {}
    sides = {"Q": (weights.query, weights.key), "K": (weights.key, weights.query), "V": (weights.value, weights.output)}
    for kind, (read, other) in sides.items():
        if isinstance(read, str) or isinstance(other, str):
            reasons.setdefault(kind, read if isinstance(read, str) else str(other))
            continue
        tall = other.transpose(1, 2) if kind == "V" else other
        reads[kind], behind[kind] = read, _factor(tall)
        norms[kind] = _norm(_factor(read) @ behind[kind].transpose(1, 2))
    return _Reader(reads, behind, norms)


def _writer(weights: FoldedWeights) -> tuple[Tensor, Tensor, Tensor] | None:
    """R factor of W_V, W_O itself, and the norm of their product; None without W_V."""
    if isinstance(weights.value, str):
        return None
    front = _factor(weights.value)
    return front, weights.output, _norm(front @ _factor(weights.output.transpose(1, 2)).transpose(1, 2))


def _factor(tall: Float[Tensor, "head m d_head"]) -> Float[Tensor, "head d_head d_head"]:
    """R of a QR decomposition: |A B| = |R_A B|."""
    return torch.linalg.qr(tall, mode="r").R


def _norm(matrix: Float[Tensor, "*batch row column"]) -> Float[Tensor, "*batch"]:
    return torch.linalg.matrix_norm(matrix)


def _ratios(
    front: Float[Tensor, "head_from d_head d_head"],
    output: Float[Tensor, "head_from d_head d_model"],
    read: Float[Tensor, "head d_model d_head"],
    behind: Float[Tensor, "head d_head d_head"],
) -> Float[Tensor, "head_from head"]:
    """Norms of the products of all pairs of two layers, a head of the earlier one at a time."""
    rows = []
    for one, its_output in zip(front, output, strict=True):
        middle = its_output @ read
        rows.append(_norm(one @ middle @ behind.transpose(1, 2)))
    return torch.stack(rows)
