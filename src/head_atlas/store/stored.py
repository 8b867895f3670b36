"""Is one element of a strange file safe to read? Its attributes, its type, its filters, and where its numbers lie."""

from __future__ import annotations

import math
import zlib
from typing import Any

import h5py

from head_atlas.errors import AtlasError
from head_atlas.store.schema import (
    DEFLATE_LIMIT,
    FILTERS,
    MAX_ATTRIBUTE_BYTES,
    MAX_ATTRIBUTES,
    MAX_CHUNK_BYTES,
    MAX_DIMS,
    MAX_TEXT_BYTES,
    MAX_TEXTS,
)

_FILTER_NAMES = {h5py.h5z.FILTER_DEFLATE: "deflate", h5py.h5z.FILTER_SHUFFLE: "shuffle"}
_FILTER_NAMES[h5py.h5z.FILTER_FLETCHER32] = "fletcher32"
_REFERENCES = {b"DIMENSION_LIST": h5py.h5t.VLEN, b"REFERENCE_LIST": h5py.h5t.COMPOUND}
"""Attributes of dimension scales: the only ones that hold references, and how."""
_CHECKSUM_BYTES = 4


def check_attributes(element: h5py.Group | h5py.Dataset, where: str) -> None:
    """Refuse attributes that are many, large, or no numbers and texts.

    Raises:
        AtlasError: naming the attribute.
    """
    n = h5py.h5a.get_num_attrs(element.id)
    if n > MAX_ATTRIBUTES:
        raise AtlasError(f"{where}: {n} attributes; at most {MAX_ATTRIBUTES} are allowed")
    for index in range(n):
        attribute = h5py.h5a.open(element.id, index=index)
        problem = _attribute_problem(element, attribute)
        if problem:
            name = attribute.name.decode("utf-8", errors="replace")[:100]
            raise AtlasError(f"{where}: the attribute {name!a} {problem}")


def _attribute_problem(element: h5py.Group | h5py.Dataset, attribute: h5py.h5a.AttrID) -> str:
    kind = attribute.get_type()
    if attribute.get_space().get_simple_extent_type() == h5py.h5s.NULL:
        return "has no value"
    too_large = f"is over {MAX_ATTRIBUTE_BYTES} bytes"
    if attribute.get_storage_size() > MAX_ATTRIBUTE_BYTES:
        return too_large
    if not _is_plain(kind):
        return "" if _lists_references(attribute.name, kind) else "is neither numbers nor text"
    if kind.get_class() == h5py.h5t.STRING and kind.is_variable_str():
        if attribute.shape:
            return "is an array of texts"
        if len(element.attrs[attribute.name]) > MAX_ATTRIBUTE_BYTES:
            return too_large
    return ""


def _is_plain(kind: h5py.h5t.TypeID) -> bool:
    if kind.get_class() == h5py.h5t.ENUM:
        return True
    return kind.get_class() in (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING)


def _lists_references(name: bytes, kind: h5py.h5t.TypeID) -> bool:
    if kind.get_class() != _REFERENCES.get(name):
        return False
    if name == b"DIMENSION_LIST":
        return bool(kind.get_super().get_class() == h5py.h5t.REFERENCE)
    members = [kind.get_member_class(i) for i in range(kind.get_nmembers())]
    return members == [h5py.h5t.REFERENCE, h5py.h5t.INTEGER]


def check_dataset(element: object, where: str) -> int:
    """Check how one dataset is declared.

    Returns:
        The bytes that it declares.

    Raises:
        AtlasError: naming it and what is wrong with it.
    """
    if not isinstance(element, h5py.Dataset):
        raise AtlasError(f"{where}: only groups and datasets are allowed")
    if element.is_virtual or element.external:
        raise AtlasError(f"{where}: virtual datasets and external storage are not allowed")
    kind = element.id.get_type()
    if not _is_plain(kind) or element.dtype.kind not in "iufSO":
        raise AtlasError(f"{where}: type {element.dtype} is not allowed; numbers and strings are")
    if element.shape is None or len(element.shape) > MAX_DIMS:
        raise AtlasError(f"{where}: an array of 0 to {MAX_DIMS} axes was expected")
    creation = element.id.get_create_plist()
    for index in range(creation.get_nfilters()):
        code = creation.get_filter(index)[0]
        if _FILTER_NAMES.get(code) not in FILTERS:
            raise AtlasError(f"{where}: filter {code} is not allowed; {', '.join(sorted(FILTERS))} are")
    if element.chunks:
        chunk = _chunk_bytes(element)
        if chunk > MAX_CHUNK_BYTES:
            raise AtlasError(f"{where}: a chunk of {chunk} bytes is over {MAX_CHUNK_BYTES}")
    return math.prod(element.shape) * kind.get_size()


