"""Scores summed over blocks of queries, against the same scores of patterns kept whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from head_atlas.measures import scores
from head_atlas.measures.patterns import pattern_scores
from head_atlas.measures.running_scores import SHARED_MASSES, RunningScores
from head_atlas.measures.targets import TARGETS, visible
from head_atlas.models import Intervention, PatternReader
from head_atlas.prompts.prompt import Prompt
from tiny_models import CONFIGS, head_model

NAMES = [*TARGETS, "diffuse", "diffuse_sink_free", "offsets"]


def expected_scores(pattern, tokens, window=None):
    seen = visible(pattern.shape[-1], window)
    found = {name: scores.mass(pattern, TARGETS[name](tokens)) for name in TARGETS}
    found["diffuse"] = scores.diffuse(pattern, seen)
    found["diffuse_sink_free"] = scores.diffuse(pattern, seen, sink_free=True)
    found["offsets"] = scores.offsets(pattern)
    return found


def repeating(n_prompts, n_pos, seed=0):
    generator = torch.Generator().manual_seed(seed)
    half = torch.stack([torch.randperm(200, generator=generator)[: (n_pos + 1) // 2] + 1 for _ in range(n_prompts)])
    return torch.cat([half, half], 1)[:, :n_pos]


@pytest.mark.parametrize("window", [None, 5, 40])
@pytest.mark.parametrize(("n_pos", "block"), [(6, 64), (12, 5), (40, 64), (100, 64), (150, 64), (150, 33), (150, 150)])
def test_blocks_add_up_to_the_whole(n_pos, block, window):
    generator = torch.Generator().manual_seed(n_pos)
    logits = 3 * torch.randn(2, 3, n_pos, n_pos, generator=generator)
    pattern = logits.masked_fill(~visible(n_pos, window), -torch.inf).softmax(-1)
    pattern[0, 0] = torch.eye(n_pos)[[0] * n_pos]  # a head that only rests on position 0
    tokens = repeating(2, n_pos)
    targets = {name: TARGETS[name](tokens) for name in TARGETS if name not in SHARED_MASSES}
    running = RunningScores(NAMES, targets, [visible(n_pos, window).sum(-1)], 2, n_pos)
    for first in range(0, n_pos, block):
        last = min(first + block, n_pos)
        running.on_pattern_block(0, pattern[:, :, first:last, :last], first)
    for name, value in expected_scores(pattern, tokens, window).items():
        found = running.score(name, 0)
        assert found.shape == value.shape
        np.testing.assert_allclose(found, value, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("family", CONFIGS)
def test_scores_of_every_family_are_those_of_its_whole_patterns(family):
    model = head_model(family)
    tokens = torch.cat([torch.zeros(2, 1, dtype=torch.long), repeating(2, 40)], 1)
    prompts = [Prompt("", tuple(row.tolist()), (1,), (1,)) for row in tokens]
    reader = PatternReader()
    with model.intervening(reader):
        model.logits(tokens)
    found = pattern_scores(model, prompts, NAMES)
    for layer, pattern in reader.patterns.items():
        for name, value in expected_scores(pattern, tokens).items():
            if name == "offsets":
                np.testing.assert_allclose(found.offsets[layer], value.permute(1, 2, 0), atol=1e-5)
            else:
                np.testing.assert_allclose(found.values[name][layer], value.T, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "gpt_oss", "mistral"])
def test_no_whole_pattern_is_made_and_each_row_is_seen_once(family):
    model = head_model(family)
    tokens = repeating(2, 50)
    seen = torch.zeros(model.n_layers, 50)

    class Blocks(Intervention):
        wants_pattern, block_queries = True, 16

        def on_pattern_block(self, layer, pattern, first_query):
            assert pattern.shape == (2, 4, min(16, 50 - first_query), min(first_query + 16, 50))
            torch.testing.assert_close(
                pattern, whole.patterns[layer][:, :, first_query : first_query + 16][..., : pattern.shape[3]]
            )
            seen[layer, first_query : first_query + 16] += 1

    whole = PatternReader()
    with model.intervening(whole):
        clean = model.logits(tokens)
    with model.intervening(Blocks()):
        blocked = model.logits(tokens)
    assert torch.equal(seen, torch.ones_like(seen))
    torch.testing.assert_close(blocked, clean, atol=1e-5, rtol=0)


def test_reading_patterns_leaves_out_the_last_layers_mlp():
    model = head_model("llama")
    ran = []
    handle = model.structure.blocks[-1].mlp.register_forward_pre_hook(lambda *_: ran.append(1))
    reader = PatternReader()
    with model.intervening(reader):
        model.attend(torch.tensor([[0, 1, 2]]))
    handle.remove()
    assert (sorted(reader.patterns), ran) == ([0, 1, 2], [])
