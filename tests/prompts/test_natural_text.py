"""Running text: the project's paragraphs, or stories for a tokenizer that was made for them."""

from __future__ import annotations

import hashlib
import random
import tomllib
from pathlib import Path

from head_atlas.prompts.families import build_families
from head_atlas.prompts.families.natural import (
    RESERVED,
    build_natural,
    knows_only_stories,
    natural_source,
    paragraphs,
)
from head_atlas.prompts.running_text import RunningText
from head_atlas.prompts.tokens import TokenPolicy

ROOT = Path(__file__).parents[2]


class Words:
    """Every word or other character is a token, whatever the text: as good at paragraphs as at stories."""

    bos_token_id, eos_token_id = 0, 0

    def __init__(self):
        self.words = ["<bos>"]

    def __call__(self, text, **_):
        words = text.replace("\n\n", " \n\n ").split(" ")
        self.words += [word for word in dict.fromkeys(words) if word not in self.words]
        return {"input_ids": [self.words.index(word) for word in words]}

    def decode(self, ids, **_):
        return " ".join(self.words[i] for i in ids)


def test_a_hundred_and_ten_paragraphs_of_64_to_110_words():
    texts = paragraphs()
    assert len(texts) == len({text[:40] for text in texts}) == 100 + RESERVED
    assert all(64 <= len(text.split()) <= 110 for text in texts)
    assert len({word.lower() for text in texts for word in text.split()}) > 2500  # varied


def test_they_come_with_the_package():
    with (ROOT / "pyproject.toml").open("rb") as file:
        packaged = tomllib.load(file)["tool"]["setuptools"]["package-data"]["head_atlas"]
    assert "prompts/paragraphs.txt" in packaged
    assert (ROOT / "src/head_atlas/prompts/paragraphs.txt").exists()


def test_stories_are_for_tokenizers_that_were_made_for_them(byte_level, metaspace, characters):
    assert knows_only_stories(byte_level)
    assert knows_only_stories(metaspace)
    assert not knows_only_stories(characters)
    assert not knows_only_stories(TokenPolicy(Words()))
    prompt = build_families(byte_level, n_prompts=2, only=["natural"]).prompts["natural"][0]
    assert not any(text.startswith(prompt.text[:30]) for text in paragraphs())


def test_prompts_are_the_starts_of_different_paragraphs_and_some_are_kept_back():
    policy = TokenPolicy(Words())
    families = build_families(policy, n_prompts=120, only=["natural"], natural_length=64)
    prompts = families.prompts["natural"]
    assert {len(p) for p in prompts} == {64}
    assert sorted(p.text for p in prompts) == sorted(" ".join(text.split()[:63]) for text in paragraphs()[:-RESERVED])
    assert families.notes["natural"].startswith("100 of 120 prompts")
    other = build_families(policy, n_prompts=5, only=["natural"], natural_length=64, seed=1).prompts["natural"]
    assert {p.text for p in other} < {p.text for p in prompts}
    assert [p.text for p in other] != [p.text for p in prompts[:5]]


def test_what_stands_in_is_of_other_paragraphs_and_as_long_as_is_asked_for():
    policy = TokenPolicy(Words())
    for length in (20, 150, 400):
        prompts, _ = build_natural(policy, random.Random(0), 5, length, None, reserved=True)
        assert [len(p) for p in prompts] == [length] * 5
        assert len({p.tokens[:20] for p in prompts}) == 5
        assert all(any(text.startswith(p.text[:60]) for text in paragraphs()[-RESERVED:]) for p in prompts)


def test_the_source_is_named_with_its_hash(byte_level, characters):
    text = (ROOT / "src/head_atlas/prompts/paragraphs.txt").read_text(encoding="utf-8").strip()
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert natural_source(characters, None) == f"the paragraphs of head_atlas (sha256 {digest[:16]})"
    assert natural_source(byte_level, None) == "generated stories"
    assert natural_source(characters, RunningText("x.txt")) == "a corpus of the user's"
