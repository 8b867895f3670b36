"""Sentences with one determined continuation, by family.

One source serves two ends: the families that an atlas is measured on, and the text that the demo model is
trained on (`simple_english`). `split_of` decides from the words alone which filled templates belong to the
training split, so what the demo model is judged on never occurs in its training text.
"""

from __future__ import annotations

import random
import string
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from head_atlas.prompts.lexicon import (
    ADJECTIVES,
    ANIMALS,
    BRACKETS,
    CAPITALS,
    COLORS,
    FIXED_PAIRS,
    FOODS,
    FURNITURE,
    LANGUAGES,
    LETTERS,
    NAMES,
    OBJECTS,
    OPPOSITES,
    PEOPLE,
    PLACES,
    PLURALS,
    PRONOUN,
    REFLEXIVE,
    SEQUENCES,
    SURNAMES,
    YOUNG,
)

Split = Literal["train", "held_out"]
HELD_OUT_SHARE = 0.2


@dataclass(frozen=True)
class Case:
    """A filled template.

    Attributes:
        family: name of the family.
        template: index of the template in its family.
        text: the prompt, ending just before the answer.
        answer: the continuation, with its leading space where it has one.
        contrast: a wrong continuation of the same kind.
        corrupted: the prompt with the deciding word exchanged, so that `answer` no longer follows.
        spans: character range of every named part of `text`, for instance `{"S1": (5, 9)}`.
        end: what closes the sentence after the answer.
        key: what decides the split, where it is not the text: one key for all cases that are part of each other's
            sentence.
    """

    family: str
    template: int
    text: str
    answer: str
    contrast: str
    corrupted: str
    spans: Mapping[str, tuple[int, int]]
    end: str = "."
    key: str = ""

    @property
    def split(self) -> Split:
        """The split this case belongs to."""
        return split_of(self.family, self.key or self.text)

    @property
    def sentence(self) -> str:
        """The whole sentence, answer and end included."""
        return self.text + self.answer + self.end


def split_of(family: str, key: str) -> Split:
    """Assign a filled template to a split, by a hash of its words: the same on every machine."""
    share = zlib.crc32(f"{family}\0{key}".encode()) / 2**32
    return "held_out" if share < HELD_OUT_SHARE else "train"


def fill(template: str, words: Mapping[str, str]) -> tuple[str, dict[str, tuple[int, int]]]:
    """Fill the `{slots}` of a template and report the character range of each."""
    text, spans = "", {}
    for literal, slot, _, _ in string.Formatter().parse(template):
        text += literal
        if slot is not None:
            spans[slot] = (len(text), len(text) + len(words[slot]))
            text += words[slot]
    return text, spans


def _case(
    family: str,
    template: tuple[int, str],
    words: Mapping[str, str],
    answer: str,
    contrast: str,
    exchanged: Mapping[str, str],
    end: str = ".",
) -> Case:
    """A case whose corrupted prompt has the words of `exchanged` in place of the clean ones."""
    index, pattern = template
    text, spans = fill(pattern, words)
    corrupted, _ = fill(pattern, {**words, **exchanged})
    return Case(family, index, text, answer, contrast, corrupted, spans, end)


def _pick(rng: random.Random, templates: list[str]) -> tuple[int, str]:
    index = rng.randrange(len(templates))
    return index, templates[index]


# --- indirect objects (Wang et al. 2022) ----------------------------------------------------------

_IOI = [
    "When {A} and {B} went to the {place}, {S2} gave a {object} to",
    "Then {A} and {B} went to the {place}, and {S2} gave a {object} to",
    "After {A} and {B} came to the {place}, {S2} gave a {object} to",
    "When {A} and {B} got a {object} at the {place}, {S2} decided to give it to",
    "{A} and {B} were working at the {place}. {S2} gave a {object} to",
    "{A} and {B} had a lot of fun at the {place}. {S2} gave a {object} to",
    "While {A} and {B} were at the {place}, {S2} handed a {object} to",
    "One day {A} and {B} walked to the {place}, and {S2} showed a {object} to",
    "Yesterday {A} and {B} met at the {place}, and {S2} sold a {object} to",
    "{A} and {B} sat near the {place}. Then {S2} threw a {object} to",
    "Before {A} and {B} left the {place}, {S2} brought a {object} to",
    "Friends {A} and {B} found a {object} at the {place}. {S2} gave it to",
    "At the {place}, {A} met {B}. Soon {S2} offered a {object} to",
    "{A} and {B} played at the {place} all day. {S2} passed a {object} to",
    "In the {place} were {A} and {B}, and {S2} sent a {object} to",
]


