"""Running a plan: every missing unit, each kept as a shard, then the atlas in one stroke."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from head_atlas.build.measurement import Progress, Workplace
from head_atlas.build.measurements import run_of
from head_atlas.build.merge import merge
from head_atlas.build.parts import Parts
from head_atlas.build.plan import Plan, Unit
from head_atlas.build.progress import ProgressLine
from head_atlas.build.role_evidence import role_mode
from head_atlas.errors import AtlasError, BuildError
from head_atlas.models import HeadModel
from head_atlas.named_array import NamedArray
from head_atlas.store import open_atlas, write_atlas

Say = Callable[[str], None]


def is_finished(plan: Plan, out: Path, parts: Parts) -> bool:
    """Whether the atlas of a plan is there already.

    Raises:
        BuildError: there is something else in its place, which is not the atlas of these parts either.
    """
    if not out.exists():
        return False
    try:
        with open_atlas(out) as atlas:
            if atlas.provenance.get("config_sha256") == plan.config_sha256:
                return True
            of_parts = parts.begun and atlas.provenance.get("model_fingerprint") == plan.config["model_fingerprint"]
    except (AtlasError, OSError) as error:
        raise BuildError(
            f"{out} is there, and cannot be read as an atlas: {error}; delete it or give another --out"
        ) from error
    if not of_parts:
        raise BuildError(
            f"{out} is the atlas of another configuration, and {parts.folder.name} with its shards, to which families "
            "and measures could be added, is not there; delete it to measure everything again, or give another --out"
        )
    return False


def run_plan(plan: Plan, model: HeadModel, out: Path, provenance: Mapping[str, Any], say: Say, *, parts: Parts) -> None:
    """Do what is missing, one unit after the other, and write the atlas.

    Stopped at any moment, even by kill -9, it loses the unit it was in; called again, it goes on. Where the
    atlas of this very configuration is there already, nothing is measured.

    Raises:
        BuildError: the place of the atlas or of its shards is taken by those of another model or other texts, a
            shard was damaged between being written and being merged, or there is no space.
        OSError: no permission.
    """
    if is_finished(plan, out, parts):
        say(f"{out.name} is already the atlas of this configuration; delete it to write it again")
        return
    begin(parts, say)
    parts.remove_orphans()
    run_units(parts.missing(), model, parts)
    finish(plan, model, out, provenance, say, parts=parts)


def begin(parts: Parts, say: Say) -> None:
    """Make or check the folder of the shards, and say what is there.

    Raises:
        BuildError: it belongs to another build.
    """
    parts.begin()
    for name in parts.damaged():
        say(f"shard {name} is damaged; its unit is measured again")
    n_units = len(parts.plan.units)
    n_done = n_units - len(parts.missing())
    if n_done:
        say(f"going on: {n_done} of {n_units} units are done")


def finish(plan: Plan, model: HeadModel, out: Path, provenance: Mapping[str, Any], say: Say, *, parts: Parts) -> None:
    """Put the atlas together from the shards of all units.

    Raises:
        BuildError: a shard is missing or damaged, or there is no space.
    """
    say("all units are done; writing the atlas")
    for path in out.parent.glob(f".{glob.escape(out.name)}.*.tmp"):
        path.unlink(missing_ok=True)  # of a run that was killed here
    contents = merge(plan, parts.folder, model, provenance)
    try:
        write_atlas(out, contents)
    except (OSError, RuntimeError) as error:
        raise BuildError(
            f"{out} cannot be written: {error}; all shards are kept, and the same command goes on from there"
        ) from error


def run_units(units: Iterable[Unit], model: HeadModel, parts: Parts) -> None:
    """Do some units, in order, with a line that says how far this is.

    Raises:
        BuildError: what a unit needs is missing or damaged, or there is no space.
    """
    missing = list(units)
    total = sum(unit.work for unit in parts.plan.units)
    line = ProgressLine(total, total - sum(unit.work for unit in missing))
    at = Workplace(parts.plan, model, parts.stored, role_mode(parts.plan.modes))
    try:
        for unit in missing:

            def progress(share: float, unit: Unit = unit) -> None:
                line.update(f"{unit.kind} {unit.family}", share, unit.work)

            progress(0.0)
            run_and_store(unit, at, parts, progress)
            line.finished(unit.work)
    finally:
        line.close()


def run_and_store(unit: Unit, at: Workplace, parts: Parts, progress: Progress) -> None:
    """Do one unit and keep its shard.

    Raises:
        BuildError: what it needs is missing or damaged, or there is no space.
    """
    # the number of threads decides how sums are split, and so their last bits
    threads = torch.get_num_threads()
    torch.set_num_threads(parts.plan.config["threads"])
    try:
        arrays = run_unit(unit, at, progress)
    finally:
        torch.set_num_threads(threads)
    parts.write(unit, arrays)


def run_unit(unit: Unit, at: Workplace, progress: Progress) -> dict[str, NamedArray]:
    """Do one unit."""
    return run_of(unit.kind)(unit, at, progress)
