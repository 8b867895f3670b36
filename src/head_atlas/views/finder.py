"""All heads as a table to filter, rank, search and download."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from head_atlas.catalogue.roles import ROLES, STATES
from head_atlas.heads import HeadId
from head_atlas.views.axes import default_axis
from head_atlas.views.choices import EVERY_FAMILY, effects_of, score_families, titled
from head_atlas.views.head_roles import held_roles, role_label
from head_atlas.views.measured import values_of
from head_atlas.views.numbers import finite, plain, signed
from head_atlas.views.scales import digits_for

if TYPE_CHECKING:
    from head_atlas.store import Atlas
    from head_atlas.views.head_values import HeadValues

_SCORES = ("induction", "previous_token", "duplicate_token", "sink")


def finder_props(atlas: Atlas, measure: str, family: str, mode: str) -> dict:
    """Every head with its roles, its states and the main numbers.

    Args:
        atlas: where the numbers are.
        measure: what the heat map shows; the table is ranked by it at first.
        family: likewise.
        mode: of the effects.
    """
    heads = [HeadId(layer, head) for layer in range(atlas.n_layers) for head in range(atlas.n_heads)]
    shown = [values_of(atlas, *place) for place in _columns(atlas, measure, family, mode)]
    held = {head: held_roles(atlas, head) for head in heads}
    rows = [_row(head, held[head], shown) for head in heads]
    every = [name for name in (*ROLES, *STATES) if any(name in names for names in held.values())]
    return {
        "title": f"Heads of {atlas.model_id}",
        "columns": [
            {"label": "head", "number": False},
            {"label": "roles and states", "number": False},
            *({"label": values.label, "number": True, "unit": values.unit} for values in shown),
        ],
        "filters": [{"name": role_label(name), "label": titled(role_label(name))} for name in every],
        "rank": 2,
        "rows": rows,
        "rule": "* not significant",
        "name": "heads",
        "note": "" if "held" in atlas.roles else "This atlas holds no roles to filter by.",
    }


def _columns(atlas: Atlas, measure: str, family: str, mode: str) -> list[tuple[str, str, str]]:
    """(measure, mode, family) of each numeric column, the chosen one first."""
    found = [(measure, mode, family)]
    found += [(n, mode, families[0]) for n in _SCORES if (families := score_families(atlas, n))]
    for effect in ("logit_difference", "logprob"):
        if effect in effects_of(atlas):
            found.append((effect, mode, EVERY_FAMILY if f"{effect}_macro" in atlas.summary else atlas.families[0]))
    write, _, of = default_axis(atlas, "by").partition("@")
    if write != "layer":
        found.append((write, mode, of))
    found += [(name, mode, "") for name in ("effective_roles", "participation") if name in atlas.roles]
    return list(dict.fromkeys(found))


def _row(head: HeadId, held: list[str], shown: list[HeadValues]) -> dict:
    names = [role_label(name) for name in held]
    cells: list[dict[str, Any]] = [
        {"text": head.label, "sort": head.layer * 10_000 + head.head},
        {"text": ", ".join(names) or "–", "sort": len(names)},
    ]
    at = (head.layer, head.head)
    for values in shown:
        x = float(values.values[at])
        form = signed if values.signed else plain
        star = "*" if values.clear(*at) is False else ""
        text = f"{form(x, digits_for(abs(x)))}{star}" if np.isfinite(x) else "–"
        cells.append({"text": text, "sort": finite(x), "title": values.text(*at)})
    return {"at": [head.layer, head.head], "held": names, "cells": cells}
