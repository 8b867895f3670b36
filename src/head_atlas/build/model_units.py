"""Units of the whole model: how much heads write, how crowded its spaces are, what its neurons fire for."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np

from head_atlas.build.measurement import Arrays, Progress, Workplace, reason
from head_atlas.catalogue import WITHOUT_EFFECTS
from head_atlas.errors import NotApplicableError
from head_atlas.measures.neurons import neuron_statistics
from head_atlas.measures.superposition import interference, participation
from head_atlas.measures.write_norm import write_norm
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt

if TYPE_CHECKING:
    from head_atlas.build.plan import Unit


def write_norms(unit: Unit, at: Workplace, progress: Progress) -> Arrays:  # noqa: ARG001
    """How much every head writes, on running text."""
    found = write_norm(at.model, at.prompts(unit)).values
    return {"model/write_norm": NamedArray(np.nanmean(found, -1).astype(np.float32), ("layer", "head"))}


def superposition(unit: Unit, at: Workplace, progress: Progress) -> Arrays:  # noqa: ARG001
    """Interference between token directions, and dimensions in use on running text."""
    crowded = interference(at.model, seed=at.plan.config["seed"])
    arrays: Arrays = {"model/interference": crowded.values, "model/interference_random": crowded.random}
    for space, why in crowded.not_applicable.items():
        arrays |= reason(f"interference of the {space}", why)
    try:
        used = participation(at.model, at.prompts(unit))
    except NotApplicableError as error:
        return arrays | reason("participation", str(error))
    arrays |= {"model/head_participation": used.heads, "model/mlp_participation": used.mlps}
    arrays["model/participation_n"] = NamedArray(np.array(used.n_tokens), ())
    return arrays | _by_layer("mlp_participation", used.not_applicable)


def neurons(unit: Unit, at: Workplace, progress: Progress) -> Arrays:
    """What every hidden unit of the MLPs fires for."""
    try:
        found = neuron_statistics(at.model, at.prompts(unit), progress=lambda done, total: progress(done / total))
    except NotApplicableError as error:
        return reason("neurons", str(error))
    arrays: Arrays = {}
    for field in fields(found):
        array = getattr(found, field.name)
        if isinstance(array, NamedArray):
            arrays[f"neurons/{field.name}"] = array
    return arrays | _by_layer("neurons", found.not_applicable)


def has_neurons(prompt: Prompt) -> bool:
    """Whether neurons are measured on a prompt."""
    return prompt.family not in WITHOUT_EFFECTS and len(prompt) > 1


def _by_layer(name: str, reasons: dict[int, str]) -> Arrays:
    arrays: Arrays = {}
    for layer, why in reasons.items():
        arrays |= reason(f"{name} of layer {layer}", why)
    return arrays
