"""The About tab: where the numbers come from, what is left out, what was checked, and the limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import gradio as gr

from head_atlas.app.components import asset, drawn, fixed
from head_atlas.errors import AtlasError
from head_atlas.views.provenance import about_props

if TYPE_CHECKING:
    from head_atlas.app.library import Library


@dataclass(frozen=True)
class AboutTab:
    """The tab's components."""

    card: gr.HTML


class AboutHandlers:
    """The tab's callbacks."""

    def __init__(self, library: Library) -> None:
        self.library = library

    def card(self, model: str) -> dict:
        """What the atlas says of itself."""
        try:
            return about_props(self.library.atlas(model))
        except AtlasError as error:
            return {"empty": str(error)}


def build(handlers: AboutHandlers, model: str) -> AboutTab:
    """Lay the tab out."""
    with gr.Row(equal_height=False, elem_classes=["ha-columns"]):
        with gr.Column(scale=10, min_width=320, elem_classes=["ha-box", "ha-flat"]):
            fixed(asset("about.html"))
        with gr.Column(scale=11, min_width=320):
            card = drawn("card", handlers.card(model), elem_id="about-card")
    return AboutTab(card)
