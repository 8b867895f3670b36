"""Do published heads stand out where they are said to? Their values, ranks and percentiles among a model's heads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from head_atlas.catalogue.published import PublishedHead, Shows
from head_atlas.measures.evidence import Measured
from head_atlas.measures.significance import percentiles

STANDS_OUT = 95.0
"""Percentile from which on a head stands out: it exceeds 95 % of the other heads."""


@dataclass(frozen=True)
class Standing:
    """One published head in one of the numbers it should show in.

    Attributes:
        entry: what is published.
        shows: the number; None if no number can show the claim.
        value: of the head; NaN where not measured.
        low: lower end of its 95 % interval.
        high: upper end.
        rank: 1 for the head that shows it most, ties sharing the best; 0 where not measured.
        n_heads: that were measured.
        percentile: of the other heads that it exceeds, in the direction that counts; NaN where not measured.
    """

    entry: PublishedHead
    shows: Shows | None
    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    rank: int = 0
    n_heads: int = 0
    percentile: float = np.nan

    @property
    def stands_out(self) -> bool | None:
        """Whether it does; None where not measured."""
        return None if np.isnan(self.percentile) else self.percentile >= STANDS_OUT


def standings(
    entries: Iterable[PublishedHead], measured: Mapping[tuple[str, str], Measured], n_layers: int, n_heads: int
) -> list[Standing]:
    """Look every published head up in every number that it should show in.

    Args:
        entries: of one model.
        measured: by (measure, where).
        n_layers: of the model that was measured.
        n_heads: per layer.

    Raises:
        HeadError: a published head that a model of this size does not have.
    """
    found = []
    for entry in entries:
        at = entry.head.within(n_layers, n_heads)
        for shows in entry.shows or (None,):
            number = measured.get(shows.key) if shows is not None else None
            if shows is None or number is None:
                found.append(Standing(entry, shows))
                continue
            turned = shows.sign * np.asarray(number.value, dtype=np.float64)
            own = turned[at.layer, at.head]
            value, low, high = (float(part[at.layer, at.head]) for part in (number.value, number.low, number.high))
            found.append(
                Standing(
                    entry,
                    shows,
                    value,
                    low,
                    high,
                    rank=0 if np.isnan(own) else int((turned > own).sum()) + 1,
                    n_heads=int((~np.isnan(turned)).sum()),
                    percentile=float(percentiles(turned)[at.layer, at.head]),
                )
            )
    return found
