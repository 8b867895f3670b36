"""Running text: generated stories, or a corpus of the user's."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import islice

from head_atlas.prompts.prompt import Prompt
from head_atlas.prompts.running_text import RunningText, draw_pieces, prompt_of_text
from head_atlas.prompts.simple_english import passage
from head_atlas.prompts.tokens import TokenPolicy

NATURAL_LENGTH = 96


def build_natural(
    policy: TokenPolicy, rng: random.Random, n_prompts: int, length: int, corpus: RunningText | None
) -> tuple[list[Prompt], str]:
    """Cut running text into prompts; every token from the second on is a target.

    Args:
        policy: the tokenizer and its BOS.
        rng: what is drawn and shuffled.
        n_prompts: how many.
        length: most tokens of a prompt, BOS counted in.
        corpus: the user's own text, one prompt from the start of each document; None for generated stories.

    Returns:
        The prompts, and a note if there are fewer than asked for.

    Raises:
        CorpusError: the corpus cannot be read.
        PromptError: it has no document that is long enough.
    """
    pieces: Iterable[tuple[int, ...]]
    if corpus is None:
        pieces, note = islice(_stories(policy, rng, length), n_prompts), ""
    else:
        pieces, note = draw_pieces(policy, corpus, rng, n_pieces=n_prompts, length=length, per_document=1)
    return [prompt_of_text(policy, tokens, rng, "natural", index) for index, tokens in enumerate(pieces)], note


def _stories(policy: TokenPolicy, rng: random.Random, length: int) -> Iterator[tuple[int, ...]]:
    """Stories, one after the other until the prompt is full."""
    while True:
        text = passage(rng)
        while len(policy.prefix) + len(policy.pieces_of(text)) < length:
            text += " " + passage(rng)
        yield (*policy.prefix, *policy.pieces_of(text))[:length]
