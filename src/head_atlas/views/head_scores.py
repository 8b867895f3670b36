"""Where a head looks: its scores with intervals and percentiles, and its attention by distance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from head_atlas.measures.significance import RELIABLE
from head_atlas.views.choices import PATTERN_SCORES, axis_name, label_of, score_families, titled
from head_atlas.views.head_values import RECORD
from head_atlas.views.measured import score_values
from head_atlas.views.numbers import finite, interval, ordinal, plain
from head_atlas.views.saved import saved
from head_atlas.views.scales import Scale, digits_for, digits_of, percentile, unit_range

if TYPE_CHECKING:
    from head_atlas.heads import HeadId
    from head_atlas.store import Atlas

UNIT = Scale(0.0, 1.0, False)
"""Scores are drawn from 0 to 1, whatever the heads of this model reach."""

_NUMBERS = (
    *("score", "family", "statistic", *RECORD),
    *("mean", "split_half", "percentile_in_model", "percentile_in_layer"),
)


def scores_section(atlas: Atlas, head: HeadId, *, variants: bool = False) -> dict:
    """Every score of the head, one bar each.

    Args:
        atlas: where the numbers are.
        head: a head that the atlas has.
        variants: the other ways to read the scores rather than the scores themselves.
    """
    rows = []
    for name, measure in PATTERN_SCORES.items():
        if bool(measure.variant_of) == variants:
            rows += [_row(atlas, head, name, family) for family in score_families(atlas, name)]
    title = "Other readings of the same scores" if variants else "Scores"
    if not rows:
        return {"kind": "empty", "title": title, "text": "This atlas holds none of them: it was built without them."}
    lead = (
        "Without what is parked on the first position, or with keys weighed by how much their values write. "
        "No excess is defined for these."
        if variants
        else "Read from attention patterns. Excess is 0 for a head that attends uniformly and 1 for a perfect one; the "
        "bar shows it, or the mean where no excess is defined. A dot: not significant against its null. Unreliable: "
        f"heads rank differently by halves of the prompts (correlation under {RELIABLE})."
    )
    return {
        "kind": "bars",
        "title": title,
        "lead": lead,
        "columns": ["score", "", "excess", "mean", "95 % interval", "percentile in model", "in layer"],
        "saved": saved(_NUMBERS, (row.pop("numbers") for row in rows)),
        "rows": rows,
    }


def _row(atlas: Atlas, head: HeadId, name: str, family: str) -> dict:
    measure = PATTERN_SCORES[name]
    shown = score_values(atlas, name, family)
    at = (head.layer, head.head)
    unknown = np.full(shown.values.shape, np.nan)
    x, low, high = (float((unknown if a is None else a)[at]) for a in (shown.values, shown.low, shown.high))
    digits = digits_of(x, low, high)
    prefix = measure.summary_prefix(family)
    mean = float(atlas.summary[f"{prefix}_mean"].values[at])
    halves = float(atlas.summary[f"{prefix}_split_half"].values) if f"{prefix}_split_half" in atlas.summary else np.nan
    shaky = halves < RELIABLE
    second = family != measure.family
    return {
        "label": (f"{titled(measure.label)}, {label_of(family)}" if second else titled(measure.label))
        + (" (unreliable)" if shaky else ""),
        "sentence": f"{measure.sentence} {label_of(family)}: {shown.text(*at)}"
        + (f"; split-half reliability {plain(halves)}" if np.isfinite(halves) else ""),
        "reason": shown.reason,
        "t": unit_range(x, UNIT),
        "low": unit_range(low, UNIT),
        "high": unit_range(high, UNIT),
        "key": axis_name(name, family),
        "faint": shown.clear(*at) is False,
        "numbers": [
            name,
            family,
            "excess" if measure.has_excess else "mean",
            *shown.record(*at),
            mean,
            halves,
            *(percentile(within, x) for within in (shown.values, shown.values[head.layer])),
        ],
        "cells": [
            plain(x, digits) if measure.has_excess else "–",
            plain(mean, digits_for(mean)),
            interval(low, high, digits),
            ordinal(percentile(shown.values, x)),
            ordinal(percentile(shown.values[head.layer], x)),
        ],
    }


def offsets_section(atlas: Atlas, head: HeadId) -> dict:
    """Mean attention by distance."""
    title = "How far back"
    if atlas.offsets is None:
        return {"kind": "empty", "title": title, "text": "This atlas holds no attention by distance."}
    row = np.asarray(atlas.offsets.values[head.layer, head.head], dtype=float)
    labels = [str(b) for b in atlas.offsets.coords.get("bin", range(len(row)))]
    top = float(np.nanmax(row)) if np.isfinite(row).any() else 1.0
    bins = []
    for label, x in zip(labels, row, strict=True):
        where = "the first token (sink)" if label == "sink" else _distance(label)
        value = f"{plain(float(x), 3)} of its attention" if np.isfinite(x) else "not measured"
        bins.append({"text": f"{where}: {value}", "t": finite(float(x) / top if top > 0 else 0.0)})
    return {
        "kind": "profile",
        "title": title,
        "lead": "Mean attention by distance back from the current token, on natural text; last, the first token.",
        "scale": f"tallest bar {plain(top, 3)}",
        "hint": f"tallest bar {plain(top, 3)}; point at a bar, or use the arrow keys",
        "ticks": [labels[0], "tokens back", labels[-1]],
        "apart": labels[-1] == "sink",
        "saved": saved(
            ["distance", "attention"], zip(labels, row, strict=True), measure="offsets", unit="share of attention"
        ),
        "bins": bins,
    }


def _distance(label: str) -> str:
    if label == "0":
        return "the token itself"
    return "1 token back" if label == "1" else f"{label} tokens back"
