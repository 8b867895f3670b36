"""Syntactic scores: known answers on written-down choices, and slow twins on real patterns."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from constructed_heads import ConstructedHeads
from head_atlas.errors import PromptError
from head_atlas.measures.bootstrap import Interval
from head_atlas.measures.syntax import DIRECTIONS, holds, summarise_choices, syntactic_scores, word_pairs
from head_atlas.models import PatternReader
from head_atlas.prompts.families.syntax import RELATIONS, build_syntax
from head_atlas.prompts.prompt import Prompt
from head_atlas.prompts.tokens import TokenPolicy
from tiny_models import TOKENIZER, head_model


def sentences(n=40):
    return build_syntax(TokenPolicy(TOKENIZER), random.Random(0), n)[0]


def simple(tokens=8, split="train", **annotations):
    return Prompt("", tuple(range(tokens)), (1,), (1,), split=split, annotations=annotations)


def test_an_ideal_head_hits_always_and_a_fixed_offset_gains_nothing():
    prompts = sentences(96)
    pairs = word_pairs(prompts)
    best = summarise_choices(pairs, np.zeros((1, 1, len(pairs)), dtype=np.int16), prompts).best_offset.values
    ideal = [pair.key for pair in pairs]
    fixed = [pair.query - int(best[pair.relation, pair.direction]) for pair in pairs]
    nowhere = [-1] * len(pairs)
    found = summarise_choices(pairs, np.array([[ideal, fixed, nowhere]], dtype=np.int16), prompts)
    measured = ~np.isnan(found.hits.values[0, 0])
    assert (found.hits.values[0, 0][measured] == 1).all()
    assert (found.hits.values[0, 2][measured] == 0).all()
    held_out = measured & ~np.isnan(found.gains.values[0, 0])
    assert (found.gains.values[0, 1][held_out] == 0).all()
    np.testing.assert_allclose(found.gains.values[0, 0][held_out], 1 - found.offset_hits.values[held_out])
    gain = found.gain(seed=0)
    there = ~np.isnan(gain.mean[0, 0])
    assert (holds(gain)[0, 0] == (there & (gain.mean[0, 0] >= 0.1) & (gain.low[0, 0] > 0))).all()
    assert holds(gain)[0, 0].sum() >= 4
    assert not holds(gain)[0, 1:].any()


def test_the_offset_is_fitted_on_one_split_and_judged_on_the_other():
    subject_verb = {"class:noun": (1,), "class:verb": (2,)}
    prompts = [
        simple(words=(1, 2), **subject_verb, **{"relation:subject-verb": (1, 2)}),
        simple(words=(1, 2, 3), **subject_verb, **{"relation:subject-verb": (1, 3)}),
        simple(words=(1, 2, 3), **subject_verb, **{"relation:subject-verb": (1, 3)}),
        simple(split="held_out", words=(1, 2), **subject_verb, **{"relation:subject-verb": (1, 2)}),
        simple(split="held_out", words=(1, 2, 3), **subject_verb, **{"relation:subject-verb": (1, 3)}),
    ]
    found = summarise_choices(word_pairs(prompts), np.zeros((1, 1, 5), dtype=np.int16), prompts)
    at = {"relation": "subject-verb", "direction": "second_to_first"}
    assert found.best_offset.sel(**at).values == 2
    assert found.offset_hits.sel(**at).values.tolist() == [0, 1, 1, 0, 1]
    np.testing.assert_array_equal(found.gains.sel(**at).values[0, 0], [np.nan, np.nan, np.nan, 1, 0])
    assert np.isnan(found.best_offset.sel(relation="adjective-noun", direction="second_to_first").values)


def test_direction_and_class_follow_word_order():
    prompt = simple(
        words=(1, 2, 4, 5, 6),
        **{"class:noun": (1, 4), "class:verb": (2, 6), "relation:verb-object": (6, 4), "relation:subject-verb": (1, 6)},
    )
    pairs = {pair.relation: pair for pair in word_pairs([prompt])}
    names = list(RELATIONS)
    subject, thing = pairs[names.index("subject-verb")], pairs[names.index("verb-object")]
    assert (DIRECTIONS[subject.direction], subject.query, subject.key) == ("second_to_first", 4, 0)
    assert (DIRECTIONS[thing.direction], thing.query, thing.key) == ("first_to_second", 4, 2)
    assert subject.same_class == thing.same_class == (0, 2)


def test_pieces_of_a_key_are_summed_and_those_of_a_query_averaged():
    # words: [1], [2, 3], [4], [5, 6]; the last one looks back
    prompt = simple(
        7, words=(1, 2, 4, 5), **{"class:noun": (2, 4), "class:verb": (5,), "relation:subject-verb": (2, 5)}
    )

    def summed(tokens):
        pattern = torch.zeros(len(tokens), 7, 7, dtype=torch.float64)
        pattern[:, :, 0] = 1
        pattern[:, 5] = torch.tensor([0.5, 0, 0.1, 0.1, 0.19, 0.11, 0])  # [2, 3] has 0.2 together: more than [4]
        pattern[:, 6] = pattern[:, 5]
        return pattern

    def averaged(tokens):
        pattern = summed(tokens)
        pattern[:, 6] = torch.tensor([0.5, 0, 0, 0, 0.5, 0, 0])  # the second piece decides for [4]
        return pattern

    def resting(tokens):
        pattern = torch.zeros(len(tokens), 7, 7, dtype=torch.float64)
        pattern[:, :, 0] = 1
        return pattern

    found = syntactic_scores(ConstructedHeads([[summed, averaged, resting]]), [prompt])
    assert found.chosen[0, :, 0].tolist() == [1, 2, -1]
    at = {"relation": "subject-verb", "direction": "second_to_first"}
    assert found.hits.sel(**at).values[0, :, 0].tolist() == [1, 0, 0]


@pytest.mark.parametrize("family", ["llama", "gpt2", "falcon", "mistral"])
def test_choices_are_those_of_whole_patterns(family):
    model = head_model(family)
    prompts = [p for p in sentences(12) if len(p) <= model.max_length][:6]
    found = syntactic_scores(model, prompts)
    several = 0
    for place, pair in enumerate(found.pairs):
        prompt = prompts[pair.prompt]
        reader = PatternReader()
        with model.intervening(reader):
            model.logits(torch.tensor([prompt.tokens]))
        edges = [*prompt.annotations["words"], len(prompt)]
        words = [[i for i in range(a, b) if i] for a, b in itertools.pairwise(edges)]
        several += len(words[pair.query]) > 1
        for layer, pattern in reader.patterns.items():
            for head in range(model.n_heads):
                rows = pattern[0, head].tolist()
                attention = [sum(rows[i][j] for i in words[pair.query] for j in word) for word in words]
                assert found.chosen[layer, head, place] == int(np.argmax(attention))
    assert several > 0
    for index in range(len(prompts)):
        of_prompt = {(pair.relation, pair.direction) for pair in found.pairs if pair.prompt == index}
        measured = ~np.isnan(found.hits.values[0, 0, ..., index])
        assert set(map(tuple, np.argwhere(measured))) == of_prompt
    for group in {(pair.relation, pair.direction, pair.prompt) for pair in found.pairs}:
        places = [p for p, pair in enumerate(found.pairs) if (pair.relation, pair.direction, pair.prompt) == group]
        expected = np.mean([found.chosen[:, :, p] == found.pairs[p].key for p in places], axis=0)
        np.testing.assert_allclose(found.hits.values[(..., *group)], expected, rtol=1e-6)


def test_a_role_needs_ten_points_and_an_interval_above_zero():
    gain = Interval(np.array([0.1, 0.09, 0.3, np.nan]), np.array([0.01, 0.05, -0.1, np.nan]), np.ones(4), np.ones(4))
    assert holds(gain).tolist() == [True, False, False, False]


def scattered_gains(n_with, n_without):
    """One head, gains on the first templates of two prompts each, none on the others; like prompts within each."""
    pair = {"class:noun": (1,), "class:verb": (2,), "relation:subject-verb": (1, 2)}
    prompts = [
        replace(simple(split="held_out", words=(1, 2, 3), **(pair if i < n_with else {})), template=i)
        for i in range(n_with + n_without)
        for _ in range(2)
    ]
    pairs = word_pairs(prompts)
    right = np.array([[[pair.key if pair.prompt // 2 % 2 else -1 for pair in pairs]]], dtype=np.int16)
    found = summarise_choices(pairs, right, [replace(prompts[0], split="train"), *prompts[1:]])
    # without a train split there is no offset: count against none
    gains = found.hits.values.copy()
    return replace(found, gains=replace(found.gains, values=gains))


def test_only_templates_that_have_the_relation_are_drawn():
    # the other templates have nothing to say: with or without them the interval is the same
    few, many = scattered_gains(6, 0).gain(seed=3), scattered_gains(6, 26).gain(seed=3)
    for part in ("mean", "low", "high", "n"):
        np.testing.assert_array_equal(getattr(few, part), getattr(many, part))
    assert many.mean[0, 0, 0, 0] == 0.5
    assert many.n[0, 0, 0, 0] == 12
    assert many.low[0, 0, 0, 0] < 0.2 < 0.8 < many.high[0, 0, 0, 0]


def test_too_few_templates_give_a_mean_and_no_interval():
    gain = scattered_gains(4, 20).gain(seed=3)
    assert gain.mean[0, 0, 0, 0] == 0.5
    assert np.isnan([gain.low[0, 0, 0, 0], gain.high[0, 0, 0, 0]]).all()
    assert not holds(gain).any()


def test_prompts_without_annotations_are_refused():
    with pytest.raises(PromptError, match="no annotated words"):
        word_pairs([simple()])
    with pytest.raises(PromptError, match="pairs of first tokens of words"):
        word_pairs([simple(words=(1, 2), **{"relation:subject-verb": (1, 3)})])


def test_a_pair_at_position_zero_is_left_out():
    assert word_pairs([simple(words=(0, 2), **{"relation:determiner-noun": (0, 2)})]) == ()
