"""Families with one determined answer: filled templates as prompts of one tokenizer."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

from head_atlas.errors import PromptError
from head_atlas.prompts.further_templates import FURTHER_SAMPLERS, ManyAnswers, ManyCorruptions
from head_atlas.prompts.prompt import Prompt
from head_atlas.prompts.templates import SAMPLERS, Case, Split
from head_atlas.prompts.tokens import TokenPolicy

_DRAWS_PER_PROMPT = 12
_FEWEST_DRAWS = 300
SMALLEST_SHARE = 0.5
"""A family of which less than this share can be built says little and is left out."""

CONTAINED_TEMPLATES = frozenset({("successor", 0), ("list_format", 0), ("kv_retrieve", 0)})
"""Bare templates, without a lead: their texts are parts of other templates' texts, so one of the held-out
split can stand inside a sentence of the training split. They are measured in the train split only."""


def build_from_templates(
    family: str, policy: TokenPolicy, rng: random.Random, n_prompts: int
) -> tuple[list[Prompt], str]:
    """Draw prompts evenly over the family's templates, half from each split, no text twice.

    Returns:
        The prompts, and a note if there are fewer than asked for.

    Raises:
        PromptError: less than half of them can be built for this tokenizer; the message says why.
    """
    prompts: list[Prompt] = []
    refused: Counter[str] = Counter()
    quotas: tuple[tuple[Split, int], ...] = (("train", n_prompts - n_prompts // 2), ("held_out", n_prompts // 2))
    for split, quota in quotas:
        found = 0
        for case in _evenly(family, rng, split, quota):
            if found == quota:
                break
            try:
                prompts.append(prompt_of(case, policy))
            except PromptError as error:
                refused[str(error)] += 1
            else:
                found += 1
    why = f"; the most frequent reason: {refused.most_common(1)[0][0]}" if refused else ""
    note = f"{len(prompts)} of {n_prompts} prompts can be built for this tokenizer{why}"
    if len(prompts) < SMALLEST_SHARE * n_prompts:
        raise PromptError(note)
    return prompts, note if len(prompts) < n_prompts else ""


def prompt_of(case: Case, policy: TokenPolicy) -> Prompt:
    """Tokenise a filled template; annotations are the tokens that the named spans touch.

    Raises:
        PromptError: in this place, an answer or a contrast is not exactly one token, or both are the same.
    """
    pairs = [(case.answer, case.contrast)]
    if isinstance(case, ManyAnswers):
        pairs = list(zip(case.answers, case.contrasts, strict=True))
    encoded = policy.tokenizer(
        case.text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True
    )
    ids, places = list(encoded["input_ids"]), encoded["offset_mapping"]
    targets, contrasts = [], []
    for answer, contrast in pairs:
        targets.append(_next_token(policy, case.text, ids, answer))
        contrasts.append(_next_token(policy, case.text, ids, contrast))
        if targets[-1] == contrasts[-1]:
            raise PromptError(f"answer {answer!r} and contrast {contrast!r} are the same token")
    shift = len(policy.prefix)
    annotations = {
        name: tuple(i + shift for i, (start, end) in enumerate(places) if start < last and end > first)
        for name, (first, last) in sorted(case.spans.items())
    }
    last_position = shift + len(ids) - 1
    return Prompt(
        text=case.text,
        tokens=policy.prefix + tuple(ids),
        positions=(last_position,) * len(targets),
        targets=tuple(targets),
        contrasts=tuple(contrasts),
        family=case.family,
        template=case.template,
        split=case.split,
        corrupted=_aligned(case, policy, len(ids)),
        annotations=annotations | {"END": (last_position,)},
    )


def _aligned(case: Case, policy: TokenPolicy, n_pieces: int) -> tuple[int, ...]:
    """The first corrupted prompt that has as many tokens, or nothing."""
    for text in (case.corrupted, *(case.further if isinstance(case, ManyCorruptions) else ())):
        pieces = policy.pieces_of(text)
        if len(pieces) == n_pieces:
            return policy.prefix + pieces
    return ()


def _next_token(policy: TokenPolicy, text: str, ids: list[int], word: str) -> int:
    """The one token that `word` adds to a text.

    Looked at in its place: some tokenizers split a word that stands alone differently.
    """
    whole = policy.pieces_of(text + word)
    if list(whole[: len(ids)]) != ids or len(whole) != len(ids) + 1:
        pieces = policy.strings(policy.pieces_of(word))
        raise PromptError(f"{word!r} is not exactly one token after the prompt (alone it is {pieces})")
    return whole[-1]


def draw(family: str, rng: random.Random, split: Split) -> Case:
    """Draw one case of a family from a split."""
    sampler = (SAMPLERS | FURTHER_SAMPLERS)[family]
    while True:
        case = sampler(rng)
        if case.split == split:
            return case


def _evenly(family: str, rng: random.Random, split: Split, quota: int) -> list[Case]:
    """Different cases, one of each template in turn, templates in random order."""
    by_template: dict[int, list[Case]] = defaultdict(list)
    seen: set[str] = set()
    for _ in range(max(_FEWEST_DRAWS, quota * _DRAWS_PER_PROMPT)):
        case = draw(family, rng, split)
        contained = split == "held_out" and (family, case.template) in CONTAINED_TEMPLATES
        if case.text not in seen and not contained:
            seen.add(case.text)
            by_template[case.template].append(case)
    order = sorted(by_template)
    rng.shuffle(order)
    deepest = max((len(cases) for cases in by_template.values()), default=0)
    return [by_template[t][i] for i in range(deepest) for t in order if i < len(by_template[t])]
