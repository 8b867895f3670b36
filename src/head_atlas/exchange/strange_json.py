"""JSON from strangers: of bounded size, inside of its folder, and of the kind that was expected."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from head_atlas.errors import AtlasError

MAX_FILE_BYTES = 64 * 2**20


class Folder:
    """A folder whose files are read by names that we chose.

    Args:
        root: the folder.

    Raises:
        AtlasError: it is not there.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise AtlasError(f"there is no folder {root}")
        self.root = root.resolve()

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return (self.root / name).exists()

    def bytes(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            AtlasError: it is missing, too large, or leads out of the folder.
        """
        try:
            path = (self.root / name).resolve()
        except (OSError, RuntimeError) as error:  # links that lead to themselves
            raise AtlasError(f"{name}: leads nowhere: {error}") from error
        if not path.is_relative_to(self.root):
            raise AtlasError(f"{name}: leads out of the folder")
        if not path.is_file():
            raise AtlasError(f"{name}: there is no such file in {self.root}")
        with path.open("rb") as file:
            found = file.read(MAX_FILE_BYTES + 1)
        if len(found) > MAX_FILE_BYTES:
            raise AtlasError(f"{name}: over {MAX_FILE_BYTES} bytes")
        return found

    def json(self, name: str) -> Any:
        """The value in a file.

        Raises:
            AtlasError: as `bytes`, or it is not JSON.
        """
        try:
            return json.loads(self.bytes(name), parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise AtlasError(f"{name}: is not JSON: {str(error)[:200]}") from error

    def object(self, name: str) -> dict[str, Any]:
        """The object in a file.

        Raises:
            AtlasError: as `json`, or it is something else.
        """
        found = self.json(name)
        if not isinstance(found, dict):
            raise AtlasError(f"{name}: expected an object, found {_kind(found)}")
        return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def listed(value: Any, where: str, most: int) -> list[Any]:
    """A list of at most that many.

    Raises:
        AtlasError: it is something else.
    """
    if not isinstance(value, list) or len(value) > most:
        found = f"{len(value)} entries" if isinstance(value, list) else _kind(value)
        raise AtlasError(f"{where}: expected a list of at most {most}, found {found}")
    return value


def whole(value: Any, where: str, most: int) -> int:
    """A whole number from 0 to `most`.

    Raises:
        AtlasError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise AtlasError(f"{where}: expected a whole number from 0 to {most}, found {text(str(value), 40)!r}")
    return value


def number(value: Any, where: str) -> float:
    """A finite number.

    Raises:
        AtlasError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300 or math.isnan(value):
        raise AtlasError(f"{where}: expected a number, found {text(str(value), 40)!r}")
    return float(value)


def text(value: Any, most: int) -> str:
    """A text without what cannot be stored, cut to a length; "" for anything else."""
    if not isinstance(value, str):
        return ""
    return value[:most].encode("utf-8", errors="replace").decode("utf-8").replace("\0", "")


def storable(value: Any) -> Any:
    """A value of JSON with all its texts, and the names in it, as `text` has them."""
    written = json.dumps(value, ensure_ascii=False)
    return json.loads(text(written, len(written)))


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__
