"""Running text: generated stories, or a corpus of the user's."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from head_atlas.errors import PromptError
from head_atlas.prompts.prompt import Prompt
from head_atlas.prompts.simple_english import passage
from head_atlas.prompts.tokens import TokenPolicy

NATURAL_LENGTH = 96
SHORTEST = 32
"""Paragraphs of a corpus with fewer tokens are passed over: they say little about distances and entropy."""


def build_natural(
    policy: TokenPolicy, rng: random.Random, n_prompts: int, length: int, corpus: str | None
) -> tuple[list[Prompt], str]:
    """Cut running text into prompts; every token from the second on is a target.

    Args:
        policy: the tokenizer and its BOS.
        rng: what is drawn and shuffled.
        n_prompts: how many.
        length: most tokens of a prompt, BOS counted in.
        corpus: a text whose paragraphs are apart by an empty line; None for generated stories.

    Returns:
        The prompts, and a note if there are fewer than asked for.

    Raises:
        PromptError: the corpus has no paragraph that is long enough.
    """
    texts = _stories(policy, rng, length) if corpus is None else _paragraphs(corpus, rng)
    prompts: list[Prompt] = []
    seen = 0
    for text in texts:
        if len(prompts) == n_prompts:
            break
        seen += 1
        tokens = (*policy.prefix, *policy.pieces_of(text))[:length]
        if len(tokens) >= min(SHORTEST, length):
            prompts.append(_prompt(policy, tokens, rng, len(prompts)))
    if len(prompts) == n_prompts:
        return prompts, ""
    note = f"{len(prompts)} of {n_prompts} prompts: the corpus has {seen} paragraphs, and {SHORTEST} tokens are needed"
    if not prompts:
        raise PromptError(note)
    return prompts, note


def _prompt(policy: TokenPolicy, tokens: tuple[int, ...], rng: random.Random, index: int) -> Prompt:
    first = len(policy.prefix)
    words = list(tokens[first:])
    shuffled = rng.sample(words, len(words))
    positions = tuple(range(1, len(tokens) - 1))
    return Prompt(
        text=str(policy.tokenizer.decode(words, clean_up_tokenization_spaces=False)),
        tokens=tokens,
        positions=positions,
        targets=tuple(tokens[p + 1] for p in positions),
        family="natural",
        split="held_out" if index % 2 else "train",
        corrupted=(*tokens[:first], *shuffled),
    )


def _stories(policy: TokenPolicy, rng: random.Random, length: int) -> Iterator[str]:
    """Stories, one after the other until the prompt is full."""
    while True:
        text = passage(rng)
        while len(policy.prefix) + len(policy.pieces_of(text)) < length:
            text += " " + passage(rng)
        yield text


def _paragraphs(corpus: str, rng: random.Random) -> list[str]:
    paragraphs = [p.strip() for p in re.split(r"\n\s*\n", corpus) if p.strip()]
    rng.shuffle(paragraphs)
    return paragraphs
