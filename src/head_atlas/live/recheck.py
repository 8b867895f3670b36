"""Live against atlas: some stored prompts measured once more, and how far the numbers lie apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from head_atlas.errors import AtlasError
from head_atlas.heads import HeadId
from head_atlas.interventions import Mode
from head_atlas.measures.effects import iter_sweep
from head_atlas.models import HeadModel
from head_atlas.store import Atlas
from head_atlas.store.schema import MANTISSA_BITS

METRIC = "logprob"
MODE: Mode = "zero"
NATS = 1e-3
"""Largest difference in nats that arithmetic may make: other kernels, another size of batch, another machine."""

_NOTHING = "there is nothing to measure again"


@dataclass(frozen=True)
class Recheck:
    """What was measured again, and the number that came out worst.

    Attributes:
        prompts: places on the atlas' `prompt` axis.
        n: effects that were compared: heads times prompts.
        worst: |live - stored| in nats, of the effect where it is the largest share of what is allowed.
        allowed: for that effect: `NATS`, and half a unit in the last place that the file keeps.
        live: that effect as measured now.
        stored: as the atlas has it.
        head: whose removal it is of.
        prompt: on which of the prompts.
        outside: effects that lie further apart than is allowed for them.
        missing: effects that are a number only here or only there.
    """

    prompts: tuple[int, ...]
    n: int
    worst: float
    allowed: float
    live: float
    stored: float
    head: HeadId
    prompt: int
    outside: int
    missing: int

    @property
    def passed(self) -> bool:
        """Whether all effects are those of the atlas."""
        return self.outside == 0 and self.missing == 0


def recheck(
    model: HeadModel, atlas: Atlas, n_prompts: int = 6, progress: Callable[[int, int], None] | None = None
) -> Recheck:
    """Remove every head alone, by zero, on some prompts of the atlas, and compare with what it holds.

    The prompts lie evenly along the `prompt` axis, among those with stored effects. What counts is the change of the
    target's log-probability. The file rounds single effects to `MANTISSA_BITS` mantissa bits, so that

        |live - stored| <= NATS + |stored| 2^-(MANTISSA_BITS + 1)

    Args:
        model: whose atlas it is.
        atlas: open.
        n_prompts: at most.
        progress: is told pairs of prompt and head done, and all pairs.

    Raises:
        AtlasError: it holds no such effects, or is of a model of another shape.
    """
    if (model.n_layers, model.n_heads) != (atlas.n_layers, atlas.n_heads):
        raise AtlasError(
            f"the atlas has {atlas.n_layers} layers of {atlas.n_heads} heads, the model {model.n_layers} of "
            f"{model.n_heads}: nothing can be compared"
        )
    if METRIC not in atlas.effects or MODE not in atlas.modes:
        raise AtlasError(f"this atlas holds no effects of zero ablation on single prompts: {_NOTHING}")
    whole = atlas.effects[METRIC].values[atlas.modes.index(MODE)]
    usable = [i for i, one in enumerate(atlas.prompts) if one.targets and np.isfinite(whole[..., i]).any()]
    usable = [i for i in usable if len(atlas.prompts[i]) <= model.max_length]
    if not usable:
        raise AtlasError(f"no prompt of this atlas has effects of zero ablation: {_NOTHING}")
    chosen = [usable[i] for i in np.unique(np.linspace(0, len(usable) - 1, n_prompts).round().astype(int))]
    live = np.full((atlas.n_layers, atlas.n_heads, len(chosen)), np.nan)
    for part in iter_sweep(model, [atlas.prompts[i] for i in chosen], MODE, metrics=[METRIC]):
        live[part.layer][np.ix_(part.heads, part.prompts)] = part.effects[METRIC].T
        if progress is not None:
            progress(part.done, part.total)
    stored = whole[..., chosen].astype(float)
    apart, allowed = np.abs(live - stored), NATS + np.abs(stored) * 2.0 ** -(MANTISSA_BITS + 1)
    both = np.isfinite(apart)
    if not both.any():
        raise AtlasError("none of these effects is a number both here and in the atlas")
    layer, head, at = np.unravel_index(np.nanargmax(np.where(both, apart / allowed, np.nan)), apart.shape)
    here = (layer, head, at)
    return Recheck(
        tuple(chosen),
        int(both.sum()),
        float(apart[here]),
        float(allowed[here]),
        float(live[here]),
        float(stored[here]),
        HeadId(int(layer), int(head)),
        chosen[int(at)],
        int((apart[both] > allowed[both]).sum()),
        int((np.isfinite(live) != np.isfinite(stored)).sum()),
    )
