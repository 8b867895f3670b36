"""The Atlas tab's callbacks: they read what a visitor set, ask `atlas_view`, and return what the components show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from head_atlas.app import finder_address
from head_atlas.app.atlas_view import NOTHING, VIEWS, AtlasView, atlas_view
from head_atlas.app.events import picked_head
from head_atlas.app.page_state import FILTERS, PageState
from head_atlas.errors import HeadError
from head_atlas.heads import HeadId
from head_atlas.views.grid import without_marks

if TYPE_CHECKING:
    from head_atlas.app.library import Library

N_FILLED = 21
"""How many components `AtlasHandlers.outputs` fills."""
_SET = ("model", "measure", "family", "mode", "head", "other", "view", "x", "y", "by", "prompts", "band")
"""What a visitor can set, in the order of the inputs; the filters of the table follow as one."""


class AtlasHandlers:
    """The tab's callbacks. Inputs are the model and what a visitor can set, in the order of `_SET`."""

    def __init__(self, library: Library) -> None:
        self.library = library

    @staticmethod
    def state(*inputs: Any) -> PageState:
        """What the components hold; anything but text counts as empty."""
        texts: dict[str, Any] = {
            key: x.strip() if isinstance(x, str) else "" for key, x in zip(_SET, inputs, strict=False)
        }
        return PageState(**texts).filtered(finder_address.held(inputs[len(_SET)] if len(inputs) > len(_SET) else None))

    def view(self, *inputs: Any) -> AtlasView:
        """The view for what the components hold."""
        return atlas_view(self.library, self.state(*inputs))

    @staticmethod
    def outputs(view: AtlasView) -> list[Any]:
        """Updates of every component of the tab."""
        state = view.state
        axes = [gr.update(choices=view.axes, value=name or None) for name in view.chosen]
        menus = [(view.sets, state.prompts), (view.bands, state.band)]
        return [
            gr.update(choices=view.measures, value=state.measure or None),
            gr.update(choices=view.families, value=state.family or None, visible=len(view.families) > 1),
            gr.update(choices=view.modes, value=state.mode or None),
            state.head,
            None,
            view.grid,
            view.measure,
            view.headline | {"moves": True},
            view.examples,
            view.page,
            state.other,
            state.view or "map",
            gr.update(selected=state.view or "map"),
            *axes,
            view.scatter,
            view.finder,
            *(
                gr.update(choices=some, value=name or (some[0][1] if some else None), visible=bool(some))
                for some, name in menus
            ),
            tuple(getattr(state, key) for key in FILTERS),
        ]

    def refresh(self, *inputs: Any) -> list[Any]:
        """A menu was changed: the selection stays where the visitor last put it, and so does what it does not touch."""
        view = self.view(*inputs)
        # The table keeps its own filters, as far as it still has their columns.
        finder = {key: value for key, value in view.finder.items() if key != "asked"}
        finder = NOTHING if view.finder is NOTHING else finder
        found = self.outputs(replace(view, grid=without_marks(view.grid), finder=finder))
        kept = (3, 7, 8, 10, 11, 12, *range(13, 16), 18, 19, 20)
        skipped = [gr.skip() if i in kept else update for i, update in enumerate(found)]
        # A view that is not open is read again when it is opened.
        return [gr.skip() if update is NOTHING and i in (16, 17) else update for i, update in enumerate(skipped)]

    def typed(self, *inputs: Any) -> list[Any]:
        """A head was typed; of one that is not there, the note and the empty page say so."""
        view = self.view(*inputs)
        asked, state = self.state(*inputs), view.state
        if asked.head and not state.head:
            words = " ".join(view.problems)
            refusal = {"kind": "error", "text": words}
            return [gr.skip(), refusal, view.grid, {"empty": words, "moves": True}, NOTHING, NOTHING]
        lost = asked.other and asked.other != asked.head and not state.other and state.head
        note = {"kind": "error", "text": " ".join(view.problems)} if lost and view.problems else None
        return [state.head, note, view.grid, view.headline | {"moves": True}, view.examples, view.page]

    def picked(self, *inputs: Any) -> list[Any]:
        """A head was chosen in a view, the last input; the page has marked it already, and may have moved on since."""
        *others, panel = inputs
        return self._at(picked_head(panel), others, moves=False)

    def gone(self, event: gr.EventData, *others: Any) -> list[Any]:
        """A head was chosen on the page of another. Anyone can send anything in the event."""
        selected = event._data.get("index") if isinstance(event._data, dict) else None
        return self._at(picked_head({"selected": selected}), list(others), moves=True)

    def _at(self, head: HeadId, others: list[Any], *, moves: bool) -> list[Any]:
        """The page of a head; `others` are the inputs without the head."""
        found = self.typed(*others[:4], str(head), *others[4:])
        if moves:
            return found
        # A ring in the answer would undo a later click.
        found[2] = gr.skip()
        found[3] = {key: value for key, value in found[3].items() if key != "moves"}
        return found

    def stepper(self, step: int) -> Callable[..., list[Any]]:
        """The callback that goes to the head so many further, layer by layer, round at the ends."""

        def stepped(*inputs: Any) -> list[Any]:
            asked = self.state(*inputs)
            atlas = self.library.atlas_or_none(asked.model or self.library.default)
            if atlas is None:
                return self.typed(*inputs)
            n = atlas.n_layers * atlas.n_heads
            try:
                at = HeadId.parse(asked.head).within(atlas.n_layers, atlas.n_heads)
                flat = (at.layer * atlas.n_heads + at.head + step) % n
            except HeadError:
                flat = 0 if step > 0 else n - 1
            return self.typed(*inputs[:4], str(HeadId(*divmod(flat, atlas.n_heads))), *inputs[5:])

        return stepped

    def view_chosen(self, event: gr.EventData, *inputs: Any) -> list[Any]:
        """Another view of the heads was opened. Anyone can send anything in the event."""
        name = event._data.get("id") if isinstance(event._data, dict) else None
        if not isinstance(name, str) or name not in VIEWS:
            return [gr.skip()] * 3
        view = self.view(*inputs[:6], name, *inputs[7:])
        return [name, *(gr.skip() if props is NOTHING else props for props in (view.scatter, view.finder))]

    def filtered(self, event: gr.EventData) -> tuple[str, ...]:
        """The table was filtered or sorted, which it does by itself. Anyone can send anything in the event."""
        return finder_address.written(event._data)

    def plotted(self, *inputs: Any) -> dict:
        """Another axis was chosen."""
        return self.view(*inputs[:6], "scatter", *inputs[7:]).scatter

    def exampled(self, *inputs: Any) -> list[Any]:
        """Other exemplars were asked for; a set has bands of its own."""
        view = self.view(*inputs)
        bands = view.bands
        return [gr.update(choices=bands, value=view.state.band or (bands[0][1] if bands else None)), view.examples]
