"""Sentences whose verb says what its object can be: "The boy read the" book, not cake.

The answer does not stand in the prompt: a model has to take it from the verb, over the words between. Not part of the
demo model's training text, so a family of its own beside `templates`.
"""

from __future__ import annotations

import random

from head_atlas.prompts.lexicon import PEOPLE
from head_atlas.prompts.templates import Case, fill

OBJECTS_OF: dict[str, tuple[str, ...]] = {
    "ate": ("bread", "cake", "apple", "soup", "fish", "meat"),
    "read": ("book", "letter", "story", "paper", "page"),
    "drank": ("water", "milk", "tea", "juice", "coffee", "wine"),
    "wore": ("hat", "coat", "dress", "shirt", "ring"),
    "drove": ("car", "truck", "bus", "van"),
    "sang": ("song", "tune", "verse"),
    "opened": ("door", "box", "window", "gate", "bag"),
    "rode": ("horse", "bike", "pony"),
    "threw": ("ball", "stone", "stick", "rock"),
    "painted": ("wall", "picture", "house", "fence"),
}
"""By verb, what it is done to, and what none of the other verbs is usually done to."""

_TEMPLATES = (
    "The {subject} {verb} the",
    "Today the {subject} {verb} the",
    "In the morning the {subject} {verb} the",
    "In the end the {subject} {verb} the",
    "The {subject} sat down and {verb} the",
    "The {subject} came home and {verb} the",
    "The {subject} smiled and {verb} the",
    "After that the {subject} {verb} the",
    "Then the {subject} quickly {verb} the",
    "The {subject} was happy and {verb} the",
    "We saw that the {subject} {verb} the",
    "They said that the {subject} {verb} the",
    "Last week the {subject} slowly {verb} the",
    "When it was late, the {subject} {verb} the",
    "The old {subject} often {verb} the",
    "Once more the {subject} {verb} the",
)


def verb_object(rng: random.Random) -> Case:
    """Draw one sentence; corrupted, the verb is that of the wrong answer."""
    index = rng.randrange(len(_TEMPLATES))
    verb, other = rng.sample(list(OBJECTS_OF), 2)
    words = {"subject": rng.choice(list(PEOPLE)), "verb": verb}
    text, spans = fill(_TEMPLATES[index], words)
    corrupted, _ = fill(_TEMPLATES[index], {**words, "verb": other})
    answer, contrast = rng.choice(OBJECTS_OF[verb]), rng.choice(OBJECTS_OF[other])
    return Case("verb_object", index, text, f" {answer}", f" {contrast}", corrupted, spans)
