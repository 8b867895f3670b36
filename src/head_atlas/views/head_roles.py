"""What a head is: one sentence, its roles with the three grades and their evidence, its states, what is published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from head_atlas.catalogue.published import published_heads
from head_atlas.catalogue.roles import GRADES, ROLES, STATES, UNJUDGED, Criterion, Grade, Role
from head_atlas.errors import HeadAtlasError
from head_atlas.heads import HeadId
from head_atlas.measures.role_words import describe
from head_atlas.measures.roles import HeadRoles
from head_atlas.measures.significance import FALSE_DISCOVERIES
from head_atlas.views.choices import label_of, titled, without_article
from head_atlas.views.head_values import q_text
from head_atlas.views.measured import values_of
from head_atlas.views.numbers import count, interval, ordinal, plain
from head_atlas.views.scales import percentile

if TYPE_CHECKING:
    from head_atlas.store import Atlas

_CONFIDENCE = {
    "read": "seen in the source",
    "reported": "seen in another's account of the source",
}


def head_roles(atlas: Atlas) -> HeadRoles | None:
    """The stored evidence, or None where the atlas holds none, or not all of it."""
    try:
        found = HeadRoles.from_arrays(atlas.roles)
        names = [*found.held.coords["role"], *found.states.coords["state"]]
    except KeyError:
        return None
    # A file of another version may know roles that this one does not.
    return found if all(name in ROLES or name in STATES for name in names) else None


def sentence_of(atlas: Atlas, head: HeadId) -> str:
    """One sentence that sums a head up, with the evidence; of an atlas without roles, why there is none."""
    found = head_roles(atlas)
    if found is None:
        return f"No role has been judged: {why_no_roles(atlas)}. What was measured stands below."
    try:
        return describe(found, head.layer, head.head, mode=str(atlas.provenance.get("role_mode", "")))
    except (KeyError, ValueError, HeadAtlasError):
        return "The evidence in this atlas was written by another version and cannot be put into a sentence."


def held_roles(atlas: Atlas, head: HeadId) -> list[str]:
    """Names of the roles and states that a head holds, jobs first; empty where none was judged."""
    names = []
    for group, axis in (("held", "role"), ("states", "state")):
        if group in atlas.roles:
            array = atlas.roles[group]
            labels = array.coords.get(axis, ())
            names += [name for i, name in enumerate(labels) if array.values[i, head.layer, head.head] == 1]
    return names


def heads_by_role(atlas: Atlas) -> dict[str, list[HeadId]]:
    """Heads of every role or state that any head of the atlas holds, in order of layers; jobs first."""
    found: dict[str, list[HeadId]] = {}
    for group, axis in (("held", "role"), ("states", "state")):
        if group in atlas.roles:
            array = atlas.roles[group]
            for name, held in zip(array.coords.get(axis, ()), array.values, strict=False):
                heads = [HeadId(int(layer), int(head)) for layer, head in np.argwhere(np.asarray(held) == 1)]
                if heads:
                    found[str(name)] = heads
    return found


def role_label(name: str) -> str:
    """A role or a state without its article."""
    label = ROLES[name].label if name in ROLES else STATES[name].label if name in STATES else label_of(name)
    return without_article(label)


def roles_section(atlas: Atlas, head: HeadId) -> dict:
    """Roles that the head holds, or nearly holds, each with its three grades and the numbers behind them."""
    found = head_roles(atlas)
    if found is None:
        return {"kind": "empty", "title": "Roles", "text": f"No role has been judged: {why_no_roles(atlas)}."}
    at = (head.layer, head.head)
    rows = {label: i for i, label in enumerate(found.evidence["value"].coords["criterion"])}
    names = list(found.held.coords["role"])
    entries = []
    for i, name in enumerate(names):
        role, held = ROLES[name], found.held.values[(i, *at)]
        answers = {grade: float(getattr(found, grade).values[(i, *at)]) for grade in GRADES}
        if role.state:
            if held == 1:
                entries.append((1, _role(role, True, answers, found, rows, at, float("nan"))))
            continue
        if held == 1 or answers["attends"] == 1 or answers["writes"] == 1:
            strength = float(found.membership.values[(i, *at)])
            entries.append((2 if held == 1 else 0, _role(role, bool(held == 1), answers, found, rows, at, strength)))
    entries.sort(key=lambda entry: (-entry[0], -(entry[1]["t"] or 0)))
    states = [
        {"label": titled(STATES[name].label), "text": f"{STATES[name].definition}. {STATES[name].pitfall}"}
        for i, name in enumerate(found.states.coords["state"])
        if found.states.values[(i, *at)] == 1
    ]
    judged = sum(not ROLES[name].state and found.held.values[(i, *at)] in (0, 1) for i, name in enumerate(names))
    return {
        "kind": "roles",
        "title": "Roles, and the evidence for each",
        "lead": "Three questions, never one: does it attend like such a head, does it write like one, does removing it "
        f"matter where it should? {judged} roles could be judged here.",
        "roles": [entry for _, entry in entries],
        "none": "" if entries else "It attends or writes like none of them.",
        "states": states,
    }


def _role(
    role: Role,
    held: bool,
    answers: Mapping[Grade, float],
    found: HeadRoles,
    rows: dict[str, int],
    at: tuple[int, int],
    strength: float,
) -> dict:
    unasked = dict(role.unasked)
    grades: list[dict[str, Any]] = []
    for grade in GRADES:
        criteria = role.of(grade)
        if not criteria:
            if grade in unasked:
                grades.append({"grade": grade, "answer": None, "word": "not asked", "numbers": [unasked[grade]]})
            continue
        x = answers[grade]
        word = "not judged" if np.isnan(x) else "yes" if x == 1 else "no"
        if x == 0 and grade == "matters" and any(_reversed(role, c, found, rows, at) for c in criteria):
            word = "no: the other way"
        numbers = [text for c in criteria if (text := _evidence(role, c, found, rows, at))]
        answer = None if np.isnan(x) else bool(x == 1)
        grades.append({"grade": grade, "answer": answer, "word": word, "numbers": numbers})
    return {
        "label": titled(role_label(role.name)),
        "held": held,
        "word": ("state" if role.state else "holds this role") if held else "not called one",
        "sentence": role.sentence,
        "pitfall": role.pitfall,
        "source": role.sources,
        "t": None if np.isnan(strength) else strength,
        "strength": "" if np.isnan(strength) else f"membership {plain(strength)}",
        "grades": grades,
    }


def _reversed(role: Role, criterion: Criterion, found: HeadRoles, rows: dict[str, int], at: tuple[int, int]) -> bool:
    """Whether the whole interval lies on the side of zero that speaks against the role."""
    row = rows.get(f"{role.name}/{criterion.grade}/{criterion.measure}/{criterion.where}")
    if row is None:
        return False
    low, high = (float(found.evidence[part].values[(row, *at)]) for part in ("low", "high"))
    return bool(high < 0 if criterion.sign > 0 else low > 0 if criterion.sign < 0 else False)


def _evidence(role: Role, criterion: Criterion, found: HeadRoles, rows: dict[str, int], at: tuple[int, int]) -> str:
    row = rows.get(f"{role.name}/{criterion.grade}/{criterion.measure}/{criterion.where}")
    if row is None:
        return ""
    x, low, high, n, q = (float(found.evidence[p].values[(row, *at)]) for p in ("value", "low", "high", "n", "q"))
    if np.isnan(x):
        return f"{criterion.number}: {UNJUDGED[criterion.grade]}"
    scale, unit = (100, " %") if criterion.relative else (1, f" {criterion.unit}" if criterion.unit else "")
    sign = criterion.grade == "matters"
    digits = 1 if criterion.relative else 2
    number = f"{'+' if sign and x > 0 else ''}{plain(scale * x, digits)}{unit}"
    # Weights have no prompts, so no interval either.
    ends = interval(scale * low, scale * high, digits, sign=sign) if n > 0 else ""
    parts = [f"{number} {ends}".strip()]
    if n > 0:
        parts.append(f"n = {count(n)}")
    if np.isfinite(q):
        parts.append(q_text(q) + (" (not significant)" if q > FALSE_DISCOVERIES else ""))
    where = f" on {label_of(criterion.where)}" if criterion.where else ""
    change = "change of " if criterion.grade == "matters" else ""
    return f"{change}{criterion.number}{where}: {', '.join(parts)}"


def published_section(atlas: Atlas, head: HeadId, mode: str) -> dict | None:
    """What is published of this head of this model, and where it stands here; None where nothing is known."""
    found = published_heads(atlas.model_id, head)
    if not found:
        return None
    entries = []
    for entry in found:
        stands = []
        for shows in entry.shows:
            measure = shows.measure.removesuffix("_excess")
            try:
                values = values_of(atlas, measure, mode, shows.where)
            except KeyError:
                stands.append(f"{label_of(measure)}: not measured here")
                continue
            turned = shows.sign * np.asarray(values.values, dtype=float)
            place = percentile(turned, float(turned[head.layer, head.head]))
            stands.append(
                f"{values.label}: {values.text(head.layer, head.head)}; {ordinal(place) or 'no'} percentile of what it "
                "should show"
            )
        text = " ".join(p for p in (f"{entry.note}", *(f"{s}." for s in stands)) if p)
        entries.append(
            {
                "term": titled(entry.claim),
                "text": f"{text} ",
                "source": f"{entry.source} ({_CONFIDENCE[entry.confidence]})",
            }
        )
    return {"kind": "entries", "title": "What others have published of it", "entries": entries}


def why_no_roles(atlas: Atlas) -> str:
    """Why no role of any head can be given."""
    return atlas.left_out.get("roles", "this atlas was built without roles, or before there were any")
