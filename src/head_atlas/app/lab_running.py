"""Long runs of the Lab: in a thread of their own, with progress, a deadline, and turns for everybody else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Event, Thread
from time import monotonic, sleep
from typing import TYPE_CHECKING, Generic, TypeVar

from head_atlas.errors import HeadAtlasError

if TYPE_CHECKING:
    from head_atlas.app.engine import Engine
    from head_atlas.models import HeadModel

T = TypeVar("T")
POLL_SECONDS = 0.2
_TURN_SECONDS = 0.001
"""Long enough for another thread that waits for the model to take it."""


class Abandoned(Exception):
    """Nobody waits for this run any more."""


@dataclass(frozen=True)
class Step(Generic[T]):
    """How far a run is.

    Attributes:
        phase: what it is at, in words.
        done: of that.
        total: of that; 0 while it is not known.
        result: in the last step only.
    """

    phase: str
    done: int
    total: int
    result: T | None = None


class Progress:
    """What a run calls between its parts: it counts, ends a run that nobody waits for, and lets others have the model.

    Args:
        seconds: longest run.
        turn: gives the model away and takes it again.
    """

    def __init__(self, seconds: float, turn: Callable[[], None]) -> None:
        self.stop = Event()
        self._seconds, self._deadline, self._turn = seconds, monotonic() + seconds, turn
        self._phase, self._done, self._total = "Running", 0, 0

    def phase(self, text: str) -> None:
        """Begin another part of the run."""
        self._phase, self._done, self._total = text, 0, 0

    def __call__(self, done: int, total: int) -> None:
        """Count.

        Raises:
            Abandoned: the visitor stopped the run, or left.
            HeadAtlasError: it takes too long.
        """
        self._done, self._total = int(done), int(total)
        if self.stop.is_set():
            raise Abandoned
        if monotonic() > self._deadline and done < total:
            raise HeadAtlasError(
                f"Stopped after {self._seconds:.0f} s, at {done} of {total} in this step: a shorter prompt goes faster."
            )
        self._turn()

    def step(self) -> Step[T]:
        """Where the run is."""
        return Step(self._phase, self._done, self._total)


def in_background(engine: Engine, name: str, work: Callable[[HeadModel, Progress], T]) -> Iterator[Step[T]]:
    """Run something on a model and yield how far it is; stop iterating to cancel.

    The model is held from one call of the progress to the next, so that an abandoned run keeps nobody waiting.

    Args:
        engine: lends the model.
        name: of the model.
        work: is given the model and the `Progress` that it has to call.

    Raises:
        HeadAtlasError: what `work` raised.
    """
    done = Event()
    found: list[T] = []
    trouble: list[Exception] = []
    held = ExitStack()

    def turn() -> None:
        held.close()
        sleep(_TURN_SECONDS)
        held.enter_context(engine.use(name))

    progress = Progress(engine.limits.run_seconds, turn)

    def run() -> None:
        try:
            with held:
                found.append(work(held.enter_context(engine.use(name)), progress))
        except Abandoned:
            pass
        except Exception as error:  # noqa: BLE001  raised again below, in the visitor's thread
            trouble.append(error)
        finally:
            done.set()

    Thread(target=run, name=f"lab {name}", daemon=True).start()
    try:
        while not done.wait(POLL_SECONDS):
            yield progress.step()
    finally:
        progress.stop.set()
    if trouble:
        raise trouble[0]
    yield Step("Done", 1, 1, found[0])
