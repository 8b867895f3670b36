"""Models in memory: a bounded number of them, each used by one visitor at a time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from head_atlas.errors import ModelError
from head_atlas.models import HeadModel, load_model


@dataclass
class _Entry:
    lock: threading.Lock = field(default_factory=threading.Lock)
    model: HeadModel | None = None
    waiting: int = 0


class ModelCache:
    """Loads models when they are first asked for and keeps the most recently used ones.

    Every model has one lock: runs on it queue, and a caller who has waited too long gets an error instead of
    hanging. A model in use, or waited for, is never dropped, so a burst of different models can exceed the
    capacity for as long as it lasts.

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
        self, name: str, *, timeout: float | None = None, progress: Callable[[str], None] | None = None
    ) -> Iterator[HeadModel]:
        """Hold a model until the context is left.

        Args:
            name: folder or hub id.
            timeout: seconds, in place of the cache's.
            progress: is told what is downloaded, if this call loads the model.

        Raises:
            ModelError: the model cannot be loaded, or was busy all the time.
        """
        with self._guard:
            entry = self._entries.setdefault(name, _Entry())
            self._entries.move_to_end(name)
            entry.waiting += 1
        seconds = self._timeout if timeout is None else timeout
        locked = False
        try:
            locked = entry.lock.acquire(timeout=seconds)
            if not locked:
                raise ModelError(f"{name!r} is busy with another run for over {seconds:.0f} s: try again")
            if entry.model is None:
                entry.model = self._load(name, progress)
            yield entry.model
        finally:
            if locked:
                entry.lock.release()
            with self._guard:
                entry.waiting -= 1
                self._drop_idle()

    def loaded(self) -> list[str]:
        """Names of the models in memory, the least recently used first."""
        with self._guard:
            return [name for name, entry in self._entries.items() if entry.model is not None]

    def _drop_idle(self) -> None:
        for name in list(self._entries):
            entry = self._entries[name]
            if entry.waiting == 0 and (entry.model is None or len(self._entries) > self._capacity):
                del self._entries[name]
