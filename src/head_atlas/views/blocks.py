"""Blocks of a figure: text, facts, matrices, tables, curves and tokens. The page draws each; an SVG can as well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from head_atlas.views.numbers import finite, plain, signed
from head_atlas.views.scales import Scale, digits_for, positions, scale_for

Block = dict[str, Any]


def figure(*blocks: Block | None) -> dict:
    """What a figure component draws: blocks from top to bottom; None is left out."""
    return {"blocks": [block for block in blocks if block is not None]}


def text(words: str, tone: str = "lead") -> Block:
    """A paragraph.

    Args:
        words: of it.
        tone: "lead", "headline", "warning" or "title".
    """
    return {"kind": "text", "text": words, "tone": tone}


def facts(rows: Sequence[tuple[str, str, str]]) -> Block:
    """Single numbers: label, text, and a sentence that says what it is."""
    return {"kind": "facts", "facts": [{"label": a, "text": b, "sentence": c} for a, b, c in rows]}


def side_by_side(*blocks: Block) -> Block:
    """Blocks beside each other where there is room."""
    return {"kind": "pair", "blocks": list(blocks)}


def matrix(
    values: np.ndarray,
    *,
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    unit: str,
    sign: bool = True,
    high: float | None = None,
    scale: Scale | None = None,
    reason: str = "not measured",
    texts: Sequence[Sequence[str]] | None = None,
    short: Sequence[Sequence[str]] | None = None,
    numbers: bool = False,
    axes: tuple[str, str] = ("", ""),
) -> Block:
    """A coloured table of numbers.

    Args:
        values: [row, column]; NaN is hatched.
        title: above it, and its name for screen readers.
        rows: labels.
        columns: labels.
        unit: of the values.
        sign: zero is the middle of the scale.
        high: the most an unsigned value can be.
        scale: one that is shared with another matrix, in place of its own.
        reason: why a value is missing.
        texts: what pointing at a cell says, in place of its number.
        short: what stands in each cell.
        numbers: each cell shows its number.
        axes: what rows and columns are.
    """
    values = np.asarray(values, dtype=float)
    scale = scale or scale_for(values, sign=sign, high=high, unit=unit)
    form = signed if scale.signed else plain
    digits = digits_for(scale.high)
    if numbers and short is None:
        short = [[form(float(x), min(digits, 3)) if np.isfinite(x) else "" for x in row] for row in values]
    said = texts or [
        [f"{form(float(x), digits + 1)} {unit}".strip() if np.isfinite(x) else reason for x in row] for row in values
    ]
    return {
        "kind": "matrix",
        "title": title,
        "rows": list(rows),
        "columns": list(columns),
        "t": positions(values, scale),
        "values": [[finite(float(x)) for x in row] for row in values],
        "text": [list(row) for row in said],
        "short": None if short is None else [list(row) for row in short],
        "scale": scale.props(),
        "axes": list(axes),
    }


def table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    marked: Sequence[bool] = (),
    saved: tuple[Sequence[str], Sequence[Sequence[Any]]] | None = None,
    note: str = "",
) -> Block:
    """A table of texts; the first column names the row.

    Args:
        title: above it.
        columns: headings.
        rows: texts.
        marked: rows that stand out.
        saved: columns and rows of its files, where these hold numbers and not the texts; None where there is none.
        note: a line under the title.
    """
    flags = list(marked) or [False] * len(rows)
    return {
        "saved": None if saved is None else {"columns": list(saved[0]), "rows": [list(row) for row in saved[1]]},
        "kind": "table",
        "title": title,
        "note": note,
        "columns": list(columns),
        "rows": [{"cells": list(cells), "marked": bool(flag)} for cells, flag in zip(rows, flags, strict=True)],
    }


def curve(label: str, values: np.ndarray, band: tuple[np.ndarray, np.ndarray] | None = None) -> dict:
    """One line of `curves`; None where a value is not a number.

    Args:
        label: of the line.
        values: [x].
        band: its lower and upper ends, [x] each.
    """
    listed = [finite(float(x)) for x in values]
    ends = None if band is None else [[finite(float(x)) for x in end] for end in band]
    return {"label": label, "values": listed, "band": ends}


def curves(title: str, lines: Sequence[dict], *, x: Sequence[str], x_label: str, y_label: str) -> Block:
    """Lines over one axis.

    Args:
        title: above them.
        lines: of `curve`, at most three: each has its own colour and dash.
        x: label of every point.
        x_label: what the axis is.
        y_label: what the values are, unit included.
    """
    every = [v for line in lines for part in (line["values"], *(line["band"] or ())) for v in part if v is not None]
    low, high = (min(every), max(every)) if every else (0.0, 1.0)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    digits = digits_for(high - low)
    return {
        "kind": "curves",
        "title": title,
        "lines": list(lines),
        "x": list(x),
        "x_label": x_label,
        "y_label": y_label,
        "low": low,
        "high": high,
        "low_text": plain(low, digits),
        "high_text": plain(high, digits),
        "digits": digits,
    }


def chips(props: dict) -> Block:
    """The prompt's tokens with a value each: of `views.attribution.attribution_props`."""
    return {"kind": "chips", **props}


def bars(title: str, rows: Sequence[tuple[str, float, str]], *, unit: str) -> Block:
    """Signed bars from a middle line.

    Args:
        title: above them.
        rows: label, value, and what pointing at it says.
        unit: of the values.
    """
    scale = scale_for(np.array([value for _, value, _ in rows] or [0.0]), sign=True, unit=unit)
    digits = digits_for(scale.high)
    return {
        "kind": "bars",
        "title": title,
        "unit": unit,
        "rows": [
            {
                "label": label,
                "t": scale.position(value),
                "value": finite(value),
                "text": signed(value, digits),
                "title": said,
            }
            for label, value, said in rows
        ],
    }


def graph(title: str, nodes: Sequence[tuple[str, int]], edges: Sequence[tuple[str, str, float]], *, unit: str) -> Block:
    """Nodes on levels from the bottom up, and edges as wide as their value.

    Args:
        title: above it.
        nodes: label and level.
        edges: label of the lower node, of the upper one, value; what is not a number is not drawn.
        unit: of the values.
    """
    levels = sorted({level for _, level in nodes})
    rows = [[label for label, own in nodes if own == level] for level in levels]
    largest = max((abs(value) for *_, value in edges if np.isfinite(value)), default=0.0) or 1.0
    digits = digits_for(largest)
    return {
        "kind": "graph",
        "title": title,
        "rows": rows,
        "unit": unit,
        "edges": [
            {
                "source": one,
                "target": other,
                "t": value / largest,
                "value": value,
                "text": f"{signed(value, digits)} {unit}",
            }
            for one, other, value in edges
            if np.isfinite(value)
        ],
        "widest": f"widest: {plain(largest, digits)} {unit}; dashed: below 0",
    }
