"""Is this file safe to read, and is it an atlas? Checked before anything else touches it."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from head_atlas.errors import AtlasError
from head_atlas.store.schema import (
    AXES,
    COUNTED,
    ELEMENT_TYPES,
    FORMAT,
    MAJOR,
    MAX_DECLARED_BYTES,
    MAX_DEPTH,
    MAX_EXPANSION,
    MAX_OBJECTS,
    MEMBERS,
    MINOR,
    REQUIRED_GROUPS,
    SIGNATURE,
    TWINS,
    VERSION,
    VIEWS,
    dims_problem,
    is_name,
)
from head_atlas.store.stored import check_attributes, check_dataset, check_stored


def check_signature(path: Path) -> None:
    """Refuse what is not there, not a file, or not HDF5.

    Raises:
        AtlasError: with the path and what was found.
    """
    if not path.exists():
        raise AtlasError(f"there is no atlas at {path}")
    if not path.is_file():
        raise AtlasError(f"{path} is not a file")
    try:
        with path.open("rb") as file:
            start = file.read(len(SIGNATURE))
    except OSError as error:
        raise AtlasError(f"{path} cannot be read: {error.strerror}") from error
    if start != SIGNATURE:
        what = "is empty" if not start else "is not an HDF5 file"
        raise AtlasError(f"{path} {what}: an atlas was expected")


def check_version(root: h5py.File) -> None:
    """Refuse foreign files, newer major versions and builds that did not finish.

    Raises:
        AtlasError: saying which of these it is.
    """
    path = root.filename
    kind, version = root.attrs.get("encoding-type"), root.attrs.get("encoding-version")
    if kind != FORMAT:
        raise AtlasError(f"{path} is an HDF5 file, but not an atlas (encoding-type {str(kind)[:40]!r}, not {FORMAT!r})")
    major = _major(version)
    if major is None or major > MAJOR:
        raise AtlasError(
            f"{path} has atlas version {str(version)[:20]}; this program reads up to {MAJOR}.x: please update it"
        )
    if root.attrs.get("build_complete") != 1:
        raise AtlasError(f"{path}: the build of this atlas did not finish; run the same build command again")


def check_structure(root: h5py.File) -> None:
    """Walk every object: hard links only, each reached once, plain datasets, bounded sizes.

    External storage, external links and virtual datasets would read other files of this machine.

    Raises:
        AtlasError: naming the object and what is wrong with it.
    """
    size = Path(root.filename).stat().st_size
    allowed = max(MAX_DECLARED_BYTES, MAX_EXPANSION * size)
    seen = {h5py.h5o.get_info(root.id).addr}
    check_attributes(root, "/")
    declared = 0
    queue: list[tuple[h5py.Group, int]] = [(root, 0)]
    while queue:
        group, depth = queue.pop()
        if len(group) > MAX_OBJECTS:
            raise AtlasError(f"{group.name}: more than {MAX_OBJECTS} objects, or nested over {MAX_DEPTH} deep")
        for name in group:
            where = f"{group.name.rstrip('/')}/{name!s:.100}"
            if not is_name(name):
                raise AtlasError(f"{where!a}: names are small letters, digits and underscores")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise AtlasError(f"{where}: a link that points elsewhere is not allowed in an atlas")
            element = group[name]
            address = h5py.h5o.get_info(element.id).addr
            if address in seen:
                raise AtlasError(f"{where}: this object is reached twice")
            seen.add(address)
            if len(seen) > MAX_OBJECTS or depth >= MAX_DEPTH:
                raise AtlasError(f"{where}: more than {MAX_OBJECTS} objects, or nested over {MAX_DEPTH} deep")
            check_attributes(element, where)
            _check_encoding(element, where)
            if isinstance(element, h5py.Group):
                queue.append((element, depth + 1))
            else:
                declared += check_dataset(element, where)
                if declared > allowed:
                    raise AtlasError(f"{where}: the file declares over {allowed} bytes of numbers")
                check_stored(element, where, size)
    missing = [name for name in REQUIRED_GROUPS if not isinstance(root.get(name), h5py.Group)]
    if missing:
        raise AtlasError(f"{root.filename}: the group /{missing[0]} is missing")


def check_axes(root: h5py.File) -> None:
    """Compare every axis with its dimension scale, and the known arrays' axes with the specification.

    Raises:
        AtlasError: naming the array and what is wrong with its axes.
    """
    missing = [name for name in AXES if not isinstance(root.get(name), h5py.Dataset)]
    if missing:
        raise AtlasError(f"{root.filename} is damaged: the axis /{missing[0]} is missing")
    newer = _minor(root.attrs["encoding-version"]) > MINOR
    unknown = sorted(name for name in root if name not in MEMBERS)
    if unknown and not newer:
        raise AtlasError(f"/{unknown[0]}: version {VERSION} has no such group or array")
    queue: list[h5py.Group] = [root]
    while queue:
        for element in queue.pop().values():
            if isinstance(element, h5py.Group):
                queue.append(element)
            elif element.attrs["encoding-type"] != "dimension":
                problem = dims_problem(element.name.lstrip("/"), _checked_dims(element), strict=not newer)
                if problem:
                    raise AtlasError(problem)
            elif element.ndim != 1:
                raise AtlasError(f"{element.name}: an axis must have one dimension, found {element.ndim}")
            else:
                _check_scale(root, element)
    check_views(root)


def check_views(root: h5py.File) -> None:
    """Every view must have its other half, and must not stand beside the array itself.

    Raises:
        AtlasError: naming the view.
    """
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    for view in VIEWS:
        groups = [group for group in root.get(view, {}).values() if isinstance(group, h5py.Group)]
        arrays = [array for group in groups for array in group.values() if isinstance(array, h5py.Dataset)]
        shapes[view] = {array.name.removeprefix(f"/{view}/"): array.shape for array in arrays}
    by_head, by_prompt = (shapes[view] for view in VIEWS)
    alone = sorted(name for name in {**by_head, **by_prompt} if by_head.get(name) != by_prompt.get(name))
    if alone:
        raise AtlasError(f"/{alone[0]}: its views by head and by prompt must both be there, and be of one shape")
    twice = sorted(name for name in by_head if name in root)
    if twice:
        raise AtlasError(f"/{twice[0]}: it is in the file both as views and in one piece")


def _check_scale(root: h5py.File, scale: h5py.Dataset) -> None:
    name = scale.name.rsplit("/", 1)[-1]
    if name in COUNTED and not np.array_equal(scale[()], np.arange(len(scale))):
        raise AtlasError(f"{scale.name}: must count from 0")
    if name in TWINS and scale.shape != root[TWINS[name]].shape:
        raise AtlasError(
            f"{scale.name}: {scale.shape[0]} long; expected {root[TWINS[name]].shape[0]} as {TWINS[name]!r}"
        )


def _checked_dims(dataset: h5py.Dataset) -> tuple[str, ...]:
    names = []
    for axis in range(dataset.ndim):
        scales = dataset.dims[axis]
        scale = scales[0] if len(scales) == 1 else None
        place, _, name = str("" if scale is None else scale.name).rpartition("/")  # without a name: in no group
        if scale is None or not scale.name or place not in ("", dataset.parent.name) or (place and name in AXES):
            raise AtlasError(f"{dataset.name}: axis {axis} has no dimension scale of its own")
        if scale.shape != (dataset.shape[axis],):
            raise AtlasError(f"{dataset.name}: axis {name!r} is {scale.shape} long, found {dataset.shape[axis]}")
        names.append(name)
    return tuple(names)


def _check_encoding(element: h5py.Group | h5py.Dataset, where: str) -> None:
    kind, version = element.attrs.get("encoding-type"), element.attrs.get("encoding-version")
    major = _major(version)
    if kind not in ELEMENT_TYPES or major is None or major > MAJOR:
        raise AtlasError(f"{where}: encoding {str(kind)[:40]!r} version {str(version)[:20]!r} is not known")


def _major(version: object) -> int | None:
    head = str(version).split(".")[0]
    return int(head) if head.isascii() and head.isdigit() and len(head) < 6 else None


def _minor(version: object) -> int:
    tail = str(version).split(".")[1:2]
    return int(tail[0]) if tail and tail[0].isascii() and tail[0].isdigit() and len(tail[0]) < 6 else 0
