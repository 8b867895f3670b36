"""Evidence to take away: a result with the call that made it, as JSON, as CSV, and as Python that makes it again.

    found = with_evidence(ablate, model, "The cat sat on the", ["L0H4"])
    found.result, found.json(), found.csv(), found.snippet()

One way for every result: a call knows its function and arguments (`live.calls`), a result is a dataclass of arrays by
name (`live.plain_values`). Results of the functions that stream (`iter_...`) are put together with the call of the
function that does not: `Evidence(Call.of(patch, model, ...), last)`.
"""

from __future__ import annotations

import csv
import io
import json
import platform
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from head_atlas.catalogue import MEASURES
from head_atlas.errors import HeadAtlasError
from head_atlas.live.calls import Call
from head_atlas.live.plain_values import described_model, numbers_of, plain
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt

FORMAT, FORMAT_VERSION = "head-atlas-evidence", 1
PACKAGES = ("torch", "transformers", "tokenizers", "numpy")
MEASURED: Mapping[str, tuple[str, ...]] = {
    "causal_trace": ("causal_trace",),
    "circuit_graph": ("path_patching",),
    "direct_and_total": ("direct_logit", "self_repair"),
    "direct_logits": ("direct_logit",),
    "find_circuit": ("circuit_faithfulness", "circuit_minimality", "circuit_completeness", "circuit_percentile"),
    "interactions": ("interaction",),
    "joint_effect": ("joint_effect",),
    "logit_lens": ("logit_lens",),
    "patch": ("patching",),
    "path_patch": ("path_patching",),
    "stand_ins": ("direct_logit", "self_repair"),
}
"""Entries of the catalogue by function; those that a result names itself (its metrics and method) are found there."""
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_FORMULA = re.compile(r'(^"|[,;]\s*)([=+\-@])')


def with_evidence(function: Callable[..., Any], *args: Any, atlas_sha256: str = "", **kwargs: Any) -> Evidence:
    """Call a function of the library and keep what it was called with.

    Args:
        function: such as `ablate`.
        args: of the function; each may be a `Call` or `Written`.
        atlas_sha256: of the atlas file that the call took something from, if it did.
        kwargs: of the function.

    Raises:
        HeadAtlasError: as the function.
    """
    progress = kwargs.pop("progress", None)
    call = Call.of(function, *args, **kwargs)
    return Evidence(call, call.run(progress), atlas_sha256)


