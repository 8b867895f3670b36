"""What breaks without a head: effects per family and mode, and how unevenly families need it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from head_atlas.catalogue import EFFECTS, WITHOUT_EFFECTS, mode_label
from head_atlas.catalogue.roles import FELT
from head_atlas.views.choices import EVERY_FAMILY, axis_name, label_of
from head_atlas.views.forests import FOREST_COLUMNS, FOREST_NUMBERS, forest_rows
from head_atlas.views.measured import effect_values
from head_atlas.views.numbers import percent, plain
from head_atlas.views.saved import saved

if TYPE_CHECKING:
    from head_atlas.heads import HeadId
    from head_atlas.store import Atlas

MEAN_OVER_FAMILIES = "mean over families"


def effects_section(atlas: Atlas, head: HeadId, effect: str, mode: str) -> dict:
    """Effects of removing the head, per family, in every mode that was measured.

    Args:
        atlas: where the numbers are.
        head: a head that the atlas has.
        effect: name of the metric; "" where the atlas has none.
        mode: the mode that is shown first.
    """
    if not effect:
        return {"kind": "empty", "title": "Effects", "text": "This atlas was built without removing heads."}
    options = [
        {"label": mode_label(name), "section": forest_section(atlas, head, effect, name)} for name in atlas.modes
    ]
    chosen = atlas.modes.index(mode) if mode in atlas.modes else 0
    return {"kind": "switch", "title": "", "label": "Ablation mode", "chosen": chosen, "options": options}


def forest_section(atlas: Atlas, head: HeadId, effect: str, mode: str) -> dict:
    """Effects of removing the head, per family, in one mode.

    Args:
        atlas: where the numbers are.
        head: a head that the atlas has.
        effect: name of the metric.
        mode: the ablation mode.
    """
    measure = EFFECTS[effect]
    families = [family for family in atlas.families if family not in WITHOUT_EFFECTS]
    if f"{effect}_macro" in atlas.summary:
        families.append(EVERY_FAMILY)
    shown = [(family, effect_values(atlas, effect, mode, family)) for family in families]
    measured = [(family, values) for family, values in shown if np.isfinite(values.values).any()]
    missing = [_named(family) for family, values in shown if not np.isfinite(values.values).any()]
    rows, zero = forest_rows([(_named(family), values) for family, values in measured], head, sign=measure.signed)
    for row, (family, _) in zip(rows, measured, strict=True):
        row["key"] = axis_name(effect, family)
    coloured = "A dot is coloured where it is significant"
    if not measure.signed:
        coloured = "No dot is coloured: of what is never negative, an interval above 0 says nothing"
    lead = (
        f"Effect on {measure.label.lower()} = ablated − clean, {mode_label(mode)} ablation, in {measure.unit}. "
        f"{coloured}; thin ticks are the other heads of the layer; percentiles rank the size."
    )
    if missing:
        lead += f" Not defined on {', '.join(missing)}."
    return {
        "kind": "forest",
        "title": "Effects per prompt family",
        "lead": lead,
        "columns": FOREST_COLUMNS,
        "zero": zero,
        "saved": saved(
            FOREST_NUMBERS, (row.pop("numbers") for row in rows), measure=effect, mode=mode, unit=measure.unit
        ),
        "rows": rows,
    }


def _named(family: str) -> str:
    return MEAN_OVER_FAMILIES if family == EVERY_FAMILY else label_of(family)


def families_section(atlas: Atlas, head: HeadId) -> dict:
    """How much of each family's clean logit difference removing the head takes away, and over how many that spreads."""
    title = "Which families need it"
    if "relative_effect" not in atlas.roles:
        reason = atlas.left_out.get("roles", "this atlas was built without them")
        return {"kind": "empty", "title": title, "text": f"No effects relative to what the model can do: {reason}."}
    array = atlas.roles["relative_effect"]
    at = (slice(None), head.layer, head.head)
    shares = np.asarray(array.values[at], dtype=float)
    felt = np.full_like(shares, np.nan)
    if "felt" in atlas.roles:
        felt = np.asarray(atlas.roles["felt"].values[at], dtype=float)
    order = sorted((i for i in range(len(shares)) if np.isfinite(shares[i])), key=lambda i: -shares[i])
    names = list(array.coords.get("family", atlas.families))
    top = max([1.0, *(float(shares[i]) for i in order)])
    rows = [
        {
            "label": label_of(names[i]),
            "sentence": "",
            "reason": "",
            "t": float(shares[i]) / top,
            "low": None,
            "high": None,
            "faint": bool(felt[i] != 1),
            "cells": [percent(float(shares[i])), "felt" if felt[i] == 1 else "–"],
        }
        for i in order
    ]
    said = []
    for name, form in (
        ("participation", "the effect is spread over {} families (participation ratio)"),
        ("effective_roles", "it holds {} roles, weighed by strength"),
    ):
        if name in atlas.roles and np.isfinite(x := float(atlas.roles[name].values[head.layer, head.head])):
            said.append(form.format(plain(x, 1)))
    mode = atlas.provenance.get("role_mode", "")
    how = f", {mode_label(mode)} ablation" if mode else ""
    lead = f"Size of the effect as a share of the clean logit difference{how}; 0 where the interval spans 0."
    if "natural" in names and np.isfinite(felt[names.index("natural")]):
        on_text = "felt" if felt[names.index("natural")] == 1 else "not felt"
        lead += f" On natural text, which has no wrong answer and so no such share, the effect is {on_text}."
    if said:
        lead += f" In short: {'; '.join(said)}."
    if not rows:
        return {"kind": "empty", "title": title, "text": "The model solves no family, so there are no shares of it."}
    return {
        "kind": "bars",
        "title": title,
        "lead": lead,
        "note": FELT.replace("*", ""),
        "columns": ["family", "", "share", "felt"],
        "saved": saved(
            ["family", "share", "felt"],
            ([names[i], shares[i], None if np.isnan(felt[i]) else bool(felt[i] == 1)] for i in order),
            measure="relative_effect",
            mode=str(mode),
            unit="share of the clean logit difference",
        ),
        "rows": rows,
    }
