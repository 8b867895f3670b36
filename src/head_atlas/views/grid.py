"""The grid of heads: one value per head, where it lies on the colour scale, and how it reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from head_atlas.catalogue import EFFECTS, SCORES
from head_atlas.views.choices import EVERY_FAMILY, label_of, measure_named, titled
from head_atlas.views.numbers import count, interval, plain, signed
from head_atlas.views.scales import digits_for, digits_of, positions, scale_for
from head_atlas.views.terms import marked

if TYPE_CHECKING:
    from head_atlas.heads import HeadId
    from head_atlas.store import Atlas


@dataclass(frozen=True)
class HeadValues:
    """One measure of every head.

    Attributes:
        values: [layer, head]; NaN where it is not measured.
        low: [layer, head] lower end of the 95 % interval, or None.
        high: upper end, or None.
        n: [layer, head] sample size in prompts, or None.
        label: what is shown, in a few words.
        unit: unit of the values.
        signed: zero is the middle of the scale.
        most: the most the measure can be, or None.
        reason: why a value is missing.
    """

    values: np.ndarray
    low: np.ndarray | None
    high: np.ndarray | None
    n: np.ndarray | None
    label: str
    unit: str
    signed: bool
    most: float | None = None
    reason: str = "not measured"

    def text(self, layer: int, head: int) -> str:
        """The value with its interval and sample size, "0.83 [0.80, 0.86], n = 100"."""
        x = float(self.values[layer, head])
        if not np.isfinite(x):
            return self.reason
        low = float("nan") if self.low is None else float(self.low[layer, head])
        high = float("nan") if self.high is None else float(self.high[layer, head])
        digits = digits_of(x, low, high)
        number = signed(x, digits) if self.signed else plain(x, digits)
        text = f"{number} {interval(low, high, digits, sign=self.signed)}".strip()
        return text if self.n is None else f"{text}, n = {count(float(self.n[layer, head]))}"


def score_values(atlas: Atlas, name: str, family: str) -> HeadValues:
    """A score's excess over attending uniformly, or its mean where no excess is defined."""
    measure, summary = SCORES[name], atlas.summary
    prefix = measure.summary_prefix(family)
    excess = measure.has_excess
    part = f"{prefix}_excess" if excess else prefix
    return HeadValues(
        summary[part if excess else f"{part}_mean"].values,
        summary[f"{part}_ci_low"].values,
        summary[f"{part}_ci_high"].values,
        summary[f"{prefix}_n"].values,
        f"{titled(measure.label)}, {'excess' if excess else 'mean'} on {label_of(family)}",
        "0 = attends uniformly" if excess else measure.unit,
        measure.signed,
        most=measure.high,
        reason="not measured for this model",
    )


def effect_values(atlas: Atlas, name: str, mode: str, family: str) -> HeadValues:
    """The mean effect of removing each head, on one family or over all of them."""
    measure = EFFECTS[name]
    label = f"{titled(measure.label)}, {mode} ablation"
    if family == EVERY_FAMILY:
        values = atlas.summary[f"{name}_macro"].sel(mode=mode).values
        means = atlas.summary[f"{name}_mean"].sel(mode=mode)
        k = int(np.isfinite(means.values).any(axis=(means.dims.index("layer"), means.dims.index("head"))).sum())
        label += f", mean over {k} families (intervals per family on the card)"
        return HeadValues(
            values, None, None, None, label, measure.unit, measure.signed, reason="not defined on any family"
        )
    mean, low, high, n = (
        atlas.summary[f"{name}_{part}"].sel(mode=mode, family=family).values
        for part in ("mean", "ci_low", "ci_high", "n")
    )
    reason = f"not defined on {label_of(family)}"
    return HeadValues(mean, low, high, n, f"{label}, {label_of(family)}", measure.unit, measure.signed, reason=reason)


def values_of(atlas: Atlas, measure: str, mode: str, family: str) -> HeadValues:
    """Whatever the Atlas shows of a measure.

    Raises:
        KeyError: the file has no such measure, mode or family.
    """
    if measure in SCORES:
        return score_values(atlas, measure, family)
    return effect_values(atlas, measure, mode, family)


def grid_props(
    shown: HeadValues,
    *,
    title: str,
    selected: HeadId | None = None,
    removed: Iterable[HeadId] = (),
    toggle: bool = False,
    small: bool = False,
    hint: str = "",
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
        "scale": scale.props(),
        "label": shown.label,
        "title": title,
        "reason": shown.reason,
        "selected": None if selected is None else [selected.layer, selected.head],
        "removed": [str(head) for head in removed],
        "toggle": toggle,
        "small": small,
        "hint": hint if np.isfinite(shown.values).any() else f"{shown.label}: {shown.reason}.",
    }


def without_marks(grid: dict) -> dict:
    """The same grid, with the selected and removed heads as the visitor last marked them."""
    return {key: value for key, value in grid.items() if key not in ("selected", "removed")}


def measure_props(measure: str) -> dict:
    """One sentence on a measure, its formula and source: what stands above the grid."""
    entry = measure_named(measure)
    if entry is None:
        return {"empty": "No measure is chosen."}
    seen: set[str] = set()
    said = marked(entry.sentence, seen)
    rows: list[dict[str, Any]] = [
        {"label": "Formula", "text": entry.formula},
        {"label": "Unit", "text": entry.unit},
        {"label": "Read with care", "text": marked(entry.pitfall, seen)},
        {"label": "Source", "text": entry.source},
    ]
    return {
        "kind": {"score": "Score, read from attention patterns", "effect": "Effect, caused by removing a head"}[
            entry.kind
        ],
        "sentence": said,
        "rows": [row for row in rows if row["text"]],
    }
