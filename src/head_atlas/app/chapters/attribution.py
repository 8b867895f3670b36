"""Token attribution: which words does an answer hang on?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from head_atlas.app.chapters.ablation import costliest
from head_atlas.app.chapters.chapter import Chapter, Finding, Plan, Row, Section
from head_atlas.app.chapters.picks import labels
from head_atlas.app.experiments import FORGETTING_PROMPT
from head_atlas.views.choices import label_of
from head_atlas.views.numbers import plain, signed
from head_atlas.views.token_text import quoted

if TYPE_CHECKING:
    from head_atlas.heads import HeadId
    from head_atlas.models import HeadModel
    from head_atlas.store import Atlas

CHOICES = {
    "earlier": "The word that stood after “Harry” the first time, “Potter”.",
    "last": "The last word, “Harry”.",
    "between": "One of the words in between.",
    "first": "The “Harry” at the beginning.",
}


def plan(atlas: Atlas, seed: int) -> Plan:  # noqa: ARG001  one prompt only
    """The landing prompt; the heads are those of the chapter on ablation."""
    family, head, control = costliest(atlas)
    return Plan(
        (
            ("Prompt", f"{FORGETTING_PROMPT} …"),
            ("Measured", "how much less likely the model’s answer is when one word is covered by random others "
             "(occlusion, 8 of them), in nats of log-probability"),
            ("Then again", f"with {labels([head])} removed, which costs prompts of “{label_of(family)}” most, and with "
             f"{labels([control])} removed as a control"),
        ),
        FORGETTING_PROMPT,
        heads=(head,),
        control=(control,),
    )  # fmt: skip


def run(model: HeadModel, plan: Plan) -> Finding:
    """Cover one token after the other; then the same with a head removed."""
    from head_atlas.live import attribute

    whole = attribute(model, plan.prompt, method="occlusion_replace")
    (target,) = model.strings([whole.target])
    bos = len(model.policy.prefix)
    values = np.asarray(whole.values.values)[bos:]
    tokens = whole.strings[bos:]
    largest = int(np.nanargmax(values))
    outcome = word_of(tokens, largest)

    def again(heads: tuple[HeadId, ...]) -> float:
        found = attribute(model, plan.prompt, target=whole.target, heads=heads, method="occlusion_replace")
        return float(np.asarray(found.values.values)[bos:][largest])

    rows = tuple(
        Row(f"{quoted(token)} covered", "clean", bar, f"{signed(float(-value), 1)} nats")
        for token, value, bar in zip(tokens, values, _bars(values), strict=True)
    )
    hidden = quoted(tokens[largest])
    shares = np.array([values[largest], again(plan.heads), again(plan.control)])
    runs = ("all heads", f"without {labels(plan.heads)}", f"without {labels(plan.control)} (control)")
    share_rows = tuple(
        Row(label, kind, bar, f"{signed(float(value), 1)} nats")
        for label, kind, bar, value in zip(runs, ("clean", "ablated", "control"), _bars(shares), shares, strict=True)
    )
    return Finding(
        tuple(tokens),
        (
            (f"How much does {quoted(target)} lose when a word is covered?", rows),
            (f"How much does the answer owe to {hidden}, head by head?", share_rows),
        ),
        outcome,
        f"The answer {quoted(target)} hangs most on {hidden}, token {largest + 1} of the prompt: covering it costs "
        f"{plain(float(values[largest]), 1)} nats. Without {labels(plan.heads)} that word is worth "
        f"{share_rows[1].text}, without the control {share_rows[2].text}.",
    )


def word_of(tokens: Sequence[str], at: int) -> str:
    """Which of `CHOICES` the word is that a token belongs to: a tokenizer may have a word in several pieces."""
    n, last = (len("".join(some).split()) - 1 for some in (tokens[: at + 1], tokens))
    return {0: "first", 1: "earlier", last: "last"}.get(n, "between")


def _bars(values: np.ndarray) -> list[float]:
    """Lengths in [0, 1]: the size of each value beside the largest of them; 0 where there is none."""
    sizes = np.nan_to_num(np.abs(values), posinf=0.0)
    top = float(sizes.max())
    return [float(size / top) if top > 0 else 0.0 for size in sizes]


CHAPTER = Chapter(
    "attribution",
    "Attribution: which words the answer hangs on",
    (
        Section("", (
            "The model has read a sentence and says a word. Which of the words before it made it say that? To answer "
            "is to attribute: to hand each word its share in the prediction.",
            "There are two families of methods. One calculates: it asks how fast the prediction changes when a word’s "
            "inner representation is nudged (gradients), and may add that up along a path from a blank text to this "
            "one (integrated gradients). The other covers words, one at a time, and watches the answer: occlusion. The "
            "first is cheap, and a single gradient is wrong where the model is so sure that a nudge changes nothing; "
            "the path is there to mend that. The second is slower, and covering one word tells nothing of two that "
            "stand in for each other.",
        )),
        Section("From words to heads", (
            "Words do not act by themselves; heads carry them. If a head brings one word to where the answer is made, "
            "that word’s share should shrink once the head is gone, and stay where it was once another head is gone. "
            "So we attribute three times.",
        ), of_experiment=True),
    ),
    "Predict: on which word does the answer hang most?",
    CHOICES,
    plan,
    run,
    (
        "A share is a statement about one method on one prompt. Methods disagree, and none of them sees everything: "
        "the Lab shows several side by side, and how well each holds up when the words it names are really taken away.",
    ),
    ("sundararajan2017", "sanyal2021", "zeiler2014", "li2016", "deyoung2020"),
    "",
)  # fmt: skip
