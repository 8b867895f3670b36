"""Rows as a markdown table, and all that was measured as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def print_head(machine: Mapping[str, Any], columns: Mapping[str, str]) -> None:
    """Print what the table was measured on, and its headings.

    Args:
        machine: see `machine.machine`.
        columns: heading and format of each key of the rows, as in "wall s|.2f".
    """
    print(", ".join(f"{name} {value}" for name, value in machine.items()) + "\n")
    print_title(columns)


def print_title(columns: Mapping[str, str]) -> None:
    """Print the headings alone."""
    _print_cells([column.split("|")[0] for column in columns.values()])
    _print_cells(["---"] * len(columns))


def print_row(columns: Mapping[str, str], row: Mapping[str, Any]) -> None:
    """Print a row as soon as it is measured; a missing or None value becomes an empty cell."""
    formats = {key: column.partition("|")[2] for key, column in columns.items()}
    _print_cells(["" if row.get(key) is None else format(row[key], form) for key, form in formats.items()])


def _print_cells(cells: Sequence[str]) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def write_json(path: Path | None, machine: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write all numbers, where a file is asked for."""
    if path is not None:
        path.write_text(json.dumps({"machine": machine, "rows": list(rows)}, indent=1) + "\n")
