"""The callbacks that cross tabs: the address, and the ways from one tab to another."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import gradio as gr

from head_atlas.app import (
    about_tab,
    atlas_handlers,
    compare_tab,
    lab_address,
    lab_handlers,
    lab_modes,
    lab_view,
    learn_tab,
    start_tab,
)
from head_atlas.app.atlas_view import AtlasView, atlas_view, honoured, shortened
from head_atlas.app.chapters import FIRST
from head_atlas.app.engine import Engine
from head_atlas.app.events import picked_head, refused
from head_atlas.app.experiments import FORGETTING_PROMPT
from head_atlas.app.lab_model import opened_name
from head_atlas.app.library import Library
from head_atlas.app.limits import well_formed
from head_atlas.app.page_state import KEYS, TABS, UNFILTERED, PageState, keep_heads, read_heads, read_query
from head_atlas.app.words import sentence
from head_atlas.errors import AtlasError, HeadAtlasError, HeadError
from head_atlas.heads import HeadId

N_RESTORED = 36 + learn_tab.N_SHOWN
"""How many components an address fills, beside those that belong to a model."""

N_OF_MODEL = 12
"""How many components `PageHandlers.of_model` fills."""


class PageHandlers:
    """Callbacks that cross tabs: the address, and the ways from one tab to another."""

    def __init__(self, library: Library, engine: Engine) -> None:
        self.library, self.engine = library, engine
        self.start = start_tab.StartHandlers(library, start_tab.Shown(engine))
        self.atlas = atlas_handlers.AtlasHandlers(library)
        self.lab = lab_handlers.LabHandlers(engine)
        self.learn = learn_tab.LearnHandlers(engine)
        self.compare = compare_tab.CompareHandlers(library)
        self.about = about_tab.AboutHandlers(engine)

    def address(
        self,
        tab: str,
        model: str,
        measure: str,
        family: str,
        mode: str,
        head: str,
        prompt: str,
        removed: str,
        lab_mode: str,
        target: str,
        contrast: str,
        colour: str,
        corrupted: str,
        contents: Any = None,
        beside: Any = None,
        *further: Any,
    ) -> dict:
        """The address of what is on screen. What could not be opened again is left out of it.

        Its mode is that of the open tab: the Atlas and the Lab have one each.
        """
        state = self.atlas.state(model, measure, family, mode, head, *further)
        with suppress(AtlasError):
            state, _ = honoured(self.library, state)
            state = shortened(self.library.atlas(state.model), state)
        state = replace(state, tab=tab if tab in TABS else "start")
        state = replace(state, beside=self.compare.named(state.tab, state.model, beside))
        if state.model == self.library.default:
            state = replace(state, model="")
        try:
            heads = read_heads(removed, most=self.engine.limits.removed_heads)
        except HeadError:
            heads = ()
        text = prompt if isinstance(prompt, str) else ""
        if state.tab != "lab" and text == FORGETTING_PROMPT and not heads:
            text = ""
        if len(text) > self.engine.limits.prompt_characters or not well_formed(text):
            text = ""
        if state.tab in ("start", "learn", "compare", "about") and not state.head:
            state = replace(state, measure="", family="", mode="", view="", x="", y="", by="", prompts="", band="")
            state = state.filtered(UNFILTERED)
        if state.tab == "lab":
            state = replace(state, mode=lab_mode if lab_mode in lab_modes.MODES else "")
        target, contrast, colour = (each if isinstance(each, str) else "" for each in (target, contrast, colour))
        state, _ = lab_address.settled(replace(state, target=target, contrast=contrast, colour=colour))
        other = corrupted if isinstance(corrupted, str) and state.tab == "lab" else ""
        if len(other) > self.engine.limits.prompt_characters or not well_formed(other):
            other = ""
        chapter = self.learn.named(contents) if state.tab == "learn" else ""
        state = replace(state, chapter="" if chapter == FIRST else chapter)
        return {"query": replace(state, prompt=text, removed=heads, corrupted=other).query()}

    def opened(self, query: Any) -> tuple[PageState, AtlasView, list[str]]:
        """What an address asks of the Lab, the view it asks of the Atlas, and a sentence for all that cannot be had."""
        state, problems = read_query(query)
        state, more = lab_address.settled(state)
        if state.chapter and self.learn.named(state.chapter) != state.chapter:
            more = [*more, f"There is no chapter “{state.chapter}”; the first one is open."]
        if state.beside and state.beside not in self.library.names:
            more = [*more, f"No model “{state.beside}” is served here to compare with."]
        view = atlas_view(self.library, replace(state, mode="") if state.tab == "lab" else state)
        return state, view, [*problems, *more, *view.problems]

    def restore(self, query: Any, model: Any = None, swept: Any = None, contents: Any = None) -> list[Any]:
        """Fill the whole page from an address.

        Args:
            query: the address.
            model: what the page shows now; of another model nothing may remain.
            swept: the sweep that the Lab holds now, if any.
            contents: those of the Learn tab as they are now, with the chapter that is open.
        """
        asked, view, problems = self.opened(query)
        state = view.state
        removed, other = asked.removed, state.model != model
        atlas = self.library.atlas_or_none(state.model)
        if atlas is not None:
            removed, lost = keep_heads(removed, atlas.n_layers, atlas.n_heads)
            problems += lost
        text = ", ".join(str(head) for head in removed)
        note = note_of(problems)
        # An address of another tab says nothing of the chapter: the open one stays as it is.
        chapter = self.learn.named(asked.chapter if state.tab == "learn" else contents)
        return [
            state.tab,
            gr.update(selected=state.tab),
            state.model,
            note,
            *self.atlas.outputs(view),
            state.prompt or FORGETTING_PROMPT,
            text,
            self.lab.grid(state.model, text, asked.colour, swept),
            state.head,
            state.tab == "lab",
            (asked.mode or lab_modes.DEFAULT_MODE) if asked.tab == "lab" else gr.skip(),
            *self.lab.choices(asked.target, asked.contrast, asked.colour, asked.corrupted, afresh=other),
            self.compare.menu(state.model, asked.beside),
            *(
                self.learn.opened(state.model, chapter)
                if other or chapter != self.learn.named(contents)
                else [gr.skip()] * learn_tab.N_SHOWN
            ),
            *(self.of_model(state.model) if other else [gr.skip()] * N_OF_MODEL),
        ]

    def load(self, request: gr.Request) -> list[Any]:
        """The page was opened; at the end, what allows the address to be written from now on.

        Without an address the page is painted already, and a visitor may have clicked on.
        """
        query = {key: value for key, value in request.query_params.items() if key in KEYS}
        self.start.shown.begin(self.library.default)
        nothing = [gr.skip()] * (N_RESTORED + N_OF_MODEL)
        if not query:
            return [*nothing, {"filled": True}]
        # What is painted already is not sent again: the page would draw it again.
        asked, painted = (self.restore(of, self.library.default) for of in (query, ""))
        updates = [gr.skip() if new == old else new for new, old in zip(asked, painted, strict=True)]
        return [*updates, {"filled": True}]

    def navigate(self, asked: Any, model: Any, swept: Any, contents: Any) -> list[Any]:
        """Back or forward was pressed, and `asked` has the address that stands there now. Anyone can send anything."""
        query = asked.get("query") if isinstance(asked, dict) else ""
        good = isinstance(query, str) and len(query) <= 4000 and well_formed(query)
        return self.restore(query if good else "", model, swept, contents)

    def tab_chosen(self, event: gr.EventData) -> Any:
        """A tab was clicked. Anyone can send anything here."""
        tab = event._data.get("id") if isinstance(event._data, dict) else None
        return tab if tab in TABS else gr.skip()

    def open_head(self, model: str, measure: str, family: str, mode: str, grid: Any, *further: Any) -> list[Any]:
        """A head was clicked on the landing page: open its page."""
        updates = self.atlas.outputs(self.atlas.view(model, measure, family, mode, str(picked_head(grid)), *further))
        return ["atlas", gr.update(selected="atlas"), *updates]

    def take_example(self, event: gr.EventData, model: str, mode: str, colour: str) -> list[Any]:
        """Take a prompt of the atlas to the Lab, with the head removed that it shows."""
        asked = event._data if isinstance(event._data, dict) else {}
        index, text = asked.get("prompt"), asked.get("head")
        try:
            atlas = self.library.atlas(model)
            head = HeadId.parse(text if isinstance(text, str) else "").within(atlas.n_layers, atlas.n_heads)
            if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(atlas.prompts):
                raise AtlasError("There is no such prompt in this atlas.")
        except HeadAtlasError as error:
            raise refused("Not possible", sentence(error)) from None
        return self.to_lab(model, atlas.prompts[index].text, str(head), colour, mode)

    def take_head(self, model: str, mode: str, head: str, prompt: str, colour: str) -> list[Any]:
        """Remove the head of the open page in the Lab, on the prompt that is there."""
        if not isinstance(head, str) or not head.strip():
            raise refused("No head chosen", "Choose a head first: click one, or type its name.")
        found = self.to_lab(model, prompt if isinstance(prompt, str) else "", head, colour, mode)
        return [*found[:-1], gr.skip()]

    def try_it(self, model: str, colour: str) -> list[Any]:
        """Take the landing experiment to the Lab."""
        prompt, removed = self.start.experiment_of(model)
        return self.to_lab(model, prompt, removed, colour)

    def take_chapter(self, model: str, contents: Any, seed: int, colour: str) -> list[Any]:
        """Take the chapter's experiment to the Lab."""
        words, removed = self.learn.for_lab(model, self.learn.named(contents), seed)
        return self.to_lab(model, words, removed, colour)

    def to_lab(self, model: str, prompt: str, removed: str, colour: str, mode: str = "") -> list[Any]:
        """Open the Lab with an experiment, and without the corrupted prompt of another one.

        Args:
            model: to run.
            prompt: to run it on.
            removed: heads to remove.
            colour: of the Lab's grid.
            mode: the ablation mode in which it was seen; the Lab's own default where it has none such for any prompt.
        """
        grid = self.lab.grid(model, removed, colour, None)
        mode = mode if mode in lab_modes.FOR_ANY_PROMPT else lab_modes.DEFAULT_MODE
        choices = [lab_view.AUTOMATIC, lab_view.NO_CONTRAST]
        return ["lab", gr.update(selected="lab"), prompt, removed, *choices, grid, True, mode, ""]

    def opened_model(self, opened: Any, *held: Any) -> list[Any]:
        """A model of the visitor's own was opened, which the menu may not show yet."""
        return self.other_model(opened_name(opened), *held)

    def other_model(self, model: str, measure: str, family: str, mode: str, contents: Any) -> list[Any]:
        """Another model was chosen: everything that shows one."""
        view = self.atlas.view(model, measure, family, mode, "")
        model = view.state.model
        grid = self.lab.grid(model, "", lab_view.BY_ATLAS, None)
        choices = self.lab.choices()
        learn = self.learn.opened(model, self.learn.named(contents))
        return [
            note_of(view.problems),
            *self.atlas.outputs(view),
            "",
            grid,
            "",
            *choices,
            *learn,
            *self.of_model(model),
        ]

    def of_model(self, model: str) -> list[Any]:
        """What belongs to one model and is not in the address: the Lab's results, Start and About."""
        self.start.shown.begin(model)
        return [
            *self.lab.without_results(model),
            self.start.grid(model),
            {"empty": start_tab.WAITING},
            self.about.card(model),
        ]


def note_of(problems: list[str]) -> dict | None:
    """What the notice above the tabs shows; None hides it."""
    return {"kind": "error", "text": " ".join(problems)} if problems else None