def check_stored(dataset: h5py.Dataset, where: str, file_bytes: int) -> None:
    """Refuse numbers that are not in the file, and streams that grow to more than was declared.

    HDF5 would read what is missing as zeros, without a word, and inflate a stream to its end, however far that is.

    Raises:
        AtlasError: naming the dataset.
    """
    if not math.prod(dataset.shape):
        return
    if dataset.chunks:
        expected = math.prod(-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True))
        found = dataset.id.get_num_chunks()
        if found != expected:
            raise AtlasError(f"{where}: {found} of {expected} chunks are in the file")
        _check_chunks(dataset, where, file_bytes)
    elif dataset.id.get_storage_size() < math.prod(dataset.shape) * dataset.id.get_type().get_size():
        raise AtlasError(f"{where}: its numbers are not in the file")
    if h5py.check_string_dtype(dataset.dtype) is not None:
        _check_texts(dataset, where)


def _check_chunks(dataset: h5py.Dataset, where: str, file_bytes: int) -> None:
    declared = _chunk_bytes(dataset)
    suspects: list[tuple[int, ...]] = []

    def visit(chunk: Any) -> str | None:
        if chunk.filter_mask:
            return "a chunk passes filters by"
        if chunk.byte_offset + chunk.size > file_bytes:
            return "a chunk lies beyond the end of the file"
        if chunk.size * DEFLATE_LIMIT > max(MAX_CHUNK_BYTES, 4 * declared):
            suspects.append(chunk.chunk_offset)
        return None

    problem = dataset.id.chunk_iter(visit)
    if problem:
        raise AtlasError(f"{where}: {problem}")
    creation = dataset.id.get_create_plist()
    filters = [_FILTER_NAMES[creation.get_filter(index)[0]] for index in range(creation.get_nfilters())]
    if "deflate" not in filters:
        return
    if filters.count("deflate") > 1:
        raise AtlasError(f"{where}: deflated more than once")
    for offset in suspects:
        if _inflated_bytes(dataset, offset, filters, declared) > declared + _CHECKSUM_BYTES:
            raise AtlasError(f"{where}: a chunk inflates to more than the {declared} bytes that it declares")


def _inflated_bytes(dataset: h5py.Dataset, offset: tuple[int, ...], filters: list[str], declared: int) -> int:
    """How far a chunk inflates, up to little more than it may."""
    _, raw = dataset.id.read_direct_chunk(offset)
    if filters[-1] == "fletcher32":
        raw = raw[:-_CHECKSUM_BYTES]
    try:
        return len(zlib.decompressobj().decompress(raw, declared + _CHECKSUM_BYTES + 1))
    except zlib.error as error:
        raise AtlasError(f"{dataset.name}: a chunk cannot be inflated: {error}") from error


def _check_texts(dataset: h5py.Dataset, where: str) -> None:
    """Read them all: texts lie outside of their arrays, and many can point at one."""
    if math.prod(dataset.shape) > MAX_TEXTS:
        raise AtlasError(f"{where}: more than {MAX_TEXTS} texts")
    rows = dataset.asstr()
    if sum(len(text) for text in rows[()].ravel()) > MAX_TEXT_BYTES:
        raise AtlasError(f"{where}: more than {MAX_TEXT_BYTES} bytes of texts")


def _chunk_bytes(dataset: h5py.Dataset) -> int:
    return math.prod(dataset.chunks) * int(dataset.id.get_type().get_size())
