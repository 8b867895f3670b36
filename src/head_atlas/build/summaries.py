"""From per-prompt numbers to what the app shows first: means over prompts with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from head_atlas.catalogue import SCORES
from head_atlas.measures.bootstrap import Interval, bootstrap_excess, bootstrap_macro, bootstrap_mean, resample_counts
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt

_HEADS = ("layer", "head")
_PARTS = ("mean", "ci_low", "ci_high", "n")
_OWN_PARTS = ("", "_ci_low", "_ci_high", "_n")
"""Suffixes of arrays whose mean has the bare name."""


def summarise(
    prompts: Sequence[Prompt],
    families: Sequence[str],
    modes: Sequence[str],
    scores: Mapping[str, np.ndarray],
    baselines: Mapping[str, np.ndarray],
    effects: Mapping[str, np.ndarray],
    clean: Mapping[str, np.ndarray],
    *,
    seed: int,
) -> dict[str, NamedArray]:
    """Summarise every score and effect.

    One set of resamples per family serves all its measures, modes and heads (a paired bootstrap).

    Args:
        prompts: in the order of the prompt axis.
        families: in the order of the family axis.
        modes: in the order of the mode axis.
        scores: [layer, head, prompt].
        baselines: [layer, prompt].
        effects: [mode, layer, head, prompt].
        clean: [prompt].
        seed: of the bootstrap.

    Returns:
        The arrays of `/summary`, named as `atlas/README.md` says.
    """
    members = {f: np.array([i for i, p in enumerate(prompts) if p.family == f]) for f in families}
    counts = {
        family: resample_counts([prompts[i].template for i in index], seed=seed, family=family)
        for family, index in members.items()
    }
    summary: dict[str, NamedArray] = {}
    for name, values in scores.items():
        for family in SCORES[name].families:
            if family not in members:
                continue
            index, prefix = members[family], SCORES[name].summary_prefix(family)
            found = bootstrap_mean(values[..., index], counts[family])
            for part, array in zip(_PARTS, _arrays(found), strict=True):
                summary[f"{prefix}_{part}"] = NamedArray(array, _HEADS)
            if name in baselines:
                found = bootstrap_excess(values[..., index], baselines[name][:, index], counts[family])
                summary[f"{prefix}_excess"] = NamedArray(found.mean, _HEADS)
                summary[f"{prefix}_excess_ci_low"] = NamedArray(found.low, _HEADS)
                summary[f"{prefix}_excess_ci_high"] = NamedArray(found.high, _HEADS)
    for name, values in effects.items():
        per_family = [bootstrap_mean(values[..., members[f]], counts[f]) for f in families]
        for part, arrays in zip(_PARTS, zip(*map(_arrays, per_family), strict=True), strict=True):
            stacked = np.stack(arrays, axis=-1)
            summary[f"{name}_{part}"] = NamedArray(
                stacked, ("mode", *_HEADS, "family"), {"mode": list(modes), "family": list(families)}
            )
        macro = bootstrap_macro([values[..., members[f]] for f in families], [counts[f] for f in families])
        for part, array in zip(_OWN_PARTS, _arrays(macro), strict=True):
            summary[f"{name}_macro{part}"] = NamedArray(array, ("mode", *_HEADS), {"mode": list(modes)})
    for name, values in clean.items():
        per_family = [bootstrap_mean(values[members[f]], counts[f]) for f in families]
        for part, arrays in zip(_OWN_PARTS, zip(*map(_arrays, per_family), strict=True), strict=True):
            summary[f"clean_{name}{part}"] = NamedArray(np.stack(arrays), ("family",), {"family": list(families)})
    return summary


def _arrays(interval: Interval) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return interval.mean, interval.low, interval.high, interval.n
