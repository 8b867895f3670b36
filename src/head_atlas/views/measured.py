"""Whatever the Atlas shows of a measure, read from the small arrays of the file: one value per head."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from head_atlas.catalogue import ATTRIBUTIONS, EFFECTS, IMPORTED, MODEL_MEASURES, SYNTACTIC, WEIGHT_SCORES, mode_label
from head_atlas.catalogue.roles import ROLES
from head_atlas.measures.significance import q_values
from head_atlas.views.choices import BEHAVIOUR, EVERY_FAMILY, PATTERN_SCORES, label_of, role_of, titled, without_article
from head_atlas.views.head_values import HeadValues

if TYPE_CHECKING:
    from collections.abc import Mapping

    from head_atlas.named_array import NamedArray
    from head_atlas.store import Atlas

_NO_EFFECT = "mean of 0, sign-flip test"


def values_of(atlas: Atlas, measure: str, mode: str, family: str) -> HeadValues:
    """Whatever the Atlas shows of a measure.

    Raises:
        KeyError: the file has no such measure, mode or family.
    """
    if measure in PATTERN_SCORES:
        return score_values(atlas, measure, family)
    if measure in EFFECTS:
        return effect_values(atlas, measure, mode, family)
    if measure in WEIGHT_SCORES:
        return weight_values(atlas, measure)
    if measure in ("direct_logit", "induction_copy"):
        return attribution_values(atlas, measure, family)
    if measure == "syntactic_gain":
        return syntax_values(atlas, family)
    if measure in MODEL_MEASURES:
        entry = MODEL_MEASURES[measure]
        label = f"{titled(entry.label)}, natural text"
        return HeadValues(atlas.model[measure].values, None, None, None, label, entry.unit, entry.signed)
    if measure in IMPORTED:
        return imported_values(atlas, measure)
    if measure in BEHAVIOUR:
        unit, reason = ("families", "no effect to spread") if measure == "participation" else ("roles", "holds no role")
        values = np.asarray(atlas.roles[measure].values, dtype=float)
        return HeadValues(values, None, None, None, BEHAVIOUR[measure][0], unit, False, reason=reason)
    return membership_values(atlas, role_of(measure))


def score_values(atlas: Atlas, name: str, family: str) -> HeadValues:
    """A score's excess over attending uniformly, or its mean where no excess is defined."""
    measure, summary = PATTERN_SCORES[name], atlas.summary
    prefix = measure.summary_prefix(family)
    excess = measure.has_excess
    part = f"{prefix}_excess" if excess else prefix
    return HeadValues(
        summary[part if excess else f"{part}_mean"].values,
        summary[f"{part}_ci_low"].values,
        summary[f"{part}_ci_high"].values,
        summary[f"{prefix}_n"].values,
        f"{titled(measure.label)}, {'excess' if excess else 'mean'} on {label_of(family)}",
        "0 = attends uniformly" if excess else measure.unit,
        measure.signed,
        most=measure.high,
        reason="not measured for this model",
        q=_null_q(atlas, name) if family == measure.family else None,
        tested="against its null, over the heads of the model",
        floor=0.0 if excess else None,
    )


def effect_values(atlas: Atlas, name: str, mode: str, family: str) -> HeadValues:
    """The mean effect of removing each head, on one family or over all of them."""
    measure, summary = EFFECTS[name], atlas.summary
    label = f"{titled(measure.label)}, {mode_label(mode)} ablation"
    # Of what is never negative an interval above 0 says nothing.
    floor = 0.0 if measure.signed else None
    if family == EVERY_FAMILY:
        values = summary[f"{name}_macro"].sel(mode=mode).values
        low, high, n = (_of_mode(summary, f"{name}_macro_{part}", mode) for part in ("ci_low", "ci_high", "n"))
        means = summary[f"{name}_mean"].sel(mode=mode)
        k = int(np.isfinite(means.values).any(axis=(means.dims.index("layer"), means.dims.index("head"))).sum())
        return HeadValues(
            values,
            low,
            high,
            n,
            f"{label}, mean over {k} families",
            measure.unit,
            measure.signed,
            reason="not defined on any family",
            floor=floor,
            counted="families",
        )
    mean, low, high, n = (
        summary[f"{name}_{part}"].sel(mode=mode, family=family).values for part in ("mean", "ci_low", "ci_high", "n")
    )
    q = summary[f"{name}_q"].sel(mode=mode, family=family).values if f"{name}_q" in summary else None
    return HeadValues(
        mean,
        low,
        high,
        n,
        f"{label}, {label_of(family)}",
        measure.unit,
        measure.signed,
        reason=f"not defined on {label_of(family)}",
        q=q,
        tested=f"{_NO_EFFECT}, over the heads of the model",
        floor=floor,
    )


