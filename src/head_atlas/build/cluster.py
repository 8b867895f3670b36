"""A build on many machines: workers in Ray actors, and a driver that hands out units and holds no model.

A unit that fails with its worker is handed out again, at most `ATTEMPTS` times; a worker that failed gets no work until
it answers. What was found lies in shards on a disk that all machines see, so a driver that is killed and started again
goes on with the units that are missing.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from head_atlas.build.planning import BuildOptions
from head_atlas.build.progress import ProgressLine
from head_atlas.build.worker import ModelSource, Outline, Worker
from head_atlas.errors import BuildError, HeadAtlasError
from head_atlas.interventions import Budget

ATTEMPTS = 4
"""Of a unit, before the build gives up: a unit that ends its worker each time would end them for ever."""
SILENCE = 1800.0
"""Seconds without any worker that answers or is at work, after which the build gives up."""
_LOOK = 2.0


@dataclass(frozen=True)
class Cluster:
    """Where workers run.

    Attributes:
        address: of a Ray cluster, as `ray.init` takes it; None for one of this machine alone.
        workers: how many.
        cpus: of each.
        gpus: of each; a share such as 0.5 puts two workers on a GPU.
    """

    address: str | None = None
    workers: int = 1
    cpus: float = 1.0
    gpus: float = 0.0


def ray_module() -> Any:
    """Ray, where it is installed.

    Raises:
        BuildError: it is not; says how to install it.
    """
    try:
        import ray
    except ImportError as error:
        raise BuildError(
            "--engine ray needs Ray, which is not installed: pip install -r requirements-cluster.txt"
        ) from error
    return ray


def build_on_ray(
    source: ModelSource, out: str | Path, options: BuildOptions, cluster: Cluster, say: Callable[[str], None] = print
) -> Path:
    """Build the atlas of a model on the workers of a Ray cluster, or go on with a build that was stopped.

    Args:
        source: the model, which every machine loads for itself.
        out: the atlas file, on a disk that all machines see under the same path.
        options: what to build.
        cluster: where.
        say: is told, in words, what is going on.

    Raises:
        BuildError: Ray is not installed; workers plan different builds; a unit failed `ATTEMPTS` times; no worker
            answers; and all that `build_atlas` raises.
    """
    ray = ray_module()
    path = Path(out).absolute()
    ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
    try:
        pool = _Pool(ray, source, str(path), options, cluster)
        outline = pool.first(say)
        for words in outline.said:
            say(words)
        if outline.finished:
            say(f"{path.name} is already the atlas of this configuration; delete it to write it again")
            return path
        pool.fill(outline)
        pool.run(outline, say)
        say("all units are done; writing the atlas")
        pool.finish()
    finally:
        ray.shutdown()
    return path


class _Pool:
    """The workers of a build."""

    def __init__(self, ray: Any, source: ModelSource, out: str, options: BuildOptions, cluster: Cluster) -> None:
        self._ray, self._cluster = ray, cluster
        self._arguments = (source, out)
        self._options = options
        # a worker that ends is started again; what it was doing is handed out by us, perhaps to another
        self._remote = ray.remote(num_cpus=cluster.cpus, num_gpus=cluster.gpus, max_restarts=-1, max_task_retries=0)(
            Worker
        )
        self._workers = [self._start(options)]

    def _start(self, options: BuildOptions) -> Any:
        return self._remote.remote(*self._arguments, options)

    def first(self, say: Callable[[str], None]) -> Outline:
        """The plan, as the first worker makes it."""
        say("waiting for the first worker")
        outline: Outline = self._insist(lambda worker: worker.begin.remote(), patience=SILENCE)
        return outline

    def fill(self, outline: Outline) -> None:
        """Start the other workers, with the threads and the budget of the first."""
        options = replace(self._options, threads=outline.threads, budget=Budget(**outline.budget))
        self._workers += [self._start(options) for _ in range(self._cluster.workers - 1)]

    def run(self, outline: Outline, say: Callable[[str], None]) -> None:
        """Hand out every unit that is missing."""
        tasks = {task.name: task for task in outline.tasks}
        done = {name for name, task in tasks.items() if task.done}
        pending = deque(name for name in tasks if name not in done)
        attempts: Counter[str] = Counter()
        idle: list[Any] = []
        running: dict[Any, tuple[Any, str]] = {}
        asked = {worker.ping.remote(outline.config_sha256): worker for worker in self._workers}
        failed: list[Any] = []
        total = sum(task.work for task in outline.tasks)
        line = ProgressLine(total, sum(tasks[name].work for name in done))
        heard = time.monotonic()
        while pending or running:
            for worker in failed:
                asked[worker.ping.remote(outline.config_sha256)] = worker
            failed = []
            for name in [name for name in pending if done.issuperset(tasks[name].needs)][: len(idle)]:
                pending.remove(name)
                worker = idle.pop()
                running[worker.do.remote(name)] = worker, name
            ready, _ = self._ray.wait([*running, *asked], num_returns=1, timeout=_LOOK)
            if running:
                heard = time.monotonic()
            if not ready:
                _give_up_after(heard)
                continue
            answer = ready[0]
            worker, name = running.pop(answer) if answer in running else (asked.pop(answer), "")
            problem = self._problem(answer)
            if problem:
                _give_up_after(heard, problem)
                failed.append(worker)
                time.sleep(0.2 if name else _LOOK)
                if name:
                    attempts[name] += 1
                    pending.appendleft(name)
                    say(f"a worker failed with {name}, which is handed out again: {problem}")
                    if attempts[name] == ATTEMPTS:
                        raise BuildError(f"{name} failed {ATTEMPTS} times, the last time: {problem}")
                continue
            heard = time.monotonic()
            idle.append(worker)
            if name:
                done.add(name)
                line.update(name, 1.0, tasks[name].work)
                line.finished(tasks[name].work)
        line.close()

    def finish(self) -> None:
        """Let a worker write the atlas, for as long as that takes: a worker that dies at it is an answer too."""
        self._insist(lambda worker: worker.finish.remote(), patience=None)

    def _insist(self, ask: Callable[[Any], Any], *, patience: float | None) -> Any:
        """The answer of one worker, the next one if it fails, or is silent for these seconds."""
        started, turn = time.monotonic(), 0
        while True:
            worker = self._workers[turn % len(self._workers)]
            answer = ask(worker)
            ready, _ = self._ray.wait([answer], timeout=patience)
            problem = self._problem(answer) if ready else "no answer"
            if not problem:
                return self._ray.get(answer)
            _give_up_after(started, problem)
            turn += 1
            time.sleep(_LOOK)

    def _problem(self, answer: Any) -> str:
        """Why an answer is none, where the worker may do better next time; "" if it is one.

        Raises:
            HeadAtlasError: one that the worker expected, and would meet again.
        """
        exceptions = self._ray.exceptions
        try:
            self._ray.get(answer)
        except exceptions.RayTaskError as error:
            if isinstance(error.cause, HeadAtlasError):
                raise error.cause from None
            return _first_line(error.cause)
        except exceptions.ActorDiedError as error:
            cause = getattr(error, "cause", None)
            if isinstance(reason := getattr(cause, "cause", None), HeadAtlasError):
                raise reason from None
            if "creation task" in str(error) or "__init__" in str(error):
                raise BuildError(f"a worker cannot start: {_last_line(error)}") from None
            return _first_line(error)
        except exceptions.RayError as error:
            return _first_line(error)
        return ""


def _give_up_after(heard: float, problem: str = "no answer") -> None:
    """Go on waiting, or not.

    Raises:
        BuildError: nobody has been heard of for `SILENCE` seconds.
    """
    if time.monotonic() - heard >= SILENCE:
        raise BuildError(
            f"no worker has answered for {SILENCE / 60:.0f} minutes, the last time: {problem}; the same command goes on"
        )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1][:300]
