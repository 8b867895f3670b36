import random

import pytest

from head_atlas.prompts.simple_english import document
from head_atlas.prompts.templates import HELD_OUT_SHARE, SAMPLERS, draw, fill


@pytest.mark.parametrize("family", SAMPLERS)
def test_spans_name_the_words_they_claim(family):
    rng = random.Random(0)
    for _ in range(50):
        case = SAMPLERS[family](rng)
        for start, end in case.spans.values():
            assert case.text[start:end].strip() == case.text[start:end] != ""
        assert case.answer != case.contrast
        assert case.corrupted != case.text


def test_indirect_objects_are_annotated_by_role_not_by_order():
    rng = random.Random(1)
    orders = set()
    for _ in range(100):
        case = SAMPLERS["ioi"](rng)
        part = {name: case.text[slice(*span)] for name, span in case.spans.items()}
        assert part["S1"] == part["S2"] != part["IO"]
        assert case.answer == f" {part['IO']}"
        assert case.contrast == f" {part['S1']}"
        orders.add(case.spans["IO"] < case.spans["S1"])
    assert orders == {True, False}


@pytest.mark.parametrize("family", SAMPLERS)
def test_a_draw_keeps_to_its_split_and_is_seeded(family):
    texts = {}
    for split in ("train", "held_out"):
        texts[split] = {draw(family, random.Random(seed), split).text for seed in range(60)}
        assert texts[split] == {draw(family, random.Random(seed), split).text for seed in range(60)}
        assert draw(family, random.Random(7), split).split == split
    assert not texts["train"] & texts["held_out"]


def test_the_held_out_share_is_what_it_says():
    rng = random.Random(2)
    splits = [SAMPLERS["ioi"](rng).split for _ in range(4000)]
    assert abs(splits.count("held_out") / 4000 - HELD_OUT_SHARE) < 0.03


@pytest.mark.parametrize("family", SAMPLERS)
def test_training_text_never_contains_a_held_out_prompt(family):
    rng = random.Random(3)
    lines = "\n".join(document(rng, "train") for _ in range(4000)).replace(". ", ".\n").splitlines()
    judge = random.Random(4)
    for _ in range(100):
        case = draw(family, judge, "held_out")
        asked = case.text.splitlines()[-1] if family != "list_format" else case.text
        told = asked + case.answer
        if family == "list_format":
            assert told not in "\n".join(lines)
        elif ". " not in case.text:
            assert not any(line.startswith(told) for line in lines)
        else:
            assert told not in " ".join(lines)


def test_cases_that_are_part_of_each_other_share_a_split():
    rng = random.Random(5)
    for family in ("successor", "brackets"):
        cases = [draw(family, rng, "held_out") for _ in range(300)]
        trained = {draw(family, rng, "train").sentence for _ in range(3000)}
        assert not any(other.startswith(case.text + case.answer) for case in cases for other in trained)


def test_fill_reports_character_ranges():
    text, spans = fill("{a} and {b}.", {"a": "salt", "b": "pepper"})
    assert text == "salt and pepper."
    assert {name: text[slice(*span)] for name, span in spans.items()} == {"a": "salt", "b": "pepper"}
