"""Random tokens of any tokenizer: what heads do without meaning to help them."""

from __future__ import annotations

import random

from head_atlas.errors import PromptError
from head_atlas.prompts.prompt import Prompt
from head_atlas.prompts.tokens import TokenPolicy

REPEAT_LENGTH = 16
GAPS = range(1, 17)
FLAT_LENGTH = 48
_DRAWS_PER_TOKEN = 200


def build_rand_repeat(policy: TokenPolicy, rng: random.Random, n_prompts: int) -> list[Prompt]:
    """BOS r gap r: random tokens, a gap of random length, the same tokens again.

    Drawn without replacement; r, gap and r' (the corrupted prompt's first part) share no token. The gap's
    length is random, as at a fixed lag a head that just looks that far back would pass for a duplicate-token
    head. Measured at the second copy's queries; the contrast is another token of r.

    Raises:
        PromptError: the tokenizer has too few ordinary tokens.
    """
    prompts = []
    for index in range(n_prompts):
        gap_length = rng.choice(GAPS)
        drawn = ordinary_tokens(policy, rng, 2 * REPEAT_LENGTH + gap_length)
        block, other, gap = drawn[:REPEAT_LENGTH], drawn[REPEAT_LENGTH : 2 * REPEAT_LENGTH], drawn[2 * REPEAT_LENGTH :]
        tokens = (*policy.prefix, *block, *gap, *block)
        first = len(policy.prefix)
        second = first + REPEAT_LENGTH + gap_length
        queries = tuple(range(second, second + REPEAT_LENGTH - 1))
        contrasts = []
        for place in range(REPEAT_LENGTH - 1):
            # neither the right answer nor the token the query stands on
            contrasts.append(rng.choice(block[:place] + block[place + 2 :]))
        prompts.append(
            Prompt(
                text=_text(policy, tokens),
                tokens=tokens,
                positions=queries,
                targets=tuple(block[1:]),
                contrasts=tuple(contrasts),
                family="rand_repeat",
                split=_split(index),
                corrupted=(*policy.prefix, *other, *gap, *block),
                annotations={
                    "first": tuple(range(first, first + REPEAT_LENGTH)),
                    "gap": tuple(range(first + REPEAT_LENGTH, second)),
                    "second": tuple(range(second, second + REPEAT_LENGTH)),
                },
            )
        )
    return prompts


def mismatched(prompt: Prompt, n: int, rng: random.Random) -> list[tuple[int, ...]]:
    """Inputs whose second part repeats nothing: the corrupted prompt, and the same with its first part in other orders.

    Args:
        prompt: of `rand_repeat`.
        n: how many.
        rng: draws the orders.

    Returns:
        Rows of tokens as long as the prompt.

    Raises:
        PromptError: the prompt is of another family.
    """
    if not {"first", "second"} <= set(prompt.annotations) or not prompt.corrupted:
        raise PromptError(
            "mismatched input is made from prompts of rand_repeat, found one without first and second part"
        )
    at = prompt.annotations["first"]
    rows = [prompt.corrupted]
    while len(rows) < n:
        tokens = list(prompt.corrupted)
        for place, source in zip(at, rng.sample(at, len(at)), strict=True):
            tokens[place] = prompt.corrupted[source]
        rows.append(tuple(tokens))
    return rows


def build_rand_flat(policy: TokenPolicy, rng: random.Random, n_prompts: int) -> list[Prompt]:
    """Random tokens without repetition: only position is left to attend by.

    There is no right answer, so effects are not measured here; the target is the token that happens to follow.

    Raises:
        PromptError: the tokenizer has too few ordinary tokens.
    """
    prompts = []
    for index in range(n_prompts):
        tokens = (*policy.prefix, *ordinary_tokens(policy, rng, FLAT_LENGTH))
        prompts.append(
            Prompt(
                text=_text(policy, tokens),
                tokens=tokens,
                positions=(len(tokens) - 2,),
                targets=tokens[-1:],
                family="rand_flat",
                split=_split(index),
            )
        )
    return prompts


def ordinary_tokens(policy: TokenPolicy, rng: random.Random, n: int) -> list[int]:
    """Draw different tokens that hold a letter: no specials, no added tokens, no parts of characters.

    Raises:
        PromptError: the tokenizer does not have that many.
    """
    tokenizer = policy.tokenizer
    size = len(tokenizer)
    special = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
    drawn: list[int] = []
    seen = set(special)
    for _ in range(n * _DRAWS_PER_TOKEN):
        token = rng.randrange(size)
        if token in seen:
            continue
        seen.add(token)
        text = policy.strings([token])[0]
        if any(c.isalpha() for c in text) and all(c.isprintable() and c != "\ufffd" for c in text):
            drawn.append(token)
            if len(drawn) == n:
                return drawn
    raise PromptError(f"{n} different ordinary tokens are needed; this tokenizer of {size} has too few")


def _text(policy: TokenPolicy, tokens: tuple[int, ...]) -> str:
    ids = list(tokens[len(policy.prefix) :])
    return str(policy.tokenizer.decode(ids, clean_up_tokenization_spaces=False))


def _split(index: int) -> str:
    return "held_out" if index % 2 else "train"
