"""Graphs: scores and effects as edges with their own names, on a circuit made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from hand_built_circuits import induction_model, repeats
from head_atlas import path_patch
from head_atlas.errors import HeadError, PromptError
from head_atlas.live.graphs import circuit_graph, iter_circuit_graph
from head_atlas.measures.composition import composition
from tiny_models import head_model, random_prompts

HEADS = ["1.0", "0.0", "0.1", "1.1"]


def test_the_circuit_by_hand_is_one_path():
    """L0H0 -> keys of L1H0 -> logits, and nothing else, in the effects; K composition of that pair in the scores."""
    found = circuit_graph(induction_model(), repeats(), HEADS, roles={"previous token": ["0.0"]})
    assert [node.label for node in found.nodes] == ["L0H0", "L0H1", "L1H0", "L1H1", "logits"]
    assert found.nodes[0].roles == ("previous token",)
    (into_keys, *others) = found.named("path_k")
    assert (into_keys.source, into_keys.target, into_keys.kind) == ("L0H0", "L1H0", "effect")
    assert into_keys.high < -1
    into_logits = found.named("path_logits")[0]
    assert (into_logits.source, into_logits.target) == ("L1H0", "logits")
    weak = [*others, *found.named("path_q"), *found.named("path_v"), *found.named("path_logits")[1:]]
    assert max(abs(edge.value) for edge in weak) < 0.1
    best = found.named("composition_k")[0]
    assert (best.source, best.target, best.kind) == ("L0H0", "L1H0", "score")
    assert np.isnan(best.low)


def test_edges_are_the_numbers_of_their_own_measures():
    model = head_model("llama")
    prompts = random_prompts([(8, (7,)), (8, (7,)), (7, (6,))], corrupted=True)
    heads = ["0.1", "1.2", "2.0"]
    steps = list(iter_circuit_graph(model, prompts, heads))
    found = steps[-1].result
    assert [step.done for step in steps] == [0, 1, 2, 3]
    scores = composition(model)
    by_name = {(e.source, e.target, e.name): e for e in found.edges}
    assert len(by_name) == len(found.edges)
    assert found.caveat == scores.caveat
    for i, kind in enumerate("qkv"):
        edge = by_name["L0H1", "L2H0", f"composition_{kind}"]
        assert edge.value == pytest.approx(float(scores.values[i, 0, 1, 2, 0]))
        effects = [
            path_patch(model, p, senders=["0.1"], receivers=[("2.0", kind)]).effects.values[0, 0] for p in prompts
        ]
        edge = by_name["L0H1", "L2H0", f"path_{kind}"]
        assert edge.value == pytest.approx(np.mean(effects), abs=1e-5)
        assert edge.low <= edge.value <= edge.high
    direct = [path_patch(model, p, senders=["1.2"]).effects.values[0, 0] for p in prompts]
    assert by_name["L1H2", "logits", "path_logits"].value == pytest.approx(np.mean(direct), abs=1e-5)
    assert not any(e.source == e.target or (e.source, e.target) == ("L2H0", "L0H1") for e in found.edges)


def test_what_cannot_be_drawn_is_refused_at_once():
    model = head_model("llama")
    with pytest.raises(PromptError, match="no corrupted prompt"):
        iter_circuit_graph(model, random_prompts([(8, (7,))]), ["0.1"])
    with pytest.raises(HeadError, match="at least one head"):
        iter_circuit_graph(model, random_prompts([(8, (7,))], corrupted=True), [])
    with pytest.raises(PromptError, match="no prompt"):
        iter_circuit_graph(model, [], ["0.1"])
