"""Blocks of a figure as SVG text, as far as they are pictures."""

from __future__ import annotations

from head_atlas.views import svg
from head_atlas.views.blocks import Block

_NAN = float("nan")


def pictures(figure: dict, description: str) -> list[tuple[str, str]]:
    """Title and SVG text of every picture of a figure.

    Args:
        figure: of `blocks.figure`.
        description: what it was measured on, for those who do not see it.
    """
    found = []
    for block in figure.get("blocks", []):
        inner = block["blocks"] if block["kind"] == "pair" else [block]
        found += [
            (one.get("title", ""), _DRAWN[one["kind"]](one, description)) for one in inner if one["kind"] in _DRAWN
        ]
    return found


def _number(value: float | None) -> float:
    return _NAN if value is None else float(value)


def _matrix(block: Block, description: str) -> str:
    return svg.matrix(
        [[_number(x) for x in row] for row in block["values"]],
        block["rows"],
        block["columns"],
        title=block["title"],
        description=description,
        unit=block["scale"]["unit"],
        sign=block["scale"]["signed"],
        row_axis=block["axes"][0],
        column_axis=block["axes"][1],
    )


def _bars(block: Block, description: str) -> str:
    return svg.bars(
        [row["label"] for row in block["rows"]],
        [_number(row["value"]) for row in block["rows"]],
        title=block["title"],
        description=description,
        unit=block["unit"],
    )


def _curves(block: Block, description: str) -> str:
    series = {}
    for line in block["lines"]:
        series[line["label"]] = [_number(x) for x in line["values"]]
        for name, end in zip(("2.5 %", "97.5 %"), line["band"] or (), strict=False):
            series[f"{line['label']}, {name}"] = [_number(x) for x in end]
    return svg.lines(
        list(range(len(block["x"]))),
        series,
        title=block["title"],
        description=description,
        x_axis=block["x_label"],
        y_axis=block["y_label"],
    )


def _chips(block: Block, description: str) -> str:
    return svg.bars(
        [chip["text"] for chip in block["chips"]],
        [_number(chip["value"]) for chip in block["chips"]],
        title=block["lead"] or block["title"],
        description=description,
        unit=block["scale"]["unit"],
    )


def _graph(block: Block, description: str) -> str:
    nodes = [(label, level) for level, row in enumerate(block["rows"]) for label in row]
    edges = [(edge["source"], edge["target"], edge["value"]) for edge in block["edges"]]
    return svg.graph(nodes, edges, title=block["title"], description=description, unit=block["unit"])


_DRAWN = {"matrix": _matrix, "bars": _bars, "curves": _curves, "chips": _chips, "graph": _graph}
