"""Induction heads: reading on from last time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from head_atlas.app.chapters.chapter import Chapter, Plan, Section
from head_atlas.app.chapters.picks import control_of, induction_heads_of, labels, score
from head_atlas.app.chapters.running import against_control
from head_atlas.app.experiments import repeated_words, vocabulary, whence
from head_atlas.views.comparison import OUTCOMES
from head_atlas.views.induction import RULE

if TYPE_CHECKING:
    from head_atlas.store import Atlas


def plan(atlas: Atlas, seed: int) -> Plan:
    """All heads that pass the rule."""
    heads = induction_heads_of(atlas)
    control = control_of(score(atlas, "induction"), heads)
    words, target = repeated_words(seed, vocabulary(atlas))
    which = "the heads" if len(heads) > 1 else "the head"
    instead = "as many heads" if len(heads) > 1 else "a head"
    return Plan(
        (
            ("Prompt", f"{words.strip()} …"),
            ("Expected next", target.strip()),
            ("Removed", f"{labels(heads)}: {which} with an {RULE}"),
            (
                "Control",
                f"{labels(control)}: {instead} {whence(heads, control)}, with the induction excess closest to 0",
            ),
        ),
        words,
        target,
        tuple(heads),
        control,
        "rand_repeat",
    )


CHAPTER = Chapter(
    "induction",
    "Induction heads: reading on from last time",
    (
        Section("", (
            "Read this aloud: plum wagon seven, plum wagon … You know what comes next, although the words mean nothing "
            "together. You looked back to where “wagon” stood before, and read on from there.",
            "Language models learn the same trick, and in many of them it can be pinned to single attention heads. "
            "An induction head standing on a word looks at the token that followed the same word last time, and passes "
            "on what it finds there: this came next before, so say it again.",
            "It cannot do so alone. For the trick to work, each place must carry a note that says which word stood "
            "before it; heads in an earlier layer write that note. So the trick is a circuit of two steps. Models with "
            "a single layer of attention cannot do it this way.",
        )),
        Section("How we would know", (
            "A pattern is only a likeness. The test is to take the heads away. If they do the work, the second copy "
            "becomes a surprise again. If we take away as many other heads and nothing changes, it was not the taking "
            "away as such that hurt.",
        )),
    ),
    "Predict: without these heads, what happens to the expected word?",
    OUTCOMES,
    plan,
    against_control,
    (
        "One prompt is an anecdote; the means below are over all of the atlas’ prompts of repeated random tokens. A "
        "small effect of a single head does not prove that it is idle: a later chapter shows why.",
    ),
    ("elhage2021", "olsson2022"),
)  # fmt: skip
