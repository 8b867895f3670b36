"""Two measures of every head against each other, coloured by a third."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from head_atlas.views.axes import axis_values
from head_atlas.views.numbers import plain, signed
from head_atlas.views.saved import saved, source_of
from head_atlas.views.scales import Scale, digits_for, scale_for, unit_range

if TYPE_CHECKING:
    from head_atlas.store import Atlas
    from head_atlas.views.head_values import HeadValues

MARGIN = 0.04
"""Free room at either end of an axis, as a share of it."""


def scatter_props(atlas: Atlas, x: str, y: str, by: str, mode: str) -> dict:
    """What the plot draws.

    Args:
        atlas: where the numbers are.
        x: axis to the right, of `axes.axes_of`.
        y: axis upwards.
        by: colour.
        mode: ablation mode of the effects.

    Raises:
        KeyError: the atlas has no such axis.
    """
    across, up, colour = (axis_values(atlas, axis, mode) for axis in (x, y, by))
    shades = scale_for(colour.values, sign=colour.signed, high=colour.most, unit=colour.unit)
    right, upwards = _span(across), _span(up)
    points: list[dict[str, Any]] = []
    missing = 0
    for layer in range(atlas.n_layers):
        for head in range(atlas.n_heads):
            at = (layer, head)
            a, b = (float(values.values[at]) for values in (across, up))
            if not (np.isfinite(a) and np.isfinite(b)):
                missing += 1
                continue
            points.append(
                {
                    "at": [layer, head],
                    "x": unit_range(a, right),
                    "y": unit_range(b, upwards),
                    "values": [a, b, float(colour.values[at])],
                    "t": shades.position(float(colour.values[at])),
                    # Hollow: one of the two does not differ from chance or from no effect.
                    "faint": across.clear(*at) is False or up.clear(*at) is False,
                    "text": f"L{layer}H{head} · {across.label}: {across.text(*at)} · {up.label}: {up.text(*at)}"
                    + ("" if by in (x, y) else f" · {colour.label}: {colour.text(*at)}"),
                }
            )
    hint = "Point at a head, or move with the arrow keys; click or Enter opens it."
    if not points:
        return {"empty": f"No head has both: {across.label} ({across.reason}), {up.label} ({up.reason})."}
    return {
        "title": f"{up.label} against {across.label}",
        "x": _axis(across, right),
        "y": _axis(up, upwards),
        "by": {"label": colour.label, "scale": shades.props()},
        "points": points,
        "missing": f"{missing} heads have no value on one of the axes." if missing else "",
        "rule": "Hollow: not significant on one of the axes." if any(p["faint"] for p in points) else "",
        "hint": hint,
        "saved": saved(
            ["head", "x", "y", "colour"],
            ([f"{p['at'][0]}.{p['at'][1]}", *p.pop("values")] for p in points),
            **source_of(atlas),
            x=f"{across.label} ({x})",
            y=f"{up.label} ({y})",
            colour=f"{colour.label} ({by})",
            mode=mode,
        ),
    }


def _span(shown: HeadValues) -> Scale:
    """From the smallest to the largest value, zero included, with room for the points."""
    finite = shown.values[np.isfinite(shown.values)]
    low, high = (float(min(finite.min(), 0.0)), float(max(finite.max(), 0.0))) if finite.size else (0.0, 1.0)
    room = MARGIN * (high - low if high > low else 1.0)
    return Scale(low - room, high + room, False)


def _axis(shown: HeadValues, scale: Scale) -> dict:
    room = MARGIN / (1 + 2 * MARGIN) * (scale.high - scale.low)
    low, high = scale.low + room, scale.high - room
    digits = digits_for(max(abs(low), abs(high)))
    form = signed if shown.signed else plain
    return {
        "label": shown.label,
        "unit": shown.unit,
        "zero": unit_range(0.0, scale),
        "ticks": [{"at": unit_range(v, scale), "text": form(v, digits)} for v in _ticks(low, high)],
    }


def _ticks(low: float, high: float) -> list[float]:
    """Both ends and zero, without an end that stands too near to zero to be told from it."""
    ends = [end for end in (low, high) if abs(end) >= 0.12 * (high - low)]
    return sorted({0.0, *ends})
