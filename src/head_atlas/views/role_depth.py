"""Where in a model the heads of each role sit: counts by relative depth, comparable between models of any size."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from head_atlas.catalogue.roles import ROLES, STATES
from head_atlas.heads import HeadId
from head_atlas.views.blocks import Block, matrix
from head_atlas.views.choices import titled
from head_atlas.views.head_roles import role_label
from head_atlas.views.scales import Scale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from head_atlas.store import Atlas

MOST_PARTS = 6
"""Parts of the depth at most."""
_NAMED = 12
"""Heads that a cell names at most."""
_SCALE = Scale(0.0, 1.0, False, "share of the heads at that depth", below=False)
"""The same for every model, so that equal colours are equal shares."""


def roles_held(atlas: Atlas) -> dict[str, np.ndarray]:
    """By role or state, jobs first, [layer, head]: 1 held, 0 not, NaN not judged; only those that some head holds."""
    found = {}
    for group, axis, known in (("held", "role", ROLES), ("states", "state", STATES)):
        if group in atlas.roles:
            array = atlas.roles[group]
            for i, name in enumerate(array.coords.get(axis, ())):
                values = np.asarray(array.values[i], dtype=float)
                if name in known and (values == 1).any():
                    found[str(name)] = values
    return found


def parts_of_depth(*atlases: Atlas) -> int:
    """Into how many parts the depth is cut, so that each holds a layer of every model."""
    return min(MOST_PARTS, *(atlas.n_layers for atlas in atlases))


def role_depth_matrix(atlas: Atlas, title: str, names: Sequence[str], n_parts: int) -> Block:
    """How many heads hold each role, by relative depth: (layer + 0.5) / layers.

    Args:
        atlas: whose heads.
        title: above the picture.
        names: roles and states, one row each.
        n_parts: parts of equal depth, one column each; one more column counts all heads.
    """
    held = roles_held(atlas)
    part = np.minimum(((np.arange(atlas.n_layers) + 0.5) / atlas.n_layers * n_parts).astype(int), n_parts - 1)
    share = np.full((len(names), n_parts + 1), np.nan)
    texts, short = [], []
    for row, name in enumerate(names):
        values = held.get(name, _unheld(atlas, name))
        said, numbers = [], []
        for column in range(n_parts + 1):
            there = np.ones(atlas.n_layers, dtype=bool) if column == n_parts else part == column
            text, number, share[row, column] = _cell(values, there)
            said.append(text)
            numbers.append(number)
        texts.append(said)
        short.append(numbers)
    edges = [round(100 * i / n_parts) for i in range(n_parts + 1)]
    return matrix(
        share,
        title=title,
        rows=[titled(role_label(name)) for name in names],
        columns=[*(f"{low}–{high} %" for low, high in pairwise(edges)), "all"],
        unit=_SCALE.unit,
        scale=_SCALE,
        texts=texts,
        short=short,
        axes=("role", "relative depth; a number counts heads"),
    )


def _unheld(atlas: Atlas, name: str) -> np.ndarray:
    """[layer, head] of a role that no head holds: 0 where it was judged."""
    for group, axis in (("held", "role"), ("states", "state")):
        if group in atlas.roles and name in (labels := list(atlas.roles[group].coords.get(axis, ()))):
            return np.asarray(atlas.roles[group].values[labels.index(name)], dtype=float)
    return np.full((atlas.n_layers, atlas.n_heads), np.nan)


def _cell(values: np.ndarray, there: np.ndarray) -> tuple[str, str, float]:
    """What pointing says, what stands there, and the share."""
    some = values[there]
    judged = int(np.isfinite(some).sum())
    if not judged:
        return "not judged here", "", float("nan")
    heads = [HeadId(int(la), int(h)).label for la, h in np.argwhere((values == 1) & there[:, None])]
    listed = ", ".join(heads[:_NAMED]) + (f" and {len(heads) - _NAMED} more" if len(heads) > _NAMED else "")
    of = f"{len(heads)} of {judged} heads"
    missing = some.size - judged
    tail = f"; {missing} could not be judged" if missing else ""
    return f"{of}{f': {listed}' if heads else ''}{tail}", str(len(heads)) if heads else "·", len(heads) / judged
