"""The demo model's induction circuit comes out of the search, the pairs and the graph, without being told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from head_atlas import load_model
from head_atlas.interventions import CORRUPTED
from head_atlas.live import attention
from head_atlas.live.circuit_search import find_circuit
from head_atlas.live.graphs import circuit_graph
from head_atlas.live.joint_effects import interactions
from head_atlas.prompts.families import build_families

ROOT = Path(__file__).parents[2]
PREVIOUS = "L0H4"


@pytest.fixture(scope="module")
def model():
    return load_model(ROOT / "atlas" / "demo" / "model")


@pytest.fixture(scope="module")
def repeats(model):
    return build_families(model.policy, n_prompts=8, only=["rand_repeat"]).prompts["rand_repeat"]


@pytest.fixture(scope="module")
def induction_heads(model, repeats):
    """Heads of layer 1 that look at the token after the earlier copy with more than half of their attention."""
    mass = np.zeros(model.n_heads)
    for prompt in repeats:
        pattern = attention(model, prompt).values[1]
        shift = prompt.annotations["second"][0] - prompt.annotations["first"][0]
        mass += np.mean([pattern[:, i, i - shift + 1] for i in prompt.positions], 0) / len(repeats)
    return [f"L1H{head}" for head in np.flatnonzero(mass > 0.5)]


@pytest.mark.slow
def test_the_search_finds_the_induction_circuit(model, repeats, induction_heads):
    """The previous-token head and the induction heads are in it, and the former is worth most."""
    found = find_circuit(model, repeats, reference=CORRUPTED, n_random=30, n_subsets=5)
    labels = [head.label for head in found.heads]
    assert {PREVIOUS, *induction_heads} <= set(labels)
    assert len(labels) <= model.n_layers * model.n_heads / 2
    assert labels[int(found.minimality.mean.values.argmax())] == PREVIOUS
    assert found.minimality.mean.values.max() > 0.7
    assert found.faithfulness.low.values > 0.7
    assert found.without.high.values < 0.1
    assert found.percentile.low.values > 95


def test_its_pairs_are_one_serial_path(model, repeats, induction_heads):
    found = interactions(model, repeats, [PREVIOUS, *induction_heads[:2]], "resample", reference=CORRUPTED)
    assert found.harm.low.values[0] > 5
    assert found.interaction.high.values[0, 1:].max() < 0


def test_the_graph_shows_k_composition(model, repeats, induction_heads):
    """Of all heads of layer 0, L0H4 is what the induction heads' keys hear, by weights and by paths."""
    heads = [*(f"L0H{head}" for head in range(model.n_heads)), *induction_heads]
    found = circuit_graph(model, repeats[:3], heads)
    n = len(induction_heads)
    for name in ("composition_k", "path_k"):
        strongest = found.named(name)[:n]
        assert {edge.source for edge in strongest} == {PREVIOUS}
        assert {edge.target for edge in strongest} == set(induction_heads)
    assert all(edge.high < -1 for edge in found.named("path_k")[:n])
    assert abs(found.named("path_q")[0].value) < 0.1
