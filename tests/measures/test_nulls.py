"""Nulls of pattern scores: ideal heads pass, even heads do not, and p values of heads without a rule are even."""

from __future__ import annotations

import random
import tracemalloc

import numpy as np
import pytest
import torch
import transformers

from constructed_heads import ConstructedHeads, even, ideal, noise
from head_atlas.errors import HeadAtlasError, PromptError
from head_atlas.measures import null_offsets, patterns
from head_atlas.measures.null_offsets import even_positional, permuted_masses
from head_atlas.measures.nulls import NULL_FAMILIES, Null, default_draws, null_scores, syntactic_null
from head_atlas.measures.syntax import DIRECTIONS, summarise_choices, word_pairs
from head_atlas.measures.targets import visible
from head_atlas.models import HeadModel
from head_atlas.named_array import NamedArray
from head_atlas.prompts.families import build_families
from head_atlas.prompts.families.random_tokens import mismatched
from head_atlas.prompts.families.syntax import RELATIONS, build_syntax
from head_atlas.prompts.prompt import Prompt
from head_atlas.prompts.tokens import TokenPolicy
from tiny_models import CONFIGS, TOKENIZER

MASSES = [name for name in NULL_FAMILIES if name != "positional"]
LENGTH, GAP = 8, 3


def flat_prompts(n, n_pos=24, seed=0):
    rng = random.Random(seed)
    return [Prompt("", (0, *rng.sample(range(1, 5000), n_pos - 1)), (1,), (1,)) for _ in range(n)]


def repeat_prompts(n, seed=0):
    rng = random.Random(seed)
    made = []
    for _ in range(n):
        drawn = rng.sample(range(1, 5000), 2 * LENGTH + GAP)
        r, other, gap = drawn[:LENGTH], drawn[LENGTH : 2 * LENGTH], drawn[2 * LENGTH :]
        made.append(
            Prompt(
                "",
                (0, *r, *gap, *r),
                (1,),
                (1,),
                corrupted=(0, *other, *gap, *r),
                annotations={
                    "first": tuple(range(1, 1 + LENGTH)),
                    "second": tuple(range(1 + LENGTH + GAP, 1 + 2 * LENGTH + GAP)),
                },
            )
        )
    return made


def families(n):
    return {"rand_flat": flat_prompts(n), "natural": flat_prompts(n, 40, 1), "rand_repeat": repeat_prompts(n)}


def test_p_and_floor_by_hand():
    heads = ("layer", "head")
    draws = np.arange(100, dtype=np.float32).reshape(1, 1, 100).repeat(3, 1)
    null = Null(NamedArray(np.array([[98.0, 200.0, np.nan]]), heads), NamedArray(draws, (*heads, "draw")), "")
    np.testing.assert_allclose(null.p.values, [[3 / 101, 1 / 101, np.nan]])
    assert null.n99.values[0, 0] == pytest.approx(98.01)


def test_enough_draws_to_pass_a_correction_for_all_heads():
    assert default_draws(12, 12) == 2880
    assert default_draws(2, 2) == 1000


def test_ideal_heads_pass_and_an_even_head_does_not():
    names = list(MASSES)
    model = ConstructedHeads([[*(ideal(name) for name in names), even]])
    found = null_scores(model, families(12), n_draws=500)
    assert list(found) == list(NULL_FAMILIES)
    for place, name in enumerate(names):
        null = found[name]
        assert null.observed.values[0, place] == pytest.approx(1.0, abs=1e-6)
        assert null.p.values[0, place] == pytest.approx(1 / 501)
        assert null.n99.values[0, place] < 0.5
        assert null.observed.values[0, -1] == pytest.approx(0.0, abs=1e-6)
        assert null.p.values[0, -1] == 1.0
        assert null.n99.values[0, -1] == pytest.approx(0.0, abs=1e-6)
        rivals = [i for i, other in enumerate(names) if other != name and NULL_FAMILIES[other] == NULL_FAMILIES[name]]
        assert (null.observed.values[0, rivals] <= 0).all()
        assert (null.p.values[0, rivals] > 0.2).all()
    positional = found["positional"]
    for name in ("previous_token", "current_token"):
        assert positional.observed.values[0, names.index(name)] == 1.0
        assert positional.p.values[0, names.index(name)] == pytest.approx(1 / 501)
    assert positional.p.values[0, -1] > 0.5
    assert (positional.n99.values < 0.3).all()


