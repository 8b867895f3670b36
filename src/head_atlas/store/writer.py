"""From contents in memory to an atlas file: whole, deterministic to the byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from head_atlas.store.atomic import replacing
from head_atlas.store.contents import AtlasContents
from head_atlas.store.corpus import write_corpus
from head_atlas.store.elements import (
    create_array,
    create_dimension,
    create_group,
    create_strings,
    round_mantissa,
)
from head_atlas.store.schema import (
    BASELINE_DIMS,
    EFFECT_CHUNK,
    EFFECT_DIMS,
    FORMAT,
    MEAN_Z_DIMS,
    OFFSET_DIMS,
    POSITION_CLASSES,
    SCORE_CHUNK,
    SCORE_DIMS,
    VERSION,
)


def write_atlas(path: str | Path, contents: AtlasContents) -> None:
    """Write an atlas; an older file of that name stays whole until the new one takes its place.

    Scores and effects are rounded to 10 mantissa bits. Equal contents give equal bytes.

    Raises:
        ValueError: an array's shape is not that of its axes.
        OSError: no space, or no permission.
    """
    with replacing(Path(path)) as temporary, h5py.File(temporary, "w-") as root:
        root.attrs["encoding-type"] = FORMAT
        root.attrs["encoding-version"] = VERSION
        for key, value in sorted(contents.provenance.items()):
            _write_attribute(root, key, value)
        _write_attribute(root, "left_out", dict(contents.left_out))
        _write_attribute(root, "checks", [dict(check) for check in contents.checks])
        _write_axes(root, contents)
        _write_arrays(root, contents)
        write_corpus(root, contents.prompts, contents.families, contents.token_strings)
        _write_references(root, contents)
        _write_shards(root, contents)
        root.attrs["build_complete"] = 1


def _write_attribute(root: h5py.File, key: str, value: Any) -> None:
    if isinstance(value, dict | list | tuple):
        root.attrs[f"{key}_json"] = json.dumps(value, sort_keys=True, ensure_ascii=False)
    elif value is not None:
        root.attrs[key] = value


def _write_axes(root: h5py.File, contents: AtlasContents) -> None:
    create_dimension(root, "layer", contents.n_layers)
    create_dimension(root, "head", contents.n_heads)
    create_dimension(root, "prompt", len(contents.prompts))
    create_dimension(root, "mode", contents.modes)
    create_dimension(root, "family", contents.families)
    create_dimension(root, "bin", contents.offset_bins)


def _write_arrays(root: h5py.File, contents: AtlasContents) -> None:
    scores, baselines = create_group(root, "scores"), create_group(root, "baselines")
    for name, values in sorted(contents.scores.items()):
        create_array(scores, name, round_mantissa(values), SCORE_DIMS, chunk=SCORE_CHUNK)
    for name, values in sorted(contents.baselines.items()):
        create_array(baselines, name, round_mantissa(values), BASELINE_DIMS, chunk=SCORE_CHUNK[::2])
    effects, clean = create_group(root, "effects"), create_group(root, "clean")
    for name, values in sorted(contents.effects.items()):
        create_array(effects, name, round_mantissa(values), EFFECT_DIMS, chunk=EFFECT_CHUNK)
    for name, values in sorted(contents.clean.items()):
        create_array(clean, name, np.asarray(values, dtype=np.float32), ("prompt",), compressed=True)
    summary = create_group(root, "summary")
    for name, named in sorted(contents.summary.items()):
        dtype = np.int32 if named.values.dtype.kind in "iu" else np.float32
        create_array(summary, name, named.values.astype(dtype), named.dims)
    if contents.offsets is not None:
        create_array(root, "offsets", contents.offsets.astype(np.float32), OFFSET_DIMS)


def _write_references(root: h5py.File, contents: AtlasContents) -> None:
    references = create_group(root, "references")
    if contents.mean_z is None:
        return
    create_dimension(references, "position_class", POSITION_CLASSES)
    create_dimension(references, "d_head", contents.mean_z.z.shape[-1])
    values = contents.mean_z.z.astype(np.float32)
    mean_z = create_array(references, "mean_z", values, MEAN_Z_DIMS, compressed=True)
    mean_z.attrs["source"] = contents.mean_z.source
    mean_z.attrs["n_tokens"] = contents.mean_z.n_tokens


def _write_shards(root: h5py.File, contents: AtlasContents) -> None:
    provenance = create_group(root, "provenance")
    units = sorted(contents.shards)
    create_dimension(provenance, "unit", units)
    create_strings(provenance, "shard_sha256", [contents.shards[unit] for unit in units], "unit")
