"""What a head does as one row of numbers, so that heads of two models can be compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from head_atlas.catalogue import NAMED_PARTS, SCORES
from head_atlas.store import Atlas

KINDS = ("score", "attribution", "effect")
"""What a head looks at, what it writes, what happens without it: each has the same weight in a profile."""
_EFFECTS = ("logit_difference", "logprob")
"""Of the first that both atlases define on a family: the same behaviour is not counted twice."""


@dataclass(frozen=True)
class Entry:
    """One number of a profile.

    Attributes:
        kind: of `KINDS`.
        measure: name in the catalogue.
        family: prompts that it is measured on.
        mode: of the ablation; "" for what is no effect.
    """

    kind: str
    measure: str
    family: str
    mode: str = ""


@dataclass(frozen=True)
class Profiles:
    """The behaviour of every head of two models, on the same entries.

    Attributes:
        entries: what the columns are.
        first: [head, entry] of the first model, heads layer by layer: each entry minus its mean over the heads of this
            model, divided by their standard deviation. NaN where it is not measured.
        second: the same of the second model, by the mean and deviation of its own heads.
        weights: [entry], so that each kind counts alike: 1 / (entries of its kind).
        left_out: by entry in words, why it is in neither.
    """

    entries: Sequence[Entry]
    first: np.ndarray
    second: np.ndarray
    weights: np.ndarray
    left_out: Mapping[str, str]


def profiles(first: Atlas, second: Atlas) -> Profiles:
    """Read the profiles of all heads from what both atlases hold.

    Scores are the excess over attending uniformly where it is defined, without their variants; attributions are
    direct effects on the logit difference; effects are the mean change of the logit difference, or of the log
    probability where a family has no wrong answer, of every mode that both have.

    Args:
        first: one atlas.
        second: another, of a model of any size.
    """
    measured = [dict(_measured(atlas)) for atlas in (first, second)]
    left_out: dict[str, str] = {}
    entries: list[Entry] = []
    columns: list[tuple[np.ndarray, np.ndarray]] = []
    doubled: set[tuple[str, str]] = set()
    for entry in dict.fromkeys([*measured[0], *measured[1]]):
        if entry.kind == "effect" and (entry.mode, entry.family) in doubled:
            continue
        if not all(entry in found for found in measured):
            left_out[words(entry)] = "measured in one of the two only"
            continue
        one, two = (_standard(found[entry]) for found in measured)
        if one is None or two is None:
            left_out[words(entry)] = "the same for every head of one of the two"
            continue
        if entry.kind == "effect":
            doubled.add((entry.mode, entry.family))
        entries.append(entry)
        columns.append((one, two))
    counts = {kind: sum(entry.kind == kind for entry in entries) for kind in KINDS}
    sides = [
        np.stack([pair[side] for pair in columns], axis=1) if columns else np.zeros((atlas.n_layers * atlas.n_heads, 0))
        for side, atlas in enumerate((first, second))
    ]
    weights = np.array([1 / counts[entry.kind] for entry in entries])
    return Profiles(entries, sides[0], sides[1], weights, left_out)


def words(entry: Entry) -> str:
    """An entry in words: "logit_difference on ioi, mean ablation"."""
    return f"{entry.measure} on {entry.family}{f', {entry.mode} ablation' if entry.mode else ''}"


def _measured(atlas: Atlas) -> Iterator[tuple[Entry, np.ndarray]]:
    """Every entry that an atlas holds, [layer, head]; the preferred effect of a family before the other one."""
    for measure in (SCORES | NAMED_PARTS).values():
        if measure.variant_of:
            continue
        for family in measure.families:
            prefix = measure.summary_prefix(family)
            place = f"{prefix}_excess" if measure.has_excess else f"{prefix}_mean"
            if place in atlas.summary:
                yield Entry("score", measure.name, family), atlas.summary[place].values
    if "direct_logit_mean" in atlas.summary:
        array = atlas.summary["direct_logit_mean"]
        for family in array.coords.get("family", ()):
            if np.isfinite(values := array.sel(family=family).values).any():
                yield Entry("attribution", "direct_logit", str(family)), values
    for name in _EFFECTS:
        if f"{name}_mean" not in atlas.summary:
            continue
        means = atlas.summary[f"{name}_mean"]
        for mode in atlas.modes:
            for family in atlas.families:
                if np.isfinite(values := means.sel(mode=mode, family=family).values).any():
                    yield Entry("effect", name, family, mode), values


def _standard(values: np.ndarray) -> np.ndarray | None:
    """[head] deviations from the mean over the heads of a model, in standard deviations; None without a spread."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    there = np.isfinite(flat)
    if there.sum() < 2:
        return None
    spread = flat[there].std()
    if not spread > 1e-9 * np.abs(flat[there]).max():
        return None
    return np.where(there, (flat - flat[there].mean()) / spread, np.nan)
