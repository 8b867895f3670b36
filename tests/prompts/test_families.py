from __future__ import annotations

import random
from collections import Counter

import pytest

from head_atlas.errors import PromptError
from head_atlas.prompts.families import CONTAINED_TEMPLATES, FAMILIES, Families, build_families
from head_atlas.prompts.families.from_templates import prompt_of
from head_atlas.prompts.families.random_tokens import ordinary_tokens
from head_atlas.prompts.running_text import RunningText
from head_atlas.prompts.simple_english import document
from head_atlas.prompts.templates import SAMPLERS, Case, draw


@pytest.fixture(scope="session", params=["byte_level", "metaspace"])
def policy(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def families(policy) -> Families:
    return build_families(policy, n_prompts=100, seed=0)


def of_templates(families):
    return [(name, p) for name in SAMPLERS for p in families.prompts.get(name, [])]


def test_at_least_twelve_families_of_a_hundred_prompts(families):
    assert sum(len(prompts) == 100 for prompts in families.prompts.values()) >= 12
    assert set(families.prompts) | set(families.left_out) == set(FAMILIES)


def test_a_hundred_prompts_use_fifteen_templates_and_both_splits_evenly(families):
    for name, prompts in families.prompts.items():
        splits = Counter(p.split for p in prompts)
        assert abs(splits["train"] - splits["held_out"]) <= 1 or name in families.notes, name
        if name in SAMPLERS:
            per_template = Counter(p.template for p in prompts)
            assert len(per_template) >= 15, name
            assert max(per_template.values()) <= 16, name


def test_held_out_prompts_never_occur_in_training_text_and_others_do(byte_level):
    families, policy = build_families(byte_level, n_prompts=100, seed=0), byte_level
    rng = random.Random("training text")
    documents = [document(rng, "train") for _ in range(2000)]
    sentences = [draw(name, rng, "train").sentence for name in SAMPLERS for _ in range(1500)]
    text = "\n".join(documents + sentences)
    found = Counter()
    for name, prompt in of_templates(families):
        answered = prompt.text + policy.tokenizer.decode(prompt.targets)
        if answered in text:
            found[prompt.split] += 1
            assert prompt.split == "train", (name, answered)
    assert found["train"] > 20


def test_bare_templates_are_never_held_out(families):
    bare = {p.split for name, p in of_templates(families) if (name, p.template) in CONTAINED_TEMPLATES}
    assert bare == {"train"}


def test_no_text_occurs_twice(families):
    for name, prompts in families.prompts.items():
        assert len({p.tokens for p in prompts}) == len(prompts), name


def test_targets_and_contrasts_are_single_tokens_that_follow_the_text(families, policy):
    for name, prompt in of_templates(families):
        assert prompt.tokens == policy.encode(prompt.text)
        for token in (*prompt.targets, *prompt.contrasts):
            word = policy.tokenizer.decode([*prompt.tokens, token])[len(policy.tokenizer.decode(prompt.tokens)) :]
            assert policy.encode(prompt.text + word) == (*prompt.tokens, token), (name, prompt.text, word)
        assert prompt.targets != prompt.contrasts
        assert prompt.positions == (len(prompt) - 1,)


def test_corrupted_prompts_differ_and_are_as_long(families):
    n_corrupted = Counter()
    for name, prompts in families.prompts.items():
        for prompt in prompts:
            if prompt.corrupted:
                assert len(prompt.corrupted) == len(prompt)
                assert prompt.corrupted != prompt.tokens
                n_corrupted[name] += 1
    for name in ("rand_repeat", "ioi", "pronoun"):
        assert n_corrupted[name] > 50, name


def test_indirect_objects_by_hand(families, policy):
    for prompt in families.prompts["ioi"]:
        parts = {name: policy.strings([prompt.tokens[i] for i in at]) for name, at in prompt.annotations.items()}
        words = {name: "".join(pieces).strip() for name, pieces in parts.items()}
        assert words["IO"] == policy.strings(prompt.targets)[0].strip()
        assert words["S1"] == words["S2"] == policy.strings(prompt.contrasts)[0].strip()
        assert words["IO"] != words["S1"]
        assert prompt.annotations["S1"] < prompt.annotations["S2"]
        assert prompt.annotations["END"] == prompt.positions
        assert prompt.text.count(words["S1"]) == 2
        if prompt.corrupted:
            changed = [i for i, (a, b) in enumerate(zip(prompt.tokens, prompt.corrupted, strict=True)) if a != b]
            assert tuple(changed) == prompt.annotations["S2"]


def test_facts_are_facts(families, policy):
    answers = {p.text: policy.strings(p.targets)[0].strip() for p in families.prompts["fact"]}
    france = [answer for text, answer in answers.items() if "France" in text and "capital" in text]
    assert set(france) <= {"Paris"}
    assert len(set(answers.values())) > 20


def test_random_repeats_repeat(families, policy):
    for prompt in families.prompts["rand_repeat"]:
        at = prompt.annotations
        first, gap, second = ([prompt.tokens[i] for i in at[part]] for part in ("first", "gap", "second"))
        other = [prompt.corrupted[i] for i in at["first"]]
        assert first == second
        assert len({*first, *gap, *other}) == len(first) + len(gap) + len(other)
        assert list(prompt.corrupted[len(policy.prefix) + len(first) :]) == [*gap, *second]
        for position, target, contrast in zip(prompt.positions, prompt.targets, prompt.contrasts, strict=True):
            assert prompt.tokens[position + 1] == target
            assert contrast in first
            assert contrast not in (target, prompt.tokens[position])
    assert len({len(p.annotations["gap"]) for p in families.prompts["rand_repeat"]}) >= 12


def test_flat_random_tokens_never_repeat(families, policy):
    for prompt in families.prompts["rand_flat"]:
        assert len(set(prompt.tokens)) == len(prompt) == 48 + len(policy.prefix)


def test_ordinary_tokens_are_whole_characters(policy):
    special = set(policy.tokenizer.all_special_ids)
    for token in ordinary_tokens(policy, random.Random(0), 300):
        assert token not in special
        assert "\ufffd" not in policy.strings([token])[0]


def test_natural_prompts_are_running_text(families, policy):
    for prompt in families.prompts["natural"]:
        assert len(prompt) == 96
        assert prompt.positions == tuple(range(1, 95))
        assert prompt.targets == prompt.tokens[2:]
        assert sorted(prompt.corrupted) == sorted(prompt.tokens)
        assert prompt.corrupted[: len(policy.prefix)] == policy.prefix


def test_a_corpus_of_the_users(byte_level, tmp_path):
    paragraphs = [f"Number {i}: " + "the cat sat on the mat. " * 10 for i in range(5)]
    (tmp_path / "own.txt").write_text("\n\n".join([*paragraphs, "Too short."]))
    (tmp_path / "short.txt").write_text("Too short.")
    own, short = RunningText(str(tmp_path / "own.txt")), RunningText(str(tmp_path / "short.txt"))
    families = build_families(byte_level, n_prompts=4, only=["natural"], corpus=own, natural_length=40)
    assert [len(p) for p in families.prompts["natural"]] == [40] * 4
    assert all(p.text.startswith("Number") for p in families.prompts["natural"])
    families = build_families(byte_level, n_prompts=9, only=["natural"], corpus=own)
    assert len(families.prompts["natural"]) == 5
    assert "5 of 9 prompts" in families.notes["natural"]
    assert "natural" not in families.left_out
    families = build_families(byte_level, n_prompts=9, only=["natural"], corpus=short)
    assert families.prompts == {}
    assert "0 of 9 prompts" in families.left_out["natural"]


def test_the_same_seed_gives_the_same_prompts_and_a_family_does_not_depend_on_others(families, policy):
    again = build_families(policy, n_prompts=100, seed=0, only=["fact", "rand_repeat"])
    assert again.prompts["fact"] == families.prompts["fact"]
    assert again.prompts["rand_repeat"] == families.prompts["rand_repeat"]
    other = build_families(policy, n_prompts=100, seed=1, only=["fact"])
    assert other.prompts["fact"] != families.prompts["fact"]


def test_few_prompts_still_have_both_splits_and_many_templates(byte_level):
    families = build_families(byte_level, n_prompts=8)
    for name in SAMPLERS:
        prompts = families.prompts[name]
        assert Counter(p.split for p in prompts) == {"train": 4, "held_out": 4}
        assert len({p.template for p in prompts}) >= 4


def test_families_that_cannot_be_built_are_left_out_and_named(characters):
    families = build_families(characters, n_prompts=10)
    assert "fact" not in families.prompts
    assert "is not exactly one token after the prompt" in families.left_out["fact"]
    assert set(families.prompts) | set(families.left_out) == set(FAMILIES)


def test_prompts_longer_than_the_model_are_left_out_and_named(byte_level):
    families = build_families(byte_level, n_prompts=10, max_length=40)
    assert all(len(p) <= 40 for prompts in families.prompts.values() for p in prompts)
    assert "rand_flat" not in families.prompts
    assert "longer than the model's 40 tokens" in families.left_out["rand_flat"]
    assert {len(p) for p in families.prompts["natural"]} == {40}


def test_a_family_of_which_less_than_half_fits_is_left_out(byte_level):
    whole = build_families(byte_level, n_prompts=20)
    lengths = {name: sorted(len(p) for p in prompts) for name, prompts in whole.prompts.items()}
    longest = lengths["rand_repeat"][4]  # five to eight of twenty fit, or so
    families = build_families(byte_level, n_prompts=20, max_length=longest)
    dropped = 0
    for name in set(lengths) - {"natural"}:
        fitting = sum(n <= longest for n in lengths[name])
        if fitting < 10:
            assert name not in families.prompts
            assert f"{20 - fitting} prompts are longer than the model's {longest} tokens" in families.left_out[name]
            dropped += fitting > 0
        else:
            assert len(families.prompts[name]) == fitting
    assert dropped


def test_what_the_tokenizer_and_what_the_model_leave_out_are_both_named(byte_level, monkeypatch):
    prompts = build_families(byte_level, n_prompts=10, only=["ioi"]).prompts["ioi"]
    longest = sorted(len(p) for p in prompts)[-2]
    monkeypatch.setattr(
        "head_atlas.prompts.families.build_from_templates", lambda *_: (prompts, "10 of 12 prompts can be built")
    )
    families = build_families(byte_level, n_prompts=12, only=["ioi"], max_length=longest)
    n_long = sum(len(p) > longest for p in prompts)
    assert families.notes["ioi"] == (
        f"10 of 12 prompts can be built; {n_long} prompts are longer than the model's {longest} tokens"
    )
    assert len(families.prompts["ioi"]) == 10 - n_long


def test_an_unknown_family(byte_level):
    with pytest.raises(PromptError, match=r"unknown family 'nosuch'; there are rand_repeat"):
        build_families(byte_level, only=["nosuch"])
    with pytest.raises(PromptError, match="at least 2 prompts"):
        build_families(byte_level, n_prompts=1)


def test_an_answer_of_several_tokens_is_refused(byte_level):
    case = Case("x", 0, "The cat sat on the", " Xylophonist", " mat", "The dog sat on the", {})
    with pytest.raises(PromptError, match="' Xylophonist' is not exactly one token after the prompt"):
        prompt_of(case, byte_level)
    same = Case("x", 0, "The cat sat on the", " mat", " mat", "The dog sat on the", {})
    with pytest.raises(PromptError, match="are the same token"):
        prompt_of(same, byte_level)
