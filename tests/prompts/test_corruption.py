"""Corrupted prompts are aligned, and exchange the word that decides."""

from __future__ import annotations

import pytest

from head_atlas.errors import PromptError
from head_atlas.prompts.corruption import propose_corrupted
from head_atlas.prompts.lexicon import CAPITALS, NAMES, PLURALS, PRONOUN
from head_atlas.prompts.templates import SAMPLERS


def test_a_fact_gets_another_subject(byte_level):
    found = propose_corrupted(byte_level, "The capital of France is")
    (pair,) = found.exchanged.items()
    assert (pair[0], pair[1][0], found.family) == ("subject", "France", "fact")
    assert pair[1][1] in CAPITALS
    assert found.corrupted == f"The capital of {pair[1][1]} is"
    assert found.tokens == byte_level.encode("The capital of France is")
    assert found.corrupted_tokens == byte_level.encode(found.corrupted)
    assert len(found.tokens) == len(found.corrupted_tokens)
    assert [i for i, (a, b) in enumerate(zip(found.tokens, found.corrupted_tokens, strict=True)) if a != b] == list(
        found.positions
    )
    assert propose_corrupted(byte_level, "The capital of France is") == found
    seeds = {propose_corrupted(byte_level, "The capital of France is", seed=seed).corrupted for seed in range(20)}
    assert len(seeds) > 3


@pytest.mark.parametrize(
    ("text", "family", "kept"),
    [
        ("When Mary and John went to the store, John gave a key to", "ioi", "When Mary and John went to the store, "),
        ("The opposite of hot is", "opposite", "The opposite of "),
        ("Harry Potter went home. Everyone knew Harry", "natural_repeat", "Harry "),
    ],
)
def test_other_families(byte_level, text, family, kept):
    found = propose_corrupted(byte_level, text)
    assert found.family == family
    assert found.corrupted.startswith(kept)
    assert found.corrupted != text
    if family == "ioi":
        (_, other) = found.exchanged["S2"]
        assert other in set(NAMES) - {"Mary", "John"}


def test_number_and_gender_are_flipped(byte_level):
    found = propose_corrupted(byte_level, "The dogs near the park")
    assert found.corrupted == "The dog near the park"
    assert PLURALS["dog"] == "dogs"
    found = propose_corrupted(byte_level, "Mary said that")
    (_, other) = found.exchanged["subject"]
    assert PRONOUN[other] == "he"


@pytest.mark.parametrize("family", SAMPLERS)
def test_a_pair_of_every_family(byte_level, family):
    found = propose_corrupted(byte_level, family=family)
    assert found.family == family
    assert len(found.tokens) == len(found.corrupted_tokens)
    assert found.positions


def test_a_tokenizer_without_a_pair_of_one_length_is_told(characters):
    found = propose_corrupted(characters, "The capital of France is")
    assert len(found.tokens) == len(found.corrupted_tokens)
    assert len({len(characters.encode(f"The capital of {name} is")) for name in CAPITALS}) > 1
    with pytest.raises(PromptError, match=r"'Longestcountryname' in a template of fact: none of \d+ words"):
        propose_corrupted(characters, "The capital of Longestcountryname is")


def test_what_is_refused(byte_level):
    with pytest.raises(PromptError, match="follows no template of the families fact, ioi"):
        propose_corrupted(byte_level, "Colourless green ideas sleep")
    with pytest.raises(PromptError, match="follows no template of the family ioi"):
        propose_corrupted(byte_level, "The capital of France is", "ioi")
    with pytest.raises(PromptError, match="unknown family 'nonsense'"):
        propose_corrupted(byte_level, family="nonsense")
    with pytest.raises(PromptError, match="give a text or a family"):
        propose_corrupted(byte_level)
    with pytest.raises(PromptError, match="does not know what to put"):
        propose_corrupted(byte_level, "The unicorns near the park")
