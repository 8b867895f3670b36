"""The Lab tab: one prompt, heads removed by a click, and what the model then says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from head_atlas.app import lab_analysis, lab_grids, lab_modes, lab_sections, lab_view
from head_atlas.app.components import asset, drawn, fixed
from head_atlas.app.events import ON_MODEL, PURE
from head_atlas.app.experiments import FORGETTING_PROMPT
from head_atlas.app.lab_handlers import ATTENTION_EMPTY, BARS_EMPTY, CHIPS_EMPTY, LabHandlers
from head_atlas.app.lab_pair import PairHandlers
from head_atlas.catalogue import EFFECTS
from head_atlas.views.choices import titled
from head_atlas.views.induction import RULE

if TYPE_CHECKING:
    from head_atlas.app.engine import Engine
    from head_atlas.app.lab_analysis import Panel

EXAMPLES = (
    ("A name that recurs", FORGETTING_PROMPT),
    ("A repeated sentence", "The cat sat on the mat. The cat sat on the"),
    ("A fact", "The capital of France is"),
    ("Who gets the book?", "When Mary and John went to the store, John gave a book to"),
    ("Agreement", "The dogs near the park"),
)


@dataclass(frozen=True)
class LabTab:
    """The tab's components."""

    prompt: gr.Textbox
    corrupted: gr.Textbox
    propose: gr.Button
    pair: gr.HTML
    examples: list[gr.Button]
    removed: gr.Textbox
    mode: gr.Dropdown
    run: gr.Button
    sweep: gr.Button
    stop: gr.Button
    induction: gr.Button
    clear: gr.Button
    colour: gr.Dropdown
    grid: gr.HTML
    status: gr.HTML
    bars: gr.HTML
    target: gr.Dropdown
    contrast: gr.Dropdown
    chips: gr.HTML
    chips_without: gr.HTML
    head: gr.Textbox
    picker: gr.HTML
    attention: gr.HTML
    ran: gr.State
    swept: gr.State
    wanted: gr.State
    panels: list[Panel]

    @property
    def asked(self) -> list[Any]:
        """What defines an experiment, beside the model."""
        return [self.prompt, self.removed, self.mode, self.target, self.contrast, self.corrupted]

    @property
    def choices(self) -> list[Any]:
        """What `LabHandlers.choices` sets."""
        return [self.target, self.contrast, self.colour]

    @property
    def shown(self) -> list[Any]:
        """What a run fills."""
        return [
            self.status,
            self.bars,
            self.chips,
            self.chips_without,
            self.target,
            self.contrast,
            self.attention,
            self.ran,
            self.grid,
            self.head,
            self.picker,
            self.swept,
        ]

    @property
    def results(self) -> list[Any]:
        """What `LabHandlers.without_results` empties."""
        return [
            self.status,
            self.bars,
            self.chips,
            self.chips_without,
            self.attention,
            self.ran,
            self.picker,
            self.swept,
        ]


