"""Heads as plain records, for programs: numbers as they are in the file; null where there is none, with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from head_atlas.catalogue import ATTRIBUTIONS, EFFECTS, MODEL_MEASURES
from head_atlas.catalogue.roles import GRADES, ROLES, STATES, UNJUDGED, Criterion, Role
from head_atlas.errors import AtlasError
from head_atlas.heads import HeadId
from head_atlas.views.choices import (
    BEHAVIOUR,
    PATTERN_SCORES,
    families_of,
    measure_named,
    measures_of,
    role_of,
)
from head_atlas.views.grid import membership_formula
from head_atlas.views.head_examples import largest_look
from head_atlas.views.head_roles import head_roles, held_roles, role_label, why_no_roles
from head_atlas.views.measured import values_of
from head_atlas.views.numbers import finite
from head_atlas.views.scales import percentile

if TYPE_CHECKING:
    from head_atlas.measures.roles import HeadRoles
    from head_atlas.store import Atlas
    from head_atlas.views.head_values import HeadValues

Record = dict[str, Any]
Order = Literal["highest", "lowest", "largest"]
ORDERS: tuple[Order, ...] = get_args(Order)
KINDS = ("score", "effect", "attribution", "role", "behaviour")
"""Of measures: score, effect and attribution as everywhere; membership of a role; numbers that follow from roles."""


def measure_records(atlas: Atlas) -> list[Record]:
    """What an atlas can be asked for, in the order of the app's menu."""
    return [_measure(atlas, name, label.partition(" · ")[2]) for label, name in measures_of(atlas)]


def _measure(atlas: Atlas, name: str, label: str) -> Record:
    entry, role = measure_named(name), ROLES.get(role_of(name))
    if entry is not None:
        words: Record = {"kind": entry.kind, "unit": entry.unit, "low": entry.low, "high": entry.high}
        words |= {"signed": entry.signed, "sentence": entry.sentence, "formula": entry.formula}
        words |= {"pitfall": entry.pitfall, "source": entry.source}
    elif role is not None:
        words = {"kind": "role", "unit": "1 = ideal, 0 = chance", "low": 0.0, "high": 1.0, "signed": False}
        words |= {"sentence": role.sentence, "formula": membership_formula(role)}
        words |= {"pitfall": role.pitfall, "source": role.sources}
    else:
        _, sentence, formula = BEHAVIOUR[name]
        words = {"kind": "behaviour", "unit": values_of(atlas, name, "", "").unit, "low": None, "high": None}
        words |= {"signed": False, "sentence": sentence, "formula": formula, "pitfall": "", "source": "this project"}
    families = [family for _, family in families_of(atlas, name)]
    modes = list(atlas.modes) if name in EFFECTS else []
    return {"name": name, "label": label, **words, "families": families, "modes": modes}


def place_record(atlas: Atlas, measure: str, family: str, mode: str, head: HeadId) -> Record:
    """One measure of one head, and what it is."""
    values = values_of(atlas, measure, mode, family)
    return {**measured_record(measure, family, mode, values), **value_record(measure, values, head)}


def measured_record(measure: str, family: str, mode: str, values: HeadValues) -> Record:
    """What a number is: shared by all heads."""
    entry = PATTERN_SCORES.get(measure)
    statistic = "value"
    if entry is not None:
        statistic = "excess" if entry.has_excess else "mean"
    elif measure in EFFECTS:
        statistic = "mean of family means" if values.counted == "families" else "mean"
    elif values.low is not None or measure in MODEL_MEASURES:
        statistic = "mean"
    return {
        "measure": measure,
        "family": family or None,
        "mode": (mode or None) if measure in EFFECTS else None,
        "label": values.label,
        "statistic": statistic,
        "unit": values.unit,
        "test": values.tested or None,
    }


def value_record(measure: str, values: HeadValues, head: HeadId) -> Record:
    """The value of a head with what is known of its certainty.

    Percentiles are among the other heads of the model, and of the layer, ties counting half; of effects and
    attributions they rank the size, as on the page: a head that helps most is at 100.
    """
    at = (head.layer, head.head)
    x = float(values.values[at])
    known = finite(x)
    by_size = measure in EFFECTS or measure in ATTRIBUTIONS
    ranked, size = (np.abs(values.values), abs(x)) if by_size else (values.values, x)
    low, high, n, q = (
        None if array is None else finite(float(array[at])) for array in (values.low, values.high, values.n, values.q)
    )
    return {
        "value": known,
        "low": low,
        "high": high,
        "n": None if n is None else int(n),
        "q": q,
        "counted": None if values.n is None else (values.counted or "prompts"),
        "significant": values.clear(*at),
        "percentile": finite(percentile(ranked, size)),
        "percentile_in_layer": finite(percentile(ranked[head.layer], size)),
        "reason": values.reason if known is None else None,
    }


def found_heads(
    atlas: Atlas,
    values: HeadValues,
    *,
    role: str = "",
    at_least: float | None = None,
    at_most: float | None = None,
    significant: bool = False,
    order: Order = "highest",
) -> list[HeadId]:
    """Heads that pass every filter, ranked by a measure; those without a value are left out.

    Args:
        atlas: where the roles are.
        values: the measure.
        role: a role or state that they hold; "" for any.
        at_least: smallest value.
        at_most: largest value.
        significant: leave out what does not differ from chance or no effect, and what cannot be told.
        order: "highest" or "lowest" first, or "largest" in magnitude.
    """
    found = []
    for layer, head in np.ndindex(values.values.shape):
        x = float(values.values[layer, head])
        if not np.isfinite(x) or (at_least is not None and x < at_least) or (at_most is not None and x > at_most):
            continue
        if significant and values.clear(layer, head) is not True:
            continue
        one = HeadId(int(layer), int(head))
        if role and role not in held_roles(atlas, one):
            continue
        rank = {"highest": -x, "lowest": x, "largest": -abs(x)}[order]
        found.append((rank, one))
    return [head for _, head in sorted(found)]


