"""The About tab: where the numbers come from, what is left out, what was checked, and the limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from head_atlas.app.about_recheck import recheck_props
from head_atlas.app.components import asset, drawn, fixed
from head_atlas.app.events import ON_MODEL, PURE
from head_atlas.app.lab_running import Progress, in_background
from head_atlas.app.words import busy, failed
from head_atlas.errors import AtlasError, HeadAtlasError
from head_atlas.views.provenance import about_props

if TYPE_CHECKING:
    from head_atlas.app.engine import Engine
    from head_atlas.live.recheck import Recheck
    from head_atlas.models import HeadModel


RECHECK_EMPTY = (
    "The numbers of the atlas were measured once. This removes every head on six of its prompts again, with the model "
    "of this server, and shows the worst difference."
)


@dataclass(frozen=True)
class AboutTab:
    """The tab's components."""

    card: gr.HTML
    recheck: gr.Button
    status: gr.HTML
    found: gr.HTML


class AboutHandlers:
    """The tab's callbacks."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.library = engine, engine.library

    def card(self, model: str) -> dict:
        """What the atlas says of itself."""
        try:
            return about_props(self.library.atlas(model))
        except AtlasError as error:
            return {"empty": str(error)}

    def recheck(self, model: Any) -> Iterator[list[Any]]:
        """Measure some stored prompts again: a status line, and what came out."""
        name = model if isinstance(model, str) else ""

        def work(loaded: HeadModel, progress: Progress[tuple[Recheck, str]]) -> tuple[Recheck, str]:
            from head_atlas.live.recheck import recheck

            progress.phase("Removing every head on stored prompts")
            return recheck(loaded, atlas, progress=progress), self.engine.mismatch(name, loaded)

        try:
            atlas = self.library.atlas(name)
            for step in in_background(self.engine, name, work):
                if not step.finished:
                    yield [busy(step.text, step.fraction), gr.skip()]
            assert step.result is not None
            found, warning = step.result
            shown = recheck_props(found, atlas.prompts, warning)
        except HeadAtlasError as error:
            yield [failed(error), {"empty": RECHECK_EMPTY}]
            return
        yield [{"kind": "done" if found.passed else "error", "text": shown["sections"][0]["rows"][0]["text"]}, shown]


def build(handlers: AboutHandlers, model: str) -> AboutTab:
    """Lay the tab out."""
    with gr.Column(elem_classes=["ha-box", "ha-flat"]):
        fixed(asset("about.html"))
    with gr.Column(elem_classes=["ha-box", "ha-flat"]):
        fixed("<h3 class='ha-title'>Live = atlas</h3>")
        recheck = gr.Button("Measure six prompts again", size="sm", min_width=180, elem_id="about-recheck")
        status = drawn("note", None, elem_id="about-status", boxed=False)
        found = drawn("card", {"empty": RECHECK_EMPTY}, elem_id="about-found", boxed=False)
    card = drawn("card", handlers.card(model), elem_id="about-card")
    return AboutTab(card, recheck, status, found)


def wire(tab: AboutTab, handlers: AboutHandlers, model: gr.Dropdown) -> None:
    """Connect the tab's own events."""
    running = tab.recheck.click(
        handlers.recheck, [model], [tab.status, tab.found], **(ON_MODEL | {"trigger_mode": "once"})
    )
    forget = [None, {"empty": RECHECK_EMPTY}]
    model.change(lambda: forget, None, [tab.status, tab.found], **PURE, cancels=[running])
