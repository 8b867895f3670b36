"""Circuits: an induction head cannot find its place without the head below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from head_atlas.app.chapters.chapter import Chapter, Finding, Plan, Row, Section
from head_atlas.app.chapters.picks import LOOKS_BACK, control_of, induction_heads_of, labels, score, strongest
from head_atlas.app.chapters.running import asked_next, three_rows, without, words_of
from head_atlas.app.experiments import repeated_words, vocabulary, whence
from head_atlas.app.lab_view import heads_text
from head_atlas.errors import AtlasError, PromptError
from head_atlas.views.numbers import percent, plain

if TYPE_CHECKING:
    from head_atlas.live import Ablation
    from head_atlas.live.experiment import Run
    from head_atlas.models import HeadModel
    from head_atlas.store import Atlas

CHOICES = {
    "same": "They look where they looked: at least nine tenths of that attention stays.",
    "weaker": "They look there less, but at least half of it stays.",
    "lost": "They lose their place: less than half of it stays.",
}
N_WORDS = 8
LEAST = 0.1
"""Share of their attention below which the readers are not looking at the right place in the first place."""


def plan(atlas: Atlas, seed: int) -> Plan:
    """The best previous-token head below the first induction head; readers are the induction heads."""
    readers = induction_heads_of(atlas)
    looks = score(atlas, "previous_token")
    lowest = min(head.layer for head in readers)
    if lowest == 0:
        raise AtlasError("The best induction head of this model stands in its first layer, so nothing lies below it.")
    head = strongest(looks, below=lowest)
    if (excess := float(looks[head.layer, head.head])) < LOOKS_BACK:
        raise AtlasError(
            "Below the induction heads of this model no head looks at the previous token: the highest excess is that "
            f"of {head.label}, {plain(excess)} of 1."
        )
    control = control_of(looks, [head])
    words, target = repeated_words(seed, vocabulary(atlas), N_WORDS)
    return Plan(
        (
            ("Prompt", f"{words.strip()} …"),
            ("Expected next", target.strip()),
            ("Watched", f"{labels(readers)}: the induction heads; how much of the attention from the last word goes to "
             f"the earlier “{target.strip()}”"),
            ("Removed", f"{head.label}: below them, the head that looks most at the previous token (excess "
             f"{excess:.2f} of 1)"),
            ("Control", f"{labels(control)}: {whence([head], control)}, with that excess closest to 0"),
        ),
        words,
        target,
        (head,),
        control,
        "rand_repeat",
        readers=tuple(readers),
    )  # fmt: skip


def run(model: HeadModel, plan: Plan) -> Finding:
    """Read the induction heads' attention with and without the head below them."""
    removed = without(model, plan.prompt, plan.heads, plan.target)
    instead = without(model, plan.prompt, plan.control, plan.target)
    bos = len(model.policy.prefix)
    if len(removed.tokens) != bos + N_WORDS + N_WORDS // 2:
        raise PromptError("not every word of this prompt is one token of this model; try other words")
    place = bos + N_WORDS // 2

    def looking(run: Ablation, which: Run) -> float:
        shares = [run.pattern(head, which).values[-1, place] for head in plan.readers]
        return float(np.mean(shares))

    before, after, control = looking(removed, "clean"), looking(removed, "ablated"), looking(instead, "ablated")
    outcome = "same" if after >= 0.9 * before else "weaker" if after >= 0.5 * before else "lost"
    said = (
        f"Their attention to the right place went from {percent(before)} to {percent(after)}; without the control it "
        f"is {percent(control)}. Those heads themselves were left alone in all three runs."
    )
    if control < 0.9 * before:
        said += " The control moves them too, so these words alone do not single the head below out."
    if before < LEAST:
        outcome, said = "", f"{said} But they hardly looked there with all heads in place. Try other words."
    rows = (
        Row("all heads", "clean", before, percent(before)),
        Row(f"without {labels(plan.heads)}", "ablated", after, percent(after)),
        Row(f"without {labels(plan.control)} (control)", "control", control, percent(control)),
    )
    return Finding(
        words_of(model, removed),
        (
            (_question(plan), rows),
            (asked_next(model, removed), three_rows(model, removed, instead)),
        ),
        outcome,
        said,
    )


def _question(plan: Plan) -> str:
    if len(plan.readers) == 1:
        return f"How much does {heads_text(plan.readers)} look at the right place?"
    return f"How much do {heads_text(plan.readers)} look at the right place, on average?"


CHAPTER = Chapter(
    "circuits",
    "Circuits: heads that need each other",
    (
        Section("", (
            "Heads do not talk to each other directly. Each reads the residual stream, a running sum that every token "
            "carries up through the layers, and adds its own line to it. A later head may read that line. When a few "
            "parts work together in this way, and most of the rest can be left out, they are called a circuit.",
            "The best known one has two steps. To read on from last time, an induction head must find the place that "
            "comes after the earlier copy of its word. But places are found by what they carry, and a word does not by "
            "itself carry the word before it. So a head in a lower layer writes it there: at each place, it adds a "
            "note that says which token came just before. The induction head looks for the place whose note matches "
            "the word it stands on. One head writes into what another looks for: this is called composition.",
        )),
        Section("A test of the link", (
            "If that is the mechanism, then removing the lower head should not merely harm the answer. The induction "
            "heads, untouched, should look elsewhere.",
        )),
    ),
    "Predict: without the head below, where do the induction heads look?",
    CHOICES,
    plan,
    run,
    (
        "If they lose their place, the lower head is needed, but the run does not say by which of its effects: path "
        "patching in the Lab follows one route at a time. If they keep it, other heads may write the same note.",
    ),
    ("elhage2021", "olsson2022", "wang2022", "goldowskydill2023", "conmy2023", "merullo2024", "chan2022"),
)  # fmt: skip
