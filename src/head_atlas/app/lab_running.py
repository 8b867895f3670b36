"""Runs on a model: in a thread of their own, with a place in the line, progress, a deadline, and turns for others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Event, Thread
from time import monotonic, sleep
from typing import TYPE_CHECKING, Generic, TypeVar

from head_atlas.app.visitors import current_visitor
from head_atlas.errors import HeadAtlasError

if TYPE_CHECKING:
    from head_atlas.app.engine import Engine
    from head_atlas.live.cache import Place
    from head_atlas.models import HeadModel

T = TypeVar("T")
POLL_SECONDS = 0.2
BEAT_SECONDS = 1.0
"""A run that has nothing new to say yields this often: only then can the page's server stop it."""
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
        result: what was found: in the last step all of it, before it what there is already, if anything.
        finished: whether this is the last step.
    """

    phase: str
    done: int
    total: int
    result: T | None = None
    finished: bool = False

    @property
    def text(self) -> str:
        """The status line."""
        return f"{self.phase}: {self.done} of {self.total} …" if self.total else f"{self.phase} …"

    @property
    def fraction(self) -> float | None:
        """Done, 0 to 1, or None while that is not known."""
        return self.done / self.total if self.total else None


def waiting_text(place: Place) -> str:
    """A place in the line, in words."""
    who = "one run is" if place.ahead == 1 else f"{place.ahead} runs are"
    when = "" if place.seconds is None else f"; about {max(1, round(place.seconds))} s"
    return f"Waiting for the model: {who} before yours{when}"


class OutOfTime(HeadAtlasError):
    """A run that has held the model for as long as a run may; the message says how long that is."""


class Progress(Generic[T]):
    """What a run calls between its parts: it counts, and lets others have the model.

    A run that nobody waits for, or that has held the model for too long, is ended here, and also by `look`, which is
    called in front of every layer that the model runs: so that holds for runs without parts too.

    Args:
        seconds: longest time that the run may hold the model.
        turn: gives the model away and takes it again.
        clock: seconds, growing.
    """

    def __init__(self, seconds: float, turn: Callable[[], None], clock: Callable[[], float] = monotonic) -> None:
        self.stop = Event()
        self._seconds, self._turn, self._clock = seconds, turn, clock
        self._phase, self._done, self._total = "Asking for the model", 0, 0
        self._found: T | None = None
        self._used, self._since = 0.0, clock()
        self._place: Place | None = None
        self._asked = float("-inf")

    def phase(self, text: str) -> None:
        """Begin another part of the run."""
        self._phase, self._done, self._total = text, 0, 0

    def waiting(self, place: Place) -> None:
        """Be told the place in the line for the model.

        Raises:
            Abandoned: the visitor stopped the run, or left.
        """
        if self.stop.is_set():
            raise Abandoned
        self._place = place

    def begin(self) -> None:
        """The model is held for the first time."""
        self.phase("Running")
        self._place, self._since = None, self._clock()

    def found(self, part: T) -> None:
        """Show what there is already."""
        self._found = part

    def __call__(self, done: int, total: int) -> None:
        """Count, and let others have the model.

        Raises:
            Abandoned: the visitor stopped the run, or left.
            OutOfTime: it has held the model for too long, and there is more to do.
        """
        self._done, self._total = int(done), int(total)
        self.look(more=done < total)
        self._used, self._asked = self._held(), monotonic()
        self._turn()
        self._place, self._since = None, self._clock()

    def look(self, *, more: bool = True) -> None:
        """Look whether the run may go on.

        Args:
            more: whether there is anything left of it that takes time.

        Raises:
            Abandoned: the visitor stopped the run, or left.
            OutOfTime: it has held the model for too long.
        """
        if self.stop.is_set():
            raise Abandoned
        if more and self._held() >= self._seconds:
            where = f", at {self._done} of {self._total} in this step" if self._total else ""
            raise OutOfTime(
                f"Stopped after {self._seconds:.0f} s{where}: no run may hold the model for longer here. "
                "A shorter prompt goes faster."
            )

    def _held(self) -> float:
        """Seconds for which the run has held the model."""
        return self._used + self._clock() - self._since

    def step(self) -> Step[T]:
        """Where the run is. That others have their turn between two of its parts is said if it takes long."""
        place = self._place
        if place is not None and monotonic() - self._asked > BEAT_SECONDS:
            return Step(waiting_text(place), 0, 0, self._found)
        return Step(self._phase, self._done, self._total, self._found)


def in_background(engine: Engine, name: str, work: Callable[[HeadModel, Progress[T]], T]) -> Iterator[Step[T]]:
    """Run something on a model and yield how far it is; stop iterating to cancel.

    The model is held from one call of the progress to the next, so that a short run waits for no more than one step of
    each long one. An abandoned run, and one whose time is up, ends in front of the next layer that the model runs.

    Args:
        engine: lends the model.
        name: of the model.
        work: is given the model and the `Progress` that it has to call.

    Yields:
        A step when there is something new to say, and every `BEAT_SECONDS`; the last one is finished.

    Raises:
        OutOfTime: it held the model for longer than `Limits.run_seconds`.
        HeadAtlasError: what `work` raised; or the visitor may not run anything now.
    """
    with engine.visitors.admitted(current_visitor()):
        yield from _in_background(engine, name, work)


def _in_background(engine: Engine, name: str, work: Callable[[HeadModel, Progress[T]], T]) -> Iterator[Step[T]]:
    engine.library.entry(name)
    done = Event()
    found: list[T] = []
    trouble: list[Exception] = []
    held = ExitStack()

    def turn() -> None:
        held.close()
        sleep(_TURN_SECONDS)
        held.enter_context(engine.use(name, progress.waiting))

    progress: Progress[T] = Progress(engine.limits.run_seconds, turn, engine.clock)

    def run() -> None:
        try:
            with held:
                model = held.enter_context(engine.use(name, progress.waiting))
                # Imported late: torch is there once the model is.
                from head_atlas.models.readers import LayerWatch

                progress.begin()
                with model.intervening(LayerWatch(progress.look)):
                    found.append(work(model, progress))
        except Abandoned:
            pass
        except Exception as error:  # noqa: BLE001  raised again below, in the visitor's thread
            trouble.append(error)
        finally:
            done.set()

    Thread(target=run, name=f"lab {name}", daemon=True).start()
    said: Step[T] | None = None
    at = monotonic()
    try:
        while not done.wait(POLL_SECONDS):
            loading = engine.loading(name)
            step = Step(loading, 0, 0) if loading else progress.step()
            if step != said or monotonic() - at >= BEAT_SECONDS:
                said, at = step, monotonic()
                yield step
    finally:
        progress.stop.set()
    if trouble:
        if (last := progress.step()).result is not None and last != said:
            yield last
        raise trouble[0]
    yield Step("Done", 1, 1, found[0], finished=True)


def result_of(steps: Iterator[Step[T]]) -> T:
    """Follow a run to its end."""
    for step in steps:
        if step.finished and step.result is not None:
            return step.result
    raise RuntimeError("the run ended without a result")