@dataclass(frozen=True)
class Evidence:
    """A result and the call that made it.

    Attributes:
        call: function and arguments.
        result: what it returned.
        atlas_sha256: of the atlas file that something was taken from; "" for none.
        model_id: how the model is to be named to others, "" for as it was loaded.
    """

    call: Call
    result: Any = field(repr=False)
    atlas_sha256: str = ""
    model_id: str = ""

    def about(self) -> dict[str, Any]:
        """Everything but the result: what was called, on what, by which formulas and versions."""
        model = self.call.model
        described = None if model is None else described_model(model)
        if described is not None and self.model_id:
            described["model_id"] = self.model_id
        arguments = {
            name: "model" if value is model and model is not None else plain(value)
            for name, value in self.call.all_arguments.items()
        }
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "function": self.call.name,
            "arguments": arguments,
            "model": described,
            "prompts": self._prompts(),
            "atlas_sha256": self.atlas_sha256 or None,
            "measures": self._measures(),
            "packages": {"head_atlas": _own_version(), "python": platform.python_version(), **_versions()},
        }

    def json(self) -> str:
        """One JSON object: `about`, the code that makes the result again, and the result.

        NaN is null; arrays are objects with the names of their axes. `code` is null where an argument cannot be
        written as code, and `no_code` says why.
        """
        code, why = None, None
        try:
            code = self.snippet()
        except HeadAtlasError as error:
            why = str(error)
        whole = {**self.about(), "code": code, "no_code": why, "result": plain(self.result)}
        return json.dumps(whole, ensure_ascii=False, allow_nan=False, indent=1) + "\n"

    def csv(self) -> str:
        """A table with a row for every number: its array, its place on each axis, its value.

        The lines before it start with "#" and hold `about`, a JSON value for each key. An empty value is NaN. Text that
        a spreadsheet would take for a formula has an apostrophe in front.
        """
        arrays = numbers_of(self.result)
        dims = list(dict.fromkeys(dim for array in arrays.values() for dim in array.dims))
        out = io.StringIO()
        for key, value in self.about().items():
            out.write(f"# {key}: {_no_formula(json.dumps(value, ensure_ascii=True))}\n")
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["array", *dims, "value"])
        for name, array in arrays.items():
            for place, value in _cells(array):
                writer.writerow([_safe(name), *(_safe(place.get(dim, "")) for dim in dims), value])
        return out.getvalue()

    def snippet(self) -> str:
        """Python that makes the result again, as `result`, with calls of head_atlas only.

        Raises:
            HeadAtlasError: an argument that cannot be written as code; the message names it.
        """
        versions = ", ".join(f"{name} {number}" for name, number in _versions().items())
        return f"# Made with head_atlas {_own_version()}, {versions}.\n" + self.call.snippet(self.model_id or None)

    def _prompts(self) -> list[dict[str, Any]]:
        """Tokens of every prompt that was measured, BOS first."""
        model = self.call.model
        if model is None:
            return []
        found = _prompts_in(self.result) or _prompts_in(self.call.all_arguments)
        rows: dict[tuple[int, ...], str] = {prompt.tokens: prompt.text for prompt in found}
        if not rows:
            texts = [value for name, value in self.call.arguments.items() if name.startswith("prompt")]
            listed = [t for text in texts for t in ([text] if isinstance(text, str) else text) if isinstance(t, str)]
            rows = {model.policy.encode(text): text for text in listed}
        return [{"text": text, "tokens": list(ids), "strings": model.strings(ids)} for ids, text in rows.items()]

    def _measures(self) -> dict[str, dict[str, Any]]:
        """Formula, unit and source of what the result holds, from the catalogue."""
        named = {*MEASURED.get(self.call.function.__name__, ()), *_names_in(self.result)}
        found = [MEASURES[name] for name in sorted(named) if name in MEASURES]
        return {
            m.name: {"label": m.label, "kind": m.kind, "unit": m.unit, "formula": m.formula, "source": m.source}
            for m in found
        }


def _own_version() -> str:
    return str(import_module("head_atlas").__version__)


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def _prompts_in(value: Any) -> list[Prompt]:
    if isinstance(value, Prompt):
        return [value]
    if isinstance(value, Mapping):
        return [one for inner in value.values() for one in _prompts_in(inner)]
    if isinstance(value, (list, tuple)):
        return [one for inner in value for one in _prompts_in(inner)]
    if hasattr(value, "__dataclass_fields__"):
        return [one for name in value.__dataclass_fields__ for one in _prompts_in(getattr(value, name))]
    return []


def _names_in(value: Any) -> Iterator[str]:
    """Strings of a result, and keys: among them the names of metrics and methods."""
    for name in getattr(value, "__dataclass_fields__", ()):
        one = getattr(value, name)
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            yield from map(str, one)


def _cells(array: NamedArray) -> Iterator[tuple[dict[str, Any], Any]]:
    """(label by axis, value) of every number."""
    labels = [list(array.coords.get(dim, range(n))) for dim, n in zip(array.dims, array.shape, strict=True)]
    for index in np.ndindex(array.shape):
        value = array.values[index]
        place = {dim: labels[axis][index[axis]] for axis, dim in enumerate(array.dims)}
        yield place, "" if value != value else value.item()


def _no_formula(text: str) -> str:
    """JSON of which no piece begins like a formula, as a spreadsheet cuts the lines above the table at commas too.

    The sign that would begin one is written by its number, which JSON reads as the same text.
    """
    return _STRING.sub(lambda s: _FORMULA.sub(lambda m: f"{m[1]}\\u{ord(m[2]):04x}", s[0]), text)


def _safe(cell: Any) -> str:
    text = str(plain(cell))
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") and not isinstance(cell, (int, float)) else text
