"""Attention between named parts: known answers on constructed patterns, and a slow twin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from head_atlas.errors import PromptError
from head_atlas.measures.named_parts import part_attention
from head_atlas.models.readers import PatternReader
from tiny_models import head_model, random_prompts

PROMPTS = [
    replace(prompt, annotations={"END": (len(prompt) - 1,), "IO": io, "S2": (4,)})
    for prompt, io in zip(random_prompts([(9, (8,)), (12, (11,)), (9, (8,))]), ((2,), (3, 4), (6,)), strict=True)
]


class Ideal:
    """A model of two heads: head 0 puts all attention of the end on IO, head 1 spreads it evenly."""

    n_layers, n_heads = 1, 2

    def rows(self, tokens):
        self.n = len(tokens[0])
        return torch.tensor(tokens)

    def intervening(self, reader):
        self.reader = reader
        return __import__("contextlib").nullcontext()

    def attend(self, tokens):
        n = tokens.shape[1]
        pattern = torch.zeros(1, 2, n, n)
        pattern[0, 0, :, next(p for p in PROMPTS if p.tokens == tuple(tokens[0].tolist())).annotations["IO"][0]] = 1
        pattern[0, 1] = 1 / torch.arange(1, n + 1)[:, None]
        self.reader.on_pattern(0, pattern)


def test_an_ideal_head_scores_one_its_rival_nothing_and_an_even_one_no_excess():
    found = part_attention(Ideal(), PROMPTS, "end_to_io", n_draws=200)
    np.testing.assert_allclose(found.mass.values[0, 0], 1.0)
    np.testing.assert_allclose(found.mass.values[0, 1], [1 / 9, 2 / 12, 1 / 9], rtol=1e-6)
    np.testing.assert_allclose(found.uniform.values[0], [1 / 9, 2 / 12, 1 / 9], rtol=1e-6)
    np.testing.assert_allclose(found.excess.values[0], [1.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(found.draws.values[0, 1], 0.0, atol=1e-6)  # chance cannot change an even row
    rival = part_attention(Ideal(), PROMPTS, "end_to_s2", n_draws=200)
    assert rival.mass.values[0, 0].tolist() == [0.0, 0.0, 0.0]
    assert rival.excess.values[0, 0] < 0


def test_the_null_of_an_ideal_head_is_as_often_right_as_chance():
    found = part_attention(Ideal(), PROMPTS, "end_to_io", n_draws=4000)
    # one of the 8, 11 (two of them) and 8 keys >= 1 of each prompt
    expected = np.mean([1 / 8, 2 / 11, 1 / 8])
    uniform = found.uniform.values.mean()
    assert found.draws.values[0, 0].mean() == pytest.approx((expected - uniform) / (1 - uniform), abs=0.02)
    assert found.draws.values.shape == (1, 2, 4000)
    all_right = (found.draws.values[0, 0] >= found.excess.values[0, 0]).mean()
    assert all_right == pytest.approx(1 / 8 * 2 / 11 * 1 / 8, abs=0.003)


def test_it_is_what_the_patterns_say():
    model = head_model("mistral")  # a window of 4
    found = part_attention(model, PROMPTS, "end_to_io", windows=[4] * 3, n_draws=50)
    for index, prompt in enumerate(PROMPTS):
        reader = PatternReader()
        with model.intervening(reader):
            model.attend(model.rows([prompt.tokens]))
        for layer in range(3):
            row = reader.patterns[layer][0, :, len(prompt) - 1]
            expected = sum(row[:, j] for j in prompt.annotations["IO"])
            np.testing.assert_allclose(found.mass.values[layer, :, index], expected.numpy(), rtol=1e-5)
    assert found.uniform.values[0].tolist() == [0.0, 0.0, 0.25]  # only the last prompt's name is in the window


def test_draws_are_seeded():
    one, same, other = (
        part_attention(Ideal(), PROMPTS, "end_to_io", n_draws=20, seed=s).draws.values for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_parts_must_be_there():
    with pytest.raises(PromptError, match="prompt 0 has no END that could look at a IO"):
        part_attention(Ideal(), [replace(PROMPTS[0], annotations={})], "end_to_io")
    with pytest.raises(PromptError, match="no prompt"):
        part_attention(Ideal(), [], "end_to_io")
