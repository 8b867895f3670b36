"""Removing heads: their output z is set to zero, or to its mean over reference prompts.

z is changed before the output projection, so the projection's bias stays, and at every position, 0 included.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch

from head_atlas.errors import HeadAtlasError, MissingReferenceError
from head_atlas.heads import HeadId
from head_atlas.models import HeadModel, Intervention

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

Mode = Literal["zero", "mean"]
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True)
class MeanReference:
    """Mean output of every head, which mean ablation puts in place of the real one.

    Position 0 has its own mean: what heads write at the first token has nothing to do with the rest.

    Attributes:
        z: [2, layer, head, d_head]; index 0 is position 0, index 1 all later positions.
        source: what the means were taken over, in words.
        n_tokens: number of positions >= 1 in the mean.
    """

    z: np.ndarray
    source: str
    n_tokens: int

    def __post_init__(self) -> None:
        z = np.asarray(self.z)
        if z.ndim != 4 or z.shape[0] != 2:
            raise MissingReferenceError(
                f"mean reference: expected z of [2, layer, head, d_head], found shape {z.shape}"
            )
        object.__setattr__(self, "z", z)


def replacement(model: HeadModel, mode: Mode, reference: MeanReference | None) -> Float[Tensor, "2 layer head d_head"]:
    """Return what stands for the z of a removed head, at position 0 and at later positions.

    Raises:
        MissingReferenceError: mean mode without a reference, or with that of a model of another shape.
        HeadAtlasError: no such mode.
    """
    shape = (2, model.n_layers, model.n_heads, model.d_head)
    if mode == "zero":
        return torch.zeros(shape, dtype=model.dtype, device=model.device)
    if mode != "mean":
        raise HeadAtlasError(f"mode must be one of {', '.join(MODES)}, found {str(mode)[:40]!r}")
    if reference is None:
        raise MissingReferenceError(
            "mean ablation needs reference means: take those of an atlas of this model, "
            "MeanReference(*open_atlas(path).mean_reference()), or make them with "
            "head_atlas.interventions.mean_reference(model, prompts, source)"
        )
    if reference.z.shape != shape:
        raise MissingReferenceError(
            f"the mean reference is of another model: expected shape {shape}, found {reference.z.shape}"
        )
    return torch.as_tensor(reference.z).to(dtype=model.dtype, device=model.device)


class Ablation(Intervention):
    """Puts replacements in place of the z of some heads.

    Args:
        heads: those to remove.
        values: for every head of the model, at position 0 and at later positions.
    """

    def __init__(self, heads: Iterable[HeadId], values: Float[Tensor, "2 layer head d_head"]) -> None:
        self._values = values
        self._heads: dict[int, list[int]] = {}
        for head in heads:
            self._heads.setdefault(head.layer, []).append(head.head)

    def on_z(
        self, layer: int, z: Float[Tensor, "batch pos head d_head"], first_position: int
    ) -> Float[Tensor, "batch pos head d_head"]:
        """Return a copy of z without the removed heads' own output."""
        heads = self._heads.get(layer)
        if heads is None:
            return z
        z = z.clone()
        z[:, :, heads] = self._values[1, layer, heads]
        if first_position == 0:
            z[:, 0, heads] = self._values[0, layer, heads]
        return z


def ablating(
    model: HeadModel,
    heads: Iterable[HeadId | str | tuple[int, int]] | HeadId | str,
    mode: Mode = "zero",
    reference: MeanReference | None = None,
) -> AbstractContextManager[Any]:
    """Remove any set of heads from every run of the model in this thread, until the context is left.

    Raises:
        HeadError: a name that is no head, or a head that the model does not have.
        MissingReferenceError: mean mode without a fitting reference.
    """
    return model.intervening(Ablation(model.heads(heads), replacement(model, mode, reference)))
