"""Sentences whose grammar is known because they were made with it: `syntax`, for any tokenizer.

A template marks words as `word=n1`: a class letter (d determiner, a adjective, n noun, v verb, p pronoun) and a number.
A relation is a pair of marks. Nothing is ever guessed from a text.

Annotations of a prompt, all of them token positions:

- `words`: the first token of every word; a word ends where the next begins, the last at the end of the prompt.
  Punctuation marks are words.
- `class:noun` and so on: the first token of every word of a class.
- `relation:subject-verb` and so on: pairs, flat: first token of the first-named word, then of the second-named one.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from head_atlas.errors import PromptError
from head_atlas.prompts.families.from_templates import SMALLEST_SHARE
from head_atlas.prompts.lexicon import ADJECTIVES, COLORS, OBJECTS, PEOPLE, PLACES
from head_atlas.prompts.prompt import Prompt
from head_atlas.prompts.templates import Split, split_of
from head_atlas.prompts.tokens import TokenPolicy

RELATIONS: dict[str, tuple[str, str]] = {
    "subject-verb": ("noun", "verb"),
    "determiner-noun": ("determiner", "noun"),
    "pronoun-antecedent": ("pronoun", "noun"),
    "verb-object": ("verb", "noun"),
    "adjective-noun": ("adjective", "noun"),
}
"""By name, the classes of its two words, in the order of the name."""

_CLASSES = {"d": "determiner", "a": "adjective", "n": "noun", "v": "verb", "p": "pronoun"}
_NAMES = {classes: name for name, classes in RELATIONS.items()}
_VERBS = "saw found took lost brought wanted painted washed liked kept".split()
_AFTER_A = {
    kind: [word for word in words if word[0] not in "aeiou"]
    for kind, words in (("people", PEOPLE), ("adjectives", ADJECTIVES), ("colors", COLORS))
}
"""Words that "a" can stand before."""
_DRAWS_PER_PROMPT = 40
SENTENCES_PER_PROMPT = 2
"""So many sentences for each prompt of another family: a relation occurs in some of them only, and the gain is taken on
the held-out half."""

# {person}, {adj}, {he} are of one gender, {rival} of the other, so that a pronoun has one antecedent. Both orders of a
# relation occur wherever English has both, and at more than one distance ("red toy box"), so that no fixed offset hits
# always. Marks of one letter are counted from 1 in reading order.
_TEMPLATES: tuple[tuple[str, str], ...] = (
    (
        "The=d1 {adj}=a1 {person}=n1 {verb}=v1 the=d2 {color}=a2 toy=n2 {object}=n3 near the=d3 {place}=n4 .",
        "d1-n1 a1-n1 n1-v1 v1-n3 d2-n3 a2-n3 d3-n4",
    ),
    (
        "The=d1 {person}=n1 near the=d2 {place}=n2 {verb}=v1 a=d3 {color}=a1 {object}=n3 .",
        "d1-n1 d2-n2 n1-v1 v1-n3 d3-n3 a1-n3",
    ),
    (
        "The=d1 {person}=n1 with the=d2 {color}=a1 toy=n2 {object}=n3 {verb}=v1 the=d3 {adj}=a2 {rival}=n4 .",
        "d1-n1 d2-n3 a1-n3 n1-v1 v1-n4 d3-n4 a2-n4",
    ),
    (
        "The=d1 {person}=n1 {verb}=v1 the=d2 {adj}=a1 farm=n2 {rival}=n3 because {he}=p1 {verb2}=v2 a=d3 {object}=n4 .",
        "d1-n1 n1-v1 v1-n3 d2-n3 a1-n3 p1-n1 v2-n4 d3-n4",
    ),
    (
        "The=d1 {rival}=n1 {verb}=v1 the=d2 {adj}=a1 {person}=n2 , and then {he}=p1 {verb2}=v2 the=d3 {object}=n3 .",
        "d1-n1 n1-v1 v1-n2 d2-n2 a1-n2 p1-n2 v2-n3 d3-n3",
    ),
    (
        "When the=d1 {person}=n1 {verb}=v1 the=d2 {rival}=n2 , {he}=p1 {verb2}=v2 a=d3 {color}=a1 toy=n3 {object}=n4 .",
        "d1-n1 n1-v1 v1-n2 d2-n2 p1-n1 v2-n4 d3-n4 a1-n4",
    ),
    (
        "When {he}=p1 {verb}=v1 the=d1 {object}=n1 , the=d2 {adj}=a1 {person}=n2 {verb2}=v2 a=d3 {rival}=n3 .",
        "v1-n1 d1-n1 d2-n2 a1-n2 p1-n2 n2-v2 v2-n3 d3-n3",
    ),
    (
        "Before {he}=p1 {verb}=v1 a=d1 {object}=n1 , the=d2 {person}=n2 {verb2}=v2 the=d3 {rival}=n3 .",
        "v1-n1 d1-n1 d2-n2 p1-n2 n2-v2 v2-n3 d3-n3",
    ),
    (
        "Near the=d1 {place}=n1 stood=v1 a=d2 {adj}=a1 {person}=n2 with the=d3 {object}=n3 .",
        "d1-n1 d2-n2 a1-n2 n2-v1 d3-n3",
    ),
    (
        "In the=d1 {color}=a1 {place}=n1 sat=v1 the=d2 {person}=n2 , and the=d3 {rival}=n3 {verb}=v2 {him}=p1 .",
        "d1-n1 a1-n1 d2-n2 n2-v1 d3-n3 n3-v2 p1-n2",
    ),
    (
        "Behind the=d1 {place}=n1 hid=v1 the=d2 {adj}=a1 {rival}=n2 and a=d3 {person}=n3 , and {he}=p1 {verb}=v2 it .",
        "d1-n1 d2-n2 a1-n2 n2-v1 d3-n3 p1-n3",
    ),
    (
        "The=d1 {object}=n1 that the=d2 {person}=n2 {verb}=v1 was=v2 {color}=a1 .",
        "d1-n1 d2-n2 n2-v1 v1-n1 n1-v2 a1-n1",
    ),
    (
        "The=d1 {object}=n1 that a=d2 {adj}=a1 {person}=n2 {verb}=v1 near the=d3 {place}=n3 was=v2 {color}=a2 .",
        "d1-n1 d2-n2 a1-n2 n2-v1 v1-n1 d3-n3 n1-v2 a2-n1",
    ),
    (
        "The=d1 {rival}=n1 {verb}=v1 the=d2 {object}=n2 that the=d3 {person}=n3 {verb2}=v2 , and {he}=p1 left=v3 .",
        "d1-n1 n1-v1 v1-n2 d2-n2 d3-n3 n3-v2 v2-n2 p1-n3",
    ),
    (
        "The=d1 {person}=n1 in the=d2 {place}=n2 was=v1 {adj}=a1 , so a=d3 {object}=n3 by {him}=p1 was=v2 {color}=a2 .",
        "d1-n1 d2-n2 n1-v1 a1-n1 d3-n3 p1-n1 n3-v2 a2-n3",
    ),
    (
        "Today the=d1 {person}=n1 and the=d2 {rival}=n2 {verb}=v1 a=d3 {object}=n3 , but {he}=p1 {verb2}=v2 it .",
        "d1-n1 d2-n2 v1-n3 d3-n3 p1-n1",
    ),
    # from here on mostly the rarer orders, so that each of them occurs in at least eight templates: verb before
    # subject, object before verb, adjective after noun, pronoun before its antecedent
    (
        "Near the=d1 {place}=n1 sat=v1 the=d2 {person}=n2 whose {object}=n3 was=v2 {color}=a1 .",
        "d1-n1 d2-n2 n2-v1 n3-v2 a1-n3",
    ),
    (
        "When {he}=p1 {verb}=v1 it , the=d1 {person}=n1 was=v2 {adj}=a1 and the=d2 {object}=n2 was=v3 {color}=a2 .",
        "p1-n1 d1-n1 n1-v2 a1-n1 d2-n2 n2-v3 a2-n2",
    ),
    (
        "Because {he}=p1 {verb}=v1 the=d1 {object}=n1 that was=v2 {color}=a1 , the=d2 {person}=n2 came=v3 home .",
        "p1-n2 v1-n1 d1-n1 n1-v2 a1-n1 d2-n2 n2-v3",
    ),
    (
        "This is the=d1 {object}=n1 that the=d2 {person}=n2 {verb}=v1 in the=d3 {place}=n3 .",
        "d1-n1 d2-n2 n2-v1 v1-n1 d3-n3",
    ),
    (
        "On the=d1 {object}=n1 that the=d2 {person}=n2 {verb}=v1 lay=v2 a=d3 {color}=a1 flower=n3 .",
        "d1-n1 d2-n2 n2-v1 v1-n1 d3-n3 a1-n3 n3-v2",
    ),
    (
        "Before {he}=p1 left=v1 , in the=d1 {place}=n1 stood=v2 the=d2 {person}=n2 , {adj}=a1 and alone .",
        "p1-n2 d1-n1 d2-n2 n2-v2 a1-n2",
    ),
    (
        "When {he}=p1 came=v1 , the=d1 {person}=n1 {verb}=v2 the=d2 {object}=n2 that a=d3 {rival}=n3 {verb2}=v3 .",
        "p1-n1 d1-n1 n1-v2 v2-n2 d2-n2 d3-n3 n3-v3 v3-n2",
    ),
    (
        "From the=d1 {place}=n1 came=v1 a=d2 {person}=n2 with the=d3 {object}=n3 that the=d4 {rival}=n4 {verb}=v2 .",
        "d1-n1 d2-n2 n2-v1 d3-n3 d4-n4 n4-v2 v2-n3",
    ),
    (
        "There was=v1 a=d1 {object}=n1 in the=d2 {place}=n2 that the=d3 {person}=n3 {verb}=v2 , and {he}=p1 left=v3 .",
        "n1-v1 d1-n1 d2-n2 d3-n3 n3-v2 v2-n1 p1-n3",
    ),
    (
        "Although {he}=p1 {verb}=v1 a=d1 {object}=n1 , the=d2 {person}=n2 was=v2 {adj}=a1 .",
        "v1-n1 d1-n1 d2-n2 p1-n2 n2-v2 a1-n2",
    ),
    (
        "As {he}=p1 {verb}=v1 a=d1 {color}=a1 {object}=n1 , the=d2 {adj}=a2 {person}=n2 sat=v2 in a=d3 {place}=n3 .",
        "p1-n2 v1-n1 d1-n1 a1-n1 d2-n2 a2-n2 n2-v2 d3-n3",
    ),
    (
        "After {he}=p1 {verb}=v1 it , out of the=d1 {place}=n1 ran=v2 the=d2 {adj}=a1 {person}=n2 .",
        "p1-n2 d1-n1 d2-n2 a1-n2 n2-v2",
    ),
    (
        "Here stood=v1 the=d1 {object}=n1 that the=d2 {adj}=a1 {person}=n2 {verb}=v2 , next to a=d3 {rival}=n3 .",
        "n1-v1 d1-n1 d2-n2 a1-n2 n2-v2 v2-n1 d3-n3",
    ),
    (
        "The=d1 {object}=n1 which the=d2 {person}=n2 and the=d3 {rival}=n3 {verb}=v1 was=v2 still {color}=a1 .",
        "d1-n1 d2-n2 d3-n3 v1-n1 n1-v2 a1-n1",
    ),
    (
        "The=d1 {place}=n1 where the=d2 {person}=n2 {verb}=v1 a=d3 {object}=n3 was=v2 not very {adj}=a1 .",
        "d1-n1 d2-n2 n2-v1 v1-n3 d3-n3 n1-v2 a1-n1",
    ),
    (
        "Then came=v1 the=d1 {rival}=n1 , who was=v2 so {adj}=a1 that the=d2 {person}=n2 left=v3 .",
        "d1-n1 n1-v1 n1-v2 a1-n1 d2-n2 n2-v3",
    ),
)
_OBJECT_PRONOUN = {"she": "her", "he": "him"}
_MARKED = re.compile(r"(?P<word>\S+?)=(?P<mark>[danvp]\d)")


@dataclass(frozen=True)
class Sentence:
    """A filled template.

    Attributes:
        template: its index.
        words: with punctuation marks as words of their own.
        marks: by mark, the index of its word.
        relations: pairs of marks.
    """

    template: int
    words: tuple[str, ...]
    marks: dict[str, int]
    relations: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """Words apart by spaces, none before a punctuation mark."""
        return "".join(word if i == 0 or word in ",." else f" {word}" for i, word in enumerate(self.words))

    @property
    def ends(self) -> list[int]:
        """Where each word ends in the text."""
        ends, length = [], 0
        for i, word in enumerate(self.words):
            length += len(word) + (i > 0 and word not in ",.")
            ends.append(length)
        return ends


def relation_of(first: str, second: str) -> str:
    """The relation between two marks, by their classes."""
    return _NAMES[_CLASSES[first[0]], _CLASSES[second[0]]]


def draw_sentence(rng: random.Random) -> Sentence:
    """Fill a template drawn at random."""
    index = rng.randrange(len(_TEMPLATES))
    template, relations = _TEMPLATES[index]
    person = rng.choice(_AFTER_A["people"])
    he = PEOPLE[person]
    verb, verb2 = rng.sample(_VERBS, 2)
    filling = {
        "person": person,
        "rival": rng.choice([other for other in _AFTER_A["people"] if PEOPLE[other] != he]),
        "he": he,
        "him": _OBJECT_PRONOUN[he],
        "verb": verb,
        "verb2": verb2,
        "adj": rng.choice(_AFTER_A["adjectives"]),
        "color": rng.choice(_AFTER_A["colors"]),
        "object": rng.choice(OBJECTS),
        "place": rng.choice(PLACES),
    }
    words, marks = [], {}
    for place, piece in enumerate(template.split()):
        marked = _MARKED.fullmatch(piece)
        words.append((marked["word"] if marked else piece).format(**filling))
        if marked:
            marks[marked["mark"]] = place
    pairs = tuple((first, second) for first, second in (pair.split("-") for pair in relations.split()))
    return Sentence(index, tuple(words), marks, pairs)


def build_syntax(policy: TokenPolicy, rng: random.Random, n_prompts: int) -> tuple[list[Prompt], str]:
    """Draw annotated sentences evenly over the templates, half from each split, no text twice.

    Every token from the second on is a target, as in running text.

    Args:
        policy: the tokenizer and its BOS.
        rng: what is drawn.
        n_prompts: half as many as are drawn, see `SENTENCES_PER_PROMPT`.

    Returns:
        The prompts, and a note if there are fewer than asked for.

    Raises:
        PromptError: less than half of them can be annotated for this tokenizer; the message says why.
    """
    prompts: list[Prompt] = []
    refused: Counter[str] = Counter()
    n_prompts *= SENTENCES_PER_PROMPT
    quotas: tuple[tuple[Split, int], ...] = (("train", n_prompts - n_prompts // 2), ("held_out", n_prompts // 2))
    for split, quota in quotas:
        found = 0
        for sentence in _evenly(rng, split, quota):
            if found == quota:
                break
            try:
                prompts.append(prompt_of_sentence(sentence, policy))
            except PromptError as error:
                refused[str(error)] += 1
            else:
                found += 1
    why = f"; the most frequent reason: {refused.most_common(1)[0][0]}" if refused else ""
    note = f"{len(prompts)} of {n_prompts} sentences can be annotated for this tokenizer{why}"
    if len(prompts) < SMALLEST_SHARE * n_prompts:
        raise PromptError(note)
    return prompts, note if len(prompts) < n_prompts else ""


def prompt_of_sentence(sentence: Sentence, policy: TokenPolicy) -> Prompt:
    """Tokenise a sentence and say where each word begins.

    A token belongs to the word that its last character is part of; a space belongs to the word after it.

    Raises:
        PromptError: a token spans two words, or a word has no token of its own.
    """
    text = sentence.text
    encoded = policy.tokenizer(text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True)
    shift = len(policy.prefix)
    starts: list[int] = []
    for index, (start, end) in enumerate(encoded["offset_mapping"]):
        first, last = (sum(stop <= at for stop in sentence.ends) for at in (start, max(start, end - 1)))
        if first != last:
            raise PromptError(f"a token spans the words {sentence.words[first]!r} and {sentence.words[last]!r}")
        if first == len(starts):
            starts.append(index + shift)
    if len(starts) != len(sentence.words):
        raise PromptError(f"the word {sentence.words[len(starts)]!r} has no token of its own")
    named: dict[str, list[int]] = defaultdict(list)
    for mark, word in sentence.marks.items():
        named[f"class:{_CLASSES[mark[0]]}"].append(starts[word])
    for first_mark, second_mark in sentence.relations:
        pair = (starts[sentence.marks[mark]] for mark in (first_mark, second_mark))
        named[f"relation:{relation_of(first_mark, second_mark)}"].extend(pair)
    tokens = policy.prefix + tuple(encoded["input_ids"])
    positions = tuple(range(1, len(tokens) - 1))
    return Prompt(
        text=text,
        tokens=tokens,
        positions=positions,
        targets=tuple(tokens[p + 1] for p in positions),
        family="syntax",
        template=sentence.template,
        split=split_of("syntax", text),
        annotations={"words": tuple(starts)} | {name: tuple(at) for name, at in sorted(named.items())},
    )


def _evenly(rng: random.Random, split: Split, quota: int) -> Iterator[Sentence]:
    """Different sentences, one of each template in turn."""
    by_template: dict[int, list[Sentence]] = defaultdict(list)
    seen: set[str] = set()
    for _ in range(max(400, quota * _DRAWS_PER_PROMPT)):
        sentence = draw_sentence(rng)
        if sentence.text not in seen and split_of("syntax", sentence.text) == split:
            seen.add(sentence.text)
            by_template[sentence.template].append(sentence)
    order = sorted(by_template)
    rng.shuffle(order)
    deepest = max((len(sentences) for sentences in by_template.values()), default=0)
    for i in range(deepest):
        for template in order:
            if i < len(by_template[template]):
                yield by_template[template][i]