def _ioi(rng: random.Random) -> Case:
    template = _pick(rng, _IOI)
    io, subject, other = rng.sample(NAMES, 3)
    first, second = (io, subject) if rng.random() < 0.5 else (subject, io)
    words = {
        "A": first,
        "B": second,
        "S2": subject,
        "place": rng.choice(PLACES),
        "object": rng.choice(OBJECTS),
    }
    case = _case("ioi", template, words, f" {io}", f" {subject}", {"S2": other})
    spans = dict(case.spans)
    spans["IO"], spans["S1"] = (spans["A"], spans["B"]) if first == io else (spans["B"], spans["A"])
    del spans["A"], spans["B"]
    return replace(case, spans=spans)


# --- a name that recurs ---------------------------------------------------------------------------

_REPEAT = [
    "{first} {last} went home. Everyone knew {again}",
    "{first} {last} came to the {place}. The people there liked {again}",
    "There was a letter for {first} {last}. Nobody had seen {again}",
    "My teacher is {first} {last}. All of us like {again}",
    "{first} {last} lived near the {place}. The children often visited {again}",
    "We talked about {first} {last}. Soon we met {again}",
    "The book was written by {first} {last}. I want to meet {again}",
    "At the {place} I saw {first} {last}. I waved at {again}",
    "A man asked for {first} {last}. He had a gift for {again}",
    "The {object} belongs to {first} {last}. Please take it to {again}",
    "In the morning {first} {last} called. In the evening we called {again}",
    "Do you know {first} {last}? Yes, I know {again}",
    "{first} {last} lost a {object}. A boy gave it back to {again}",
    "They waited for {first} {last} at the {place}. At last they saw {again}",
    "This is the house of {first} {last}. The garden also belongs to {again}",
]


def _natural_repeat(rng: random.Random) -> Case:
    template = _pick(rng, _REPEAT)
    first = rng.choice(NAMES)
    last, other = rng.sample(SURNAMES, 2)
    words = {
        "first": first,
        "last": last,
        "again": first,
        "place": rng.choice(PLACES),
        "object": rng.choice(OBJECTS),
    }
    return _case("natural_repeat", template, words, f" {last}", f" {other}", {"last": other})


# --- facts ----------------------------------------------------------------------------------------

_CAPITAL = [
    "The capital of {subject} is",
    "The capital city of {subject} is",
    "The main city of {subject} is called",
    "I live in {subject}, in the capital, which is",
    "We went to {subject} and saw its capital,",
    "Do you know the capital of {subject}? It is",
    "Everyone in {subject} knows that the capital is",
    "If you go to {subject}, visit the capital,",
    "The king of {subject} lives in",
    "The train to {subject} stops in",
    "The largest city in {subject} is",
    "Question: what is the capital of {subject}? Answer:",
]
_LANGUAGE = [
    "In {subject} people speak",
    "The language of {subject} is",
    "The people of {subject} speak",
    "A teacher from {subject} taught us",
    "To read a book from {subject} you must learn",
]
_YOUNG = [
    "A young {subject} is called a",
    "A baby {subject} is called a",
    "The child of a {subject} is a",
]
_FACTS = (
    [(pattern, CAPITALS) for pattern in _CAPITAL]
    + [(pattern, LANGUAGES) for pattern in _LANGUAGE]
    + [(pattern, YOUNG) for pattern in _YOUNG]
)


