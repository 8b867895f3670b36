"""One measure of every head, with what is known of its certainty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from head_atlas.measures.significance import FALSE_DISCOVERIES
from head_atlas.views.numbers import count, interval, plain, signed
from head_atlas.views.scales import digits_of

RECORD = ("value", "ci_low", "ci_high", "n", "q", "significant")
"""Columns of `HeadValues.record`: a 95 % interval, and whether the value differs from chance or no effect."""


@dataclass(frozen=True)
class HeadValues:
    """One measure of every head.

    Attributes:
        values: [layer, head]; NaN where it is not measured.
        low: [layer, head] lower end of the 95 % interval, or None.
        high: upper end, or None.
        n: [layer, head] sample size in prompts, or None.
        label: what is shown, in a few words.
        unit: unit of the values.
        signed: zero is the middle of the scale.
        most: the most the measure can be, or None.
        reason: why a value is missing.
        q: [layer, head] false discovery rate over the heads of the model, or None where there is no test.
        tested: what the q value tests, in a few words.
        floor: the value is compared with: an interval that spans it tells nothing; None where there is no such value.
        counted: what n counts.
    """

    values: np.ndarray
    low: np.ndarray | None
    high: np.ndarray | None
    n: np.ndarray | None
    label: str
    unit: str
    signed: bool
    most: float | None = None
    reason: str = "not measured"
    q: np.ndarray | None = None
    tested: str = ""
    floor: float | None = None
    counted: str = ""

    def text(self, layer: int, head: int) -> str:
        """The value with its interval, sample size and q, "0.83 [0.80, 0.86], n = 100, q = 0.002"."""
        x = float(self.values[layer, head])
        if not np.isfinite(x):
            return self.reason
        low = float("nan") if self.low is None else float(self.low[layer, head])
        high = float("nan") if self.high is None else float(self.high[layer, head])
        digits = digits_of(x, low, high)
        number = signed(x, digits) if self.signed else plain(x, digits)
        text = f"{number} {interval(low, high, digits, sign=self.signed)}".strip()
        if self.n is not None:
            text += f", n = {count(float(self.n[layer, head]))}{f' {self.counted}' if self.counted else ''}"
        if self.q is not None and np.isfinite(self.q[layer, head]):
            text += f", {q_text(float(self.q[layer, head]))}"
        return f"{text}, not significant" if self.clear(layer, head) is False else text

    def record(self, layer: int, head: int) -> list[Any]:
        """What is known of one head, in the order of `RECORD`."""
        at = (layer, head)
        parts = (self.values, self.low, self.high, self.n, self.q)
        return [*(None if part is None else float(part[at]) for part in parts), self.clear(*at)]

    def clear(self, layer: int, head: int) -> bool | None:
        """Whether the value differs from what chance or no effect would give; None where nothing tells.

        By the q value where there is one, else by the interval leaving `floor` out.
        """
        if not np.isfinite(self.values[layer, head]):
            return None
        if self.q is not None and np.isfinite(self.q[layer, head]):
            return bool(self.q[layer, head] <= FALSE_DISCOVERIES)
        if self.floor is None or self.low is None or self.high is None:
            return None
        low, high = float(self.low[layer, head]), float(self.high[layer, head])
        return bool(low > self.floor or high < self.floor) if np.isfinite(low) and np.isfinite(high) else None

    def rule(self) -> str:
        """What "not significant" means here; "" where nothing is tested."""
        if self.q is not None and np.isfinite(self.q).any():
            return f"• q > {FALSE_DISCOVERIES} ({self.tested})"
        if self.floor is not None and self.low is not None and np.isfinite(self.low).any():
            return f"• the 95 % interval spans {plain(self.floor, 0)}"
        return ""


def q_text(q: float) -> str:
    """A q value in a sentence, "q = 0.03"."""
    if np.isnan(q):
        return "not tested"
    return "q < 0.001" if q < 0.001 else f"q = {plain(q, 3 if q < 0.1 else 2)}"
