"""Doing one unit: prompts in, arrays out. What a unit yields depends on the plan and the model alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from head_atlas.build.plan import Plan, Unit
from head_atlas.catalogue import SCORES
from head_atlas.interventions import Budget, MeanReference, mean_reference
from head_atlas.measures.effects import CLEAN, METRICS, sweep
from head_atlas.measures.patterns import pattern_scores
from head_atlas.models import HeadModel

Progress = Callable[[float], None]


def run_unit(
    unit: Unit, plan: Plan, model: HeadModel, reference: MeanReference | None, progress: Progress
) -> dict[str, np.ndarray]:
    """Measure one unit.

    Args:
        unit: of the plan.
        plan: whose prompts are measured.
        model: the model of the plan.
        reference: for mean mode.
        progress: is told the share of the unit that is done.

    Returns:
        For "reference": `z` [2, layer, head, d_head] and `n_tokens`.
        For "scores": `score.<name>` [layer, head, prompt], `baseline.<name>` [layer, prompt] and `offsets`
        [layer, head, bin, prompt] of the scores that are measured on the unit's family.
        For a mode: `effect.<metric>` [layer, head, prompt] and `clean.<name>` [prompt].
    """

    def share(done: int, total: int) -> None:
        progress(done / total)

    if unit.kind == "reference":
        return _reference(plan, model)
    prompts = plan.prompts[unit.start : unit.stop]
    if unit.kind == "scores":
        names = [name for name, score in SCORES.items() if unit.family in score.families]
        windows = plan.config["windows"]
        found = pattern_scores(model, prompts, names, windows=windows, progress=share)
        arrays = {f"score.{name}": values for name, values in found.values.items()}
        arrays |= {f"baseline.{name}": values for name, values in found.baselines.items()}
        if found.offsets is not None:
            arrays["offsets"] = found.offsets
        return _single(arrays)
    budget = Budget(**plan.config["budget"])
    effects = sweep(model, prompts, unit.kind, reference=reference, progress=share, budget=budget)
    arrays = {f"effect.{name}": np.moveaxis(effects[name].values, 0, -1) for name in METRICS}
    arrays |= {f"clean.{name}": effects.clean[name].values for name in CLEAN}
    return _single(arrays)


def as_reference(arrays: dict[str, np.ndarray], plan: Plan) -> MeanReference:
    """The reference that a "reference" unit found."""
    return MeanReference(arrays["z"], plan.config["reference_source"], int(arrays["n_tokens"][0]))


def _reference(plan: Plan, model: HeadModel) -> dict[str, np.ndarray]:
    found = mean_reference(model, plan.reference_prompts, plan.config["reference_source"])
    # float32, as in the atlas: live ablation must put in place exactly what the builder did
    return {"z": found.z.astype(np.float32), "n_tokens": np.array([found.n_tokens])}


def _single(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: values.astype(np.float32) for name, values in arrays.items()}
