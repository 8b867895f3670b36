"""What this server serves: atlases, and the models they were measured on."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from time import monotonic

from head_atlas.errors import AtlasError, ModelError
from head_atlas.store import Atlas, open_atlas
from head_atlas.store.hub import is_hub_address

log = logging.getLogger(__name__)

_HUB_ID = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}|[\w-][\w.-]{0,95}", re.ASCII)

_LONGEST_PLACE = 300
_QUICK_ATLASES = Path("runs", "atlases")
"""Below the folder in which the server was started; no part of the repository."""


@dataclass(frozen=True)
class Served:
    """One entry of the model menu.

    Attributes:
        name: what the address bar and the menu call it.
        atlas_path: its atlas file, its address on the hub, or None where only the model is served.
        model_path: a folder or hub id of the model, or None to go by what the atlas names.
    """

    name: str
    atlas_path: Path | str | None
    model_path: str | None


def served_from(place: str) -> Served:
    """Read one entry of `MODEL`.

    A folder with `atlas.h5` (and, beside it, `model/`), an atlas file, a published atlas
    (`hub:owner/name@revision`), a model's folder, or a model's hub id. A place that does not exist is served all the
    same: the page then says what is missing.
    """
    if is_hub_address(place):
        return Served(place.partition("@")[0].rpartition("/")[2], place, None)
    path = Path(place).expanduser()
    if path.suffix == ".h5":
        beside = path.parent / "model"
        return Served(path.stem, path, str(beside) if beside.is_dir() else None)
    if (path / "config.json").is_file():
        return Served(path.name, None, str(path))
    if not path.exists() and not place.startswith((".", "/", "atlas/")) and _HUB_ID.fullmatch(place):
        return Served(place.rsplit("/", 1)[-1], None, place)
    model = path / "model"
    return Served(path.name or "atlas", path / "atlas.h5", str(model) if model.is_dir() else None)


def _is_model(text: str) -> bool:
    """Whether a text is a hub id, or a folder of this machine with a model in it."""
    try:
        folder = Path(text).expanduser()
        return (folder / "config.json").is_file() or (not folder.exists() and bool(_HUB_ID.fullmatch(text)))
    except (OSError, RuntimeError):  # a name that is too long, or the home of nobody
        return False


class Library:
    """The served entries, by name. Atlases are opened on first use and kept; a failure is tried again.

    While one atlas is downloaded, the others can be browsed.

    Args:
        entries: at least one; names are made unique.
        own_models: whether a visitor may open others: only where the visitor is the owner of the machine.
        pause: seconds from a failure to reach an atlas on the hub to the next try; visitors are told of the last one.
    """

    def __init__(self, entries: list[Served], *, own_models: bool = False, pause: float = 60) -> None:
        if not entries:
            raise ValueError("a library needs at least one entry")
        self.own_models = own_models
        self._served: dict[str, Served] = {}
        self._open: dict[str, Atlas] = {}
        self._lock = RLock()
        self._locks: dict[str, RLock] = {}
        self._pause = pause
        self._failed: dict[str, tuple[float, str]] = {}
        self._logged: set[str] = set()
        for entry in entries:
            self._add(entry)

    def _add(self, entry: Served) -> str:
        """Add an entry under a name of its own."""
        name, n = entry.name, 2
        while name in self._served:
            name, n = f"{entry.name}-{n}", n + 1
        self._served[name] = Served(name, entry.atlas_path, entry.model_path)
        self._locks[name] = RLock()
        return name

    @classmethod
    def of(cls, places: str, *, own_models: bool = False) -> Library:
        """A library from a comma-separated list, as in the environment variable `MODEL`."""
        entries = [served_from(place.strip()) for place in places.split(",") if place.strip()]
        return cls(entries, own_models=own_models)

    def check_own_models(self) -> None:
        """Refuse where visitors may not bring models.

        Raises:
            ModelError: they may not.
        """
        if not self.own_models:
            raise ModelError(f"Only the models of the menu can be used here: {', '.join(self.names)}.")

    def open(self, place: object) -> str:
        """Add a model that a visitor named, with its quick atlas if there is one; returns its name in the menu.

        Raises:
            ModelError: visitors may not bring models; or it is neither a hub id nor a model's folder.
        """
        text = place.strip() if isinstance(place, str) else ""
        if text in self._served:
            return text
        self.check_own_models()
        if not text or len(text) > _LONGEST_PLACE or not text.isprintable():
            raise ModelError("Name a model: its id on the Hugging Face hub, such as gpt2, or a folder of this machine.")
        if not _is_model(text):
            raise ModelError(f"{text!r} is neither a hub id nor a folder with a model (config.json).")
        entry = served_from(text)
        with self._lock:
            for name, known in self._served.items():
                if known.model_path == entry.model_path:
                    return name
            name = self._add(entry)
            if (quick := self.quick_atlas_path(name)).is_file():
                self.add_atlas(name, quick)
        return name

    def quick_atlas_path(self, name: str) -> Path:
        """Where a quick atlas of an entry lies.

        Raises:
            AtlasError: no such entry.
        """
        return _QUICK_ATLASES / self.entry(name).name / "quick.h5"

    def add_atlas(self, name: str, path: Path) -> None:
        """An atlas of an entry has been built.

        Raises:
            AtlasError: no such entry.
        """
        with self._lock:
            self._served[name] = Served(name, path, self.entry(name).model_path)
            self._open.pop(name, None)

    @property
    def names(self) -> list[str]:
        """Names of the entries, the default one first."""
        return list(self._served)

    @property
    def default(self) -> str:
        """The entry that an address without a model means."""
        return self.names[0]

    def entry(self, name: str) -> Served:
        """One entry.

        Raises:
            AtlasError: no entry has that name.
        """
        if not isinstance(name, str) or name not in self._served:
            raise AtlasError(f"No model {str(name)[:60]!r} is served here; there is {', '.join(self.names)}.")
        return self._served[name]

    def atlas(self, name: str) -> Atlas:
        """The open atlas of an entry.

        Raises:
            AtlasError: there is none, its file is missing or damaged, or it cannot be had from the hub.
        """
        entry = self.entry(name)
        if entry.atlas_path is None:
            raise AtlasError(f"{entry.name} is served without an atlas: only the Lab works for it.")
        with self._locks[name]:
            if name not in self._open:
                self._open[name] = self._opened(name, entry.atlas_path)
            return self._open[name]

    def _opened(self, name: str, place: Path | str) -> Atlas:
        if name in self._failed and monotonic() - self._failed[name][0] < self._pause:
            raise AtlasError(self._failed[name][1])
        try:
            atlas = open_atlas(place)
            # What is wrong with its numbers shows when they are read, which the pages of visitors do.
            atlas.called = self.told(name, atlas.called)
            return atlas
        except AtlasError as error:
            if is_hub_address(place):
                self._failed[name] = monotonic(), str(error)
            shown = self.told(name, str(error))
            if shown != str(error) and name not in self._logged:
                self._logged.add(name)
                log.warning("%s: %s", name, error)
            raise AtlasError(shown) from error

    def told(self, name: str, text: str) -> str:
        """A message about an entry as visitors may read it: of a public server, without where things lie on its disk.

        Args:
            name: of the entry.
            text: the message.
        """
        entry = self.entry(name)
        places = [Path(one) for one in (entry.atlas_path, entry.model_path) if one is not None]
        for place in places if not self.own_models else ():
            if place.is_absolute():
                text = text.replace(str(place), f"{name}/{place.name}")
        return text

    def atlas_or_none(self, name: str) -> Atlas | None:
        """The open atlas of an entry, or None where there is none that can be read."""
        try:
            return self.atlas(name)
        except AtlasError:
            return None

    def model_source(self, name: str) -> tuple[str, str | None]:
        """Where an entry's model is: a folder or hub id, and its revision.

        Raises:
            ModelError: neither the entry nor its atlas names a model.
        """
        entry = self.entry(name)
        if entry.model_path is not None:
            return entry.model_path, None
        atlas = self.atlas_or_none(name)
        if atlas is None or not atlas.model_id:
            raise ModelError(f"{entry.name}: no model lies beside the atlas, and the atlas names none.")
        revision = atlas.provenance.get("revision") or atlas.provenance.get("model_revision")
        return atlas.model_id, str(revision) if revision else None
