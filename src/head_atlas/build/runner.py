"""Running a plan: every missing unit in order, each kept as a shard, then the atlas in one stroke."""

from __future__ import annotations

import glob
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from head_atlas.build.measurement import Progress, Workplace
from head_atlas.build.measurements import run_of
from head_atlas.build.merge import merge
from head_atlas.build.plan import Plan, Unit
from head_atlas.build.progress import ProgressLine
from head_atlas.build.role_evidence import role_mode
from head_atlas.build.shards import is_valid, read_shard, shard_path, write_shard
from head_atlas.errors import AtlasError
from head_atlas.models import HeadModel
from head_atlas.named_array import NamedArray
from head_atlas.store import open_atlas, write_atlas

Say = Callable[[str], None]


def parts_folder(out: Path) -> Path:
    """Where the shards of an atlas lie while it is built."""
    return out.with_name(f"{out.name}.parts")


def run_plan(plan: Plan, model: HeadModel, out: Path, provenance: Mapping[str, Any], say: Say) -> None:
    """Do what is missing, write the atlas and remove its shards.

    Stopped at any moment, even by kill -9, it loses the unit it was in; called again, it goes on. Where the
    atlas of this very configuration is there already, nothing is measured.

    Raises:
        BuildError: a shard was damaged between being written and being merged.
        OSError: no space, or no permission.
    """
    folder = parts_folder(out)
    _remove_orphans(out, folder)
    config = plan.config_sha256
    mine = {shard_path(folder, config, unit.name).name for unit in plan.units}
    if _is_finished(out, config):
        say(f"{out.name} is already the atlas of this configuration; delete it to measure again")
        _remove_shards(folder, mine)
        return
    folder.mkdir(parents=True, exist_ok=True)
    foreign = sum(path.name not in mine for path in folder.glob("*.h5"))
    if foreign:
        say(f"{foreign} shards in {folder.name} are of another configuration and are not used")
    missing = [unit for unit in plan.units if not _is_done(folder, config, unit)]
    total = sum(unit.work for unit in plan.units)
    before = total - sum(unit.work for unit in missing)
    if len(missing) < len(plan.units):
        say(f"going on: {len(plan.units) - len(missing)} of {len(plan.units)} units are done")
    _run_missing(plan, missing, model, folder, ProgressLine(total, before))
    say("all units are done; writing the atlas")
    write_atlas(out, merge(plan, folder, model, provenance))
    _remove_shards(folder, mine)


def _run_missing(plan: Plan, missing: list[Unit], model: HeadModel, folder: Path, line: ProgressLine) -> None:
    config = plan.config_sha256
    # the number of threads decides how sums are split, and so their last bits
    threads = torch.get_num_threads()
    torch.set_num_threads(plan.config["threads"])
    at = Workplace(plan, model, lambda kind: _stored(plan, folder, kind), role_mode(plan.modes))
    try:
        for unit in missing:

            def progress(share: float, unit: Unit = unit) -> None:
                line.update(f"{unit.kind} {unit.family}", share, unit.work)

            progress(0.0)
            arrays = run_unit(unit, at, progress)
            write_shard(shard_path(folder, config, unit.name), arrays, config_sha256=config, unit=unit.name)
            line.finished(unit.work)
    finally:
        line.close()
        torch.set_num_threads(threads)


def run_unit(unit: Unit, at: Workplace, progress: Progress) -> dict[str, NamedArray]:
    """Do one unit."""
    return run_of(unit.kind)(unit, at, progress)


def _stored(plan: Plan, folder: Path, kind: str) -> Iterator[tuple[Unit, dict[str, NamedArray]]]:
    """The units of a kind and what they found; all of them have run."""
    for unit in plan.units:
        if unit.kind == kind:
            path = shard_path(folder, plan.config_sha256, unit.name)
            yield unit, read_shard(path, config_sha256=plan.config_sha256, unit=unit.name)


def _is_done(folder: Path, config: str, unit: Unit) -> bool:
    return is_valid(shard_path(folder, config, unit.name), config_sha256=config, unit=unit.name)


def _is_finished(out: Path, config: str) -> bool:
    """Whether the atlas of a configuration is there and can be opened."""
    try:
        with open_atlas(out) as atlas:
            return bool(atlas.provenance.get("config_sha256") == config)
    except (AtlasError, OSError):
        return False


def _remove_shards(folder: Path, names: set[str]) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        shutil.rmtree(folder)


def _remove_orphans(out: Path, folder: Path) -> None:
    """Temporary files of a run that was killed while it wrote; only one run at a time writes an atlas."""
    for path in (*folder.glob(".*.tmp"), *out.parent.glob(f".{glob.escape(out.name)}.*.tmp")):
        path.unlink(missing_ok=True)
