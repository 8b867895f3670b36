"""Which units a machine does that measures a share of a build."""

from __future__ import annotations

from head_atlas.build.measurements import REFERENCE
from head_atlas.build.parts import Parts
from head_atlas.build.plan import Plan, Unit


def waits(unit: Unit) -> bool:
    """Whether a unit can only be done when units of other machines are.

    The reference of mean ablation does not count: it takes seconds, so every machine that needs it makes it, and all
    make the same.
    """
    return any(not name.startswith(f"{REFERENCE.kind}-") for name in unit.needs)


def share_of(plan: Plan, parts: Parts, index: int, of: int) -> tuple[list[Unit], list[Unit]]:
    """The missing units of a share: those that can be done now, in order, and those that wait.

    Args:
        plan: of the build.
        parts: its shards.
        index: of the share, from 0.
        of: shares.
    """
    missing = {unit.name: unit for unit in parts.missing()}
    mine = [unit for unit in plan.units[index::of] if unit.name in missing]
    waiting = [unit for unit in mine if waits(unit) and any(name in missing for name in unit.needs)]
    ready = [unit for unit in mine if unit not in waiting]
    needed = {name for unit in ready for name in unit.needs if name in missing} - {unit.name for unit in ready}
    return [missing[name] for name in sorted(needed)] + ready, waiting
