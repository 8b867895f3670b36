"""Options that events share, and reading what the page's scripts send."""

from __future__ import annotations

from typing import Any

import gradio as gr

from head_atlas.heads import HeadId

PURE: dict[str, Any] = {
    "queue": False,
    "show_progress": "hidden",
    "trigger_mode": "always_last",
    "api_visibility": "private",
    # Menus change with the model, and Gradio would hold a value against the menu of another one. The callbacks
    # check every value themselves.
    "preprocess": False,
}
"""Events that only read the atlas: no queue, no fading, the last one wins."""

ON_MODEL: dict[str, Any] = {
    "queue": True,
    "show_progress": "hidden",
    "concurrency_id": "model",
    "concurrency_limit": 1,
    "api_visibility": "private",
    "preprocess": False,
}
"""Events that run the model: one at a time, in the queue."""


def refused(title: str, message: str) -> gr.Error:
    """An expected error, for the visitor alone: nothing is logged as if it were a bug."""
    return gr.Error(message, title=title, print_exception=False)


def picked_head(event: gr.SelectData) -> HeadId:
    """The head of a grid's cell. Anyone can send anything here.

    Raises:
        gr.Error: it is not a pair of small whole numbers.
    """
    index = event.index
    good = (
        isinstance(index, list | tuple)
        and len(index) == 2
        and all(isinstance(i, int) and not isinstance(i, bool) and 0 <= i < 10_000 for i in index)
    )
    if not good:
        raise refused("No such head", "That was not a cell of the grid.")
    return HeadId(index[0], index[1])
