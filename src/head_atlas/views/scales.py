"""From values to positions on a colour scale."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from head_atlas.views.numbers import finite, plain, signed


@dataclass(frozen=True)
class Scale:
    """A colour scale: unsigned from `low` to `high`, or signed and symmetric from -high to high.

    Values below are drawn in the low end's colour, and its label then says so ("≤ 0").
    """

    low: float
    high: float
    signed: bool
    unit: str = ""
    below: bool = False

    def position(self, x: float) -> float | None:
        """Where a value lies: 0 to 1, or -1 to 1 on a signed scale; None where it is not a number."""
        # Plain numbers, not arrays of one: a head's page asks for a thousand positions.
        if not math.isfinite(x):
            return None
        if self.signed:
            return min(1.0, max(-1.0, float(x) / self.high)) if self.high > 0 else 0.0
        span = self.high - self.low
        return min(1.0, max(0.0, (float(x) - self.low) / span)) if span > 0 else 0.0

    def props(self) -> dict:
        """The legend."""
        form = signed if self.signed else plain
        digits = digits_for(self.high)
        low, high = form(-self.high if self.signed else self.low, digits), form(self.high, digits)
        return {
            "signed": self.signed,
            "low_text": f"≤ {low}" if self.below else low,
            "high_text": high,
            "unit": self.unit,
        }


def digits_for(size: float) -> int:
    """Decimals that show two significant digits of a number of this size: 2, or more where it is small."""
    if not np.isfinite(size) or size <= 0:
        return 2
    return int(min(9, max(2, 1 - np.floor(np.log10(size)))))


def digits_of(x: float, low: float, high: float) -> int:
    """Decimals for a value with its interval: two digits of the largest of them."""
    return digits_for(max((abs(end) for end in (x, low, high) if np.isfinite(end)), default=0.0))


def scale_for(values: np.ndarray, *, sign: bool, low: float = 0.0, high: float | None = None, unit: str = "") -> Scale:
    """A scale that spans the values without inflating noise.

    Args:
        values: any shape; NaN is left out.
        sign: zero in the middle, as wide as the largest magnitude.
        low: lower end of an unsigned scale.
        high: the most the measure can be; the scale then reaches at least a quarter of the way there,
            so that a grid of near-zero scores looks like one.
        unit: shown beside the legend.
    """
    finite_values = np.asarray(values, dtype=float)
    finite_values = finite_values[np.isfinite(finite_values)]
    top = float(finite_values.max()) if finite_values.size else 1.0
    bottom = float(finite_values.min()) if finite_values.size else 0.0
    if sign:
        reach = max(abs(top), abs(bottom))
        return Scale(-reach, reach if reach > 0 else 1.0, True, unit)
    end = top
    if high is not None and np.isfinite(high):
        end = max(top, low + 0.25 * (high - low))
    if end <= low:
        end = low + 1.0
    return Scale(low, end, False, unit, below=bottom < low)


def positions(values: np.ndarray, scale: Scale) -> list[list[float | None]]:
    """[layer][head] positions on a scale."""
    return [[scale.position(float(x)) for x in row] for row in np.asarray(values)]


def percentile(values: np.ndarray, x: float) -> float:
    """Share of the other values below `x`, ties counting half, in percent; NaN where `x` is not a number."""
    others = np.asarray(values, dtype=float).ravel()
    others = others[np.isfinite(others)]
    if not np.isfinite(x) or others.size < 2:
        return float("nan")
    below = float((others < x).sum() + 0.5 * ((others == x).sum() - 1))
    return 100 * below / (others.size - 1)


def unit_range(x: float, scale: Scale) -> float | None:
    """Where a value lies along a bar or a line, 0 to 1 from the scale's low end to its high end."""
    at = scale.position(x)
    if at is None:
        return None
    return finite((at + 1) / 2 if scale.signed else at)
