"""Options that events share, and reading what the page's scripts send."""

from __future__ import annotations

from typing import Any, Literal

import gradio as gr

from head_atlas.errors import HeadError
from head_atlas.heads import HeadId

PURE: dict[str, Any] = {
    "queue": False,
    "show_progress": "hidden",
    # Or the page would tell every component that was ever filled of every event's begin and end, 60 ms each time.
    "show_progress_on": [],
    "trigger_mode": "always_last",
    "api_visibility": "private",
    # Menus change with the model, and Gradio would hold a value against the menu of another one. The callbacks
    # check every value themselves.
    "preprocess": False,
}
"""Events that only read the atlas: no queue, no fading. While one runs, the next waits and then reads its inputs, so
the last one wins. A waiting event keeps the data of the first trigger, so callbacks read inputs, never event data."""

ON_MODEL: dict[str, Any] = {
    "queue": True,
    "show_progress": "hidden",
    "show_progress_on": [],
    # Not Gradio's queue: the page says the place in the line for the model (`lab_running`), and a short run waits for
    # one step of a long one, not for its end.
    "concurrency_limit": None,
    "trigger_mode": "always_last",
    "api_visibility": "private",
    "preprocess": False,
}
"""Events that run the model, in a thread of their own that takes turns with the others; what changes during a run makes
one more."""


def refused(title: str, message: str) -> gr.Error:
    """An expected error, for the visitor alone: nothing is logged as if it were a bug."""
    return gr.Error(message, title=title, print_exception=False)


def picked_head(grid: Any) -> HeadId:
    """The selected cell of a grid, from its value in the page. Anyone can send anything here.

    Raises:
        gr.Error: it is not a pair of small whole numbers.
    """
    index = grid.get("selected") if isinstance(grid, dict) else None
    good = (
        isinstance(index, list | tuple)
        and len(index) == 2
        and all(isinstance(i, int) and not isinstance(i, bool) and 0 <= i < 10_000 for i in index)
    )
    if index is None or not good:
        raise refused("No such head", "That was not a cell of the grid.")
    return HeadId(index[0], index[1])


def heads_in(grid: Any, key: Literal["clicks", "removed"]) -> tuple[HeadId, ...]:
    """Heads in a grid's value in the page: every click since it was opened, or what was removed before.

    Raises:
        gr.Error: it is not a list of heads. Anyone can send anything here.
    """
    found = grid.get(key) if isinstance(grid, dict) else None
    try:
        if isinstance(found, list) and len(found) <= 100_000 and all(isinstance(text, str) for text in found):
            return tuple(HeadId.parse(text) for text in found)
    except HeadError:
        pass
    raise refused("No such head", "Those were not cells of the grid.")


def clicked(grid: Any) -> int:
    """How many of a grid's clicks the text of removed heads includes; 0 for anything else than a count."""
    count = grid.get("clicked") if isinstance(grid, dict) else 0
    return count if isinstance(count, int) and count >= 0 else 0
