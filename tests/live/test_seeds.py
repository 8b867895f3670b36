"""A seed that cannot be drawn with is refused in words, wherever one is taken, before anything is measured."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest

import head_atlas
from head_atlas.build.planning import BuildOptions, plan_atlas
from head_atlas.errors import HeadAtlasError
from head_atlas.interventions import resample_reference
from head_atlas.seeds import checked_seed
from tiny_models import head_model, random_prompts

PROMPT = "The cat sat on the mat. Harry"
PROMPTS = random_prompts([(9, (8,)), (9, (8,)), (9, (8,))], corrupted=True)
HEADS = ["0.1", "2.0"]
WORDS = r"seed must be a whole number from 0 to 9223372036854775807, found"


@pytest.fixture(scope="module")
def model():
    return head_model("llama")


@pytest.fixture(scope="module")
def atlas():
    return head_atlas.open_atlas(Path(__file__).parents[2] / "atlas" / "demo" / "atlas.h5")


PUBLIC = {
    "attribute": lambda model, _, seed: head_atlas.attribute(model, PROMPT, method="occlusion_replace", seed=seed),
    "causal_trace": lambda model, _, seed: head_atlas.causal_trace(model, PROMPT, "cat", seed=seed),
    "circuit_graph": lambda model, _, seed: head_atlas.circuit_graph(model, PROMPTS, HEADS, seed=seed),
    "faithfulness": lambda model, _, seed: head_atlas.faithfulness(head_atlas.attribute(model, PROMPT), seed=seed),
    "find_circuit": lambda model, _, seed: head_atlas.find_circuit(model, PROMPTS, mode="zero", seed=seed),
    "generate": lambda model, _, seed: head_atlas.generate(model, PROMPT, n_tokens=2, temperature=1.0, seed=seed),
    "interactions": lambda model, _, seed: head_atlas.interactions(model, PROMPTS, HEADS, seed=seed),
    "joint_effect": lambda model, _, seed: head_atlas.joint_effect(model, PROMPTS, HEADS, seed=seed),
    "match_heads": lambda _, atlas, seed: head_atlas.match_heads(atlas, atlas, seed=seed),
}
ELSEWHERE = {
    "resample_reference": lambda model, _, seed: resample_reference(model, [PROMPT], "a text", n_draws=1, seed=seed),
    "plan_atlas": lambda model, _, seed: plan_atlas(model, BuildOptions(n_prompts=2, seed=seed)),
}
IN_A_TEXT = {"propose_corrupted"}
"""Draws by the text of its seed: any number will do."""


def test_every_public_function_that_takes_a_seed_is_tried():
    functions = {name: getattr(head_atlas, name) for name in head_atlas.__all__}
    takes = {n for n, f in functions.items() if inspect.isfunction(f) and "seed" in inspect.signature(f).parameters}
    assert takes - IN_A_TEXT == set(PUBLIC)


@pytest.mark.parametrize("name", [*PUBLIC, *ELSEWHERE])
@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_that_is_none_is_refused(model, atlas, name, seed):
    with pytest.raises(HeadAtlasError, match=f"{WORDS} '{seed}'"):
        (PUBLIC | ELSEWHERE)[name](model, atlas, seed)


@pytest.mark.parametrize("seed", [-1, 1.0, "1", True, None, np.int64(-3), 2**63, float("nan")])
def test_what_is_no_seed(seed):
    with pytest.raises(HeadAtlasError, match=WORDS):
        checked_seed(seed)


@pytest.mark.parametrize("seed", [0, 7, np.int64(7), np.uint8(255), 2**63 - 1])
def test_what_is_one(model, seed):
    assert checked_seed(seed) == seed
    assert type(checked_seed(seed)) is int
    assert head_atlas.generate(model, PROMPT, n_tokens=1, temperature=1.0, seed=seed).seed == seed
