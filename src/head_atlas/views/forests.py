"""Rows of values with intervals around zero, each beside the other heads of the layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from head_atlas.views.head_values import RECORD
from head_atlas.views.numbers import count, interval, ordinal, plain, signed
from head_atlas.views.scales import digits_of, percentile, scale_for, unit_range

if TYPE_CHECKING:
    from head_atlas.heads import HeadId
    from head_atlas.views.head_values import HeadValues

MOST_PEERS = 64
"""Other heads of a layer that are drawn as ticks."""


def forest_rows(shown: Sequence[tuple[str, HeadValues]], head: HeadId, *, sign: bool) -> tuple[list[dict], float]:
    """One row per labelled measure, all on one scale, and where zero lies on it.

    Args:
        shown: labels, and the values of all heads.
        head: whose rows these are.
        sign: zero is in the middle.
    """
    at = (head.layer, head.head)
    numbers = [(_at(v.values, at), _at(v.low, at), _at(v.high, at)) for _, v in shown]
    peers = [_peers(v.values, head) for _, v in shown]
    scale = scale_for(np.concatenate([np.ravel(numbers), *peers]), sign=sign)
    rows: list[dict[str, Any]] = []
    for (label, values), (x, low, high), others in zip(shown, numbers, peers, strict=True):
        digits = digits_of(x, low, high)
        clear = values.clear(*at)
        ranks = [percentile(np.abs(within), abs(x)) for within in (values.values, values.values[head.layer])]
        rows.append(
            {
                "label": label,
                "sentence": f"{label}: {values.text(*at)}",
                "reason": values.reason,
                "t": unit_range(x, scale),
                "low": unit_range(low if np.isfinite(low) else x, scale),
                "high": unit_range(high if np.isfinite(high) else x, scale),
                # Colour only where it is significant.
                "sign": int(np.sign(x)) if clear and np.isfinite(x) else 0,
                "peers": [unit_range(float(p), scale) for p in others],
                "numbers": [label, *values.record(*at), *ranks],
                "cells": [
                    signed(x, digits) if sign else plain(x, digits),
                    interval(low, high, digits, sign=sign),
                    count(_at(values.n, at)),
                    *(ordinal(rank) for rank in ranks),
                ],
            }
        )
    return rows, 0.5 if sign else 0.0


FOREST_NUMBERS = ("family", *RECORD, "percentile_in_model", "percentile_in_layer")
"""Columns of the rows' `numbers`; percentiles rank the size."""
FOREST_COLUMNS = ["family", "", "value", "95 % interval", "n", "percentile in model", "in layer"]


def _at(values: np.ndarray | None, at: tuple[int, int]) -> float:
    return float("nan") if values is None else float(values[at])


def _peers(values: np.ndarray, head: HeadId) -> np.ndarray:
    others = np.delete(np.asarray(values[head.layer], dtype=float), head.head)
    return others[np.isfinite(others)][:MOST_PEERS]
