"""The folder of a build's shards: what it belongs to, which units are done, and what they found."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from head_atlas.build.measurement import Arrays
from head_atlas.build.plan import Plan, Unit
from head_atlas.build.shards import is_valid, read_shard, shard_path, write_shard
from head_atlas.errors import BuildError
from head_atlas.prompts.fingerprint import prompts_sha256
from head_atlas.store.atomic import replacing

_ABOUT = "build.json"


def parts_folder(out: Path) -> Path:
    """Where the shards of an atlas lie."""
    return out.with_name(f"{out.name}.parts")


class Parts:
    """The shards of an atlas that is being built, or was.

    Args:
        folder: on a disk that all machines of the build see.
        plan: of the build.
    """

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder, self.plan = folder, plan

    def begin(self) -> None:
        """Make the folder, or check that what is there belongs to a build of the same model, code and texts.

        Raises:
            BuildError: it belongs to another; says what differs. Nothing is changed then.
        """
        about = self._about()
        if self.folder.is_dir():
            self._check(about)
            for family, sha256 in self._known().get("prompts", {}).items():
                about["prompts"].setdefault(family, sha256)
        with replacing(self.folder / _ABOUT) as temporary:
            temporary.write_text(json.dumps(about, indent=1, sort_keys=True, ensure_ascii=False), encoding="utf-8")

    @property
    def begun(self) -> bool:
        """Whether the folder is there and says what it belongs to."""
        return (self.folder / _ABOUT).is_file()

    def _about(self) -> dict[str, Any]:
        prompts: dict[str, Any] = {}
        for family in self.plan.families:
            prompts[family] = prompts_sha256([p for p in self.plan.prompts if p.family == family])
        if self.plan.reference_prompts:
            prompts["reference of mean ablation"] = prompts_sha256(self.plan.reference_prompts)
        # as it will be read back
        return dict(json.loads(json.dumps({"facts": self.plan.facts, "prompts": prompts})))

    def _known(self) -> dict[str, Any]:
        if not self.begun:
            return {}
        try:
            return dict(json.loads((self.folder / _ABOUT).read_text(encoding="utf-8")))
        except (ValueError, OSError) as error:
            raise BuildError(f"{self.folder / _ABOUT} cannot be read: {error}") from error

    def _check(self, about: dict[str, Any]) -> None:
        known = self._known()
        if not known:
            if any(self.folder.glob("*.h5")):
                raise BuildError(f"{self.folder} holds shards of an unknown build; delete it or give another --out")
            return
        differs = [
            f"{name} (then {_short(before)}, now {_short(about[part].get(name))})"
            for part in ("facts", "prompts")
            for name, before in known[part].items()
            if about[part].get(name, None if part == "facts" else before) != before
        ]
        if differs:
            raise BuildError(
                f"{self.folder} holds shards of another build; different: {'; '.join(differs)}. They are left as they "
                "are: run the build with what it was begun with, give another --out, or delete that folder"
            )

    def path(self, unit: Unit) -> Path:
        """Where the shard of a unit lies."""
        return shard_path(self.folder, unit.key, unit.label)

    def is_done(self, unit: Unit) -> bool:
        """Whether the shard of a unit is there and whole."""
        return is_valid(self.path(unit), key=unit.key, unit=unit.label)

    def damaged(self) -> list[str]:
        """Names of shards of the plan that are there and cannot be read."""
        return [self.path(unit).name for unit in self.plan.units if self.path(unit).exists() and not self.is_done(unit)]

    def missing(self) -> list[Unit]:
        """Units that are still to be done, in order."""
        return [unit for unit in self.plan.units if not self.is_done(unit)]

    def write(self, unit: Unit, arrays: Arrays) -> None:
        """Keep what a unit found.

        Raises:
            BuildError: no space, or no permission; every earlier shard is kept.
        """
        try:
            write_shard(self.path(unit), arrays, key=unit.key, unit=unit.label)
        except (OSError, RuntimeError) as error:
            raise BuildError(
                f"the shard of {unit.name} cannot be written to {self.folder}: {error}; all finished units are kept, "
                "and the same command goes on from there"
            ) from error

    def stored(self, kind: str, prompts: Collection[int] | None = None) -> Iterator[tuple[Unit, Arrays]]:
        """The units of a kind that share prompts with some (None: with all), and what they found.

        Raises:
            BuildError: one is missing or damaged.
        """
        for unit in self.plan.units:
            if unit.kind == kind and (prompts is None or not set(prompts).isdisjoint(unit.index)):
                yield unit, read_shard(self.path(unit), key=unit.key, unit=unit.label)

    def size(self) -> int:
        """Bytes of all shards."""
        return sum(path.stat().st_size for path in self.folder.glob("*.h5"))

    def remove_orphans(self) -> None:
        """Temporary files of a run that was killed while it wrote; not while others are at work on this folder."""
        for path in self.folder.glob(".*.tmp"):
            path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove every shard."""
        if self.begun:
            shutil.rmtree(self.folder)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:16]}..."
