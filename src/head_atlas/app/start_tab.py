"""The landing page: the grid of heads, and one experiment that has already been run."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from threading import RLock, Thread
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from head_atlas.app.components import asset, drawn, fixed
from head_atlas.app.experiments import FORGETTING_PROMPT, Comparison, forgetting, whence
from head_atlas.app.lab_view import heads_text
from head_atlas.app.words import sentence
from head_atlas.errors import AtlasError, HeadAtlasError
from head_atlas.views.choices import families_of
from head_atlas.views.comparison import Condition, comparison_props, forgetting_title
from head_atlas.views.grid import grid_props
from head_atlas.views.measured import values_of
from head_atlas.views.saved import measured_by, source_of
from head_atlas.views.token_text import quoted

if TYPE_CHECKING:
    from head_atlas.app.engine import Engine
    from head_atlas.app.library import Library
    from head_atlas.heads import HeadId

log = logging.getLogger(__name__)

WAITING = (
    "The model is starting; its first experiment will show here once it has run. The atlas can be browsed meanwhile."
)
_PREFERRED = (("logprob", "zero", "natural_repeat"), ("logit_difference", "zero", "all"))


@dataclass(frozen=True)
class StartTab:
    """The tab's components."""

    grid: gr.HTML
    experiment: gr.HTML
    timer: gr.Timer
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
        self._running: set[str] = set()
        self._lock = RLock()

    def run(self, name: str) -> None:
        """Run the experiment of a model; why it cannot be run is kept for those who wait."""
        try:
            found = forgetting(self.engine, name)
            self._done[name] = Forgotten(_panel(found), found.removed.heads)
        except HeadAtlasError as error:
            log.warning("%s cannot be run live: %s", name, error)
            self._failed[name] = sentence(error)
        except Exception:
            # Whatever it is (no memory, no torch), visitors who wait must hear that waiting is over.
            log.exception("the first experiment of %s failed", name)
            self._failed[name] = "Something unexpected went wrong; the server's log says what."

    def begin(self, name: str) -> None:
        """Run the experiment in the background unless it is running or done; one that failed gets another try."""
        with self._lock:
            if name in self._running or name in self._done:
                return
            self._running.add(name)
            self._failed.pop(name, None)
        Thread(target=self._in_background, args=(name,), name=f"first experiment of {name}", daemon=True).start()

    def _in_background(self, name: str) -> None:
        try:
            self.run(name)
        finally:
            with self._lock:
                self._running.discard(name)

    def get(self, name: str) -> Forgotten | None:
        """The experiment, or None where it has not been run."""
        return self._done.get(name)

    def failure(self, name: str) -> str:
        """Why it could not be run, as a sentence, or ""."""
        return self._failed.get(name, "")


def _panel(found: Comparison) -> dict:
    run, control = found.removed, found.control
    strings = dict(zip(ids := _needed(found), run.model.strings(ids), strict=True))
    target = strings[run.target]
    tops = [strings[i] for i in _tops(found)]
    heads = heads_text(run.heads)
    runs = [run.clean_log_probs, *_ablated(found)]
    labels = [("all heads", "clean"), (f"without {heads}", "ablated")]
    if control is not None:
        labels.append((f"without {heads_text(control.heads)} (control)", "control"))
    return comparison_props(
        run.strings[len(run.model.policy.prefix) :],
        target,
        [
            Condition(label, kind, float(np.exp(p[run.target])), top)
            for (label, kind), p, top in zip(labels, runs, tops, strict=True)
        ],
        title=forgetting_title(target, tops[0], tops[1], len(run.heads)),
        lead=_lead(run.heads, () if control is None else control.heads, quoted(target)),
    )


def _lead(heads: tuple[HeadId, ...], control: tuple[HeadId, ...], target: str) -> str:
    """How the heads and their controls were picked: each by what it costs alone."""
    cost = f"{heads_text(heads)} costs {target} the most of all heads."
    if len(heads) > 1:
        cost = f"{heads_text(heads)} each cost {target} more than any other head."
    alone = f"Run on this server. Removed alone, {cost}"
    if not control:
        return alone
    which = f"{heads_text(control)} {whence(heads, control)}"
    if len(control) == 1:
        return f"{alone} The control is {which}: of those, it changes least on this very prompt."
    return f"{alone} The controls are {which}: of those, each alone changes least on this very prompt."


def _ablated(found: Comparison) -> list[np.ndarray]:
    return [run.ablated_log_probs for run in (found.removed, found.control) if run is not None]


def _tops(found: Comparison) -> list[int]:
    return [int(np.argmax(run)) for run in (found.removed.clean_log_probs, *_ablated(found))]


def _needed(found: Comparison) -> list[int]:
    return sorted({found.removed.target, *_tops(found)})


class StartHandlers:
    """The tab's callbacks."""

    def __init__(self, library: Library, shown: Shown) -> None:
        self.library, self.shown = library, shown

    def grid(self, model: str) -> dict:
        """The landing grid: what each head is worth on recurring names, from the atlas; a ring on the removed one."""
        done = self.shown.get(model)
        try:
            atlas = self.library.atlas(model or self.library.default)
            for measure, mode, family in _PREFERRED:
                if family in [name for _, name in families_of(atlas, measure)] and mode in atlas.modes:
                    shown = values_of(atlas, measure, mode, family)
                    return grid_props(
                        shown,
                        title=f"Heads by {shown.label}",
                        selected=done.heads[0] if done else None,
                        hint="Every square is one attention head. Click one for its card.",
                        about=source_of(atlas) | measured_by(measure, family, mode),
                    )
        except AtlasError as error:
            return {"empty": f"{sentence(error)} The Lab does not need an atlas."}
        return {"empty": "This atlas holds no effects. The Atlas tab shows what it has."}

    def experiment(self, model: str, panel: Any) -> list[Any]:
        """The experiment and the grid of a model, and whether to ask again.

        An answer about one model may reach the page after another model was chosen. So a panel says whose it is, and
        the page goes on asking until it shows that of its model.

        Args:
            model: that the page shows.
            panel: the experiment that it shows.
        """
        model = model if model in self.library.names else self.library.default
        if isinstance(panel, dict) and panel.get("model") == model:
            return [gr.skip(), gr.skip(), gr.Timer(active=False)]
        if done := self.shown.get(model):
            about = {"model_id": model, "prompt": FORGETTING_PROMPT, "removed": ", ".join(map(str, done.heads))}
            return [{**done.panel, "model": model, "about": about}, self.grid(model), gr.skip()]
        if why := self.shown.failure(model):
            text = f"The experiment cannot be run here. {why} The atlas works all the same."
            return [{"empty": text, "model": model}, self.grid(model), gr.skip()]
        return [{"empty": WAITING}, gr.skip(), gr.skip()]

    def wake(self) -> gr.Timer:
        """Begin to ask: a model is shown, and its experiment may not be."""
        return gr.Timer(active=True)

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
                "Ten short chapters. Predict what happens without a head, then run it.",
                "Read the chapters",
                "start-to-learn",
            ),
        ):
            with gr.Column(min_width=240, elem_classes=["ha-box", "ha-flat"]):
                fixed(f"<h3 class='ha-title'>{title}</h3><p class='ha-lead'>{text}</p>")
                ways.append(gr.Button(label, size="sm", elem_id=name))
    return StartTab(grid, experiment, gr.Timer(0.5, active=False), try_it, *ways)
