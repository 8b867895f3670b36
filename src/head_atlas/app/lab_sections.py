"""The Lab's deeper analyses, in tabs below the main result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from head_atlas.app import (
    lab_analysis,
    lab_circuits,
    lab_generation,
    lab_graph,
    lab_heads,
    lab_layers,
    lab_patching,
    lab_tokens,
    lab_tracing,
)
from head_atlas.app.events import PURE
from head_atlas.app.lab_analysis import AnalysisHandlers, Panel
from head_atlas.app.lab_bench import Analysis
from head_atlas.app.lab_takeaway import Shelf

if TYPE_CHECKING:
    from head_atlas.app.engine import Engine

Options = Callable[[], Sequence[Any]]


def no_options() -> Sequence[Any]:
    """For analyses that have none."""
    return ()


TOKENS: tuple[Analysis, Options] = (lab_tokens.ANALYSIS, lab_tokens.options)
"""Stands in a tab of the caller's, below what every run shows of the tokens."""
SECTIONS: tuple[tuple[str, str, tuple[tuple[Analysis, Options], ...]], ...] = (
    ("All heads", "heads", ((lab_heads.ANALYSIS, no_options),)),
    ("Layers", "layers", ((lab_layers.LENS, no_options), (lab_layers.DIRECT, no_options))),
    (
        "Patching",
        "patching",
        (
            (lab_patching.PATCH, lab_patching.patch_options),
            (lab_patching.PATHS, lab_patching.path_options),
            (lab_tracing.TRACE, lab_tracing.trace_options),
        ),
    ),
    (
        "Circuits",
        "circuits",
        (
            (lab_circuits.JOINT, lab_circuits.joint_options),
            (lab_circuits.SEARCH, lab_circuits.search_options),
            (lab_graph.GRAPH, lab_graph.graph_options),
        ),
    ),
    ("Generation", "generation", ((lab_generation.ANALYSIS, lab_generation.options),)),
)
"""Label, id and analyses of every tab behind the first two."""


def build() -> list[Panel]:
    """Lay the tabs of `SECTIONS` out, within a `gr.Tabs` of the caller's."""
    panels = []
    for label, key, analyses in SECTIONS:
        with gr.Tab(label, id=f"lab-{key}-tab"):
            panels += [lab_analysis.build(analysis, options) for analysis, options in analyses]
    return panels


def wire(panels: Sequence[Panel], engine: Engine, experiment: Sequence[Any]) -> list[Any]:
    """Connect the analyses; returns the events that run the model.

    Args:
        panels: of `build`.
        engine: of the server.
        experiment: the components that define the experiment, the model first.
    """
    shelf = Shelf()
    running = [
        lab_analysis.wire(panel, AnalysisHandlers(engine, panel.analysis, shelf), experiment) for panel in panels
    ]
    shown = [component for panel in panels for component in panel.shown]
    experiment[0].change(lambda: lab_analysis.emptied(panels), None, shown, **PURE, cancels=running)
    return running
