"""One head's card on a page of its own, `/?embed=1&model=..&head=2.5`, to be framed by any other page.

It is not the Gradio page with most of it hidden: that would load the whole app to show one card. The HTML is constant,
scripts and styles are the app's own, and the data come as JSON, so nothing of it can run or be formatted into the page.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import Scope

from head_atlas.app.atlas_view import MAIN_EFFECT
from head_atlas.app.components import asset
from head_atlas.app.page_state import PageState, read_query
from head_atlas.app.words import sentence
from head_atlas.errors import AtlasError, HeadAtlasError
from head_atlas.heads import HeadId
from head_atlas.views.choices import effects_of, first_mode
from head_atlas.views.head_card import card_props

if TYPE_CHECKING:
    from head_atlas.app.library import Library

_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "max-age=300",
}
"""Any page may frame it (even `frame-ancestors *` would shut out files and notebooks, so there is none); it loads
nothing from elsewhere and runs nothing but the app's own script."""
_MOST_QUERY = 2000


class _Asked(Route):
    """The app's own address, but only where it asks for the card."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        asked = b"embed=1" in scope.get("query_string", b"")[:_MOST_QUERY].split(b"&")
        return super().matches(scope) if asked else (Match.NONE, {})


def embed_routes(library: Library) -> list[Route]:
    """The routes of the card: its page, its style and script, and its numbers."""

    def head(request: Request) -> Response:
        status, found = embedded_head(library, dict(request.query_params))
        return JSONResponse(found, status, headers={**_PAGE_HEADERS, "Cache-Control": "max-age=60"})

    return [
        _Asked("/", lambda _: _sent("text/html", asset("embed.html"))),
        Route("/embed/card.css", lambda _: _sent("text/css", _style())),
        Route("/embed/card.js", lambda _: _sent("text/javascript", _script())),
        Route("/embed/head.json", head),
    ]


def embedded_head(library: Library, query: dict[str, str]) -> tuple[int, dict]:
    """What the card draws, and the HTTP status: 404 with a sentence where there is no such model or head."""
    state, problems = read_query({key: value for key, value in query.items() if key in ("model", "head", "mode")})
    try:
        if problems:
            raise AtlasError(" ".join(problems))
        atlas = library.atlas(state.model or library.default)
        head = HeadId.parse(state.head).within(atlas.n_layers, atlas.n_heads)
        if state.mode and state.mode not in atlas.modes:
            raise AtlasError(f"This atlas has no ablation mode “{state.mode}”; it has {', '.join(atlas.modes)}.")
        effects = effects_of(atlas)
        effect = MAIN_EFFECT if MAIN_EFFECT in effects else next(iter(effects), "")
        mode = state.mode or first_mode(atlas)
        card = card_props(atlas, head, effect=effect, mode=mode)
    except HeadAtlasError as error:
        return 404, {"empty": sentence(error)}
    shown = PageState(tab="atlas", model=state.model, head=str(head))
    if mode != first_mode(atlas):
        shown = replace(shown, mode=mode)
    return 200, card | {"query": shown.query()}


def _sent(kind: str, text: str) -> Response:
    return Response(text, media_type=kind, headers=_PAGE_HEADERS)


@cache
def _style() -> str:
    return "\n".join(asset(f"{name}.css") for name in ("look", "atlas", "embed"))


@cache
def _script() -> str:
    parts = "\n".join(asset(f"{name}.js") for name in ("common", "sections", "embed"))
    return f"'use strict';\n(() => {{\n{parts}\n}})();\n"
