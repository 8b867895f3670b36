"""The About tab: where the numbers come from, what is left out, what was checked, and the limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import gradio as gr

from head_atlas.app.components import drawn, fixed
from head_atlas.errors import AtlasError
from head_atlas.views.provenance import about_props

if TYPE_CHECKING:
    from head_atlas.app.library import Library

WORDS = """<article class="ha-article">
<h2>How to read this</h2>
<p>Three words are kept apart everywhere. A <strong>score</strong> is read from attention patterns: what a head looks like.
An <strong>attribution</strong> splits a prediction among the tokens, to first order. An <strong>effect</strong> is causal: the head’s output is replaced
at every position, and the model runs again; effect = ablated − clean.</p>
<p>Scores are shown as <em>excess</em> over attending uniformly, because a head that does nothing in particular still puts some attention
everywhere. Means are taken per prompt and then over prompts; intervals are 95 % bootstrap intervals over prompts (by template where a family has templates).</p>
<h3>Limits</h3>
<p>Effects hold for these prompt families and this way of removing a head. A small single effect does not mean that a head is unimportant:
others can stand in for it. Zero ablation can push a model off its usual track; mean ablation is gentler, and the two can disagree.
Interpretations are hypotheses: names such as “induction head” describe what was measured, no more.</p>
<p class="ha-lead">Head Atlas is free software under the Apache License 2.0. How to cite it is in CITATION.cff of the repository.</p>
</article>"""


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
            fixed(WORDS)
        with gr.Column(scale=11, min_width=320):
            card = drawn("card", handlers.card(model), elem_id="about-card")
    return AboutTab(card)