@pytest.mark.slow
def test_p_values_of_heads_without_a_rule_are_even():
    model = ConstructedHeads([[noise(10 * layer + head) for head in range(10)] for layer in range(20)])
    found = null_scores(model, families(10), n_draws=400)
    for name, null in found.items():
        p = np.sort(null.p.values.ravel())
        # Kolmogorov-Smirnov, one-sided: more small p values than there should be; 1 % bound for 200 heads is 0.107
        assert (np.arange(1, 201) / 200 - p).max() < 0.107, name
        assert (p <= 0.05).mean() <= 0.1, name
        if name != "positional":  # whose observed share is that of a maximum as well, on few values
            assert abs(p.mean() - 0.5) < 0.08, name


def slow_permuted(pattern, window, back, rng):
    """Mass on the key `back` before, after the visible keys >= 1 of every row were permuted."""
    n = pattern.shape[-1]
    masses = []
    for i in range(1 + back, n):
        keys = [j for j in range(1, i + 1) if window is None or i - j < window]
        permuted = dict(zip(keys, rng.permutation([pattern[i, j] for j in keys]), strict=True))
        masses.append(permuted[i - back])
    return np.mean(masses)


@pytest.mark.parametrize("window", [None, 6])
def test_draws_are_those_of_permuting_whole_rows(window):
    def windowed(tokens):
        pattern = noise(3)(tokens) * visible(tokens.shape[1], window)
        return pattern / pattern.sum(-1, keepdim=True)

    prompts = flat_prompts(2, 14)
    names = ("previous_token", "current_token")
    model = ConstructedHeads([[windowed]])
    fast = permuted_masses(model, prompts, names, 4000, seed=0, windows=[window])
    rng = np.random.default_rng(0)
    whole = [windowed(torch.tensor([p.tokens]))[0].numpy() for p in prompts]
    for back, name in ((1, "previous_token"), (0, "current_token")):
        slow = np.array([np.mean([slow_permuted(one, window, back, rng) for one in whole]) for _ in range(2000)])
        error = slow.std() / np.sqrt(2000) + slow.std() / np.sqrt(4000)
        assert abs(fast[name].mean() - slow.mean()) < 4 * error
        np.testing.assert_allclose(
            np.quantile(fast[name], [0.05, 0.5, 0.95]), np.quantile(slow, [0.05, 0.5, 0.95]), rtol=0.05
        )


@pytest.mark.parametrize("window", [None, 6])
def test_the_positional_null_is_that_of_random_arg_maxima(window):
    lengths, rng = [20, 30], np.random.default_rng(5)
    slow = []
    for _ in range(2000):
        per_prompt = []
        for n in lengths:
            counts = np.zeros(32)
            for i in range(1, n):
                keys = [j for j in range(1, i + 1) if window is None or i - j < window]
                counts[i - rng.choice(keys)] += 1
            per_prompt.append(counts)
        best = np.sum(per_prompt, axis=0).argmax()
        slow.append(np.mean([c[best] / (n - 1 - best) for c, n in zip(per_prompt, lengths, strict=True)]))
    fast = even_positional(lengths, window, 3000, np.random.default_rng(0))
    assert fast.shape == (3000,)
    np.testing.assert_allclose(np.quantile(fast, [0.1, 0.5, 0.9]), np.quantile(slow, [0.1, 0.5, 0.9]), rtol=0.1)
    assert fast.mean() == pytest.approx(np.mean(slow), rel=0.02)


