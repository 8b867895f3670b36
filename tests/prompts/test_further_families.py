"""Families beside the demo model's training text: years, doc strings, starts."""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import replace

import pytest

from head_atlas.errors import PromptError
from head_atlas.prompts.families import build_families
from head_atlas.prompts.families.from_templates import build_from_templates, prompt_of
from head_atlas.prompts.families.sink_probe import PROBE_LENGTH, STARTS, build_sink_probe
from head_atlas.prompts.further_templates import FURTHER_SAMPLERS, N_YEARS, ManyCorruptions
from head_atlas.prompts.tokens import TokenPolicy
from head_atlas.prompts.verb_object import OBJECTS_OF


class WordTokenizer:
    """Two digits, a word with its space, or one other character is a token, as in GPT-2's for the years at hand."""

    bos_token_id, eos_token_id, all_special_ids = 0, 0, (0,)

    def __init__(self):
        self.words = ["<bos>"]

    def __call__(self, text, **_):
        places = [m.span() for m in re.finditer(r" ?\d\d|(?: |^)?[A-Za-z]+| +| ?[^\sA-Za-z\d]|\s|\d", text)]
        assert sum(b - a for a, b in places) == len(text)
        ids = [self.id_of(text[a:b]) for a, b in places]
        return {"input_ids": ids, "offset_mapping": places}

    def id_of(self, word):
        if word not in self.words:
            self.words.append(word)
        return self.words.index(word)

    def decode(self, ids, **_):
        return "".join(self.words[i] for i in ids)


@pytest.fixture(scope="module")
def words() -> TokenPolicy:
    return TokenPolicy(WordTokenizer())


@pytest.mark.parametrize("family", FURTHER_SAMPLERS)
def test_a_hundred_prompts_of_fifteen_templates_and_both_splits(words, family):
    prompts, note = build_from_templates(family, words, random.Random(0), 100)
    assert note == ""
    assert len({p.tokens for p in prompts}) == 100
    assert len({p.template for p in prompts}) >= 15
    assert Counter(p.split for p in prompts) == {"train": 50, "held_out": 50}
    for prompt in prompts:
        assert len(prompt.corrupted) == len(prompt)
        assert prompt.corrupted != prompt.tokens


def test_years_after_the_first_are_right_and_others_wrong(words):
    prompts, _ = build_from_templates("greater_than", words, random.Random(0), 60)
    for prompt in prompts:
        century, first = re.search(r"(\d\d)(\d\d)", prompt.text).groups()
        assert prompt.text.endswith(f" {century}")
        assert prompt.positions == (len(prompt) - 1,) * N_YEARS
        assert all(int(year) > int(first) for year in words.strings(prompt.targets))
        assert all(int(year) <= int(first) for year in words.strings(prompt.contrasts))
        assert f"{century}01" in words.tokenizer.decode(prompt.corrupted)
        changed = [i for i, (a, b) in enumerate(zip(prompt.tokens, prompt.corrupted, strict=True)) if a != b]
        assert tuple(changed) == prompt.annotations["year"]


def test_the_next_argument_of_a_doc_string_by_hand(words):
    for seed in range(60):
        case = FURTHER_SAMPLERS["docstring"](random.Random(seed))
        arguments = [a.strip() for a in re.search(r"\((.*)\)", case.text)[1].split(",") if a.strip() != "self"]
        described = re.findall(r"(?::param|@param|-) (\w+):", case.text)
        assert arguments[: len(described)] == described
        assert case.answer == f" {arguments[len(described)]}"
        assert case.contrast.strip() in {*arguments} - {case.answer.strip()}
        assert case.answer not in case.corrupted.split('"""')[0]
        assert prompt_of(case, words).annotations["definition"]


def test_of_many_corrupted_prompts_the_first_of_as_many_tokens_is_taken(byte_level):
    case = ManyCorruptions(
        "x", 0, "The cat sat on the", " mat", " bed", "The xylophonist sat on the", {}, further=("The dog sat on the",)
    )
    assert prompt_of(case, byte_level).corrupted == byte_level.encode("The dog sat on the")
    assert prompt_of(replace(case, further=()), byte_level).corrupted == ()
    drawn = FURTHER_SAMPLERS["docstring"](random.Random(0))
    assert len({drawn.corrupted, *drawn.further}) > 50
    assert drawn.text not in drawn.further


def test_prompts_without_an_aligned_corrupted_one_are_counted_in_a_note(byte_level, monkeypatch):
    prompts = build_families(byte_level, n_prompts=10, only=["ioi"]).prompts["ioi"]
    prompts[3] = replace(prompts[3], corrupted=())
    monkeypatch.setattr("head_atlas.prompts.families.build_from_templates", lambda *_: (prompts, ""))
    notes = build_families(byte_level, n_prompts=10, only=["ioi"]).notes
    assert notes == {"ioi": "9 of 10 prompts have a corrupted prompt of as many tokens"}


def test_years_of_four_digits_in_one_token_are_left_out_and_named(byte_level):
    families = build_families(byte_level, n_prompts=20, only=["greater_than", "docstring"])
    assert set(families.prompts) | set(families.left_out) == {"greater_than", "docstring"}
    for name in set(families.left_out) - set(families.prompts):
        assert "of 20 prompts can be built for this tokenizer" in families.left_out[name]


def test_the_same_text_with_three_starts(byte_level):
    prompts, note = build_sink_probe(byte_level, random.Random(0), 20)
    assert note == ""
    assert len(prompts) == 18
    for first in range(0, 18, 3):
        bos, none, swapped = prompts[first : first + 3]
        assert [p.template for p in (bos, none, swapped)] == list(range(len(STARTS)))
        assert bos.tokens == (*byte_level.prefix, *none.tokens)
        assert swapped.tokens[1:] == none.tokens
        assert swapped.tokens[0] not in byte_level.prefix
        assert len(none) == PROBE_LENGTH
        assert len({p.split for p in (bos, none, swapped)}) == 1


def test_without_a_bos_there_is_nothing_to_compare(metaspace):
    with pytest.raises(PromptError, match="has no BOS"):
        build_sink_probe(metaspace, random.Random(0), 20)


def test_an_object_belongs_to_one_verb_and_does_not_stand_in_the_prompt():
    objects = [noun for nouns in OBJECTS_OF.values() for noun in nouns]
    assert len(set(objects)) == len(objects)
    for seed in range(50):
        case = FURTHER_SAMPLERS["verb_object"](random.Random(seed))
        verb, wrong = (
            next(v for v, nouns in OBJECTS_OF.items() if noun.strip() in nouns) for noun in (case.answer, case.contrast)
        )
        assert case.text[slice(*case.spans["verb"])] == verb
        assert case.corrupted == case.text.replace(f" {verb} ", f" {wrong} ")
        assert case.answer not in case.text
