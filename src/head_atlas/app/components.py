"""The page's own components: constant HTML, and a script that draws `props.value` with text nodes.

Data never enters a template: Gradio evaluates templates as JavaScript literals, so a prompt such as
`${alert(1)}` would run. Factories rather than subclasses, because a subclass of `gr.HTML` writes a stub
file beside its module.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any, Literal

import gradio as gr

Kind = Literal[
    "grid",
    "card",
    "bars",
    "chips",
    "attention",
    "note",
    "address",
    "measure",
    "experiment",
    "contents",
    "story",
    "tour",
    "headline",
    "head",
    "examples",
    "scatter",
    "finder",
    "figure",
    "takeaway",
    "matches",
]

_ROOTS: dict[str, str] = {
    "grid": "ha-grid-panel",
    "card": "ha-card-panel",
    "bars": "ha-dist-panel",
    "chips": "ha-chips-panel",
    "attention": "ha-attention-panel",
    "note": "ha-note-panel",
    "address": "ha-address-panel",
    "measure": "ha-measure-panel",
    "experiment": "ha-experiment-panel",
    "contents": "ha-contents-panel",
    "story": "ha-story-panel",
    "tour": "ha-tour-panel",
    "headline": "ha-headline-panel",
    "head": "ha-head-panel",
    "examples": "ha-examples-panel",
    "scatter": "ha-scatter-panel",
    "finder": "ha-finder-panel",
    "figure": "ha-figure-panel",
    "takeaway": "ha-takeaway-panel",
    "matches": "ha-matches-panel",
}
_SHARED: dict[str, tuple[str, ...]] = {
    "chips": ("chip-list",),
    "figure": ("chip-list",),
    "card": ("sections",),
    "head": ("sections",),
    "headline": ("sections", "copying"),
}
"""Scripts that a kind needs before its own."""


@cache
def asset(name: str) -> str:
    """The text of a file in `assets`."""
    return files("head_atlas.app").joinpath("assets", name).read_text(encoding="utf-8")


def drawn(kind: Kind, value: Any, *, elem_id: str, boxed: bool = True) -> gr.HTML:
    """A component that draws `value` by the script of its kind.

    Args:
        kind: which script.
        value: a dict of strings and numbers; `{"empty": "..."}` shows that sentence instead.
        elem_id: its id in the page.
        boxed: drawn as a card of the page.
    """
    return gr.HTML(
        value,
        html_template=f"<div class='{_ROOTS[kind]}'></div>",
        js_on_load="\n".join(asset(f"{name}.js") for name in ("common", *_SHARED.get(kind, ()), kind)),
        apply_default_css=False,
        container=False,
        padding=False,
        elem_id=elem_id,
        elem_classes=["ha-box"] if boxed else ["ha-bare"],
    )


def fixed(html: str, *, scripts: tuple[str, ...] = (), elem_id: str | None = None, boxed: bool = False) -> gr.HTML:
    """Constant HTML of our own, with scripts of `assets` if any are named: no data may be formatted into it."""
    return gr.HTML(
        "",
        html_template=html,
        js_on_load="\n".join(asset(name) for name in scripts) or None,
        apply_default_css=False,
        container=False,
        padding=False,
        elem_id=elem_id,
        elem_classes=["ha-box"] if boxed else ["ha-bare"],
    )
