"""Building the atlas of a model: a plan of units, workers that do them, one file in the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from head_atlas.build.parts import Parts, parts_folder
from head_atlas.build.plan import Plan
from head_atlas.build.planning import QUICK, BuildOptions, plan_atlas, provenance_of
from head_atlas.build.runner import begin, is_finished, run_plan, run_units
from head_atlas.build.shares import share_of, waits
from head_atlas.errors import BuildError
from head_atlas.models import HeadModel

__all__ = [
    "QUICK",
    "BuildOptions",
    "Plan",
    "build_atlas",
    "measure_share",
    "merge_shares",
    "parts_folder",
    "plan_atlas",
]


def build_atlas(
    model: HeadModel,
    out: str | Path,
    options: BuildOptions | None = None,
    say: Callable[[str], None] = print,
    *,
    keep_shards: bool = True,
) -> Path:
    """Build the atlas of a model, or go on with a build that was stopped; one that is finished is left as it is.

    With other families, modes or measures than before, what was measured is used again where its shards were kept:
    the atlas is then equal, byte for byte, to one that was built with all of them at once.

    Args:
        model: a loaded model.
        out: the atlas file; shards lie in `<out>.parts`.
        options: what to build.
        say: is told, in words, what is going on.
        keep_shards: leave them there afterwards, so that more can be added without measuring the rest again.

    Raises:
        PromptError: an unknown family.
        BuildError: nothing can be built; the place is taken by something else; a shard was damaged; or there is no
            space.
        OSError: no permission.
    """
    plan, path = plan_atlas(model, options or BuildOptions()), Path(out)
    parts = Parts(parts_folder(path), plan)
    run_plan(plan, model, path, provenance_of(plan, model), say, parts=parts)
    _put_away(parts, keep_shards, say)
    return path


def measure_share(
    model: HeadModel,
    out: str | Path,
    options: BuildOptions | None = None,
    say: Callable[[str], None] = print,
    *,
    index: int,
    of: int,
) -> int:
    """Do the units whose number leaves a remainder: one of several machines that share the folder of `out`.

    Args:
        model: a loaded model.
        out: the atlas file that `merge_shares` will write.
        options: the same on all machines.
        say: is told, in words, what is going on.
        index: of this machine, from 0.
        of: machines.

    Returns:
        How many units of this share wait for units of others; `merge_shares` does them.

    Raises:
        PromptError: an unknown family.
        BuildError: as `build_atlas`.
    """
    plan, path = plan_atlas(model, options or BuildOptions()), Path(out)
    parts = Parts(parts_folder(path), plan)
    if is_finished(plan, path, parts):
        say(f"{path.name} is already the atlas of this configuration")
        return 0
    begin(parts, say)
    ready, waiting = share_of(plan, parts, index, of)
    run_units(ready, model, parts)
    say(f"share {index} of {of} is done" + (f"; {len(waiting)} units of it wait for others" if waiting else ""))
    return len(waiting)


def merge_shares(
    model: HeadModel,
    out: str | Path,
    options: BuildOptions | None = None,
    say: Callable[[str], None] = print,
    *,
    keep_shards: bool = True,
) -> Path:
    """Put the atlas together from shards that were measured in shares, and do the units that waited for others.

    Raises:
        BuildError: units are missing that did not have to wait.
    """
    plan, path = plan_atlas(model, options or BuildOptions()), Path(out)
    parts = Parts(parts_folder(path), plan)
    if not is_finished(plan, path, parts):
        missing = [unit for unit in parts.missing() if not waits(unit)]
        if missing:
            raise BuildError(
                f"{len(missing)} of {len(plan.units)} units have no shard in {parts.folder}, the first of them "
                f"{missing[0].name}: run the shares that did not finish again"
            )
    run_plan(plan, model, path, provenance_of(plan, model), say, parts=parts)
    _put_away(parts, keep_shards, say)
    return path


def _put_away(parts: Parts, keep: bool, say: Callable[[str], None]) -> None:
    if not keep:
        parts.discard()
    elif parts.begun:
        say(f"{parts.size() / 1e6:.1f} MB of shards stay in {parts.folder}: more can be added to the atlas with them")