def _fact(rng: random.Random) -> Case:
    index = rng.randrange(len(_FACTS))
    pattern, relation = _FACTS[index]
    subject, other = rng.sample(list(relation), 2)
    return _case(
        "fact",
        (index, pattern),
        {"subject": subject},
        f" {relation[subject]}",
        f" {relation[other]}",
        {"subject": other},
    )


# --- agreement and pronouns -----------------------------------------------------------------------

_AGREEMENT = [
    "The {subject} near the {place}",
    "The {subject} in the {place}",
    "The {subject} behind the {place}",
    "The {subject} next to the {distractor}",
    "The {subject} beside the {distractor}",
    "The {subject} with the {distractor}",
    "I think the {subject} near the {distractor}",
    "We know that the {subject} in the {place}",
    "They say the {subject} behind the {distractor}",
    "Today the {subject} from the {place}",
    "Look, the {color} {subject} near the {place}",
    "The {color} {subject} next to the {distractor}",
    "The {adjective} {subject} in the {place}",
    "Now the {subject} by the {distractor}",
    "He said the {subject} across from the {place}",
]


def _subject_verb(rng: random.Random) -> Case:
    template = _pick(rng, _AGREEMENT)
    singular, other = rng.sample(list(PLURALS), 2)
    plural = rng.random() < 0.5
    subject, flipped = (PLURALS[singular], singular) if plural else (singular, PLURALS[singular])
    answer, contrast = (" are", " is") if plural else (" is", " are")
    words = {
        "subject": subject,
        "distractor": PLURALS[other] if rng.random() < 0.5 else other,
        "place": rng.choice(PLACES),
        "color": rng.choice(COLORS),
        "adjective": rng.choice(ADJECTIVES),
    }
    end = f" {rng.choice(ADJECTIVES)}."
    return _case("subject_verb", template, words, answer, contrast, {"subject": flipped}, end)


_PRONOUN = [
    "{subject} was {adjective}, so",
    "{subject} went home because",
    "{subject} gave the {object} to {other} because",
    "{subject} said that",
    "{subject} met {other} at the {place}, and then",
    "When {subject} came home,",
    "{subject} lost the {object}, but",
    "{subject} helped {other} because",
    "After {subject} left the {place},",
    "{subject} took the {object} to the {place}, where",
    "{subject} is {adjective} today because",
    "If {subject} has time,",
    "{subject} told {other} that",
    "{subject} wanted the {object}, so",
    "While {subject} was at the {place},",
]
_PRONOUN_ENDS = [" was {adjective}.", " wanted to go home.", " found the {object}.", " had a {object}."]


def _pronoun(rng: random.Random) -> Case:
    template = _pick(rng, _PRONOUN)
    subject = rng.choice(NAMES)
    flipped = rng.choice([name for name in NAMES if PRONOUN[name] != PRONOUN[subject]])
    words = {
        "subject": subject,
        "other": rng.choice([name for name in NAMES if name not in (subject, flipped)]),
        "object": rng.choice(OBJECTS),
        "place": rng.choice(PLACES),
        "adjective": rng.choice(ADJECTIVES),
    }
    end = rng.choice(_PRONOUN_ENDS).format(adjective=rng.choice(ADJECTIVES), object=rng.choice(OBJECTS))
    return _case("pronoun", template, words, f" {PRONOUN[subject]}", f" {PRONOUN[flipped]}", {"subject": flipped}, end)


_REFLEXIVE = [
    "The {subject} hurt",
    "The {subject} washed",
    "The {subject} looked at",
    "The {subject} saw",
    "The {adjective} {subject} talked to",
    "The {subject} bought a {object} for",
    "The {adjective} {subject} hid",
    "In the {place} the {subject} asked",
    "The {subject} near the {place} dressed",
    "Yesterday the {subject} cut",
    "The {subject} with the {object} blamed",
    "The {subject} was proud of",
    "One day the {subject} taught",
    "The {subject} made a {object} for",
    "At the {place} the {adjective} {subject} enjoyed",
]


