"""Axes of the scatter plot: every measure on every family, by one name, "induction@rand_repeat"."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from head_atlas.views.choices import axis_name, families_of, measures_of
from head_atlas.views.head_values import HeadValues
from head_atlas.views.measured import values_of

if TYPE_CHECKING:
    from head_atlas.store import Atlas

LAYER = "layer"
_PREFERRED = {
    "x": ("induction@rand_repeat", "previous_token@rand_flat"),
    "y": ("logit_difference@rand_repeat", "logprob@rand_repeat"),
    "by": ("induction_copy", "direct_logit@rand_repeat"),
}
"""The picture it opens on: what a head looks like, against what removing it does, coloured by what it writes."""


@lru_cache(maxsize=32)
def axes_of(atlas: Atlas) -> tuple[tuple[str, str], ...]:
    """(label, name) of every axis; the layer last."""
    found = []
    for label, measure in measures_of(atlas):
        families = families_of(atlas, measure)
        found += [(f"{label} · {words}", axis_name(measure, family)) for words, family in families]
        if not families:
            found.append((label, axis_name(measure, "")))
    return (*found, ("Layer", LAYER))


def default_axis(atlas: Atlas, which: str) -> str:
    """What the plot opens on: a score, an effect on the same prompts, and what the head writes.

    Args:
        atlas: what can be shown.
        which: "x", "y" or "by".
    """
    names = [name for _, name in axes_of(atlas)]
    for name in _PREFERRED[which]:
        if name in names:
            return name
    return LAYER if which == "by" else names[0]


def axis_values(atlas: Atlas, axis: str, mode: str) -> HeadValues:
    """One value per head.

    Raises:
        KeyError: the atlas has no such axis.
    """
    if axis == LAYER:
        layers = np.repeat(np.arange(atlas.n_layers, dtype=float)[:, None], atlas.n_heads, axis=1)
        return HeadValues(layers, None, None, None, "Layer", "", False, most=float(max(1, atlas.n_layers - 1)))
    measure, _, family = axis.partition("@")
    return values_of(atlas, measure, mode, family)
