"""Ablation: take a head away and look what breaks."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from head_atlas.app.chapters.chapter import Chapter, Plan, Section
from head_atlas.app.chapters.picks import control_of, effects, labels, prompts_of, strongest
from head_atlas.app.chapters.running import against_control
from head_atlas.app.experiments import FORGETTING_PROMPT, whence
from head_atlas.errors import AtlasError
from head_atlas.views.choices import label_of
from head_atlas.views.comparison import OUTCOMES

if TYPE_CHECKING:
    from head_atlas.heads import HeadId
    from head_atlas.prompts.prompt import Prompt
    from head_atlas.store import Atlas

_NAMES = "natural_repeat"


def costliest(atlas: Atlas) -> tuple[str, HeadId, HeadId]:
    """The family of names that recur, the head whose removal costs it most, and a control of the same layer.

    Raises:
        AtlasError: the atlas cannot tell.
    """
    measured = effects(atlas)
    family = _NAMES if _NAMES in measured else next(iter(measured))
    head = strongest(-measured[family])
    return family, head, control_of(measured[family], [head])[0]


def plan(atlas: Atlas, seed: int) -> Plan:
    """The first prompt is the one of the landing page; the others are stored ones."""
    family, head, control = costliest(atlas)
    prompt: str | Prompt = FORGETTING_PROMPT
    stored = []
    with suppress(AtlasError):
        stored = prompts_of(atlas, family)
    if seed and stored:
        prompt = stored[(seed - 1) % len(stored)]
    return Plan(
        (
            ("Prompt", f"{prompt if isinstance(prompt, str) else prompt.text} …"),
            ("Removed", f"{labels([head])}: over the atlas’ prompts of “{label_of(family)}”, no head alone costs more"),
            ("Control", f"{labels([control])}: {whence([head], [control])}, the one whose removal changes least there"),
        ),
        prompt,
        heads=(head,),
        control=(control,),
        family=family,
    )


CHAPTER = Chapter(
    "ablation",
    "Ablation: take it away and see",
    (
        Section("", (
            "How do you find out what a part of a machine is for? Take it out, run the machine again, and see what no "
            "longer works. Done to a language model this is called ablation. Here the part is an attention head, one "
            "of the small readers inside the model, and taking it out means that its output becomes zero everywhere in "
            "the text. All the rest stays as it was.",
            "The model then reads the same words again. The difference between what it predicts without the head and "
            "what it predicted with it is the head’s effect on this prompt. Unlike a picture of where the head looks, "
            "an effect is a matter of cause: we changed one thing only.",
        )),
        Section("Why a control", (
            "Any damage might do harm. So we take out a second head as well, in a run of its own: a control from the "
            "same layer, which should not matter here. If both removals hurt alike, we have learned little. If only "
            "one does, the harm has an address.",
        ), of_experiment=True),
    ),
    "Predict: without this one head, what happens to the word that was due?",
    OUTCOMES,
    plan,
    against_control,
    (
        "An effect belongs to a prompt and to a way of removing. Zero is not what the rest of the model is used to; "
        "the Lab also offers the head’s average. And a head that costs nothing here may still matter elsewhere, or "
        "have a stand-in: a later chapter is about that.",
    ),
    ("michel2019", "wang2022"),
    "Another prompt",
)  # fmt: skip
