"""What stands for the output of a removed head.

zero: nothing. mean: its mean over reference prompts, position 0 apart. resample: its output at the same position
of other prompts, or of each prompt's own aligned corrupted one. pattern_freeze: the pattern of the corrupted
prompt, applied to the values of the run at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch

from head_atlas.errors import HeadAtlasError, MissingReferenceError, PromptError
from head_atlas.models import HeadModel, Intervention

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

Mode = Literal["zero", "mean", "resample", "pattern_freeze"]
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


@dataclass(frozen=True)
class ResampleReference:
    """Outputs of every head on some other prompts, position by position.

    A head's output at a position does not depend on later tokens, so cropping to a prompt's length is exact.

    Attributes:
        z: [draw, pos, layer, head, d_head].
        source: what the prompts are, in words.
        seed: they were drawn with.
    """

    z: np.ndarray
    source: str
    seed: int

    def __post_init__(self) -> None:
        z = np.asarray(self.z)
        if z.ndim != 5 or 0 in z.shape:
            raise MissingReferenceError(
                f"resample reference: expected z of [draw, pos, layer, head, d_head], found shape {z.shape}"
            )
        object.__setattr__(self, "z", z)

    @property
    def n_draws(self) -> int:
        """Number of prompts."""
        return len(self.z)


@dataclass(frozen=True)
class CorruptedReference:
    """The aligned corrupted prompt of a run: its tokens, as many as the run has.

    Attributes:
        tokens: ids, BOS first.
    """

    tokens: tuple[int, ...]


Reference = MeanReference | ResampleReference | CorruptedReference

CORRUPTED = CorruptedReference(())
"""In a sweep: the corrupted prompt of each prompt."""

_HOW = {
    "mean": "mean ablation needs reference means: take those of an atlas of this model, "
    "MeanReference(*open_atlas(path).mean_reference()), or make them with "
    "head_atlas.interventions.mean_reference(model, prompts, source)",
    "resample": "resample ablation needs the activations of other prompts: make them with "
    "head_atlas.interventions.resample_reference(model, prompts, source), or give CORRUPTED in a sweep for each "
    "prompt's own corrupted one",
}


@dataclass(frozen=True)
class FixedValues:
    """What stands for z, the same for every prompt.

    Attributes:
        z: [draw, pos, layer, head, d_head].
        last_repeats: the last position stands for all later ones too.
    """

    z: Float[Tensor, "draw pos layer head d_head"]
    last_repeats: bool

    def at(
        self, draw: int, layer: int, heads: list[int], positions: Int[Tensor, "*pos"]
    ) -> Float[Tensor, "*pos head d_head"]:
        """Return the values of some heads of a layer at some positions, those below 0 being padding.

        Raises:
            PromptError: there are none for a position.
        """
        n_known = self.z.shape[1]
        if not self.last_repeats and positions.numel() and int(positions.max()) >= n_known:
            raise PromptError(
                f"the resample reference has {n_known} positions, the prompt {int(positions.max()) + 1}: make one of "
                "longer prompts"
            )
        return self.z[draw, :, layer][:, heads][positions.clamp(0, n_known - 1)]


def fixed_values(model: HeadModel, mode: Mode, reference: Reference | None) -> FixedValues | None:
    """Return what stands for z, or None where it depends on each prompt's corrupted one.

    Raises:
        MissingReferenceError: a mode that needs a reference without one, or with that of another model.
        HeadAtlasError: no such mode.
    """
    heads = (model.n_layers, model.n_heads, model.d_head)
    if mode == "zero":
        return FixedValues(torch.zeros(1, 2, *heads, dtype=model.dtype, device=model.device), True)
    if mode not in MODES:
        raise HeadAtlasError(f"mode must be one of {', '.join(MODES)}, found {str(mode)[:40]!r}")
    if mode == "pattern_freeze" or (mode == "resample" and isinstance(reference, CorruptedReference)):
        return None
    if not isinstance(reference, MeanReference if mode == "mean" else ResampleReference):
        raise MissingReferenceError(_HOW[mode])
    if reference.z.shape[-3:] != heads:
        raise MissingReferenceError(
            f"the {mode} reference is of another model: expected shape {(*reference.z.shape[:-3], *heads)}, "
            f"found {reference.z.shape}"
        )
    z = torch.as_tensor(reference.z).to(dtype=model.dtype, device=model.device)
    return FixedValues(z[None], True) if mode == "mean" else FixedValues(z, False)


class _CorruptedRun(Intervention):
    """Reads, in one batch of clean and then corrupted rows, what the corrupted run puts in place of each head."""

    def __init__(self, n_clean: int, freeze: bool) -> None:
        self._n_clean, self._freeze = n_clean, freeze
        self.wants_pattern = self.wants_values = freeze
        self._patterns: dict[int, Tensor] = {}
        self._values: dict[int, Tensor] = {}
        self.z: dict[int, Float[Tensor, "row pos head d_head"]] = {}

    def on_pattern(self, layer: int, pattern: Float[Tensor, "batch head query key"]) -> None:
        self._patterns[layer] = pattern[self._n_clean :]
        self._mix(layer)

    def on_values(self, layer: int, values: Float[Tensor, "batch pos head d_head"]) -> None:
        self._values[layer] = values[: self._n_clean]
        self._mix(layer)

    def _mix(self, layer: int) -> None:
        if layer in self._patterns and layer in self._values:
            self.z[layer] = mix(self._patterns.pop(layer), self._values.pop(layer))

    def on_z(
        self,
        layer: int,
        z: Float[Tensor, "batch pos head d_head"],
        first_position: int | Int[Tensor, " batch"],  # noqa: ARG002
    ) -> Float[Tensor, "batch pos head d_head"]:
        if not self._freeze:
            self.z[layer] = z[self._n_clean :]
        return z


def mix(
    pattern: Float[Tensor, "batch head query key"], values: Float[Tensor, "batch key head d_head"]
) -> Float[Tensor, "batch query head d_head"]:
    """What heads with these patterns output."""
    return torch.einsum("bhqk,bkhd->bqhd", pattern.to(values.dtype), values)


def corrupted_z(
    model: HeadModel, tokens: Int[Tensor, "row pos"], corrupted: Int[Tensor, "row pos"], *, freeze: bool
) -> dict[int, Float[Tensor, "row pos head d_head"]]:
    """What each head's output becomes: that of the corrupted prompt, or its pattern applied to clean values."""
    run = _CorruptedRun(len(tokens), freeze)
    with model.intervening(run):
        model.logits(
            torch.cat([tokens, corrupted]), torch.zeros(2 * len(tokens), 1, dtype=torch.long, device=model.device)
        )
    return run.z
