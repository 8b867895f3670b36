"""Runs that several chapters share: a prompt with all heads, without some, without their controls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from head_atlas.app.chapters.chapter import Finding, Plan, Row
from head_atlas.app.lab_view import heads_text
from head_atlas.views.comparison import what_it_means
from head_atlas.views.numbers import percent
from head_atlas.views.token_text import quoted

if TYPE_CHECKING:
    from head_atlas.heads import HeadId
    from head_atlas.live import Ablation
    from head_atlas.models import HeadModel
    from head_atlas.prompts.prompt import Prompt


def without(
    model: HeadModel, prompt: str | Prompt, heads: tuple[HeadId, ...], target: str | int | None = None
) -> Ablation:
    """Remove heads from a prompt; a target of several tokens counts by its first."""
    from head_atlas.live import ablate

    if isinstance(target, str) and target:
        target = model.policy.pieces_of(target)[0]
    return ablate(model, prompt, heads, target=None if target == "" else target)


def words_of(model: HeadModel, run: Ablation) -> tuple[str, ...]:
    """Tokens of a run's prompt, without BOS."""
    return tuple(run.strings[len(model.policy.prefix) :])


def probability(run: Ablation, which: str = "ablated") -> float:
    """Probability of the run's target, with all heads ("clean") or without."""
    values = run.clean_log_probs if which == "clean" else run.ablated_log_probs
    return float(np.exp(values[run.target]))


def three_rows(model: HeadModel, removed: Ablation, instead: Ablation) -> tuple[Row, ...]:
    """All heads; without the heads; without the controls."""
    found = []
    for label, kind, values in (
        ("all heads", "clean", removed.clean_log_probs),
        (f"without {heads_text(removed.heads)}", "ablated", removed.ablated_log_probs),
        (f"without {heads_text(instead.heads)} (control)", "control", instead.ablated_log_probs),
    ):
        p = float(np.exp(values[removed.target]))
        (top,) = model.strings([int(np.argmax(values))])
        found.append(Row(label, kind, p, percent(p), f"says {quoted(top)}"))
    return tuple(found)


def asked_next(model: HeadModel, run: Ablation) -> str:
    """The question over the rows of a prediction."""
    (target,) = model.strings([run.target])
    return f"How likely is {quoted(target)} next?"


def first_choice(run: Ablation, which: str = "ablated") -> bool:
    """Whether the target is the model's first choice."""
    values = run.clean_log_probs if which == "clean" else run.ablated_log_probs
    return int(np.argmax(values)) == run.target


def keeps(run: Ablation) -> bool:
    """Whether the target keeps at least nine tenths of its probability."""
    return probability(run) >= 0.9 * probability(run, "clean")


def expected(run: Ablation, outcome: str, said: str) -> tuple[str, str]:
    """A verdict and its sentences; no verdict where the model did not expect the word in the first place."""
    if first_choice(run, "clean"):
        return outcome, said
    return "", f"{said} But the model did not expect the word even with all its heads. Try other words."


def against_control(model: HeadModel, plan: Plan) -> Finding:
    """Remove the plan's heads, and its controls instead: the experiment with the choices of `OUTCOMES`."""
    removed = without(model, plan.prompt, plan.heads, plan.target)
    instead = without(model, plan.prompt, plan.control, removed.target if isinstance(plan.prompt, str) else None)
    (target,) = model.strings([removed.target])
    runs = [probability(removed, "clean"), probability(removed), probability(instead)]
    first = [first_choice(removed, "clean"), first_choice(removed), first_choice(instead)]
    true, said = what_it_means(target, runs, first, len(plan.heads))
    return Finding(
        words_of(model, removed),
        ((asked_next(model, removed), three_rows(model, removed, instead)),),
        true,
        said,
    )
