"""Doing one unit: prompts in, arrays out. What a unit yields depends on the plan and the model alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from head_atlas.build.measurement import (
    COUNTS,
    MEAN_Z,
    MEAN_Z_TOKENS,
    TOTALS,
    Arrays,
    Progress,
    Workplace,
    select,
    spread,
)
from head_atlas.catalogue import SCORES, WITHOUT_EFFECTS
from head_atlas.catalogue.effects import CORRECT
from head_atlas.interventions import CORRUPTED, Budget, Mode, Reference, mean_reference
from head_atlas.interventions.replacements import MODES
from head_atlas.measures.effects import CLEAN, METRICS, sweep
from head_atlas.measures.patterns import pattern_scores
from head_atlas.measures.scores import OFFSET_BINS
from head_atlas.measures.summaries import RIGHT
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt
from head_atlas.store.schema import BASELINE_DIMS, EFFECT_DIMS, MEAN_Z_DIMS, OFFSET_DIMS, SCORE_DIMS

if TYPE_CHECKING:
    from head_atlas.build.plan import Unit

SCORED = {"sink_probe": ("sink",)} | {
    family: tuple(name for name, score in SCORES.items() if family in score.families)
    for family in {family for score in SCORES.values() for family in score.families}
}
"""By family, the pattern scores that are measured on it. `sink_probe` is no one text: its summary is by start."""


RESAMPLE_CORRUPTED = "resample_corrupted"
EFFECT_MODES: tuple[str, ...] = (*MODES, RESAMPLE_CORRUPTED)
"""Ablation modes of an atlas: those of the library, with `resample` by other text and by the prompt's corrupted version
apart."""
BY_CORRUPTED = ("pattern_freeze", RESAMPLE_CORRUPTED)
"""Modes that need the corrupted version of a prompt."""


def reference(unit: Unit, at: Workplace, progress: Progress) -> Arrays:  # noqa: ARG001
    """Means of every head over natural text."""
    found = mean_reference(at.model, at.plan.reference_prompts, at.plan.config["reference_source"])
    # float32, as in the atlas: live ablation must put in place exactly what the builder did
    z = NamedArray(found.z.astype(np.float32), MEAN_Z_DIMS)
    return {MEAN_Z: z, MEAN_Z_TOKENS: NamedArray(np.array(found.n_tokens), ())}


def scores(unit: Unit, at: Workplace, progress: Progress) -> Arrays:
    """Pattern scores of the unit's family, and sums of the profiles by distance."""
    names = SCORED[unit.family]
    prompts = at.prompts(unit)
    found = pattern_scores(at.model, prompts, names, windows=at.plan.config["windows"], progress=_share(progress))
    arrays = {f"scores/{name}": NamedArray(values, SCORE_DIMS) for name, values in found.values.items()}
    arrays |= {f"baselines/{name}": NamedArray(values, BASELINE_DIMS) for name, values in found.baselines.items()}
    if found.arg_max_offsets is not None:
        # one offset per head, over all prompts: the merge counts them together
        del arrays["scores/positional"]
        dims = ("layer", "head", "offset", "prompt")
        arrays[f"{COUNTS}/arg_max_offsets"] = NamedArray(found.arg_max_offsets, dims)
    if found.offsets is not None:
        profile, bins = found.offsets.astype(np.float64), {"bin": OFFSET_BINS}
        arrays[f"{TOTALS}/offsets"] = NamedArray(np.nansum(profile, -1), OFFSET_DIMS, bins)
        arrays[f"{TOTALS}/offsets_n"] = NamedArray((~np.isnan(profile)).sum(-1), OFFSET_DIMS, bins)
    return arrays


def effects(mode: str, unit: Unit, at: Workplace, progress: Progress) -> Arrays:
    """Effects of removing every head alone, by all metrics, and the clean model's performance."""
    prompts, chosen = select(unit, at, effect_prompts(mode))
    how, stand_in = _replacement(mode, at)
    budget = Budget(**at.plan.config["budget"])
    found = sweep(at.model, prompts, how, reference=stand_in, progress=_share(progress), budget=budget, correct=True)
    n, arrays = len(unit.index), {}
    for name in METRICS:
        for place, measured in ((f"effects/{name}", name), (f"{RIGHT}/{name}", f"{name}{CORRECT}")):
            values = spread(np.moveaxis(found[measured].values, 0, -1), chosen, n)
            arrays[place] = NamedArray(values[None], EFFECT_DIMS, {"mode": [mode]})
    for name in CLEAN:
        arrays[f"clean/{name}"] = NamedArray(spread(found.clean[name].values, chosen, n), ("prompt",))
    return arrays


def effect_prompts(mode: str) -> Callable[[Prompt], bool]:
    """Which prompts effects of a mode are measured on."""
    aligned = mode in BY_CORRUPTED
    return lambda prompt: prompt.family not in WITHOUT_EFFECTS and (bool(prompt.corrupted) or not aligned)


def _replacement(mode: str, at: Workplace) -> tuple[Mode, Reference | None]:
    """The library's mode, and what stands for the heads in it."""
    if mode == "zero":
        return "zero", None
    if mode == "mean":
        return "mean", at.mean_reference
    if mode == "resample":
        return "resample", at.resample_reference
    return ("resample" if mode == RESAMPLE_CORRUPTED else "pattern_freeze"), CORRUPTED


def _share(progress: Progress) -> Callable[[int, int], None]:
    return lambda done, total: progress(done / total)
