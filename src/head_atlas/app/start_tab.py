"""The landing page: the grid of heads, and one experiment that has already been run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from threading import RLock, Thread
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from head_atlas.app.components import asset, drawn, fixed
from head_atlas.app.experiments import FORGETTING_PROMPT, Comparison, forgetting
from head_atlas.app.lab_view import heads_text
from head_atlas.errors import AtlasError, HeadAtlasError
from head_atlas.views.comparison import Condition, comparison_props, forgetting_title
from head_atlas.views.grid import grid_props, values_of
from head_atlas.views.token_text import quoted

if TYPE_CHECKING:
    from head_atlas.app.engine import Engine
    from head_atlas.app.library import Library
    from head_atlas.heads import HeadId

log = logging.getLogger(__name__)

WAITING = (
    "The model is starting; its first experiment will show here in some seconds. The atlas can be browsed meanwhile."
)
_PREFERRED = (("logprob", "zero", "natural_repeat"), ("logit_difference", "zero", "all"))


@dataclass(frozen=True)
class StartTab:
    """The tab's components."""

    grid: gr.HTML
    experiment: gr.HTML
    try_it: gr.Button
    to_atlas: gr.Button
    to_lab: gr.Button
    to_learn: gr.Button


@dataclass(frozen=True)
class Forgotten:
    """The landing experiment, run.

    Attributes:
        panel: what is shown.
        heads: that were removed, the costliest first.
    """

    panel: dict
    heads: tuple[HeadId, ...]


class Shown:
    """The landing experiment of each model: run once per process, then shown to everyone."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._done: dict[str, Forgotten] = {}
        self._failed: dict[str, str] = {}
        self._begun: set[str] = set()
        self._lock = RLock()

    def run(self, name: str) -> None:
        """Run the experiment of a model unless that has been done.

        Raises:
            HeadAtlasError: the model cannot be loaded or run.
        """
        if name in self._done:
            return
        try:
            with self.engine.use(name) as model:
                found = forgetting(model)
                panel = _panel(found)
            self._done[name] = Forgotten(panel, found.removed.heads)
            self._failed.pop(name, None)
        except HeadAtlasError as error:
            self._failed[name] = str(error)
            raise

    def begin(self, name: str) -> None:
        """Run the experiment in the background unless that has begun."""
        with self._lock:
            if name in self._begun:
                return
            self._begun.add(name)
        Thread(target=self._quietly, args=(name,), name=f"first experiment of {name}", daemon=True).start()

    def _quietly(self, name: str) -> None:
        try:
            self.run(name)
        except HeadAtlasError as error:
            log.warning("%s cannot be run live: %s", name, error)

    def get(self, name: str) -> Forgotten | None:
        """The experiment, or None where it has not been run."""
        return self._done.get(name)

    def failure(self, name: str) -> str:
        """Why it could not be run, or ""."""
        return self._failed.get(name, "")


def _panel(found: Comparison) -> dict:
    run, control = found.removed, found.control
    strings = dict(zip(ids := _needed(found), run.model.strings(ids), strict=True))
    target = strings[run.target]
    clean_top, ablated_top, control_top = (strings[i] for i in _tops(found))
    heads = heads_text(run.heads)
    title = forgetting_title(target, clean_top, ablated_top, len(run.heads))
    probability = [
        float(np.exp(p[run.target])) for p in (run.clean_log_probs, run.ablated_log_probs, control.ablated_log_probs)
    ]
    control_name = heads_text(control.heads)
    special = len(run.tokens) - len(run.model.policy.pieces_of(FORGETTING_PROMPT))
    return comparison_props(
        run.strings[special:],
        target,
        [
            Condition("all heads", "clean", probability[0], clean_top),
            Condition(f"without {heads}", "ablated", probability[1], ablated_top),
            Condition(f"without {control_name} (control)", "control", probability[2], control_top),
        ],
        title=title,
        lead=f"Run on this server. Of all heads, removing {heads} costs {quoted(target)} the most here; "
        f"{control_name}, in the same layer, the least.",
    )


def _tops(found: Comparison) -> list[int]:
    runs = (found.removed.clean_log_probs, found.removed.ablated_log_probs, found.control.ablated_log_probs)
    return [int(np.argmax(p)) for p in runs]


def _needed(found: Comparison) -> list[int]:
    return sorted({found.removed.target, *_tops(found)})


class StartHandlers:
    """The tab's callbacks."""

    def __init__(self, library: Library, shown: Shown) -> None:
        self.library, self.shown = library, shown

    def grid(self, model: str) -> dict:
        """The landing grid: what each head is worth on recurring names, from the atlas; a ring on the removed one."""
        try:
            atlas = self.library.atlas(model or self.library.default)
        except AtlasError as error:
            return {"empty": f"{error} The Lab does not need an atlas."}
        done = self.shown.get(model)
        for measure, mode, family in _PREFERRED:
            if f"{measure}_mean" in atlas.summary and mode in atlas.modes and family in [*atlas.families, "all"]:
                shown = values_of(atlas, measure, mode, family)
                return grid_props(
                    shown,
                    title=f"Heads by {shown.label}",
                    selected=done.heads[0] if done else None,
                    hint="Every square is one attention head. Click one for its card.",
                )
        return {"empty": "This atlas holds no effects. The Atlas tab shows what it has."}

    def experiment(self, model: str, patience: float = 90.0) -> Iterator[list[Any]]:
        """The experiment and the grid; while the model is starting, a line that says so."""
        model = model if model in self.library.names else self.library.default
        self.shown.begin(model)
        end = monotonic() + patience
        waiting = False
        while True:
            if done := self.shown.get(model):
                yield [done.panel, self.grid(model)]
                return
            if why := self.shown.failure(model):
                text = f"The model cannot be run here, so nothing can be removed live: {why}."
                text += " The atlas works all the same."
                yield [{"empty": text}, gr.skip()]
                return
            if not waiting:
                waiting = True
                yield [{"empty": WAITING}, gr.skip()]
            if monotonic() > end:
                yield [{"empty": "The model is still starting. The Lab will say when it is there."}, gr.skip()]
                return
            sleep(0.25)

    def experiment_of(self, model: str) -> tuple[str, str]:
        """Prompt and heads of the landing experiment, for the Lab."""
        done = self.shown.get(model)
        return FORGETTING_PROMPT, "" if done is None else ", ".join(str(head) for head in done.heads)


