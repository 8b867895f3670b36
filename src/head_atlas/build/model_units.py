"""Units of the whole model: how much heads write, how crowded its spaces are, what its neurons fire for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from head_atlas.build.measurement import Arrays, Progress, Workplace
from head_atlas.build.text_units import TEXT_FAMILY
from head_atlas.measures.write_norm import write_norm
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt

if TYPE_CHECKING:
    from head_atlas.build.plan import Unit


def write_norms(unit: Unit, at: Workplace, progress: Progress) -> Arrays:  # noqa: ARG001
    """How much every head writes, on running text."""
    found = write_norm(at.model, _text(at)).values
    return {"model/write_norm": NamedArray(np.nanmean(found, -1).astype(np.float32), ("layer", "head"))}


def _text(at: Workplace) -> list[Prompt]:
    return [prompt for prompt in at.plan.prompts if prompt.family == TEXT_FAMILY]
