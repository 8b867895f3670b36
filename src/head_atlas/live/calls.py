"""A call of the library as something that can be written down: run it, list it, or turn it into Python.

An argument may be a `Call` itself (a reference made of prompts, an attribution to be tested), or `Written`: a value
together with the code that makes it. Text that was typed is only ever written as a Python literal.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from head_atlas.errors import HeadAtlasError
from head_atlas.heads import HeadId
from head_atlas.interventions import MeanReference
from head_atlas.models import HeadModel

NOT_WRITTEN = ("progress",)
"""Parameters that tell somebody how far a run is: no part of what is computed."""
MOST_NUMBERS = 4096
"""Numbers of an array that are written out; a larger one needs the code that makes it."""
_PROMPTS = ("prompt", "prompts", "clean", "corrupted")


@dataclass(frozen=True)
class Written:
    """A value and the code that makes it.

    Attributes:
        value: as it was used.
        code: a Python expression.
        imports: modules and names that it needs from them.
    """

    value: Any
    code: str
    imports: tuple[tuple[str, str], ...] = ()


def stored_mean(reference: MeanReference, atlas: str) -> Written:
    """A mean reference that was taken from an atlas file.

    Args:
        reference: as it was used.
        atlas: the file, as whoever runs the code is to find it.
    """
    imports = (("head_atlas", "open_atlas"), ("head_atlas.interventions", "MeanReference"))
    return Written(reference, f"MeanReference(*open_atlas({str(atlas)!r}).mean_reference())", imports)


@dataclass(frozen=True)
class Call:
    """A function of the library and its arguments.

    Attributes:
        function: a public function of head_atlas.
        arguments: by parameter, as given.
    """

    function: Callable[..., Any]
    arguments: Mapping[str, Any]

    @classmethod
    def of(cls, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Call:
        """Bind arguments as the function would.

        Raises:
            HeadAtlasError: a function of something else than this library.
            TypeError: arguments that the function does not take.
        """
        module = getattr(function, "__module__", "") or ""
        if not (module == "head_atlas" or module.startswith("head_atlas.")) or not inspect.isfunction(function):
            raise HeadAtlasError(f"only functions of head_atlas can be written down, found {function!r}")
        signature = inspect.signature(function)
        bound = signature.bind(*args, **kwargs).arguments
        for name, parameter in signature.parameters.items():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:  # options that are handed on
                bound |= bound.pop(name, {})
        return cls(function, {name: value for name, value in bound.items() if name not in NOT_WRITTEN})

    @property
    def name(self) -> str:
        """Where the function is imported from, and its name: "head_atlas.ablate"."""
        return f"{_home(self.function)}.{self.function.__name__}"

    @property
    def all_arguments(self) -> dict[str, Any]:
        """By parameter, with defaults."""
        parameters = inspect.signature(self.function).parameters
        defaults = {
            name: parameter.default
            for name, parameter in parameters.items()
            if parameter.default is not inspect.Parameter.empty and name not in NOT_WRITTEN
        }
        in_order = dict.fromkeys(name for name in parameters if name in defaults or name in self.arguments)
        return in_order | defaults | dict(self.arguments)

    @property
    def model(self) -> HeadModel | None:
        """The model that it runs, its own or that of an argument; None where there is none."""
        for value in self.arguments.values():
            if isinstance(value, HeadModel):
                return value
            if isinstance(value, Call) and value.model is not None:
                return value.model
        return None

    def run(self, progress: Callable[..., None] | None = None) -> Any:
        """Call the function, and before it those among its arguments."""
        arguments = {name: as_value(value) for name, value in self.arguments.items()}
        if progress is not None:
            arguments["progress"] = progress
        return self.function(**arguments)

    def snippet(self, model_id: str | None = None) -> str:
        """Python that makes the result again, as `result`, with calls of head_atlas only.

        Args:
            model_id: hub id or folder to be written; as the model was loaded by default.

        Raises:
            HeadAtlasError: an argument that cannot be written, or a model that was not loaded from anywhere.
        """
        return _Snippet(model_id).text(self)


def as_value(value: Any) -> Any:
    """What an argument stands for."""
    if isinstance(value, Call):
        return value.run()
    return value.value if isinstance(value, Written) else value


def _home(function: Any) -> str:
    """The package from which something is imported, as short as it is public."""
    module, name = function.__module__, function.__name__
    parts = module.split(".")
    for n in range(1, len(parts)):
        package = importlib.import_module(".".join(parts[:n]))
        if name in dir(package) and getattr(package, name, None) is function:
            return package.__name__
    return module


class _Snippet:
    """Code under construction: imports, and lines that name values."""

    def __init__(self, model_id: str | None) -> None:
        self._model_id = model_id
        self._model: HeadModel | None = None
        self._imports: dict[str, set[str]] = {}
        self._statements: set[str] = set()
        self._lines: list[str] = []
        self._names: set[str] = {"model", "result"}

    def text(self, call: Call) -> str:
        expression = self._call(call)
        body = [*self._load(), *self._lines, f"result = {expression}"]
        named = [f"from {home} import {', '.join(sorted(names))}" for home, names in sorted(self._imports.items())]
        return "\n".join([*sorted(self._statements), *named, "", *body]) + "\n"

    def _import(self, home: str, name: str) -> None:
        self._imports.setdefault(home, set()).add(name)

    def _load(self) -> list[str]:
        model = self._model
        if model is None:
            return []
        name = self._model_id or model.model_id
        if not name or not (self._model_id or model.fingerprint):
            raise HeadAtlasError("the model was not loaded from a folder or the hub: there is no way to name it")
        self._import("head_atlas", "load_model")
        more = f", revision={model.revision!r}" if model.revision else ""
        if model.dtype != torch.float32:
            more += f", dtype={str(model.dtype).removeprefix('torch.')!r}"
        lines = [f"model = load_model({str(name)!r}{more})"]
        if model.fingerprint:
            lines.append(f'assert model.fingerprint == {model.fingerprint!r}, "these are other weights"')
        return lines

    def _call(self, call: Call) -> str:
        self._import(_home(call.function), call.function.__name__)
        written = []
        for key, value in call.all_arguments.items():
            given = key in call.arguments
            if not given and (value is None or value == ()):
                continue
            try:
                code = self._value(value, key)
            except HeadAtlasError as error:
                raise HeadAtlasError(f"{call.function.__name__}, argument {key}: {error}") from None
            written.append(f"    {key}={code},\n")
            if key in _PROMPTS and isinstance(value, str) and call.model is not None:
                ids = call.model.policy.encode(value)
                self._lines.append(
                    f'assert model.tokens({value!r}).tolist() == {list(ids)!r}, "these are other tokens"'
                )
        return f"{call.function.__name__}(\n{''.join(written)})"

    def _value(self, value: Any, name: str) -> str:
        if value is None or isinstance(value, (bool, str)):
            return repr(value)
        if isinstance(value, (int, np.integer)):
            return repr(int(value))
        if isinstance(value, (float, np.floating)):
            return repr(float(value)) if math.isfinite(value) else f'float("{float(value)}")'
        if isinstance(value, HeadId):
            return repr(value.label)
        if isinstance(value, HeadModel):
            if self._model not in (None, value):
                raise HeadAtlasError("more than one model")
            self._model = value
            return "model"
        if isinstance(value, Written):
            for home, imported in value.imports:
                self._import(home, imported)
            return value.code
        if isinstance(value, Call):
            return self._variable(value, name)
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, Mapping):
            return "{" + ", ".join(f"{self._value(k, name)}: {self._value(v, name)}" for k, v in value.items()) + "}"
        if isinstance(value, tuple):
            return "(" + ", ".join(self._value(v, name) for v in value) + ("," * (len(value) == 1)) + ")"
        if isinstance(value, (list, range)):
            return "[" + ", ".join(self._value(v, name) for v in value) + "]"
        if dataclasses.is_dataclass(value) and type(value).__module__.startswith("head_atlas."):
            return self._dataclass(value, name)
        raise HeadAtlasError(
            f"a {type(value).__name__} cannot be written as code: give it as a Call, or Written with its code"
        )

    def _variable(self, call: Call, name: str) -> str:
        """Put a call on a line of its own, before the one that needs it."""
        expression = self._call(call)
        unique, n = name, 2
        while unique in self._names:
            unique, n = f"{name}_{n}", n + 1
        self._names.add(unique)
        self._lines.append(f"{unique} = {expression}")
        return unique

    def _array(self, array: np.ndarray) -> str:
        if array.size > MOST_NUMBERS or array.dtype.kind not in "biuf":
            raise HeadAtlasError(
                f"an array of {array.size} numbers ({array.dtype}) is not written out: give it as a Call, or Written "
                "with its code"
            )
        self._statements.add("import numpy as np")
        values = repr(array.tolist()).replace("nan", "np.nan").replace("inf", "np.inf")
        return f"np.array({values}, dtype=np.{array.dtype})"

    def _dataclass(self, value: Any, name: str) -> str:
        kind = type(value)
        self._import(_home(kind), kind.__name__)
        written = []
        for field in dataclasses.fields(value):
            own = getattr(value, field.name)
            default = field.default if field.default is not dataclasses.MISSING else None
            empty = field.default_factory is not dataclasses.MISSING and not own
            plain = isinstance(own, (str, int, float, tuple)) and isinstance(default, type(own)) and own == default
            if field.init and not plain and not empty:
                written.append(f"{field.name}={self._value(own, name)}")
        return f"{kind.__name__}({', '.join(written)})"
