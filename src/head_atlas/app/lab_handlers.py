"""The Lab's callbacks: they read the input, ask `lab_view`, and return what the components show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import gradio as gr

from head_atlas.app import lab_grids, lab_view
from head_atlas.app.events import clicked, heads_in, picked_head
from head_atlas.app.lab_running import in_background
from head_atlas.app.lab_sweep import Swept, sweep_steps
from head_atlas.app.lab_takeaway import taken_result
from head_atlas.app.page_state import read_heads, toggled
from head_atlas.app.words import busy, failed, sentence
from head_atlas.catalogue import EFFECTS, mode_label
from head_atlas.errors import AtlasError, HeadAtlasError, HeadError
from head_atlas.heads import HeadId
from head_atlas.views.choices import titled
from head_atlas.views.grid import without_marks
from head_atlas.views.head_roles import heads_by_role, role_label
from head_atlas.views.induction import RULE, induction_heads
from head_atlas.views.numbers import count

if TYPE_CHECKING:
    from head_atlas.app.engine import Engine
    from head_atlas.models import HeadModel

ATTENTION_EMPTY = "After a run, this shows where a head looks: with all heads, with heads removed, and the difference."
BARS_EMPTY = (
    "Press “Run”, or click a head to remove it. The model’s next token then shows here, with the head and without it."
)
CHIPS_EMPTY = "After a run, every token of the prompt shows how far it pushes the model towards the target."
N_SHOWN = 13
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
        corrupted: str,
        head: str,
        colour: str,
        swept: Any,
    ) -> Iterator[list[Any]]:
        """Clean against ablated. Yields lines of status while the model is loaded, or lent to others."""
        nothing = [gr.skip()] * (N_SHOWN - 1)
        try:
            what = lab_view.asked(self.engine, model, prompt, removed, mode, target, contrast, corrupted)
            head = self.looked_at(what, head)

            def work(model: HeadModel, _: object) -> tuple[lab_view.LabResult, dict]:
                return lab_view.experiment(self.engine, model, what), self._attention(model, what, head)

            for step in in_background(self.engine, what.model, work):
                if not step.finished:
                    yield [busy(step.text), *nothing]
        except HeadAtlasError as error:
            yield [failed(error), *_nothing_shown()]
            return
        assert step.result is not None
        result, pattern = step.result
        kept = swept if isinstance(swept, Swept) and swept.still_holds(what) else None
        heads = lab_view.heads_text(what.heads)
        with_what = f"{heads} removed ({mode_label(what.mode)} ablation)" if what.heads else "all heads in place"
        done = f"Ran with {with_what}."
        yield [
            {"kind": "info" if result.warning else "done", "text": f"{done} {result.warning}".strip()},
            result.bars,
            result.attribution,
            result.attribution_without,
            gr.update(choices=[(lab_view.AUTOMATIC, lab_view.AUTOMATIC), *result.targets]),
            gr.update(choices=[(lab_view.NO_CONTRAST, lab_view.NO_CONTRAST), *result.targets]),
            pattern,
            what,
            without_marks(self.grid(model, removed, colour, kept)),
            head,
            lab_grids.picker_grid(self.engine, model, head),
            kept,
            result.bars,
        ]

    def without_results(self, model: str) -> list[Any]:
        """Nothing run yet on this model: `LabTab.results`."""
        return [
            None,
            {"empty": BARS_EMPTY},
            {"empty": CHIPS_EMPTY},
            {"empty": ""},
            {"empty": ATTENTION_EMPTY},
            None,
            lab_grids.picker_grid(self.engine, model, ""),
            None,
            {"empty": ""},
        ]

    @staticmethod
    def choices(
        target: str = "", contrast: str = "", colour: str = "", corrupted: str = "", *, afresh: bool = True
    ) -> list[Any]:
        """Target, contrast, colouring and corrupted prompt as an address has them: `LabTab.choices`.

        Args:
            target: or "", the default.
            contrast: or "".
            colour: or "".
            corrupted: or "".
            afresh: the menus forget the tokens that the last run offered.
        """
        menus = [(target, lab_view.AUTOMATIC), (contrast, lab_view.NO_CONTRAST)]
        return [
            *[gr.update(**({"choices": [first]} if afresh else {}), value=value or first) for value, first in menus],
            colour or lab_view.BY_ATLAS,
            corrupted,
        ]

    def looked_at(self, what: lab_view.Asked, head: str) -> str:
        """The head whose attention is shown: the one asked for, else one that the experiment is about."""
        if isinstance(head, str) and head.strip():
            return head
        if what.heads:
            return str(what.heads[0])
        with suppress(AtlasError, IndexError):
            return str(induction_heads(self.engine.library.atlas(what.model))[0])
        return "0.0"

    def run_if(self, wanted: Any, *inputs: Any) -> Iterator[list[Any]]:
        """Run, where the step before asked for it."""
        if wanted is not True:
            yield [gr.skip()] * N_SHOWN
            return
        yield from self.run(*inputs)

    def run_other(self, ran: Any, *inputs: Any) -> Iterator[list[Any]]:
        """A menu of the experiment was left: run, unless it was only passed, and `ran` is what it says."""
        with suppress(HeadAtlasError):
            if lab_view.asked(self.engine, *inputs[:7]) == ran:
                yield [gr.skip()] * N_SHOWN
                return
        yield from self.run(*inputs)

    def _attention(self, model: HeadModel, what: lab_view.Asked, head: str) -> dict:
        if not isinstance(head, str) or not head.strip():
            return {"empty": ATTENTION_EMPTY}
        try:
            return lab_view.attention_of(self.engine, model, what, head)
        except HeadError as error:
            return {"empty": sentence(error)}

    def take(self, ran: Any) -> Iterator[dict]:
        """The files of the result on screen; the experiment is run again for them."""
        if not isinstance(ran, lab_view.Asked):
            yield {"empty": "There is no result yet: press “Run” first."}
            return
        yield {"empty": "Running it once more, for the files …"}
        yield from self._shown(ran, lambda model: taken_result(self.engine, model, ran))

    def look(self, model: str, head: str, ran: Any) -> Iterator[list[Any]]:
        """Another head's attention in the run that is on screen."""
        picker = lab_grids.picker_grid(self.engine, model, head)
        for shown in self._looked(head, ran):
            yield [shown, picker]

    def pick(self, ran: Any, grid: Any) -> Iterator[list[Any]]:
        """A head was picked in the small grid, which has drawn its ring already."""
        head = str(picked_head(grid))
        for shown in self._looked(head, ran):
            yield [head, shown]

    def _looked(self, head: str, ran: Any) -> Iterator[dict]:
        if isinstance(ran, lab_view.Asked):
            yield from self._shown(ran, lambda model: self._attention(model, ran, head))
        else:
            yield {"empty": ATTENTION_EMPTY}

    def _shown(self, what: lab_view.Asked, work: Callable[[HeadModel], dict]) -> Iterator[dict]:
        """What a short run makes for one component, which says meanwhile what the run waits for."""
        try:
            for step in in_background(self.engine, what.model, lambda model, _: work(model)):
                yield step.result if step.finished and step.result is not None else {"empty": step.text}
        except HeadAtlasError as error:
            yield {"empty": sentence(error)}

    def sweep(
        self,
        model: str,
        prompt: str,
        removed: str,
        mode: str,
        target: str,
        contrast: str,
        corrupted: str,
        colour: str,
    ) -> Iterator[list[Any]]:
        """Every head alone on this prompt; the grid fills as they are measured."""
        colour = colour if isinstance(colour, str) and colour in EFFECTS else "logprob"
        try:
            what = lab_view.asked(self.engine, model, prompt, removed, mode, target, contrast, corrupted)
            yield [busy("Removing every head in turn …"), gr.skip(), gr.skip(), colour]
            shown: Any = None
            for step in sweep_steps(self.engine, what):
                found = step.result
                news = found is not None and found is not shown
                shown = found
                yield [
                    busy(step.text, step.fraction),
                    without_marks(self.grid(model, removed, colour, found)) if news else gr.skip(),
                    found if news else gr.skip(),
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
        return lab_grids.lab_grid(self.engine, model, removed, colour, swept if isinstance(swept, Swept) else None)

    def toggle(self, model: str, removed: str, colour: str, swept: Any, grid: Any) -> list[Any]:
        """Heads were clicked: remove them, or put them back.

        Args:
            model: name of the served model.
            removed: the text of the removed heads.
            colour: what the grid shows.
            swept: the sweep on screen, if any.
            grid: the grid's value in the page, which holds all clicks, and how many of them that text includes.

        Returns:
            The text and the grid. Where the text cannot be read it stays, and the clicks are undone: the run that
            follows says what is wrong with it.
        """
        clicks = heads_in(grid, "clicks")
        text: Any
        try:
            heads = toggled(read_heads(removed, most=10_000), clicks[clicked(grid) :])
            text = _listed(heads)
        except HeadError:
            heads, text = heads_in(grid, "removed"), gr.skip()
        return [text, self.grid(model, _listed(heads), colour, swept) | {"clicked": len(clicks)}]

    def typed(self, model: str, removed: str, colour: str, swept: Any, grid: Any) -> Any:
        """Heads were typed: mark them, and leave the marks alone where the text cannot be read."""
        try:
            read_heads(removed, most=10_000)
        except HeadError:
            return gr.skip()
        return self.grid(model, removed, colour, swept) | {"clicked": clicked(grid)}

    def recolour(self, model: str, removed: str, colour: str, swept: Any) -> dict:
        """Another measure was chosen for the grid."""
        return without_marks(self.grid(model, removed, colour, swept))

    def roles(self, model: str) -> list[tuple[str, str]]:
        """Roles that heads of the atlas hold, with how many, for the menu."""
        atlas = self.engine.library.atlas_or_none(model)
        with suppress(AtlasError):
            held = {} if atlas is None else heads_by_role(atlas)
            return [(f"{titled(role_label(name))}: {count(len(heads))}", name) for name, heads in held.items()]
        return []

    def role_menu(self, model: str) -> Any:
        """The menu of another model; hidden where its atlas gives no role to any head."""
        roles = self.roles(model)
        return gr.update(choices=roles, value=None, visible=bool(roles))

    def of_role(self, model: str, role: Any, colour: str, swept: Any) -> list[Any]:
        """Remove every head that holds a role in the atlas; the menu forgets it, since heads may be put back."""
        atlas = self.engine.library.atlas_or_none(model)
        heads: list[HeadId] = []
        with suppress(AtlasError):
            held = {} if atlas is None else heads_by_role(atlas)
            heads = held.get(role, []) if isinstance(role, str) else []
        if not heads:
            refusal = {"kind": "error", "text": "No head of this atlas holds that role."}
            return [gr.skip(), gr.skip(), refusal, False, None]
        text = _listed(tuple(heads))
        return [text, self.grid(model, text, colour, swept), gr.skip(), True, None]

    def induction(self, model: str, colour: str, swept: Any) -> list[Any]:
        """Remove every induction head of the atlas."""
        heads, why = [], "no head reaches it"
        try:
            heads = induction_heads(self.engine.library.atlas(model))
        except AtlasError as error:
            why = f"there is no atlas to read it from: {error}"
        if not heads:
            return [gr.skip(), gr.skip(), {"kind": "error", "text": f"The rule is an {RULE}; {why}."}, False]
        text = _listed(tuple(heads))
        return [text, self.grid(model, text, colour, swept), gr.skip(), True]


def _listed(heads: tuple[HeadId, ...]) -> str:
    return ", ".join(str(head) for head in heads)


def _nothing_shown() -> list[Any]:
    """After a refusal: no result of another prompt stays on screen as if it were this one's. Target and grid stay."""
    empty = [{"empty": BARS_EMPTY}, {"empty": CHIPS_EMPTY}, {"empty": ""}]
    return [*empty, gr.skip(), gr.skip(), {"empty": ATTENTION_EMPTY}, None, *[gr.skip()] * (N_SHOWN - 8)]
