"""A seeded generator of simple English: the whole world of the demo model.

Stories, repeated names, facts, agreement, pronouns, indirect objects, lists, brackets, sequences, small sums,
opposites and copied phrases. Everything with a determined answer comes from `templates`, in one split.
"""

from __future__ import annotations

import random

from head_atlas.prompts.lexicon import (
    ADJECTIVES,
    ANIMALS,
    COLORS,
    FOODS,
    FURNITURE,
    NAMES,
    OBJECTS,
    PEOPLE,
    PLACES,
    PLURALS,
    PRONOUN,
    SURNAMES,
)
from head_atlas.prompts.templates import Case, Split, draw

# how often a drill of each family is written, relative to the others
_DRILLS = {
    "ioi": 14,
    "natural_repeat": 5,
    "fact": 6,
    "subject_verb": 4,
    "pronoun": 4,
    "reflexive": 2,
    "successor": 5,
    "opposite": 5,
    "bigram": 1,
    "brackets": 5,
    "list_format": 2,
    "completion": 4,
    "kv_retrieve": 4,
    "colored_objects": 4,
}

# {name} acts; {he} {him} {his} follow the name's gender; {other} is a second person
_OPENINGS = [
    "One day {name} went to the {place}.",
    "Once upon a time there was a {person} called {name}.",
    "{name} lived near the {place} with a {color} {animal}.",
    "It was a cold morning, and {name} was {adjective}.",
    "{name} and {other} were good friends.",
    "In the {place} there was a {color} {object}.",
    "Every day {name} walked to the {place}.",
    "Long ago a {animal} lived in the {place}.",
]
_EVENTS = [
    "{He} saw a {color} {animal} near the {place}.",
    "{name} had a {color} {object} in {his} hand.",
    "{He} was {adjective}, so {he} went home.",
    "{name} asked {other} for a {object}.",
    '"Where is my {object}?" said {name}.',
    '"I am {adjective}," said {other}.',
    "{other} laughed and gave {him} a {object}.",
    "The {animal} looked at {name} and ran away.",
    "Then {name} sat on the {furniture} and ate some {food}.",
    "{He} put the {object} under the {furniture}.",
    "The {animals} in the {place} were {adjective}.",
    "{name} did not want to go to the {place}.",
    "After that {he} bought {food} and {food2} at the {place}.",
    "The {person} in the {place} was {adjective}.",
    "{name} and {other} played with the {object} all day.",
    "{He} wanted to show {other} the {color} {object}.",
    "They walked from the {place} to the {place2}.",
    "{other} could not find {name}.",
    "It was late, and the {place} was quiet.",
    "Soon the {animal} was {adjective} again.",
    "{name} washed the {object} and put it in a box.",
    "There were {number} {animals} and {number2} {things} in the {place}.",
    "{He} told {other} about the {animal} and the {object}.",
    "{name} thought about {his} {relative} and smiled.",
    "The {color} {animal} slept on the {furniture}.",
    "{He} likes {food}, but {he} does not like {food2}.",
]
_ENDINGS = [
    "In the end {name} was {adjective}.",
    "{name} went home and slept.",
    "{name} and {other} were friends for ever.",
    "Then {he} went back to the {place}.",
    "That night {he} dreamed of a {color} {animal}.",
    "{other} never forgot that day.",
]
_NUMBERS = "two three four five six seven eight nine ten".split()
_RELATIVES = "mother father sister brother aunt uncle".split()
_OBJECT_PRONOUN = {"she": "her", "he": "him"}
_POSSESSIVE = {"she": "her", "he": "his"}


def _story(rng: random.Random, _split: Split) -> str:
    name, other = rng.sample(NAMES, 2)
    he = PRONOUN[name]
    # things of a story stay: what was near the river is met again
    place, place2 = rng.sample(PLACES, 2)
    kept = {
        "name": name,
        "other": other,
        "he": he,
        "He": he.capitalize(),
        "him": _OBJECT_PRONOUN[he],
        "his": _POSSESSIVE[he],
        "place": place,
        "place2": place2,
        "object": rng.choice(OBJECTS),
        "animal": rng.choice(ANIMALS),
        "color": rng.choice(COLORS),
        "person": rng.choice([person for person, pronoun in PEOPLE.items() if pronoun == he]),
    }
    lines = [rng.choice(_OPENINGS), *rng.sample(_EVENTS, rng.randint(2, 6))]
    if rng.random() < 0.6:
        lines.append(rng.choice(_ENDINGS))
    return " ".join(line.format(**_things(rng, kept)) for line in lines)


