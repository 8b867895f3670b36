"""How long the driver of a cluster waits: a Ray of scripted answers, and a clock that waiting moves on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from head_atlas.build import BuildOptions, cluster
from head_atlas.build.cluster import SILENCE, Cluster, build_on_ray
from head_atlas.build.worker import ModelSource, Outline, Task
from head_atlas.errors import BuildError

MINUTE = 60.0
MOST_WAITS = 20_000
"""More than any of these builds needs: who waits longer waits for ever."""


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


class ActorDiedError(RayError):
    pass


@dataclass(eq=False)
class Answer:
    at: float
    value: Any


class ScriptedRay:
    """What the driver asks of Ray; each call of a worker takes some seconds and ends in a value or an error."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError, ActorDiedError=ActorDiedError)

    def __init__(self, script: dict[str, Callable[[int], tuple[float, Any]]]) -> None:
        self.now, self.waits, self.calls, self._script = 0.0, 0, dict.fromkeys(script, 0), script

    def init(self, **_: Any) -> None: ...

    def shutdown(self) -> None: ...

    def remote(self, **_: Any) -> Any:
        methods = {name: SimpleNamespace(remote=self._method(name)) for name in self._script}
        return lambda _: SimpleNamespace(remote=lambda *_: SimpleNamespace(**methods))

    def _method(self, name: str) -> Callable[..., Answer]:
        def ask(*_: Any) -> Answer:
            self.calls[name] += 1
            seconds, value = self._script[name](self.calls[name])
            return Answer(self.now + seconds, value)

        return ask

    def wait(self, answers: list[Answer], *, num_returns: int = 1, timeout: float | None = None) -> Any:
        assert num_returns == 1
        self.waits += 1
        assert self.waits < MOST_WAITS, "the driver waits for ever"
        first = min(answers, key=lambda answer: answer.at)
        if timeout is not None and first.at > self.now + timeout:
            self.now += timeout
            return [], answers
        self.now = max(self.now, first.at)
        return [first], [answer for answer in answers if answer is not first]

    def get(self, answer: Answer) -> Any:
        if isinstance(answer.value, Exception):
            raise answer.value
        return answer.value

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def build(monkeypatch, tmp_path):
    """Build three units with one worker that follows a script; the Ray that it ran on."""

    def run(**changed):
        tasks = tuple(Task(name, 1.0, (), False) for name in "abc")
        outline = Outline("sha", 1, {"tokens": 1, "logits": 1}, tasks, False, ())
        script = {
            "begin": lambda _: (30.0, outline),
            "ping": lambda _: (1.0, True),
            "do": lambda _: (5.0, "done"),
            "finish": lambda _: (5.0, "path"),
        }
        ray = ScriptedRay(script | changed)
        monkeypatch.setattr(cluster, "ray_module", lambda: ray)
        monkeypatch.setattr(cluster, "time", ray)
        build_on_ray(ModelSource("m"), tmp_path / "x.h5", BuildOptions(), Cluster(), lambda _: None)
        return ray

    return run


def test_every_unit_is_handed_out_once(build):
    assert build().calls == {"begin": 1, "ping": 1, "do": 3, "finish": 1}


def test_a_unit_that_took_long_and_failed_is_handed_out_again(build):
    """Its worker was at work for 40 minutes, and loads the model for another one: nobody has been silent for long."""
    ray = build(
        do=lambda n: (40 * MINUTE, RayError("the worker died")) if n == 1 else (5.0, "done"),
        ping=lambda _: (MINUTE, True),
    )
    assert ray.calls["do"] == 4


def test_workers_that_fail_for_ever_are_given_up(build):
    with pytest.raises(BuildError, match="no worker has answered for 30 minutes, the last time: unavailable"):
        build(ping=lambda _: (0.0, RayError("unavailable")))


def test_a_silent_worker_is_given_up(build):
    with pytest.raises(BuildError, match="no worker has answered for 30 minutes"):
        build(ping=lambda _: (10 * SILENCE, True))
    with pytest.raises(BuildError, match="no worker has answered for 30 minutes"):
        build(begin=lambda _: (10 * SILENCE, None))


def test_writing_the_atlas_may_take_long(build):
    assert build(finish=lambda _: (3 * SILENCE, "path")).calls["finish"] == 1


def test_an_atlas_is_written_by_another_worker_where_one_fails(build):
    ray = build(finish=lambda n: (5.0, RayError("died") if n == 1 else "path"))
    assert ray.calls["finish"] == 2
