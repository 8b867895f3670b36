"""Attention patterns: two heads look at the same place, and only one of them matters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from head_atlas.app.chapters.chapter import Chapter, Finding, Plan, Row, Section
from head_atlas.app.chapters.picks import LOOKS_BACK, control_of, effects, labels, score
from head_atlas.app.chapters.running import asked_next, expected, keeps, three_rows, without, words_of
from head_atlas.app.experiments import repeated_words, vocabulary
from head_atlas.errors import AtlasError
from head_atlas.heads import HeadId
from head_atlas.views.numbers import percent, plain

if TYPE_CHECKING:
    from head_atlas.models import HeadModel
    from head_atlas.store import Atlas

CHOICES = {
    "both": "Both alike: they look at the same place, so they do the same.",
    "first": "Only the first head.",
    "second": "Only the second head.",
    "neither": "Neither: the word keeps at least nine tenths of its probability both times.",
}


def plan(atlas: Atlas, seed: int) -> Plan:
    """Two heads that look at the previous token: the one that costs repeated words most, and an idle one.

    Idle is what costs at most a twentieth of that; of the idle ones, the one that looks there most.
    """
    looks = score(atlas, "previous_token")
    measured = effects(atlas)
    if "rand_repeat" not in measured:
        raise AtlasError("This atlas holds no effects on repeated tokens.")
    cost = -measured["rand_repeat"]
    alike = [HeadId(int(layer), int(head)) for layer, head in np.argwhere(looks >= LOOKS_BACK)]
    if len(alike) < 2:
        raise AtlasError(
            f"This model does not have two heads that look at the previous token (excess of at least {LOOKS_BACK})."
        )
    one = max(alike, key=lambda h: cost[h.layer, h.head])
    idle = [h for h in alike if h != one and abs(cost[h.layer, h.head]) <= 0.05 * abs(cost[one.layer, one.head])]
    if not idle:
        raise AtlasError("All heads of this model that look at the previous token matter for repeated words.")
    other = max(idle, key=lambda h: looks[h.layer, h.head])
    # In the order of layers: the order must not give the answer away.
    heads = tuple(sorted((one, other)))
    words, target = repeated_words(seed, vocabulary(atlas))
    control = control_of(looks, list(heads))[:1]
    return Plan(
        (
            ("Prompt", f"{words.strip()} …"),
            ("Expected next", target.strip()),
            *(
                (place, f"{h.label}: previous-token excess {looks[h.layer, h.head]:.2f} of 1 on random tokens")
                for place, h in zip(("First head", "Second head"), heads, strict=True)
            ),
            (
                "Control",
                f"{labels(control)}: in the layer of the first, the one whose excess is closest to 0 "
                f"({plain(float(looks[control[0].layer, control[0].head]))}: even attention gives 0)",
            ),
        ),
        words,
        target,
        heads,
        control,
        "rand_repeat",
    )


def run(model: HeadModel, plan: Plan) -> Finding:
    """Remove either head; and read where both looked."""
    from head_atlas.live import attention

    assert isinstance(plan.prompt, str)
    runs = [without(model, plan.prompt, (head,), plan.target) for head in plan.heads]
    instead = without(model, plan.prompt, plan.control, plan.target)
    patterns = attention(model, plan.prompt).values
    looks = []
    for h, kind in zip((*plan.heads, *plan.control), ("clean", "clean", "control"), strict=False):
        pattern = patterns[h.layer, h.head]
        share = float(np.mean([pattern[i, i - 1] for i in range(2, len(pattern))]))
        looks.append(Row(h.label, kind, share, percent(share)))
    clean, first, control = three_rows(model, runs[0], instead)
    second = three_rows(model, runs[1], instead)[1]
    matter = [not keeps(one) for one in runs]
    outcome = {(True, True): "both", (True, False): "first", (False, True): "second"}.get(
        (matter[0], matter[1]), "neither"
    )
    said = (
        f"On average, {plan.heads[0].label} puts {looks[0].text} of its attention on the previous token here, and "
        f"{plan.heads[1].label} {looks[1].text}. The expected word has {clean.text} with all heads, {first.text} "
        f"without {plan.heads[0].label}, and {second.text} without {plan.heads[1].label}; without the control, "
        f"{control.text}."
    )
    outcome, said = expected(runs[0], outcome, said)
    return Finding(
        words_of(model, runs[0]),
        (
            (asked_next(model, runs[0]), (clean, first, second, control)),
            ("How much of its attention does each head put on the token just before?", tuple(looks)),
        ),
        outcome,
        said,
    )


CHAPTER = Chapter(
    "attention",
    "Attention patterns: where a head looks is not what it does",
    (
        Section("", (
            "For every token, an attention head hands out shares that add up to one: so much to the token before, so "
            "much to the first, so much to a name ten tokens back. Drawn as a square, with a row for each token that "
            "looks and a column for each that is looked at, this is the attention pattern. It is the most "
            "photographed part of a language model, because it seems to show the model thinking. Whether it explains "
            "anything has been disputed for years.",
            "But a pattern is only half a head. It says where the head reads. What the head takes from there, and "
            "whether anyone uses it, the pattern does not say. A head can stare at a token and carry nothing away. It "
            "can carry something that no later part needs, or that ten others carry as well. Many heads park most of "
            "their attention on the first token, an attention sink, and add little.",
        )),
        Section("Two that look alike", (
            "Below are two heads that both look at the token just before. If looking were doing, taking away either "
            "one would do the same.",
        ), of_experiment=True),
    ),
    "Predict: whose removal makes the model lose the repeated word?",
    CHOICES,
    plan,
    run,
    (
        "The head that does not matter here may do so on other texts. What the run shows is that equal looks did not "
        "make equal work. That is why this atlas keeps scores, which are read from patterns, apart from effects, which "
        "are caused.",
    ),
    ("vaswani2017", "jain2019", "wiegreffe2019", "kobayashi2020", "clark2019", "vig2019", "xiao2023"),
)  # fmt: skip