def _things(rng: random.Random, kept: dict[str, str]) -> dict[str, str]:
    """The words of one sentence: mostly those of the story, now and then a new place or thing."""
    food, food2 = rng.sample(FOODS, 2)
    number, number2 = rng.sample(_NUMBERS, 2)
    words = {
        "adjective": rng.choice(ADJECTIVES),
        "animals": PLURALS[rng.choice([animal for animal in ANIMALS if animal in PLURALS])],
        "things": rng.choice(list(PLURALS.values())),
        "furniture": rng.choice(FURNITURE),
        "food": food,
        "food2": food2,
        "number": number,
        "number2": number2,
        "relative": rng.choice(_RELATIVES),
    } | kept
    for slot, choices in (("object", OBJECTS), ("animal", ANIMALS), ("color", COLORS)):
        if rng.random() < 0.25:
            words[slot] = rng.choice(choices)
    return words


def _famous(rng: random.Random, split: Split) -> str:
    """A person with two names, both used at every mention, among other sentences."""
    case = draw("natural_repeat", rng, split)
    full = case.text[slice(*case.spans["first"])] + case.answer
    kept = {"place": rng.choice(PLACES), "object": rng.choice(OBJECTS), "animal": rng.choice(ANIMALS)}
    more = [
        f"{full} was {rng.choice(ADJECTIVES)}.",
        f"In the {kept['place']} people talked about {full}.",
        f"A {kept['animal']} looked at {full}.",
        f"{full} had a {kept['object']}.",
        f"The {kept['object']} of {full} was {rng.choice(COLORS)}.",
        f"{rng.choice(SURNAMES)} street is near the {kept['place']}.",
    ]
    return " ".join([case.sentence, *rng.sample(more, rng.randint(1, 4))])


def _sums(rng: random.Random, _split: Split) -> str:
    rows = []
    for _ in range(rng.randint(1, 6)):
        a, b = rng.randint(1, 9), rng.randint(1, 9)
        rows.append(f"{a} + {b} = {a + b}")
    return rng.choice(["\n", " ; ", ". "]).join(rows) + "."


def _said_again(rng: random.Random, _split: Split) -> str:
    """A phrase that one person says and others say after them."""
    words = rng.sample(ANIMALS + OBJECTS + COLORS + FOODS + PLACES + ADJECTIVES, rng.randint(3, 8))
    phrase = " ".join(words)
    return " ".join(f'{name} said "{phrase}".' for name in rng.sample(NAMES, rng.randint(2, 4)))


def _drill(rng: random.Random, split: Split) -> str:
    families = rng.choices(list(_DRILLS), list(_DRILLS.values()), k=rng.randint(1, 4))
    cases: list[Case] = [draw(family, rng, split) for family in families]
    return rng.choice([" ", "\n"]).join(case.sentence.rstrip("\n") for case in cases)


def _single_family(rng: random.Random, split: Split) -> str:
    family = rng.choices(list(_DRILLS), list(_DRILLS.values()))[0]
    return "\n".join(draw(family, rng, split).sentence.rstrip("\n") for _ in range(rng.randint(1, 3)))


_KINDS = {_story: 16, _famous: 6, _sums: 3, _said_again: 5, _drill: 44, _single_family: 26}


def document(rng: random.Random, split: Split = "train") -> str:
    """Write one document: a story, a drill of determined sentences, sums or copied phrases.

    Args:
        rng: the only source of randomness.
        split: which filled templates may occur.
    """
    kind = rng.choices(list(_KINDS), list(_KINDS.values()))[0]
    return kind(rng, split)


def passage(rng: random.Random, split: Split = "held_out") -> str:
    """Write one paragraph of running text (a story), for measuring heads on natural text."""
    return _story(rng, split)
