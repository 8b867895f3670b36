"""Simple figures as SVG text: bars, matrices, lines and graphs. No fonts, no scripts, nothing from elsewhere.

Text and axes are drawn in `currentColor`, so a figure in a page is dark on light or light on dark as the page is, and
one that stands alone follows the reader's setting. Its style reaches nothing outside it. Signed values have two hues
(which remain apart in most colour blindness) and their sign in words; the strength of a colour is the size of a value.
A value that is not a number is hatched, never left out. Every figure has a title and a description; every mark has its
value as a title.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

import numpy as np

from head_atlas.views.numbers import interval, plain, signed
from head_atlas.views.scales import Scale, digits_for, digits_of, scale_for

PLUS, MINUS = "#2b7fc4", "#d9641e"
_SERIES = (PLUS, MINUS, "#2a9d6f", "#a45bb8", "#8a8a1c")
_DASHES = ("none", "6 3", "2 3", "8 3 2 3", "1 2")
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LONGEST_LABEL = 40
_LETTER = 6.6
_STYLE = (  # rules of a figure inside a page would reach the whole page, but for its id
    "#{0}{{font:12px system-ui,sans-serif}}#{0}:root{{color:#1c2430}}"
    "@media (prefers-color-scheme:dark){{#{0}:root{{color:#e6eaf0}}}}"
    "#{0} text{{fill:currentColor}}#{0} .axis{{stroke:currentColor;stroke-width:1}}"
)


def bars(
    labels: Sequence[str],
    values: Sequence[float],
    *,
    title: str,
    description: str,
    unit: str = "",
    low: Sequence[float] | None = None,
    high: Sequence[float] | None = None,
) -> str:
    """Horizontal bars from 0, one for each label, with their 95 % intervals where they are given.

    Args:
        labels: of the bars.
        values: NaN is hatched over the whole width.
        title: of the figure.
        description: what it shows, for those who do not see it.
        unit: of the values.
        low: lower bounds.
        high: upper bounds.
    """
    lows = np.full(len(labels), np.nan) if low is None else np.asarray(low, float)
    highs = np.full(len(labels), np.nan) if high is None else np.asarray(high, float)
    numbers = np.asarray(values, float)
    seen = np.concatenate([numbers, lows, highs, [0.0]])
    seen = seen[np.isfinite(seen)]
    ticks = _ticks(float(seen.min()), float(seen.max()))
    left, width, step = _margin(labels), 360.0, 22
    bottom = 36 + step * len(labels)

    def x(value: float) -> float:
        return left + width * (value - ticks[0]) / (ticks[-1] - ticks[0])

    parts = []
    for row, (label, value, a, b) in enumerate(zip(labels, numbers, lows, highs, strict=True)):
        y = 36 + step * row
        text = f"{_label(label)}: {signed(value, digits_of(value, a, b))} {interval(a, b, sign=True)}".rstrip()
        parts.append(f"<g><title>{_text(text)}</title>{_words(left - 6, y + 14, _label(label), 'end')}")
        if np.isfinite(value):
            start, end = sorted((x(0.0), x(value)))
            parts.append(_rect(start, y + 3, end - start, 15, MINUS if value < 0 else PLUS, 0.85))
        else:
            parts.append(_hatched(left, y + 3, width, 15))
        if np.isfinite(a) and np.isfinite(b):
            parts.append(f'<path class="axis" d="M{_n(x(a))} {y + 10.5}H{_n(x(b))}" stroke-width="1.5"/>')
        parts.append("</g>")
    axis = [f'<path class="axis" d="M{_n(x(0.0))} 32V{bottom}"/>']
    axis += [_words(x(tick), bottom + 16, _tick_text(tick, ticks), "middle") for tick in ticks]
    axis.append(_words(left + width / 2, bottom + 34, unit, "middle"))
    return _figure(left + width + 30, bottom + 42, title, description, [*parts, *axis])


def matrix(
    values: Sequence[Sequence[float]] | np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str,
    description: str,
    unit: str = "",
    sign: bool = True,
    row_axis: str = "",
    column_axis: str = "",
) -> str:
    """A grid of coloured cells.

    Args:
        values: [row, column]; NaN is hatched.
        rows: their labels, from the top.
        columns: their labels, from the left.
        title: of the figure.
        description: what it shows, for those who do not see it.
        unit: of the values.
        sign: whether values of both signs have a meaning: two hues, zero in the middle.
        row_axis: name of the rows.
        column_axis: name of the columns.
    """
    numbers = np.asarray(values, float)
    scale = scale_for(numbers, sign=sign, unit=unit)
    form = signed if sign else plain
    digits = digits_for(max(abs(scale.low), abs(scale.high)))
    left, size = _margin([*rows, row_axis]), 26
    top = 46 + _LETTER * max((min(len(_label(c)), _LONGEST_LABEL) for c in columns), default=0)
    parts = [_words(left - 6, top - 8, row_axis, "end")] if row_axis else []
    for j, column in enumerate(columns):
        x = left + size * (j + 0.65)
        parts.append(f'<text transform="translate({_n(x)} {_n(top - 6)}) rotate(-90)">{_text(_label(column))}</text>')
    for i, row in enumerate(rows):
        y = top + size * i
        parts.append(_words(left - 6, y + 17, _label(row), "end"))
        for j, column in enumerate(columns):
            value = float(numbers[i, j])
            number = form(value, digits) if np.isfinite(value) else "not defined"
            parts.append(f"<g><title>{_text(f'{_label(row)}, {_label(column)}: {number}')}</title>")
            parts.append(_cell(left + size * j, y, size - 2, value, scale))
            parts.append("</g>")
    bottom = top + size * len(rows)
    width = max(left + size * len(columns) + 20, left + 260 + _LETTER * len(unit))
    if column_axis:
        parts.append(_words(left + size * len(columns) / 2, bottom + 16, column_axis, "middle"))
    ends = (-scale.high, 0.0, scale.high) if sign else (scale.low, scale.high)
    for n, end in enumerate(ends):
        at = left + 80 * n
        parts.append(_cell(at, bottom + 26, 14, end, scale))
        parts.append(_words(at + 20, bottom + 38, form(end, digits) + (f" {unit}" if end == ends[-1] else ""), "start"))
    return _figure(width, bottom + 52, title, description, parts)


def lines(
    x: Sequence[float],
    series: Mapping[str, Sequence[float]],
    *,
    title: str,
    description: str,
    x_axis: str = "",
    y_axis: str = "",
) -> str:
    """One line for each series, told apart by colour and by dashes. A value that is not a number interrupts its line.

    Args:
        x: where the values lie.
        series: values by name.
        title: of the figure.
        description: what it shows, for those who do not see it.
        x_axis: name and unit of `x`.
        y_axis: name and unit of the values.
    """
    along = np.asarray(x, float)
    finite = [v for values in series.values() for v in values if np.isfinite(v)]
    up, across = _ticks(min(finite, default=0.0), max(finite, default=1.0)), _ticks(along.min(), along.max())
    left, top, width, height = 64.0, 52.0, 420.0, 220.0

    def place(a: float, b: float) -> tuple[float, float]:
        right = left + width * (a - across[0]) / (across[-1] - across[0])
        return right, top + height * (1 - (b - up[0]) / (up[-1] - up[0]))

    parts = [f'<path class="axis" fill="none" d="M{left} {top}V{top + height}H{left + width}"/>']
    parts += [_words(left - 6, place(across[0], tick)[1] + 4, _tick_text(tick, up), "end") for tick in up]
    parts += [_words(place(tick, up[0])[0], top + height + 18, _tick_text(tick, across), "middle") for tick in across]
    parts += [_words(left, top - 10, y_axis, "start"), _words(left + width, top + height + 36, x_axis, "end")]
    for n, (name, values) in enumerate(series.items()):
        colour, dashes = _SERIES[n % len(_SERIES)], _DASHES[n % len(_DASHES)]
        path, inside = "", False
        for a, b in zip(along, np.asarray(values, float), strict=True):
            if np.isfinite(b):
                point = f"{_n(place(a, b)[0])} {_n(place(a, b)[1])}"
                path += f"L{point}" if inside else f"M{point}h0"  # a point between two gaps is a dot
            inside = bool(np.isfinite(b))
        stroke = f'fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}" stroke-linecap="round"'
        parts.append(f'<path {stroke} d="{path}"><title>{_text(_label(name))}</title></path>' if path else "")
        y = top + 8 + 18 * n
        parts.append(f'<path {stroke} d="M{_n(left + width + 14)} {y}h24"/>')
        parts.append(_words(left + width + 44, y + 4, _label(name), "start"))
    bottom = max(top + height + 44, top + 18 * len(series) + 20)
    return _figure(left + width + 44 + _margin(series), bottom, title, description, parts)


def graph(
    nodes: Sequence[tuple[str, int]],
    edges: Sequence[tuple[str, str, float]],
    *,
    title: str,
    description: str,
    unit: str = "",
) -> str:
    """Nodes on levels from the bottom up, and edges whose width is the size of their value.

    Args:
        nodes: (label, level).
        edges: (label of the lower node, of the upper one, value), of one measure; NaN is not drawn, and said.
        title: of the figure.
        description: what it shows, for those who do not see it.
        unit: of the values.
    """
    levels = sorted({level for _, level in nodes})
    by_level = {level: [label for label, own in nodes if own == level] for level in levels}
    widest = max(map(len, by_level.values()), default=1)
    width, step = max(90.0 * widest, 320.0), 96
    places = {
        label: (20 + width * (n + 0.5) / len(row), 60 + step * (len(levels) - 1 - levels.index(level)))
        for level, row in by_level.items()
        for n, label in enumerate(row)
    }
    largest = max((abs(value) for *_, value in edges if np.isfinite(value)), default=0.0) or 1.0
    digits = digits_for(largest)
    parts = []
    for source, target, value in sorted(edges, key=lambda edge: abs(edge[2])):
        if not np.isfinite(value):
            continue
        (x1, y1), (x2, y2) = places[source], places[target]
        share = abs(value) / largest
        dashes = ' stroke-dasharray="5 3"' if value < 0 else ""
        parts.append(
            f'<path fill="none" stroke="{MINUS if value < 0 else PLUS}" stroke-width="{_n(0.5 + 5.5 * share)}" '
            f'stroke-opacity="{_n(0.15 + 0.8 * share)}"{dashes} d="M{_n(x1)} {y1 - 12}L{_n(x2)} {y2 + 12}">'
            f"<title>{_text(f'{_label(source)} to {_label(target)}: {signed(value, digits)} {unit}')}</title></path>"
        )
    for label, (x, y) in places.items():
        parts.append(
            f'<rect x="{_n(x - 38)}" y="{y - 13}" width="76" height="26" rx="13" fill="none" class="axis"/>'
            + _words(x, y + 4, _label(label)[:11], "middle")
        )
    undefined = sum(not np.isfinite(value) for *_, value in edges)
    note = f"widest: {plain(largest, digits)} {unit}; dashed: below 0" + (
        f"; {undefined} edges not defined" if undefined else ""
    )
    bottom = 60 + step * max(len(levels) - 1, 0) + 40
    parts.append(_words(20, bottom, note, "start"))
    return _figure(width + 40, bottom + 14, title, description, parts)


def _figure(width: float, height: float, title: str, description: str, parts: Sequence[str]) -> str:
    """The frame: title, description, style and hatching. Ids come of the content: a page may hold several figures."""
    body = "\n".join(part for part in parts if part)
    name = "ha-" + hashlib.sha256("\n".join([title, description, body]).encode(errors="replace")).hexdigest()[:12]
    body = body.replace('"url(#hatch)"', f'"url(#{name}-hatch)"')
    width = max(width, 20 + 7.6 * len(_label(title)))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" id="{name}" viewBox="0 0 {_n(width)} {_n(height)}" '
        f'width="{_n(width)}" height="{_n(height)}" role="img" aria-labelledby="{name}-title {name}-desc">\n'
        f'<title id="{name}-title">{_text(title)}</title>\n<desc id="{name}-desc">{_text(description)}</desc>\n'
        f"<style>{_STYLE.format(name)}</style>\n"
        f'<defs><pattern id="{name}-hatch" width="6" height="6" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><path d="M0 0V6" stroke="currentColor" stroke-opacity="0.45"/></pattern>'
        "</defs>\n"
        f'<text x="10" y="20" font-size="14" font-weight="600">{_text(_label(title))}</text>\n{body}\n</svg>\n'
    )


def _cell(x: float, y: float, size: float, value: float, scale: Scale) -> str:
    at = scale.position(value)
    if at is None:
        return _hatched(x, y, size, size)
    frame = (
        f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(size)}" height="{_n(size)}" fill="none" class="axis" opacity="0.2"/>'
    )
    return frame + _rect(x, y, size, size, MINUS if at < 0 else PLUS, abs(at))


def _rect(x: float, y: float, width: float, height: float, colour: str, opacity: float) -> str:
    size = f'width="{_n(width)}" height="{_n(height)}"'
    return f'<rect x="{_n(x)}" y="{_n(y)}" {size} fill="{colour}" fill-opacity="{_n(opacity)}"/>'


def _hatched(x: float, y: float, width: float, height: float) -> str:
    return f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" fill="url(#hatch)"/>'


def _words(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}">{_text(text)}</text>' if text else ""


def _label(text: str) -> str:
    """One line of bounded length: labels may be tokens of any text."""
    line = re.sub(r"\s", " ", str(text))
    return line if len(line) <= _LONGEST_LABEL else line[: _LONGEST_LABEL - 1] + "…"


def _text(text: str) -> str:
    """Escaped; characters that XML forbids become U+FFFD."""
    return escape(_FORBIDDEN.sub("\ufffd", text), {'"': "&quot;"})


def _margin(labels: Sequence[str] | Mapping[str, object]) -> float:
    return 16 + _LETTER * max((len(_label(label)) for label in labels), default=0)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers, 1, 2 or 5 times a power of ten apart, that enclose a range: three to about six."""
    low, high = float(low), float(high)
    if not high > low:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / 4
    power = 10.0 ** np.floor(np.log10(rough))
    step = float(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough))
    first, last = int(np.floor(low / step + 1e-9)), int(np.ceil(high / step - 1e-9))
    return [n * step for n in range(first, last + 1)]


def _tick_text(tick: float, ticks: Sequence[float]) -> str:
    step = ticks[1] - ticks[0]
    return plain(tick, int(max(0, -np.floor(np.log10(step) + 1e-9))))


def _n(number: float) -> str:
    """A coordinate: at most two decimals, never an exponent."""
    return f"{float(number):.2f}".rstrip("0").rstrip(".")
