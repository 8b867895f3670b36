"""What heads rest on: the same text with BOS, without it, and with another token in its place."""

from __future__ import annotations

import random

from head_atlas.errors import PromptError
from head_atlas.prompts.families.random_tokens import ordinary_tokens
from head_atlas.prompts.prompt import Prompt
from head_atlas.prompts.simple_english import passage
from head_atlas.prompts.tokens import TokenPolicy

STARTS = ("bos", "none", "swapped")
"""What stands first, by template: BOS; the text's own first token; an ordinary token in the place of BOS."""
PROBE_LENGTH = 32


def build_sink_probe(policy: TokenPolicy, rng: random.Random, n_prompts: int) -> tuple[list[Prompt], str]:
    """Texts in turn, each with every start; there is no right answer, so effects are not measured here.

    Returns:
        The prompts, and a note if there are fewer than asked for.

    Raises:
        PromptError: the tokenizer has no BOS, or too few ordinary tokens.
    """
    if not policy.prefix:
        raise PromptError("the tokenizer has no BOS, with and without which attention could be compared")
    prompts: list[Prompt] = []
    # as many texts in either split, each with every start
    for index in range(n_prompts // (2 * len(STARTS)) * 2):
        words = policy.pieces_of(f"{passage(rng)} {passage(rng)}")[:PROBE_LENGTH]
        swapped = (ordinary_tokens(policy, rng, 1)[0], *words)
        split = "held_out" if index % 2 else "train"
        for template, tokens in enumerate(((*policy.prefix, *words), words, swapped)):
            prompts.append(
                Prompt(
                    text=str(policy.tokenizer.decode(list(words), clean_up_tokenization_spaces=False)),
                    tokens=tuple(tokens),
                    positions=(len(tokens) - 2,),
                    targets=tuple(tokens[-1:]),
                    family="sink_probe",
                    template=template,
                    split=split,
                )
            )
    if not prompts:
        raise PromptError(f"{2 * len(STARTS)} prompts are needed at least, found {n_prompts}")
    return prompts, ""
