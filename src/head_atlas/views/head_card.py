"""A head's card: what it looks like (scores), what removing it does (effects); and where it looks (offsets)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from head_atlas.catalogue import EFFECTS, SCORES, WITHOUT_EFFECTS
from head_atlas.views.choices import label_of, score_families, titled
from head_atlas.views.grid import HeadValues, effect_values, score_values
from head_atlas.views.numbers import count, finite, interval, plain, signed
from head_atlas.views.scales import Scale, digits_for, digits_of, percentile, scale_for, unit_range
from head_atlas.views.terms import marked

if TYPE_CHECKING:
    from head_atlas.heads import HeadId
    from head_atlas.named_array import NamedArray
    from head_atlas.store import Atlas


UNIT = Scale(0.0, 1.0, False)
"""Scores are drawn from 0 to 1, whatever the heads of this model reach."""


def card_props(atlas: Atlas, head: HeadId, *, effect: str, mode: str, current: tuple[str, str] = ("", "")) -> dict:
    """The card of one head.

    Args:
        atlas: where the numbers are.
        head: a head that the atlas has.
        effect: the effect shown per family; "" for none.
        mode: the ablation mode of the effects.
        current: the measure and family that the grid shows; their row is marked.
    """
    sections = [_scores(atlas, head, current)]
    if effect:
        sections.append(_effects(atlas, head, effect, mode, current))
    sections.append(_explained(atlas, effect))
    return {
        "title": head.label,
        "subtitle": f"layer {head.layer} of 0–{atlas.n_layers - 1} · head {head.head} of 0–{atlas.n_heads - 1}"
        f" · {atlas.model_id}",
        "sections": sections,
    }


def profile_props(atlas: Atlas, head: HeadId) -> dict:
    """Where one head looks: its mean attention by distance."""
    if atlas.offsets is None:
        return {"empty": "This atlas holds no attention by distance."}
    return {"title": "", "sections": [_offsets(atlas.offsets, head)]}


def ordinal(p: float) -> str:
    """A percentile in words, "96th"; empty where there is none."""
    if not np.isfinite(p):
        return ""
    n = round(p)
    suffix = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{suffix}"


def _interval(shown: HeadValues) -> tuple[np.ndarray, np.ndarray]:
    """Both ends of the interval; NaN where the file holds none."""
    unknown = np.full(shown.values.shape, np.nan)
    return (unknown if shown.low is None else shown.low), (unknown if shown.high is None else shown.high)


def _scores(atlas: Atlas, head: HeadId, current: tuple[str, str]) -> dict:
    rows = []
    for name, measure in SCORES.items():
        for family in score_families(atlas, name):
            shown = score_values(atlas, name, family)
            low_end, high_end = _interval(shown)
            at = (head.layer, head.head)
            x, low, high = float(shown.values[at]), float(low_end[at]), float(high_end[at])
            digits = digits_of(x, low, high)
            mean = float(atlas.summary[f"{measure.summary_prefix(family)}_mean"].values[at])
            second = family != measure.family
            rows.append(
                {
                    "label": f"{titled(measure.label)}, {label_of(family)}" if second else titled(measure.label),
                    "sentence": f"{measure.sentence} {label_of(family)}: {shown.text(*at)}",
                    "reason": shown.reason,
                    "t": unit_range(x, UNIT),
                    "low": unit_range(low, UNIT),
                    "high": unit_range(high, UNIT),
                    "current": name == current[0] and family == current[1],
                    "cells": [
                        plain(x, digits) if measure.has_excess else "–",
                        plain(mean, digits_for(mean)),
                        interval(low, high, digits),
                        ordinal(percentile(shown.values, x)),
                    ],
                }
            )
    return {
        "kind": "bars",
        "title": "What it looks like",
        "lead": "Scores, read from attention patterns. Excess is 0 for a head that attends uniformly and "
        "1 for a perfect one; the bar shows it, or the mean where no excess is defined.",
        "columns": ["score", "", "excess", "mean", "95 % interval", "percentile"],
        "rows": rows,
    }


def _effects(atlas: Atlas, head: HeadId, effect: str, mode: str, current: tuple[str, str]) -> dict:
    measure = EFFECTS[effect]
    found: list[tuple[str, HeadValues, float, float, float, float]] = []
    for family in atlas.families:
        if family in WITHOUT_EFFECTS:
            continue
        shown = effect_values(atlas, effect, mode, family)
        at = (head.layer, head.head)
        low_end, high_end = _interval(shown)
        n = float("nan") if shown.n is None else float(shown.n[at])
        found.append((family, shown, float(shown.values[at]), float(low_end[at]), float(high_end[at]), n))
    ends = np.array([[x, low, high] for _, _, x, low, high, _ in found])
    # Effects that are never negative (KL, flips) start at the left edge; signed ones have zero in the middle.
    scale = scale_for(ends, sign=measure.signed)
    rows = []
    for family, shown, x, low, high, n in found:
        digits = digits_of(x, low, high)
        clear = np.isfinite(low) and np.isfinite(high) and (low > 0 or high < 0)
        rows.append(
            {
                "label": label_of(family),
                "sentence": shown.reason if not np.isfinite(x) else shown.text(head.layer, head.head),
                "reason": shown.reason,
                "t": unit_range(x, scale),
                "low": unit_range(low if np.isfinite(low) else x, scale),
                "high": unit_range(high if np.isfinite(high) else x, scale),
                # Colour only where the interval leaves zero out.
                "sign": (int(np.sign(x)) if clear else 0) if np.isfinite(x) else 0,
                "current": effect == current[0] and family == current[1],
                "cells": [
                    signed(x, digits) if measure.signed else plain(x, digits),
                    interval(low, high, digits, sign=measure.signed),
                    count(n),
                    ordinal(percentile(np.abs(shown.values), abs(x))),
                ],
            }
        )
    return {
        "kind": "forest",
        "title": "What removing it does",
        "lead": f"Effect on {measure.label.lower()} = ablated − clean, {mode} ablation, per prompt family, in "
        f"{measure.unit}. Dots are coloured where the 95 % interval leaves zero out; the percentile ranks the "
        "size of the effect among all heads.",
        "columns": ["family", "", "effect", "95 % interval", "n", "percentile"],
        "zero": 0.5 if measure.signed else 0.0,
        "rows": rows,
    }


def _offsets(offsets: NamedArray, head: HeadId) -> dict:
    row = np.asarray(offsets.values[head.layer, head.head], dtype=float)
    labels = [str(b) for b in offsets.coords.get("bin", range(len(row)))]
    top = float(np.nanmax(row)) if np.isfinite(row).any() else 1.0
    bins = []
    for label, x in zip(labels, row, strict=True):
        where = "the first token (sink)" if label == "sink" else _distance(label)
        value = f"{plain(float(x), 3)} of its attention" if np.isfinite(x) else "not measured"
        bins.append({"text": f"{where}: {value}", "t": finite(float(x) / top if top > 0 else 0.0)})
    return {
        "kind": "profile",
        "title": f"Where {head.label} looks",
        "lead": "Mean attention by distance back from the current token, on natural text.",
        "hint": f"tallest bar {plain(top, 3)}; point at a bar, or use the arrow keys",
        "ticks": [labels[0], "tokens back", labels[-1]],
        "bins": bins,
    }


def _distance(label: str) -> str:
    if label == "0":
        return "the token itself"
    return "1 token back" if label == "1" else f"{label} tokens back"


def _explained(atlas: Atlas, effect: str) -> dict:
    names = [name for name in SCORES if score_families(atlas, name)]
    seen: set[str] = set()
    entries = [
        {
            "term": titled(measure.label),
            "text": marked(" ".join(p for p in (measure.sentence, measure.pitfall) if p) + " ", seen),
            "formula": measure.formula,
            "source": measure.source,
        }
        for measure in [*(SCORES[name] for name in names), *([EFFECTS[effect]] if effect else [])]
    ]
    return {
        "kind": "notes",
        "title": "",
        "summary": "What these measures are, and where they come from",
        "entries": entries,
    }