def _reflexive(rng: random.Random) -> Case:
    template = _pick(rng, _REFLEXIVE)
    subject = rng.choice(list(PEOPLE))
    flipped = rng.choice([person for person in PEOPLE if PEOPLE[person] != PEOPLE[subject]])
    words = {
        "subject": subject,
        "object": rng.choice(OBJECTS),
        "place": rng.choice(PLACES),
        "adjective": rng.choice(ADJECTIVES),
    }
    answer, contrast = REFLEXIVE[PEOPLE[subject]], REFLEXIVE[PEOPLE[flipped]]
    return _case("reflexive", template, words, f" {answer}", f" {contrast}", {"subject": flipped})


# --- sequences, opposites, pairs ------------------------------------------------------------------

_SUCCESSOR = [
    "{items}",
    "In order: {items}",
    "Say them in order: {items}",
    "The list goes {items}",
    "We count {items}",
    "Repeat after me: {items}",
    "{name} says {items}",
    "Here they are: {items}",
    "The children sang {items}",
    "First comes the start: {items}",
    "The teacher wrote {items}",
    "Can you go on? {items}",
    "Next in line: {items}",
    "{name} read {items}",
    "It goes like this: {items}",
]


def _successor(rng: random.Random) -> Case:
    template = _pick(rng, _SUCCESSOR)
    kind = rng.choice(list(SEQUENCES))
    sequence = SEQUENCES[kind]
    length = rng.randint(2, min(6, len(sequence) - 1))
    start = rng.randint(0, len(sequence) - 1 - length)
    shown = sequence[start : start + length]
    mixed = list(shown)
    while mixed == list(shown) or mixed[-1] == shown[-1]:
        rng.shuffle(mixed)
    words = {"items": " ".join(shown), "name": rng.choice(NAMES)}
    rest = sequence[start + length + 1 : start + length + 4]
    case = _case(
        "successor",
        template,
        words,
        f" {sequence[start + length]}",
        f" {shown[-1]}",
        {"items": " ".join(mixed)},
        "".join(f" {item}" for item in rest) + ".",
    )
    # a longer part of the same sequence says what follows the shorter one
    return replace(case, key=f"{template[0]} {kind} {start}")


_OPPOSITE = [
    "The opposite of {word} is",
    "{name} said that the opposite of {word} is",
    "What is the opposite of {word}? It is",
    "It is not {word}, it is the opposite:",
    "The other side of {word} is",
    "If it is not {word}, then it is",
    "Opposites: {word} and",
    "Not {word} but",
    "The word {word} is the opposite of",
    "One is {word}, the other is",
    "Question: what is the opposite of {word}? Answer:",
    "The teacher asked for the opposite of {word}, and {name} said",
    "First it was {word}, then it was",
    "Some say {word}, others say",
    "Turn it around: {word} becomes",
]


def _opposite(rng: random.Random) -> Case:
    template = _pick(rng, _OPPOSITE)
    word, other = rng.sample(list(OPPOSITES), 2)
    while other == OPPOSITES[word]:
        other = rng.choice(list(OPPOSITES))
    words = {"word": word, "name": rng.choice(NAMES)}
    return _case("opposite", template, words, f" {OPPOSITES[word]}", f" {OPPOSITES[other]}", {"word": other})


_PAIR = [
    "We have {word} and",
    "{name} bought {word} and",
    "They always say {word} and",
    "Give me {word} and",
    "The story of {word} and",
    "It is all about {word} and",
    "{name} wrote about {word} and",
    "I saw {word} and",
    "There was {word} and",
    "First {word} and",
    "A song of {word} and",
    "{name} likes {word} and",
    "Bring us {word} and",
    "Nobody forgets {word} and",
    "The picture shows {word} and",
]


def _bigram(rng: random.Random) -> Case:
    template = _pick(rng, _PAIR)
    word, other = rng.sample(list(FIXED_PAIRS), 2)
    words = {"word": word, "name": rng.choice(NAMES)}
    return _case("bigram", template, words, f" {FIXED_PAIRS[word]}", f" {FIXED_PAIRS[other]}", {"word": other})


# --- form -----------------------------------------------------------------------------------------

