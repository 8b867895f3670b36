"""What a program hears that calls by a wrong name or with wrong arguments: a sentence, and no trace in the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.responses import JSONResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import Request

CALLS = "/gradio_api/call/v2/"
NOT_OURS = " Please click on 'view API' in the footer of the Gradio app to see usage."


def exception_handlers() -> dict[type[Exception], Callable[..., Any]]:
    """For the app that Gradio makes: its route for calls by name lets these two through as they are.

    Both come from looking up the call and its parameters, before anything of ours runs: what goes wrong within a call
    is an event of the queue.
    """
    return {KeyError: _no_such_call, TypeError: _wrong_arguments}


async def _no_such_call(request: Request, error: KeyError) -> JSONResponse:
    name = _called(request)
    if name is None or error.args != (f"/{name}",):
        raise error
    return JSONResponse({"detail": f"There is no call {name[:60]!r}; docs/api.md lists them."}, 404)


async def _wrong_arguments(request: Request, error: TypeError) -> JSONResponse:
    words = str(error)
    if _called(request) is None or not words.startswith(("Parameter `", "No value provided for")):
        raise error
    return JSONResponse({"detail": f"{words.removesuffix(NOT_OURS).removesuffix('.')}."}, 422)


def _called(request: Request) -> str | None:
    """The name of the call, or None where this is another request."""
    path: str = request.url.path
    return path.partition(CALLS)[2].rstrip("/") if CALLS in path and request.method == "POST" else None
