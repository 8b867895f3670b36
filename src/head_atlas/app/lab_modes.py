"""Ablation modes of the Lab, and what each needs to stand in for a removed head."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from head_atlas.catalogue import mode_label
from head_atlas.errors import MissingReferenceError, PromptError

if TYPE_CHECKING:
    from head_atlas.app.engine import Engine
    from head_atlas.app.lab_view import Asked
    from head_atlas.interventions import Reference
    from head_atlas.models import HeadModel
    from head_atlas.prompts.prompt import Prompt

FOR_ANY_PROMPT = ("zero", "mean", "resample")
"""Those that need no corrupted prompt."""
MODES = (*FOR_ANY_PROMPT, "pattern_freeze")
DEFAULT_MODE = "zero"
_IN_SHORT = (
    "output 0",
    "output its average",
    "output on other prompts",
    "looks where it looks in the corrupted prompt",
)
MENU = [(f"{mode_label(mode)}: {what}", mode) for mode, what in zip(MODES, _IN_SHORT, strict=True)]
_NO_DRAWS = (
    "Resample ablation takes a head’s outputs on other prompts, and the atlas of this model names none: choose zero or "
    "mean, or build the atlas with --modes resample."
)
_NO_CORRUPTED = (
    "Pattern freeze needs a corrupted prompt of as many tokens: open “A corrupted prompt” below the prompt, and "
    "propose "
    "or type one."
)


def reference_for(engine: Engine, model: HeadModel, what: Asked) -> Reference | None:
    """What the experiment's mode puts in place of a removed head; None where it needs nothing, or there is nothing.

    Raises:
        MissingReferenceError: resample without reference prompts, or pattern freeze without a corrupted prompt.
        PromptError: a corrupted prompt of another length; the message shows where the two differ.
    """
    if what.mode == "mean":
        return engine.reference(what.model)
    if what.mode == "resample":
        found = engine.resample_reference(what.model, model)
        if found is None:
            raise MissingReferenceError(_NO_DRAWS)
        return found
    if what.mode == "pattern_freeze":
        from head_atlas.interventions import CorruptedReference

        if not what.corrupted:
            raise MissingReferenceError(_NO_CORRUPTED)
        return CorruptedReference(corrupted_tokens(engine, model, what.prompt, what.corrupted))
    return None


def measured_prompt(model: HeadModel, what: Asked, reference: Reference | None) -> Prompt:
    """The experiment's prompt with its target, contrast and, in pattern freeze, corrupted tokens: for sweeps.

    Raises:
        PromptError: a target or contrast that is not one token.
    """
    from head_atlas.interventions import CorruptedReference
    from head_atlas.measures.effects import as_prompts

    (prompt,) = as_prompts(model, what.prompt, what.target, what.contrast)
    return replace(prompt, corrupted=reference.tokens) if isinstance(reference, CorruptedReference) else prompt


def corrupted_tokens(engine: Engine, model: HeadModel, clean: str, corrupted: str) -> tuple[int, ...]:
    """Ids of a corrupted prompt.

    Raises:
        PromptError: it has another length than the clean one; the message shows the pieces from where they differ.
    """
    longest = min(engine.limits.prompt_tokens, model.max_length)
    one = model.policy.encode(clean, max_length=longest)
    other = model.policy.encode(corrupted, max_length=longest)
    if len(one) == len(other):
        return other
    first = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    pieces = [
        " | ".join(model.strings(ids[first : first + 4])) + (" …" if len(ids) > first + 4 else "") or "the end"
        for ids in (one, other)
    ]
    raise PromptError(
        f"the corrupted prompt has {len(other)} tokens, the prompt {len(one)}: they must be as many. From token "
        f"{first} "
        f"on the prompt reads “{pieces[0]}”, the corrupted one “{pieces[1]}”"
    )
