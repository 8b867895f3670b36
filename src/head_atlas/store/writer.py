"""From contents in memory to an atlas file: whole, deterministic to the byte."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from head_atlas.named_array import NamedArray
from head_atlas.store.atomic import new_hdf5
from head_atlas.store.contents import AtlasContents
from head_atlas.store.corpus import write_corpus
from head_atlas.store.elements import (
    create_array,
    create_dimension,
    create_group,
    create_strings,
    round_mantissa,
    write_rounded,
)
from head_atlas.store.inspection import remember
from head_atlas.store.schema import (
    AXES,
    FORMAT,
    LAYOUTS,
    MEAN_Z_DIMS,
    OFFSET_DIMS,
    POSITION_CLASSES,
    REQUIRED_GROUPS,
    RESAMPLE_DIMS,
    SMALLEST_COMPRESSED,
    TWINS,
    VERSION,
    VIEW_BYTES,
    VIEWS,
    Layout,
    chunk_of,
    dims_problem,
    has_views,
    layout_of,
    name_problem,
    view_chunk,
    without_view,
)
from head_atlas.store.units import unit_of


def write_atlas(path: str | Path, contents: AtlasContents) -> None:
    """Write an atlas; an older file of that name stays whole until the new one takes its place.

    Scores, effects and the like are rounded to 10 mantissa bits. Equal contents give equal bytes.

    Raises:
        ValueError: a place that an atlas does not have, or an array whose axes are not those of its place.
        OSError: no space, or no permission.
    """
    with new_hdf5(Path(path)) as root:
        root.attrs["encoding-type"] = FORMAT
        root.attrs["encoding-version"] = VERSION
        for key, value in sorted(contents.provenance.items()):
            _write_attribute(root, key, value)
        _write_attribute(root, "left_out", dict(contents.left_out))
        _write_attribute(root, "notes", dict(contents.notes))
        _write_attribute(root, "checks", [dict(check) for check in contents.checks])
        _write_axes(root, contents)
        _write_arrays(root, contents.arrays)
        write_corpus(root, contents.prompts, contents.families, contents.token_strings)
        _write_references(root, contents)
        _write_shards(root, contents)
        root.attrs["build_complete"] = 1
    remember(Path(path))


def _write_attribute(root: h5py.File, key: str, value: Any) -> None:
    if isinstance(value, dict | list | tuple):
        root.attrs[f"{key}_json"] = json.dumps(value, sort_keys=True, ensure_ascii=False)
    elif value is not None:
        root.attrs[key] = value


def _write_axes(root: h5py.File, contents: AtlasContents) -> None:
    offsets = contents.arrays.get("offsets")
    create_dimension(root, "layer", contents.n_layers)
    create_dimension(root, "head", contents.n_heads)
    create_dimension(root, "prompt", len(contents.prompts))
    create_dimension(root, "mode", contents.modes)
    create_dimension(root, "family", contents.families)
    create_dimension(root, "bin", () if offsets is None else offsets.coords["bin"])


def _write_arrays(root: h5py.File, arrays: Mapping[str, NamedArray]) -> None:
    by_group: dict[str, dict[str, NamedArray]] = {name: {} for name in LAYOUTS if name in REQUIRED_GROUPS}
    for place, array in sorted(arrays.items()):
        problem = name_problem(place) or dims_problem(place, array.dims)
        if problem:
            raise ValueError(problem)
        group, _, name = place.rpartition("/")
        by_group.setdefault(group, {})[name] = array
    for name, members in sorted(by_group.items()):
        if not name:
            for place, array in members.items():
                _write_array(root, place, array, Layout(OFFSET_DIMS, compressed=False))
            continue
        group = _group_at(root, name)
        for dim, labels in _own_axes(root, name, members).items():
            create_dimension(group, dim, labels)
        for own_name, array in members.items():
            layout = layout_of(f"{name}/{own_name}")
            assert layout is not None  # or it would have had a problem
            if has_views(f"{name}/{own_name}", array.shape, array.dims, at_least=VIEW_BYTES):
                for view in VIEWS:
                    _write_array(_group_at(root, f"{view}/{name}"), own_name, array, layout, view)
            else:
                _write_array(group, own_name, array, layout)


def _group_at(root: h5py.File, place: str) -> h5py.Group:
    """A group, made where it is not there yet."""
    group = root
    for part in place.split("/"):
        group = group[part] if part in group else create_group(group, part)
    return group


def _own_axes(root: h5py.File, group: str, arrays: Mapping[str, NamedArray]) -> dict[str, int | Sequence[Any]]:
    """The axes of a group that are not those of the root, with their labels; one axis is one thing in a group."""
    axes: dict[str, int | Sequence[Any]] = {}
    for name, array in arrays.items():
        for dim, n in zip(array.dims, array.shape, strict=True):
            labels: int | Sequence[Any] = list(array.coords[dim]) if dim in array.coords else n
            if dim in AXES:
                if dim in array.coords and _labels(root[dim]) != labels:
                    raise ValueError(f"/{group}/{name}: axis {dim!r} has other labels than that of the atlas")
                continue
            if dim in TWINS and n != root[TWINS[dim]].shape[0]:
                raise ValueError(
                    f"/{group}/{name}: axis {dim!r} is {n} long, {TWINS[dim]!r} {root[TWINS[dim]].shape[0]}"
                )
            if axes.setdefault(dim, labels) != labels:
                raise ValueError(f"/{group}/{name}: axis {dim!r} differs from that of another array of the group")
    clashing = sorted(set(arrays) & set(axes))
    if clashing:
        raise ValueError(f"/{group}/{clashing[0]}: {clashing[0]!r} is the name of an axis")
    return axes


def _labels(scale: h5py.Dataset) -> list[Any]:
    text = h5py.check_string_dtype(scale.dtype) is not None
    labels: list[Any] = (scale.asstr() if text else scale)[()].tolist()
    return labels


def _write_array(group: h5py.Group, name: str, array: NamedArray, layout: Layout, view: str = "") -> None:
    values = array.values
    if values.dtype.kind in "UO":
        create_strings(group, name, values, array.dims)
        return
    small = values.size < SMALLEST_COMPRESSED and "prompt" not in array.dims
    chunked = layout.compressed and not small and values.size and values.ndim
    if values.dtype.kind == "f" and chunked:
        chunk = view_chunk(view, array.dims, values.shape) if view else chunk_of(array.dims, values.shape)
        stored = write_rounded(group, name, values, array.dims, chunk=chunk, rounded=layout.rounded)
        _write_unit(stored)
        return
    if values.dtype.kind == "f":
        values = round_mantissa(values) if layout.rounded else values.astype(np.float32)
    else:
        values = _integers(values, f"{group.name}/{name}")
    stored = create_array(
        group, name, values, array.dims, chunk=chunk_of(array.dims, values.shape) if chunked else None
    )
    _write_unit(stored)


def _write_unit(stored: h5py.Dataset) -> None:
    unit = unit_of(without_view(stored.name.lstrip("/")))
    if unit:
        stored.attrs["units"] = unit


def _integers(values: np.ndarray, where: str) -> np.ndarray:
    """Integers of 32 bits, or of 8 or 16 if they are that already; truth values of 8."""
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    if values.dtype.kind not in "iu":
        raise ValueError(f"{where}: numbers, truth values or texts are stored, not {values.dtype}")
    if values.dtype.itemsize < 4:
        return values
    narrow = values.astype(np.int32)
    if not np.array_equal(narrow, values):
        raise ValueError(f"{where}: integers over 32 bits")
    return narrow


def _write_references(root: h5py.File, contents: AtlasContents) -> None:
    references = create_group(root, "references")
    if contents.mean_z is not None:
        create_dimension(references, "position_class", POSITION_CLASSES)
        create_dimension(references, "d_head", contents.mean_z.z.shape[-1])
        values = contents.mean_z.z.astype(np.float32)
        mean_z = create_array(references, "mean_z", values, MEAN_Z_DIMS, chunk=chunk_of(MEAN_Z_DIMS, values.shape))
        mean_z.attrs["source"] = contents.mean_z.source
        mean_z.attrs["n_tokens"] = contents.mean_z.n_tokens
    if contents.resample_prompts is not None:
        tokens = contents.resample_prompts.tokens.astype(np.int32)
        for dim, n in zip(RESAMPLE_DIMS, tokens.shape, strict=True):
            create_dimension(references, dim, n)
        stored = create_array(references, "resample_token", tokens, RESAMPLE_DIMS)
        stored.attrs["source"] = contents.resample_prompts.source
        stored.attrs["seed"] = contents.resample_prompts.seed


def _write_shards(root: h5py.File, contents: AtlasContents) -> None:
    provenance = create_group(root, "provenance")
    units = sorted(contents.shards)
    create_dimension(provenance, "unit", units)
    create_strings(
        provenance, "shard_sha256", np.array([contents.shards[unit] for unit in units], dtype=object), ("unit",)
    )
