"""Whom a head works with: the heads whose output it reads, and those that read its output, by their weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from head_atlas.catalogue import WEIGHT_SCORES
from head_atlas.heads import HeadId
from head_atlas.views.numbers import plain
from head_atlas.views.saved import saved
from head_atlas.views.scales import digits_for

if TYPE_CHECKING:
    from head_atlas.store import Atlas

PARTNERS = 4
_READS = {"Q": "where to look from", "K": "what to be found by", "V": "what to move"}


def company_section(atlas: Atlas, head: HeadId) -> dict:
    """The strongest Q, K and V compositions with heads before and behind."""
    title = "Composition with other heads"
    if "composition" not in atlas.weights or "kind" not in atlas.weights["composition"].coords:
        why = atlas.left_out.get("composition", "this atlas was built without it")
        return {"kind": "empty", "title": title, "text": f"Not known: {why}."}
    array = atlas.weights["composition"]
    kinds = [str(kind) for kind in array.coords["kind"]]
    before = np.asarray(array.values[:, :, :, head.layer, head.head], dtype=float)
    behind = np.asarray(array.values[:, head.layer, head.head], dtype=float)
    top = max((float(np.nanmax(x)) for x in (before, behind) if np.isfinite(x).any()), default=1.0)
    columns, table = [], []
    for i, kind in enumerate(kinds):
        said = f"{kind} ({_READS.get(kind, 'reads')})"
        for values, words in ((before[i], "It reads from"), (behind[i], "Read by")):
            rows = _partners(values, top)
            empty = "no earlier layer" if words == "It reads from" else "no later layer"
            table += [[kind, words == "Read by", row["label"], row.pop("value")] for row in rows]
            columns.append({"title": f"{words}, {said}", "rows": rows, "empty": "" if rows else empty})
    lead = f"{WEIGHT_SCORES['composition'].sentence} Above 0 is above chance. Click a head to see its page. "
    # older files have it among what is left out
    caveat = atlas.notes.get("composition") or atlas.left_out.get("composition") or WEIGHT_SCORES["composition"].pitfall
    kept = saved(["kind", "reads_this_head", "other", "value"], table, measure="composition")
    return {"kind": "partners", "title": title, "lead": lead + caveat, "columns": columns, "saved": kept}


def _partners(values: np.ndarray, top: float) -> list[dict]:
    flat = values.ravel()
    order = [int(i) for i in np.argsort(-np.nan_to_num(flat, nan=-np.inf), kind="stable")[:PARTNERS]]
    rows = []
    for i in order:
        x = float(flat[i])
        if np.isfinite(x):
            other = HeadId(*(int(j) for j in np.unravel_index(i, values.shape)))
            t = min(max(x / top, 0.0), 1.0) if top > 0 else 0.0
            at = [other.layer, other.head]
            rows.append({"head": at, "label": other.label, "t": t, "value": x, "text": plain(x, digits_for(abs(x)))})
    return rows
