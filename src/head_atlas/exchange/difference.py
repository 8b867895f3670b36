"""What changed between two atlases: a model before and after fine-tuning, or two ways to measure one.

Where a family has the same prompts in both, numbers are compared prompt by prompt: the mean difference with its
paired cluster bootstrap and its sign-flip test, corrected over heads and families. Else the two means are compared,
and changed means that their 95 % intervals do not meet, which is stricter than a test at 5 %.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from head_atlas.errors import AtlasError
from head_atlas.exchange.tables import finite
from head_atlas.heads import HeadId
from head_atlas.measures.bootstrap import bootstrap_mean, resample_counts
from head_atlas.measures.significance import FALSE_DISCOVERIES, q_values, sign_flip_p
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt
from head_atlas.store import Atlas

_COMPARED = ("model_id", "model_revision", "model_fingerprint", "tokenizer_sha256", "dtype", "code_sha256", "seed")
_MEASURED_ON = ("text", "tokens", "positions", "targets", "contrasts")


@dataclass(frozen=True)
class Change:
    """A mean of a head on a family in the two atlases.

    Attributes:
        measure: a score or an effect.
        mode: of the ablation, "" for a score.
        family: whose prompts.
        layer: zero-based.
        head: zero-based.
        before: mean in the first atlas.
        after: mean in the second.
        change: after - before.
        low: lower bound of its 95 % interval; NaN where not paired.
        high: upper bound; likewise.
        q: of the change being 0, over all heads and families of the measure and mode; NaN where not paired.
        paired: whether prompt by prompt.
        changed: paired: the interval leaves 0 out, and q <= 0.05; else: the two intervals do not meet.
    """

    measure: str
    mode: str
    family: str
    layer: int
    head: int
    before: float
    after: float
    change: float
    low: float
    high: float
    q: float
    paired: bool
    changed: bool


@dataclass(frozen=True)
class RoleChange:
    """A role that a head holds in one atlas only.

    Attributes:
        role: its name.
        layer: zero-based.
        head: zero-based.
        gained: held in the second atlas; else lost there.
        beyond: whether a number that decided it has intervals that do not meet. If not, the evidence moved little,
            past a threshold.
    """

    role: str
    layer: int
    head: int
    gained: bool
    beyond: bool


@dataclass(frozen=True)
class Difference:
    """What changed from one atlas to another.

    Attributes:
        provenance: by name, what differs between the two: (before, after).
        changes: every mean that was compared, the largest of those that changed first.
        roles: roles gained and lost.
        not_compared: by name, why.
    """

    provenance: Mapping[str, tuple[Any, Any]]
    changes: Sequence[Change]
    roles: Sequence[RoleChange]
    not_compared: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        """Plain values; NaN becomes null."""
        return {
            "provenance": {key: list(pair) for key, pair in self.provenance.items()},
            "changes": [finite(asdict(change)) for change in self.changes if change.changed],
            "roles": [asdict(change) for change in self.roles],
            "n_compared": len(self.changes),
            "not_compared": dict(self.not_compared),
        }


def difference(
    before: Atlas, after: Atlas, *, measures: Sequence[str] = ("logit_difference",), mode: str | None = None
) -> Difference:
    """Compare two atlases of models of one shape.

    Args:
        before: the first atlas.
        after: the second.
        measures: scores and effects by name.
        mode: of ablation; None for all that both have.

    Raises:
        AtlasError: models of other shapes, a measure or a mode that one of them does not have, or damage.
    """
    shapes = [(atlas.n_layers, atlas.n_heads) for atlas in (before, after)]
    if shapes[0] != shapes[1]:
        raise AtlasError(
            f"{before.called} has {shapes[0]} layers and heads, {after.called} {shapes[1]}: nothing to compare"
        )
    not_compared: dict[str, str] = {}
    changes: list[Change] = []
    families = [family for family in before.families if family in after.families]
    for family in dict.fromkeys([*before.families, *after.families]):
        if family not in families:
            not_compared[family] = "in one of the two atlases only"
    for measure in measures:
        for name, arrays in _of_measure(before, after, measure, mode):
            changes += _changes(before, after, measure, name, arrays, families)
    if "held" in before.roles and "held" in after.roles:
        roles = list(_role_changes(before, after))
    else:
        roles, not_compared["roles"] = [], "not in both atlases"
    order = sorted(changes, key=lambda c: (not c.changed, -abs(c.change)))
    pairs = {key: (before.provenance.get(key), after.provenance.get(key)) for key in _COMPARED}
    return Difference({k: pair for k, pair in pairs.items() if pair[0] != pair[1]}, order, roles, not_compared)


def _of_measure(
    before: Atlas, after: Atlas, measure: str, mode: str | None
) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    """Per mode ("" for a score), the numbers of both atlases, [layer, head, prompt]."""
    if measure in before.scores and measure in after.scores:
        yield "", (before.scores[measure].values, after.scores[measure].values)
        return
    for atlas in (before, after):
        if measure not in atlas.effects:
            known = ", ".join([*atlas.scores, *atlas.effects])
            raise AtlasError(f"{atlas.called}: no measure {measure!r}; there are {known}")
        if mode is not None and mode not in atlas.modes:
            raise AtlasError(f"{atlas.called}: no mode {mode!r}; there are {', '.join(atlas.modes)}")
    modes = [m for m in before.modes if m in after.modes] if mode is None else [mode]
    if not modes:
        raise AtlasError(f"{before.called} and {after.called} have no ablation mode in common")
    for name in modes:
        found = [atlas.effects[measure].sel(mode=name).values for atlas in (before, after)]
        yield name, (found[0], found[1])


def _changes(
    before: Atlas,
    after: Atlas,
    measure: str,
    mode: str,
    arrays: tuple[np.ndarray, np.ndarray],
    families: Sequence[str],
) -> list[Change]:
    known = before.provenance.get("seed")  # of a file that may be anyone's
    seed = known if isinstance(known, int) and known >= 0 else 0
    rows: list[tuple[str, bool, dict[str, np.ndarray]]] = []
    for family in families:
        sides = [[p for p in atlas.prompts if p.family == family] for atlas in (before, after)]
        values = [array[..., [p.index for p in side]] for array, side in zip(arrays, sides, strict=True)]
        if any(np.isnan(side).all() for side in values):
            continue
        paired = list(map(_asked, sides[0])) == list(map(_asked, sides[1]))
        compare = _paired if paired else _unpaired
        rows.append((family, paired, compare(values, [[p.template for p in side] for side in sides], seed, family)))
    if not rows:
        return []
    q = q_values(np.stack([found["p"] for _, _, found in rows]))
    changes = []
    for (family, paired, found), q_of_family in zip(rows, q, strict=True):
        certain = found["apart"] & (q_of_family <= FALSE_DISCOVERIES) if paired else found["apart"]
        for layer, head in np.ndindex(certain.shape):
            at = (layer, head)
            if np.isnan(found["change"][at]):
                continue
            before_, after_, change, low, high = (
                float(found[name][at]) for name in ("before", "after", "change", "low", "high")
            )
            changes.append(
                Change(
                    measure=measure,
                    mode=mode,
                    family=family,
                    layer=layer,
                    head=head,
                    before=before_,
                    after=after_,
                    change=change,
                    low=low,
                    high=high,
                    q=float(q_of_family[at]),
                    paired=paired,
                    changed=bool(certain[at]),
                )
            )
    return changes


def _asked(prompt: Prompt) -> tuple[Any, ...]:
    return tuple(getattr(prompt, name) for name in _MEASURED_ON)


def _paired(
    values: Sequence[np.ndarray], templates: Sequence[list[int]], seed: int, family: str
) -> dict[str, np.ndarray]:
    both = ~(np.isnan(values[0]) | np.isnan(values[1]))
    one, two = (np.where(both, side.astype(np.float64), np.nan) for side in values)
    counts = resample_counts(templates[0], seed=seed, family=family)
    found = bootstrap_mean(two - one, counts)
    return {
        "before": bootstrap_mean(one, counts[:1]).mean,
        "after": bootstrap_mean(two, counts[:1]).mean,
        "change": found.mean,
        "low": found.low,
        "high": found.high,
        "p": sign_flip_p(two - one, templates[0], seed=seed, family=family),
        "apart": (found.low > 0) | (found.high < 0),
    }


def _unpaired(
    values: Sequence[np.ndarray], templates: Sequence[list[int]], seed: int, family: str
) -> dict[str, np.ndarray]:
    one, two = (
        bootstrap_mean(side, resample_counts(clusters, seed=seed, family=family))
        for side, clusters in zip(values, templates, strict=True)
    )
    nothing = np.full(one.mean.shape, np.nan)
    return {
        "before": one.mean,
        "after": two.mean,
        "change": two.mean - one.mean,
        "low": nothing,
        "high": nothing,
        "p": nothing,
        "apart": (one.high < two.low) | (two.high < one.low),
    }


def _role_changes(before: Atlas, after: Atlas) -> Iterator[RoleChange]:
    one, two = before.roles["held"], after.roles["held"]
    for role in one.coords.get("role", ()):
        if role not in two.coords.get("role", ()):
            continue
        held = [array.sel(role=role).values for array in (one, two)]
        apart = _evidence_apart(before.roles, after.roles, str(role), held[0].shape)
        for layer, head in np.argwhere((held[0] + held[1]) == 1):
            gained = bool(held[1][layer, head] == 1)
            yield RoleChange(str(role), int(layer), int(head), gained, bool(apart[layer, head]))


def _evidence_apart(
    before: Mapping[str, NamedArray], after: Mapping[str, NamedArray], role: str, shape: tuple[int, ...]
) -> np.ndarray:
    """[layer, head]: whether a criterion whose answer changed has intervals that do not meet."""
    apart = np.zeros(shape, dtype=bool)
    needed = ("evidence_low", "evidence_high", "evidence_met")
    if not all(name in side for name in needed for side in (before, after)):
        return apart
    for criterion in before["evidence_met"].coords.get("criterion", ()):
        if str(criterion).split("/")[0] != role or criterion not in after["evidence_met"].coords.get("criterion", ()):
            continue
        (low, high, met), (low2, high2, met2) = (
            [side[name].sel(criterion=criterion).values for name in needed] for side in (before, after)
        )
        apart |= (met + met2 == 1) & ((high < low2) | (high2 < low))
    return apart


def in_words(found: Difference, *, rows: int = 40) -> str:
    """A table of what changed, and what was not compared."""
    lines = [f"{key}: {old!r} -> {new!r}" for key, (old, new) in found.provenance.items()]
    for change in found.roles:
        how = "gained" if change.gained else "lost"
        note = "" if change.beyond else " (within the intervals of the evidence)"
        lines.append(f"{HeadId(change.layer, change.head).label} {how} the role {change.role}{note}")
    changed = [change for change in found.changes if change.changed]
    heads = {(change.layer, change.head) for change in changed}
    lines.append(f"{len(changed)} of {len(found.changes)} means changed beyond their intervals, of {len(heads)} heads")
    if changed:
        lines.append(
            f"{'head':8}{'measure':20}{'mode':20}{'family':18}{'before':>10}{'after':>10}{'change':>10}  95 % interval"
        )
    for c in changed[:rows]:
        interval = f"{c.low:.4g} to {c.high:.4g}, q {c.q:.2g}" if c.paired else "intervals of the two do not meet"
        lines.append(
            f"{HeadId(c.layer, c.head).label:8}{c.measure:20}{c.mode:20}{c.family:18}"
            f"{c.before:10.4g}{c.after:10.4g}{c.change:10.4g}  {interval}"
        )
    if len(changed) > rows:
        lines.append(f"... and {len(changed) - rows} more (--json has all)")
    lines += [f"not compared: {name}: {why}" for name, why in found.not_compared.items()]
    return "\n".join(lines)
