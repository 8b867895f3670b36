"""What an analysis of the Lab is given, what it finds, and how its options are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from head_atlas.app.lab_modes import measured_prompt, reference_for
from head_atlas.app.lab_view import Asked, check_length
from head_atlas.errors import HeadAtlasError
from head_atlas.views.token_text import quoted

if TYPE_CHECKING:
    from head_atlas.app.engine import Engine
    from head_atlas.app.lab_running import Progress
    from head_atlas.app.lab_takeaway import ModelCall
    from head_atlas.interventions import Reference
    from head_atlas.models import HeadModel
    from head_atlas.prompts.prompt import Prompt


@dataclass(frozen=True)
class Bench:
    """What an analysis works with.

    Attributes:
        engine: of the server: its limits and atlases.
        model: held for this run.
        what: the experiment.
        reference: what its mode needs.
        prompt: with target and contrast.
        progress: to be called between parts.
    """

    engine: Engine
    model: HeadModel
    what: Asked
    reference: Reference | None
    prompt: Prompt
    progress: Progress

    @property
    def target(self) -> str:
        """Text of the target."""
        return self.model.strings([self.prompt.targets[-1]])[0]

    @property
    def contrast(self) -> str | None:
        """Text of the contrast, if there is one."""
        return self.model.strings([self.prompt.contrasts[-1]])[0] if self.prompt.contrasts else None

    @property
    def one_draw(self) -> str:
        """What an analysis of one run says in resample mode, where others take the mean over several; else ""."""
        n = getattr(self.reference, "n_draws", 1) if self.what.heads else 1
        return f"Outputs on the first of {n} reference prompts stand in for the removed heads." if n > 1 else ""

    @property
    def measured(self) -> str:
        """What is measured, in words."""
        if self.contrast is None:
            return f"the log-probability of {quoted(self.target)}"
        return f"the lead of {quoted(self.target)} over {quoted(self.contrast)}"


def bench_for(engine: Engine, model: HeadModel, what: Asked, progress: Progress) -> Bench:
    """Check an experiment against the model, and lay out what it works with.

    Raises:
        HeadAtlasError: with words for the visitor.
    """
    check_length(engine, model, what.prompt)
    model.heads(what.heads)
    reference = reference_for(engine, model, what)
    return Bench(engine, model, what, reference, measured_prompt(model, what, reference), progress)


@dataclass(frozen=True)
class Finding:
    """What an analysis found.

    Attributes:
        figure: blocks to draw, of `views.blocks.figure`.
        calls: function of the library, its arguments and what it returned, to be taken away; the main one first.
        needs_heads: whether it is about the removed heads.
        over: what it was measured on, where that is not the prompt on screen.
        measured: what was measured, where that is not what the bench measures.
        each_head: whether every head is removed alone, in the experiment's ablation mode.
    """

    figure: dict
    calls: tuple[ModelCall, ...] = ()
    needs_heads: bool = False
    over: str = ""
    measured: str = ""
    each_head: bool = False

    def about(self, what: Asked) -> dict[str, str]:
        """What a file says of the experiment: nothing of heads that stayed in place, or of a prompt not measured."""
        facts = replace(what, heads=what.heads if self.needs_heads else ()).about
        if self.each_head:
            facts |= {"removed": "each head alone", "mode": what.mode}
        if self.over:
            facts |= {"over": self.over}
            del facts["prompt"]
        return facts


Work = Callable[..., Finding]
"""Takes a `Bench` and the values of the options, which anyone may have sent."""


@dataclass(frozen=True)
class Analysis:
    """One analysis.

    Attributes:
        key: part of its components' ids.
        title: of its section.
        button: what the button says.
        empty: what will appear, before it has run.
        measures: names in the catalogue: what it is and how it misleads, in their words.
        work: does it.
        caution: a sentence more on how it misleads.
        sentence: what it is, where the catalogue does not say.
    """

    key: str
    title: str
    button: str
    empty: str
    measures: tuple[str, ...]
    work: Work
    caution: str = ""
    sentence: str = ""


@dataclass(frozen=True)
class Made:
    """What a finished analysis on screen belongs to.

    Attributes:
        what: the experiment.
        caption: in words.
        key: of the analysis.
        needs_heads: whether other removed heads make it out of date.
        taken: what `lab_takeaway.Shelf` keeps its files under.
        over: what it was measured on, where that is not the prompt.
        each_head: whether another ablation mode makes it out of date, whatever is removed.
    """

    what: Asked
    caption: str
    key: str
    needs_heads: bool
    taken: str
    over: str = ""
    each_head: bool = False

    def still_holds(self, now: Asked) -> bool:
        """Whether it belongs to this experiment too."""
        if self.over:
            same_heads = now.heads == self.what.heads or not self.needs_heads
            return same_heads and (now.model, now.mode) == (self.what.model, self.what.mode)
        if self.needs_heads:
            return now == self.what
        return now == replace(self.what, heads=now.heads, mode=self.what.mode if self.each_head else now.mode)


def option(value: Any, allowed: Sequence[str], name: str) -> str:
    """A choice of a menu, which anyone may have sent.

    Raises:
        HeadAtlasError: it is none of them.
    """
    if not isinstance(value, str) or value not in allowed:
        raise HeadAtlasError(f"The {name} must be one of {', '.join(allowed)}.")
    return value


def number(value: Any, low: float, high: float, name: str) -> float:
    """A number, which anyone may have sent.

    Raises:
        HeadAtlasError: it is none, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise HeadAtlasError(f"The {name} must be a number from {low:g} to {high:g}.")
    return float(value)
