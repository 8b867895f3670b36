"""How numbers read on screen."""

from __future__ import annotations

import math

MISSING = "–"


def plain(x: float, digits: int = 2) -> str:
    """A number with a true minus sign; a dash where it is not a number."""
    if not math.isfinite(x):
        return MISSING if math.isnan(x) else ("∞" if x > 0 else "−∞")
    # 0.0000013 is wider than its column and harder to read than 1.3e−6
    text = f"{abs(x):.{digits}f}" if digits <= 5 or x == 0 else f"{abs(x):.1e}".replace("e-0", "e−").replace("e-", "e−")
    return f"−{text}" if x < 0 and not _is_zero(text) else text


def _is_zero(text: str) -> bool:
    return not any(c in "123456789" for c in text.split("e")[0])


def signed(x: float, digits: int = 2) -> str:
    """The same with a plus sign before positive numbers: for effects and differences."""
    text = plain(x, digits)
    return f"+{text}" if math.isfinite(x) and x > 0 and not _is_zero(text) else text


def percent(p: float) -> str:
    """A probability in [0, 1] as a percentage that never rounds to a false 0 or 100."""
    if not math.isfinite(p):
        return MISSING
    if 0 < p < 0.0005:
        return "< 0.1 %"
    if 0.9995 <= p < 1:
        return "> 99.9 %"
    return f"{100 * p:.1f} %"


def points(change: float) -> str:
    """A change of probability in percentage points."""
    return f"{signed(100 * change, 1)} pp"


def interval(low: float, high: float, digits: int = 2, *, sign: bool = False) -> str:
    """A 95 % interval, "[0.41, 0.52]"; empty where there is none.

    One that leaves zero out never reads as if it touched it: its nearer end gets the decimals it needs.
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    form = signed if sign else plain
    ends = []
    for end in (low, high):
        small = (low > 0 or high < 0) and round(end, digits) == 0 and end != 0  # of a strange file, whose low > high
        ends.append(form(end, math.ceil(-math.log10(abs(end))) if small else digits))
    return f"[{', '.join(ends)}]"


def finite(x: float) -> float | None:
    """A number for the page, or None where it is not one."""
    return float(x) if math.isfinite(x) else None


def count(n: float) -> str:
    """A sample size."""
    return f"{int(n):,}".replace(",", " ") if math.isfinite(n) else MISSING


def ordinal(p: float) -> str:
    """A percentile in words, "96th"; empty where there is none."""
    if not math.isfinite(p):
        return ""
    n = round(p)
    suffix = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{suffix}"
