"""Units of the whole model: how much heads write, how crowded its spaces are, what its neurons fire for."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np

from head_atlas.build.measurement import Arrays, Progress, Workplace, reason
from head_atlas.build.text_units import TEXT_FAMILY
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
    found = write_norm(at.model, _text(at)).values
    return {"model/write_norm": NamedArray(np.nanmean(found, -1).astype(np.float32), ("layer", "head"))}


def superposition(unit: Unit, at: Workplace, progress: Progress) -> Arrays:  # noqa: ARG001
    """Interference between token directions, and dimensions in use on running text."""
    crowded = interference(at.model, seed=at.plan.config["seed"])
    arrays: Arrays = {"model/interference": crowded.values, "model/interference_random": crowded.random}
    for space, why in crowded.not_applicable.items():
        arrays |= reason(f"interference of the {space}", why)
    try:
        used = participation(at.model, _text(at))
    except NotApplicableError as error:
        return arrays | reason("participation", str(error))
    arrays |= {"model/head_participation": used.heads, "model/mlp_participation": used.mlps}
    arrays["model/participation_n"] = NamedArray(np.array(used.n_tokens), ())
    return arrays | _by_layer("mlp_participation", used.not_applicable)


def neurons(unit: Unit, at: Workplace, progress: Progress) -> Arrays:  # noqa: ARG001
    """What every hidden unit of the MLPs fires for."""
    index = [i for i in at.of_family(lambda family: family not in WITHOUT_EFFECTS) if len(at.plan.prompts[i]) > 1]
    try:
        found = neuron_statistics(
            at.model,
            [at.plan.prompts[i] for i in index],
            progress=lambda done, total: progress(done / total),
        )
    except NotApplicableError as error:
        return reason("neurons", str(error))
    arrays: Arrays = {}
    for field in fields(found):
        array = getattr(found, field.name)
        if isinstance(array, NamedArray):
            arrays[f"neurons/{field.name}"] = array
    # prompts are numbered among those of the atlas
    top = arrays["neurons/top_prompts"]
    place = np.array([*index, -1], dtype=np.int32)
    arrays["neurons/top_prompts"] = NamedArray(place[top.values], top.dims, top.coords)
    for name in ("mean", "firing"):
        arrays[f"neurons/{name}"] = _on_all_families(arrays[f"neurons/{name}"], at)
    return arrays | _by_layer("neurons", found.not_applicable)


def _on_all_families(array: NamedArray, at: Workplace) -> NamedArray:
    """The last axis on the families of the atlas; NaN on those without."""
    names = list(at.plan.families)
    whole = np.full((*array.shape[:-1], len(names)), np.nan, dtype=np.float32)
    whole[..., [names.index(family) for family in array.coords["family"]]] = array.values
    return NamedArray(whole, array.dims, {"family": names})


def _by_layer(name: str, reasons: dict[int, str]) -> Arrays:
    arrays: Arrays = {}
    for layer, why in reasons.items():
        arrays |= reason(f"{name} of layer {layer}", why)
    return arrays


def _text(at: Workplace) -> list[Prompt]:
    return [prompt for prompt in at.plan.prompts if prompt.family == TEXT_FAMILY]
