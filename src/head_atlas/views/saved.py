"""What a visitor takes along of a figure or a table: its numbers as they are stored, and where they are from.

The page draws rounded texts; a file is to hold the numbers themselves. NaN is None, which is null in JSON and an empty
cell in CSV.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from head_atlas.catalogue import EFFECTS

if TYPE_CHECKING:
    from head_atlas.store import Atlas

SIGNIFICANT_DIGITS = 7
"""Of a number in a file; arrays of 32-bit numbers hold no more."""


def saved(columns: Sequence[str], rows: Iterable[Sequence[Any]], **about: Any) -> dict:
    """The table behind a figure.

    Args:
        columns: names, one word each.
        rows: texts, numbers, truth values or None.
        about: facts on these numbers, beside those of the atlas; what is empty is left out.
    """
    return {
        "columns": list(columns),
        "rows": [[_plain(cell) for cell in row] for row in rows],
        "about": {key: value for key, value in about.items() if value not in ("", None)},
    }


def shortened(number: float) -> float:
    """A finite number as a file has it, with `SIGNIFICANT_DIGITS`."""
    return float(f"{number:.{SIGNIFICANT_DIGITS}g}")


def source_of(atlas: Atlas) -> dict:
    """Where an atlas's numbers are from: the model, its revision and fingerprint; the file, its hash and revision."""
    known = atlas.provenance
    about = {
        "model_id": atlas.model_id,
        "model_revision": known.get("model_revision"),
        "model_fingerprint": known.get("model_fingerprint"),
        "atlas": atlas.path.name,
        "atlas_sha256": atlas.sha256,
        "published_at": None if atlas.source is None else str(atlas.source.pinned_address),
        "corpus_sha256": known.get("corpus_sha256"),
        "config_sha256": known.get("config_sha256"),
    }
    return {key: str(value) for key, value in about.items() if value}


def measured_by(measure: str, family: str, mode: str) -> dict:
    """Measure, family and ablation mode as a file has them; a mode only where something was ablated."""
    return {"measure": measure, "family": family, "mode": mode if measure in EFFECTS else ""}


def _plain(cell: Any) -> Any:
    if cell is None or isinstance(cell, str | bool):
        return cell
    if isinstance(cell, int | np.integer):
        return int(cell)
    number = float(cell)
    return shortened(number) if np.isfinite(number) else None
