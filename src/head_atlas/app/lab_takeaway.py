"""Results to take away: JSON, CSV and the Python that makes them again. Nothing is written to the disk.

Pictures are saved from the figures themselves, in the page.
"""

from __future__ import annotations

import secrets
import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from head_atlas.app.lab_modes import reference_for
from head_atlas.errors import HeadAtlasError

if TYPE_CHECKING:
    from head_atlas.app.engine import Engine
    from head_atlas.app.lab_view import Asked
    from head_atlas.live import Evidence
    from head_atlas.models import HeadModel

MOST_KEPT = 128
"""Results of all visitors together; older ones have to be run again."""
MOST_BYTES = 64 * 2**20
"""Of them all; the latest is kept whatever it takes, which `MOST_CHARACTERS` bounds for each of its files."""
MOST_CHARACTERS = 4_000_000
"""Of one file; a larger one is left out, and said."""
ModelCall = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], Any]
"""A function of the library, its arguments, those by name, and what it returned."""


_PRINTED = {"ablate": "print(result.effects)\nfor token in result.top():\n    print(token)\n"}
"""What the code prints at its end, by function: the numbers that the page shows. Others print the result as it is."""


class Shelf:
    """Keeps the files of the latest results, as far as two bounds reach.

    Args:
        most_kept: results.
        most_bytes: that they take together, by `size_of`.
    """

    def __init__(self, most_kept: int = MOST_KEPT, most_bytes: int = MOST_BYTES) -> None:
        self._most_kept, self._most_bytes = most_kept, most_bytes
        self._kept: OrderedDict[str, tuple[dict, int]] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def put(self, files: dict) -> str:
        """Keep files, and return the key to them, which nobody can guess."""
        # Once: a text that was sent may take more, as Python keeps its UTF-8 with it.
        key, size = secrets.token_urlsafe(12), size_of(files)
        with self._lock:
            self._kept[key] = files, size
            self._bytes += size
            while len(self._kept) > 1 and (len(self._kept) > self._most_kept or self._bytes > self._most_bytes):
                _, (_, oldest) = self._kept.popitem(last=False)
                self._bytes -= oldest
        return key

    def get(self, key: str) -> dict:
        """What the page's component draws."""
        with self._lock:
            found, _ = self._kept.get(key, (None, 0))
        return found or {"empty": "The server no longer keeps this result: run it again, then take it away."}


def size_of(files: dict) -> int:
    """Bytes of memory that the files of one result take: those of their texts, beside which the rest is small."""
    return sum(sys.getsizeof(file["text"]) for file in files["files"])


def files_of(engine: Engine, model: HeadModel, what: Asked, name: str, calls: Sequence[ModelCall]) -> dict:
    """The files of a result.

    Args:
        engine: of the server.
        model: that was run.
        what: the experiment.
        name: of the files.
        calls: what was called; the first one is the main one.
    """
    from head_atlas.live import Call, Evidence

    files, left_out = [], []
    for number, (function, args, named, result) in enumerate(calls):
        stem = f"head-atlas-{name}" + (f"-{function.__name__.replace('_', '-')}" if number else "")
        written = [_written(engine, model, what, value) for value in args]
        while written and written[-1] is None:
            written.pop()
        by_name = {key: _written(engine, model, what, value, key) for key, value in named.items() if value is not None}
        call = Call.of(function, *written, **by_name)
        atlas = engine.library.atlas_or_none(what.model)
        evidence = Evidence(call, result, "" if atlas is None else atlas.sha256, _model_name(engine, model))
        for ending, mime, make in (
            ("json", "application/json", evidence.json),
            ("csv", "text/csv", evidence.csv),
            ("py", "text/x-python", partial(_code, evidence)),
        ):
            try:
                text = make()
            except HeadAtlasError as error:
                left_out.append(f"{stem}.{ending}: {error}")
                continue
            if len(text) > MOST_CHARACTERS:
                left_out.append(f"{stem}.{ending} would have {len(text):,} characters")
            else:
                files.append({"name": f"{stem}.{ending}", "mime": mime, "text": text})
    return {"files": files, "left_out": left_out}


def _code(evidence: Evidence) -> str:
    """Code that makes the result again and prints it, as a file that can be run."""
    return evidence.snippet() + _PRINTED.get(evidence.call.function.__name__, "print(result)\n")


def taken_result(engine: Engine, model: HeadModel, what: Asked) -> dict:
    """The files of the main result: the ablation, and the attribution of its target. The caller holds the model.

    Raises:
        HeadAtlasError: as the run itself.
    """
    from head_atlas.live import ablate, attribute

    reference = reference_for(engine, model, what)
    args: tuple[Any, ...] = (model, what.prompt, what.heads, what.mode, what.target, what.contrast, reference)
    run = ablate(*args)
    around = (model, what.prompt, run.target, run.contrast, what.heads, what.mode, reference)
    calls: tuple[ModelCall, ...] = ((ablate, args, {}, run), (attribute, around, {}, attribute(*around)))
    return files_of(engine, model, what, "result", calls)


def _written(engine: Engine, model: HeadModel, what: Asked, value: Any, name: str = "") -> Any:
    """A value, with the code that makes it where it is too large to be written out."""
    from head_atlas.interventions import MeanReference, ResampleReference, resample_reference
    from head_atlas.live import Call, Written, stored_mean

    atlas = engine.library.atlas_or_none(what.model)
    if atlas is None:
        return value
    if isinstance(value, MeanReference):
        return stored_mean(value, _place(engine, what))
    if isinstance(value, ResampleReference) and (stored := atlas.resample_prompts()) is not None:
        prompts = stored.prompts()
        return Call.of(resample_reference, model, prompts, stored.source, n_draws=len(prompts), seed=stored.seed)
    if name == "stored" and isinstance(value, dict):
        each = ", ".join(f"{key!r}: atlas.effects[{key!r}].sel(mode={what.mode!r})" for key in value)
        # A list of one, so that the file is opened once and the expression stays one line.
        code = f"[{{{each}}} for atlas in [open_atlas({_place(engine, what)!r})]][0]"
        return Written(None, code, (("head_atlas", "open_atlas"),))
    return value


def _place(engine: Engine, what: Asked) -> str:
    """The atlas file as whoever runs the code is to find it: no folder of this machine."""
    path = engine.library.entry(what.model).atlas_path or Path("atlas.h5")
    if isinstance(path, str):  # on the hub: the commit that was opened
        source = engine.library.atlas(what.model).source
        return path if source is None else str(source.pinned_address)
    return path.name if path.is_absolute() else path.as_posix()


def _model_name(engine: Engine, model: HeadModel) -> str:
    """The model as whoever runs the code is to find it: of a public server, no folder of its disk."""
    path = Path(model.model_id)
    return path.name if path.is_absolute() and not engine.library.own_models else model.model_id
