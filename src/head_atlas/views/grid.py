"""The grid of heads: one value per head, where it lies on the colour scale, and how it reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from head_atlas.catalogue.roles import ROLES
from head_atlas.views.choices import BEHAVIOUR, measure_named, role_of
from head_atlas.views.head_values import RECORD
from head_atlas.views.numbers import plain, signed
from head_atlas.views.saved import saved
from head_atlas.views.scales import digits_for, positions, scale_for
from head_atlas.views.terms import marked

if TYPE_CHECKING:
    from head_atlas.catalogue.roles import Role
    from head_atlas.heads import HeadId
    from head_atlas.views.head_values import HeadValues


def grid_props(
    shown: HeadValues,
    *,
    title: str,
    selected: HeadId | None = None,
    removed: Iterable[HeadId] = (),
    toggle: bool = False,
    small: bool = False,
    hint: str = "",
    about: Mapping[str, Any] | None = None,
) -> dict:
    """What the grid draws.

    Args:
        shown: the values.
        title: its name for screen readers.
        selected: the head with a ring.
        removed: heads that are struck out.
        toggle: a click adds or removes a head rather than selecting it.
        small: a compact grid, numbers only on hover.
        hint: the line below while no head is pointed at.
        about: where the numbers are from, for those who save them; None where they cannot be.
    """
    n_layers, n_heads = shown.values.shape
    scale = scale_for(shown.values, sign=shown.signed, high=shown.most, unit=shown.unit)
    form = signed if shown.signed else plain
    digits = digits_for(scale.high)
    # More digits do not fit into a cell.
    few = n_heads <= 12 and not small and digits <= 3
    return {
        "n_layers": n_layers,
        "n_heads": n_heads,
        "t": positions(shown.values, scale),
        "text": [[shown.text(la, h) for h in range(n_heads)] for la in range(n_layers)],
        "short": [[form(float(x), digits) if np.isfinite(x) else "" for x in row] for row in shown.values]
        if few
        else None,
        # A dot, not another colour: how large it is stays readable.
        "faint": [[shown.clear(la, h) is False for h in range(n_heads)] for la in range(n_layers)],
        "rule": shown.rule(),
        "scale": scale.props(),
        "label": shown.label,
        "title": title,
        "reason": shown.reason,
        "selected": None if selected is None else [selected.layer, selected.head],
        "removed": [str(head) for head in removed],
        "toggle": toggle,
        "small": small,
        "hint": hint if np.isfinite(shown.values).any() else f"{shown.label}: {shown.reason}.",
        "saved": None if about is None else _table(shown, about),
    }


def _table(shown: HeadValues, about: Mapping[str, Any]) -> dict:
    places = np.ndindex(*shown.values.shape)
    rows = ([f"{layer}.{head}", *shown.record(layer, head)] for layer, head in places)
    return saved(["head", *RECORD], rows, **about, label=shown.label, unit=shown.unit)


def without_marks(grid: dict) -> dict:
    """The same grid, with the selected and removed heads as the visitor last marked them."""
    return {key: value for key, value in grid.items() if key not in ("selected", "removed")}


KINDS = {
    "score": "Score, read from attention patterns",
    "effect": "Effect, caused by removing a head",
    "attribution": "Attribution, a part of the logits",
}


def measure_props(measure: str) -> dict:
    """One sentence on a measure, its formula and source: what stands above the grid."""
    entry = measure_named(measure)
    if entry is not None:
        kind = "Score, read from the weights" if entry.measured_on == "weights" else KINDS[entry.kind]
        return _words(kind, entry.sentence, entry.formula, entry.unit, entry.pitfall, entry.source)
    if measure in BEHAVIOUR:
        _, sentence, formula = BEHAVIOUR[measure]
        return _words("Score, from roles and effects", sentence, formula, "", "", "this project")
    if role_of(measure):
        role = ROLES[role_of(measure)]
        return _words(
            "Membership of a role", role.sentence, membership_formula(role), "1 = ideal", role.pitfall, role.sources
        )
    return {"empty": "No measure is chosen."}


def membership_formula(role: Role) -> str:
    """How strongly a head shows a role's first sign, in plain characters."""
    return f"clip((x - n99) / (1 - n99), 0, 1), x the {role.criteria[0].number}, n99 the 99th percentile of its null"


def _words(kind: str, sentence: str, formula: str, unit: str, pitfall: str, source: str) -> dict:
    rows = [("Formula", formula), ("Unit", unit), ("Read with care", marked(pitfall)), ("Source", source)]
    return {
        "kind": kind,
        "sentence": marked(sentence),
        "rows": [{"label": label, "text": text} for label, text in rows if text],
    }
