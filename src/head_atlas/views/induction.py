"""Which heads the page calls induction heads, and by which rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from head_atlas.heads import HeadId
from head_atlas.views.choices import score_families

if TYPE_CHECKING:
    from head_atlas.store import Atlas

THRESHOLD = 0.3
RULE = f"induction excess of at least {THRESHOLD} at the lower end of its 95 % interval"
"""Said on screen wherever the rule is used."""


def induction_heads(atlas: Atlas) -> list[HeadId]:
    """The heads that pass the rule, the highest excess first; none where the atlas has no such score."""
    if not score_families(atlas, "induction"):
        return []
    excess = atlas.summary["induction_excess"].values
    low = atlas.summary["induction_excess_ci_low"].values
    found = [HeadId(int(layer), int(head)) for layer, head in np.argwhere(low >= THRESHOLD)]
    return sorted(found, key=lambda h: -float(excess[h.layer, h.head]))
