"""The common shape of the Lab's analyses: one button, what it measures and how that misleads, progress, a figure.

An analysis is a function of the experiment on screen and of its own options. It runs in a thread of its own
(`lab_running`), tells its progress and returns blocks to draw; everything else is the same for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from head_atlas.app.components import drawn
from head_atlas.app.events import ON_MODEL, PURE
from head_atlas.app.lab_bench import Analysis, Bench, Finding, Made, bench_for
from head_atlas.app.lab_running import Progress, Step, in_background
from head_atlas.app.lab_takeaway import Shelf, files_of
from head_atlas.app.lab_view import Asked, asked, heads_text
from head_atlas.app.words import busy, failed
from head_atlas.catalogue import MEASURES, mode_label
from head_atlas.errors import HeadAtlasError
from head_atlas.views.terms import marked

if TYPE_CHECKING:
    from head_atlas.app.engine import Engine
    from head_atlas.models import HeadModel

N_ASKED = 7
"""How many inputs define an experiment: the model, and `LabTab.asked`."""


@dataclass(frozen=True)
class Panel:
    """The components of one analysis."""

    analysis: Analysis
    options: list[Any]
    run: gr.Button
    stop: gr.Button
    status: gr.HTML
    figure: gr.HTML
    made: gr.State
    take: gr.Button
    files: gr.HTML

    @property
    def shown(self) -> list[Any]:
        """What a run fills."""
        return [self.status, self.figure, self.made, self.files]


def build(analysis: Analysis, options: Callable[[], Sequence[Any]] = lambda: ()) -> Panel:
    """Lay an analysis out.

    Args:
        analysis: which.
        options: makes the components of its options, in the order in which its work takes them.
    """
    with gr.Column(elem_classes=["ha-analysis"]):
        drawn("figure", _heading(analysis), elem_id=f"lab-{analysis.key}-what", boxed=False)
        with gr.Row(elem_classes=["ha-options"]):
            made = list(options())
        with gr.Row(elem_classes=["ha-actions"]):
            run = gr.Button(
                analysis.button, variant="primary", size="md", min_width=150, elem_id=f"lab-{analysis.key}-run"
            )
            stop = gr.Button("Stop", size="md", min_width=70, elem_id=f"lab-{analysis.key}-stop")
        status = drawn("note", None, elem_id=f"lab-{analysis.key}-status", boxed=False)
        figure = drawn("figure", {"empty": analysis.empty}, elem_id=f"lab-{analysis.key}", boxed=False)
        take = gr.Button("Take this away", size="sm", min_width=120, elem_id=f"lab-{analysis.key}-take")
        files = drawn("takeaway", {"empty": ""}, elem_id=f"lab-{analysis.key}-files", boxed=False)
    return Panel(analysis, made, run, stop, status, figure, gr.State(None), take, files)


def _heading(analysis: Analysis) -> dict:
    first = [MEASURES[name] for name in analysis.measures]
    seen: set[str] = set()
    blocks: list[dict] = [{"kind": "text", "tone": "title", "text": marked(analysis.title, seen)}]
    sentence = " ".join([analysis.sentence, *(measure.sentence for measure in first)]).strip()
    blocks.append({"kind": "text", "tone": "lead", "text": marked(sentence, seen)})
    misleading = " ".join([*(measure.pitfall for measure in first if measure.pitfall), analysis.caution]).strip()
    if misleading:
        blocks.append({"kind": "text", "tone": "lead", "text": marked(f"How it misleads: {misleading}", seen)})
    return {"blocks": blocks}


class AnalysisHandlers:
    """The callbacks of one analysis.

    Args:
        engine: of the server.
        analysis: which.
        shelf: keeps what was found, to be taken away.
    """

    def __init__(self, engine: Engine, analysis: Analysis, shelf: Shelf | None = None) -> None:
        self.engine, self.analysis, self.shelf = engine, analysis, shelf or Shelf()

    def run(self, *inputs: Any) -> Iterator[list[Any]]:
        """Run it on the experiment. Inputs: the `N_ASKED` that define the experiment, then the options."""
        experiment, options = inputs[:N_ASKED], inputs[N_ASKED:]
        last: Step[Finding] | None = None
        caption = taken = ""
        try:
            what = asked(self.engine, *experiment)

            def work(model: HeadModel, progress: Progress) -> Finding:
                nonlocal caption, taken
                bench = bench_for(self.engine, model, what, progress)
                found = self.analysis.work(bench, *options)
                caption = _caption(bench, found)
                taken = self.shelf.put(files_of(self.engine, model, what, self.analysis.key, found.calls))
                return found

            for last in in_background(self.engine, what.model, work):
                if not last.finished:
                    yield [busy(last.text, last.fraction), gr.skip(), gr.skip(), gr.skip()]
        except HeadAtlasError as error:
            yield [failed(error), {"empty": self.analysis.empty}, None, {"empty": ""}]
            return
        assert last is not None
        found = last.result
        assert found is not None
        caption = found.over or caption
        if found.needs_heads:
            removed = f"without {heads_text(what.heads)}" if what.heads else "heads removed"
            caption += f", {removed} ({mode_label(what.mode)})"
        elif found.each_head:
            caption += f", each head removed alone ({mode_label(what.mode)})"
        yield [
            {"kind": "done", "text": f"On {caption}."},
            found.figure | {"about": found.about(what)},
            Made(what, caption, self.analysis.key, found.needs_heads, taken, found.over, found.each_head),
            {"empty": ""},
        ]

    def take(self, made: Any) -> dict:
        """The files of the result on screen."""
        if not isinstance(made, Made):
            return {"empty": "There is no result yet: run this first."}
        return self.shelf.get(made.taken)


def _caption(bench: Bench, found: Finding) -> str:
    text = bench.what.prompt
    return f"“{text if len(text) <= 50 else f'…{text[-48:]}'}”, {found.measured or bench.measured}"


def wire(panel: Panel, handlers: AnalysisHandlers, experiment: Sequence[Any]) -> Any:
    """Connect an analysis; returns the event that runs it.

    Args:
        panel: its components.
        handlers: its callbacks.
        experiment: the `N_ASKED` components that define the experiment.
    """
    running = panel.run.click(
        handlers.run, [*experiment, *panel.options], panel.shown, **(ON_MODEL | {"trigger_mode": "once"})
    )
    panel.take.click(handlers.take, [panel.made], [panel.files], **PURE)
    panel.stop.click(lambda: {"kind": "info", "text": "Stopped."}, None, [panel.status], **PURE, cancels=[running])
    return running


def outdated(ran: Any, *mades: Any) -> list[Any]:
    """After a run: say of every analysis on screen whether it belongs to this experiment still."""
    found = []
    for made in mades:
        if not isinstance(made, Made):
            found.append(gr.skip())
        elif isinstance(ran, Asked) and made.still_holds(ran):
            found.append({"kind": "done", "text": f"On {made.caption}."})
        else:
            found.append(
                {"kind": "info", "text": f"Of an earlier experiment: {made.caption}. Run it again for this one."}
            )
    return found


def emptied(panels: Sequence[Panel]) -> list[Any]:
    """Another model: nothing of the old one stays."""
    return [value for panel in panels for value in (None, {"empty": panel.analysis.empty}, None, {"empty": ""})]