_BRACKET_LEADS = [
    "", "Close: ", "Match them: ", "Brackets: ", "Nested: ", "In order: ", "Open and close: ", "Pairs: ",
    "Look: ", "Code: ", "The line is ", "We write ", "Inside out: ", "Type ", "Balanced: ",
]  # fmt: skip


def _brackets(rng: random.Random) -> Case:
    lead = rng.randrange(len(_BRACKET_LEADS))
    depth = rng.randint(2, 4)
    openers = [rng.choice(list(BRACKETS)) for _ in range(depth)]
    closed = rng.randint(0, depth - 1)
    closers = [BRACKETS[opener] for opener in reversed(openers)]
    deciding = depth - 1 - closed
    answer = BRACKETS[openers[deciding]]
    other = rng.choice([opener for opener in BRACKETS if opener != openers[deciding]])
    words = {f"open{i}": opener for i, opener in enumerate(openers)} | {"word": rng.choice(OBJECTS)}
    pattern = " ".join([*(f"{{open{i}}}" for i in range(depth)), "{word}", *(_escape(c) for c in closers[:closed])])
    rest = "".join(f" {closer}" for closer in closers[closed + 1 :])
    case = _case(
        "brackets",
        (lead, _BRACKET_LEADS[lead] + pattern),
        words,
        f" {answer}",
        f" {BRACKETS[other]}",
        {f"open{deciding}": other},
        rest,
    )
    # the innermost part decides: a deeper nesting contains the shallower one
    key = f"{' '.join(openers[-2:])} {words['word']}"
    return replace(case, spans={"opener": case.spans[f"open{deciding}"]}, key=key)


