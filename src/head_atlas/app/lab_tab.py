"""The Lab tab: one prompt, heads removed by a click, and what the model then says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from head_atlas.app import lab_view
from head_atlas.app.components import drawn, fixed
from head_atlas.app.events import ON_MODEL, PURE, picked_head, refused
from head_atlas.app.experiments import FORGETTING_PROMPT
from head_atlas.app.page_state import read_heads
from head_atlas.catalogue import EFFECTS
from head_atlas.errors import HeadAtlasError, HeadError
from head_atlas.views.choices import titled
from head_atlas.views.induction import RULE, induction_heads

if TYPE_CHECKING:
    from head_atlas.app.engine import Engine

EXAMPLES = (
    ("A name that recurs", FORGETTING_PROMPT),
    ("A repeated sentence", "The cat sat on the mat. The cat sat on the"),
    ("A fact", "The capital of France is"),
    ("Who gets the book?", "When Mary and John went to the store, John gave a book to"),
    ("Agreement", "The dogs near the park"),
)
MODES = [("zero: its output becomes 0", "zero"), ("mean: its output becomes its average", "mean")]
BARS_EMPTY = "Press “Run”, or click a head to remove it. The model’s next token then shows here, with the head and without it."
CHIPS_EMPTY = "After a run, every token of the prompt shows how far it pushes the model towards the target."
ATTENTION_EMPTY = "After a run, type a head above to see where it looks, before and after."


@dataclass(frozen=True)
class LabTab:
    """The tab's components."""

    prompt: gr.Textbox
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
    attention: gr.HTML
    ran: gr.State
    swept: gr.State

    @property
    def asked(self) -> list[Any]:
        """What defines an experiment, beside the model."""
        return [self.prompt, self.removed, self.mode, self.target, self.contrast]

    @property
    def shown(self) -> list[Any]:
        """What a run fills."""
        return [self.status, self.bars, self.chips, self.chips_without, self.target, self.contrast, self.attention, self.ran, self.grid]


class LabHandlers:
    """The tab's callbacks."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def run(
        self, model: str, prompt: str, removed: str, mode: str, target: str, contrast: str, head: str, colour: str, swept: Any
    ) -> Iterator[list[Any]]:
        """Clean against ablated. Yields a line of status first where the model is not in memory yet."""
        nothing = [gr.skip()] * 8
        try:
            what = lab_view.asked(self.engine, model, prompt, removed, mode, target, contrast)
            if not self.engine.ready(model):
                yield [busy("Loading the model. The first run takes some seconds; later ones do not."), *nothing]
            result = lab_view.experiment(self.engine, what)
            pattern = self._attention(what, head)
        except HeadAtlasError as error:
            yield [failed(error), *nothing]
            return
        heads = lab_view.heads_text(what.heads)
        done = f"Ran with {heads} removed ({what.mode} ablation)." if what.heads else "Ran with all heads in place."
        yield [
            {"kind": "info" if result.warning else "done", "text": f"{done} {result.warning}".strip()},
            result.bars,
            result.attribution,
            result.attribution_without,
            gr.update(choices=[(lab_view.AUTOMATIC, lab_view.AUTOMATIC), *result.targets]),
            gr.update(choices=[(lab_view.NO_CONTRAST, lab_view.NO_CONTRAST), *result.targets]),
            pattern,
            what,
            self.grid(model, removed, colour, swept),
        ]

    def _attention(self, what: lab_view.Asked, head: str) -> dict:
        if not head or not head.strip():
            return {"empty": ATTENTION_EMPTY}
        try:
            return lab_view.attention_of(self.engine, what, head)
        except HeadError as error:
            return {"empty": sentence(error)}

    def look(self, head: str, ran: Any) -> dict:
        """Another head's attention in the run that is on screen."""
        if not isinstance(ran, lab_view.Asked):
            return {"empty": ATTENTION_EMPTY}
        try:
            return self._attention(ran, head)
        except HeadAtlasError as error:
            raise refused("No attention", sentence(error)) from None

    def sweep(
        self, model: str, prompt: str, removed: str, mode: str, target: str, contrast: str, colour: str
    ) -> Iterator[list[Any]]:
        """Every head alone on this prompt; the grid fills as they are measured."""
        colour = colour if colour in EFFECTS else "logprob"
        found: Any = None
        try:
            what = lab_view.asked(self.engine, model, prompt, removed, mode, target, contrast)
            yield [busy("Removing every head in turn …" if self.engine.ready(model) else "Loading the model …"), gr.skip(), gr.skip(), colour]
            for found, done, total in lab_view.sweep_parts(self.engine, what):
                yield [
                    busy(f"{done} of {total} heads removed in turn", done / total),
                    self.grid(model, removed, colour, found),
                    found,
                    gr.skip(),
                ]
        except HeadAtlasError as error:
            yield [failed(error), gr.skip(), gr.skip(), gr.skip()]
            return
        yield [
            {"kind": "done", "text": "Every head was removed alone: each cell is what that costs on this prompt."},
            gr.skip(),
            gr.skip(),
            gr.skip(),
        ]

    def grid(self, model: str, removed: str, colour: str, swept: Any) -> dict:
        """The grid for what is removed now."""
        return lab_view.lab_grid(self.engine, model, removed or "", colour, swept if isinstance(swept, dict) else None)

    def toggle(self, model: str, removed: str, colour: str, swept: Any, event: gr.SelectData) -> list[Any]:
        """A head was clicked: remove it, or put it back."""
        head = picked_head(event)
        try:
            heads = read_heads(removed or "", most=10_000)
        except HeadError:
            heads = ()
        kept = tuple(h for h in heads if h != head) if head in heads else (*heads, head)
        text = ", ".join(str(h) for h in kept)
        return [text, self.grid(model, text, colour, swept)]

    def induction(self, model: str, colour: str, swept: Any) -> list[Any]:
        """Remove every induction head of the atlas."""
        atlas = self.engine.library.atlas_or_none(model)
        heads = [] if atlas is None else induction_heads(atlas)
        if not heads:
            why = "there is no atlas to read it from" if atlas is None else "no head reaches it"
            raise refused("No induction heads", f"The rule is an {RULE}; {why}.")
        text = ", ".join(str(h) for h in heads)
        return [text, self.grid(model, text, colour, swept)]


