"""Your own model: any hub id or folder on a laptop, and a quick atlas of it. Never on a public server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from head_atlas.app.components import asset, drawn, fixed
from head_atlas.app.events import PURE
from head_atlas.app.words import busy, failed
from head_atlas.errors import HeadAtlasError

if TYPE_CHECKING:
    from head_atlas.app.engine import Engine
    from head_atlas.app.quick_build import BuildState

POLL_SECONDS = 2
_COUNTED, _LONGEST_COUNT = "#", 9


@dataclass(frozen=True)
class OwnModel:
    """The components."""

    place: gr.Textbox
    open: gr.Button
    build: gr.Button
    stop: gr.Button
    note: gr.HTML
    timer: gr.Timer
    opened: gr.Textbox


def build(*, allowed: bool) -> OwnModel:
    """Lay it out; hidden where only the served models may be used.

    Args:
        allowed: whether a model may be typed here.
    """
    # In the page, and outside of what is folded: a State that is filled beside the queue tells nobody that it changed.
    opened = gr.Textbox("", visible="hidden")
    with gr.Accordion("Your own model", open=False, visible=allowed):
        fixed(asset("own-model.html"))
        place = gr.Textbox("", label="Hub id or folder", placeholder="gpt2", max_lines=1, elem_id="lab-place")
        with gr.Row(elem_classes=["ha-pills"]):
            opening = gr.Button("Open it in the Lab", size="sm", min_width=130, elem_id="lab-open")
            building = gr.Button("Build a quick atlas of this model", size="sm", min_width=220, elem_id="lab-build")
            stop = gr.Button("Stop the build", size="sm", min_width=110, elem_id="lab-build-stop")
        note = drawn("note", None, elem_id="lab-build-note", boxed=False)
    return OwnModel(place, opening, building, stop, note, gr.Timer(POLL_SECONDS, active=False), opened)


class OwnModelHandlers:
    """The callbacks. Each refuses where the library does not allow it: anyone can call them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def open(self, place: Any, opened: Any) -> list[Any]:
        """Open a model that was typed: the menu, a note, and what tells the page to show it."""
        try:
            name = self.engine.library.open(place)
        except HeadAtlasError as error:
            return [gr.skip(), failed(error), gr.skip()]
        text = f"{name} is open. It is loaded with the first run; the atlas’ tabs need an atlas of it."
        menu = gr.update(choices=self.engine.library.names, value=name)
        return [menu, {"kind": "done", "text": text}, _next(opened, name)]

    def start(self, model: Any) -> list[Any]:
        """Begin a quick atlas of a model, or go on with it: a note, and the timer."""
        try:
            self.engine.library.check_own_models()
            self.engine.builder.start(model if isinstance(model, str) else "")
        except HeadAtlasError as error:
            return [failed(error), gr.skip()]
        return [busy("Starting the build …"), gr.Timer(active=True)]

    def stop(self) -> dict:
        """Stop it."""
        try:
            self.engine.library.check_own_models()
        except HeadAtlasError as error:
            return failed(error)
        self.engine.builder.stop()
        return {"kind": "info", "text": "Stopping; what is done stays."}

    def look(self, model: Any, opened: Any) -> list[Any]:
        """How far it is: a note, the timer, and what shows the chosen model anew once there is an atlas of it."""
        state = self.engine.builder.state()
        ready = state.finished and state.name == model
        return [_note(state), gr.Timer(active=state.running), _next(opened, state.name) if ready else gr.skip()]


def _next(opened: Any, name: str) -> str:
    """A model's name, and a number that the text before did not have: so the same model is shown anew, too."""
    count = str(opened).rpartition(_COUNTED)[2]
    return f"{name}{_COUNTED}{int(count) + 1 if count.isdecimal() and len(count) < _LONGEST_COUNT else 1}"


def opened_name(opened: Any) -> str:
    """The model that is to be shown."""
    return opened.rpartition(_COUNTED)[0] if isinstance(opened, str) else ""


def _note(state: BuildState) -> dict | None:
    if state.running:
        share = "" if state.fraction is None else f", {100 * state.fraction:.0f} % of its units"
        return busy(f"Quick atlas of {state.name}{share}: {state.text}", state.fraction)
    if not state.text:
        return None
    return {"kind": "done" if state.finished else "info", "text": f"{state.name}: {state.text}"}


def wire(own: OwnModel, handlers: OwnModelHandlers, model: gr.Dropdown) -> None:
    """Connect it; `own.opened` changes where the page is to show another model, or the same one anew."""
    for event in (own.open.click, own.place.submit):
        event(handlers.open, [own.place, own.opened], [model, own.note, own.opened], **PURE)
    own.build.click(handlers.start, [model], [own.note, own.timer], **PURE)
    own.stop.click(handlers.stop, None, [own.note], **PURE)
    own.timer.tick(handlers.look, [model, own.opened], [own.note, own.timer, own.opened], **PURE)
