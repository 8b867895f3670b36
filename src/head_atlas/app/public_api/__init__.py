"""The calls that programs may use, by Python, curl or MCP: typed, documented, and held to the same limits as the page.

Each call is a method of one of two classes: `BrowsingCalls` read an atlas, `ExperimentCalls` run a model. Their
docstrings are the reference: `docs/api.md` and the descriptions of the MCP tools are made from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from head_atlas.app.events import ON_MODEL
from head_atlas.app.public_api.arguments import published
from head_atlas.app.public_api.browsing import BrowsingCalls
from head_atlas.app.public_api.experiments import ExperimentCalls
from head_atlas.app.public_api.reference import documented, introduction
from head_atlas.app.visitors import current_visitor

if TYPE_CHECKING:
    from head_atlas.app.engine import Engine
    from head_atlas.app.library import Library

MOST_READING = 4
"""Calls that read atlases at once; further ones wait in the queue."""


def add(library: Library, engine: Engine) -> None:
    """Publish the calls; to be used within the page's Blocks."""
    # Experiments wait with the page's own runs.
    on_model = {key: ON_MODEL[key] for key in ("concurrency_id", "concurrency_limit") if key in ON_MODEL}
    reading, running = BrowsingCalls(library), ExperimentCalls(engine)
    # Gradio makes a component of every argument: nothing of the page, so nothing that it draws.
    with gr.Column(visible=False):
        for name in BrowsingCalls.NAMES:
            # Runs are counted where they begin (`lab_running`).
            call = published(getattr(reading, name), lambda: engine.visitors.read(current_visitor()))
            gr.api(call, api_name=name, concurrency_id="atlas", concurrency_limit=MOST_READING)
        for name in ExperimentCalls.NAMES:
            gr.api(published(getattr(running, name)), api_name=name, **on_model)


def markdown() -> str:
    """The reference of all calls: the content of docs/api.md."""
    parts = [introduction()]
    for title, calls in (("Reading an atlas", BrowsingCalls), ("Experiments", ExperimentCalls)):
        parts += [f"## {title}", calls.__doc__.splitlines()[0] if calls.__doc__ else ""]
        parts += [documented(getattr(calls, name)).markdown() for name in calls.NAMES]
    return "\n\n".join(parts) + "\n"
