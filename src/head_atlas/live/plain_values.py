"""Results as plain values (numbers, strings, lists, dictionaries), and as a table of all their numbers.

Works on any dataclass of this library, field by field: no result needs code of its own. What cannot be a number in
JSON is null: NaN, where something is not defined, and nothing else.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from head_atlas.errors import HeadAtlasError
from head_atlas.heads import HeadId
from head_atlas.interventions import MeanReference, ResampleReference
from head_atlas.live.calls import Call, Written
from head_atlas.models import HeadModel
from head_atlas.named_array import NamedArray


def plain(value: Any) -> Any:
    """Turn a value of this library into what JSON can hold.

    Heads become labels such as "L0H4"; arrays keep the names of their axes; a dataclass says its type; models and
    references are described, not written out.

    Raises:
        HeadAtlasError: a value of another kind.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return _number(float(value))
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, HeadId):
        return value.label
    if isinstance(value, HeadModel):
        return described_model(value)
    if isinstance(value, (MeanReference, ResampleReference)):
        fields = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value) if f.name != "z"}
        return {"type": type(value).__name__, **fields, "shape": list(value.z.shape), "sha256": _sha256(value.z)}
    if isinstance(value, NamedArray):
        coords = {dim: [plain(label) for label in labels] for dim, labels in value.coords.items()}
        return {"dims": list(value.dims), "shape": list(value.shape), "coords": coords, "values": _list(value.values)}
    if isinstance(value, np.ndarray):
        return {"shape": list(value.shape), "values": _list(value)}
    if isinstance(value, Call):
        return {"function": value.name, "arguments": {k: plain(v) for k, v in value.all_arguments.items()}}
    if isinstance(value, Written):
        return {"code": value.code, "value": plain(value.value)}
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, range, set, frozenset)):
        listed = sorted(value) if isinstance(value, (set, frozenset)) else value
        return [plain(one) for one in listed]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            field.name: plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if not isinstance(getattr(value, field.name), HeadModel)
        }
        return {"type": type(value).__name__, **fields}
    raise HeadAtlasError(f"a {type(value).__name__} cannot be exported")


def described_model(model: HeadModel) -> dict[str, Any]:
    """What names a model, and how it ran."""
    return {
        "model_id": model.model_id,
        "revision": model.revision,
        "fingerprint": model.fingerprint,
        "architecture": type(model.model).__name__,
        "n_layers": model.n_layers,
        "n_heads": model.n_heads,
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": model.device.type,
        "bos_policy": model.policy.bos_policy,
        "bos_id": model.policy.bos_id,
    }


def numbers_of(result: Any) -> dict[str, NamedArray]:
    """Every number and array of a result by its place, such as "effects.logprob" or "clean.tokens.0".

    Prompts, models and references are inputs and left out.
    """
    return dict(_walk(result, ""))


def _walk(value: Any, place: str) -> Iterator[tuple[str, NamedArray]]:
    if isinstance(value, NamedArray):
        if value.values.dtype.kind in "biuf":
            yield place, value
    elif isinstance(value, np.ndarray):
        if value.dtype.kind in "biuf":
            yield place, NamedArray(value, tuple(f"axis_{axis}" for axis in range(value.ndim)))
    elif isinstance(value, (bool, int, float, np.number)):
        yield place, NamedArray(np.asarray(value), ())
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _walk(one, f"{place}.{key}" if place else str(key))
    elif isinstance(value, (list, tuple)):
        if value and all(isinstance(one, (bool, int, float, np.number)) for one in value):
            yield place, NamedArray(np.asarray(value), ("index",))
        else:
            for index, one in enumerate(value):
                yield from _walk(one, f"{place}.{index}")
    elif dataclasses.is_dataclass(value) and not isinstance(value, type) and not _is_input(value):
        for field in dataclasses.fields(value):
            yield from _walk(getattr(value, field.name), f"{place}.{field.name}" if place else field.name)


def _is_input(value: Any) -> bool:
    return isinstance(value, (HeadModel, MeanReference, ResampleReference, HeadId)) or type(value).__name__ == "Prompt"


def _list(array: np.ndarray) -> Any:
    if array.dtype.kind != "f":
        return array.tolist()
    if array.ndim == 0:
        return _number(float(array))
    return [_list(row) for row in array] if array.ndim > 1 else [_number(float(x)) for x in array]


def _number(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")


def _sha256(array: np.ndarray) -> str:
    """Of the numbers as they lie in memory, row by row."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
