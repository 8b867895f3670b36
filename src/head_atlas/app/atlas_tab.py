"""The Atlas tab: choose a measure, see layers x heads, open a head's card."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from head_atlas.app.atlas_view import AtlasView, atlas_view
from head_atlas.app.components import drawn
from head_atlas.app.events import PURE, picked_head
from head_atlas.app.page_state import PageState
from head_atlas.views.grid import without_marks

if TYPE_CHECKING:
    from head_atlas.app.library import Library


@dataclass(frozen=True)
class AtlasTab:
    """The tab's components, in the order that `AtlasHandlers.outputs` fills them."""

    measure: gr.Dropdown
    family: gr.Dropdown
    mode: gr.Dropdown
    head: gr.Textbox
    note: gr.HTML
    grid: gr.HTML
    sentence: gr.HTML
    card: gr.HTML
    profile: gr.HTML

    @property
    def all(self) -> list[Any]:
        """Every component."""
        return [
            self.measure,
            self.family,
            self.mode,
            self.head,
            self.note,
            self.grid,
            self.sentence,
            self.card,
            self.profile,
        ]

    @property
    def inputs(self) -> list[Any]:
        """What a visitor can set."""
        return [self.measure, self.family, self.mode, self.head]


class AtlasHandlers:
    """The tab's callbacks."""

    def __init__(self, library: Library) -> None:
        self.library = library

    @staticmethod
    def state(model: Any, measure: Any, family: Any, mode: Any, head: Any) -> PageState:
        """What the components hold; anything but text counts as empty."""
        texts = [x if isinstance(x, str) else "" for x in (model, measure, family, mode, head)]
        return PageState(model=texts[0], measure=texts[1], family=texts[2], mode=texts[3], head=texts[4].strip())

    def view(self, model: Any, measure: Any, family: Any, mode: Any, head: Any) -> AtlasView:
        """The view for what the components hold."""
        return atlas_view(self.library, self.state(model, measure, family, mode, head))

    @staticmethod
    def outputs(view: AtlasView) -> list[Any]:
        """Updates of every component of the tab."""
        state = view.state
        return [
            gr.update(choices=view.measures, value=state.measure or None),
            gr.update(choices=view.families, value=state.family or None, visible=len(view.families) > 1),
            gr.update(choices=view.modes, value=state.mode or None),
            state.head,
            None,
            view.grid,
            view.measure,
            view.card,
            view.profile,
        ]

    def refresh(self, model: str, measure: str, family: str, mode: str, head: str) -> list[Any]:
        """A menu was changed: the ring stays where the visitor last put it."""
        view = self.view(model, measure, family, mode, head)
        return self.outputs(replace(view, grid=without_marks(view.grid)))

    def typed(self, model: str, measure: str, family: str, mode: str, head: str) -> list[Any]:
        """A head was typed; of one that is not there, the note and the empty card say so."""
        view = self.view(model, measure, family, mode, head)
        if isinstance(head, str) and head.strip() and not view.state.head:
            words = " ".join(view.problems)
            note = {"kind": "error", "text": words}
            return [gr.skip(), note, view.grid, gr.skip(), {"empty": words}, view.profile]
        return self.outputs(view)[3:]

    def picked(self, model: str, measure: str, family: str, mode: str, grid: Any) -> list[Any]:
        """A cell was chosen; the grid has drawn its ring already, and may have moved on since."""
        head, note, _, *others = self.typed(model, measure, family, mode, str(picked_head(grid)))
        return [head, note, gr.skip(), *others]


def build(first: AtlasView) -> AtlasTab:
    """Lay the tab out, already painted with the default view."""
    state = first.state
    with gr.Row(elem_classes=["ha-toolbar"]):
        measure = gr.Dropdown(
            first.measures,
            value=state.measure or None,
            label="Measure",
            scale=4,
            min_width=220,
            elem_id="atlas-measure",
        )
        family = gr.Dropdown(
            first.families,
            value=state.family or None,
            label="Prompt family",
            scale=3,
            min_width=180,
            visible=len(first.families) > 1,
            elem_id="atlas-family",
        )
        mode = gr.Dropdown(
            first.modes,
            value=state.mode or None,
            label="Ablation mode of effects",
            scale=2,
            min_width=150,
            elem_id="atlas-mode",
        )
        head = gr.Textbox(
            state.head,
            label="Head",
            placeholder="2.5 or L2H5",
            scale=2,
            min_width=130,
            max_lines=1,
            elem_id="atlas-head",
        )
    note = drawn("note", None, elem_id="atlas-note", boxed=False)
    with gr.Row(equal_height=False, elem_classes=["ha-columns"]):
        with gr.Column(scale=10, min_width=320):
            with gr.Column(elem_classes=["ha-box", "ha-flat"]):
                sentence = drawn("measure", first.measure, elem_id="atlas-sentence", boxed=False)
                grid = drawn("grid", first.grid, elem_id="atlas-grid", boxed=False)
            profile = drawn("card", first.profile, elem_id="atlas-profile")
        with gr.Column(scale=11, min_width=320):
            card = drawn("card", first.card, elem_id="atlas-card")
    return AtlasTab(measure, family, mode, head, note, grid, sentence, card, profile)


def wire(tab: AtlasTab, handlers: AtlasHandlers, model: gr.Dropdown) -> list[Any]:
    """Connect the tab's own events; returns those after which the address changes."""
    events = [
        menu.input(handlers.refresh, [model, *tab.inputs], tab.all, **PURE)
        for menu in (tab.measure, tab.family, tab.mode)
    ]
    typed = gr.on([tab.head.submit, tab.head.blur], handlers.typed, [model, *tab.inputs], tab.all[3:], **PURE)
    menus = [tab.measure, tab.family, tab.mode]
    picked = tab.grid.select(handlers.picked, [model, *menus, tab.grid], tab.all[3:], **PURE)
    return [*events, typed, picked]
