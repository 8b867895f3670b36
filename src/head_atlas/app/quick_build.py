"""A quick atlas built in the background, one at a time: with progress, stop and resume.

The build is a process of its own, `python -m head_atlas.app.quick_build MODEL OUT`: it can be stopped at any moment
and goes on where it was (its units are kept as shards), and it shares nothing with the runs of the Lab.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING

from head_atlas.errors import HeadAtlasError

if TYPE_CHECKING:
    from head_atlas.app.library import Library

_UNITS = "units: "


@dataclass(frozen=True)
class BuildState:
    """How far a build is.

    Attributes:
        name: the entry of the library; "" before any build.
        text: what is going on, in words.
        fraction: units done, 0 to 1, or None while their number is not known.
        running: whether it goes on.
        finished: whether the atlas is there.
    """

    name: str = ""
    text: str = ""
    fraction: float | None = None
    running: bool = False
    finished: bool = False


class QuickBuilder:
    """Builds quick atlases of a library's entries.

    Args:
        library: whose entries; a finished atlas is added to its entry.
    """

    def __init__(self, library: Library) -> None:
        self.library = library
        self._lock = Lock()
        self._process: subprocess.Popen[str] | None = None
        self._name, self._text, self._units = "", "", 0
        self._stopped = self._finished = False

    def start(self, name: str) -> None:
        """Begin, or go on with a build that was stopped.

        Raises:
            HeadAtlasError: another build is running, the entry has an atlas already, or its folder cannot be made.
        """
        entry = self.library.entry(name)
        if entry.atlas_path is not None:
            raise HeadAtlasError(f"{name} has an atlas already.")
        place, revision = self.library.model_source(name)
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                raise HeadAtlasError(f"A quick atlas of {self._name} is being built; one at a time.")
            out = self.library.quick_atlas_path(name)
            try:
                out.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise HeadAtlasError(f"{out.parent} cannot be made, so no atlas can be built here: {error}") from error
            self._name, self._text, self._units = name, "starting", 0
            self._stopped = self._finished = False
            command = [sys.executable, "-m", "head_atlas.app.quick_build", place, str(out), revision or ""]
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        Thread(target=self._follow, args=(self._process, name, out), name=f"build {name}", daemon=True).start()

    def stop(self) -> None:
        """Stop the build; the units that are done stay."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._stopped = True
                self._process.terminate()

    def state(self) -> BuildState:
        """How far the latest build is."""
        with self._lock:
            running = self._process is not None and self._process.poll() is None
            fraction = None
            if self._units and running:
                # What `head_atlas.build.parts_folder` says, without importing torch into the page.
                out = self.library.quick_atlas_path(self._name)
                shards = out.with_name(f"{out.name}.parts")
                fraction = min(1.0, len(list(shards.glob("*.h5"))) / self._units)
            return BuildState(self._name, self._text, fraction, running, self._finished)

    def _follow(self, process: subprocess.Popen[str], name: str, out: Path) -> None:
        """Read what the build says until it ends."""
        assert process.stdout is not None
        for line in process.stdout:
            with self._lock:
                if line.startswith(_UNITS):
                    self._units = int(line.removeprefix(_UNITS))
                else:
                    self._text = line.strip()
        status = process.wait()
        with self._lock:
            if status == 0:
                self.library.add_atlas(name, out)
                self._finished, self._text = True, "The quick atlas is there: the Atlas tab shows it."
            elif self._stopped:
                self._text = "Stopped; “Build a quick atlas” goes on from here."
            else:
                self._text = f"The build ended with an error: {self._text}"


def main(place: str, out: str, revision: str) -> int:
    """Build the quick atlas of a model; what is going on is said on the standard output."""
    from head_atlas.build import QUICK, build_atlas, plan_atlas
    from head_atlas.models import load_model

    def say(text: str) -> None:
        print(text, flush=True)

    try:
        model = load_model(place, revision or None, progress=say)
        say(f"{_UNITS}{len(plan_atlas(model, QUICK).units)}")
        build_atlas(model, out, QUICK, say, keep_shards=False)
    except (HeadAtlasError, OSError) as error:
        say(str(error).replace("\n", " "))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
