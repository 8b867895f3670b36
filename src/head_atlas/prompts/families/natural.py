"""Running text: paragraphs written for this project, generated stories, or a corpus of the user's."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from itertools import islice

from head_atlas.prompts.prompt import Prompt
from head_atlas.prompts.running_text import RunningText, draw_pieces, prompt_of_text
from head_atlas.prompts.simple_english import passage
from head_atlas.prompts.tokens import TokenPolicy

NATURAL_LENGTH = 96
RESERVED = 10
"""Paragraphs at the end of the file that are never measured: they stand in for removed heads."""
SIMPLE_ENGLISH = 1.4
"""From this many times as many tokens per word in the paragraphs as in the stories, a tokenizer was made for the
stories: the demo model's needs 1.7 times as many, those of general text or code about as many."""
_COMPARED = 20


@cache
def paragraphs() -> tuple[str, ...]:
    """The paragraphs written for this project, of 80 to 95 words."""
    text = files("head_atlas.prompts").joinpath("paragraphs.txt").read_text(encoding="utf-8")
    return tuple(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def natural_source(policy: TokenPolicy, corpus: RunningText | None) -> str:
    """Where the running text of a tokenizer comes from, in words."""
    if corpus is not None:
        return "a corpus of the user's"
    if knows_only_stories(policy):
        return "generated stories"
    digest = hashlib.sha256("\n\n".join(paragraphs()).encode()).hexdigest()
    return f"the paragraphs of head_atlas (sha256 {digest[:16]})"


def knows_only_stories(policy: TokenPolicy) -> bool:
    """Whether a tokenizer was made for the generated stories, and so its model for no other text."""
    rng = random.Random("simple English")
    stories = [passage(rng) for _ in range(_COMPARED)]
    return _tokens_per_word(policy, paragraphs()[:_COMPARED]) >= SIMPLE_ENGLISH * _tokens_per_word(policy, stories)


def build_natural(
    policy: TokenPolicy,
    rng: random.Random,
    n_prompts: int,
    length: int,
    corpus: RunningText | None,
    *,
    reserved: bool = False,
) -> tuple[list[Prompt], str]:
    """Cut running text into prompts; every token from the second on is a target.

    Args:
        policy: the tokenizer and its BOS.
        rng: what is drawn and shuffled.
        n_prompts: how many.
        length: most tokens of a prompt, BOS counted in.
        corpus: the user's own text, one prompt from the start of each document; None for the paragraphs, or for
            generated stories if the tokenizer was made for these.
        reserved: of the paragraphs, take those that are never measured, as many as make a prompt of that length.

    Returns:
        The prompts, and a note if there are fewer than asked for.

    Raises:
        CorpusError: the corpus cannot be read.
        PromptError: it has no document that is long enough.
    """
    pieces: Iterable[tuple[int, ...]]
    note = ""
    if corpus is not None:
        pieces, note = draw_pieces(policy, corpus, rng, n_pieces=n_prompts, length=length, per_document=1)
    elif knows_only_stories(policy):
        pieces = islice(_stories(policy, rng, length), n_prompts)
    elif reserved:
        pieces = islice(_reserved(policy, rng, length), n_prompts)
    else:
        known = paragraphs()[:-RESERVED]
        drawn = rng.sample(known, min(n_prompts, len(known)))
        pieces = [(*policy.prefix, *policy.pieces_of(text))[:length] for text in drawn]
        if n_prompts > len(known):
            note = f"{len(known)} of {n_prompts} prompts: a corpus of your own may have more paragraphs"
    return [prompt_of_text(policy, tokens, rng, "natural", index) for index, tokens in enumerate(pieces)], note


def _stories(policy: TokenPolicy, rng: random.Random, length: int) -> Iterator[tuple[int, ...]]:
    """Stories, one after the other until the prompt is full."""
    while True:
        text = passage(rng)
        while len(policy.prefix) + len(policy.pieces_of(text)) < length:
            text += " " + passage(rng)
        yield (*policy.prefix, *policy.pieces_of(text))[:length]


def _reserved(policy: TokenPolicy, rng: random.Random, length: int) -> Iterator[tuple[int, ...]]:
    """Reserved paragraphs, each piece from another pair of them on and, if need be, through all others."""
    known = rng.sample(paragraphs()[-RESERVED:], RESERVED)
    for start in range(0, RESERVED, 2):
        turned = known[start:] + known[:start]
        text, n = turned[0], 1
        while len(policy.prefix) + len(policy.pieces_of(text)) < length:
            text += "\n\n" + turned[n % RESERVED]
            n += 1
        yield (*policy.prefix, *policy.pieces_of(text))[:length]


def _tokens_per_word(policy: TokenPolicy, texts: Iterable[str]) -> float:
    counts = [(len(policy.pieces_of(text)), len(text.split())) for text in texts]
    return sum(n for n, _ in counts) / sum(n for _, n in counts)
