"""Sink-conditional, norm-weighted and positional scores: known answers, and the running form against slow twins."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from head_atlas.catalogue import SCORES
from head_atlas.errors import PromptError
from head_atlas.measures import scores
from head_atlas.measures.patterns import pattern_scores
from head_atlas.measures.positional import positional
from head_atlas.measures.running_variants import NORM_WEIGHTED, SINK_FREE, VARIANTS, RunningVariants
from head_atlas.measures.targets import TARGETS, visible
from head_atlas.models import PatternReader
from head_atlas.models.readers import ValueReader
from head_atlas.prompts.prompt import Prompt
from tiny_models import CONFIGS, head_model


def looks_at(n_pos, key_of):
    pattern = torch.zeros(1, 1, n_pos, n_pos)
    for i in range(n_pos):
        pattern[0, 0, i, key_of(i)] = 1.0
    return pattern


def repeating(n_prompts, n_pos, seed=0):
    generator = torch.Generator().manual_seed(seed)
    half = torch.stack([torch.randperm(200, generator=generator)[: (n_pos + 1) // 2] + 1 for _ in range(n_prompts)])
    return torch.cat([half, half], 1)[:, :n_pos]


def slow_row_sum(row, wanted):
    return sum(row[j] for j in wanted)


def slow_variants(pattern, lengths, target):
    """Every variant of one prompt and head, with loops: lists of [query][key], [key] and a target map."""
    n = len(pattern)
    queries = [i for i in range(n) if any(target[i])]
    wanted = {i: [j for j in range(n) if target[i][j]] for i in queries}
    on_target = sum(slow_row_sum(pattern[i], wanted[i]) for i in queries)
    rest = sum(sum(pattern[i][1:]) for i in queries)
    shares = []
    for i in queries:
        row = [pattern[i][j] * lengths[j] for j in range(n)]
        shares.append(slow_row_sum(row, wanted[i]) / sum(row))
    return on_target / rest, sum(shares) / len(shares)


def slow_offsets(pattern):
    n = len(pattern)
    counts = [0] * 33
    for i in range(1, n):
        best = max(range(1, i + 1), key=lambda j: pattern[i][j])
        if pattern[i][best] > 0:
            counts[min(i - best, 32)] += 1
    return counts


def test_a_head_that_rests_or_looks_back_is_ideal_once_the_sink_is_taken_out():
    pattern = 0.9 * looks_at(12, lambda _: 0) + 0.1 * looks_at(12, lambda i: max(i - 1, 0))
    tokens = torch.arange(12)[None]
    target = TARGETS["previous_token"](tokens)
    assert scores.mass(pattern, target).item() == pytest.approx(0.1)
    assert scores.sink_free_mass(pattern, target).item() == pytest.approx(1.0)
    assert scores.sink_free_mass(pattern, TARGETS["current_token"](tokens)).item() == 0.0
    assert scores.non_sink(pattern).item() == pytest.approx(0.1 * 10 / 11)  # query 1 has only key 0 before it


def test_a_pure_sink_has_no_sink_conditional_score():
    target = TARGETS["previous_token"](torch.arange(12)[None])
    assert math.isnan(scores.sink_free_mass(looks_at(12, lambda _: 0), target).item())
    assert scores.non_sink(looks_at(12, lambda _: 0)).item() == 0.0


def test_a_ratio_of_sums_is_no_mean_of_ratios():
    pattern = torch.zeros(1, 1, 3, 3)
    pattern[0, 0, 1] = torch.tensor([0.99, 0.01, 0.0])  # all of its remainder on itself
    pattern[0, 0, 2] = torch.tensor([0.0, 1.0, 0.0])  # nothing on itself
    found = scores.sink_free_mass(pattern, TARGETS["current_token"](torch.arange(3)[None]))
    assert found.item() == pytest.approx(0.01 / 1.01)


def test_a_key_that_writes_nothing_is_null_attention():
    pattern = 0.9 * looks_at(8, lambda _: 0) + 0.1 * looks_at(8, lambda i: i)
    tokens = torch.arange(8)[None]
    silent_first = torch.ones(1, 1, 8)
    silent_first[..., 0] = 0.0
    even = torch.ones(1, 1, 8)
    sink, current = TARGETS["sink"](tokens), TARGETS["current_token"](tokens)
    assert scores.norm_weighted_mass(pattern, even, sink).item() == pytest.approx(scores.mass(pattern, sink).item())
    assert scores.norm_weighted_mass(pattern, silent_first, sink).item() == 0.0
    assert scores.norm_weighted_mass(pattern, silent_first, current).item() == pytest.approx(1.0)
    assert math.isnan(scores.norm_weighted_mass(pattern, 0 * even, current).item())


@pytest.mark.parametrize("distance", [0, 1, 5, 31])
def test_a_head_of_one_distance_is_positional_and_its_offset_is_found(distance):
    n = 60
    counts = scores.arg_max_offsets(looks_at(n, lambda i: max(i - distance, 0)))
    found = positional(counts.permute(1, 2, 0)[None].numpy(), [n])
    assert found.offset.item() == distance
    assert found.share.item() == 1.0


def test_looking_elsewhere_on_average_is_not_positional():
    n = 40
    even = (visible(n, None).float() / visible(n, None).sum(-1, keepdim=True))[None, None]
    found = positional(scores.arg_max_offsets(even).permute(1, 2, 0)[None].numpy(), [n])
    assert found.share.item() == pytest.approx(1 / (n - 1))  # of equal keys the farthest: another offset each time
    chosen = np.random.default_rng(0).random(n)
    by_content = looks_at(n, lambda i: 1 + int(chosen[i] * i) if i else 0)
    found = positional(scores.arg_max_offsets(by_content).permute(1, 2, 0)[None].numpy(), [n])
    assert found.share.item() < 0.5


def test_a_distance_that_changes_between_prompts_is_not_one_offset():
    n = 40
    patterns = [looks_at(n, lambda i: max(i - 3, 0)), looks_at(n, lambda i: max(i - 5, 0))]
    counts = scores.arg_max_offsets(torch.cat(patterns)).permute(1, 2, 0)[None].numpy()
    found = positional(counts, [n, n])
    assert found.offset.item() == 3
    assert found.share[0, 0].tolist() == [1.0, 0.0]


def test_attention_on_the_sink_alone_has_no_offset():
    counts = scores.arg_max_offsets(looks_at(20, lambda _: 0))
    assert counts.sum() == 0
    found = positional(counts.permute(1, 2, 0)[None].numpy(), [20])
    assert np.isnan(found.offset).all()
    assert np.isnan(found.share).all()


@pytest.mark.parametrize("window", [None, 7])
def test_formulas_on_whole_patterns_agree_with_loops(window):
    generator = torch.Generator().manual_seed(0)
    n = 24
    logits = 2 * torch.randn(2, 3, n, n, generator=generator, dtype=torch.float64)
    pattern = logits.masked_fill(~visible(n, window), -math.inf).softmax(-1)
    lengths = torch.rand(2, 3, n, generator=generator, dtype=torch.float64)
    tokens = torch.randint(1, 6, (2, n), generator=generator)
    offsets = scores.arg_max_offsets(pattern)
    for name, of in TARGETS.items():
        target = of(tokens)
        free, weighted = scores.sink_free_mass(pattern, target), scores.norm_weighted_mass(pattern, lengths, target)
        for p in range(2):
            for h in range(3):
                expected = slow_variants(pattern[p, h].tolist(), lengths[p, h].tolist(), target[p].tolist())
                if name != "sink":
                    assert free[p, h].item() == pytest.approx(expected[0], abs=1e-12)
                assert weighted[p, h].item() == pytest.approx(expected[1], abs=1e-12)
                assert offsets[p, h].tolist() == slow_offsets(pattern[p, h].tolist())


def expected_variants(pattern, lengths, tokens):
    found = {name: scores.sink_free_mass(pattern, TARGETS[base](tokens)) for name, base in SINK_FREE.items()}
    for name, base in NORM_WEIGHTED.items():
        found[name] = scores.norm_weighted_mass(pattern, lengths, TARGETS[base](tokens))
    found["non_sink"] = scores.non_sink(pattern)
    found["positional"] = scores.arg_max_offsets(pattern)
    return found


@pytest.mark.parametrize("window", [None, 5])
@pytest.mark.parametrize(("n_pos", "block"), [(6, 64), (12, 5), (12, 1), (100, 64), (150, 33)])
def test_blocks_add_up_to_the_whole(n_pos, block, window):
    generator = torch.Generator().manual_seed(n_pos)
    logits = 3 * torch.randn(2, 3, n_pos, n_pos, generator=generator)
    pattern = logits.masked_fill(~visible(n_pos, window), -torch.inf).softmax(-1)
    pattern[0, 0] = torch.eye(n_pos)[[0] * n_pos]  # a head that only rests on position 0
    tokens = repeating(2, n_pos)
    values = torch.randn(2, n_pos, 3, 4, generator=generator)
    factors = torch.randn(3, 4, 4, generator=generator)
    lengths = torch.stack([(values[:, :, h] @ factors[h].T).norm(dim=-1) for h in range(3)], 1)
    running = RunningVariants(VARIANTS, {name: of(tokens) for name, of in TARGETS.items()}, [factors], n_pos)
    running.on_values(0, values)
    for first in range(0, n_pos, block):
        last = min(first + block, n_pos)
        running.on_pattern_block(0, pattern[:, :, first:last, :last], first)
    for name, value in expected_variants(pattern, lengths, tokens).items():
        np.testing.assert_allclose(running.score(name, 0), value, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("family", CONFIGS)
def test_variants_of_every_family_are_those_of_its_patterns_and_written_vectors(family):
    model = head_model(family)
    tokens = torch.cat([torch.zeros(2, 1, dtype=torch.long), repeating(2, 40)], 1)
    prompts = [Prompt("", tuple(row.tolist()), (1,), (1,)) for row in tokens]
    patterns, values = PatternReader(), ValueReader()
    with model.intervening(patterns, values):
        model.logits(tokens)
    found = pattern_scores(model, prompts, VARIANTS)
    for layer, pattern in patterns.patterns.items():
        weight = model.output_weights(layer)[0]
        written = torch.einsum("pkhd,hdm->phkm", values.values[layer].double(), weight.double())
        expected = expected_variants(pattern.double(), written.norm(dim=-1), tokens)
        counts = expected.pop("positional").permute(1, 2, 0)
        np.testing.assert_array_equal(found.arg_max_offsets[layer], counts)
        for name, value in expected.items():
            np.testing.assert_allclose(found.values[name][layer], value.T, atol=1e-5, err_msg=name)
    np.testing.assert_array_equal(found.values["positional"], positional(found.arg_max_offsets, [41, 41]).share)


def test_every_score_of_the_catalogue_can_be_measured_and_no_other():
    model = head_model("llama")
    prompt = Prompt("", (0, *repeating(1, 40)[0].tolist()), (1,), (1,))
    found = pattern_scores(model, [prompt], list(SCORES))
    assert (
        set(found.values) | {"offsets"}
        == set(SCORES)
        == {*VARIANTS, *TARGETS, "diffuse", "diffuse_sink_free", "offsets"}
    )
    alone = pattern_scores(model, [prompt], ["induction"])
    np.testing.assert_allclose(alone.values["induction"], found.values["induction"], rtol=1e-5)
    assert alone.arg_max_offsets is None


def test_variants_name_their_base():
    for name, base in (SINK_FREE | NORM_WEIGHTED).items():
        assert SCORES[name].variant_of == base
        assert SCORES[name].families == SCORES[base].families
    assert {m.name for m in SCORES.values() if m.variant_of} == {*SINK_FREE, *NORM_WEIGHTED}


@pytest.mark.parametrize("name", ["induction_sink_free", "duplicate_token_norm_weighted"])
def test_variants_need_targets_as_their_base_does(name):
    prompt = Prompt("", tuple(range(12)), (1,), (1,))
    with pytest.raises(PromptError, match="no position of the prompt has a target"):
        pattern_scores(head_model("llama"), [prompt], [name])


def test_targets_can_be_those_of_other_tokens():
    model = head_model("llama")
    clean = Prompt("", (0, *repeating(1, 40)[0].tolist()), (1,), (1,))
    other = Prompt("", (0, *repeating(1, 40, seed=1)[0].tolist()), (1,), (1,))
    found = pattern_scores(model, [other], ["duplicate_token"], targets_of=[clean.tokens])
    reader = PatternReader()
    with model.intervening(reader):
        model.logits(torch.tensor([other.tokens]))
    target = TARGETS["duplicate_token"](torch.tensor([clean.tokens]))
    for layer, pattern in reader.patterns.items():
        np.testing.assert_allclose(found.values["duplicate_token"][layer], scores.mass(pattern, target).T, atol=1e-6)