def build(handlers: StartHandlers, model: str) -> StartTab:
    """Lay the tab out."""
    with gr.Row(equal_height=False, elem_classes=["ha-columns"]):
        with gr.Column(scale=11, min_width=320, elem_classes=["ha-box", "ha-flat"]):
            fixed(asset("start-head.html"))
            grid = drawn("grid", handlers.grid(model), elem_id="start-grid", boxed=False)
        with gr.Column(scale=10, min_width=320, elem_classes=["ha-box", "ha-flat"]):
            experiment = drawn("experiment", {"empty": WAITING}, elem_id="start-experiment", boxed=False)
            try_it = gr.Button("Try it yourself", variant="primary", elem_id="start-try")
    with gr.Row(elem_classes=["ha-ways"]):
        ways = []
        for title, text, label, name in (
            (
                "Browse",
                "What every head looks at and what its removal costs, each with its interval and its source.",
                "Open the Atlas",
                "start-to-atlas",
            ),
            (
                "Test",
                "Type a prompt, remove heads with a click, and see how the prediction moves.",
                "Open the Lab",
                "start-to-lab",
            ),
            (
                "Learn",
                "What is an induction head? Predict what happens without one, then run it.",
                "Read the chapter",
                "start-to-learn",
            ),
        ):
            with gr.Column(min_width=240, elem_classes=["ha-box", "ha-flat"]):
                fixed(f"<h3 class='ha-title'>{title}</h3><p class='ha-lead'>{text}</p>")
                ways.append(gr.Button(label, size="sm", elem_id=name))
    return StartTab(grid, experiment, try_it, *ways)
