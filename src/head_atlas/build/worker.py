"""One process that measures: it has the model, and does the units it is told by their names.

A serial build, a share of a build and a cluster differ only in who tells. Nothing but names goes back: what was found
lies in shards, on a disk that all processes of the build see.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from head_atlas.build.measurement import Workplace
from head_atlas.build.parts import Parts, parts_folder
from head_atlas.build.planning import BuildOptions, plan_atlas, provenance_of
from head_atlas.build.role_evidence import role_mode
from head_atlas.build.runner import begin, finish, is_finished, run_and_store
from head_atlas.errors import BuildError
from head_atlas.models import load_model


@dataclass(frozen=True)
class ModelSource:
    """What `load_model` loads.

    Attributes:
        name: a folder that all machines see, or a name on the hub.
        revision: on the hub.
        device: of each worker.
        dtype: of the weights.
    """

    name: str
    revision: str | None = None
    device: str | None = None
    dtype: str = "float32"


@dataclass(frozen=True)
class Task:
    """A unit, to whoever hands it out.

    Attributes:
        name: of the unit.
        work: its effort.
        needs: names of units that are done before.
        done: whether its shard is there.
    """

    name: str
    work: float
    needs: tuple[str, ...]
    done: bool


@dataclass(frozen=True)
class Outline:
    """What a build has to do.

    Attributes:
        config_sha256: of its plan.
        threads: of each worker.
        budget: tokens and logits of `interventions.Budget`: equal on all workers, or they would find other last bits.
        tasks: every unit, in the order of the plan.
        finished: whether the atlas is there already.
        said: what the person who waits should know.
    """

    config_sha256: str
    threads: int
    budget: dict[str, int]
    tasks: tuple[Task, ...]
    finished: bool
    said: tuple[str, ...]


class Worker:
    """Loads the model and plans the build, as every other worker does.

    Args:
        source: the model.
        out: the atlas file.
        options: the same for all workers.

    Raises:
        HeadAtlasError: the model cannot be loaded, or nothing can be built.
    """

    def __init__(self, source: ModelSource, out: str, options: BuildOptions) -> None:
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        self._model = load_model(source.name, source.revision, source.device, source.dtype)
        self._out = Path(out)
        self._plan = plan_atlas(self._model, replace(options, threads=options.threads or torch.get_num_threads()))
        self._parts = Parts(parts_folder(self._out), self._plan)
        self._units = {unit.name: unit for unit in self._plan.units}
        self._at = Workplace(self._plan, self._model, self._parts.stored, role_mode(self._plan.modes))

    def begin(self) -> Outline:
        """Make or check the folder of shards, and say what is to be done.

        Raises:
            BuildError: the folder, or the atlas' place, is taken by another build.
        """
        said: list[str] = []
        finished = is_finished(self._plan, self._out, self._parts)
        if not finished:
            begin(self._parts, said.append)
        missing = set() if finished else {unit.name for unit in self._parts.missing()}
        return Outline(
            self._plan.config_sha256,
            self._plan.config["threads"],
            dict(self._plan.config["budget"]),
            tuple(Task(u.name, u.work, u.needs, u.name not in missing) for u in self._plan.units),
            finished,
            tuple(said),
        )

    def ping(self, config_sha256: str) -> bool:
        """Answer, if the plan is that of the others.

        Raises:
            BuildError: it is another: another version of a package, another device, or other files on this machine.
        """
        if config_sha256 != self._plan.config_sha256:
            raise BuildError(
                "this worker plans another build than the first one: packages, device, dtype, corpus or code differ "
                f"between the machines (its facts: {self._plan.facts})"
            )
        return True

    def do(self, name: str) -> str:
        """Do one unit and keep its shard; its name is the answer.

        Raises:
            BuildError: what it needs is missing or damaged, or there is no space.
        """
        run_and_store(self._units[name], self._at, self._parts, lambda _: None)
        return name

    def finish(self) -> str:
        """Put the atlas together; its path is the answer.

        Raises:
            BuildError: a shard is missing or damaged, or there is no space.
        """
        finish(
            self._plan,
            self._model,
            self._out,
            provenance_of(self._plan, self._model),
            lambda _: None,
            parts=self._parts,
        )
        return str(self._out)
