"""The removed heads as a graph: what passes between them, or what their weights would allow."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from head_atlas.app.lab_bench import Analysis, Bench, Finding, option
from head_atlas.app.lab_circuits import HERE, over_caption, over_options, over_words, prompts_over
from head_atlas.app.lab_modes import corrupted_tokens
from head_atlas.app.lab_patching import NO_PAIR
from head_atlas.catalogue import EFFECTS
from head_atlas.errors import HeadAtlasError, PromptError
from head_atlas.views import blocks
from head_atlas.views.numbers import interval, signed

if TYPE_CHECKING:
    from head_atlas.live import CircuitGraph

TOP_EDGES = 12
EDGES = [
    ("paths by keys", "path_k"),
    ("paths by queries", "path_q"),
    ("paths by values", "path_v"),
    ("weights: K composition", "composition_k"),
    ("weights: Q composition", "composition_q"),
    ("weights: V composition", "composition_v"),
]


def graph_options() -> list[Any]:
    """Components: over what, how many prompts, which edges."""
    over = over_options(HERE, "graph")
    return [*over, gr.Dropdown(EDGES, value="path_k", label="Edges", min_width=200, elem_id="lab-graph-edges")]


def graph(bench: Bench, over: Any, n: Any, edges: Any) -> Finding:
    """Connect the removed heads by what passes between them, or by their weights."""
    from head_atlas.live import circuit_graph

    name = option(edges, [value for _, value in EDGES], "kind of edges")
    if not 2 <= len(bench.what.heads) <= 12:
        raise HeadAtlasError("A graph connects 2 to 12 heads: remove those that you want to see in it.")
    prompts = prompts_over(bench, over, n)
    if over == HERE:
        if not bench.what.corrupted:
            raise PromptError(NO_PAIR)
        tokens = corrupted_tokens(bench.engine, bench.model, bench.what.prompt, bench.what.corrupted)
        prompts = [replace(bench.prompt, corrupted=tokens)]
    bench.progress.phase("Patching paths, prompt by prompt")
    args: tuple[Any, ...] = (bench.model, prompts, bench.what.heads)
    found = circuit_graph(*args, progress=bench.progress)
    figure = blocks.figure(*_graph(found, name, over_words(over, prompts)))
    return Finding(figure, ((circuit_graph, args, {}, found),), needs_heads=True, over=over_caption(over, prompts))


def _graph(found: CircuitGraph, name: str, over: str) -> list[dict | None]:
    if name in found.not_measured:
        return [blocks.text(f"Not measured: {found.not_measured[name]}.", "warning")]
    effect = name.startswith("path")
    drawn = found.named(name) + (found.named("path_logits") if effect else [])
    unit = EFFECTS[found.metric].unit if effect else "composition above random weights"
    nodes = [(node.label, node.head.layer if node.head else 10_000) for node in found.nodes if node.head or effect]
    rows = [
        [f"{one.source} → {one.target}", one.name.replace("_", " "),
         f"{signed(one.value, 3)} {interval(one.low, one.high, 3, sign=True)}".strip()]
        for one in sorted(drawn, key=lambda one: -abs(one.value))[:TOP_EDGES]
    ]  # fmt: skip
    title = f"The strongest {len(rows)} of {len(drawn)} edges" if len(drawn) > len(rows) else "The edges"
    what = f"causal effects over {over}" if effect else "a score of weights: could they work together? It is no effect"
    return [
        blocks.graph(f"Heads and what passes between them: {what}", nodes,
                     [(one.source, one.target, one.value) for one in drawn], unit=unit),
        blocks.table(title, ("From → to", "By", unit), rows),
        blocks.text(found.caveat) if found.caveat and not effect else None,
    ]  # fmt: skip


GRAPH = Analysis(
    key="graph",
    title="The removed heads as a graph",
    button="Draw",
    empty="The removed heads will appear here, layer by layer, with what goes from one to another.",
    measures=("path_patching",),
    work=graph,
)
