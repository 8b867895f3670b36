"""Aligned corrupted prompts: the same sentence with its deciding word exchanged, in as many tokens.

A text is matched against the templates of the families; the word that decides the answer is exchanged as the family
does it (another country, the other number, another name), among the words whose prompts have as many tokens.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from head_atlas.errors import PromptError
from head_atlas.prompts.families.from_templates import prompt_of
from head_atlas.prompts.prompt import Prompt
from head_atlas.prompts.templates import SAMPLERS, Case
from head_atlas.prompts.tokens import TokenPolicy

MATCHED = ("fact", "ioi", "natural_repeat", "subject_verb", "pronoun", "reflexive", "opposite", "bigram", "completion")
"""Families whose templates are sentences with slots for words: a text can be told to be one of them."""
_ANY_OTHER = ("fact", "ioi", "natural_repeat", "opposite", "bigram", "completion")
"""Of these, the ones where any other word of the kind will do; in the rest it is another gender or number."""
_N_DRAWS = 4000
_WORD = r"[^\W\d_]+(?:[ '-][^\W\d_]+){0,2}"


@dataclass(frozen=True)
class Corruption:
    """A proposed pair of prompts.

    Attributes:
        clean: the text.
        corrupted: the text with words exchanged.
        tokens: ids of the clean prompt, BOS first.
        corrupted_tokens: as many.
        family: whose template it is.
        template: its index.
        exchanged: by slot, the clean word and the one in its place.
        positions: where the tokens differ.
    """

    clean: str
    corrupted: str
    tokens: tuple[int, ...]
    corrupted_tokens: tuple[int, ...]
    family: str
    template: int
    exchanged: dict[str, tuple[str, str]]
    positions: tuple[int, ...]


@dataclass(frozen=True)
class _Form:
    """A template as found in its cases: what stands between the slots, and what deciding words are exchanged for."""

    family: str
    template: int
    pattern: re.Pattern[str]
    deciding: str
    exchanges: tuple[tuple[str, str], ...]


def propose_corrupted(
    policy: TokenPolicy, text: str | None = None, family: str | None = None, *, seed: int = 0
) -> Corruption:
    """Propose an aligned corrupted prompt for a text; or, without one, a pair of a family.

    Args:
        policy: the tokenizer and its BOS.
        text: a sentence that follows a template of a family, for instance "The capital of France is".
        family: only this one; needed without a text.
        seed: which of the fitting words is taken, or which case is drawn.

    Raises:
        PromptError: an unknown family, a text that follows no template, or no exchange with as many tokens; the
            message says which.
    """
    if family is not None and family not in SAMPLERS:
        raise PromptError(f"unknown family {str(family)[:40]!r}; there are {', '.join(SAMPLERS)}")
    if text is None:
        if family is None:
            raise PromptError("give a text or a family")
        return _drawn(policy, family, seed)
    clean = policy.encode(text)
    misfits: list[str] = []
    for name in MATCHED if family is None else (family,):
        for form, match in _matches(text, name):
            word = match[form.deciding]
            candidates = [other for known, other in form.exchanges if known == word]
            if not candidates and name in _ANY_OTHER:
                candidates = [other for _, other in form.exchanges]
            others = {match[slot].lower() for slot in match.re.groupindex}
            usable = sorted({other for other in candidates if other.lower() not in others})
            random.Random(f"{seed}/{text}").shuffle(usable)
            for other in usable:
                first, last = match.span(form.deciding)
                corrupted = text[:first] + other + text[last:]
                ids = policy.encode(corrupted)
                if len(ids) == len(clean):
                    where = tuple(i for i, (a, b) in enumerate(zip(clean, ids, strict=True)) if a != b)
                    exchanged = {form.deciding: (word, other)}
                    return Corruption(text, corrupted, clean, ids, name, form.template, exchanged, where)
            misfits.append(
                f"{word!r} in a template of {name}: none of {len(usable)} words to put in its place gives "
                f"{len(clean)} tokens"
                if usable
                else f"{word!r} in a template of {name}: the family does not know what to put in its place"
            )
    if misfits:
        raise PromptError(f"no aligned corrupted prompt: {misfits[0]}")
    where_looked = f"the family {family}" if family else f"the families {', '.join(MATCHED)}"
    raise PromptError(f"the text follows no template of {where_looked}: give a corrupted prompt of your own")


def _drawn(policy: TokenPolicy, family: str, seed: int) -> Corruption:
    rng = random.Random(f"{seed}/{family}")
    for _ in range(_N_DRAWS):
        case = SAMPLERS[family](rng)
        try:
            prompt: Prompt = prompt_of(case, policy)
        except PromptError:
            continue  # an answer of several tokens: another case may do
        if prompt.corrupted and prompt.corrupted != prompt.tokens:
            where = tuple(i for i, (a, b) in enumerate(zip(prompt.tokens, prompt.corrupted, strict=True)) if a != b)
            return Corruption(
                case.text, case.corrupted, prompt.tokens, prompt.corrupted, family, case.template, {}, where
            )
    raise PromptError(f"the family {family} has no pair of as many tokens for this tokenizer")


def _matches(text: str, family: str) -> Iterator[tuple[_Form, re.Match[str]]]:
    for form in _forms(family):
        match = form.pattern.fullmatch(text)
        if match is not None:
            yield form, match


@lru_cache(maxsize=len(SAMPLERS))
def _forms(family: str) -> tuple[_Form, ...]:
    """The templates of a family, read from many of its cases: the most specific (longest literal) first."""
    rng = random.Random(f"forms/{family}")
    patterns: dict[tuple[int, str], re.Pattern[str]] = {}
    exchanges: dict[tuple[int, str, str], dict[tuple[str, str], None]] = {}
    for _ in range(_N_DRAWS):
        case = SAMPLERS[family](rng)
        source = _pattern_of(case)
        key = (case.template, source)
        pattern = patterns.setdefault(key, re.compile(source))
        clean, other = pattern.fullmatch(case.text), pattern.fullmatch(case.corrupted)
        if clean is None or other is None:
            continue
        for slot in pattern.groupindex:
            if clean[slot] != other[slot]:
                exchanges.setdefault((*key, slot), {})[clean[slot], other[slot]] = None
    forms = [
        _Form(family, template, patterns[template, source], slot, tuple(pairs))
        for (template, source, slot), pairs in exchanges.items()
    ]
    return tuple(
        sorted(forms, key=lambda form: (-len(re.sub(r"\(\?P.*?\)\)?", "", form.pattern.pattern)), form.template))
    )


def _pattern_of(case: Case) -> str:
    """The case's text with a named group in place of each slot."""
    source, at = "", 0
    for slot, (first, last) in sorted(case.spans.items(), key=lambda item: item[1]):
        source += re.escape(case.text[at:first]) + f"(?P<{slot}>{_WORD})"
        at = last
    return source + re.escape(case.text[at:])
