"""Arrays from strangers: whole and of bounded size, but of any axes, labels and kinds of numbers under our names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from head_atlas.errors import AtlasError
from head_atlas.store import Atlas


@contextmanager
def arrays_of(*atlases: Atlas) -> Iterator[None]:
    """Read what the arrays of atlases are supposed to be.

    Raises:
        AtlasError: one of them is something else.
    """
    try:
        yield
    except (KeyError, IndexError, ValueError, TypeError) as error:
        paths = " or ".join(str(atlas.path) for atlas in atlases)
        raise AtlasError(f"{paths}: an array is not what an atlas holds under its name: {error}") from error
