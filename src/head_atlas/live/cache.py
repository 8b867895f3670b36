"""Models in memory: a bounded number of them, each used by one visitor at a time."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

from head_atlas.errors import ModelError
from head_atlas.models import HeadModel, load_model

_POLL_SECONDS = 0.2
_MEMORY = 0.8
"""Weight of the past in the mean of how long a model is held."""


@dataclass
class _Entry:
    """A model and the line of those who want it; whoever is first in the line holds it."""

    model: HeadModel | None = None
    line: deque[object] = field(default_factory=deque)
    moved: threading.Condition = field(default_factory=threading.Condition)
    held: float | None = None


@dataclass(frozen=True)
class Place:
    """A place in the line for a model.

    Attributes:
        ahead: how many come first, the one that holds the model counted in.
        seconds: until it is free, estimated: `ahead` times the mean time that it was held lately; None before any.
    """

    ahead: int
    seconds: float | None


class ModelCache:
    """Loads models when they are first asked for and keeps the most recently used ones.

    Every model is lent in the order in which it was asked for, and a caller who has waited too long gets an error
    instead of hanging. A model in use, or waited for, is never dropped, so a burst of different models can exceed
    the capacity for as long as it lasts.

    Args:
        capacity: models kept when nobody uses them.
        timeout: seconds that a caller waits for a model, its loading by someone else included.
        load: makes a model of its name and a progress callback.
    """

    def __init__(
        self,
        capacity: int = 2,
        timeout: float = 60.0,
        load: Callable[[str, Callable[[str], None] | None], HeadModel] | None = None,
    ) -> None:
        self._capacity, self._timeout = capacity, timeout
        self._load = load or (lambda name, progress: load_model(name, progress=progress))
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._guard = threading.Lock()

    @contextmanager
    def use(
        self,
        name: str,
        *,
        timeout: float | None = None,
        progress: Callable[[str], None] | None = None,
        waiting: Callable[[Place], None] | None = None,
    ) -> Iterator[HeadModel]:
        """Hold a model until the context is left.

        Args:
            name: folder or hub id.
            timeout: seconds, in place of the cache's.
            progress: is told what is downloaded, if this call loads the model.
            waiting: is told the place in the line about five times a second; leaves the line by raising.

        Raises:
            ModelError: the model cannot be loaded, or was busy all the time.
        """
        ticket = object()
        with self._guard:
            entry = self._entries.setdefault(name, _Entry())
            self._entries.move_to_end(name)
            with entry.moved:
                entry.line.append(ticket)
        since: float | None = None
        try:
            _wait(name, entry, ticket, self._timeout if timeout is None else timeout, waiting)
            if entry.model is None:
                entry.model = self._load(name, progress)
            since = monotonic()
            yield entry.model
        finally:
            with self._guard, entry.moved:
                if since is not None:
                    held = monotonic() - since
                    entry.held = held if entry.held is None else _MEMORY * entry.held + (1 - _MEMORY) * held
                entry.line.remove(ticket)
                entry.moved.notify_all()
                self._drop_idle()

    def loaded(self) -> list[str]:
        """Names of the models in memory, the least recently used first."""
        with self._guard:
            return [name for name, entry in self._entries.items() if entry.model is not None]

    def _drop_idle(self) -> None:
        for name in list(self._entries):
            entry = self._entries[name]
            if not entry.line and (entry.model is None or len(self._entries) > self._capacity):
                del self._entries[name]


def _wait(name: str, entry: _Entry, ticket: object, seconds: float, waiting: Callable[[Place], None] | None) -> None:
    """Return when the ticket is the first of the line.

    Raises:
        ModelError: others were before it all the time.
    """
    deadline = monotonic() + seconds
    while True:
        with entry.moved:
            ahead, held = entry.line.index(ticket), entry.held
        if ahead == 0:
            return
        if monotonic() >= deadline:
            raise ModelError(f"{name!r} is busy with other runs for over {seconds:.0f} s: try again")
        # Outside of the lock: what is told may take its time.
        if waiting is not None:
            waiting(Place(ahead, None if held is None else ahead * held))
        with entry.moved:
            if entry.line[0] is not ticket:
                entry.moved.wait(max(0.0, min(_POLL_SECONDS, deadline - monotonic())))
