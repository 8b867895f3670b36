"""The state of the page as an address: readable, white-listed, and never trusted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qs, urlencode

from head_atlas.errors import HeadError
from head_atlas.heads import HeadId

TABS = ("start", "atlas", "lab", "learn", "compare", "about")
FILTERS = ("find", "role", "where", "sort")
"""What the table of heads is filtered and sorted by."""
UNFILTERED = ("",) * len(FILTERS)
_OF_ATLAS = ("measure", "mode", "family", "head", "other", "view", "x", "y", "by", "prompts", "band", *FILTERS)
_OF_LAB = ("prompt", "removed", "target", "contrast", "colour", "corrupted")
KEYS = ("tab", "chapter", "model", "with", *_OF_ATLAS, *_OF_LAB)
_ATTRIBUTES = {"with": "beside"}
"""By key of the address, where the attribute has another name: `with` is a word of the language."""
_LONGEST = {"prompt": 4000, "corrupted": 4000, "removed": 1500, "target": 100, "contrast": 100}
_LONGEST_OTHER = 80


@dataclass(frozen=True)
class PageState:
    """What an address holds. Empty means "the page's default".

    Attributes:
        tab: one of `TABS`.
        model: name of a served model.
        beside: name of the served model that it is compared with; `with` in the address.
        measure: name of a score or an effect.
        mode: ablation mode of the open tab; the Atlas and the Lab have one each.
        family: prompt family of an effect.
        head: the selected head, "2.5".
        other: the head that stands beside it.
        view: which view of the heads is open on the Atlas tab.
        x: the scatter plot's axis to the right.
        y: its axis upwards.
        by: its colour.
        prompts: the set of prompts that exemplars are from.
        band: which of them.
        find: words that a row of the table of heads must hold.
        role: a role or state that its heads hold, or "none".
        where: a column and the range of its values, as `views.finder.Range` writes it.
        sort: the column that ranks the table, as `views.finder.Order` writes it.
        prompt: the Lab's prompt.
        removed: the heads removed in the Lab, in order.
        target: the Lab's target, as its menu has it.
        contrast: the Lab's contrast, likewise.
        colour: the effect that colours the Lab's grid.
        corrupted: the Lab's corrupted prompt.
        chapter: the open entry of the Learn tab.
    """

    tab: str = "start"
    model: str = ""
    beside: str = ""
    measure: str = ""
    mode: str = ""
    family: str = ""
    head: str = ""
    other: str = ""
    view: str = ""
    x: str = ""
    y: str = ""
    by: str = ""
    prompts: str = ""
    band: str = ""
    find: str = ""
    role: str = ""
    where: str = ""
    sort: str = ""
    prompt: str = ""
    removed: tuple[HeadId, ...] = field(default_factory=tuple)
    target: str = ""
    contrast: str = ""
    colour: str = ""
    corrupted: str = ""
    chapter: str = ""

    def filtered(self, texts: Sequence[str]) -> PageState:
        """The state with other filters of the table, in the order of `FILTERS`."""
        find, role, where, sort = texts
        return replace(self, find=find, role=role, where=where, sort=sort)

    def query(self) -> str:
        """The address's query string, without what is empty or the default."""
        values = {key: getattr(self, _ATTRIBUTES.get(key, key)) for key in KEYS if key not in ("removed", "tab")}
        if self.tab != "start":
            values["tab"] = self.tab
        values["removed"] = ",".join(str(head) for head in self.removed)
        return urlencode([(key, values[key]) for key in KEYS if values.get(key)], safe=",.@:")


def read_heads(text: Any, *, most: int) -> tuple[HeadId, ...]:
    """Read a list of heads: "2.5, L2H1 0.3". Repeated heads count once; anything but text is no heads.

    Raises:
        HeadError: one of them is not a head, or there are more than `most`.
    """
    if not isinstance(text, str):
        return ()
    # "L2 H5" may hold a space, so only commas, semicolons and breaks between whole heads separate.
    pieces = [piece for part in text.replace(";", ",").split(",") for piece in _split_spaces(part)]
    heads = tuple(dict.fromkeys(HeadId.parse(piece) for piece in pieces))
    if len(heads) > most:
        raise HeadError(f"{len(heads)} heads at once are too many; at most {most} are possible here")
    return heads


def _split_spaces(part: str) -> list[str]:
    words = part.split()
    joined: list[str] = []
    for word in words:
        if joined and word[:1] in "hH" and joined[-1][:1] in "lL" and not any(c in "hH" for c in joined[-1]):
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def toggled(heads: Iterable[HeadId], clicks: Iterable[HeadId]) -> tuple[HeadId, ...]:
    """The heads after clicks, each of which adds a head or takes it out again; new ones at the end."""
    kept = dict.fromkeys(heads)
    for click in clicks:
        if click in kept:
            del kept[click]
        else:
            kept[click] = None
    return tuple(kept)


def read_query(query: str | Mapping[str, str]) -> tuple[PageState, list[str]]:
    """Read an address from anyone.

    Args:
        query: a query string, or its parameters.

    Returns:
        The state, and a sentence for everything that was there and could not be used.
    """
    if isinstance(query, str):
        try:
            parsed = parse_qs(query.lstrip("?"), max_num_fields=40)
        except ValueError:
            return PageState(), ["The address could not be read, so the page opens as new."]
        params = {key: values[-1] for key, values in parsed.items()}
    else:
        params = {key: str(value) for key, value in query.items()}
    values: dict[str, str] = {}
    problems: list[str] = []
    for key in KEYS:
        text = params.get(key, "")
        if len(text) > _LONGEST.get(key, _LONGEST_OTHER):
            problems.append(f"The {key} in the address is too long and was left out.")
        elif text:
            values[_ATTRIBUTES.get(key, key)] = text
    if (tab := values.setdefault("tab", "start")) not in TABS:
        problems.append(f"There is no tab “{tab}”; the page opens on Start.")
        values["tab"] = "start"
    removed: tuple[HeadId, ...] = ()
    try:
        removed = read_heads(values.pop("removed", ""), most=256)
    except HeadError as error:
        problems.append(f"The removed heads in the address could not be read: {error}.")
    return PageState(**values, removed=removed), problems


def keep_heads(heads: Iterable[HeadId], n_layers: int, n_heads: int) -> tuple[tuple[HeadId, ...], list[str]]:
    """The heads that a model of that size has, and a sentence for each that it has not."""
    kept: list[HeadId] = []
    problems: list[str] = []
    for head in heads:
        try:
            kept.append(head.within(n_layers, n_heads))
        except HeadError as error:
            problems.append(f"{str(error)[:1].upper()}{str(error)[1:]}.")
    return tuple(kept), problems
