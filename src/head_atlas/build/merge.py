"""From the shards of a finished build to the contents of an atlas, in the order of the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from head_atlas.build.derived import DERIVED
from head_atlas.build.measurement import INTERNAL, MEAN_Z, MEAN_Z_TOKENS, NOTES, REASONS, TOTALS, Arrays
from head_atlas.build.measurements import MEASUREMENTS, REFERENCE
from head_atlas.build.plan import Plan, Unit
from head_atlas.build.scratch import Scratch
from head_atlas.build.shards import read_shard, shard_path
from head_atlas.models import HeadModel
from head_atlas.named_array import NamedArray
from head_atlas.store import AtlasContents, MeanZ, ResamplePrompts
from head_atlas.store.checksum import sha256_of
from head_atlas.store.schema import group_of


def merge(plan: Plan, folder: Path, model: HeadModel, provenance: Mapping[str, Any]) -> AtlasContents:
    """Read every shard and put the atlas together.

    In memory are one shard at a time, `scratch.IN_MEMORY` bytes of the atlas, and a few times its largest array.

    Raises:
        BuildError: a shard is missing or damaged.
    """
    arrays: Arrays = {}
    scratch = Scratch(folder)
    left_out, notes = dict(plan.left_out), dict(plan.notes)
    texts = {REASONS: left_out, NOTES: notes}
    mean_z: MeanZ | None = None
    shards: dict[str, str] = {}
    for unit in plan.units:
        path = shard_path(folder, unit.key, unit.label)
        found = read_shard(path, key=unit.key, unit=unit.label)
        shards[unit.name] = sha256_of(path)
        if unit.kind == REFERENCE.kind:
            n_tokens = int(found[MEAN_Z_TOKENS].values)
            mean_z = MeanZ(found[MEAN_Z].values, plan.config["reference_source"], n_tokens)
            continue
        for place, array in found.items():
            if group_of(place) in texts:
                texts[group_of(place)][place.rpartition("/")[2]] = str(array.values[0])
            elif group_of(place) == TOTALS:
                before = arrays.get(place)
                arrays[place] = (
                    array if before is None else NamedArray(before.values + array.values, array.dims, array.coords)
                )
            else:
                _put(arrays, place, _numbered(place, array, unit), unit, plan, scratch)
    for derive in DERIVED:
        arrays |= derive(plan, arrays, left_out)
    kept = {place: array for place, array in arrays.items() if group_of(place) not in INTERNAL}
    return AtlasContents(
        n_layers=model.n_layers,
        n_heads=model.n_heads,
        families=plan.families,
        modes=plan.modes,
        prompts=plan.prompts,
        token_strings={i: model.strings([i])[0] for i in sorted(_tokens(plan, kept))},
        arrays=kept,
        mean_z=mean_z,
        resample_prompts=_resample_prompts(plan),
        provenance=provenance,
        left_out=left_out,
        notes=notes,
        checks=[
            {key: getattr(check, key) for key in ("name", "meaning", "value", "tolerance", "passed")}
            for check in model.checks
        ],
        shards=shards,
    )


def _numbered(place: str, array: NamedArray, unit: Unit) -> NamedArray:
    """Numbers of prompts, counted among those of the atlas in place of those of the unit."""
    if unit.kind == REFERENCE.kind or place.rpartition("/")[2] not in MEASUREMENTS[unit.kind].numbered:
        return array
    place_of = np.array([*unit.index, -1], dtype=np.int32)
    return NamedArray(place_of[array.values], array.dims, array.coords)


def _put(arrays: Arrays, place: str, array: NamedArray, unit: Unit, plan: Plan, scratch: Scratch) -> None:
    """Put what a unit found where it belongs on the axes of the atlas; what is there already stays."""
    axes: dict[str, tuple[int, Sequence[int]]] = {}
    if "prompt" in array.dims:
        axes["prompt"] = len(plan.prompts), unit.index
    for dim, names in (("mode", plan.modes), ("family", plan.families)):
        if dim in array.dims:
            axes[dim] = len(names), [names.index(label) for label in array.coords[dim]]
    shape = tuple(axes[dim][0] if dim in axes else n for dim, n in zip(array.dims, array.shape, strict=True))
    coords = {dim: labels for dim, labels in array.coords.items() if dim not in axes}
    if place not in arrays and shape == array.shape:
        arrays[place] = NamedArray(array.values, array.dims, coords)
        return
    if place not in arrays:
        arrays[place] = NamedArray(scratch.missing(shape), array.dims, coords)
    where = tuple(_span(axes[dim][1]) if dim in axes else slice(None) for dim in array.dims)
    values = arrays[place].values
    values[where] = np.where(np.isnan(values[where]), array.values, values[where])


def _span(places: Sequence[int]) -> slice | list[int]:
    """Consecutive places as a slice, of which numpy makes no copy."""
    first, n = places[0], len(places)
    return slice(first, first + n) if list(places) == list(range(first, first + n)) else list(places)


def _tokens(plan: Plan, arrays: Arrays) -> set[int]:
    """Every token id that occurs in prompts, or in an array whose name says so."""
    used = {t for p in plan.prompts for t in (*p.tokens, *p.targets, *p.contrasts, *p.corrupted)}
    used |= {t for p in plan.resample_prompts for t in p.tokens}
    for place, array in arrays.items():
        if place.endswith(("_id", "_tokens")):
            used |= {int(i) for i in np.unique(array.values) if i >= 0}
    return used


def _resample_prompts(plan: Plan) -> ResamplePrompts | None:
    if not plan.resample_prompts:
        return None
    n_pos = min(len(prompt) for prompt in plan.resample_prompts)
    tokens = np.array([prompt.tokens[:n_pos] for prompt in plan.resample_prompts], dtype=np.int32)
    return ResamplePrompts(tokens, plan.config["resample_source"], plan.config["seed"])
