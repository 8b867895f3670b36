"""Files that are either whole or not there."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

import h5py

if TYPE_CHECKING:
    from typing_extensions import Buffer


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder; on success it becomes `path`, on failure it vanishes.

    The temporary name is unique, so that two writers (or the orphan of a killed run) never share one.
    File and folder are synced: after a power cut there is the old file or the new one.

    Raises:
        OSError: no permission; or a folder, a device or a pipe is there, which a file must not replace.
    """
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "a device or a pipe"
        raise OSError(errno.EEXIST, f"there is {what} in the file's place", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)  # noqa: PTH105 - the very call whose guarantee is wanted
    finally:
        temporary.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def new_hdf5(path: Path) -> Iterator[h5py.File]:
    """Give an HDF5 file to write into; on success it becomes `path`, on failure there is none.

    Raises:
        OSError: no space, or no permission.
    """
    with replacing(path) as temporary, temporary.open("w+b", buffering=0) as file:
        disk = _Disk(file)
        try:
            with h5py.File(disk, "w") as root:
                yield root
        finally:
            if disk.failure is not None:
                raise disk.failure


class _Disk:
    """A file that HDF5 writes to, which fails only afterwards.

    HDF5 does not survive a write that fails while it closes a file: a full disk would end in a segmentation fault.
    So after the first failure writes go nowhere, but for small ones, HDF5's own structures, which it may read again.

    Attributes:
        failure: the first error, to be raised when HDF5 is done; None if all went well.
    """

    _SMALL = 2**16

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._kept: dict[int, bytes] = {}
        self._position = 0
        self.failure: OSError | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = self._file.seek(offset, whence)
        return self._position

    def tell(self) -> int:
        return self._position

    def write(self, values: Buffer) -> int:
        view = memoryview(values).cast("B")
        start, done = self._position, 0
        try:
            while self.failure is None and done < len(view):
                done += self._file.write(view[done:])
        except OSError as error:
            self.failure = error
        if self.failure is not None and len(view) <= self._SMALL:
            self._kept[start] = bytes(view)
        self._position = start + len(view)
        return len(view)

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer).cast("B")
        start, n = self._position, 0
        self._file.seek(start)
        while found := self._file.readinto(view[n:]):
            n += found
        view[n:] = bytes(len(view) - n)
        for place, values in self._kept.items():
            low, high = max(place, start), min(place + len(values), start + len(view))
            if low < high:
                view[low - start : high - start] = values[low - place : high - place]
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        try:
            if self.failure is None:
                return self._file.truncate(size)
        except OSError as error:
            self.failure = error
        return size or 0

    def read(self, size: int = -1) -> bytes:
        values = bytearray(max(size, 0))
        return bytes(values[: self.readinto(values)])

    def flush(self) -> None:
        pass
