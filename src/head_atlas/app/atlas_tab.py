"""The Atlas tab: all heads as a heat map, a scatter plot or a table, and the page of the chosen head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from head_atlas.app.atlas_handlers import AtlasHandlers
from head_atlas.app.atlas_view import VIEWS, AtlasView
from head_atlas.app.components import drawn
from head_atlas.app.events import PURE
from head_atlas.app.page_state import UNFILTERED


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
    headline: gr.HTML
    examples: gr.HTML
    page: gr.HTML
    other: gr.Textbox
    view: gr.State
    views: gr.Tabs
    x: gr.Dropdown
    y: gr.Dropdown
    by: gr.Dropdown
    scatter: gr.HTML
    finder: gr.HTML
    prompts: gr.Dropdown
    band: gr.Dropdown
    previous: gr.Button
    following: gr.Button
    live: gr.Button
    filters: gr.State

    @property
    def all(self) -> list[Any]:
        """Every component that is filled."""
        of_map = [self.measure, self.family, self.mode, self.head, self.note, self.grid, self.sentence]
        of_head = [self.headline, self.examples, self.page, self.other]
        of_views = [self.view, self.views, self.x, self.y, self.by, self.scatter, self.finder]
        return [*of_map, *of_head, *of_views, self.prompts, self.band, self.filters]

    @property
    def of_head(self) -> list[Any]:
        """What another head changes."""
        return [self.head, self.note, self.grid, self.headline, self.examples, self.page]

    @property
    def inputs(self) -> list[Any]:
        """What a visitor can set: measure, family, mode and head."""
        return [self.measure, self.family, self.mode, self.head]

    @property
    def further(self) -> list[Any]:
        """What else a visitor can set."""
        return [self.other, self.view, self.x, self.y, self.by, self.prompts, self.band, self.filters]


def build(first: AtlasView) -> AtlasTab:
    """Lay the tab out, already painted with the default view."""
    state = first.state

    def menu(choices: Any, value: str, label: str, name: str, scale: int, width: int, **more: Any) -> gr.Dropdown:
        return gr.Dropdown(
            choices,
            value=value or None,
            label=label,
            scale=scale,
            min_width=width,
            elem_id=f"atlas-{name}",
            **more,
        )

    with gr.Row(elem_classes=["ha-toolbar"]):
        measure = menu(first.measures, state.measure, "Measure", "measure", 4, 220)
        family = menu(first.families, state.family, "Prompt family", "family", 3, 180, visible=len(first.families) > 1)
        mode = menu(first.modes, state.mode, "Ablation mode of effects", "mode", 2, 150)
        head = _head_box(state.head, "Head", "atlas-head", 2)
    note = drawn("note", None, elem_id="atlas-note", boxed=False)
    view = gr.State("map")
    with gr.Row(equal_height=False, elem_classes=["ha-columns"]):
        with (
            gr.Column(scale=11, min_width=320, elem_classes=["ha-box", "ha-flat"]),
            gr.Tabs(elem_id="atlas-views", selected="map") as views,
        ):
            with gr.Tab(VIEWS["map"], id="map"):
                sentence = drawn("measure", first.measure, elem_id="atlas-sentence", boxed=False)
                grid = drawn("grid", first.grid, elem_id="atlas-grid", boxed=False)
            with gr.Tab(VIEWS["scatter"], id="scatter"):
                with gr.Row(elem_classes=["ha-toolbar"]):
                    x = menu(first.axes, first.chosen[0], "To the right", "x", 3, 240)
                    y = menu(first.axes, first.chosen[1], "Upwards", "y", 3, 240)
                    by = menu(first.axes, first.chosen[2], "Colour", "by", 3, 240)
                scatter = drawn("scatter", first.scatter, elem_id="atlas-scatter", boxed=False)
            with gr.Tab(VIEWS["find"], id="find"):
                finder = drawn("finder", first.finder, elem_id="atlas-finder", boxed=False)
        with gr.Column(scale=10, min_width=320):
            with gr.Row(elem_classes=["ha-actions", "ha-toolbar"]):
                previous = gr.Button("← Previous", size="sm", min_width=80, elem_id="atlas-previous")
                following = gr.Button("Next →", size="sm", min_width=80, elem_id="atlas-next")
                live = gr.Button("Remove it in the Lab", size="sm", min_width=150, elem_id="atlas-live")
                other = _head_box(state.other, "Compare with", "atlas-other", 1)
            headline = drawn("headline", first.headline, elem_id="atlas-card")
    with gr.Column(elem_classes=["ha-box", "ha-flat"]):
        with gr.Row(elem_classes=["ha-toolbar"]):
            some = bool(first.sets)
            prompts = menu(first.sets, _first(first.sets), "Example prompts", "prompts", 1, 150, visible=some)
            band = menu(first.bands, _first(first.bands), "Which of them", "band", 1, 150, visible=some)
        examples = drawn("examples", first.examples, elem_id="atlas-examples", boxed=False)
    page = drawn("head", first.page, elem_id="atlas-page", boxed=False)
    return AtlasTab(
        *(measure, family, mode, head, note, grid, sentence, headline, examples, page, other, view, views),
        *(x, y, by, scatter, finder, prompts, band, previous, following, live, gr.State(UNFILTERED)),
    )


def _head_box(value: str, label: str, name: str, scale: int) -> gr.Textbox:
    return gr.Textbox(
        value, label=label, placeholder="2.5 or L2H5", scale=scale, min_width=110, max_lines=1, elem_id=name
    )


def _first(choices: list[tuple[str, str]]) -> str:
    return choices[0][1] if choices else ""


def wire(tab: AtlasTab, handlers: AtlasHandlers, model: gr.Dropdown) -> list[Any]:
    """Connect the tab's own events; returns those after which the address changes."""
    everything = [model, *tab.inputs, *tab.further]
    menus = [tab.measure, tab.family, tab.mode]
    shown = [tab.scatter, tab.finder]
    others = [tab.view, *shown]
    without_head = [model, *menus, *tab.further]
    # Every event is sent with what it holds: of two clicks the later answer stays.
    own = PURE | {"trigger_mode": "multiple"}
    events = [menu.input(handlers.refresh, everything, tab.all, **PURE) for menu in menus]
    events.append(gr.on([tab.head.submit, tab.head.blur], handlers.typed, everything, tab.of_head, **PURE))
    events.append(gr.on([tab.other.submit, tab.other.blur], handlers.typed, everything, tab.of_head, **PURE))
    for panel in (tab.grid, tab.scatter, tab.finder):
        events.append(panel.select(handlers.picked, [*without_head, panel], tab.of_head, **PURE))
    events.append(tab.page.go(handlers.gone, without_head, tab.of_head, **own))
    for button, step in ((tab.previous, -1), (tab.following, 1)):
        events.append(button.click(handlers.stepper(step), everything, tab.of_head, **PURE))
    events.append(tab.views.select(handlers.view_chosen, everything, others, **own))
    axes = gr.on([menu.input for menu in (tab.x, tab.y, tab.by)], handlers.plotted, everything, [tab.scatter], **PURE)
    exemplars = gr.on(
        [tab.prompts.input, tab.band.input], handlers.exampled, everything, [tab.band, tab.examples], **PURE
    )
    events.append(tab.finder.filter(handlers.filtered, None, [tab.filters], **own))
    return [*events, axes, exemplars]
