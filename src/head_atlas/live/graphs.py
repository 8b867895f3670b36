"""A circuit as a graph to be drawn: heads, and what connects them.

Edges are of two kinds, each with its name, never added or averaged together:

    score    composition_q, composition_k, composition_v of two heads' weights (`measures.composition`): could they
             work together?
    effect   path_q, path_k, path_v from head to head, and path_logits from a head to the answer (`path_patch`): do
             they, on these prompts? The change of the metric, patched - unpatched, with its interval over prompts
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from head_atlas.errors import HeadError, PromptError
from head_atlas.heads import HeadId
from head_atlas.interventions import Budget
from head_atlas.interventions.path_patching import AttentionInput
from head_atlas.live.joint_effects import HeadName
from head_atlas.live.path_patching import iter_path_patch
from head_atlas.live.prompt_pair import Direction, PairMetric, prompt_pair
from head_atlas.measures.circuits import over_prompts, prompt_counts
from head_atlas.measures.composition import composition
from head_atlas.models import HeadModel
from head_atlas.prompts.prompt import Prompt
from head_atlas.seeds import checked_seed

INPUTS: tuple[AttentionInput, ...] = ("q", "k", "v")
LOGITS = "logits"


@dataclass(frozen=True)
class Node:
    """A head, or the logits.

    Attributes:
        label: "L0H4", or "logits".
        head: None for the logits.
        roles: that it holds, as given.
    """

    label: str
    head: HeadId | None
    roles: tuple[str, ...]


@dataclass(frozen=True)
class Edge:
    """What goes from one node to a later one.

    Attributes:
        source: label of the earlier node.
        target: label of the later one.
        name: composition_q, composition_k, composition_v, path_q, path_k, path_v or path_logits.
        kind: "score" of weights, or causal "effect": never to be compared with each other.
        value: of a score, above what random weights give; of an effect, mean change of the metric over prompts.
        low: lower 95 % bound over prompts; NaN for scores, and with fewer than two prompts.
        high: upper bound; NaN likewise.
    """

    source: str
    target: str
    name: str
    kind: Literal["score", "effect"]
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class CircuitGraph:
    """Heads and their connections.

    Attributes:
        nodes: heads in order of layers, then the logits.
        edges: every pair of heads of different layers, by every name that could be measured.
        caveat: what is to be said of the scores of composition, or "".
        not_measured: by name of an edge, why there is none.
        prompts: of the effects, with their corrupted versions.
        metric: of the effects.
        direction: "noise" or "denoise".
        seed: of the bootstrap.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    caveat: str
    not_measured: dict[str, str]
    prompts: tuple[Prompt, ...]
    metric: PairMetric
    direction: Direction
    seed: int

    def named(self, name: str) -> list[Edge]:
        """Edges of one name, the largest magnitude first."""
        return sorted((edge for edge in self.edges if edge.name == name), key=lambda edge: -abs(edge.value))


@dataclass(frozen=True)
class GraphStep:
    """How far a graph is.

    Attributes:
        done: prompts finished.
        total: all of them.
        result: in the last step only.
    """

    done: int
    total: int
    result: CircuitGraph | None


def circuit_graph(
    model: HeadModel,
    prompts: Prompt | Sequence[Prompt],
    heads: Iterable[HeadName],
    direction: Direction = "noise",
    metric: PairMetric | None = None,
    *,
    roles: Mapping[str, Iterable[HeadName]] | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    budget: Budget | None = None,
) -> CircuitGraph:
    """Connect heads by their weights and by what passes between them.

    Args:
        model: whose heads.
        prompts: with corrupted versions.
        heads: of the graph.
        direction: "noise" takes what a sender writes from the corrupted run, "denoise" the other way around.
        metric: "logit_difference" or "logprob"; the former by default where every prompt has a contrast.
        roles: heads by role, to be written on the nodes.
        seed: of the bootstrap.
        progress: is told prompts done, and all of them; what it raises ends the run.
        budget: how much runs at once.

    Raises:
        PromptError: no prompt, or one without a corrupted version.
        HeadError: no head, or one that the model does not have.
        UnsupportedModelError: q, k and v cannot be reached in this architecture.
        HeadAtlasError: a seed that is none.
    """
    last: GraphStep | None = None
    for last in iter_circuit_graph(model, prompts, heads, direction, metric, roles=roles, seed=seed, budget=budget):
        if progress is not None:
            progress(last.done, last.total)
    assert last is not None
    assert last.result is not None
    return last.result


