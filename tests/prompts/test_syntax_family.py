"""Annotated sentences: what is annotated is what the words are."""

from __future__ import annotations

import itertools
import random
from collections import Counter, defaultdict

import pytest

from head_atlas.errors import PromptError
from head_atlas.prompts.families.syntax import RELATIONS, Sentence, build_syntax, prompt_of_sentence
from head_atlas.prompts.tokens import TokenPolicy
from tiny_models import TOKENIZER

POLICY = TokenPolicy(TOKENIZER)
WORDS = {
    "determiner": {"The", "the", "a"},
    "pronoun": {"she", "he", "her", "him"},
}


def words_of(prompt):
    edges = [*prompt.annotations["words"], len(prompt)]
    return {a: TOKENIZER.decode(prompt.tokens[a:b]).strip() for a, b in itertools.pairwise(edges)}


def test_half_of_each_split_and_every_template_once_before_any_twice():
    prompts, note = build_syntax(POLICY, random.Random(0), 100)
    assert (len(prompts), note) == (200, "")
    assert Counter(p.split for p in prompts) == {"train": 100, "held_out": 100}
    counts = Counter(p.template for p in prompts)
    assert len(counts) == 32
    assert max(counts.values()) - min(counts.values()) <= 2
    assert len({p.text for p in prompts}) == 200
    again, _ = build_syntax(POLICY, random.Random(0), 100)
    assert again == prompts


def test_every_relation_and_direction_has_templates_enough_for_an_interval():
    prompts, _ = build_syntax(POLICY, random.Random(0), 100)
    templates, held_out = defaultdict(set), Counter()
    for prompt in prompts:
        for relation in RELATIONS:
            flat = prompt.annotations.get(f"relation:{relation}", ())
            for in_order in {first < second for first, second in zip(flat[::2], flat[1::2], strict=True)}:
                templates[relation, in_order].add(prompt.template)
                held_out[relation, in_order] += prompt.split == "held_out"
    assert len(templates) == 2 * len(RELATIONS) - 1, "a determiner never follows its noun"
    assert min(map(len, templates.values())) >= 8
    assert min(held_out.values()) >= 20


def test_words_classes_and_relations_are_those_of_the_text():
    prompts, _ = build_syntax(POLICY, random.Random(0), 100)
    seen = Counter()
    for prompt in prompts:
        words = words_of(prompt)
        rebuilt = "".join(w if i == 0 or w in ",." else f" {w}" for i, w in enumerate(words.values()))
        assert rebuilt == prompt.text
        for name, expected in WORDS.items():
            at = set(prompt.annotations.get(f"class:{name}", ()))
            assert {words[i] for i in at} <= expected
            assert {i for i, word in words.items() if word in expected} == at, prompt.text
        for relation, classes in RELATIONS.items():
            flat = prompt.annotations.get(f"relation:{relation}", ())
            for pair in zip(flat[::2], flat[1::2], strict=True):
                assert all(i in prompt.annotations[f"class:{c}"] for i, c in zip(pair, classes, strict=True))
                seen[relation, pair[0] < pair[1]] += 1
    assert {relation for relation, _ in seen} == set(RELATIONS)
    # both word orders, where English has both
    assert {relation for relation, in_order in seen if in_order} == set(RELATIONS)
    assert {relation for relation, in_order in seen if not in_order} == set(RELATIONS) - {"determiner-noun"}


def test_a_sentence_by_hand():
    sentence = Sentence(3, ("The", "cat", "sat", "."), {"d1": 0, "n1": 1, "v1": 2}, (("d1", "n1"), ("n1", "v1")))
    prompt = prompt_of_sentence(sentence, POLICY)
    assert prompt.text == "The cat sat."
    starts = prompt.annotations["words"]
    assert [words_of(prompt)[i] for i in starts] == ["The", "cat", "sat", "."]
    assert starts[0] == 1  # after BOS
    assert prompt.annotations["relation:determiner-noun"] == (starts[0], starts[1])
    assert prompt.annotations["relation:subject-verb"] == (starts[1], starts[2])
    assert prompt.annotations["class:noun"] == (starts[1],)
    assert prompt.targets == prompt.tokens[2:]


def test_a_token_across_two_words_is_refused():
    class Joining:
        bos_token_id = 0

        def __call__(self, text, **_):
            return {"input_ids": [1, 2], "offset_mapping": [(0, 3), (3, len(text))]}

    with pytest.raises(PromptError, match=r"spans the words 'cat' and '\.'"):
        prompt_of_sentence(Sentence(0, ("The", "cat", "."), {}, ()), TokenPolicy(Joining()))
