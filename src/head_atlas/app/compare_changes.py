"""What changed between two models of one shape, head by head: effects with their paired intervals, and roles."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from head_atlas.catalogue import EFFECTS, mode_label
from head_atlas.heads import HeadId
from head_atlas.views import blocks
from head_atlas.views.choices import label_of, titled
from head_atlas.views.head_roles import role_label
from head_atlas.views.head_values import q_text
from head_atlas.views.numbers import finite, interval, signed
from head_atlas.views.scales import digits_for, digits_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from head_atlas.exchange import Difference
    from head_atlas.exchange.difference import Change

_MOST_ROWS = 20
_MOST_ROLES = 40
_MOST_SAVED = 5000
"""Rows that a saved file holds: they are sent with the page, and many thousands would hold it up."""


def changed_heads(found: Difference) -> int:
    """Heads with at least one mean that changed."""
    return len({(c.layer, c.head) for c in found.changes if c.changed})


def heads_of_other_role(found: Difference) -> int:
    """Heads that gained or lost a role."""
    return len({(c.layer, c.head) for c in found.roles})


def commonest_change(found: Difference) -> str:
    """The role that most heads gained, or lost, such as "induction head (gained by 6)"; "" where no two agree."""
    counted = Counter((c.role, c.gained) for c in found.roles)
    if not counted:
        return ""
    (role, gained), n = counted.most_common(1)[0]
    return f"{role_label(role)} ({'gained' if gained else 'lost'} by {n})" if n > 1 else ""


def changes_figure(
    found: Difference, names: tuple[str, str], shape: tuple[int, int], *, effect: str, mode: str
) -> dict:
    """What changed from the first model to the second, as a figure.

    Args:
        found: of the two atlases.
        names: of the models.
        shape: layers, and heads per layer.
        effect: that was compared.
        mode: of ablation.
    """
    entry = EFFECTS[effect]
    first, second = names
    changed = [c for c in found.changes if c.changed]
    unpaired = sum(not c.paired for c in found.changes)
    how = (
        f"Change = {second} − {first}, of the mean {entry.label} effect (ablated − clean, {entry.unit}), "
        f"{mode_label(mode)} ablation, head by head and family by family. With the same prompts in both: "
        "paired cluster bootstrap, 95 % interval; sign-flip test, q over all heads and families; changed if the "
        "interval leaves 0 out and q ≤ 0.05."
    )
    if unpaired:
        how += f" {unpaired} means are of other prompts: changed if their two intervals do not meet."
    left_out = "; ".join(f"{label_of(name)}: {why}" for name, why in found.not_compared.items())
    n_heads = shape[0] * shape[1]
    gained = sum(c.gained for c in found.roles)
    judged = "roles" not in found.not_compared
    return blocks.figure(
        blocks.text(
            "Heads are compared by their place. That means something for one model before and after training; in two "
            "models of one shape that were trained apart, L2H1 of one is not L2H1 of the other."
        ),
        blocks.facts(
            [
                ("means changed", f"{len(changed)} of {len(found.changes)}", "a mean of one head on one family"),
                ("heads with such a change", f"{changed_heads(found)} of {n_heads}", "on one family at least"),
                ("roles gained", str(gained) if judged else "not judged in both", f"held in {second} only"),
                (
                    "roles lost",
                    str(len(found.roles) - gained) if judged else "not judged in both",
                    f"held in {first} only",
                ),
            ]
        ),
        blocks.text(how),
        _map(found.changes, shape, f"Mean change of the {entry.label} effect, {mode_label(mode)} ablation", entry.unit),
        blocks.side_by_side(
            _roles(found),
            _largest(changed, names) if changed else blocks.text("No mean changed beyond its interval.", "headline"),
        ),
        blocks.text(f"Not compared: {left_out}.") if left_out else None,
    )


def _map(changes: Sequence[Change], shape: tuple[int, int], title: str, unit: str) -> blocks.Block:
    """[layer, head] the mean change over families; pointing says how many changed, and the largest."""
    of_head: dict[tuple[int, int], list[Change]] = {}
    for change in changes:
        of_head.setdefault((change.layer, change.head), []).append(change)
    values = np.full(shape, np.nan)
    texts = [["not measured in both"] * shape[1] for _ in range(shape[0])]
    for (layer, head), some in of_head.items():
        values[layer, head] = mean = float(np.mean([c.change for c in some]))
        beyond = [c for c in some if c.changed]
        text = f"{signed(mean, digits_for(abs(mean)))} {unit}, mean over {len(some)} families; {len(beyond)} changed"
        if beyond:
            largest = max(beyond, key=lambda c: abs(c.change))
            text += f", most on {label_of(largest.family)}: {_change(largest)}"
        texts[layer][head] = text
    return blocks.matrix(
        values,
        title=title,
        rows=[f"L{layer}" for layer in range(shape[0])],
        columns=[f"H{head}" for head in range(shape[1])],
        unit=unit,
        numbers=shape[1] <= 12,
        texts=texts,
        axes=("layer", "head"),
    )


def _change(c: Change) -> str:
    digits = digits_of(c.change, c.low, c.high)
    ends = interval(c.low, c.high, digits, sign=True)
    test = q_text(c.q) if np.isfinite(c.q) else "the two intervals do not meet"
    return ", ".join(part for part in (f"{signed(c.change, digits)} {ends}".strip(), test) if part)


def _roles(found: Difference) -> blocks.Block:
    if "roles" in found.not_compared:
        return blocks.text(f"Roles: {found.not_compared['roles']}.")
    if not found.roles:
        return blocks.text("No head gained or lost a role.")
    ordered = sorted(found.roles, key=lambda c: (not c.beyond, c.layer, c.head))
    rows = [
        [
            HeadId(c.layer, c.head).label,
            titled(role_label(c.role)),
            "gained" if c.gained else "lost",
            "yes" if c.beyond else "no: past a threshold only",
        ]
        for c in ordered[:_MOST_ROLES]
    ]
    saved = [
        [str(HeadId(c.layer, c.head)), c.role, "gained" if c.gained else "lost", c.beyond]
        for c in ordered[:_MOST_SAVED]
    ]
    return blocks.table(
        "Roles gained and lost",
        ["head", "role", "change", "intervals of its evidence apart"],
        rows,
        saved=(("head", "role", "change", "intervals_apart"), saved),
        note=_shown(len(rows), len(ordered)),
    )


def _largest(changed: Sequence[Change], names: tuple[str, str]) -> blocks.Block:
    rows = []
    for c in changed[:_MOST_ROWS]:
        digits = digits_of(c.change, c.before, c.after)
        rows.append(
            [
                HeadId(c.layer, c.head).label,
                label_of(c.family),
                signed(c.before, digits),
                signed(c.after, digits),
                _change(c),
            ]
        )
    numbers = [
        [
            str(HeadId(c.layer, c.head)),
            c.family,
            *(finite(x) for x in (c.before, c.after, c.change, c.low, c.high, c.q)),
        ]
        for c in changed[:_MOST_SAVED]
    ]
    return blocks.table(
        "Largest changes",
        ["head", "family", names[0], names[1], "change, 95 % interval, q"],
        rows,
        saved=(("head", "family", *names, "change", "ci_low", "ci_high", "q"), numbers),
        note=_shown(len(rows), len(changed)),
    )


def _shown(shown: int, n: int) -> str:
    """How many rows stand here and how many "Save" gives; "" where these are all."""
    if shown == n:
        return ""
    if n <= _MOST_SAVED:
        return f"{shown} of {n}; “Save” gives all {n}."
    return f"{shown} of {n:,}; “Save” gives the first {_MOST_SAVED:,}, scripts/atlas.py diff --json all."
