"""What the Lab shows of a run: read the input, call live, hand arrays to views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from head_atlas.app.lab_modes import MODES, reference_for
from head_atlas.app.limits import well_formed
from head_atlas.app.page_state import read_heads
from head_atlas.catalogue import EFFECTS
from head_atlas.errors import HeadAtlasError, PromptError
from head_atlas.heads import HeadId
from head_atlas.views.attention import attention_props
from head_atlas.views.attribution import attribution_props
from head_atlas.views.choices import titled
from head_atlas.views.distribution import distribution_props, effect_facts, top_ids, verdict
from head_atlas.views.numbers import percent
from head_atlas.views.token_text import quoted, visible

if TYPE_CHECKING:
    from head_atlas.app.engine import Engine
    from head_atlas.live import Ablation, Attribution
    from head_atlas.models import HeadModel

TOP_K = 10
"""Tokens in the target menu."""

TOP_SHOWN = 6
"""Likeliest tokens of each run that the bars show."""

SURE = 0.95
"""Above this probability of the target, gradients of its log-probability are small: the page says so."""
BY_ID = "token id "
LabMode = Literal["zero", "mean", "resample", "pattern_freeze"]
AUTOMATIC = "the model’s first choice"
NO_CONTRAST = "none"
BY_ATLAS = "atlas"
"""The colouring of the grid that needs no sweep."""


@dataclass(frozen=True)
class Asked:
    """An experiment as asked for, checked as far as that goes without the model.

    Attributes:
        model: name of the served model.
        prompt: text.
        heads: to remove.
        mode: ablation mode.
        target: text or id, or None for the model's first choice.
        contrast: text or id, or None.
        corrupted: the prompt to compare with, or "".
    """

    model: str
    prompt: str
    heads: tuple[HeadId, ...]
    mode: LabMode
    target: str | int | None
    contrast: str | int | None
    corrupted: str = ""

    @property
    def about(self) -> dict[str, str]:
        """What a file says of this experiment that is saved from a figure; exact ids are in the files of the result."""
        facts = {
            "model_id": self.model,
            "prompt": self.prompt,
            "removed": ", ".join(map(str, self.heads)) or "no head",
            "mode": self.mode if self.heads else "",
            "corrupted": self.corrupted,
        }
        return {key: value for key, value in facts.items() if value}


def asked(
    engine: Engine,
    model: Any,
    prompt: Any,
    heads: Any,
    mode: Any,
    target: Any,
    contrast: Any,
    corrupted: Any = "",
) -> Asked:
    """Check an experiment.

    Raises:
        HeadAtlasError: with words for the visitor.
    """
    engine.library.entry(model if isinstance(model, str) else "")
    text = engine.limits.check_text(prompt if isinstance(prompt, str) else "")
    removed = read_heads(heads if isinstance(heads, str) else "", most=engine.limits.removed_heads)
    if mode not in MODES:
        raise HeadAtlasError(f"The ablation mode must be one of {', '.join(MODES)}.")
    other = corrupted if isinstance(corrupted, str) and corrupted.strip() else ""
    if other:
        engine.limits.check_text(other)
    return Asked(model, text, removed, cast(LabMode, mode), token_choice(target), token_choice(contrast), other)


def token_choice(text: Any) -> str | int | None:
    """Read a target or contrast: a menu entry, "token id 17", or typed text, where "·" stands for a space."""
    if not isinstance(text, str) or text.strip() in ("", AUTOMATIC, NO_CONTRAST):
        return None
    rest = text.removeprefix(BY_ID)
    if rest != text and rest.isdecimal() and len(rest) < 9:
        return int(rest)
    if not well_formed(text):
        raise PromptError("A target is exactly one token; that text holds half of a character.")
    if len(text) > 100:
        raise PromptError("A target is exactly one token; that text is far longer.")
    return text.replace("·", " ")


def choice_text(choice: str | int | None, default: str) -> str:
    """A target or contrast as the page has it: what `token_choice` reads, or the menu's first entry for none."""
    return default if choice is None else f"{BY_ID}{choice}" if isinstance(choice, int) else choice


