"""Arrays that may be larger than memory: the first in memory, the others in files without names."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np

IN_MEMORY = 2**29
"""Bytes of all arrays that are kept in memory; what comes after them lies in files, paged by the system."""


class Scratch:
    """Makes arrays. Their files have no names: they vanish with the process, however it ends.

    Args:
        folder: on the disk where the files are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._held = folder, 0

    def missing(self, shape: tuple[int, ...]) -> np.ndarray:
        """A float32 array of NaN."""
        n_bytes = 4 * math.prod(shape)
        self._held += n_bytes
        if self._held <= IN_MEMORY or not n_bytes:
            return np.full(shape, np.nan, dtype=np.float32)
        file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - the array keeps it
        array = np.memmap(file, dtype=np.float32, mode="w+", shape=shape)
        array.fill(np.nan)
        return array
