"""What shows a head by example: prompts with its sparse patterns, the histogram of its largest attention, tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from head_atlas.catalogue import EXEMPLARS
from head_atlas.errors import AtlasError
from head_atlas.views.choices import label_of
from head_atlas.views.head_writes import token_text
from head_atlas.views.numbers import count, percent, plain, signed
from head_atlas.views.saved import saved
from head_atlas.views.scales import digits_for
from head_atlas.views.token_text import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from head_atlas.heads import HeadId
    from head_atlas.named_array import NamedArray
    from head_atlas.store import Atlas
    from head_atlas.store.exemplars import Exemplar, StoredExemplars

SETS = {"text": "natural text", "families": "constructed prompts"}
HARMED = "0"
MOST_SHOWN = 6
LONGEST = 128
"""Tokens of a prompt that are shown: those around the strongest look."""
MOST_KEYS = 8
TOKENS_SHOWN = 8


def sets_of(atlas: Atlas) -> list[tuple[str, str]]:
    """(label, name) of the sets of prompts that exemplars were taken from."""
    return [(label, name) for name, label in SETS.items() if name in atlas.exemplars]


def bands_of(atlas: Atlas, where: str) -> list[tuple[str, str]]:
    """(label, name) of the bands of a set, the strongest first; then those that suffer most without the head."""
    arrays: Mapping[str, NamedArray] = atlas.exemplars.get(where, {})
    if "band_low" in arrays:
        n = arrays["band_low"].shape[-1]
    elif "band" in arrays and arrays["band"].values.size:  # imported: the bounds of the bands are not known
        n = int(arrays["band"].values.max())
    else:
        return []
    names = [(f"band {band} of {n}, an even sample", str(band)) for band in range(n - 1, 0, -1)]
    harmed = [("what suffers most without it", HARMED)] if atlas.modes else []
    return [("where it looks hardest", str(n)), *names, *harmed]


def examples_props(atlas: Atlas, head: HeadId, where: str, band: str) -> dict:
    """The prompts of one band, each with the head's sparse pattern.

    Args:
        atlas: where the numbers are.
        head: a head that the atlas has.
        where: "text" or "families".
        band: of `bands_of`.
    """
    if not sets_of(atlas):
        why = atlas.left_out.get("exemplars", "this atlas was built without exemplars, or before there were any")
        return {"empty": f"No prompts to show {head.label} by: {why}."}
    try:
        stored = atlas.stored_exemplars(where)
        found = [e for e in stored.of(head.layer, head.head) if str(e.band) == band][:MOST_SHOWN]
        items = [_example(atlas, stored, e) for e in found]
    except (AtlasError, KeyError) as error:
        return {"empty": f"The exemplars in this atlas cannot be read: {error}."}
    if not items:
        none = "no prompt suffers without it" if band == HARMED else "there are none in this band"
        return {"empty": f"{head.label} on {SETS[where]}: {none}."}
    return {
        "title": f"{head.label} by example",
        "lead": "Point at a token, or reach it with Tab and the arrow keys: it shows where the head looks from there. "
        "At rest, colour is the attention that a token receives at most. " + EXEMPLARS["exemplar_band"].pitfall,
        "head": str(head),
        "items": items,
        "about": {
            "prompts_of": SETS[where],
            "band": {name: label for label, name in bands_of(atlas, where)}[band],
        },
    }


def _example(atlas: Atlas, stored: StoredExemplars, exemplar: Exemplar) -> dict:
    prompt = atlas.prompts[exemplar.prompt]
    pattern = stored.pattern(exemplar)
    weights = pattern.weights.copy()
    inner = _without_first(weights)
    query, key = largest_look(weights)
    n = len(prompt)
    start = 0 if n <= LONGEST else max(0, min(query - LONGEST + LONGEST // 4, n - LONGEST, key))
    stop = min(n, start + LONGEST)
    rows, elsewhere = [], []
    for i in range(start, stop):
        largest = [int(j) for j in np.argsort(-weights[i], kind="stable")[:MOST_KEYS] if weights[i, j] > 0]
        keys = [j for j in largest if start <= j < stop]
        rows.append([[j - start, round(float(weights[i, j]), 3)] for j in keys])
        # what the file does not keep, and what is kept and not shown
        elsewhere.append(float(pattern.dropped[i] + weights[i].sum() - weights[i, keys].sum()))
    effect = exemplar.effect
    said = [f"largest look {plain(exemplar.value)}"]
    if np.isfinite(effect):
        said.append(f"without the head, log-probability {signed(effect, digits_for(abs(effect)))} nats")
    cut = f"tokens {start} to {stop - 1} of {n}" if stop - start < n else ""
    return {
        "prompt": exemplar.prompt,
        "family": label_of(prompt.family),
        "said": " · ".join(part for part in (*said, cut) if part),
        "tokens": [visible(text) for text in prompt.strings[start:stop]],
        "rest": [round(float(x), 3) for x in inner[:, start:stop].max(0)],
        "rows": rows,
        "dropped": [round(max(x, 0.0), 3) for x in elsewhere],
    }


def largest_look(weights: np.ndarray) -> tuple[int, int]:
    """Where a pattern, [query, key], is largest, the first position left out: query and key."""
    inner = _without_first(weights)
    query, key = np.unravel_index(int(inner.argmax()), inner.shape)
    return int(query), int(key)


def _without_first(weights: np.ndarray) -> np.ndarray:
    inner = weights.copy()
    inner[:, 0] = 0  # the first position takes what is not wanted elsewhere
    return inner


def histogram_section(atlas: Atlas, head: HeadId, where: str = "text") -> dict:
    """On how many prompts the head looks hard at something."""
    title = "Its hardest look on each prompt"
    if where not in atlas.exemplars or "histogram" not in atlas.exemplars[where]:
        return {"kind": "empty", "title": title, "text": "This atlas holds no exemplars."}
    counts = np.asarray(atlas.exemplars[where]["histogram"].values[head.layer, head.head], dtype=int)
    top, n = max(1, int(counts.max())), len(counts)
    bins = [
        {"text": f"{count(x)} prompts with a largest attention of {i / n:.2f} to {(i + 1) / n:.2f}", "t": x / top}
        for i, x in enumerate(counts)
    ]
    return {
        "kind": "profile",
        "title": title,
        "lead": f"{count(int(counts.sum()))} prompts of {SETS[where]} by the head’s largest attention, the first "
        "position left out.",
        "scale": f"tallest bar {count(top)} prompts",
        "hint": f"tallest bar {count(top)} prompts; point at a bar, or use the arrow keys",
        "ticks": ["0", "largest attention", "1"],
        "apart": False,
        "saved": saved(
            ["from", "to", "prompts"], ([i / n, (i + 1) / n, x] for i, x in enumerate(counts)), prompts_of=SETS[where]
        ),
        "bins": bins,
    }


def looked_at_section(atlas: Atlas, head: HeadId, where: str = "text") -> dict:
    """The tokens that the head looks from and at far more than an even head would."""
    title = "Tokens it looks from, and at"
    needed = ("token_id", "token_share", "token_lift", "token_count")
    if where not in atlas.exemplars or any(name not in atlas.exemplars[where] for name in needed):
        return {"kind": "empty", "title": title, "text": "This atlas holds no exemplars."}
    group = atlas.exemplars[where]
    columns, table = [], []
    for side, words in (("query", "looks from"), ("key", "looks at")):
        parts = [group[name].sel(side=side, order="lift").values[head.layer, head.head] for name in needed]
        rows = []
        top = float(np.nanmax(parts[2])) if np.isfinite(parts[2]).any() else 1.0
        for token, share, lift, n in list(zip(*parts, strict=True))[:TOKENS_SHOWN]:
            if token >= 0 and np.isfinite(lift):
                text = f"{plain(float(lift), 1)}×"
                detail = f"{percent(float(share))} of its attention, {plain(float(lift), 1)} times an even head’s; "
                detail += f"occurs {count(float(n))} times"
                t = float(lift) / top if top > 0 else 0.0
                shown = token_text(atlas, int(token))
                rows.append({"token": shown, "t": t, "text": text, "title": detail})
                table.append([words, int(token), shown, float(lift), float(share), int(n)])
        columns.append({"title": words, "sign": 0, "rows": rows})
    return {
        "kind": "tokens",
        "title": title,
        "lead": f"Ranked by lift, on {SETS[where]}: how many times more attention a token makes up than with a head "
        "that attends evenly. " + EXEMPLARS["token_lift"].pitfall,
        "columns": columns,
        "saved": saved(["side", "token_id", "token", "lift", "share", "count"], table, prompts_of=SETS[where]),
    }