def test_memory_of_the_positional_null_does_not_grow_with_prompts():
    peaks = []
    for n_prompts in (10, 200):
        tracemalloc.start()
        even_positional([12] * n_prompts, None, 500, np.random.default_rng(0))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_draws_depend_on_the_seed_alone_not_on_batches(monkeypatch):
    model = ConstructedHeads([[noise(0), even]])
    prompts = families(5)
    once = null_scores(model, prompts, n_draws=50)
    other = null_scores(model, prompts, n_draws=50, seed=1)
    monkeypatch.setattr(patterns, "PATTERN_NUMBERS_PER_BATCH", 1)
    monkeypatch.setattr(null_offsets, "BLOCK_QUERIES", 64)
    again = null_scores(model, prompts, n_draws=50)
    for name, null in once.items():
        np.testing.assert_allclose(again[name].draws.values, null.draws.values, atol=1e-6)
        assert not np.allclose(other[name].draws.values[0, 0], null.draws.values[0, 0])


def test_mismatched_inputs_repeat_nothing():
    prompt = repeat_prompts(1)[0]
    rows = mismatched(prompt, 5, random.Random(0))
    assert rows[0] == prompt.corrupted
    assert len(set(rows)) == 5
    first, second = prompt.annotations["first"], prompt.annotations["second"]
    for row in rows:
        assert len(row) == len(prompt)
        assert not {row[i] for i in first} & {row[i] for i in second}
        assert row[first[-1] + 1 :] == prompt.tokens[first[-1] + 1 :]
    with pytest.raises(PromptError, match="rand_repeat"):
        mismatched(flat_prompts(1)[0], 2, random.Random(0))


def test_only_what_there_are_prompts_for():
    model = ConstructedHeads([[even]])
    assert list(null_scores(model, {"rand_flat": flat_prompts(2)}, n_draws=10)) == ["previous_token", "current_token"]
    with pytest.raises(HeadAtlasError, match="no null for 'sink'"):
        null_scores(model, {}, ["sink"])


def sentences(n=96):
    return build_syntax(TokenPolicy(TOKENIZER), random.Random(0), n)[0]


def test_a_syntactic_head_passes_and_heads_that_take_any_word_of_the_class_do_not():
    prompts = sentences()
    pairs = word_pairs(prompts)
    rng = np.random.default_rng(0)
    chosen = np.empty((1, 101, len(pairs)), dtype=np.int16)
    chosen[0, 0] = [pair.key for pair in pairs]
    for head in range(1, 101):
        chosen[0, head] = [rng.choice(pair.same_class) for pair in pairs]
    found = summarise_choices(pairs, chosen, prompts)
    nulls = syntactic_null(found, n_draws=2000)
    assert set(nulls) <= {(relation, direction) for relation in RELATIONS for direction in DIRECTIONS}
    assert {relation for relation, _ in nulls} == set(RELATIONS)
    for (relation, direction), null in nulls.items():
        gains = found.gains.sel(relation=relation, direction=direction).values
        np.testing.assert_allclose(null.observed.values, np.nanmean(gains, axis=-1), atol=1e-6)
        p = null.p.values[0]
        assert (p[1:] <= 0.05).mean() <= 0.12, relation
    for relation in ("subject-verb", "determiner-noun", "pronoun-antecedent"):
        direction = DIRECTIONS[relation == "pronoun-antecedent"]
        assert nulls[relation, direction].p.values[0, 0] == pytest.approx(1 / 2001)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_no_untrained_head_is_over_the_floor_of_a_role(seed):
    torch.manual_seed(seed)
    model = HeadModel(transformers.AutoModelForCausalLM.from_config(CONFIGS["gpt2"]()), TOKENIZER)
    asked = ["rand_flat", "rand_repeat", "natural"]
    prompts = build_families(model.policy, n_prompts=20, only=asked, max_length=model.max_length).prompts
    assert list(prompts) == ["rand_repeat", "rand_flat", "natural"]
    for name, null in null_scores(model, prompts, n_draws=300).items():
        size = 0.9 if name == "positional" else 0.1
        assert not (null.observed.values >= np.maximum(null.n99.values, size)).any()
