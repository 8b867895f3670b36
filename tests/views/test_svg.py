"""Figures as SVG: well-formed, described, to scale, and safe with any text."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from head_atlas.views.svg import MINUS, PLUS, _ticks, bars, graph, lines, matrix

NAME = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert(1)</script>\"&'\x00\x0b\u2028]]>"
WORDS = {"title": "Effects of heads", "description": "Two heads."}


def parsed(text):
    return ElementTree.fromstring(text)


def marks(figure, kind, fill):
    return [one for one in figure.iter(NAME + kind) if one.get("fill") == fill]


def every_figure(label="L0H4", **words):
    words = words or WORDS
    return {
        "bars": bars([label, "b"], [1.0, np.nan], low=[0.5, np.nan], high=[1.5, np.nan], unit=label, **words),
        "matrix": matrix(
            [[1.0, np.nan]], [label], [label, "b"], unit=label, row_axis=label, column_axis=label, **words
        ),
        "lines": lines([0, 1, 2], {label: [1.0, np.nan, 2.0]}, x_axis=label, y_axis=label, **words),
        "graph": graph([(label, 0), ("x", 1)], [(label, "x", -1.0), (label, "x", np.nan)], unit=label, **words),
    }


@pytest.mark.parametrize("name", ["bars", "matrix", "lines", "graph"])
def test_a_figure_says_what_it_is(name):
    figure = parsed(every_figure()[name])
    assert figure.get("role") == "img"
    title, description = figure.get("aria-labelledby").split()
    by_id = {one.get("id"): one.text for one in figure.iter() if one.get("id")}
    assert (by_id[title], by_id[description]) == ("Effects of heads", "Two heads.")
    assert every_figure()[name] == every_figure()[name]
    other = parsed(every_figure("L0H5")[name])
    assert other.get("id") != figure.get("id")  # two in one page do not share ids, nor styles
    rules = figure.find(NAME + "style").text.replace("@media (prefers-color-scheme:dark){", "").split("}")
    assert all(rule.startswith(f"#{figure.get('id')}") for rule in rules if rule)


@pytest.mark.parametrize("name", ["bars", "matrix", "lines", "graph"])
def test_any_text_stays_text(name):
    text = every_figure(HOSTILE, title=HOSTILE, description=HOSTILE)[name]
    figure = parsed(text)
    assert {one.tag.removeprefix(NAME) for one in figure.iter()} <= {
        "svg", "title", "desc", "style", "defs", "pattern", "path", "text", "rect", "g",
    }  # fmt: skip
    assert "<script" not in text
    assert "<script>alert(1)</script>" in figure.find(NAME + "title").text
    numbers = [one.get(key, "0") for one in figure.iter() for key in ("x", "y", "width", "height", "d")]
    assert not any("nan" in number or "inf" in number for number in numbers)


def test_bars_are_to_scale_from_zero():
    figure = parsed(bars(["a", "b", "c"], [2.0, -1.0, np.nan], **WORDS))
    (up,), (down,) = marks(figure, "rect", PLUS), marks(figure, "rect", MINUS)
    assert float(up.get("width")) == pytest.approx(2 * float(down.get("width")), abs=0.05)
    assert float(down.get("x")) + float(down.get("width")) == pytest.approx(float(up.get("x")), abs=0.02)
    hatched = [one for one in figure.iter(NAME + "rect") if "hatch" in one.get("fill")]
    assert len(hatched) == 1
    titles = [one.text for one in figure.iter(NAME + "title")][1:]
    assert titles == ["a: +2.00", "b: −1.00", "c: –"]


def test_intervals_are_drawn_and_said():
    figure = parsed(bars(["a"], [1.0], low=[0.5], high=[1.5], **WORDS))
    assert "a: +1.00 [+0.50, +1.50]" in [one.text for one in figure.iter(NAME + "title")]
    plain_one = parsed(bars(["a"], [1.0], **WORDS))
    n_paths = [len(list(one.iter(NAME + "path"))) for one in (figure, plain_one)]
    assert n_paths[0] == n_paths[1] + 1


def test_cells_are_as_strong_as_their_values():
    figure = parsed(matrix([[2.0, -1.0], [np.nan, 0.0]], ["r", "s"], ["c", "d"], unit="logits", **WORDS))
    cells = list(figure.iter(NAME + "g"))
    said = {group.find(NAME + "title").text: group.findall(NAME + "rect")[-1] for group in cells}
    assert list(said) == ["r, c: +2.00", "r, d: −1.00", "s, c: not defined", "s, d: 0.00"]
    strongest, weaker, undefined, zero = said.values()
    assert (strongest.get("fill"), weaker.get("fill")) == (PLUS, MINUS)
    assert [float(one.get("fill-opacity")) for one in (strongest, weaker, zero)] == [1, 0.5, 0]
    assert "hatch" in undefined.get("fill")


def test_a_gap_interrupts_a_line():
    figure = parsed(lines([0, 1, 2, 3, 4], {"a": [0, 1, np.nan, np.nan, 1], "b": [np.nan] * 5}, **WORDS))
    drawn = [one for one in figure.iter(NAME + "path") if one.find(NAME + "title") is not None]
    (line,) = drawn
    assert line.get("d").count("M") == 2
    assert line.get("d").count("L") == 1
    assert line.get("d").endswith("h0")  # the last value stands alone, and shows
    assert {"a", "b"} <= {one.text for one in figure.iter(NAME + "text")}


def test_edges_lead_up_and_are_as_wide_as_their_values():
    nodes = [("L0H4", 0), ("L1H1", 1), ("logits", 2)]
    edges = [("L0H4", "L1H1", -4.0), ("L1H1", "logits", 2.0), ("L0H4", "logits", float("nan"))]
    figure = parsed(graph(nodes, edges, unit="logits", **WORDS))
    drawn = [one for one in figure.iter(NAME + "path") if one.find(NAME + "title") is not None]
    assert [one.find(NAME + "title").text for one in drawn] == [
        "L1H1 to logits: +2.00 logits",
        "L0H4 to L1H1: −4.00 logits",
    ]
    assert float(drawn[1].get("stroke-width")) > float(drawn[0].get("stroke-width"))
    start, end = (point.split() for point in drawn[1].get("d").removeprefix("M").split("L"))
    assert float(start[1]) > float(end[1])  # y grows downwards
    assert any("1 edges not defined" in (one.text or "") for one in figure.iter(NAME + "text"))


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3.2, 17), (0.001, 0.0021), (5, 5), (-1e6, 0), (0.1, 0.3)])
def test_ticks_are_round_and_enclose(low, high):
    ticks = _ticks(low, high)
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert 2 <= len(ticks) <= 8
    step = ticks[1] - ticks[0]
    mantissa = step / 10 ** np.floor(np.log10(step) + 1e-9)
    assert round(mantissa, 6) in (1, 2, 5)


def test_nothing_to_draw_is_a_figure_still():
    assert len(parsed(bars([], [], **WORDS))) > 0
    assert len(parsed(matrix(np.zeros((0, 0)), [], [], **WORDS))) > 0
    assert len(parsed(graph([], [], **WORDS))) > 0
    assert len(parsed(lines([0], {}, **WORDS))) > 0
