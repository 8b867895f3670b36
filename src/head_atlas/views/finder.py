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

NO_ROLE = "none"
"""The filter of heads that hold no role and no state."""
FIRST_RANK = 2
"""Column that the table is ranked by at first; those before it are no numbers."""
_SCORES = ("induction", "previous_token", "duplicate_token", "sink")


def finder_props(atlas: Atlas, measure: str, family: str, mode: str) -> dict:
    """Every head with its roles, its states and the main numbers.

    Args:
        atlas: where the numbers are.
        measure: what the heat map shows; the table is ranked by it at first.
        family: likewise.
        mode: of the effects.
    """
    names = column_names(atlas, measure, family, mode)
    heads = [HeadId(layer, head) for layer in range(atlas.n_layers) for head in range(atlas.n_heads)]
    shown = [values_of(atlas, *place) for place in _columns(atlas, measure, family, mode)]
    held = {head: held_roles(atlas, head) for head in heads}
    rows = [_row(head, held[head], shown) for head in heads]
    return {
        "title": f"Heads of {atlas.model_id}",
        "columns": [
            {"name": names[0], "label": "head", "number": False},
            {"name": names[1], "label": "roles and states", "number": False},
            *(
                {"name": name, "label": values.label, "number": True, "unit": values.unit}
                for name, values in zip(names[FIRST_RANK:], shown, strict=True)
            ),
        ],
        "filters": [{"name": name, "label": titled(role_label(name))} for name in held_names(atlas)],
        "none": NO_ROLE,
        "rank": FIRST_RANK,
        "rows": rows,
        "rule": "* not significant",
        "name": "heads",
        "note": "" if "held" in atlas.roles else "This atlas holds no roles to filter by.",
    }


def column_names(atlas: Atlas, measure: str, family: str, mode: str) -> list[str]:
    """Short names of the columns, each its own: a measure, and its family where the measure is there twice."""
    names = ["head", "roles"]
    for name, _, where in _columns(atlas, measure, family, mode):
        names.append(f"{name}@{where}" if name in names else name)
    return names


def held_names(atlas: Atlas) -> list[str]:
    """Names of the roles and states that some head holds."""
    names = []
    for group, axis in (("held", "role"), ("states", "state")):
        if group in atlas.roles:
            array = atlas.roles[group]
            names += [str(n) for i, n in enumerate(array.coords.get(axis, ())) if (array.values[i] == 1).any()]
    return [name for name in (*ROLES, *STATES) if name in names]


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
    return {"at": [head.layer, head.head], "held": held, "cells": cells}
