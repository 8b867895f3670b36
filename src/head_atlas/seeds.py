"""Seeds of what is drawn by chance: the same seed, the same numbers."""

from __future__ import annotations

import numpy as np

from head_atlas.errors import HeadAtlasError

LARGEST = 2**63 - 1
"""What an atlas file can hold, and torch takes."""


def checked_seed(seed: object) -> int:
    """A seed that can be drawn with; to be called before anything is measured.

    Raises:
        HeadAtlasError: it is not a whole number from 0 to `LARGEST`.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed <= LARGEST:
        raise HeadAtlasError(f"seed must be a whole number from 0 to {LARGEST}, found {str(seed)[:40]!r}")
    return int(seed)