def iter_circuit_graph(
    model: HeadModel,
    prompts: Prompt | Sequence[Prompt],
    heads: Iterable[HeadName],
    direction: Direction = "noise",
    metric: PairMetric | None = None,
    *,
    roles: Mapping[str, Iterable[HeadName]] | None = None,
    seed: int = 0,
    budget: Budget | None = None,
) -> Iterator[GraphStep]:
    """Connect heads, prompt by prompt: stop iterating to cancel. Arguments as in `circuit_graph`, checked at once."""
    ready = (prompts,) if isinstance(prompts, Prompt) else tuple(prompts)
    if not ready:
        raise PromptError("no prompt to measure on")
    seed = checked_seed(seed)
    chosen = tuple(sorted(model.heads(heads)))
    if not chosen:
        raise HeadError("a graph needs at least one head")
    name: PairMetric = metric or ("logit_difference" if all(p.contrasts for p in ready) else "logprob")
    for prompt in ready:
        prompt_pair(model, prompt, metric=name)
    held = {role: set(model.heads(list(some))) for role, some in (roles or {}).items()}
    nodes = [Node(head.label, head, tuple(r for r, some in held.items() if head in some)) for head in chosen]
    later = [head for head in chosen if head.layer > chosen[0].layer]
    if later:
        model.require_attention_inputs()

    def steps() -> Iterator[GraphStep]:
        into_heads = np.full((len(chosen), len(later), len(INPUTS), len(ready)), np.nan)
        into_logits = np.full((len(chosen), len(ready)), np.nan)
        receivers = [(head, through) for head in later for through in INPUTS]
        yield GraphStep(0, len(ready), None)
        for index, prompt in enumerate(ready):
            for part in iter_path_patch(model, prompt, None, chosen, "logits", direction, name, budget=budget):
                into_logits[:, index] = part.effects.values[:, 0]
            if receivers:
                for part in iter_path_patch(
                    model, prompt, None, chosen, receivers, direction, name, join_receivers=False, budget=budget
                ):
                    into_heads[..., index] = part.effects.values.reshape(into_heads.shape[:-1])
            if index < len(ready) - 1:
                yield GraphStep(index + 1, len(ready), None)
        scores, caveat, missing = _scores(model, chosen)
        edges = scores + _effects(chosen, later, into_heads, into_logits, prompt_counts(ready, seed))
        everything = (*nodes, Node(LOGITS, None, ()))
        graph = CircuitGraph(everything, tuple(edges), caveat, missing, ready, name, direction, seed)
        yield GraphStep(len(ready), len(ready), graph)

    return steps()


def _scores(model: HeadModel, heads: Sequence[HeadId]) -> tuple[list[Edge], str, dict[str, str]]:
    """Composition of the pairs of heads of different layers."""
    found = composition(model)
    edges, missing = [], {f"composition_{kind.lower()}": why for kind, why in found.not_applicable.items()}
    for kind, values in zip(found.values.coords["kind"], found.values.values, strict=True):
        for one in heads:
            for two in heads:
                value = float(values[one.layer, one.head, two.layer, two.head])
                if one.layer < two.layer and np.isfinite(value):
                    name = f"composition_{kind.lower()}"
                    edges.append(Edge(one.label, two.label, name, "score", value, float("nan"), float("nan")))
    return edges, found.caveat, missing


def _effects(
    heads: Sequence[HeadId],
    later: Sequence[HeadId],
    into_heads: np.ndarray,
    into_logits: np.ndarray,
    counts: np.ndarray,
) -> list[Edge]:
    """What path patching found: [sender, receiver, input, prompt] and [sender, prompt]."""
    edges = []
    between = over_prompts(into_heads, ("sender", "receiver", "input"), counts)
    for s, one in enumerate(heads):
        for r, two in enumerate(later):
            if one.layer < two.layer:
                for i, through in enumerate(INPUTS):
                    mean, low, high = (float(a[s, r, i]) for a in (between.mean, between.low, between.high))
                    edges.append(Edge(one.label, two.label, f"path_{through}", "effect", mean, low, high))
    direct = over_prompts(into_logits, ("sender",), counts)
    for s, one in enumerate(heads):
        mean, low, high = (float(a[s]) for a in (direct.mean, direct.low, direct.high))
        edges.append(Edge(one.label, LOGITS, "path_logits", "effect", mean, low, high))
    return edges