@dataclass(frozen=True)
class LabResult:
    """What a finished run shows.

    Attributes:
        bars: next token, clean and ablated.
        attribution: chips of the clean run.
        attribution_without: chips of the run with heads removed, or an empty note.
        targets: (label, value) choices for the target menu.
        warning: a sentence, or "".
    """

    bars: dict
    attribution: dict
    attribution_without: dict
    targets: list[tuple[str, str]]
    warning: str


def check_length(engine: Engine, model: HeadModel, prompt: str) -> None:
    """Refuse a prompt that is too long for this server, or for the model.

    Raises:
        PromptError: it has more tokens than either takes.
    """
    model.policy.encode(prompt, max_length=min(engine.limits.prompt_tokens, model.max_length))


def experiment(engine: Engine, model: HeadModel, what: Asked) -> LabResult:
    """Run clean against ablated, and attribute the target to the prompt's tokens. The caller holds the model.

    Raises:
        HeadAtlasError: with words for the visitor.
    """
    from head_atlas.live import ablate, attribute

    check_length(engine, model, what.prompt)
    reference = reference_for(engine, model, what)
    run = ablate(model, what.prompt, what.heads, what.mode, what.target, what.contrast, reference)
    clean = attribute(model, what.prompt, run.target, run.contrast)
    without = (
        attribute(model, what.prompt, run.target, run.contrast, run.heads, what.mode, reference) if run.heads else None
    )
    named = _token_names(model, run)
    notes = (engine.mismatch(what.model, model), _typed_special(model, what.prompt), _of_draws(run))
    warning = " ".join(note for note in notes if note)
    target, contrast = named[run.target], None if run.contrast is None else named[run.contrast]
    chips = [
        attribution_props(
            np.asarray(one.values.values),
            one.strings,
            special=len(model.policy.prefix),
            target=target,
            contrast=contrast,
            title=f"Attribution per token, {label[:1].lower()}{label[1:]}",
            lead=f"{label}: what each token adds to {_explained(target, contrast)}, to first order.{_certainty(one)}",
        )
        for label, one in (("With all heads", clean), (f"Without {heads_text(run.heads)}", without))
        if one is not None
    ]
    about = {"about": what.about}
    return LabResult(
        bars=_bars(run, named) | about,
        attribution=chips[0] | about,
        attribution_without=chips[1] | about if len(chips) > 1 else {"empty": ""},
        targets=_targets(run, named),
        warning=warning,
    )


def _typed_special(model: HeadModel, prompt: str) -> str:
    """What became of special tokens that the prompt spells out."""
    found = model.policy.spelled_out(prompt)
    if not found:
        return ""
    names = ", ".join(f"“{text}”" for text in found)
    n = sum(len(model.policy.pieces_of(text)) for text in found)
    if len(found) == 1:
        return f"{names} names a special token of this model; typed into a prompt it is plain text, here {n} tokens."
    return f"{names} name special tokens of this model; typed into a prompt they are plain text."


def _of_draws(run: Ablation) -> str:
    """What is a mean over draws and what is not, where heads take their outputs on several other prompts."""
    if run.n_draws == 1:
        return ""
    return (
        f"Probabilities and effects are means over {run.n_draws} prompts whose outputs stand in, effects with the 95 % "
        "interval of that mean; tokens and attention are of the first of them."
    )


def _certainty(one: Attribution) -> str:
    """A warning where log p(y) is close to its ceiling, and its gradient therefore close to nothing."""
    if one.contrast is not None or one.f < np.log(SURE):
        return ""
    return " The model is almost sure, so its log-probability hardly moves: a contrast shows more."


def _explained(target: str, contrast: str | None) -> str:
    if contrast is None:
        return f"the log-probability of {quoted(target)}"
    return f"the lead of {quoted(target)} over {quoted(contrast)}"


