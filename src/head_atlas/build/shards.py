"""Shards: the finished work of one unit, in one immutable file.

A shard appears whole or not at all, its name holds the unit and the hash of all that its numbers depend on, and it is
checked when it is read. So a build that was killed goes on with exactly the units whose shards are missing or damaged,
and a build of more families or measures takes those that are there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from head_atlas.errors import BuildError
from head_atlas.named_array import NamedArray
from head_atlas.store.atomic import new_hdf5

_TYPE = "head-atlas-shard"
_SLASH = "."
"""Stands for the slash of a place: a shard has no groups."""


def shard_path(folder: Path, key: str, unit: str) -> Path:
    """Where the shard of a unit lies."""
    return folder / f"{key[:16]}-{unit}.h5"


def write_shard(path: Path, arrays: Mapping[str, NamedArray], *, key: str, unit: str) -> None:
    """Write a shard; equal arrays give equal bytes."""
    with new_hdf5(path) as file:
        file.attrs["encoding-type"] = _TYPE
        file.attrs["key"] = key
        file.attrs["unit"] = unit
        for place, array in sorted(arrays.items()):
            text = array.values.dtype.kind in "UO"
            # not of variable length: these have no checksums
            values = np.char.encode(array.values.astype(str), "utf-8") if text else array.values
            dataset = file.create_dataset(
                place.replace("/", _SLASH),
                data=values,
                chunks=values.shape if values.size and values.ndim else None,
                fletcher32=True if values.size and values.ndim else None,
                track_times=False,
            )
            dataset.attrs["axes"] = json.dumps([array.dims, {dim: list(of) for dim, of in array.coords.items()}])
        file.attrs["n_arrays"] = len(arrays)


def read_shard(path: Path, *, key: str, unit: str) -> dict[str, NamedArray]:
    """Read all arrays of a shard, by place.

    Raises:
        BuildError: it is missing, damaged, or the shard of something else.
    """
    try:
        with h5py.File(path, "r") as file:
            found = (file.attrs["encoding-type"], file.attrs["key"], file.attrs["unit"])
            arrays = {name.replace(_SLASH, "/"): _read(dataset) for name, dataset in file.items()}
            n_arrays = int(file.attrs["n_arrays"])
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise BuildError(f"shard {path.name}: missing or damaged: {error}") from error
    if found != (_TYPE, key, unit) or n_arrays != len(arrays):
        raise BuildError(f"shard {path.name}: expected unit {unit}, found {found[2]!r}")
    return arrays


def _read(dataset: h5py.Dataset) -> NamedArray:
    dims, coords = json.loads(dataset.attrs["axes"])
    values = np.asarray(dataset[()])
    return NamedArray(np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values, tuple(dims), coords)


def is_valid(path: Path, *, key: str, unit: str) -> bool:
    """Whether a shard is there and whole; a damaged one is told from a good one by its checksums."""
    if not path.exists():
        return False
    try:
        read_shard(path, key=key, unit=unit)
    except BuildError:
        return False
    return True