def imported_values(atlas: Atlas, name: str) -> HeadValues:
    """A score that another tool measured: a number per head, with neither interval nor null."""
    entry = IMPORTED[name]
    n = atlas.summary[f"{name}_n"].values if f"{name}_n" in atlas.summary else None
    if n is not None and not n.any():  # the tree does not say
        n = None
    mean = atlas.summary[f"{name}_mean"].values
    return HeadValues(
        mean, None, None, n, titled(entry.label), entry.unit, entry.signed, reason="absent from the imported tree"
    )


def weight_values(atlas: Atlas, name: str) -> HeadValues:
    """A score read from the weights; where it has a null, the q value of that."""
    entry = WEIGHT_SCORES[name]
    return HeadValues(
        atlas.weights[name].values,
        None,
        None,
        None,
        f"{titled(entry.label)}, from the weights",
        entry.unit,
        entry.signed,
        most=entry.high if entry.name.endswith("copy") else None,
        reason=atlas.left_out.get(name, "not defined for this head"),
    )


def attribution_values(atlas: Atlas, name: str, family: str) -> HeadValues:
    """What each head adds to the lead of the right answer by itself; an attribution, no effect."""
    entry = ATTRIBUTIONS[name]
    parts = {part: atlas.summary[f"{name}_{part}"] for part in ("mean", "ci_low", "ci_high", "n", "p")}
    if "family" in parts["mean"].dims:
        parts = {part: array.sel(family=family) for part, array in parts.items()}
    else:
        family = entry.family
    return HeadValues(
        parts["mean"].values,
        parts["ci_low"].values,
        parts["ci_high"].values,
        parts["n"].values,
        f"{titled(entry.label)}, {label_of(family)}",
        entry.unit,
        entry.signed,
        reason=f"not defined on {label_of(family)}",
        q=q_values(parts["p"].values),
        tested=f"{_NO_EFFECT}, over the heads of the model",
        floor=0.0,
    )


def syntax_values(atlas: Atlas, place: str) -> HeadValues:
    """How much better each head finds the tied word than the best fixed offset does."""
    entry = SYNTACTIC["syntactic_gain"]
    relation, _, direction = place.partition(":")
    mean, low, high, n = (
        atlas.syntax[f"gain_{part}"].sel(relation=relation, direction=direction).values
        for part in ("mean", "ci_low", "ci_high", "n")
    )
    return HeadValues(
        mean,
        low,
        high,
        n,
        f"{titled(entry.label)}: {label_of(place)}",
        entry.unit,
        entry.signed,
        reason="no such pairs in the prompts",
        floor=0.0,
    )


def membership_values(atlas: Atlas, role: str) -> HeadValues:
    """How strongly each head shows a role's first sign; heads that do not hold the role are not significant.

    Raises:
        KeyError: the file has no such role.
    """
    membership = atlas.roles["membership"].sel(role=role).values
    held = atlas.roles["held"].sel(role=role).values
    return _Membership(
        membership,
        None,
        None,
        None,
        f"{titled(without_article(ROLES[role].label))}: membership",
        "1 = ideal, 0 = chance",
        False,
        most=1.0,
        reason="could not be judged",
        held=held,
    )


@dataclass(frozen=True)
class _Membership(HeadValues):
    """Of a role, whose answer to all criteria together takes the place of a test: there is no q value.

    Attributes:
        held: [layer, head] 1 where it is held, 0 where not, NaN where it could not be judged.
    """

    held: np.ndarray = field(kw_only=True)

    def clear(self, layer: int, head: int) -> bool | None:
        answer = float(self.held[layer, head])
        return None if np.isnan(answer) else answer == 1

    def text(self, layer: int, head: int) -> str:
        x = self.values[layer, head]
        if not np.isfinite(x):
            return self.reason
        clear = self.clear(layer, head)
        said = {True: "holds the role", False: "does not hold the role", None: "could not be judged"}[clear]
        return f"{x:.2f}, {said}"

    def rule(self) -> str:
        return "• does not hold the role, by all its criteria together"


def _null_q(atlas: Atlas, name: str) -> np.ndarray | None:
    """Of a score against its null, Benjamini-Hochberg over the heads of the model; None without a null."""
    place = f"{name}_p"
    return q_values(atlas.nulls[place].values) if place in atlas.nulls else None


def _of_mode(summary: Mapping[str, NamedArray], name: str, mode: str) -> np.ndarray | None:
    values: np.ndarray | None = summary[name].sel(mode=mode).values if name in summary else None
    return values