def heads_text(heads: tuple[HeadId, ...]) -> str:
    """Heads within a sentence: "L2H5, L2H1", or "9 heads" where there are many."""
    if len(heads) > 4:
        return f"{len(heads)} heads"
    return ", ".join(head.label for head in heads) or "no head"


def _shown_ids(run: Ablation) -> list[int]:
    """Tokens of the bars: the likeliest of either run, the target and the contrast."""
    also = [run.target] + ([] if run.contrast is None else [run.contrast])
    return top_ids(run.clean_log_probs, run.ablated_log_probs if run.heads else None, TOP_SHOWN, also)


def _token_names(model: HeadModel, run: Ablation) -> dict[int, str]:
    """Texts of every token that is shown or offered, in the order of the bars."""
    shown = _shown_ids(run)
    offered = [i for i in top_ids(run.clean_log_probs, None, TOP_K) if i not in shown]
    return dict(zip([*shown, *offered], model.strings([*shown, *offered]), strict=True))


def _bars(run: Ablation, named: dict[int, str]) -> dict:
    labels = {
        name: (titled(EFFECTS[name].label), EFFECTS[name].unit, EFFECTS[name].sentence, EFFECTS[name].signed)
        for name in run.effects
    }
    before, after = float(np.exp(run.clean_log_probs[run.target])), float(np.exp(run.ablated_log_probs[run.target]))
    top = [int(np.argmax(p)) for p in (run.clean_log_probs, run.ablated_log_probs)]
    rows = {i: named[i] for i in _shown_ids(run)}
    if not run.heads:
        sure = percent(float(np.exp(run.clean_log_probs[top[0]])))
        return distribution_props(
            run.clean_log_probs,
            None,
            rows,
            target=run.target,
            contrast=run.contrast,
            headline=f"With all its heads, the model says {quoted(named[top[0]])}, at {sure}.",
            summary="Click a head in the grid to remove it.",
        )
    intervals = {name: run.interval(name) for name in run.effects} if run.n_draws > 1 else None
    return distribution_props(
        run.clean_log_probs,
        run.ablated_log_probs,
        rows,
        target=run.target,
        contrast=run.contrast,
        headline=verdict(named[top[0]], named[top[1]], named[run.target], before, after, heads_text(run.heads)),
        facts=effect_facts(run.effects, run.clean, labels, intervals),
    )


def _targets(run: Ablation, named: dict[int, str]) -> list[tuple[str, str]]:
    ranked = sorted(named, key=lambda i: -float(run.clean_log_probs[i]))
    # What was asked for stays on offer, however unlikely: the menus show its name, not its id.
    ranked = [i for n, i in enumerate(ranked) if n < TOP_K or i in (run.target, run.contrast)]
    return [(f"{visible(named[i])}  {percent(float(np.exp(run.clean_log_probs[i])))}", f"{BY_ID}{i}") for i in ranked]


def attention_of(engine: Engine, model: HeadModel, what: Asked, head_text: Any) -> dict:
    """One head's attention, clean and ablated. The caller holds the model.

    Raises:
        HeadAtlasError: with words for the visitor.
    """
    from head_atlas.live import ablate

    check_length(engine, model, what.prompt)
    head = HeadId.parse(head_text if isinstance(head_text, str) else "").within(model.n_layers, model.n_heads)
    reference = reference_for(engine, model, what)
    run = ablate(model, what.prompt, what.heads, what.mode, reference=reference)
    clean = run.pattern(head, "clean").values
    ablated = run.pattern(head, "ablated").values if run.heads else None
    lead = ""
    if head in run.heads:
        lead = (
            f"{head.label} is removed: “ablated” is where it would have looked. What it found there no longer "
            "reaches the model."
        )
    return attention_props(clean, ablated, run.strings, head.label, lead=lead) | {
        "about": what.about | {"head": str(head)}
    }
