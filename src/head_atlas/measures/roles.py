"""Roles of heads: from weighed evidence to what each head is, in several senses at once.

A head holds a role if all required criteria are met; several roles are allowed, there are no quotas. Membership is
`s = clip((value - n99) / (1 - n99), 0, 1)` of the role's first criterion, n99 at least 0. The three grades (attends,
writes, matters) say which criteria are met, required or not.

Source: this project; the null, the floor and the correction are there because 2 to 7 of 24 heads of random models
otherwise count as previous-token heads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from head_atlas.catalogue.roles import GRADES, ROLES, SMALL_WRITE, STATES, Criterion, Role, effect_on, effect_on_natural
from head_atlas.errors import HeadAtlasError
from head_atlas.measures.evidence import Measured, Weighed, all_of, any_of, weigh, yes
from head_atlas.measures.significance import effective_number, participation_ratio, q_values
from head_atlas.named_array import NamedArray

_HEADS = ("layer", "head")
_PARTS = tuple(part.name for part in fields(Weighed))


@dataclass(frozen=True)
class HeadRoles:
    """What every head is, with the evidence. Answers are 1 (yes), 0 (no) or NaN (not measured).

    Attributes:
        held: (role, layer, head): whether all required criteria are met, states included.
        membership: (role, layer, head): in [0, 1], how strong the first criterion is; NaN for states.
        q: (role, layer, head): of the first criterion that has a p value; NaN without one.
        attends: (role, layer, head): whether all criteria of that grade are met; NaN without one.
        writes: likewise.
        matters: likewise.
        evidence: value, low, high, n, threshold, q and met (see `Weighed`), each (criterion, layer, head); criteria
            are labelled "role/grade/measure/where".
        states: (state, layer, head), by the definitions of `catalogue.roles.STATES`.
        felt: (family, layer, head): whether the effect is felt on a family, `catalogue.roles.FELT`.
        relative_effect: (family, layer, head): |effect| / clean logit difference, 0 where the interval spans 0, NaN
            where the model does not solve the family, and on natural text, which has no logit difference.
        effective_roles: (layer, head): exp(entropy of the normalised memberships of held roles, states left out);
            NaN without any.
        participation: (layer, head): participation ratio of `relative_effect`; NaN without any effect.
        positional_offset: (layer, head): tokens back to where a positional head looks, 0 the query itself; NaN where
            it is not known.
    """

    held: NamedArray
    membership: NamedArray
    q: NamedArray
    attends: NamedArray
    writes: NamedArray
    matters: NamedArray
    evidence: Mapping[str, NamedArray]
    states: NamedArray
    felt: NamedArray
    relative_effect: NamedArray
    effective_roles: NamedArray
    participation: NamedArray
    positional_offset: NamedArray

    def arrays(self) -> dict[str, NamedArray]:
        """Everything by name, ready to be stored."""
        own = {name: getattr(self, name) for name in _OWN}
        return own | {f"evidence_{name}": array for name, array in self.evidence.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NamedArray]) -> HeadRoles:
        """What `arrays` gave, put together again."""
        evidence = {name: arrays[f"evidence_{name}"] for name in _PARTS}
        own = {name: arrays[name] for name in _OWN if name in arrays or name != "positional_offset"}
        if "positional_offset" not in own:  # files of before it was kept
            own["positional_offset"] = NamedArray(np.full_like(own["participation"].values, np.nan), _HEADS)
        return cls(evidence=evidence, **own)


_OWN = tuple(part.name for part in fields(HeadRoles) if part.name != "evidence")


def assign_roles(
    measured: Mapping[tuple[str, str], Measured],
    clean: Mapping[str, float],
    *,
    write_norm: np.ndarray | None = None,
    positional_offset: np.ndarray | None = None,
    families: Sequence[str] | None = None,
    roles: Mapping[str, Role] = ROLES,
) -> HeadRoles:
    """Weigh the evidence for every role of every head.

    Args:
        measured: by (measure, where), as criteria name them: `("induction_excess", "rand_repeat")`,
            `("ov_copy", "")`, `("direct_logit", "ioi")`, `("logit_difference", "ioi")` for an effect in the mode of
            the caller's choice. What is missing is not measured. Every logit difference given, also of families
            that no role asks for, counts for the states and the participation; `("logprob", "natural")`, which is no
            share of a logit difference, for the states alone.
        clean: mean clean logit difference of the families that the model solves, from `evidence.solved_families`.
        write_norm: [layer, head] mean norm of z W_O on natural text; without it no head can be called dormant.
        positional_offset: [layer, head] where the `positional` score is taken; it is kept beside the roles.
        families: labels of the family axis, in order; those that `measured` has if None.
        roles: the catalogue's, or others.

    Raises:
        HeadAtlasError: nothing was measured, or shapes differ.
    """
    shapes = sorted({np.shape(found.value) for found in measured.values()})
    if len(shapes) != 1 or len(shapes[0]) != 2:
        raise HeadAtlasError(f"roles need numbers of one shape [layer, head], found {shapes or 'none'}")
    shape = shapes[0]
    weighed = {
        name: [weigh(criterion, measured, clean, shape) for criterion in role.criteria] for name, role in roles.items()
    }
    weighed |= {name: [_before_last(part) for part in weighed[name]] for name, role in roles.items() if role.read_later}
    held = _held(roles, weighed, shape)
    membership = np.stack([_membership(role, measured, weighed[name][0]) for name, role in roles.items()])
    natural = effect_on_natural(0)
    # natural text has no contrast, so no logit difference: its log-probability stands for it
    in_measured = [where for measure, where in measured if measure == "logit_difference" and where != natural.where]
    families = families or [*in_measured, *([natural.where] if natural.key in measured else [])]
    effects = {family: natural if family == natural.where else effect_on(family, 0) for family in families}
    felt = _felt(effects, measured, clean, shape)
    relative = _relative_effects(families, measured, clean, shape)
    jobs = np.array([not role.state for role in roles.values()])
    strength = np.where(held[jobs] == 1, membership[jobs], 0.0)
    by_role = {"held": held, "membership": membership, "q": np.stack([_first_q(p) for p in weighed.values()])}
    for grade in GRADES:
        by_role[grade] = np.stack([_graded(role, weighed[name], grade, shape) for name, role in roles.items()])
    labels = [
        f"{name}/{criterion.grade}/{criterion.measure}/{criterion.where}"
        for name, role in roles.items()
        for criterion in role.criteria
    ]
    everything = [part for parts in weighed.values() for part in parts]
    return HeadRoles(
        **{name: _named(array, "role", roles) for name, array in by_role.items()},
        evidence={
            part: _named(np.stack([getattr(one, part) for one in everything]), "criterion", labels) for part in _PARTS
        },
        states=_named(_states(roles, held, by_role["matters"], felt, write_norm), "state", STATES),
        felt=_named(felt, "family", families),
        relative_effect=_named(relative, "family", families),
        effective_roles=NamedArray(effective_number(strength, axis=0).astype(np.float32), _HEADS),
        participation=NamedArray(participation_ratio(relative, axis=0).astype(np.float32), _HEADS),
        positional_offset=NamedArray(
            np.full(shape, np.nan, dtype=np.float32) if positional_offset is None else positional_offset, _HEADS
        ),
    )


def _named(array: np.ndarray, dim: str, labels: Iterable[str]) -> NamedArray:
    return NamedArray(array.astype(np.float32), (dim, *_HEADS), {dim: list(labels)})


def _held(roles: Mapping[str, Role], weighed: Mapping[str, Sequence[Weighed]], shape: tuple[int, int]) -> np.ndarray:
    """[role, layer, head]: all required criteria met, and no role held that says the same more precisely."""
    held = {}
    for name, role in roles.items():
        pairs = zip(weighed[name], role.criteria, strict=True)
        held[name] = all_of(part.met for part, criterion in pairs if criterion.required)
    for name, role in roles.items():
        taken = any_of([np.full(shape, np.nan), *(held[other] for other in role.yields_to if other in held)])
        held[name] = np.where(taken == 1, 0.0, held[name])
    return np.stack(list(held.values()))


def _before_last(part: Weighed) -> Weighed:
    """The same, not measured in the last layer."""
    kept = (np.arange(len(part.value)) < len(part.value) - 1)[:, None]
    return Weighed(*(np.where(kept, getattr(part, name), np.nan) for name in _PARTS))


def _membership(role: Role, measured: Mapping[tuple[str, str], Measured], first: Weighed) -> np.ndarray:
    if role.state:
        return np.full(first.value.shape, np.nan)
    found = measured.get(role.criteria[0].key)
    # a null below 0, as that of a gain may be, is no reason to count from below 0
    n99 = np.maximum(0.0 if found is None or found.n99 is None else np.asarray(found.n99, dtype=np.float64), 0.0)
    room = 1 - n99
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.clip((first.value * role.criteria[0].sign - n99) / room, 0, 1)
    # where chance alone reaches 1, no value is a sign of the role
    return np.where(room > 0, share, np.where(np.isnan(first.value), np.nan, 0.0))


def _graded(role: Role, parts: Sequence[Weighed], grade: str, shape: tuple[int, int]) -> np.ndarray:
    met = [part.met for part, criterion in zip(parts, role.criteria, strict=True) if criterion.grade == grade]
    return all_of(met) if met else np.full(shape, np.nan)


def _first_q(parts: Sequence[Weighed]) -> np.ndarray:
    return next((part.q for part in parts if not np.isnan(part.q).all()), np.full(parts[0].q.shape, np.nan))


def _felt(
    effects: Mapping[str, Criterion],
    measured: Mapping[tuple[str, str], Measured],
    clean: Mapping[str, float],
    shape: tuple[int, int],
) -> np.ndarray:
    """Whether the effect is felt, [family, layer, head]; q over heads and families together."""
    missing = np.full(shape, np.nan)
    p = [measured[c.key].p if c.key in measured else None for c in effects.values()]
    q = q_values(np.stack([missing, *(missing if of_family is None else of_family for of_family in p)]))[1:]
    met = [weigh(c, measured, clean, shape, q=one).met for c, one in zip(effects.values(), q, strict=True)]
    return np.stack(met) if met else np.zeros((0, *shape))


def _relative_effects(
    families: Sequence[str],
    measured: Mapping[tuple[str, str], Measured],
    clean: Mapping[str, float],
    shape: tuple[int, int],
) -> np.ndarray:
    """|effect| / clean logit difference, [family, layer, head], 0 where the interval spans 0."""
    relative = np.full((len(families), *shape), np.nan)
    for row, family in zip(relative, families, strict=True):
        found = weigh(effect_on(family, 0), measured, clean, shape)
        spans = (found.low <= 0) & (found.high >= 0)
        row[:] = np.where(np.isnan(found.low), np.nan, np.where(spans, 0.0, np.abs(found.value)))
    return relative


def _states(
    roles: Mapping[str, Role], held: np.ndarray, matters: np.ndarray, felt: np.ndarray, write_norm: np.ndarray | None
) -> np.ndarray:
    """[state, layer, head], by the definitions of `STATES`."""
    missing = np.full(held.shape[1:], np.nan)
    jobs = [index for index, role in enumerate(roles.values()) if not role.state]
    job = any_of([missing, *held[jobs]])
    bag = held[list(roles).index("bag_of_words")] if "bag_of_words" in roles else missing
    explained = any_of([job, bag])
    felt_anywhere = any_of([missing, *felt])
    idle_in_own_roles = all_of([1 - felt_anywhere, *(np.where(held[i] == 1, 1 - matters[i], 1.0) for i in jobs)])
    little = missing
    if write_norm is not None:
        little = yes(write_norm < SMALL_WRITE * np.median(write_norm, axis=-1, keepdims=True), write_norm)
    states = {
        "dormant": all_of([1 - explained, little, 1 - felt_anywhere]),
        "decorative": all_of([job, idle_in_own_roles]),
        "unexplained": all_of([felt_anywhere, 1 - explained]),
    }
    return np.stack([states[name] for name in STATES])
