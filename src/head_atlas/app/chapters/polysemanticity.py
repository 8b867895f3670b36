"""Polysemanticity: one head, several unrelated jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from head_atlas.app.chapters.chapter import Chapter, Finding, Plan, Section
from head_atlas.app.chapters.picks import effects, labels, stored_of
from head_atlas.app.chapters.running import asked_next, first_choice, keeps, three_rows, without, words_of
from head_atlas.errors import AtlasError
from head_atlas.heads import HeadId
from head_atlas.measures.significance import participation_ratio
from head_atlas.views.choices import label_of

if TYPE_CHECKING:
    from head_atlas.models import HeadModel
    from head_atlas.store import Atlas

CHOICES = {
    "both": "Both answers suffer.",
    "first": "Only the first answer suffers.",
    "second": "Only the second answer suffers.",
    "neither": "Neither: each keeps at least nine tenths of its probability.",
}
_JOBS = ("bigram", "brackets", "list_format", "fact", "opposite", "subject_verb", "pronoun", "successor", "ioi",
         "colored_objects", "greater_than", "natural_repeat")  # fmt: skip
"""Families that ask for different things."""


def plan(atlas: Atlas, seed: int) -> Plan:
    """The head whose cost spreads over most families, and the two that it costs most."""
    measured = effects(atlas)
    jobs = [f for f in _JOBS if f in measured]
    if len(jobs) < 2:
        raise AtlasError("This atlas holds effects on fewer than two families with different jobs.")
    cost = np.nan_to_num(-np.stack([measured[f] for f in jobs], axis=-1)).clip(0, None)
    # A head that costs next to nothing anywhere spreads evenly by chance alone.
    spread = np.where(cost.sum(-1) >= 0.1 * cost.sum(-1).max(), participation_ratio(cost, axis=-1), -np.inf)
    flat = int(np.argmax(spread))
    head = HeadId(flat // spread.shape[1], flat % spread.shape[1])
    order = np.argsort(-cost[head.layer, head.head])
    chosen = []
    for index in order:
        stored = stored_of(atlas, jobs[index])
        if stored:
            chosen.append((jobs[index], stored[seed % len(stored)]))
        if len(chosen) == 2:
            break
    if len(chosen) < 2:
        raise AtlasError("This atlas holds no prompts of two families that its model answers right.")
    totals = cost.sum(-1)
    totals[head.layer, head.head] = np.inf
    control = HeadId(head.layer, int(np.argmin(totals[head.layer])))
    if control == head:
        raise AtlasError("Too few heads of this model are left for a control.")
    (one, first), (two, second) = chosen
    return Plan(
        (
            ("First prompt", f"{first.text} …  ({label_of(one)})"),
            ("Second prompt", f"{second.text} …  ({label_of(two)})"),
            ("Removed", f"{head.label}: its cost spreads over {spread[head.layer, head.head]:.1f} of {len(jobs)} kinds "
             "of prompts (participation ratio), more than that of any other head that matters; these two it costs "
             "most"),
            ("Control", f"{labels([control])}: of the same layer, the one that costs these kinds least"),
        ),
        first,
        heads=(head,),
        control=(control,),
        family=one,
        second=second,
    )  # fmt: skip


def run(model: HeadModel, plan: Plan) -> Finding:
    """Remove one head from two prompts that have nothing to do with each other."""
    assert plan.second is not None
    groups, hurt, calm, sure = [], [], [], []
    for prompt in (plan.prompt, plan.second):
        removed, instead = without(model, prompt, plan.heads), without(model, prompt, plan.control)
        hurt.append(not keeps(removed))
        calm.append(keeps(instead))
        sure.append(first_choice(removed, "clean"))
        before = " ".join(t.strip() for t in words_of(model, removed))
        groups.append((f"After “{before}”: {asked_next(model, removed)}", three_rows(model, removed, instead)))
    outcome = {(True, True): "both", (True, False): "first", (False, True): "second"}.get((hurt[0], hurt[1]), "neither")
    numbers = "; ".join(
        f"{place} answer: {rows[0].text} with all heads, {rows[1].text} without {plan.heads[0].label}, {rows[2].text} "
        "without the control"
        for place, (_, rows) in zip(("first", "second"), groups, strict=True)
    )
    end = "" if all(calm) else " The control matters here too, so these prompts alone do not single the head out."
    if not all(sure):
        end += " With all its heads, the model’s first choice is another word on one of them or both."
    return Finding((), tuple(groups), outcome, f"{numbers[:1].upper()}{numbers[1:]}.{end}", then=False)


CHAPTER = Chapter(
    "polysemanticity",
    "Polysemanticity: one part, many jobs",
    (
        Section("", (
            "It would be convenient if every part of a model had one job. In a model that sorts pictures, researchers "
            "found one neuron that lit up for the faces of cats, and for the fronts of cars as well. A part that takes "
            "part in several unrelated things is called polysemantic, from the Greek for many meanings.",
            "Heads are no different. One that helps to close brackets may also help to finish fixed pairs of words. "
            "There can be a hidden common ground: both might need to know what stood a little way back. Or there may "
            "be none, and two jobs share one place because places are few. A head has more room for this than a "
            "neuron: it can write its jobs into different directions, so it need not be in superposition, which is "
            "the next chapter.",
        )),
        Section("How it is measured here", (
            "For every kind of prompt, the atlas has what removing a head costs. If the whole cost falls on one kind, "
            "the head counts as one job; if it spreads evenly over ten, as ten. That number is the participation "
            "ratio.",
        )),
    ),
    "Predict: without this head, which of two unrelated answers suffers?",
    CHOICES,
    plan,
    run,
    (
        "The two kinds were chosen because the head matters for them on average, so this is an example, not a test of "
        "that. Whether both rest on one hidden skill, removing the head cannot say: see what it attends to on its "
        "card.",
    ),
    ("olah2020", "elhage2022", "janiak2023", "luger2026", "gao2017"),
    "Other prompts",
)  # fmt: skip
