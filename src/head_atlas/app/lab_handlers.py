"""The Lab's callbacks: they read the input, ask `lab_view`, and return what the components show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr

from head_atlas.app import lab_view
from head_atlas.app.events import picked_head
from head_atlas.app.page_state import read_heads
from head_atlas.app.words import busy, failed, sentence
from head_atlas.catalogue import EFFECTS
from head_atlas.errors import HeadAtlasError, HeadError
from head_atlas.views.induction import RULE, induction_heads

if TYPE_CHECKING:
    from head_atlas.app.engine import Engine

ATTENTION_EMPTY = "After a run, this shows where a head looks: with all heads, with heads removed, and the difference."
N_SHOWN = 12
"""How many components a run fills: `LabTab.shown`."""


class LabHandlers:
    """The tab's callbacks."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def run(
        self,
        model: str,
        prompt: str,
        removed: str,
        mode: str,
        target: str,
        contrast: str,
        head: str,
        colour: str,
        swept: Any,
    ) -> Iterator[list[Any]]:
        """Clean against ablated. Yields a line of status first where the model is not in memory yet."""
        nothing = [gr.skip()] * (N_SHOWN - 1)
        try:
            what = lab_view.asked(self.engine, model, prompt, removed, mode, target, contrast)
            for message in self.engine.prepare(model):
                yield [busy(f"Loading the model; later runs will not wait for this. Now: {message}"), *nothing]
            result = lab_view.experiment(self.engine, what)
            head = self.looked_at(what, head)
            pattern = self._attention(what, head)
        except HeadAtlasError as error:
            yield [failed(error), *nothing]
            return
        kept = swept if isinstance(swept, lab_view.Swept) and swept.still_holds(what) else None
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
            self.grid(model, removed, colour, kept),
            head,
            lab_view.picker_grid(self.engine, model, head),
            kept,
        ]

    def looked_at(self, what: lab_view.Asked, head: str) -> str:
        """The head whose attention is shown: the one asked for, else one that the experiment is about."""
        if isinstance(head, str) and head.strip():
            return head
        if what.heads:
            return str(what.heads[0])
        atlas = self.engine.library.atlas_or_none(what.model)
        found = [] if atlas is None else induction_heads(atlas)
        return str(found[0]) if found else "0.0"

    def run_if(self, wanted: Any, *inputs: Any) -> Iterator[list[Any]]:
        """Run, where the step before asked for it."""
        if wanted is not True:
            yield [gr.skip()] * N_SHOWN
            return
        yield from self.run(*inputs)

    def _attention(self, what: lab_view.Asked, head: str) -> dict:
        if not isinstance(head, str) or not head.strip():
            return {"empty": ATTENTION_EMPTY}
        try:
            return lab_view.attention_of(self.engine, what, head)
        except HeadError as error:
            return {"empty": sentence(error)}

    def look(self, model: str, head: str, ran: Any) -> list[Any]:
        """Another head's attention in the run that is on screen."""
        picker = lab_view.picker_grid(self.engine, model, head)
        if not isinstance(ran, lab_view.Asked):
            return [{"empty": ATTENTION_EMPTY}, picker]
        try:
            return [self._attention(ran, head), picker]
        except HeadAtlasError as error:
            return [{"empty": sentence(error)}, picker]

    def pick(self, model: str, ran: Any, event: gr.SelectData) -> list[Any]:
        """A head was picked in the small grid."""
        head = str(picked_head(event))
        return [head, *self.look(model, head, ran)]

    def sweep(
        self, model: str, prompt: str, removed: str, mode: str, target: str, contrast: str, colour: str
    ) -> Iterator[list[Any]]:
        """Every head alone on this prompt; the grid fills as they are measured."""
        colour = colour if isinstance(colour, str) and colour in EFFECTS else "logprob"
        found: Any = None
        try:
            what = lab_view.asked(self.engine, model, prompt, removed, mode, target, contrast)
            for message in self.engine.prepare(model):
                yield [busy(f"Loading the model. Now: {message}"), gr.skip(), gr.skip(), gr.skip()]
            yield [busy("Removing every head in turn …"), gr.skip(), gr.skip(), colour]
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
        return lab_view.lab_grid(
            self.engine, model, removed, colour, swept if isinstance(swept, lab_view.Swept) else None
        )

    def toggle(self, model: str, removed: str, colour: str, swept: Any, event: gr.SelectData) -> list[Any]:
        """A head was clicked: remove it, or put it back."""
        head = picked_head(event)
        try:
            heads = read_heads(removed, most=10_000)
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
            return [gr.skip(), gr.skip(), {"kind": "error", "text": f"The rule is an {RULE}; {why}."}, False]
        text = ", ".join(str(h) for h in heads)
        return [text, self.grid(model, text, colour, swept), gr.skip(), True]
