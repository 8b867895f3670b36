"""Arguments of public calls: anyone may send anything, so every one is checked against its type before it is used."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import wraps
from types import NoneType
from typing import Any, get_args, get_type_hints

from head_atlas.app.events import refused
from head_atlas.app.limits import well_formed
from head_atlas.app.public_api.reference import documented
from head_atlas.app.words import sentence
from head_atlas.errors import HeadAtlasError

LONGEST_TEXT = 100_000
"""Characters of any argument; prompts and names have tighter limits of their own."""
_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}

Call = Callable[..., dict[str, Any]]


def published(call: Call, counted: Callable[[], None] = lambda: None) -> Call:
    """A call as others see it: its arguments are checked, and what is expected to go wrong is said in a sentence.

    Args:
        call: whose parameters are typed as str, int, float or bool, or one of these or None.
        counted: is called first, and may refuse the caller by a HeadAtlasError.
    """
    signature, types = inspect.signature(call), get_type_hints(call)

    @wraps(call)
    def checked_call(*args: Any, **kwargs: Any) -> dict[str, Any]:
        given = signature.bind(*args, **kwargs).arguments
        try:
            counted()
            return call(**{name: checked(name, value, types[name]) for name, value in given.items()})
        except HeadAtlasError as error:
            raise refused("Not possible", sentence(error)) from None

    # Gradio reads one line per argument, for the descriptions of MCP tools.
    checked_call.__doc__ = documented(call).flat()
    return checked_call


def checked(name: str, value: Any, hint: Any) -> Any:
    """An argument of the right type.

    Args:
        name: of the parameter.
        value: as it was sent. A whole number stands for a float too, and 5.0 for a whole number.
        hint: the parameter's type.

    Raises:
        HeadAtlasError: it is of another type, not finite, half a character, or far too long.
    """
    kinds = get_args(hint) or (hint,)
    if value is None and NoneType in kinds:
        return None
    (kind,) = (one for one in kinds if one is not NoneType)
    if kind is not bool and not isinstance(value, bool) and isinstance(value, int | float):
        if isinstance(value, float) and not math.isfinite(value):
            raise HeadAtlasError(f"{name} must be a finite number.")
        if kind is int and (isinstance(value, int) or value.is_integer()):
            return int(value)
        if kind is float:
            return value
    elif isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        if kind is str:
            _check_text(name, value)
        return value
    raise HeadAtlasError(f"{name} must be {_WORDS[kind]}, found {type(value).__name__}.")


def _check_text(name: str, text: str) -> None:
    if len(text) > LONGEST_TEXT:
        raise HeadAtlasError(f"{name} is {len(text)} characters long; at most {LONGEST_TEXT} are read.")
    if not well_formed(text):
        raise HeadAtlasError(f"{name} holds half of a character (a lone surrogate).")