def build(engine: Engine, model: str) -> LabTab:
    """Lay the tab out."""
    first = LabHandlers(engine).grid(model, "", lab_view.BY_ATLAS, None)
    colours = [("Atlas: induction", lab_view.BY_ATLAS)] + [
        (f"Here: {titled(m.label)}", name) for name, m in EFFECTS.items()
    ]
    with gr.Column(elem_classes=["ha-box", "ha-flat"]):
        prompt = gr.Textbox(
            FORGETTING_PROMPT,
            label="Prompt",
            info="The model says what comes next. Enter runs it.",
            lines=2,
            max_lines=6,
            elem_id="lab-prompt",
        )
        with gr.Row(elem_classes=["ha-pills"]):
            examples = [gr.Button(label, size="sm", min_width=90) for label, _ in EXAMPLES]
        with gr.Accordion("A corrupted prompt: the same sentence with its deciding word exchanged", open=False):
            fixed(asset("corrupted-prompt.html"))
            corrupted = gr.Textbox(
                "", label="Corrupted prompt", lines=1, max_lines=4, placeholder="As many tokens as the prompt has.",
                elem_id="lab-corrupted",
            )  # fmt: skip
            propose = gr.Button("Propose one", size="sm", min_width=120, elem_id="lab-propose")
            pair = drawn("note", None, elem_id="lab-pair", boxed=False)
    with gr.Row(equal_height=False, elem_classes=["ha-columns"]):
        with gr.Column(scale=10, min_width=320, elem_classes=["ha-box", "ha-flat"]):
            fixed("<h3 class='ha-title'>Remove heads</h3>")
            grid = drawn("grid", first, elem_id="lab-grid", boxed=False)
            removed = gr.Textbox("", label="Removed heads", placeholder="2.5, L2H1", max_lines=1, elem_id="lab-removed")
            with gr.Row(elem_classes=["ha-pills"]):
                induction = gr.Button("All induction heads", size="sm", min_width=140, elem_id="lab-induction")
                clear = gr.Button("Put all back", size="sm", min_width=110, elem_id="lab-clear")
            fixed(f"<p class='ha-lead'>“All induction heads” takes those with an {RULE}, in the atlas.</p>")
            with gr.Row():
                colour = gr.Dropdown(
                    colours, value=lab_view.BY_ATLAS, label="Colour by", scale=5, min_width=190, elem_id="lab-colour"
                )
                mode = gr.Dropdown(
                    lab_modes.MENU, value="zero", label="Ablation mode", scale=4, min_width=150, elem_id="lab-mode"
                )
            with gr.Row(elem_classes=["ha-actions"]):
                run = gr.Button("Run", variant="primary", min_width=90, elem_id="lab-run")
                sweep = gr.Button("Measure every head", min_width=150, elem_id="lab-sweep")
                stop = gr.Button("Stop", min_width=70, elem_id="lab-stop")
            status = drawn("note", None, elem_id="lab-status", boxed=False)
        with gr.Column(scale=11, min_width=320, elem_classes=["ha-box", "ha-flat"]):
            fixed("<h3 class='ha-title'>The next token</h3>")
            bars = drawn("bars", {"empty": BARS_EMPTY}, elem_id="lab-bars", boxed=False)
            with gr.Row():
                target = gr.Dropdown(
                    [lab_view.AUTOMATIC],
                    value=lab_view.AUTOMATIC,
                    label="Target",
                    info="From the model’s top ten, or type one token (“·” is a space), then Run.",
                    allow_custom_value=True,
                    min_width=220,
                    elem_id="lab-target",
                )
                contrast = gr.Dropdown(
                    [lab_view.NO_CONTRAST],
                    value=lab_view.NO_CONTRAST,
                    label="Contrast",
                    info="Measure the target’s lead over this token instead.",
                    allow_custom_value=True,
                    min_width=220,
                    elem_id="lab-contrast",
                )
    with gr.Column(elem_classes=["ha-box", "ha-flat"]):
        fixed(asset("look-closer.html"))
        with gr.Tabs(elem_id="lab-analyses", elem_classes=["ha-tabs"]):
            with gr.Tab("Tokens", id="lab-tokens-tab"):
                fixed(asset("attribution-head.html"))
                chips = drawn("chips", {"empty": CHIPS_EMPTY}, elem_id="lab-chips", boxed=False)
                chips_without = drawn("chips", {"empty": ""}, elem_id="lab-chips-without", boxed=False)
                tokens = lab_analysis.build(*lab_sections.TOKENS)
            with (
                gr.Tab("Attention", id="lab-attention-tab", render_children=True),
                gr.Row(equal_height=False),
            ):
                with gr.Column(scale=0, min_width=230):
                    head = gr.Textbox(
                        "", label="Head", info="2.5 or L2H5; or pick one below.", max_lines=1, elem_id="lab-head"
                    )
                    picker = drawn("grid", lab_grids.picker_grid(engine, model, ""), elem_id="lab-picker", boxed=False)
                with gr.Column(scale=1, min_width=300):
                    attention = drawn("attention", {"empty": ATTENTION_EMPTY}, elem_id="lab-attention", boxed=False)
            panels = [tokens, *lab_sections.build()]
    return LabTab(
        prompt,
        corrupted,
        propose,
        pair,
        examples,
        removed,
        mode,
        run,
        sweep,
        stop,
        induction,
        clear,
        colour,
        grid,
        status,
        bars,
        target,
        contrast,
        chips,
        chips_without,
        head,
        picker,
        attention,
        gr.State(None),
        gr.State(None),
        gr.State(False),
        panels,
    )


def run_if(tab: LabTab, handlers: LabHandlers, model: gr.Dropdown) -> dict[str, Any]:
    """An event that runs the experiment where `tab.wanted` says so."""
    inputs = [tab.wanted, model, *tab.asked, tab.head, tab.colour, tab.swept]
    return {"fn": handlers.run_if, "inputs": inputs, "outputs": tab.shown, **ON_MODEL}


def wire(tab: LabTab, handlers: LabHandlers, model: gr.Dropdown) -> tuple[list[Any], list[Any]]:
    """Connect the tab's own events; returns those after which the address changes, and those that run the model."""
    everything = [model, *tab.asked, tab.head, tab.colour, tab.swept]
    on_grid = [model, tab.removed, tab.colour, tab.swept]
    run = {"fn": handlers.run, "inputs": everything, "outputs": tab.shown, **ON_MODEL}
    finished = []
    for event in (tab.run.click, tab.prompt.submit, tab.target.input, tab.contrast.input, tab.mode.input):
        finished.append(event(**run))
    toggled = tab.grid.select(handlers.toggle, [*on_grid, tab.grid], [tab.removed, tab.grid], **PURE)
    picked = tab.induction.click(
        handlers.induction,
        [model, tab.colour, tab.swept],
        [tab.removed, tab.grid, tab.status, tab.wanted],
        **PURE,
    )
    finished.append(picked.success(**run_if(tab, handlers, model)))
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
            lambda text=text: (text, lab_view.AUTOMATIC, lab_view.NO_CONTRAST),
            None,
            [tab.prompt, tab.target, tab.contrast],
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
    picked_look = tab.picker.select(handlers.pick, [model, tab.ran, tab.picker], [tab.head, tab.attention], **ON_MODEL)
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
    analyses = lab_sections.wire(tab.panels, handlers.engine, [model, *tab.asked], tab.ran, finished)
    return [*finished, coloured, sweeping, stopped], [*finished, looked, picked_look, sweeping, *analyses]