def role_names(atlas: Atlas) -> list[str]:
    """Roles and states that a head of this atlas may hold, jobs first."""
    found = head_roles(atlas)
    return [] if found is None else [*found.held.coords["role"], *found.states.coords["state"]]


def role_records(atlas: Atlas, head: HeadId) -> Record:
    """Every role with its three grades and the numbers behind them, and the states."""
    found = head_roles(atlas)
    if found is None:
        return {"roles": [], "states": [], "reason": why_no_roles(atlas)}
    rows = {label: i for i, label in enumerate(found.evidence["value"].coords["criterion"])}
    at = (head.layer, head.head)
    roles = [_role(ROLES[name], found, i, rows, at) for i, name in enumerate(found.held.coords["role"])]
    states = [
        {
            "state": name,
            "label": role_label(name),
            "held": _answer(float(found.states.values[(i, *at)])),
            "definition": STATES[name].definition,
            "pitfall": STATES[name].pitfall,
        }
        for i, name in enumerate(found.states.coords["state"])
    ]
    return {"roles": roles, "states": states, "reason": None}


def _role(role: Role, found: HeadRoles, index: int, rows: dict[str, int], at: tuple[int, int]) -> Record:
    unasked: dict[str, str] = dict(role.unasked)
    grades: Record = {}
    for grade in GRADES:
        criteria = role.of(grade)
        answer = _answer(float(getattr(found, grade).values[(index, *at)])) if criteria else None
        reason = None if answer is not None else UNJUDGED[grade] if criteria else unasked.get(grade, "not asked")
        evidence = [_criterion(role, one, found, rows, at) for one in criteria]
        grades[grade] = {"answer": answer, "reason": reason, "evidence": evidence}
    held = _answer(float(found.held.values[(index, *at)]))
    return {
        "role": role.name,
        "label": role_label(role.name),
        "is_state": role.state,
        "held": held,
        "reason": "could not be judged: a required number is missing" if held is None else None,
        "membership": finite(float(found.membership.values[(index, *at)])),
        "grades": grades,
        "pitfall": role.pitfall,
        "source": role.sources,
    }


def _criterion(role: Role, one: Criterion, found: HeadRoles, rows: dict[str, int], at: tuple[int, int]) -> Record:
    row = rows.get(f"{role.name}/{one.grade}/{one.measure}/{one.where}")
    numbers: Record = {}
    for part in ("value", "low", "high", "n", "threshold", "q", "met"):
        numbers[part] = None if row is None else finite(float(found.evidence[part].values[(row, *at)]))
    return {
        "measure": one.measure,
        "where": one.where or None,
        "is_share_of_clean_logit_difference": one.relative,
        "sign": one.sign,
        "required": one.required,
        **numbers,
        "n": None if numbers["n"] is None else int(numbers["n"]),
        "met": None if numbers["met"] is None else numbers["met"] == 1,
        "reason": UNJUDGED[one.grade] if numbers["value"] is None else None,
    }


def _answer(x: float) -> bool | None:
    return None if np.isnan(x) else bool(x == 1)


def example_records(atlas: Atlas, head: HeadId, where: str, band: str, most: int, *, patterns: bool) -> list[Record]:
    """Prompts that stand for a head, the first `most` of a band.

    Args:
        atlas: where they are.
        head: a head that the atlas has.
        where: "text" or "families".
        band: of `head_examples.bands_of`.
        most: how many.
        patterns: whether to give all of the stored pattern.

    Raises:
        AtlasError: they are damaged.
    """
    try:
        stored = atlas.stored_exemplars(where)
    except KeyError as error:
        raise AtlasError(f"the examples in this atlas cannot be read: {error}") from error
    chosen = [one for one in stored.of(head.layer, head.head) if str(one.band) == band][:most]
    records = []
    for exemplar in chosen:
        prompt, pattern = atlas.prompts[exemplar.prompt], stored.pattern(exemplar)
        query, key = largest_look(pattern.weights)
        record: Record = {
            "prompt": exemplar.prompt,
            "family": prompt.family,
            "text": prompt.text,
            "tokens": list(prompt.strings),
            "largest_attention": finite(exemplar.value),
            "looks_from": query,
            "looks_at": key,
            "effect_on_logprob": finite(exemplar.effect),
            "reason": None if np.isfinite(exemplar.effect) else "no effect was measured on this prompt",
        }
        if patterns:
            rows = [np.flatnonzero(row) for row in pattern.weights]
            record["pattern"] = [[[int(j), float(pattern.weights[i, j])] for j in keys] for i, keys in enumerate(rows)]
            record["attention_left_out"] = [float(x) for x in pattern.dropped]
        records.append(record)
    return records


def summary_record(atlas: Atlas, head: HeadId, sentence: str) -> Record:
    """What a head is, in short."""
    found = head_roles(atlas)
    names = held_roles(atlas, head) if found is not None else []
    return {
        "head": str(head),
        "sentence": sentence,
        "roles": [name for name in names if name in ROLES],
        "states": [name for name in names if name in STATES],
        "reason": None if found is not None else why_no_roles(atlas),
    }
