"""What an address asks of the table of heads: how it is written, and what of it this atlas can show.

`where` is a column and a range with one end, "logit_difference:0.1.." or "induction:..0.5"; `sort` is a column,
the largest value first, or with ":up" the smallest; `role` is a role's or state's name, or "none".
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from head_atlas.app.limits import well_formed
from head_atlas.app.page_state import FILTERS, UNFILTERED, PageState
from head_atlas.views.finder import FIRST_RANK, NO_ROLE, column_names, held_names

if TYPE_CHECKING:
    from head_atlas.store import Atlas

_NUMBER = r"-?(?:\d{1,15}(?:\.\d{1,15})?|\.\d{1,15})(?:e[+-]?\d{1,3})?"
_RANGE = re.compile(rf"(?P<column>[^:]+):(?:(?P<least>{_NUMBER})\.\.|\.\.(?P<most>{_NUMBER}))", re.ASCII)
_LONGEST_WORDS = 80
UP = ":up"


def settled(atlas: Atlas, state: PageState) -> tuple[PageState, list[str]]:
    """The state with the filters that this atlas can show, and a sentence for each that it cannot.

    They belong to the open table: of another view there are none.
    """
    if state.view != "find":
        return state.filtered(UNFILTERED), []
    problems = []
    names = column_names(atlas, state.measure, state.family, state.mode) if state.where or state.sort else []
    if state.role and state.role != NO_ROLE and state.role not in held_names(atlas):
        problems.append(f"No head of this atlas holds the role or state “{state.role}”; heads of any role are listed.")
        state = replace(state, role="")
    if state.where and _range(state.where, names) is None:
        problems.append(f"The table cannot be filtered by “{state.where}”; heads of any value are listed.")
        state = replace(state, where="")
    if state.sort and state.sort.removesuffix(UP) not in names:
        problems.append(f"The table has no column “{state.sort.removesuffix(UP)}” to sort by; its own order is shown.")
        state = replace(state, sort="")
    if state.sort and state.sort == names[FIRST_RANK]:
        state = replace(state, sort="")  # its own order
    return state, problems


def shown(atlas: Atlas, state: PageState) -> dict:
    """What the table's own fields are set to, of a settled state; `serial` tells this answer from all earlier ones."""
    names = column_names(atlas, state.measure, state.family, state.mode)
    column, way, limit = _range(state.where, names) or ("", "least", "")
    by = state.sort.removesuffix(UP)
    return {
        "serial": monotonic_ns(),
        "text": state.find,
        "role": state.role,
        "column": column,
        "way": way,
        "limit": limit,
        "sort": by if by in names and by != names[FIRST_RANK] else "",
        "down": not state.sort.endswith(UP),
    }


def written(asked: Any) -> tuple[str, ...]:
    """What the table sent of its fields, as an address has it, in the order of `FILTERS`. Anyone can send anything."""
    asked = asked if isinstance(asked, dict) else {}
    texts = {key: _text(asked.get(key)) for key in ("text", "role", "column", "way", "limit", "sort")}
    limit = texts["limit"] if re.fullmatch(_NUMBER, texts["limit"], re.ASCII) else ""
    reach = f"..{limit}" if texts["way"] == "most" else f"{limit}.."
    where = f"{texts['column']}:{reach}" if texts["column"] and limit else ""
    up = UP if texts["sort"] and asked.get("down") is False else ""
    return texts["text"].strip(), texts["role"], where, texts["sort"] + up


def held(texts: Any) -> tuple[str, ...]:
    """The four texts that the page's own state keeps; empty ones for anything else."""
    good = isinstance(texts, list | tuple) and len(texts) == len(FILTERS) and all(isinstance(t, str) for t in texts)
    return tuple(texts) if good else UNFILTERED


def _text(value: Any) -> str:
    return value if isinstance(value, str) and len(value) <= _LONGEST_WORDS and well_formed(value) else ""


def _range(text: str, names: list[str]) -> tuple[str, str, str] | None:
    found = _RANGE.fullmatch(text)
    if found is None or found["column"] not in names[FIRST_RANK:]:
        return None
    limit = found["least"] or found["most"]
    if not math.isfinite(float(limit)):
        return None
    return found["column"], "least" if found["least"] else "most", limit
