"""Head categories: a name for what a head does holds on some texts and not on others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from head_atlas.app.chapters.chapter import Chapter, Finding, Plan, Section
from head_atlas.app.chapters.picks import control_of, effects, induction_heads_of, labels, score, stored_of
from head_atlas.app.chapters.running import asked_next, expected, keeps, three_rows, without, words_of
from head_atlas.app.experiments import repeated_words, vocabulary
from head_atlas.errors import AtlasError
from head_atlas.views.choices import label_of

if TYPE_CHECKING:
    from head_atlas.models import HeadModel
    from head_atlas.store import Atlas

CHOICES = {
    "repetition": "Only the repeated words: that is what the category is about.",
    "both": "Both prompts.",
    "other": "Only the other prompt.",
    "neither": "Neither: each expected token keeps at least nine tenths of its probability.",
}
_UNLIKE = ("brackets", "successor", "bigram", "subject_verb", "reflexive", "completion", "opposite")
"""Families in which nothing has to be repeated. A numbered list is none: its signs come again."""


def plan(atlas: Atlas, seed: int) -> Plan:
    """All induction heads; the second prompt is of the family that they, one by one, cost least."""
    heads = induction_heads_of(atlas)
    measured = effects(atlas)
    choice = [f for f in _UNLIKE if f in measured]
    if not choice:
        raise AtlasError("This atlas holds no effects on a family in which nothing is repeated.")
    order = sorted(choice, key=lambda f: float(np.nansum([abs(measured[f][h.layer, h.head]) for h in heads])))
    family = next((f for f in order if stored_of(atlas, f)), "")
    if not family:
        raise AtlasError("This atlas holds no prompt in which nothing is repeated and that its model answers right.")
    stored = stored_of(atlas, family)
    second = stored[seed % len(stored)]
    control = control_of(score(atlas, "induction"), heads)
    words, target = repeated_words(seed, vocabulary(atlas))
    return Plan(
        (
            ("First prompt", f"{words.strip()} …"),
            ("Second prompt", f"{second.text} …"),
            ("Removed", f"{labels(heads)}: the induction heads of this model, by their score"),
            ("Control", f"{labels(control)}: as many heads with hardly any such score"),
            ("Why that prompt", f"of the family “{label_of(family)}”, which these heads cost least, one by one"),
        ),
        words,
        target,
        tuple(heads),
        control,
        "rand_repeat",
        second,
    )


def run(model: HeadModel, plan: Plan) -> Finding:
    """Remove the heads from a prompt that repeats and from one that does not."""
    assert plan.second is not None
    repeated = without(model, plan.prompt, plan.heads, plan.target)
    repeated_control = without(model, plan.prompt, plan.control, plan.target)
    other = without(model, plan.second, plan.heads)
    other_control = without(model, plan.second, plan.control)
    hurt = (not keeps(repeated), not keeps(other))
    outcome = {(True, True): "both", (True, False): "repetition", (False, True): "other"}.get(hurt, "neither")
    rows = three_rows(model, repeated, repeated_control)
    more = three_rows(model, other, other_control)
    words = " ".join(t.strip() for t in words_of(model, other))
    said = (
        f"The repeated word went from {rows[0].text} to {rows[1].text} (control {rows[2].text}); the second answer "
        f"from {more[0].text} to {more[1].text} (control {more[2].text})."
    )
    if not (keeps(repeated_control) and keeps(other_control)):
        said += " The control matters here too, so these prompts alone do not single the heads out."
    outcome, said = expected(repeated, outcome, said)
    return Finding(
        words_of(model, repeated),
        ((asked_next(model, repeated), rows), (f"And after “{words}”: {asked_next(model, other)}", more)),
        outcome,
        said,
    )


CHAPTER = Chapter(
    "categories",
    "Head categories: names, and how far they carry",
    (
        Section("", (
            "People who study heads give them names. A previous-token head looks one token back. A duplicate-token "
            "head finds earlier copies of the word it stands on. An induction head reads on from there. A name mover "
            "copies a name to where one is due; a successor head turns Monday into Tuesday; others follow grammar, "
            "from a verb to its subject. Some only rest on the first token.",
            "Such a name is a claim, and it can be right in three ways. The head attends like one: its pattern fits. "
            "It writes like one: its weights promote the right words. It matters like one: removing it harms just "
            "those texts that need the job. This atlas lists which of the three hold, and how far beyond chance. Many "
            "heads earn no name at all, and some earn several.",
        )),
        Section("Where the name should hold", (
            "A good name also says where a head should not matter. Take away all heads called induction heads. Words "
            "that repeat should suffer. A text in which nothing comes again should not.",
        )),
    ),
    "Predict: without the induction heads, which of the two prompts suffers?",
    CHOICES,
    plan,
    run,
    (
        "The second prompt is of the kind that these heads cost least, one by one; on others they may matter more, as "
        "their cards show. A name is a summary of measurements, never more than that.",
    ),
    ("voita2019", "clark2019", "wang2022", "merullo2023", "gould2023", "mcdougall2023", "luger2026"),
)  # fmt: skip
