"""The Lab's events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from head_atlas.app import lab_analysis, lab_history, lab_model, lab_sections, lab_view
from head_atlas.app.events import ON_MODEL, PURE
from head_atlas.app.lab_pair import PairHandlers
from head_atlas.app.lab_tab import EXAMPLES

if TYPE_CHECKING:
    from head_atlas.app.lab_handlers import LabHandlers
    from head_atlas.app.lab_tab import LabTab


def run_if(tab: LabTab, handlers: LabHandlers, model: gr.Dropdown) -> dict[str, Any]:
    """An event that runs the experiment where `tab.wanted` says so."""
    inputs = [tab.wanted, model, *tab.asked, tab.head, tab.colour, tab.swept]
    return {"fn": handlers.run_if, "inputs": inputs, "outputs": tab.shown, **ON_MODEL}


def follow(tab: LabTab, event: Any) -> None:
    """After an event that ran the experiment: list it, and say what still holds."""
    history, panels = tab.history, tab.panels
    event.success(lab_history.HistoryHandlers.record, [history.tried, tab.ran, tab.result], history.listed, **PURE)
    mades, statuses = [panel.made for panel in panels], [panel.status for panel in panels]
    event.success(lab_analysis.outdated, [tab.ran, *mades], statuses, **PURE)


def wire(tab: LabTab, handlers: LabHandlers, model: gr.Dropdown) -> tuple[list[Any], list[Any]]:
    """Connect the tab's own events; returns those after which the address changes, and those that run the model."""
    everything = [model, *tab.asked, tab.head, tab.colour, tab.swept]
    on_grid = [model, tab.removed, tab.colour, tab.swept]
    run = {"fn": handlers.run, "inputs": everything, "outputs": tab.shown, **ON_MODEL}
    finished = []
    for event in (tab.run.click, tab.prompt.submit):
        finished.append(event(**run))
    for menu in (tab.target, tab.contrast, tab.mode):
        finished.append(menu.input(handlers.run_other, [tab.ran, *everything], tab.shown, **ON_MODEL))
    tab.ran.change(lambda: {"empty": ""}, None, [tab.files], **PURE)
    toggled = tab.grid.select(handlers.toggle, [*on_grid, tab.grid], [tab.removed, tab.grid], **PURE)
    picked = tab.induction.click(
        handlers.induction,
        [model, tab.colour, tab.swept],
        [tab.removed, tab.grid, tab.status, tab.wanted],
        **PURE,
    )
    of_role = tab.role.input(
        handlers.of_role,
        [model, tab.role, tab.colour, tab.swept],
        [tab.removed, tab.grid, tab.status, tab.wanted, tab.role],
        **PURE,
    )
    model.change(handlers.role_menu, [model], [tab.role], **PURE)
    finished += [event.success(**run_if(tab, handlers, model)) for event in (picked, of_role)]
    cleared = tab.clear.click(
        lambda model, colour, swept: ["", handlers.grid(model, "", colour, swept)],
        [model, tab.colour, tab.swept],
        [tab.removed, tab.grid],
        **PURE,
    )
    for event in (toggled, cleared):
        finished.append(event.success(**run))
    gr.on([tab.removed.submit, tab.removed.blur], handlers.typed, [*on_grid, tab.grid], [tab.grid], **PURE)
    finished.append(tab.removed.submit(**run))
    for (_, text), button in zip(EXAMPLES, tab.examples, strict=True):
        chosen = button.click(
            lambda text=text: (text, lab_view.AUTOMATIC, lab_view.NO_CONTRAST, ""),
            None,
            [tab.prompt, tab.target, tab.contrast, tab.corrupted],
            **PURE,
        )
        finished.append(chosen.success(**run))
    coloured = tab.colour.input(handlers.recolour, on_grid, [tab.grid], **PURE)
    looked = gr.on(
        [tab.head.submit, tab.head.blur],
        handlers.look,
        [model, tab.head, tab.ran],
        [tab.attention, tab.picker],
        **ON_MODEL,
    )
    picked_look = tab.picker.select(handlers.pick, [tab.ran, tab.picker], [tab.head, tab.attention], **ON_MODEL)
    sweeping = tab.sweep.click(
        handlers.sweep,
        [model, *tab.asked, tab.colour],
        [tab.status, tab.grid, tab.swept, tab.colour],
        **(ON_MODEL | {"trigger_mode": "once"}),
    )
    stopped = tab.stop.click(
        lambda: {"kind": "info", "text": "Stopped. What was measured stays on the grid."},
        None,
        [tab.status],
        cancels=[sweeping],
        **PURE,
    )
    again = lab_history.wire(
        tab.history,
        lab_history.HistoryHandlers(handlers),
        model,
        tab.asked,
        [tab.grid, tab.colour, tab.swept],
        tab.wanted,
    )
    finished += [event.success(**run_if(tab, handlers, model)) for event in again]
    taken = tab.take.click(handlers.take, [tab.ran], [tab.files], **(ON_MODEL | {"trigger_mode": "once"}))
    lab_model.wire(tab.own, lab_model.OwnModelHandlers(handlers.engine), model)
    pair = PairHandlers(handlers.engine)
    tab.propose.click(
        pair.propose,
        [model, tab.prompt, tab.corrupted],
        [tab.corrupted, tab.pair],
        **(ON_MODEL | {"trigger_mode": "once"}),
    )
    gr.on(
        [tab.corrupted.submit, tab.corrupted.blur],
        pair.check, [model, tab.prompt, tab.corrupted], [tab.pair], **ON_MODEL,
    )  # fmt: skip
    analyses = lab_sections.wire(tab.panels, handlers.engine, [model, *tab.asked])
    for event in finished:
        follow(tab, event)
    return [*finished, coloured, sweeping, stopped], [*finished, looked, picked_look, sweeping, taken, *analyses]
