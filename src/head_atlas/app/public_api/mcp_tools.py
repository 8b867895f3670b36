"""The public calls as tools of an MCP server, which Gradio makes of them where the package `mcp` is installed."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import gradio as gr
    from starlette.types import ASGIApp, Receive, Scope, Send

PATH = "/gradio_api/mcp"
_FORWARDED = b"x-forwarded-for"


def offered(environment: Mapping[str, str]) -> bool:
    """Whether there is an MCP server: where the package is installed, unless `MCP` is 0."""
    if environment.get("MCP") == "0":
        return False
    if find_spec("mcp") is None:
        print("No MCP server: `pip install -r requirements-mcp.txt` adds one.", file=sys.stderr)
        return False
    return True


def answer_in_json(page: gr.Blocks) -> None:
    """Let the tools of a launched page answer in JSON: Gradio itself would write a dictionary as Python does.

    Raises:
        RuntimeError: Gradio could not start the MCP server.
    """
    server = page.mcp_server_obj
    if server is None:
        raise RuntimeError(page.mcp_error or "the MCP server did not start")
    text_content = server.types.TextContent

    def as_json(data: list[Any], _root_url: str) -> list[Any]:
        return [text_content(type="text", text=json.dumps(one, ensure_ascii=False, allow_nan=False)) for one in data]

    server.postprocess_output_data = as_json


class TrueCaller:
    """Middleware: a tool call comes with the address that it came from, and with no other that the caller may claim.

    Gradio passes a tool call on to the call of the same name by a request of the server to itself, with all headers of
    the caller. uvicorn believes such a request, as one of a proxy on this machine: without this, a caller whose own
    request is not believed could name another visitor in `X-Forwarded-For` for each call, and have no limit.

    Args:
        app: what answers; `scope["client"]` is what uvicorn made of the headers already.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and PATH in scope["path"]:
            headers = [(name, value) for name, value in scope["headers"] if name.lower() != _FORWARDED]
            if scope.get("client"):
                headers.append((_FORWARDED, scope["client"][0].encode("latin-1", "replace")))
            scope = {**scope, "headers": headers}
        await self._app(scope, receive, send)
