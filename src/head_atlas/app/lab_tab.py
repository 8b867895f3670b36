"""The Lab tab: one prompt, heads removed by a click, and what the model then says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from head_atlas.app import lab_analysis, lab_grids, lab_history, lab_model, lab_modes, lab_sections, lab_view
from head_atlas.app.components import asset, drawn, fixed
from head_atlas.app.experiments import FORGETTING_PROMPT
from head_atlas.app.lab_handlers import ATTENTION_EMPTY, BARS_EMPTY, CHIPS_EMPTY, LabHandlers
from head_atlas.app.lab_history import History
from head_atlas.catalogue import EFFECTS
from head_atlas.views.choices import titled
from head_atlas.views.induction import RULE

if TYPE_CHECKING:
    from head_atlas.app.engine import Engine
    from head_atlas.app.lab_analysis import Panel
    from head_atlas.app.lab_model import OwnModel

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
    role: gr.Dropdown
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
    result: gr.State
    panels: list[Panel]
    history: History
    own: OwnModel
    take: gr.Button
    files: gr.HTML

    @property
    def asked(self) -> list[Any]:
        """What defines an experiment, beside the model."""
        return [self.prompt, self.removed, self.mode, self.target, self.contrast, self.corrupted]

    @property
    def choices(self) -> list[Any]:
        """What `LabHandlers.choices` sets."""
        return [self.target, self.contrast, self.colour, self.corrupted]

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
            self.result,
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
            self.files,
        ]


def build(engine: Engine, model: str) -> LabTab:
    """Lay the tab out."""
    handlers = LabHandlers(engine)
    first, roles = handlers.grid(model, "", lab_view.BY_ATLAS, None), handlers.roles(model)
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
        own = lab_model.build(allowed=engine.library.own_models)
    with gr.Row(equal_height=False, elem_classes=["ha-columns"]):
        with gr.Column(scale=10, min_width=320, elem_classes=["ha-box", "ha-flat"]):
            fixed("<h3 class='ha-title'>Remove heads</h3>")
            grid = drawn("grid", first, elem_id="lab-grid", boxed=False)
            removed = gr.Textbox("", label="Removed heads", placeholder="2.5, L2H1", max_lines=1, elem_id="lab-removed")
            with gr.Row(elem_classes=["ha-pills"]):
                induction = gr.Button("All induction heads", size="sm", min_width=140, elem_id="lab-induction")
                clear = gr.Button("Put all back", size="sm", min_width=110, elem_id="lab-clear")
                undo = gr.Button("Undo", size="sm", min_width=80, interactive=False, elem_id="lab-undo")
            fixed(f"<p class='ha-lead'>“All induction heads” takes those with an {RULE}, in the atlas.</p>")
            role = gr.Dropdown(
                roles,
                value=None,
                label="Or all heads of a role",
                info="Roles as the atlas judged them; they show on each head’s page.",
                visible=bool(roles),
                min_width=200,
                elem_id="lab-role",
            )
            earlier = lab_history.build_list()
            with gr.Row():
                colour = gr.Dropdown(
                    colours, value=lab_view.BY_ATLAS, label="Colour by", scale=5, min_width=190, elem_id="lab-colour"
                )
                mode = gr.Dropdown(
                    lab_modes.MENU,
                    value=lab_modes.DEFAULT_MODE,
                    label="Ablation mode",
                    scale=4,
                    min_width=150,
                    elem_id="lab-mode",
                )
            with gr.Row(elem_classes=["ha-actions"]):
                run = gr.Button("Run", variant="primary", min_width=90, elem_id="lab-run")
                sweep = gr.Button("Measure every head", min_width=176, elem_id="lab-sweep")
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
            with gr.Row(elem_classes=["ha-pills"]):
                pin = gr.Button("Pin, to compare", size="sm", min_width=120, elem_id="lab-pin")
                take = gr.Button("Take this away", size="sm", min_width=120, elem_id="lab-take")
            files = drawn("takeaway", {"empty": ""}, elem_id="lab-files", boxed=False)
        box, pinned, unpin = lab_history.build_pinned()
    with gr.Column(elem_classes=["ha-box", "ha-flat"]):
        fixed(asset("look-closer.html"))
        with gr.Tabs(elem_id="lab-analyses", overflow_behavior="wrap"):
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
        role,
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
        gr.State(None),
        panels,
        History(undo, pin, unpin, earlier, pinned, box, gr.State([])),
        own,
        take,
        files,
    )
