"""One head in short, for another page: what it is, roles with their grades, main effects, how far back it looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from head_atlas.views.head_effects import MEAN_OVER_FAMILIES, effects_section
from head_atlas.views.head_page import summary_props
from head_atlas.views.head_scores import offsets_section

if TYPE_CHECKING:
    from head_atlas.heads import HeadId
    from head_atlas.store import Atlas

COLUMNS = 5
"""Of the effects: label, line, value, interval and sample size; percentiles are on the head's own page."""
MOST_FAMILIES = 6


def card_props(atlas: Atlas, head: HeadId, *, effect: str, mode: str) -> dict:
    """What the card draws.

    Args:
        atlas: where the numbers are.
        head: a head that the atlas has.
        effect: whose effects per family are shown; "" for none.
        mode: the ablation mode.
    """
    summary = summary_props(atlas, head, mode)
    effects = effects_section(atlas, head, effect, mode)
    if effects["kind"] == "switch":
        effects = _short(effects["options"][effects["chosen"]]["section"])
    roles = [section for section in summary["sections"] if section["kind"] == "roles"]
    published = [
        {"summary": section["title"], "section": section | {"title": ""}}
        for section in summary["sections"]
        if section["kind"] != "roles"
    ]
    revision = atlas.provenance.get("model_revision")
    where = str(atlas.source.pinned_address) if atlas.source is not None else atlas.path.name
    return summary | {
        "sections": [*roles, effects, offsets_section(atlas, head)],
        "folded": published,
        "from": f"Measured on {atlas.model_id}{f' at {revision}' if revision else ''}; atlas {where}"
        + (f", sha256 {atlas.sha256[:16]}…" if atlas.sha256 else "")
        + ".",
    }


def _short(forest: dict) -> dict:
    """The families it is largest on, in the order of the whole list, and the mean over families."""
    sizes = [abs(row[1] or 0.0) for row in forest["saved"]["rows"]]
    whole = [i for i, row in enumerate(forest["rows"]) if row["label"] == MEAN_OVER_FAMILIES]
    largest = sorted((i for i in range(len(sizes)) if i not in whole), key=lambda i: -sizes[i])
    kept = [*sorted(largest[:MOST_FAMILIES]), *whole]
    rows = [forest["rows"][i] | {"cells": forest["rows"][i]["cells"][: COLUMNS - 2]} for i in kept]
    note = f"The {MOST_FAMILIES} largest of {len(largest)}." if len(largest) > MOST_FAMILIES else ""
    return forest | {"columns": forest["columns"][:COLUMNS], "rows": rows, "note": note}
