"""Arrays from strangers: whole and of bounded size, but of any axes, labels and kinds of numbers under our names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from head_atlas.errors import AtlasError


@contextmanager
def arrays_of(*atlases: object) -> Iterator[None]:
    """Read what the arrays of atlases are supposed to be.

    Args:
        atlases: what messages call them.

    Raises:
        AtlasError: one of them is something else.
    """
    try:
        yield
    except (KeyError, IndexError, ValueError, TypeError) as error:
        words = " or ".join(map(str, atlases))
        raise AtlasError(f"{words}: an array is not what an atlas holds under its name: {error}") from error
