"""What was tried in this visit: undo, a short list that brings an experiment back, and one pinned beside the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from head_atlas.app import lab_view
from head_atlas.app.components import drawn, fixed
from head_atlas.app.events import PURE
from head_atlas.catalogue import mode_label

if TYPE_CHECKING:
    from head_atlas.app.lab_handlers import LabHandlers

MOST_KEPT = 20
NOTHING = "Nothing to compare with yet: pin an experiment, then run another one."


@dataclass(frozen=True)
class Tried:
    """An experiment of this visit.

    Attributes:
        what: as it was asked for.
        bars: what it showed of the next token.
    """

    what: lab_view.Asked
    bars: dict

    @property
    def inputs(self) -> tuple[str, ...]:
        """Prompt, removed heads, mode, target, contrast and corrupted prompt, as the page has them.

        Of the experiment itself: what stands in the page may have been changed while it ran.
        """
        what = self.what
        return (
            what.prompt,
            ", ".join(map(str, what.heads)),
            what.mode,
            lab_view.choice_text(what.target, lab_view.AUTOMATIC),
            lab_view.choice_text(what.contrast, lab_view.NO_CONTRAST),
            what.corrupted,
        )

    @property
    def label(self) -> str:
        """One line of the list."""
        text = self.what.prompt.strip()
        short = text if len(text) <= 44 else f"…{text[-42:]}"
        if not self.what.heads:
            return f"“{short}” · all heads in place"
        return f"“{short}” · without {lab_view.heads_text(self.what.heads)} · {mode_label(self.what.mode)}"


@dataclass(frozen=True)
class History:
    """The components."""

    undo: gr.Button
    pin: gr.Button
    unpin: gr.Button
    earlier: gr.Dropdown
    pinned: gr.HTML
    box: gr.Column
    tried: gr.State

    @property
    def listed(self) -> list[Any]:
        """What changes with the list."""
        return [self.tried, self.earlier, self.undo]


def build_list() -> gr.Dropdown:
    """The list, among the controls of the Lab; it shows itself once it has two entries."""
    return gr.Dropdown(
        [], value=None, label="Earlier in this visit", visible=False, min_width=200, elem_id="lab-earlier"
    )


def build_pinned() -> tuple[gr.Column, gr.HTML, gr.Button]:
    """The pinned experiment: beside the result of the next one."""
    with gr.Column(scale=11, min_width=320, elem_classes=["ha-box", "ha-flat"], visible=False) as box:
        fixed("<h3 class='ha-title'>Pinned, to compare with</h3>")
        pinned = drawn("bars", {"empty": NOTHING}, elem_id="lab-pinned", boxed=False)
        unpin = gr.Button("Unpin", size="sm", min_width=80, elem_id="lab-unpin")
    return box, pinned, unpin


class HistoryHandlers:
    """Callbacks of the list."""

    def __init__(self, lab: LabHandlers) -> None:
        self.lab = lab

    @staticmethod
    def record(tried: Any, ran: Any, bars: Any) -> list[Any]:
        """An experiment was run: keep it, if it is another one than the last."""
        kept = _tried(tried)
        if isinstance(ran, lab_view.Asked) and isinstance(bars, dict):
            before = kept[:-1] if kept and kept[-1].what == ran else kept
            kept = [*before, Tried(ran, bars)][-MOST_KEPT:]
        return _listed(kept)

    def undo(self, tried: Any, model: str, colour: str, swept: Any) -> list[Any]:
        """Back to the experiment before the last one."""
        kept = _tried(tried)
        if len(kept) < 2:
            return [*_listed(kept), *[gr.skip()] * 7, False]
        return [*_listed(kept[:-1]), *self._restored(kept[-2], model, colour, swept), True]

    def again(self, tried: Any, chosen: Any, model: str, colour: str, swept: Any) -> list[Any]:
        """An experiment of the list was chosen; it becomes the last one when it has run."""
        kept = _tried(tried)
        labels = _labels(kept)
        if not isinstance(chosen, str) or chosen not in labels:
            return [*[gr.skip()] * 10, False]
        one = kept[labels.index(chosen)]
        return [*_listed(kept), *self._restored(one, model, colour, swept), True]

    def _restored(self, one: Tried, model: str, colour: str, swept: Any) -> list[Any]:
        """Prompt, removed heads, mode, target, contrast, corrupted prompt, and the grid."""
        return [*one.inputs, self.lab.grid(model, one.inputs[1], colour, swept)]

    @staticmethod
    def pin(tried: Any) -> list[Any]:
        """Keep the last experiment's result beside the next one's."""
        kept = _tried(tried)
        if not kept:
            return [gr.skip(), gr.skip()]
        bars = dict(kept[-1].bars)
        bars["summary"] = kept[-1].label
        return [gr.update(visible=True), bars]


def _tried(tried: Any) -> list[Tried]:
    return [one for one in tried if isinstance(one, Tried)] if isinstance(tried, list) else []


def _labels(kept: Sequence[Tried]) -> list[str]:
    return [f"{n}. {one.label}" for n, one in enumerate(kept, start=1)]


def _listed(kept: list[Tried]) -> list[Any]:
    """The state, the list with its newest entry first, and whether there is anything to undo."""
    several = len(kept) > 1
    return [
        kept,
        gr.update(choices=_labels(kept)[::-1], value=None, visible=several),
        gr.update(interactive=several),
    ]


def forgotten() -> list[Any]:
    """Another model: experiments of the old one cannot be brought back. Fills the list and the pinned box."""
    return [*_listed([]), gr.update(visible=False), {"empty": NOTHING}]


def wire(
    history: History,
    handlers: HistoryHandlers,
    model: gr.Dropdown,
    asked: Sequence[Any],
    grid: Sequence[Any],
    wanted: gr.State,
) -> list[Any]:
    """Connect it; returns the events after which the experiment is to be run.

    Args:
        history: components.
        handlers: callbacks.
        model: the menu.
        asked: components that define an experiment, the model left out.
        grid: the grid of heads, and the inputs that it is drawn from: colour, sweep.
        wanted: whether a run is to follow.
    """
    drawn_from = [model, *grid[1:]]
    filled = [*history.listed, *asked, grid[0], wanted]
    history.pin.click(HistoryHandlers.pin, [history.tried], [history.box, history.pinned], **PURE)
    history.unpin.click(
        lambda: [gr.update(visible=False), {"empty": NOTHING}], None, [history.box, history.pinned], **PURE
    )
    model.change(forgotten, None, [*history.listed, history.box, history.pinned], **PURE)
    return [
        history.undo.click(handlers.undo, [history.tried, *drawn_from], filled, **PURE),
        history.earlier.input(handlers.again, [history.tried, history.earlier, *drawn_from], filled, **PURE),
    ]
