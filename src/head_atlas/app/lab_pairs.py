"""Pairs of heads in the Lab: how far removing both is from removing one by one, and which pairs hold."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from head_atlas.catalogue import EFFECTS
from head_atlas.measures.significance import FALSE_DISCOVERIES
from head_atlas.views import blocks
from head_atlas.views.head_values import q_text
from head_atlas.views.numbers import interval, plain, signed

if TYPE_CHECKING:
    from head_atlas.live import Interactions
    from head_atlas.measures.circuits import OverPrompts

TOP_ROWS = 10


def with_interval(one: OverPrompts, *index: int, digits: int = 2) -> str:
    """A mean with its interval, where it has one."""
    mean, low, high = (float(np.asarray(part.values)[index]) for part in (one.mean, one.low, one.high))
    return f"{signed(mean, digits)} {interval(low, high, digits, sign=True)}".strip()


def shown_pairs(found: Interactions, over: str) -> list[dict]:
    """The matrix of all pairs, the strongest as a table, and what the test of them can say.

    Args:
        found: the interactions.
        over: what they are over, in words.
    """
    labels = [head.label for head in found.heads]
    values, q = np.asarray(found.interaction.mean.values, float), np.asarray(found.q.values, float)
    sure, heads = q <= FALSE_DISCOVERIES, range(len(labels))
    texts = [
        [
            f"D = {signed(float(found.harm.mean.values[i]), 2)} alone"
            if i == j
            else f"I = {with_interval(found.interaction, i, j)}; {q_text(q[i, j])}; "
            f"D = {with_interval(found.pair_harm, i, j)} together"
            for j in heads
        ]
        for i in heads
    ]
    short = [["" if i == j else signed(values[i, j], 2) + "*" * bool(sure[i, j]) for j in heads] for i in heads]
    chosen = (
        f"the {len(labels)} heads whose removal harms these prompts most, so their own D is too high"
        if found.chosen_by_harm
        else "the removed heads"
    )
    unit = EFFECTS[found.metric].unit
    pairs = sorted(combinations(heads, 2), key=lambda pair: -abs(values[pair]))
    rows = [
        [
            f"{labels[i]}, {labels[j]}",
            f"{with_interval(found.interaction, i, j)} {unit}",
            q_text(q[i, j]),
            _story(values[i, j]),
        ]
        for i, j in pairs[:TOP_ROWS]
    ]
    return [
        blocks.matrix(
            values,
            title=f"Interaction of {chosen}; over {over}",
            rows=labels,
            columns=labels,
            unit=f"{unit}: above 0 they stand in for each other, below 0 one path",
            short=short if len(labels) <= 12 else None,
            texts=texts,
            axes=("head", "head"),
        ),
        blocks.table(
            f"The strongest {len(rows)} of {len(pairs)} pairs" if len(pairs) > 1 else "The one pair",
            ("Pair", "Interaction", "q over all pairs", "If it holds"),
            rows,
            marked=[bool(sure[pair]) for pair in pairs[:TOP_ROWS]],
        ),
        blocks.text(_tested(found, int(sure.sum()) // 2, len(pairs))),
    ]


def _story(value: float) -> str:
    if abs(value) < 0.005:  # shown as 0.00
        return "–"
    return "stand in for each other" if value > 0 else "one path, or saturation"


def _tested(found: Interactions, n_sure: int, n_pairs: int) -> str:
    """What the q values say, and what they could have said."""
    from head_atlas.measures.circuits import prompt_clusters

    labels = prompt_clusters(found.prompts)
    n = len(set(labels) - {-1}) + labels.count(-1)
    if n < 2:
        return "One prompt, or prompts of one template, cannot be tested: choose a family to see which pairs hold."
    least = 2.0 ** (1 - n)
    few = ""
    if n_pairs * least > FALSE_DISCOVERIES:
        few = f" {n} templates give no p under {plain(least, 3)}, too few for a pair that stands alone: take more."
    chosen = ""
    if found.chosen_by_harm:
        chosen = " Choosing the heads by their harm on these prompts may pull I below 0, which q does not allow for."
    return (
        f"* and a mark: q of {plain(FALSE_DISCOVERIES, 2)} or less over all {n_pairs} pairs (Benjamini and Hochberg), "
        f"by flipping the signs of whole templates, or of prompts without one: {n_sure} of {n_pairs} pairs.{few}"
        f"{chosen}"
    )
