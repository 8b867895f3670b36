"""Units of attributions and exemplars."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from head_atlas.build.measurement import Arrays, Progress, Workplace, reason, select, spread
from head_atlas.catalogue import WITHOUT_EFFECTS
from head_atlas.errors import NotApplicableError
from head_atlas.measures.direct_logit import decompose, induction_copy
from head_atlas.measures.evidence import solved_families
from head_atlas.measures.exemplars import exemplars as find_exemplars
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt

if TYPE_CHECKING:
    from head_atlas.build.plan import Unit

DECOMPOSED = ("heads", "mlps", "attention_bias", "embedding", "final_norm_bias", "unembedding_bias")
HARM = "effects/logprob"
TEXT_FAMILY = "natural"
"""Its exemplars are kept apart from those of the constructed families."""


READ_TOGETHER = 512
"""Positions read in one decomposition: what every layer writes there is in memory at once."""


def has_answer(prompt: Prompt) -> bool:
    """Whether a prompt has a right answer; without a wrong one, it is held against the mean of all logits."""
    return prompt.family not in WITHOUT_EFFECTS


def direct_logit(unit: Unit, at: Workplace, progress: Progress) -> Arrays:  # noqa: ARG001
    """Every part of the logit difference, and what the parts leave over."""
    prompts, chosen = select(unit, at, has_answer)
    n = len(unit.index)
    try:
        blocks = [decompose(at.model, block) for block in _blocks(prompts)]
        arrays = {
            f"direct_logit/{name}": NamedArray(
                np.concatenate([getattr(block, name).values for block in blocks], axis=-1),
                getattr(blocks[0], name).dims,
            )
            for name in (*DECOMPOSED, "logit_difference", "residual")
        }
        if unit.family == "rand_repeat":
            arrays["direct_logit/induction_copy"] = induction_copy(at.model, prompts)
    except NotApplicableError as error:
        return reason("direct_logit", str(error))
    return {
        place: NamedArray(spread(array.values.astype(np.float32), chosen, n), array.dims)
        for place, array in arrays.items()
    }


def _blocks(prompts: list[Prompt]) -> Iterator[list[Prompt]]:
    """Prompts in turn, as many as are read at `READ_TOGETHER` positions; at least one."""
    size = max(1, READ_TOGETHER // max(len(prompt.positions) for prompt in prompts))
    yield from (prompts[start : start + size] for start in range(0, len(prompts), size))


def exemplars(where: str, unit: Unit, at: Workplace, progress: Progress) -> Arrays:
    """Exemplars of every head, on running text ("text") or on the other families ("families")."""
    found = find_exemplars(
        at.model,
        at.prompts(unit),
        effects=_harm(unit, at),
        seed=at.plan.config["seed"],
        windows=at.plan.config["windows"],
        progress=lambda done, total: progress(done / total),
    )
    return {f"exemplars/{where}/{name}": array for name, array in found.arrays().items()}


def _harm(unit: Unit, at: Workplace) -> np.ndarray | None:
    """Effects by which prompts of a unit count as harmed, [layer, head, prompt]; None if there are none.

    Of the log-probability, which every prompt with a right answer has, in the mode that roles are judged by; NaN in
    families whose logit difference the clean model does not solve: nothing can be lost there.
    """
    effects, clean = (at.gathered(place, at.role_mode, unit.index) for place in (HARM, "clean/logit_difference"))
    if effects is None or clean is None:
        return None
    prompts = at.prompts(unit)
    families = [prompt.family for prompt in prompts]
    solved = solved_families(clean, families, [p.template for p in prompts], seed=at.plan.config["seed"])
    unsolved = {families[i] for i in np.flatnonzero(~np.isnan(clean))} - set(solved)
    harm: np.ndarray = effects[0].copy()
    harm[..., [i for i, family in enumerate(families) if family in unsolved]] = np.nan
    return harm
