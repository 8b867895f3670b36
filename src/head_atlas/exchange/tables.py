"""Numbers by head as CSV and JSON, for spreadsheets and other programs: one row per number, with its labels."""

from __future__ import annotations

import csv
import itertools
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from head_atlas.named_array import NamedArray
from head_atlas.store import Atlas
from head_atlas.store.atomic import replacing

_TABLES = ("summary", "weights", "syntax", "nulls", "roles", "model")
COLUMNS = ("group", "name", "layer", "head", "labels", "value")


def rows(atlas: Atlas) -> Iterator[dict[str, Any]]:
    """Every number of a head that is not of a single prompt, but for what belongs to its exemplars.

    Labels of further axes are "mode=zero family=ioi". The attention by distance is "offsets" of no group. Missing
    numbers (NaN) are left out: there is no row.

    Raises:
        AtlasError: an array is damaged.
    """
    for group in _TABLES:
        for name in atlas.names(group):
            array = atlas.read(f"{group}/{name}")
            of_heads = {"layer", "head"} <= set(array.dims) and "prompt" not in array.dims
            if of_heads and array.values.dtype.kind in "iuf":
                yield from _of_array(group, name, array)
    if atlas.offsets is not None:
        yield from _of_array("", "offsets", atlas.offsets)


def _of_array(group: str, name: str, array: NamedArray) -> Iterator[dict[str, Any]]:
    labels = [list(array.coords.get(dim, range(n))) for dim, n in zip(array.dims, array.shape, strict=True)]
    further = [axis for axis, dim in enumerate(array.dims) if dim not in ("layer", "head")]
    layer, head = array.dims.index("layer"), array.dims.index("head")
    for index, value in zip(itertools.product(*map(range, array.shape)), array.values.ravel().tolist(), strict=True):
        if isinstance(value, float) and not math.isfinite(value):
            continue
        words = " ".join(f"{array.dims[axis]}={labels[axis][index[axis]]}" for axis in further)
        yield dict(zip(COLUMNS, (group, name, index[layer], index[head], words, value), strict=True))


def write_csv(atlas: Atlas, path: str | Path) -> int:
    """Write a table; returns its number of rows.

    Raises:
        AtlasError: an array is damaged.
        OSError: no space, or no permission.
    """
    n = 0
    with replacing(Path(path)) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in rows(atlas):
            writer.writerow(row | {"labels": _no_formula(row["labels"])})
            n += 1
    return n


def write_json(atlas: Atlas, path: str | Path) -> int:
    """Write the same rows with where they come from; returns their number.

    Raises:
        AtlasError: an array is damaged.
        OSError: no space, or no permission.
    """
    found = list(rows(atlas))
    whole = {
        "format": f"head-atlas {atlas.version}",
        "model_id": atlas.model_id,
        "n_layers": atlas.n_layers,
        "n_heads": atlas.n_heads,
        "families": atlas.families,
        "modes": atlas.modes,
        "left_out": atlas.left_out,
        "notes": atlas.notes,
        "provenance": finite(atlas.provenance),
        "columns": list(COLUMNS),
        "rows": [list(row.values()) for row in found],
    }
    with replacing(Path(path)) as temporary, temporary.open("w", encoding="utf-8") as file:
        json.dump(whole, file, ensure_ascii=False, allow_nan=False)
    return len(found)


def finite(value: Any) -> Any:
    """The same without NaN and infinity, which JSON does not have: they become null."""
    if isinstance(value, Mapping):
        return {str(key): finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _no_formula(text: str) -> str:
    """A spreadsheet runs what begins with one of these."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
