"""The models behind the Lab. torch is imported when the first model is asked for, never to browse."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock
from time import monotonic
from typing import TYPE_CHECKING

from head_atlas.app.quick_build import QuickBuilder
from head_atlas.app.visitors import Visitors, current_visitor
from head_atlas.errors import MissingReferenceError, ModelError

if TYPE_CHECKING:
    from head_atlas.app.library import Library
    from head_atlas.app.limits import Limits
    from head_atlas.interventions import MeanReference, ResampleReference
    from head_atlas.live.cache import ModelCache, Place
    from head_atlas.models import HeadModel
    from head_atlas.store import Atlas

log = logging.getLogger(__name__)

MOST_DRAWS = 32
"""Reference prompts of an atlas that are run for one resample ablation, all in one step; the builder stores five."""


class Engine:
    """Loads the library's models on demand and lends each to one caller at a time.

    Args:
        library: what is served.
        limits: how long a caller waits, and how much a visitor may ask.
        clock: seconds, growing, by which runs and visitors are counted.
    """

    def __init__(self, library: Library, limits: Limits, clock: Callable[[], float] = monotonic) -> None:
        self.library, self.limits, self.clock = library, limits, clock
        self._cache: ModelCache | None = None
        self._guard = RLock()
        self.visitors = Visitors(limits, clock)
        self._said: dict[str, str] = {}
        self._shapes: dict[str, tuple[int, int]] = {}
        self.builder = QuickBuilder(library)
        self._draws: dict[str, tuple[Atlas, ResampleReference]] = {}

    def _models(self, name: str) -> ModelCache:
        """The cache of models; `name` is the one that is asked for, and waits while torch is imported."""
        with self._guard:
            if self._cache is None:
                self._said[name] = "importing torch"
                try:
                    from head_atlas.live.cache import ModelCache
                finally:
                    del self._said[name]
                self._cache = ModelCache(timeout=self.limits.wait_seconds, load=self._load)
            return self._cache

    def _load(self, name: str, progress: Callable[[str], None] | None) -> HeadModel:
        from head_atlas.models import load_model

        def say(message: str) -> None:
            shown = self.library.told(name, message)
            self._said[name] = shown
            log.info("%s: %s", name, message)
            if progress is not None:
                progress(shown)

        say("starting")
        try:
            place, revision = self.library.model_source(name)
            model = load_model(place, revision, progress=say)
        except ModelError as error:
            log.warning("%s: %s", name, error)
            raise ModelError(self.library.told(name, str(error))) from error
        finally:
            self._said.pop(name, None)
        self._shapes[name] = (model.n_layers, model.n_heads)
        return model

    def shape(self, name: str) -> tuple[int, int] | None:
        """Layers and heads of an entry: of its atlas, or of its model once that has been loaded."""
        atlas = self.library.atlas_or_none(name)
        return self._shapes.get(name) if atlas is None else (atlas.n_layers, atlas.n_heads)

    def loading(self, name: str) -> str:
        """A line on the loading of a model, while that goes on; else ""."""
        said = self._said.get(name, "")
        return f"Loading the model; later runs will not wait for this. Now: {said}" if said else ""

    def ready(self, name: str) -> bool:
        """Whether a model is in memory."""
        return self._cache is not None and name in self._cache.loaded()

    @contextmanager
    def use(self, name: str, waiting: Callable[[Place], None] | None = None) -> Iterator[HeadModel]:
        """Hold a model, loading it where that has not happened. In the thread of a request this is a run of a visitor.

        Args:
            name: of the entry.
            waiting: is told the place in the line.

        Raises:
            AtlasError: no such entry.
            ModelError: it cannot be loaded, or others used it for too long.
            Refused: the visitor may not run anything now.
        """
        self.library.entry(name)
        # The first visitor waits for the load itself, so it may take longer than a turn in the queue.
        wait = self.limits.wait_seconds if self.ready(name) else max(600, self.limits.wait_seconds)
        with (
            self.visitors.admitted(current_visitor()),
            self._models(name).use(name, timeout=wait, waiting=waiting) as model,
        ):
            yield model

    def reference(self, name: str) -> MeanReference | None:
        """The atlas' means for mean ablation, or None where it holds none."""
        atlas = self.library.atlas_or_none(name)
        stored = None if atlas is None else atlas.mean_reference()
        if stored is None:
            return None
        from head_atlas.interventions import MeanReference

        return MeanReference(stored.z, stored.source, stored.n_tokens)

    def resample_reference(self, name: str, model: HeadModel) -> ResampleReference | None:
        """Activations of the atlas' own reference prompts for resample ablation, or None where it names none.

        Args:
            name: of the entry.
            model: held by the caller; it is run once, and the activations are kept.

        Raises:
            MissingReferenceError: there are too many of them to be run for one visitor.
        """
        atlas = self.library.atlas_or_none(name)
        stored = None if atlas is None else atlas.resample_prompts()
        if atlas is None or stored is None:
            return None
        if len(stored.tokens) > MOST_DRAWS:
            raise MissingReferenceError(
                f"the atlas names {len(stored.tokens)} reference prompts for resample ablation; at most {MOST_DRAWS} "
                "are run here"
            )
        kept = self._draws.get(name)
        if kept is None or kept[0] is not atlas:
            from head_atlas.interventions import resample_reference

            prompts = stored.prompts()
            draws = resample_reference(model, prompts, stored.source, n_draws=len(prompts), seed=stored.seed)
            kept = self._draws[name] = (atlas, draws)
        return kept[1]

    def mismatch(self, name: str, model: HeadModel) -> str:
        """A warning where the weights are not those that the atlas was measured on; empty where they are."""
        atlas = self.library.atlas_or_none(name)
        measured = "" if atlas is None else str(atlas.provenance.get("model_fingerprint", ""))
        if not measured or not model.fingerprint or measured == model.fingerprint:
            return ""
        return "The loaded weights are not those that this atlas was measured on: its numbers describe another model."
