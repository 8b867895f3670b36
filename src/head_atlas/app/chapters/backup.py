"""Where the folk story fails: a small single effect does not mean an unimportant head."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from head_atlas.app.chapters.chapter import Chapter, Finding, Plan, Row, Section
from head_atlas.app.chapters.picks import control_of, labels, score
from head_atlas.app.chapters.running import asked_next, expected, probability, three_rows, without, words_of
from head_atlas.app.experiments import repeated_words, vocabulary
from head_atlas.errors import AtlasError
from head_atlas.views.induction import RULE, induction_heads
from head_atlas.views.numbers import percent, plain

if TYPE_CHECKING:
    from head_atlas.models import HeadModel
    from head_atlas.store import Atlas

MOST = 8
LEAST = 0.1
"""Nats: where neither the sum nor the joint loss comes to this, their ratio says nothing."""

CHOICES = {
    "sum": "About what the single losses add up to (between half and twice that).",
    "more": "More than twice what the single losses add up to.",
    "less": "Less than half of what the single losses add up to.",
}


def plan(atlas: Atlas, seed: int) -> Plan:
    """All induction heads, up to `MOST`; at least two are needed."""
    scores = score(atlas, "induction")
    found = induction_heads(atlas)
    heads = found[:MOST]
    if len(heads) < 2:
        raise AtlasError(
            f"This model has fewer than two induction heads (heads with an {RULE}), so there is no group to take away."
        )
    control = control_of(scores, heads)
    words, target = repeated_words(seed, vocabulary(atlas))
    return Plan(
        (
            ("Prompt", f"{words.strip()} …"),
            ("Expected next", target.strip()),
            ("Removed", f"{labels(heads)}: {_which(len(found))}first one at a time, then all at once"),
            ("Control", f"{labels(control)}: as many other heads, all at once"),
            ("Measured", "what is lost of the expected word’s log-probability, in nats: there, independent losses "
             "simply add up"),
        ),
        words,
        target,
        tuple(heads),
        control,
        "rand_repeat",
    )  # fmt: skip


def _which(n: int) -> str:
    """Said where a model has more induction heads than are removed."""
    return f"the {MOST} strongest of its {n} induction heads; " if n > MOST else ""


def run(model: HeadModel, plan: Plan) -> Finding:
    """Each head alone, all at once, and the controls."""
    singles = [without(model, plan.prompt, (head,), plan.target) for head in plan.heads]
    all_gone = without(model, plan.prompt, plan.heads, plan.target)
    instead = without(model, plan.prompt, plan.control, plan.target)
    losses = [float(-one.effects["logprob"]) for one in singles]
    added, joint = float(np.sum(losses)), float(-all_gone.effects["logprob"])
    clean = probability(all_gone, "clean")
    summed = min(1.0, clean * float(np.exp(-added)))
    if added <= 0:
        outcome = "more" if joint > 0.1 else "sum"
    else:
        outcome = "more" if joint > 2 * added else "less" if joint < 0.5 * added else "sum"
    control_loss = float(-instead.effects["logprob"])
    first, gone, control = three_rows(model, all_gone, instead)
    alone = tuple(
        Row(f"without {head.label} alone", "ablated", p := probability(one), percent(p))
        for head, one in zip(plan.heads, singles, strict=True)
    )
    said = (
        f"One by one, these heads lose {', '.join(plain(x, 3) for x in losses)} nats, together {plain(added, 3)}: the "
        f"word would keep {percent(summed)}. All at once they lose {plain(joint)} nats and leave {gone.text}; the "
        f"control leaves {control.text}."
    )
    if control_loss > 0.5 * joint > 0:
        said += " The control costs much as well, so it is not these heads alone that the word needs."
    if max(added, joint) < LEAST:
        outcome, said = "", f"{said} That is too little to compare: these heads hardly matter on these words at all."
    outcome, said = expected(all_gone, outcome, said)
    return Finding(
        words_of(model, all_gone),
        (
            (
                asked_next(model, all_gone),
                (
                    first,
                    Row("if the single losses added up", "control", summed, percent(summed), "calculated"),
                    Row("without all of them", "ablated", gone.value, gone.text, gone.says),
                    Row("without as many others (control)", "control", control.value, control.text, control.says),
                ),
            ),
            ("And without one head at a time?", alone),
        ),
        outcome,
        said,
    )


CHAPTER = Chapter(
    "backup",
    "Where the simple story fails: small effects, important heads",
    (
        Section("", (
            "Here is a rule that sounds like common sense: remove each head alone, list what it costs, and cut the "
            "heads that cost nothing. It fails, and it is worth seeing how.",
            "Suppose five people hold up a table. Send any one of them away, and the table stays up. Measured one at a "
            "time, nobody matters. Send all of them away, and it falls. Models are often like that: several heads do "
            "one job, and when one is missing, the others make up for it. Sometimes they do more than before; "
            "researchers speak of backup heads and of self-repair. In GPT-2 small, removing all three heads that "
            "name the right person was found to cost about 5 % of the logit difference.",
        )),
        Section("Adding up", (
            "If heads worked independently, each taking its own factor off the probability, their losses in nats would "
            "simply add up. So add them up and compare. A joint loss far above the sum suggests that each head alone "
            "was covered for by the others.",
        )),
    ),
    "Predict: how much is lost when all of these heads go at once?",
    CHOICES,
    plan,
    run,
    (
        "The gap can also come from saturation: a model that is very sure hardly moves until much is gone. Either way, "
        "a small single effect is not unimportance, and the Lab can remove pairs and groups.",
    ),
    ("wang2022", "mcgrath2023", "rushing2024", "michel2019"),
)  # fmt: skip
