"""Superposition: more directions than dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from head_atlas.app.chapters.chapter import Chapter, Finding, Plan, Row, Section
from head_atlas.errors import NotApplicableError
from head_atlas.views.numbers import plain
from head_atlas.views.superposition import superposition_props

if TYPE_CHECKING:
    from head_atlas.models import HeadModel
    from head_atlas.store import Atlas

N_VECTORS = 2048
CHOICES = {
    "less": "Less than random directions: the model keeps its words neatly apart.",
    "same": "About as random directions (within a tenth).",
    "more": "More than random directions.",
}


def plan(atlas: Atlas, seed: int) -> Plan:  # noqa: ARG001  nothing is drawn
    """Nothing is chosen: all of the model's tokens, or a sample of them."""
    width, words = atlas.provenance.get("d_model"), atlas.provenance.get("d_vocab")
    sizes = f"{words} tokens in {width} dimensions" if width and words else "every token in the model’s space"
    return Plan(
        (
            ("This model", sizes),
            ("Measured", f"the overlap of every pair among up to {N_VECTORS} tokens: the size of the cosine between "
             "their embeddings, 0 at a right angle and 1 for the same direction; what all tokens share is taken out "
             "first"),
            ("Control", "as many random directions in as many dimensions"),
        )
    )  # fmt: skip


def run(model: HeadModel, plan: Plan) -> Finding:  # noqa: ARG001  it has no settings
    """Cosines between token directions, against random ones."""
    from head_atlas.measures.superposition import interference

    found = interference(model, n_vectors=N_VECTORS)
    if "embedding" in found.not_applicable:
        raise NotApplicableError(found.not_applicable["embedding"])
    stats = found.values.coords["statistic"]
    mean, tail = stats.index("mean_abs_cos"), stats.index("abs_cos_q0.99")
    values = np.asarray(found.values.values)[0, 1]
    chance = np.asarray(found.random.values)
    ratio = float(values[mean] / chance[mean])
    outcome = "same" if abs(ratio - 1) <= 0.1 else "more" if ratio > 1 else "less"
    groups = tuple(
        (
            question,
            (
                Row("tokens of this model", "ablated", float(values[i]), plain(float(values[i]), 3)),
                Row("random directions (control)", "control", float(chance[i]), plain(float(chance[i]), 3)),
            ),
        )
        for question, i in (
            ("How much do two tokens overlap, on average?", mean),
            ("And the one pair in a hundred that overlaps most: at least how much?", tail),
        )
    )
    return Finding(
        (),
        groups,
        outcome,
        f"Over all pairs of {found.n_vectors} tokens, the mean overlap is {plain(float(values[mean]), 3)}; of random "
        f"directions it is {plain(float(chance[mean]), 3)}. So {found.n_vectors} directions share {model.d_model} "
        f"dimensions, at {plain(ratio, 1)} times the overlap of chance.",
        then=False,
    )


CHAPTER = Chapter(
    "superposition",
    "Superposition: more meanings than room",
    (
        Section("", (
            "A model’s inner state is a list of numbers, a few hundred or a few thousand of them. Think of each number "
            "as a direction you can walk in. In a room there are three directions at right angles; in a space of 200 "
            "dimensions there are 200. But a model seems to keep far more apart than that: every word, tense, tone and "
            "topic it knows. These are its features.",
            "The way out is to let directions overlap a little. In many dimensions there is room for a great many "
            "directions that are almost at right angles. As long as only few features are present at a time, the "
            "overlap does little harm: one looks faintly like another, which is called interference. Keeping more "
            "features than dimensions in this way is superposition.",
            "It is thought to be one reason why single neurons seldom mean one thing. Dictionary learning tries to "
            "undo it: it looks for a long list of directions, few in use at a time, of which every inner state is "
            "made.",
        )),
    ),
    "Predict: how much do the directions of two tokens overlap in this model, beside chance?",
    CHOICES,
    plan,
    run,
    (
        "Overlap is what superposition would need, not proof of it: related words share a direction for good reasons, "
        "and a model that uses few of its dimensions crowds them as well.",
    ),
    ("elhage2022", "bricken2023", "cunningham2023", "gurnee2023", "gao2017"),
    "",
    superposition_props,
)  # fmt: skip
