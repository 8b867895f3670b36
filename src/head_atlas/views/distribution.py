"""The next token before and after: pairs of bars."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from head_atlas.views.numbers import interval, percent, plain, points, signed
from head_atlas.views.saved import shortened
from head_atlas.views.scales import digits_for
from head_atlas.views.token_text import quoted, visible


def top_ids(clean: np.ndarray, ablated: np.ndarray | None, k: int, also: Sequence[int] = ()) -> list[int]:
    """The k likeliest tokens of either run and those asked for, by the larger of their probabilities."""
    runs = [clean] if ablated is None else [clean, ablated]
    ids: set[int] = {int(i) for i in also}
    for run in runs:
        ids.update(int(i) for i in np.argsort(-run, kind="stable")[:k])
    larger = np.maximum.reduce(runs)
    return sorted(ids, key=lambda i: (-float(larger[i]), i))


def distribution_props(
    clean: np.ndarray,
    ablated: np.ndarray | None,
    strings: dict[int, str],
    *,
    target: int | None = None,
    contrast: int | None = None,
    headline: str = "",
    summary: str = "",
    facts: Sequence[dict] = (),
) -> dict:
    """What the bars draw.

    Args:
        clean: log-probabilities of the next token, [vocab].
        ablated: the same with heads removed, or None where none is.
        strings: the text of every token that is shown; its keys are the rows, in order.
        target: id of the target, marked.
        contrast: id of the contrast, marked.
        headline: one line above.
        summary: a sentence below it.
        facts: `{label, text, sentence}` of single numbers below the bars.
    """
    rows = []
    for token, text in strings.items():
        before = float(np.exp(clean[token]))
        after = None if ablated is None else float(np.exp(ablated[token]))
        rows.append(
            {
                "token": visible(text),
                "title": f"token {token}",
                "target": "target" if token == target else "contrast" if token == contrast else "",
                "clean": shortened(before),
                "ablated": None if after is None else shortened(after),
                "text": percent(before) if after is None else f"{percent(before)} → {percent(after)}",
                "change": "" if after is None else points(after - before),
            }
        )
    return {
        "paired": ablated is not None,
        "headline": headline,
        "summary": summary,
        "rows": rows,
        "facts": list(facts),
    }


def verdict(clean_top: str, ablated_top: str, target: str, before: float, after: float, removed: str) -> str:
    """One sentence on what removing heads did to the prediction.

    Args:
        clean_top: text of the clean run's likeliest token.
        ablated_top: text of the ablated run's.
        target: text of the target.
        before: the target's probability, clean.
        after: the target's probability, ablated.
        removed: the heads, as text.
    """
    first, then = (percent(p).replace(" ", "\u00a0") for p in (before, after))  # no line break within a number
    moved = f"{quoted(target)} goes from {first} to {then}"
    if clean_top != ablated_top:
        return f"Without {removed}, the model says {quoted(ablated_top)} instead of {quoted(clean_top)}: {moved}."
    return f"Without {removed}, the model still says {quoted(clean_top)}: {moved}."


def effect_facts(
    effects: dict[str, float],
    clean: dict[str, float],
    labels: dict[str, tuple[str, str, str, bool]],
    intervals: dict[str, tuple[float, float]] | None = None,
) -> list[dict]:
    """Single numbers under the bars.

    Args:
        effects: value by metric; NaN where a metric is not defined here.
        clean: baseline values by metric; the rank is shown as what it was and what it becomes.
        labels: per metric: label, unit, sentence, whether it is signed.
        intervals: per metric, where the values are means over several draws.
    """
    facts = []
    for name, value in effects.items():
        label, unit, sentence, has_sign = labels[name]
        number = (signed if has_sign else plain)(value, digits_for(abs(value)))
        text = f"{number} {unit}".strip()
        if name == "logit_difference" and np.isnan(value):
            text = "needs a contrast"
        elif name == "flip":
            text = f"in {percent(value)} of the draws" if intervals else "yes" if value else "no"
        elif name == "log2_rank" and np.isfinite(value):
            text = f"{2 ** clean[name]:.0f} → {2 ** (clean[name] + value):.0f}"
        elif intervals and np.isfinite(intervals[name][0]):
            text += f" {interval(*intervals[name], digits_for(abs(value)), sign=has_sign)}"
        facts.append({"label": label, "text": text, "sentence": sentence})
    return facts
