"""What the Atlas can show of a file: measures, modes and families, by name and by label."""

from __future__ import annotations

from typing import TYPE_CHECKING

from head_atlas.catalogue import (
    ATTRIBUTIONS,
    EFFECTS,
    IMPORTED,
    MODEL_MEASURES,
    NAMED_PARTS,
    SCORES,
    SYNTACTIC,
    WEIGHT_SCORES,
    WITHOUT_EFFECTS,
)
from head_atlas.catalogue.roles import ROLES
from head_atlas.errors import AtlasError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from head_atlas.catalogue import Measure
    from head_atlas.named_array import NamedArray
    from head_atlas.store import Atlas

EVERY_FAMILY = "all"
PATTERN_SCORES = SCORES | NAMED_PARTS
"""Scores read from attention patterns."""
ROLE_PREFIX = "role_"
"""A role's membership goes by this and the role's name."""
_HEAD_AXES = ("layer", "head")


def label_of(name: str) -> str:
    """A family's name in words: "rand_repeat" reads "rand repeat"."""
    if name == EVERY_FAMILY:
        return "all families (mean of their means)"
    return name.replace(":", ", ").replace("_", " ")


def titled(label: str) -> str:
    """A catalogue label at the start of a line."""
    return label if label[:2].isupper() else label[:1].upper() + label[1:]


def without_article(label: str) -> str:
    """A role's label as a heading: "induction head"."""
    return label.removeprefix("a ").removeprefix("an ")


def measure_named(name: str) -> Measure | None:
    """The catalogue's entry of whatever the Atlas shows; None for roles, which have entries of their own."""
    for entries in (PATTERN_SCORES, EFFECTS, WEIGHT_SCORES, ATTRIBUTIONS, SYNTACTIC, MODEL_MEASURES, IMPORTED):
        if name in entries:
            return entries[name]
    return None


def role_of(name: str) -> str:
    """The role whose membership goes by this name; "" for any other measure."""
    role = name.removeprefix(ROLE_PREFIX)
    return role if name.startswith(ROLE_PREFIX) and role in ROLES else ""


def score_families(atlas: Atlas, name: str) -> list[str]:
    """Families that the file holds this score of with all that is shown of it, the default one first."""
    measure = PATTERN_SCORES[name]
    shown = ("excess", "excess_ci_low", "excess_ci_high") if measure.has_excess else ("ci_low", "ci_high")
    parts = ("mean", "n", *shown)
    return [f for f in measure.families if all(f"{measure.summary_prefix(f)}_{p}" in atlas.summary for p in parts)]


def effects_of(atlas: Atlas) -> list[str]:
    """Effects that the file holds with all that is shown of them."""
    parts = ("mean", "ci_low", "ci_high", "n")
    return [name for name in EFFECTS if atlas.modes and all(f"{name}_{part}" in atlas.summary for part in parts)]


def weights_of(atlas: Atlas) -> list[str]:
    """Scores of the weights that are one number per head."""
    return [name for name, m in WEIGHT_SCORES.items() if m.axes == _HEAD_AXES and _per_head(atlas.weights, name)]


def _per_head(arrays: Mapping[str, NamedArray], name: str) -> bool:
    """Whether the file holds a number of every head by this name."""
    return name in arrays and arrays[name].dims == _HEAD_AXES


def attributions_of(atlas: Atlas) -> list[str]:
    """Attributions that the file holds with all that is shown of them."""
    parts = ("mean", "ci_low", "ci_high", "n", "p")
    names = ("direct_logit", "induction_copy")
    return [name for name in names if all(f"{name}_{part}" in atlas.summary for part in parts)]


def roles_of(atlas: Atlas) -> list[str]:
    """Jobs whose membership the file holds, states left out."""
    if "membership" not in atlas.roles or "held" not in atlas.roles:
        return []
    names = atlas.roles["membership"].coords.get("role", ())
    return [name for name in names if name in ROLES and not ROLES[name].state]


def syntax_places(atlas: Atlas) -> list[str]:
    """Relations and directions with a gain, as "subject-verb:second_to_first"."""
    parts = ("gain_mean", "gain_ci_low", "gain_ci_high", "gain_n")
    if not all(part in atlas.syntax for part in parts):
        return []
    coords = atlas.syntax["gain_mean"].coords
    return [f"{r}:{d}" for r in coords.get("relation", ()) for d in coords.get("direction", ())]