def _escape(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


_LIST_LEADS = [
    "", "Shopping list:\n", "Buy these:\n", "To do:\n", "Menu:\n", "For the cake:\n", "In the box:\n",
    "From the farm:\n", "We need:\n", "On the table:\n", "Please bring:\n", "Today:\n", "Food:\n", "In my bag:\n",
    "The best:\n",
]  # fmt: skip


def _list_format(rng: random.Random) -> Case:
    lead = rng.randrange(len(_LIST_LEADS))
    n = rng.randint(2, 5)
    foods = rng.sample(FOODS, n + 1)
    mixed = list(range(1, n + 2))
    while mixed == sorted(mixed):
        rng.shuffle(mixed)
    lines = [f"{i + 1}. {food}" for i, food in enumerate(foods[:n])]
    text = _LIST_LEADS[lead] + "\n".join([*lines, str(n + 1)])
    swapped = [f"{number}, {food}" for number, food in zip(mixed, foods[:n], strict=False)]
    corrupted = _LIST_LEADS[lead] + "\n".join([*swapped, str(mixed[-1])])
    spans = {"number": (len(text) - len(str(n + 1)), len(text))}
    key = f"{lead} {foods[0]} {foods[1]}"  # a longer list contains the shorter one
    return Case("list_format", lead, text, ".", ",", corrupted, spans, f" {foods[n]}\n", key)


_COMPLETION = [
    "The {subject} sat on the {noun}. The {subject2} sat on the",
    "The {subject} slept on the {noun}. The {subject2} slept on the",
    "The {color} {subject} ran to the {noun}. The {color2} {subject2} ran to the",
    "{name} put the {object} on the {noun}. {name2} put the {object2} on the",
    "The {subject} jumped over the {noun}. The {subject2} jumped over the",
    "{name} likes the {color} {noun}. {name2} likes the {color2}",
    "We saw the {subject} under the {noun}. We saw the {subject2} under the",
    "The {subject} looked at the {noun}. The {subject2} looked at the",
    "{name} painted the {noun} and left. {name2} painted the",
    "A {color} {subject} stood by the {noun}. A {color2} {subject2} stood by the",
    "{name} cleaned the {noun}. Then {name2} cleaned the",
    "The {subject} walked around the {noun}. The {subject2} walked around the",
    "They found a {object} near the {noun}. They found a {object2} near the",
    "{name} sat beside the {subject} on the {noun}. {name2} sat beside the {subject2} on the",
    "The {subject} waited on the {noun} for {name}. The {subject2} waited on the",
]


def _completion(rng: random.Random) -> Case:
    template = _pick(rng, _COMPLETION)
    noun, other = rng.sample(FURNITURE, 2)
    words = {
        "subject": rng.choice(ANIMALS),
        "noun": noun,
        "object": rng.choice(OBJECTS),
        "color": rng.choice(COLORS),
        "name": rng.choice(NAMES),
    }
    words |= {f"{slot}2": words[slot] for slot in ("subject", "object", "color", "name")}
    return _case("completion", template, words, f" {noun}", f" {other}", {"noun": other})


_RETRIEVE_LEADS = [
    "", "Given ", "Let ", "Values: ", "We set ", "Now ", "Here ", "Table: ", "Code: ", "Keys: ", "Remember: ", "Note: ",
    "Start: ", "Data: ", "Look up: ",
]  # fmt: skip


def _kv_retrieve(rng: random.Random) -> Case:
    lead = rng.randrange(len(_RETRIEVE_LEADS))
    n = rng.randint(2, 4)
    keys = rng.sample(LETTERS, n)
    values = rng.sample(SEQUENCES["digits"][:9], n)
    asked, other = rng.sample(range(n), 2)
    given = " ; ".join(f"{key} = {value}" for key, value in zip(keys, values, strict=True))
    pattern = f"{_RETRIEVE_LEADS[lead]}{given} ; {{key}} ="
    return _case(
        "kv_retrieve",
        (lead, pattern),
        {"key": keys[asked]},
        f" {values[asked]}",
        f" {values[other]}",
        {"key": keys[other]},
        " ;",
    )


_SCENES = [
    "On the table are a {c0} {o0}, a {c1} {o1} and a {c2} {o2}.",
    "There is a {c0} {o0}, a {c1} {o1} and a {c2} {o2}.",
    "{name} has a {c0} {o0}, a {c1} {o1} and a {c2} {o2}.",
    "I see a {c0} {o0}, a {c1} {o1} and a {c2} {o2}.",
    "In the box are a {c0} {o0}, a {c1} {o1} and a {c2} {o2}.",
]
_COLOR_QUESTIONS = [
    " The color of the {asked} is",
    " What color is the {asked}? It is",
    " I know that the {asked} is",
]
_COLORED = [scene + question for scene in _SCENES for question in _COLOR_QUESTIONS]


def _colored_objects(rng: random.Random) -> Case:
    template = _pick(rng, _COLORED)
    colors, objects = rng.sample(COLORS, 3), rng.sample(OBJECTS, 3)
    asked, other = rng.sample(range(3), 2)
    words = {f"c{i}": color for i, color in enumerate(colors)}
    words |= {f"o{i}": name for i, name in enumerate(objects)}
    words |= {"asked": objects[asked], "name": rng.choice(NAMES)}
    case = _case(
        "colored_objects",
        template,
        words,
        f" {colors[asked]}",
        f" {colors[other]}",
        {"asked": objects[other]},
    )
    spans = {
        "query": case.spans["asked"],
        "color": case.spans[f"c{asked}"],
        "object": case.spans[f"o{asked}"],
    }
    return replace(case, spans=spans)


SAMPLERS: dict[str, Callable[[random.Random], Case]] = {
    "ioi": _ioi,
    "natural_repeat": _natural_repeat,
    "fact": _fact,
    "subject_verb": _subject_verb,
    "pronoun": _pronoun,
    "reflexive": _reflexive,
    "successor": _successor,
    "opposite": _opposite,
    "bigram": _bigram,
    "brackets": _brackets,
    "list_format": _list_format,
    "completion": _completion,
    "kv_retrieve": _kv_retrieve,
    "colored_objects": _colored_objects,
}


def draw(family: str, rng: random.Random, split: Split) -> Case:
    """Draw one case of a family from a split."""
    while True:
        case = SAMPLERS[family](rng)
        if case.split == split:
            return case
