"""Removing any set of heads from every run: their output z is replaced before the output projection.

The projection's bias stays, and z is replaced at every position, 0 included. `interventions.replacements` says by
what.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch

from head_atlas.errors import MissingReferenceError, PromptError
from head_atlas.heads import HeadId
from head_atlas.interventions.replacements import CorruptedReference, FixedValues, Mode, Reference, fixed_values, mix
from head_atlas.models import HeadModel, Intervention, PatternReader
from head_atlas.models.readers import Trace

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


def by_layer(heads: Iterable[HeadId]) -> dict[int, list[int]]:
    """Heads of each layer that has some, in order."""
    found: dict[int, list[int]] = {}
    for head in sorted(set(heads)):
        found.setdefault(head.layer, []).append(head.head)
    return found


class Ablation(Intervention):
    """Puts replacements in place of the z of some heads.

    Args:
        heads: those to remove.
        values: for every head of the model.
        draw: which of the values.
    """

    def __init__(self, heads: Iterable[HeadId], values: FixedValues, draw: int = 0) -> None:
        self._heads, self._values, self._draw = by_layer(heads), values, draw

    def on_z(
        self, layer: int, z: Float[Tensor, "batch pos head d_head"], first_position: int | Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch pos head d_head"]:
        """Return a copy of z without the removed heads' own output."""
        heads = self._heads.get(layer)
        if heads is None:
            return z
        positions = torch.arange(z.shape[1], device=z.device)
        positions = positions + (first_position if isinstance(first_position, int) else first_position[:, None])
        z = z.clone()
        z[:, :, heads] = self._values.at(self._draw, layer, heads, positions)
        return z


class PatternFreeze(Intervention):
    """Gives some heads the patterns of another run; the values they mix are those of the run at hand.

    Args:
        heads: whose patterns.
        patterns: by layer, [1, head, query, key], every head of the layer.
    """

    wants_values = True

    def __init__(self, heads: Iterable[HeadId], patterns: dict[int, Float[Tensor, "1 head query key"]]) -> None:
        self._heads = by_layer(heads)
        self._patterns = {layer: patterns[layer][:, chosen] for layer, chosen in self._heads.items()}
        self._values: dict[int, Tensor] = {}

    def on_values(self, layer: int, values: Float[Tensor, "batch pos head d_head"]) -> None:
        """Keep the values of these heads until z is there."""
        if layer in self._heads:
            self._values[layer] = values[:, :, self._heads[layer]]

    def on_z(
        self,
        layer: int,
        z: Float[Tensor, "batch pos head d_head"],
        first_position: int | Int[Tensor, " batch"],  # noqa: ARG002
    ) -> Float[Tensor, "batch pos head d_head"]:
        """Return a copy of z with these heads' patterns frozen."""
        if layer not in self._heads:
            return z
        pattern, values = self._patterns[layer], self._values.pop(layer)
        if values.shape[1] != pattern.shape[-1]:
            raise PromptError(
                f"the corrupted prompt has {pattern.shape[-1]} tokens, the run {values.shape[1]}: pattern_freeze needs "
                "as many"
            )
        z = z.clone()
        z[:, :, self._heads[layer]] = mix(pattern.expand(len(z), -1, -1, -1), values)
        return z


def ablating(
    model: HeadModel,
    heads: Iterable[HeadId | str | tuple[int, int]] | HeadId | str,
    mode: Mode = "zero",
    reference: Reference | None = None,
    *,
    draw: int = 0,
) -> AbstractContextManager[Any]:
    """Remove any set of heads from every run of the model in this thread, until the context is left.

    Args:
        model: whose heads.
        heads: to remove, all at once.
        mode: what their output becomes.
        reference: for "mean" a `MeanReference`, for "resample" a `ResampleReference` or a `CorruptedReference`,
            for "pattern_freeze" a `CorruptedReference`.
        draw: which prompt of a `ResampleReference`.

    Raises:
        HeadError: a name that is no head, or a head that the model does not have.
        MissingReferenceError: a mode without a fitting reference.
        PromptError: in a run whose length does not fit the reference.
    """
    removed = model.heads(heads)
    values = fixed_values(model, mode, reference)
    if values is not None:
        if not 0 <= draw < len(values.z):
            raise MissingReferenceError(f"the reference has draws 0 to {len(values.z) - 1}, found {draw}")
        return model.intervening(Ablation(removed, values, draw))
    if not isinstance(reference, CorruptedReference) or not reference.tokens:
        raise MissingReferenceError(f"{mode} needs the aligned corrupted prompt: CorruptedReference(tokens)")
    tokens = model.rows([reference.tokens])
    first = torch.zeros(1, 1, dtype=torch.long, device=model.device)
    if mode == "pattern_freeze":
        reader = PatternReader(by_layer(removed))
        with model.intervening(reader):
            model.logits(tokens, first)
        return model.intervening(PatternFreeze(removed, reader.patterns))
    trace = Trace()
    with model.intervening(trace):
        model.logits(tokens, first)
    z = torch.stack([trace.z[layer][0] for layer in range(model.n_layers)], 1)  # pos layer head d_head
    return model.intervening(Ablation(removed, FixedValues(z[None], False)))
