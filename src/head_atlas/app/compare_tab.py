"""The Compare tab: two served models beside each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from head_atlas.app.compare_view import ALONE, WAITING, CompareView, compare_view
from head_atlas.app.components import asset, drawn, fixed
from head_atlas.app.events import PURE

if TYPE_CHECKING:
    from head_atlas.app.library import Library


@dataclass(frozen=True)
class CompareTab:
    """The tab's components."""

    beside: gr.Dropdown
    summary: gr.HTML
    depth: gr.HTML
    matches: gr.HTML
    changes: gr.HTML

    @property
    def shown(self) -> list[Any]:
        """What a comparison fills."""
        return [self.beside, self.summary, self.depth, self.matches, self.changes]


class CompareHandlers:
    """The tab's callbacks."""

    def __init__(self, library: Library) -> None:
        self.library = library

    def others(self, model: str) -> list[str]:
        """The models that one can be compared with."""
        return [name for name in self.library.names if name != model]

    def beside(self, model: str, wanted: Any) -> str:
        """The other model: what is wanted if it is served, else the first that is; "" where there is none."""
        others = self.others(model)
        return wanted if isinstance(wanted, str) and wanted in others else next(iter(others), "")

    def menu(self, model: str, wanted: Any) -> Any:
        """The menu of other models."""
        others = self.others(model)
        return gr.update(choices=others, value=self.beside(model, wanted) or None, visible=bool(others))

    def named(self, tab: str, model: str, wanted: Any) -> str:
        """The other model for the address: only of this tab, and only if it is not the one that opens by itself."""
        found = self.beside(model, wanted)
        return found if tab == "compare" and found != self.beside(model, None) else ""

    def fill(self, tab: str, model: str, wanted: Any, summary: Any) -> list[Any]:
        """Compare, if the tab is open and shows another pair.

        Args:
            tab: that is open: of a tab that is not, nothing is computed.
            model: the page's.
            wanted: the other one.
            summary: what the tab shows now, which says of which pair it is.
        """
        if tab != "compare":
            return [gr.skip()] * 5
        model = model if isinstance(model, str) and model in self.library.names else self.library.default
        beside = self.beside(model, wanted)
        if isinstance(summary, dict) and summary.get("pair") == [beside, model]:
            return [gr.skip()] * 5
        # What a model is compared with is what its differences are from: model - beside.
        view = compare_view(self.library, beside, model) if beside else CompareView.empty(ALONE)
        return [self.menu(model, beside), view.summary, view.depth, view.matches, view.changes]


def build(handlers: CompareHandlers, model: str) -> CompareTab:
    """Lay the tab out; it is filled when it is opened."""
    others = handlers.others(model)
    with gr.Row(elem_classes=["ha-toolbar"]):
        beside = gr.Dropdown(
            others,
            value=handlers.beside(model, None) or None,
            label="Compare with",
            min_width=200,
            scale=0,
            visible=bool(others),
            elem_id="compare-with",
        )
    summary = drawn("matches", {"empty": WAITING if others else ALONE}, elem_id="compare-summary")
    with gr.Column(elem_classes=["ha-box", "ha-flat"]):
        fixed(asset("compare-depth.html"))
        depth = drawn("figure", {"empty": ""}, elem_id="compare-depth", boxed=False)
    with gr.Column(elem_classes=["ha-box", "ha-flat"]):
        fixed(asset("compare-matches.html"))
        matches = drawn("matches", {"empty": ""}, elem_id="compare-matches", boxed=False)
    with gr.Column(elem_classes=["ha-box", "ha-flat"]):
        fixed(asset("compare-changes.html"))
        changes = drawn("figure", {"empty": ""}, elem_id="compare-changes", boxed=False)
    return CompareTab(beside, summary, depth, matches, changes)


def fill_if_open(tab: CompareTab, handlers: CompareHandlers, tab_name: gr.State, model: gr.Dropdown) -> dict[str, Any]:
    """The event that fills the tab where it is open: after anything that opens it or changes the model."""
    return {"fn": handlers.fill, "inputs": [tab_name, model, tab.beside, tab.summary], "outputs": tab.shown, **PURE}
