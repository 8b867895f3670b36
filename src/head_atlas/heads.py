"""Names of attention heads."""

from __future__ import annotations

import re
from dataclasses import dataclass

from head_atlas.errors import HeadError

_PATTERN = re.compile(
    r"\s*(?:L\s*(\d{1,4})\s*H\s*(\d{1,4})|(\d{1,4})\s*[.:,]\s*(\d{1,4}))\s*", re.IGNORECASE | re.ASCII
)


@dataclass(frozen=True, order=True, slots=True)
class HeadId:
    """One query head, zero-based: `HeadId(5, 1)` is written "5.1" or "L5H1"."""

    layer: int
    head: int

    @classmethod
    def parse(cls, text: str | tuple[int, int] | HeadId) -> HeadId:
        """Read "5.1", "L5H1" or a pair.

        Raises:
            HeadError: the text is not a head.
        """
        if isinstance(text, HeadId):
            return text
        if isinstance(text, tuple):
            return cls(int(text[0]), int(text[1]))
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise HeadError(f"expected a head such as 2.5 or L2H5, found {text[:40]!r}")
        layer, head = (group for group in match.groups() if group is not None)
        return cls(int(layer), int(head))

    def within(self, n_layers: int, n_heads: int) -> HeadId:
        """Return this head if a model of that size has it.

        Raises:
            HeadError: it does not.
        """
        if not (0 <= self.layer < n_layers and 0 <= self.head < n_heads):
            raise HeadError(
                f"there is no head {self}: this model has layers 0 to {n_layers - 1} and heads 0 to {n_heads - 1}"
            )
        return self

    @property
    def label(self) -> str:
        """The form used on screen, "L5H1"."""
        return f"L{self.layer}H{self.head}"

    def __str__(self) -> str:
        return f"{self.layer}.{self.head}"
