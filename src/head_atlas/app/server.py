"""Starting the server: what `app.py` calls."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gradio as gr

    from head_atlas.app.library import Library

DEFAULT_MODEL = "atlas/demo,atlas/demo-early"


LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
PRIVATE_NETWORKS = "127.0.0.1,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"
"""Where a Space's own proxies are; what they say of a visitor's address is believed."""
KEPT_SECONDS = 75
"""How long a connection may be idle, as in nginx: longer than most proxies keep theirs."""


def is_public(environment: Mapping[str, str], host: str) -> bool:
    """Whether others than the owner of the machine may come: then nobody brings models, and visitors are counted.

    So it is on a Space, where the server can be reached from elsewhere, where `MODELS` says what may be opened, and
    where `PUBLIC` says so: behind a proxy on the same machine nothing else would show it.
    """
    return bool(
        host not in LOCAL_HOSTS
        or environment.get("SPACE_ID")
        or environment.get("MODELS")
        or environment.get("PUBLIC", "0") not in ("", "0")
    )


def library_of(environment: Mapping[str, str], host: str) -> Library:
    """What is served: `MODEL`, and the models that `MODELS` allows besides.

    On a public server nothing else can be opened; on a machine of one's own any hub id or folder may be typed.
    """
    from head_atlas.app.library import Library

    places = [environment.get("MODEL") or DEFAULT_MODEL, environment.get("MODELS") or ""]
    return Library.of(",".join(places), own_models=not is_public(environment, host))


def keep_connections(page: gr.Blocks, seconds: float = KEPT_SECONDS) -> None:
    """Let the idle connections of a launched page stay open for longer than uvicorn's 5 s.

    Whoever asks again at the moment at which the server closes the connection gets no answer: at once, and after 5 s
    that is a visitor who acts every few seconds, or a proxy that keeps its connections. uvicorn looks this up for each
    new connection; Gradio has no option for it.

    Args:
        page: launched.
        seconds: that a connection may be idle.
    """
    page.server.config.timeout_keep_alive = seconds


def serve(environment: Mapping[str, str] = os.environ) -> None:
    """Serve the app until it is stopped.

    Args:
        environment: `HOST` and `PORT` say where, `MODEL` what (an atlas folder, an atlas file, a published atlas by
            its address `hub:owner/name@revision`, a model's folder or hub id; several with commas between them),
            `MODELS` which other models may be opened (then no others), `PUBLIC=1` that others than the owner come,
            `MCP=0` that there is no MCP server, and the names in `Limits` what a visitor may ask. DEPLOY.md has them
            all.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    if environment.get("SPACE_ID"):
        os.environ.setdefault("FORWARDED_ALLOW_IPS", PRIVATE_NETWORKS)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("head_atlas").setLevel(logging.INFO)
    # On a Space the server must be reachable from outside its container.
    host = environment.get("HOST") or ("0.0.0.0" if environment.get("SPACE_ID") else "127.0.0.1")
    port = int(environment.get("PORT") or environment.get("GRADIO_SERVER_PORT") or 7860)
    library = library_of(environment, host)
    # The atlas is checked in a process of its own; meanwhile this one imports gradio, which takes most of the start.
    Thread(target=library.atlas_or_none, args=(library.default,), name="first atlas", daemon=True).start()
    from head_atlas.app.engine import Engine
    from head_atlas.app.limits import Limits
    from head_atlas.app.look import launch_options
    from head_atlas.app.page import build_page
    from head_atlas.app.public_api import mcp_tools

    limits = Limits.from_environment(environment, public=is_public(environment, host))
    engine = Engine(library, limits)
    page, handlers = build_page(library, limits, engine)
    page.queue(max_size=limits.queue_size, api_open=False)
    mcp = mcp_tools.offered(environment)
    options = launch_options(library, limits)
    page.launch(server_name=host, server_port=port, prevent_thread_lock=True, mcp_server=mcp, **options)
    keep_connections(page)
    if mcp:
        mcp_tools.answer_in_json(page)
    print(f"Head Atlas is at http://{host}:{port}", file=sys.stderr, flush=True)
    # The page is being served: now torch may be imported, and the first experiment run.
    handlers.start.shown.begin(library.default)
    page.block_thread()
