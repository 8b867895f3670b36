"""Tokens joined to words, by the tokenizer's offsets into the text.

A word is a run of letters, digits and apostrophes within it; any other visible character stands alone, and so does
each character of scripts that are written without spaces. Tokens that share a word, and words that share a token, are
joined: every token belongs to exactly one piece of text, so sums over words add up to sums over tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from head_atlas.errors import PromptError

if TYPE_CHECKING:
    from head_atlas.models import HeadModel

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[^\W{_UNSPACED}]+(?:['’][^\W{_UNSPACED}]+)*|\S")


@dataclass(frozen=True)
class Word:
    """A piece of the prompt's text.

    Attributes:
        text: as it stands in the prompt, without the space around it; spaces alone where that is all there is.
        first: position of its first token.
        last: position of its last token.
        value: sum over its tokens.
    """

    text: str
    first: int
    last: int
    value: float


def word_spans(model: HeadModel, text: str, tokens: Sequence[int]) -> list[tuple[str, int, int]]:
    """Text, first and last token position of each word of a prompt, BOS left out.

    Raises:
        PromptError: the tokens are not those of the text.
    """
    encoded = model.tokenizer(text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True)
    prefix = model.policy.prefix
    if prefix + tuple(encoded["input_ids"]) != tuple(tokens):
        raise PromptError("words can be told apart only where the prompt is a text: these are not the tokens of one")
    words = [match.span() for match in _WORD.finditer(text)]
    groups: list[list[tuple[int, int]]] = []  # per piece: spans of its tokens
    reach = -1  # the last word that the pieces so far touch
    for start, stop in encoded["offset_mapping"]:
        touched = [i for i, (first, last) in enumerate(words) if first < stop and start < last]
        # a token of no width, or of spaces alone, stands by itself
        if groups and touched and touched[0] <= reach:
            groups[-1].append((start, stop))
        else:
            groups.append([(start, stop)])
        reach = max([reach, *touched])
    pieces, position = [], len(prefix)
    for spans in groups:
        whole = text[min(start for start, _ in spans) : max(stop for _, stop in spans)]
        pieces.append((whole.strip() or whole, position, position + len(spans) - 1))
        position += len(spans)
    return pieces


def summed(values: np.ndarray, spans: Sequence[tuple[str, int, int]]) -> list[Word]:
    """Sum values over words.

    Args:
        values: [pos]; of the tokens of a word, NaN counts for nothing unless all are NaN.
        spans: of `word_spans`.
    """
    return [Word(text, first, last, _sum(values[first : last + 1])) for text, first, last in spans]


def _sum(values: np.ndarray) -> float:
    return float("nan") if np.isnan(values).all() else float(np.nansum(values))
