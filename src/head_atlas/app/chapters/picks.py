"""How chapters choose heads and prompts: by what the atlas measured, never by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from head_atlas.app.experiments import controls
from head_atlas.errors import AtlasError
from head_atlas.heads import HeadId
from head_atlas.views.induction import RULE, induction_heads
from head_atlas.views.numbers import plain

if TYPE_CHECKING:
    from head_atlas.store import Atlas
    from head_atlas.store.contents import PromptRecord

METRIC, MODE = "logprob", "zero"
LOOKS_BACK = 0.3
"""Previous-token excess from which on the chapters say that a head looks at the token just before."""


def score(atlas: Atlas, name: str) -> np.ndarray:
    """A score's excess over even attention, [layer, head].

    Raises:
        AtlasError: the atlas does not hold it.
    """
    key = f"{name}_excess"
    if key not in atlas.summary or np.isnan(values := atlas.summary[key].values).all():
        raise AtlasError(f"This atlas has no {name.replace('_', '-')} scores, so no head can be picked by them.")
    return np.asarray(values)


def induction_heads_of(atlas: Atlas) -> list[HeadId]:
    """The heads that pass the rule, the highest excess first; at least one.

    Raises:
        AtlasError: no head passes it, or the atlas holds no such scores.
    """
    found = induction_heads(atlas)
    if not found:
        best = strongest(excess := score(atlas, "induction"))
        raise AtlasError(
            f"This model has no induction head: none has an {RULE}. The highest excess is that of {best.label}, "
            f"{plain(float(excess[best.layer, best.head]))} (even attention gives 0)."
        )
    return found


def effects(atlas: Atlas) -> dict[str, np.ndarray]:
    """By family, what removing each head does to the log-probability of the right token, [layer, head], nats.

    Raises:
        AtlasError: the atlas holds no such effects.
    """
    key = f"{METRIC}_mean"
    if key not in atlas.summary or MODE not in atlas.modes:
        raise AtlasError("This atlas holds no effects of zero ablation, so no head can be picked by what it costs.")
    values = np.asarray(atlas.summary[key].values)[atlas.modes.index(MODE)]
    found = {f: values[..., i] for i, f in enumerate(atlas.families) if np.isfinite(values[..., i]).any()}
    if not found:
        raise AtlasError("This atlas holds no effects of zero ablation, so no head can be picked by what it costs.")
    return found


def strongest(values: np.ndarray, *, below: int | None = None) -> HeadId:
    """The head of the largest value; `below` leaves only the layers under it.

    Raises:
        AtlasError: no head is left.
    """
    rows = values[:below]
    if rows.size == 0 or not np.isfinite(rows).any():
        raise AtlasError("No head of this model can be picked for this chapter.")
    flat = int(np.nanargmax(rows))
    return HeadId(flat // rows.shape[1], flat % rows.shape[1])


def control_of(values: np.ndarray, heads: Sequence[HeadId]) -> tuple[HeadId, ...]:
    """As many other heads of the smallest magnitude, of the same layers where these have any left.

    Raises:
        AtlasError: too few heads are left.
    """
    found = controls(values, heads)
    if not found:
        raise AtlasError("Too few heads of this model are left for a control.")
    return tuple(found)


def prompts_of(atlas: Atlas, family: str) -> list[PromptRecord]:
    """Stored prompts of a family that the model answers right at their last token.

    Raises:
        AtlasError: there is none, or the prompts are damaged.
    """
    right = np.asarray(atlas.clean["correct"].values) if "correct" in atlas.clean else None
    found = [
        one
        for one in atlas.prompts
        if one.family == family
        and one.text
        and one.targets
        and one.positions[-1] == len(one) - 1
        and (right is None or right[one.index] == 1)
    ]
    if not found:
        raise AtlasError(f"This atlas holds no prompt of the family “{family}” that its model answers right.")
    return found


def stored_of(atlas: Atlas, family: str) -> list[PromptRecord]:
    """What `prompts_of` gives; empty where there is none."""
    try:
        return prompts_of(atlas, family)
    except AtlasError:
        return []


def labels(heads: Sequence[HeadId]) -> str:
    """Heads by name, in a sentence."""
    return ", ".join(head.label for head in heads)
