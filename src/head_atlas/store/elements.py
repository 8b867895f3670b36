"""Groups, dimension scales and datasets, each with its encoding and its named dimensions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import h5py
import numpy as np

from head_atlas.store.schema import MANTISSA_BITS, VERSION

_FILTERS = {"shuffle": True, "compression": "gzip", "compression_opts": 1, "fletcher32": True}


def round_mantissa(values: np.ndarray, bits: int = MANTISSA_BITS) -> np.ndarray:
    """Round float32 to `bits` mantissa bits, ties to even; infinities stay, every NaN becomes the same NaN.

    Rounded numbers compress twice as well; float16 would not do, netCDF-C crashes on it.
    """
    values = np.ascontiguousarray(values, dtype=np.float32)
    drop = 23 - bits
    raw = values.view(np.uint32)
    rounded = raw + np.uint32((1 << (drop - 1)) - 1) + ((raw >> np.uint32(drop)) & np.uint32(1))
    rounded &= np.uint32(0xFFFFFFFF ^ ((1 << drop) - 1))
    kept = np.where(np.isfinite(values), rounded.view(np.float32), values)
    return np.where(np.isnan(values), np.float32(np.nan), kept)


def label(element: h5py.Group | h5py.Dataset, kind: str) -> None:
    """Give an element its encoding, which readers dispatch on."""
    element.attrs["encoding-type"] = kind
    element.attrs["encoding-version"] = VERSION


def create_group(parent: h5py.Group, name: str) -> h5py.Group:
    """Add a group that readers will accept."""
    group = parent.create_group(name)
    label(group, "group")
    return group


def create_dimension(parent: h5py.Group, name: str, labels: int | Sequence[Any]) -> h5py.Dataset:
    """Add a dimension scale: names, numbers, or just a length (then 0, 1, 2, ...)."""
    values = np.arange(labels) if isinstance(labels, int) else np.array(list(labels))
    if isinstance(labels, int) or (len(values) and values.dtype.kind in "iuf"):
        numbers = values.astype(np.float64 if values.dtype.kind == "f" else np.int32)
        scale = _dataset(parent, name, numbers, compressed=len(numbers) > 1024)
    else:
        scale = _strings(parent, name, values)
    scale.make_scale(name)
    label(scale, "dimension")
    return scale


def create_array(
    parent: h5py.Group,
    name: str,
    values: np.ndarray,
    dims: Sequence[str],
    *,
    chunk: Sequence[int] | None = None,
    compressed: bool = False,
) -> h5py.Dataset:
    """Add a dataset whose axes are attached to dimension scales of this group or of one above it.

    Args:
        parent: where it goes.
        name: its name.
        values: numbers.
        dims: one name per axis.
        chunk: largest chunk per axis; given, the dataset is compressed.
        compressed: compress with the library's own choice of chunk.
    """
    dataset = _dataset(parent, name, values, compressed=compressed, chunk=chunk)
    _attach(dataset, parent, dims)
    label(dataset, "array")
    return dataset


def create_strings(parent: h5py.Group, name: str, values: np.ndarray, dims: Sequence[str]) -> h5py.Dataset:
    """Add UTF-8 strings; for a few names only, as they do not compress."""
    dataset = _strings(parent, name, values)
    _attach(dataset, parent, dims)
    label(dataset, "string-array")
    return dataset


_NUMBERS_AT_ONCE = 2**22


def write_rounded(
    parent: h5py.Group, name: str, values: np.ndarray, dims: Sequence[str], *, chunk: Sequence[int], rounded: bool
) -> h5py.Dataset:
    """Add a compressed dataset of float32, block by block: the whole array is never copied.

    Args:
        parent: where it goes.
        name: its name.
        values: numbers, perhaps in a file.
        dims: one name per axis.
        chunk: per axis.
        rounded: to `MANTISSA_BITS`.
    """
    dataset = parent.create_dataset(
        name, shape=values.shape, dtype=np.float32, chunks=tuple(chunk), track_times=False, **_FILTERS
    )
    for block in _blocks(values.shape, chunk):
        some = values[block]
        dataset[block] = round_mantissa(some) if rounded else some.astype(np.float32)
    _attach(dataset, parent, dims)
    label(dataset, "array")
    return dataset


def _blocks(shape: Sequence[int], chunk: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Whole chunks, together at most `_NUMBERS_AT_ONCE` numbers where a chunk is not more."""
    block = list(shape)
    for axis, size in enumerate(chunk):
        others = math.prod(block) // block[axis]
        block[axis] = min(shape[axis], size * max(1, _NUMBERS_AT_ONCE // (others * size)))
    starts = (range(0, n, step) for n, step in zip(shape, block, strict=True))
    for corner in itertools.product(*starts):
        yield tuple(slice(start, start + step) for start, step in zip(corner, block, strict=True))


def _attach(dataset: h5py.Dataset, parent: h5py.Group, dims: Sequence[str]) -> None:
    if len(dims) != dataset.ndim:
        raise ValueError(f"{dataset.name}: {dataset.ndim} axes need as many names, found {tuple(dims)}")
    for axis, dim in enumerate(dims):
        scale = parent[dim] if dim in parent else parent.file[dim]
        if scale.shape[0] != dataset.shape[axis]:
            raise ValueError(f"{dataset.name}: axis {dim!r} is {scale.shape[0]} long, found {dataset.shape[axis]}")
        dataset.dims[axis].attach_scale(scale)


def _strings(parent: h5py.Group, name: str, values: np.ndarray) -> h5py.Dataset:
    return parent.create_dataset(name, data=values.astype(object), dtype=h5py.string_dtype("utf-8"), track_times=False)


def _dataset(
    parent: h5py.Group,
    name: str,
    values: np.ndarray,
    *,
    compressed: bool = False,
    chunk: Sequence[int] | None = None,
) -> h5py.Dataset:
    if values.size == 0 or not (compressed or chunk):
        return parent.create_dataset(name, data=values, track_times=False)
    return parent.create_dataset(
        name,
        data=values,
        chunks=tuple(min(n, c) for n, c in zip(values.shape, chunk, strict=True)) if chunk else True,
        track_times=False,
        **_FILTERS,
    )
