"""What a head writes: tokens it raises and lowers, what its weights do by themselves, its direct share in answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from head_atlas.catalogue import WEIGHT_SCORES
from head_atlas.views.choices import attributions_of, families_of, label_of, titled, weights_of
from head_atlas.views.forests import FOREST_COLUMNS, FOREST_NUMBERS, forest_rows
from head_atlas.views.measured import attribution_values
from head_atlas.views.numbers import finite, ordinal, plain, signed
from head_atlas.views.saved import saved
from head_atlas.views.scales import digits_for, percentile
from head_atlas.views.token_text import visible

if TYPE_CHECKING:
    from head_atlas.heads import HeadId
    from head_atlas.store import Atlas

MOST_TOKENS = 10


def tokens_section(atlas: Atlas, head: HeadId) -> dict:
    """The tokens that the head raises and lowers most on average, from the weights."""
    title = "Tokens it raises and lowers"
    needed = [f"{side}_{part}" for side in ("promoted", "suppressed") for part in ("tokens", "logits")]
    if not all(name in atlas.weights for name in needed):
        why = atlas.left_out.get("promoted_tokens", "this atlas was built without scores of the weights")
        return {"kind": "empty", "title": title, "text": f"Not known: {why}."}
    columns: list[dict[str, Any]] = []
    for side, word in (("promoted", "raises"), ("suppressed", "lowers")):
        ids = atlas.weights[f"{side}_tokens"].values[head.layer, head.head]
        logits = np.asarray(atlas.weights[f"{side}_logits"].values[head.layer, head.head], dtype=float)
        top = float(np.nanmax(np.abs(logits))) if np.isfinite(logits).any() else 1.0
        rows = [
            {
                "token": token_text(atlas, int(i)),
                "t": finite(abs(float(x)) / top if top > 0 else 0.0),
                "numbers": [word, int(i), token_text(atlas, int(i)), float(x)],
                "text": signed(float(x), digits_for(abs(float(x)))),
            }
            for i, x in zip(ids[:MOST_TOKENS], logits, strict=False)
            if i >= 0
        ]
        columns.append({"title": word, "sign": 1 if side == "promoted" else -1, "rows": rows})
    entry = WEIGHT_SCORES["promoted_tokens"]
    return {
        "kind": "tokens",
        "title": title,
        "lead": f"{entry.sentence} In logits, from the weights alone. {entry.pitfall}",
        "saved": saved(
            ["side", "token_id", "token", "value"],
            (row.pop("numbers") for column in columns for row in column["rows"]),
            measure="promoted_tokens",
            unit="logits",
        ),
        "columns": columns,
    }


def token_text(atlas: Atlas, token: int) -> str:
    """A token of the vocabulary as a reader can tell it from others; its id where its text is not stored."""
    text = atlas.token_strings.get(token)
    return f"token {token}" if text is None else visible(text)


def weights_section(atlas: Atlas, head: HeadId) -> dict:
    """Scores of OV and QK, beside what chance gives and beside the other heads."""
    title = "OV and QK by themselves"
    names = weights_of(atlas)
    if not names:
        why = atlas.left_out.get("weights", "this atlas was built without scores of the weights")
        return {"kind": "empty", "title": title, "text": f"Not known: {why}."}
    rows: list[dict[str, Any]] = []
    at = (head.layer, head.head)
    for name in names:
        entry = WEIGHT_SCORES[name]
        values = np.asarray(atlas.weights[name].values, dtype=float)
        x = float(values[at])
        digits = digits_for(abs(x))
        most = entry.high if entry.high is not None else float(np.nanmax(values)) if np.isfinite(values).any() else 1.0
        n99 = float(atlas.nulls[f"{name}_n99"].values[at]) if f"{name}_n99" in atlas.nulls else float("nan")
        rows.append(
            {
                "label": titled(entry.label),
                "sentence": f"{entry.sentence} {entry.pitfall}",
                "reason": atlas.left_out.get(name, "not defined for this head"),
                "t": finite(max(x, 0.0) / most if most > 0 else 0.0),
                "low": None,
                "high": None,
                # A line where one draw in a hundred of the null would be.
                "chance": finite(min(max(n99, 0.0) / most, 1.0)) if most > 0 else None,
                "faint": bool(np.isfinite(n99) and x <= n99),
                "numbers": [name, x, n99, percentile(values, x), percentile(values[head.layer], x)],
                "cells": [
                    (signed if entry.signed else plain)(x, digits),
                    plain(n99, digits) if np.isfinite(n99) else "–",
                    ordinal(percentile(values, x)),
                    ordinal(percentile(values[head.layer], x)),
                ],
            }
        )
    return {
        "kind": "bars",
        "title": title,
        "lead": "Scores of the weights: what the head would do if it read a token, not that it ever does. “Chance” is "
        "the 99th percentile with the tokens’ labels permuted, where there is such a null. Bars without a natural end "
        "reach to the largest of the model; negative values have no bar.",
        "columns": ["score", "", "value", "chance", "percentile in model", "in layer"],
        "saved": saved(
            ["score", "value", "null_p99", "percentile_in_model", "percentile_in_layer"],
            (row.pop("numbers") for row in rows),
        ),
        "rows": rows,
    }


def direct_logit_section(atlas: Atlas, head: HeadId) -> dict:
    """What the head adds to the lead of the right answer by itself, per family."""
    title = "What it adds to the answer by itself"
    families = [name for _, name in families_of(atlas, "direct_logit")]
    shown = [(label_of(f), attribution_values(atlas, "direct_logit", f)) for f in families]
    shown = [(label, values) for label, values in shown if np.isfinite(values.values).any()]
    if "induction_copy" in attributions_of(atlas):
        shown.append(("induction copying", attribution_values(atlas, "induction_copy", "rand_repeat")))
    if not shown:
        why = atlas.left_out.get("direct_logit", "this atlas was built without direct logit attribution")
        return {"kind": "empty", "title": title, "text": f"Not known: {why}."}
    rows, zero = forest_rows(shown, head, sign=True)
    return {
        "kind": "forest",
        "title": title,
        "lead": "Direct logit attribution, in logits: the head’s own part of right minus wrong answer, straight to the "
        "output. An attribution, not an effect: later layers may undo it or make more of it.",
        "columns": FOREST_COLUMNS,
        "zero": zero,
        "saved": saved(FOREST_NUMBERS, (row.pop("numbers") for row in rows), measure="direct_logit", unit="logits"),
        "rows": rows,
    }
