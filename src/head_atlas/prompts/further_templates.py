"""Templates of families that are not in the demo model's training text: years, doc strings, objects of verbs.

`templates` is that text and stays as it is; what is added for other models is added here.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

from head_atlas.prompts.templates import Case, fill
from head_atlas.prompts.verb_object import verb_object


@dataclass(frozen=True)
class ManyAnswers(Case):
    """A filled template with several right answers and as many wrong ones; the first of each is `answer`, `contrast`.

    Attributes:
        answers: right continuations.
        contrasts: wrong ones, each held against the answer in its place.
    """

    answers: tuple[str, ...] = ()
    contrasts: tuple[str, ...] = ()


@dataclass(frozen=True)
class ManyCorruptions(Case):
    """A filled template whose corrupted prompt can be written in many ways; `corrupted` is the first.

    Attributes:
        further: other corrupted prompts, for a tokenizer that cuts those before into another number of tokens.
    """

    further: tuple[str, ...] = ()


# --- years (Hanna et al. 2023, How does GPT-2 compute greater-than?) ------------------------------

_YEARS = [
    "The {event} lasted from the year {century}{year} to the year {century}",
    "The {event} went on from the year {century}{year} to the year {century}",
    "The {event} began in the year {century}{year} and ended in the year {century}",
    "The {event} started in {century}{year} and ended in {century}",
    "The {event} of {century}{year} ended in {century}",
    "From {century}{year} the {event} went on until {century}",
    "The {event} ran from {century}{year} to {century}",
    "The {event} took place between the years {century}{year} and {century}",
    "The long {event} that began in {century}{year} was over in {century}",
    "It was in {century}{year} that the {event} started, and it ended in {century}",
    "The {event} was started in the year {century}{year} and given up in the year {century}",
    "People remember the {event} from {century}{year} to {century}",
    "After the {event} began in {century}{year}, it lasted until the year {century}",
    "They said that the {event} lasted from {century}{year} until {century}",
    "Books tell of the {event}, from the year {century}{year} to the year {century}",
]
_EVENTS = [
    *("war", "siege", "trial", "strike", "expedition", "dispute", "plague", "project", "campaign", "journey"),
    *("marriage", "reign", "voyage", "treaty", "conflict", "program", "survey", "mission", "raid", "boycott"),
]
_CENTURIES = range(11, 18)
N_YEARS = 5
"""Years that are right, and years that are wrong, of one prompt: its logit difference is the mean over them."""


def _greater_than(rng: random.Random) -> Case:
    index = rng.randrange(len(_YEARS))
    year, century = rng.randrange(6, 95), str(rng.choice(_CENTURIES))
    words = {"event": rng.choice(_EVENTS), "century": century, "year": f"{year:02d}"}
    text, spans = fill(_YEARS[index], words)
    corrupted, _ = fill(_YEARS[index], {**words, "year": "01"})
    # the century stands twice; `fill` keeps the last, where the answer follows
    later = tuple(f"{y:02d}" for y in rng.sample(range(year + 1, 100), N_YEARS))
    earlier = tuple(f"{y:02d}" for y in rng.sample(range(1, year + 1), N_YEARS))
    return ManyAnswers(
        "greater_than",
        index,
        text,
        later[0],
        earlier[0],
        corrupted,
        spans,
        key=f"{index} {words['event']} {century}{year:02d}",
        answers=later,
        contrasts=earlier,
    )


# --- doc strings (Heimersheim and Janiak 2023, A circuit for Python docstrings) -------------------

_STYLES = (":param", "@param", "-")
_SIGNATURES = ("{names}", "self, {names}", "self, {names}, {other}")
_DESCRIBED = (1, 2)
_DOC_TEMPLATES = tuple(product(_STYLES, _SIGNATURES, _DESCRIBED))
_NAMES = [
    *("size", "name", "path", "data", "value", "index", "file", "key", "text", "state", "user", "date", "code", "time"),
    *("line", "node", "model", "parent", "source", "target", "result", "image", "token", "event", "field", "message"),
    *("group", "label", "start", "end", "width", "height", "level", "color", "count", "first", "last", "order", "page"),
]
_FUNCTIONS = ["load", "make", "run", "check", "find", "read", "write", "update", "build", "send", "parse", "open"]
_N_FURTHER = 60
"""Draws of other arguments: of words of several tokens, a corrupted prompt in ten or so is as long as the prompt."""
_WORDS = ["water", "house", "bread", "river", "stone", "apple", "train", "garden", "music", "paper", "winter", "horse"]


def _docstring(rng: random.Random) -> Case:
    index = rng.randrange(len(_DOC_TEMPLATES))
    style, signature, n_described = _DOC_TEMPLATES[index]
    n = n_described + 1
    drawn = rng.sample(_NAMES, n + 1)
    names, other = drawn[:n], drawn[-1]
    unused = [name for name in _NAMES if name not in drawn]
    function, title = rng.choice(_FUNCTIONS), " ".join(rng.sample(_WORDS, 3))
    notes = [" ".join(rng.sample(_WORDS, 2)) for _ in names]

    def text_of(arguments: list[str]) -> str:
        head = f"def {function}({signature.format(names=', '.join(arguments), other=other)}):"
        lines = [f"    {style} {name}: {note}" for name, note in zip(names[:-1], notes, strict=False)]
        return "\n".join([head, f'    """{title}', "", *lines, f"    {style}"])

    text = text_of(names)
    start = text.index("(")
    at = text.index(names[-1], start)
    spans = {"definition": (at, at + len(names[-1])), "function": (4, 4 + len(function))}
    wrong = rng.choice([*names[:-1], *([other] if "other" in signature else [])])
    corrupted, *further = (text_of(rng.sample(unused, n)) for _ in range(1 + _N_FURTHER))
    return ManyCorruptions(
        "docstring",
        index,
        text,
        f" {names[-1]}",
        f" {wrong}",
        corrupted,
        spans,
        end=":",
        further=tuple(further),
    )


FURTHER_SAMPLERS: dict[str, Callable[[random.Random], Case]] = {
    "greater_than": _greater_than,
    "docstring": _docstring,
    "verb_object": verb_object,
}
