"""Units of attributions and exemplars."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from head_atlas.build.measurement import Arrays, Progress, Workplace, reason, select, spread
from head_atlas.errors import NotApplicableError
from head_atlas.measures.direct_logit import decompose, induction_copy
from head_atlas.measures.exemplars import exemplars as find_exemplars
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt

if TYPE_CHECKING:
    from head_atlas.build.plan import Unit

DECOMPOSED = ("heads", "mlps", "attention_bias", "embedding", "final_norm_bias", "unembedding_bias")
TEXT_FAMILY = "natural"
"""Its exemplars are kept apart from those of the constructed families."""


def has_contrast(prompt: Prompt) -> bool:
    """Whether a prompt has a logit difference."""
    return bool(prompt.contrasts)


def direct_logit(unit: Unit, at: Workplace, progress: Progress) -> Arrays:  # noqa: ARG001
    """Every part of the logit difference, and what the parts leave over."""
    prompts, chosen = select(unit, at, has_contrast)
    n = len(unit.index)
    try:
        found = decompose(at.model, prompts)
        arrays = {
            f"direct_logit/{name}": getattr(found, name) for name in (*DECOMPOSED, "logit_difference", "residual")
        }
        if unit.family == "rand_repeat":
            arrays["direct_logit/induction_copy"] = induction_copy(at.model, prompts)
    except NotApplicableError as error:
        return reason("direct_logit", str(error))
    return {
        place: NamedArray(spread(array.values.astype(np.float32), chosen, n), array.dims)
        for place, array in arrays.items()
    }


def exemplars(where: str, unit: Unit, at: Workplace, progress: Progress) -> Arrays:
    """Exemplars of every head, on running text ("text") or on the other families ("families")."""
    mode = next(iter(at.plan.modes), "")
    effects = at.gathered("effects/logprob", mode, unit.index)
    found = find_exemplars(
        at.model,
        at.prompts(unit),
        effects=None if effects is None else effects[0],
        seed=at.plan.config["seed"],
        windows=at.plan.config["windows"],
        progress=lambda done, total: progress(done / total),
    )
    return {f"exemplars/{where}/{name}": array for name, array in found.arrays().items()}
