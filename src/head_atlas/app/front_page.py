"""The page's HTML, made once for each address that the server is reached by.

Gradio copies and rewrites its whole configuration for every visitor, 60 ms of a core, though nothing in it is of one
visitor: the page has no log-in, and what its address asks for comes after it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_OTHER_PAGES = frozenset({"embed", "deep_link", "page"})
"""Names in the query that ask for something else than the page."""
_OF_THE_VISITOR = frozenset(
    name.encode()
    for name in (
        *("accept", "accept-language", "cache-control", "connection", "cookie", "dnt", "pragma", "priority", "referer"),
        *("upgrade-insecure-requests", "user-agent", "x-forwarded-for", "x-real-ip", "x-request-id"),
    )
)
"""Headers that change nothing in the page. All others may: where the server is, and what encoding is understood."""


class FrontPage:
    """Middleware: keeps the page's HTML.

    Args:
        app: what makes it.
        most_kept: addresses; beyond it the one that was asked for the longest ago is forgotten.
    """

    def __init__(self, app: ASGIApp, most_kept: int = 16) -> None:
        self._app, self._most_kept = app, most_kept
        self._kept: OrderedDict[Hashable, list[Message]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        key = _key(scope)
        if key is None:
            await self._app(scope, receive, send)
            return
        if key in self._kept:
            self._kept.move_to_end(key)
            for message in self._kept[key]:
                await send(message)
            return
        said: list[Message] = []

        async def heard(message: Message) -> None:
            said.append(message)
            await send(message)

        await self._app(scope, receive, heard)
        if _is_whole_page(said):
            self._kept[key] = said
            while len(self._kept) > self._most_kept:
                self._kept.popitem(last=False)


def _key(scope: Scope) -> Hashable | None:
    """What the page depends on; None for all other requests."""
    if scope["type"] != "http" or scope["method"] != "GET":
        return None
    if scope["path"].removeprefix(scope.get("root_path", "")) not in ("", "/"):
        return None
    asked = {name for name, _ in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)}
    if asked & _OTHER_PAGES:
        return None
    relevant = [
        (name, value)
        for name, value in scope["headers"]
        if name not in _OF_THE_VISITOR and not name.startswith(b"sec-")
    ]
    return scope["scheme"], scope.get("root_path", ""), tuple(scope.get("server") or ()), tuple(sorted(relevant))


def _is_whole_page(said: list[Message]) -> bool:
    if not said or said[0]["type"] != "http.response.start" or said[0]["status"] != HTTPStatus.OK:
        return False
    names = {name.lower() for name, _ in said[0]["headers"]}
    return b"set-cookie" not in names and not said[-1].get("more_body", False)