def busy(text: str, fraction: float | None = None) -> dict:
    """A status line while something runs."""
    return {"kind": "busy", "text": text, "fraction": fraction}


def failed(error: Exception) -> dict:
    """A status line for an expected error."""
    return {"kind": "error", "text": sentence(error)}


def sentence(error: Exception) -> str:
    """An error's words as a sentence."""
    text = str(error).strip()
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"


def build(engine: Engine, model: str) -> LabTab:
    """Lay the tab out."""
    first = LabHandlers(engine).grid(model, "", lab_view.BY_ATLAS, None)
    colours = [("the atlas: induction score", lab_view.BY_ATLAS)] + [
        (f"this prompt: {titled(m.label)}", name) for name, m in EFFECTS.items()
    ]
    with gr.Column(elem_classes=["ha-box", "ha-flat"]):
        prompt = gr.Textbox(FORGETTING_PROMPT, label="Prompt", info="The model says what comes next. Enter runs it.", lines=2, max_lines=6, elem_id="lab-prompt")
        with gr.Row(elem_classes=["ha-pills"]):
            examples = [gr.Button(label, size="sm", min_width=90) for label, _ in EXAMPLES]
    with gr.Row(equal_height=False, elem_classes=["ha-columns"]):
        with gr.Column(scale=10, min_width=320, elem_classes=["ha-box", "ha-flat"]):
            fixed("<h3 class='ha-title'>Remove heads</h3>")
            grid = drawn("grid", first, elem_id="lab-grid", boxed=False)
            with gr.Row():
                removed = gr.Textbox("", label="Removed heads", placeholder="2.5, L2H1", max_lines=1, scale=3, min_width=170, elem_id="lab-removed")
                colour = gr.Dropdown(colours, value=lab_view.BY_ATLAS, label="Colour by", scale=3, min_width=170, elem_id="lab-colour")
            with gr.Row(elem_classes=["ha-pills"]):
                induction = gr.Button("All induction heads", size="sm", min_width=140, elem_id="lab-induction")
                clear = gr.Button("Put all back", size="sm", min_width=110, elem_id="lab-clear")
            fixed(f"<p class='ha-lead'>“All induction heads” takes those with an {RULE}, in the atlas.</p>")
            mode = gr.Dropdown(MODES, value="zero", label="Ablation mode", elem_id="lab-mode")
            with gr.Row(elem_classes=["ha-actions"]):
                run = gr.Button("Run", variant="primary", min_width=90, elem_id="lab-run")
                sweep = gr.Button("All heads", min_width=90, elem_id="lab-sweep")
                stop = gr.Button("Stop", min_width=70, elem_id="lab-stop")
            status = drawn("note", None, elem_id="lab-status", boxed=False)
        with gr.Column(scale=11, min_width=320, elem_classes=["ha-box", "ha-flat"]):
            fixed("<h3 class='ha-title'>The next token</h3>")
            bars = drawn("bars", {"empty": BARS_EMPTY}, elem_id="lab-bars", boxed=False)
    with gr.Column(elem_classes=["ha-box", "ha-flat"]):
        fixed("<h3 class='ha-title'>Which tokens the answer hangs on</h3><p class='ha-lead'>Attribution by gradient × input: a first-order estimate, not an effect. Blue tokens push towards the target, orange ones away.</p>")
        with gr.Row():
            target = gr.Dropdown([lab_view.AUTOMATIC], value=lab_view.AUTOMATIC, label="Target", info="From the model’s top ten, or type one token (“·” is a space), then Run.", allow_custom_value=True, elem_id="lab-target")
            contrast = gr.Dropdown([lab_view.NO_CONTRAST], value=lab_view.NO_CONTRAST, label="Contrast", info="Measure the target’s lead over this token instead.", allow_custom_value=True, elem_id="lab-contrast")
        chips = drawn("chips", {"empty": CHIPS_EMPTY}, elem_id="lab-chips", boxed=False)
        chips_without = drawn("chips", {"empty": ""}, elem_id="lab-chips-without", boxed=False)
    with gr.Column(elem_classes=["ha-box", "ha-flat"]):
        fixed("<h3 class='ha-title'>Where a head looks</h3>")
        head = gr.Textbox("", label="Head", info="2.5 or L2H5; Enter shows it.", max_lines=1, elem_id="lab-head", elem_classes=["ha-narrow"])
        attention = drawn("attention", {"empty": ATTENTION_EMPTY}, elem_id="lab-attention", boxed=False)
    return LabTab(
        prompt, examples, removed, mode, run, sweep, stop, induction, clear, colour, grid, status, bars, target,
        contrast, chips, chips_without, head, attention, gr.State(None), gr.State(None),
    )


