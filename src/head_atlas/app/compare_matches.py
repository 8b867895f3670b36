"""The table of matched heads: who behaves like whom in the other model, with roles, scores and effects of both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from head_atlas.app.page_state import PageState
from head_atlas.heads import HeadId
from head_atlas.measures.significance import FALSE_DISCOVERIES
from head_atlas.views.choices import EVERY_FAMILY, effects_of, score_families
from head_atlas.views.head_roles import held_roles, role_label
from head_atlas.views.head_values import HeadValues, q_text
from head_atlas.views.measured import values_of
from head_atlas.views.numbers import MISSING, finite, plain, signed
from head_atlas.views.saved import source_of
from head_atlas.views.scales import digits_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from head_atlas.exchange import Match, Matching
    from head_atlas.store import Atlas

_SCORES = ("induction", "previous_token", "duplicate_token", "sink")
_EFFECTS = ("logit_difference", "logprob")


def matches_props(found: Matching, atlases: Mapping[str, Atlas], default: str, mode: str) -> dict:
    """What the table draws.

    Args:
        found: the matched heads.
        atlases: by name of the model, the first and the second.
        default: the model that an address without one means.
        mode: of the effects.
    """
    first, second = atlases
    shown = [
        (values_of(atlases[first], *place), values_of(atlases[second], *place)) for place in _shared(atlases, mode)
    ]
    both = (first, second)
    # Label, whether it is a number, and the columns of the files.
    plain_columns = [
        (f"head of {first}", False, [f"head of {first}"]),
        (f"its match in {second}", False, [f"match in {second}"]),
        ("similarity", True, ["similarity"]),
        ("relative depth of both", True, [f"relative depth in {name}" for name in both]),
        ("better than chance?", True, ["better than chance", "q"]),
        (f"roles in {first}", False, [f"roles in {first}"]),
        (f"roles in {second}", False, [f"roles in {second}"]),
    ]
    return {
        "title": f"Heads of {first} and {second}, matched",
        "columns": [
            *({"label": label, "number": number, "saved": saved} for label, number, saved in plain_columns),
            *(
                {
                    "label": f"{one.label}: {first} | {second}",
                    "number": True,
                    "saved": [f"{one.label}, {one.unit}: {name}" for name in both],
                }
                for one, _ in shown
            ),
        ],
        "rank": 2,
        "about": {"first": source_of(atlases[first]), "second": source_of(atlases[second]), "mode": mode},
        "rows": [_row(match, atlases, default, shown) for match in found.matches],
        "note": f"{len(found.pairs)} pairs; heads without a match follow. Pointing at a number says its interval. "
        + (f"No q values: {found.untested}." if found.untested else f"Better than chance: q ≤ {FALSE_DISCOVERIES}."),
    }


def _shared(atlases: Mapping[str, Atlas], mode: str) -> list[tuple[str, str, str]]:
    """(measure, mode, family) of what both models have and the table shows."""
    both = list(atlases.values())
    found = []
    for name in _SCORES:
        families = [f for f in score_families(both[0], name) if f in score_families(both[1], name)]
        found += [(name, "", families[0])] if families else []
    for name in _EFFECTS:
        if mode and all(name in effects_of(atlas) for atlas in both):
            of = [_families_with(atlas, name, mode) for atlas in both]
            common = [f for f in of[0] if f in of[1]]
            # A mean over other families would be another number.
            if of[0] == common == of[1] and all(f"{name}_macro" in atlas.summary for atlas in both):
                found.append((name, mode, EVERY_FAMILY))
            elif common:
                found.append((name, mode, common[0]))
    return found


def _families_with(atlas: Atlas, effect: str, mode: str) -> list[str]:
    means = atlas.summary[f"{effect}_mean"].sel(mode=mode)
    return [f for f in atlas.families if np.isfinite(means.sel(family=f).values).any()]


def _row(match: Match, atlases: Mapping[str, Atlas], default: str, shown: list[tuple[HeadValues, HeadValues]]) -> dict:
    (one, first), (two, second) = atlases.items()
    heads = (match.head, match.other)
    links = [_link(name, head, default) for name, head in zip((one, two), heads, strict=True)]
    roles = [_roles(atlas, head) for atlas, head in zip((first, second), heads, strict=True)]
    paired = match.head is not None and match.other is not None
    return {
        "cells": [
            links[0] or _alone(match),
            links[1] or _alone(match),
            {
                "text": plain(match.similarity) if paired else MISSING,
                "sort": finite(match.similarity) if paired else None,
                "title": _why_similar(match),
                "saved": [finite(match.similarity) if paired else None],
            },
            _depths(match, first, second),
            _chance(match, paired),
            *roles,
            *(_both(values, heads) for values in shown),
        ]
    }


def _link(model: str, head: HeadId | None, default: str) -> dict[str, Any] | None:
    if head is None:
        return None
    state = PageState(tab="atlas", model="" if model == default else model, head=str(head))
    return {
        "text": head.label,
        "sort": head.layer * 10_000 + head.head,
        "query": state.query(),
        "saved": [str(head)],
    }


def _alone(match: Match) -> dict[str, Any]:
    """In place of the head that is missing."""
    if match.nearest is None:
        why = "Too little was measured of both for a comparison."
        return {"text": "none", "sort": None, "title": why, "saved": [None]}
    return {
        "text": "none",
        "sort": None,
        "saved": [None],
        "title": f"The nearest there is {match.nearest.label} (similarity {plain(match.similarity)}), "
        "but that head is nearer to another one.",
    }


def _why_similar(match: Match) -> str:
    if not np.isfinite(match.similarity):
        return "too little was measured of both heads"
    return (
        f"cosine {signed(match.similarity, 3)} over {match.n} entries; "
        f"{signed(match.nearness, 3)} less the price of depth"
    )


def _depths(match: Match, first: Atlas, second: Atlas) -> dict[str, Any]:
    depths = [
        None if head is None else (head.layer + 0.5) / atlas.n_layers
        for head, atlas in ((match.head, first), (match.other, second))
    ]
    found = [MISSING if depth is None else f"{100 * depth:.0f} %" for depth in depths]
    paired = match.head is not None and match.other is not None
    return {
        "text": " | ".join(found),
        "sort": finite(match.depth) if paired else None,
        "title": f"{plain(100 * match.depth, 0)} % of the depth apart" if paired else "",
        "saved": depths,
    }


def _chance(match: Match, paired: bool) -> dict[str, Any]:
    if not paired:
        return {"text": MISSING, "sort": None, "title": "no match to ask this of", "saved": [None, None]}
    if not np.isfinite(match.q):
        why = "too few heads, or too little measured, to know chance"
        return {"text": "unknown", "sort": None, "title": why, "saved": [None, None]}
    text = f"{'yes' if match.beyond_chance else 'no'}, {q_text(match.q)}"
    return {"text": text, "sort": match.q, "title": "", "saved": [bool(match.beyond_chance), match.q]}


def _roles(atlas: Atlas, head: HeadId | None) -> dict[str, Any]:
    names = [] if head is None else [role_label(name) for name in held_roles(atlas, head)]
    return {"text": ", ".join(names) or MISSING, "sort": len(names) or None, "title": "", "saved": [", ".join(names)]}


def _both(values: tuple[HeadValues, HeadValues], heads: tuple[HeadId | None, HeadId | None]) -> dict[str, Any]:
    texts, titles, keys = [], [], []
    saved: list[float | None] = []
    for side, head in zip(values, heads, strict=True):
        if head is None:
            texts.append(MISSING)
            saved.append(None)
            continue
        at = (head.layer, head.head)
        x = float(side.values[at])
        form = signed if side.signed else plain
        star = "*" if side.clear(*at) is False else ""
        texts.append(f"{form(x, digits_for(abs(x)))}{star}" if np.isfinite(x) else MISSING)
        titles.append(f"{head.label}: {side.text(*at)}")
        keys.append(finite(x))
        saved.append(finite(x))
    return {"text": " | ".join(texts), "sort": keys[0], "title": "; ".join(titles), "saved": saved}
