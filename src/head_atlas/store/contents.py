"""What an atlas holds, in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt


@dataclass(frozen=True)
class PromptRecord(Prompt):
    """A measured prompt as an atlas returns it.

    Attributes:
        index: its place on the `prompt` axis.
        strings: each token decoded alone, as long as `tokens`.
        target_strings: each target decoded alone.
        contrast_strings: each contrast decoded alone, or empty.
    """

    index: int = -1
    strings: tuple[str, ...] = ()
    target_strings: tuple[str, ...] = ()
    contrast_strings: tuple[str, ...] = ()


class MeanZ(NamedTuple):
    """The reference of mean ablation.

    Attributes:
        z: [2, layer, head, d_head] float32; index 0 is position 0, index 1 all later positions.
        source: where the means were taken.
        n_tokens: tokens averaged over, position 0 left out.
    """

    z: np.ndarray
    source: str
    n_tokens: int


class ResamplePrompts(NamedTuple):
    """The reference of resample ablation: whose activations stand for those of a removed head.

    The activations themselves are not stored: running these tokens gives them again.

    Attributes:
        tokens: [draw, position] int32 ids, BOS first.
        source: what the prompts are.
        seed: they were drawn with.
    """

    tokens: np.ndarray
    source: str
    seed: int

    def prompts(self) -> list[Prompt]:
        """Each row as a prompt to be run; its target is its own last token, which nothing reads."""
        rows = [tuple(int(i) for i in row) for row in self.tokens]
        return [Prompt("", row, (len(row) - 1,), (row[-1],)) for row in rows]


@dataclass(frozen=True)
class AtlasContents:
    """Everything that `write_atlas` writes.

    Attributes:
        n_layers: layers of the model.
        n_heads: query heads per layer.
        families: names of the prompt families, in the order of the `family` axis.
        modes: ablation modes, in the order of the `mode` axis.
        prompts: every measured prompt, in the order of the `prompt` axis.
        token_strings: each token id that occurs, decoded alone: of the prompts (targets, contrasts and corrupted
            ones too), and any other that an array names.
        arrays: by place in the file, for instance "scores/induction" or "weights/ov_copy": numbers or texts with
            named axes. `schema.LAYOUTS` has the groups; labels of an axis (`coords`) are stored with it, once for
            the group. "offsets", [layer, head, bin], lies at the root.
        mean_z: the reference of mean ablation, or None.
        resample_prompts: the reference of resample ablation, or None.
        provenance: plain values, lists and dicts of them.
        left_out: by name, why a family or a measure is not in this atlas.
        notes: by name, what to know of a family or a measure that is.
        checks: the identity checks of the model, as dicts.
        shards: by unit name, the sha256 of the shard it came from.
    """

    n_layers: int
    n_heads: int
    families: Sequence[str]
    modes: Sequence[str]
    prompts: Sequence[Prompt]
    token_strings: Mapping[int, str]
    arrays: Mapping[str, NamedArray] = field(default_factory=dict)
    mean_z: MeanZ | None = None
    resample_prompts: ResamplePrompts | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    checks: Sequence[Mapping[str, Any]] = ()
    shards: Mapping[str, str] = field(default_factory=dict)

    def group(self, name: str) -> dict[str, NamedArray]:
        """The arrays of one group, by their names in it."""
        return {
            place.rpartition("/")[2]: array for place, array in self.arrays.items() if place.rpartition("/")[0] == name
        }