def wire(tab: LabTab, handlers: LabHandlers, model: gr.Dropdown) -> list[Any]:
    """Connect the tab's own events; returns those after which the address changes."""
    everything = [model, *tab.asked, tab.head, tab.colour, tab.swept]
    on_grid = [model, tab.removed, tab.colour, tab.swept]
    run = {"fn": handlers.run, "inputs": everything, "outputs": tab.shown, **ON_MODEL}
    stale = {"fn": lambda: None, "inputs": None, "outputs": [tab.swept], **PURE}
    finished = []
    for event in (tab.run.click, tab.prompt.submit, tab.target.input, tab.contrast.input, tab.mode.input):
        finished.append(event(**run))
    toggled = tab.grid.select(handlers.toggle, on_grid, [tab.removed, tab.grid], **PURE)
    picked = tab.induction.click(handlers.induction, [model, tab.colour, tab.swept], [tab.removed, tab.grid], **PURE)
    cleared = tab.clear.click(lambda: "", None, [tab.removed], **PURE)
    for event in (toggled, picked, cleared):
        finished.append(event.success(**run))
    finished.append(tab.removed.submit(**run))
    for (_, text), button in zip(EXAMPLES, tab.examples, strict=True):
        chosen = button.click(lambda text=text: (text, lab_view.AUTOMATIC, lab_view.NO_CONTRAST), None, [tab.prompt, tab.target, tab.contrast], **PURE)
        finished.append(chosen.success(**run))
    # A sweep belongs to one prompt, mode and target: another one makes it stale.
    gr.on([tab.prompt.change, tab.mode.change, tab.target.change, tab.contrast.change, model.change], **stale)
    tab.colour.input(handlers.grid, on_grid, [tab.grid], **PURE)
    gr.on([tab.head.submit, tab.head.blur], handlers.look, [tab.head, tab.ran], [tab.attention], **ON_MODEL)
    sweeping = tab.sweep.click(
        handlers.sweep, [model, *tab.asked, tab.colour], [tab.status, tab.grid, tab.swept, tab.colour], **ON_MODEL
    )
    tab.stop.click(
        lambda: {"kind": "info", "text": "Stopped. What was measured stays on the grid."},
        None,
        [tab.status],
        cancels=[sweeping],
        **PURE,
    )
    return finished


