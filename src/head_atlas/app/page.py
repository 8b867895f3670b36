"""The whole page: header, tabs, address, and the events that cross tabs."""

from __future__ import annotations

import gradio as gr

from head_atlas.app import (
    about_tab,
    atlas_tab,
    compare_tab,
    lab_tab,
    lab_wiring,
    learn_tab,
    public_api,
    start_tab,
)
from head_atlas.app.atlas_view import atlas_view
from head_atlas.app.components import asset, drawn, fixed
from head_atlas.app.engine import Engine
from head_atlas.app.events import PURE
from head_atlas.app.library import Library
from head_atlas.app.limits import Limits
from head_atlas.app.page_handlers import PageHandlers, note_of
from head_atlas.app.page_state import PageState
from head_atlas.app.tour import TOUR

HEADER_SCRIPTS = ("common.js", "header.js", "copying.js", "link.js", "picture.js", "saving.js")
"""What the page has once: the theme, the link to it, and the menu that saves any figure or table."""


def build_page(library: Library, limits: Limits, engine: Engine | None = None) -> tuple[gr.Blocks, PageHandlers]:
    """The app, ready to launch, and its callbacks.

    Args:
        library: what is served; its default entry is painted into the page.
        limits: of the Lab.
        engine: the models; made from the library if not given.
    """
    engine = engine or Engine(library, limits)
    handlers = PageHandlers(library, engine)
    first = atlas_view(library, PageState())
    name = library.default
    with gr.Blocks(title="Head Atlas", analytics_enabled=False, fill_width=True) as page:
        # First, so that no event of the page takes a call's name.
        public_api.add(library, engine)
        with gr.Row(elem_classes=["ha-top"]):
            with gr.Column(scale=5, min_width=260):
                fixed(asset("header.html"), scripts=HEADER_SCRIPTS, elem_id="header")
            with gr.Column(scale=2, min_width=200):
                model = gr.Dropdown(library.names, value=name, label="Model", elem_id="model")
        drawn("tour", TOUR, elem_id="tour", boxed=False)
        notice = drawn("note", note_of(first.problems), elem_id="notice", boxed=False)
        tab_name = gr.State("start")
        # In the page and not a State: only the page itself can tell, before it asks, that a menu was merely passed.
        shown = gr.Textbox(name, visible="hidden")
        switches = gr.Number(0, visible="hidden")
        with gr.Tabs(elem_id="tabs", selected="start") as tabs:
            with gr.Tab("Start", id="start"):
                start = start_tab.build(handlers.start, name)
            with gr.Tab("Atlas", id="atlas"):
                atlas = atlas_tab.build(first)
            with gr.Tab("Lab", id="lab"):
                lab = lab_tab.build(engine, name)
            with gr.Tab("Learn", id="learn"):
                learn = learn_tab.build(handlers.learn, name)
            with gr.Tab("Compare", id="compare"):
                compare = compare_tab.build(handlers.compare, name)
            with gr.Tab("About", id="about"):
                about = about_tab.build(handlers.about, name)
        address = drawn("address", None, elem_id="address", boxed=False)

        writes = {
            "fn": handlers.address,
            "inputs": [
                tab_name,
                model,
                *atlas.inputs,
                lab.prompt,
                lab.removed,
                lab.mode,
                *lab.choices,
                learn.contents,
                compare.beside,
                *atlas.further,
            ],
            "outputs": [address],
            **PURE,
        }
        ran, running = lab_wiring.wire(lab, handlers.lab, model)
        opened, experimenting = learn_tab.wire(learn, handlers.learn, model)
        about_tab.wire(about, handlers.about, model)
        changed = [*atlas_tab.wire(atlas, handlers.atlas, model), *ran, *opened]
        running.append(experimenting)

        of_model = [*lab.results, start.grid, start.experiment, about.card]
        restored = [tab_name, tabs, model, notice, *atlas.all, lab.prompt, lab.removed, lab.grid, lab.head]
        restored += [lab.wanted, lab.mode, *lab.choices, compare.beside, *learn.all]
        compared = compare_tab.fill_if_open(compare, handlers.compare, tab_name, model)
        run_if = lab_wiring.run_if(lab, handlers.lab, model)
        for filled in (
            page.load(handlers.load, None, [*restored, *of_model, address], **PURE),
            address.navigate(
                handlers.navigate,
                [address, model, lab.swept, learn.contents],
                [*restored, *of_model],
                **PURE,
                cancels=running,
            ),
        ):
            lab_wiring.follow(lab, filled.then(**run_if))
            filled.then(handlers.start.wake, None, [start.timer], **PURE)
            filled.then(None, [model], [shown], js="model => model")
            filled.then(**compared)
        asked = [start.experiment, start.grid, start.timer]
        start.timer.tick(handlers.start.experiment, [model, start.experiment], asked, **PURE)
        # Not the event of the single tabs: theirs also fires when the first one is drawn, before the page is filled.
        changed.append(tabs.select(handlers.tab_chosen, None, [tab_name], **(PURE | {"trigger_mode": "multiple"})))
        changed[-1].then(**compared)
        changed.append(compare.beside.input(**compared))
        in_atlas = [tab_name, tabs, *atlas.all]
        from_start = [model, atlas.measure, atlas.family, atlas.mode, start.grid, *atlas.further]
        changed.append(start.grid.select(handlers.open_head, from_start, in_atlas, **PURE))
        in_lab = [tab_name, tabs, lab.prompt, lab.removed, lab.target, lab.contrast, lab.grid, lab.wanted]
        in_lab += [lab.mode, lab.corrupted]
        for taken in (
            start.try_it.click(handlers.try_it, [model, lab.colour], in_lab, **PURE),
            learn.to_lab.click(handlers.take_chapter, [model, learn.contents, learn.seed, lab.colour], in_lab, **PURE),
            atlas.examples.live(handlers.take_example, [model, atlas.mode, lab.colour], in_lab, **PURE),
            atlas.live.click(
                handlers.take_head, [model, atlas.mode, atlas.head, lab.prompt, lab.colour], in_lab, **PURE
            ),
        ):
            changed.append(taken.then(**run_if))
            lab_wiring.follow(lab, changed[-1])
        for button, key in ((start.to_atlas, "atlas"), (start.to_lab, "lab"), (start.to_learn, "learn")):
            changed.append(button.click(lambda key=key: (key, gr.update(selected=key)), None, [tab_name, tabs], **PURE))
        page.load(lambda: gr.update(choices=library.names), None, [model], **PURE)
        held = [model, atlas.measure, atlas.family, atlas.mode, learn.contents]
        of_switch = [notice, *atlas.all, lab.removed, lab.grid, lab.head, *lab.choices, *learn.all, *of_model]
        # Gradio's menu reports a choice whenever the focus leaves it: only another model than `shown` is one.
        counted = "(model, shown, switches) => [model, switches + (model !== shown)]"
        model.input(None, [model, shown, switches], [shown, switches], js=counted)
        options = PURE | {"cancels": running}
        for switched in (
            switches.change(handlers.other_model, held, of_switch, **options),
            lab.own.opened.change(handlers.opened_model, [lab.own.opened, *held[1:]], of_switch, **options),
        ):
            switched.then(handlers.start.wake, None, [start.timer], **PURE)
            switched.then(None, [model], [shown], js="model => model")
            switched.then(**compared)
            changed.append(switched)
        for event in changed:
            # Only after success: a run that Back or another model cancels must not write what it was started from.
            event.success(**writes)
    return page, handlers