def measures_of(atlas: Atlas) -> list[tuple[str, str]]:
    """(label, name) of every measure that this file holds; a score's variants follow it."""
    found = [(f"Role · {titled(without_article(ROLES[n].label))}", f"{ROLE_PREFIX}{n}") for n in roles_of(atlas)]
    order = sorted(PATTERN_SCORES.values(), key=lambda m: _place(m.variant_of or m.name))
    scores = [(f"Score · {titled(m.label)}", m.name) for m in order if score_families(atlas, m.name)]
    if syntax_places(atlas):
        scores.append((f"Score · {titled(SYNTACTIC['syntactic_gain'].label)}", "syntactic_gain"))
    effects = [(f"Effect · {titled(EFFECTS[n].label)}", n) for n in effects_of(atlas)]
    weights = [(f"Weights · {titled(WEIGHT_SCORES[n].label)}", n) for n in weights_of(atlas)]
    writes = [(f"Attribution · {titled(ATTRIBUTIONS[n].label)}", n) for n in attributions_of(atlas)]
    whole = [
        (f"Output · {titled(MODEL_MEASURES[n].label)}", n)
        for n in ("write_norm", "head_participation")
        if _per_head(atlas.model, n)
    ]
    several = [(f"Behaviour · {label}", n) for n, (label, *_) in BEHAVIOUR.items() if _per_head(atlas.roles, n)]
    imported = [
        (f"Imported · {titled(m.label)}", n) for n, m in IMPORTED.items() if _per_head(atlas.summary, f"{n}_mean")
    ]
    return scores + effects + writes + weights + found + several + whole + imported


BEHAVIOUR: dict[str, tuple[str, str, str]] = {
    "effective_roles": (
        "Effective number of roles",
        "How many roles the head holds, weighed by how strongly: 1 for one job, more for several.",
        "exp of the entropy of the normalised memberships of the roles it holds; none where it holds no role",
    ),
    "participation": (
        "Families that need the head",
        "Over how many prompt families the effect of removing the head is spread: 1 where one family has all of it.",
        "(sum e)^2 / sum e^2, e = |effect| / clean logit difference of a family, 0 where the interval spans 0",
    ),
}
"""Label, sentence and formula of the numbers of `/roles` that are shown as measures."""


def _place(name: str) -> int:
    return list(PATTERN_SCORES).index(name)


def families_of(atlas: Atlas, measure: str) -> list[tuple[str, str]]:
    """(label, name) of the families a measure can be read on, the default one first; none where it has no families."""
    if measure in PATTERN_SCORES:
        return [(label_of(f), f) for f in score_families(atlas, measure)]
    if measure == "syntactic_gain":
        return [(label_of(place), place) for place in syntax_places(atlas)]
    if measure == "direct_logit" and measure in attributions_of(atlas):
        names = atlas.summary["direct_logit_mean"].coords.get("family", atlas.families)
        return [(label_of(f), f) for f in names if f not in WITHOUT_EFFECTS]
    if measure not in effects_of(atlas):
        return []
    every = [(label_of(EVERY_FAMILY), EVERY_FAMILY)] if f"{measure}_macro" in atlas.summary else []
    return every + [(label_of(f), f) for f in atlas.families if f not in WITHOUT_EFFECTS]


def axis_name(measure: str, family: str) -> str:
    """A measure on a family of prompts as an axis, a row of a head's page or what the map shows: one name for each."""
    return f"{measure}@{family}" if family else measure


def first_mode(atlas: Atlas) -> str:
    """The ablation mode that opens by itself; "" where no head was removed."""
    return atlas.modes[0] if atlas.modes else ""


def chosen_place(atlas: Atlas, measure: str, family: str, mode: str) -> tuple[str, str, str]:
    """A measure with the family and mode to read it in, defaults filled in.

    Raises:
        AtlasError: this atlas has no such measure, or not on that family or in that mode; the message names those
            that there are.
    """
    one_of("measure", measure, [name for _, name in measures_of(atlas)])
    families = [name for _, name in families_of(atlas, measure)]
    if family and not families:
        raise AtlasError(f"{measure} is not measured by family: leave the family empty.")
    family = one_of("family", family, families, of=measure) if family else (families[0] if families else "")
    if measure not in EFFECTS:
        if mode:
            raise AtlasError(f"{measure} is not measured by ablation mode: leave the mode empty.")
        return measure, family, ""
    return measure, family, one_of("mode", mode, list(atlas.modes), of=measure) if mode else atlas.modes[0]


def one_of(what: str, wanted: str, names: list[str], of: str = "") -> str:
    """A name that the atlas has.

    Raises:
        AtlasError: it has not; the message names those that there are.
    """
    if wanted not in names:
        for_ = f" for {of}" if of else ""
        there = f"there are {', '.join(names)}" if names else "there are none"
        raise AtlasError(f"This atlas has no {what} {wanted[:60]!r}{for_}; {there}.")
    return wanted
