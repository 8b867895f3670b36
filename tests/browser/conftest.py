"""A real server in its own process, and a real Chromium that notices every error and every foreign request."""

from __future__ import annotations

import dataclasses
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

# A page shares its cores with whatever else a machine does: patience is not what is tested.
expect.set_options(timeout=30_000)
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "app"))
sys.path.insert(0, str(ROOT / "tests" / "store"))
sys.path.insert(0, str(ROOT / "tests" / "views"))
HOSTILE = '<img src=x onerror="window.pwned=1"> ${window.pwned=2} {{value}} <script>window.pwned=3</script>'
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


def start(model: str) -> tuple[subprocess.Popen, str]:
    """Run app.py on a free port and wait until it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "MODEL": model, "PORT": str(port), "HOST": "127.0.0.1", "OMP_WAIT_POLICY": "passive"}
    log = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
    )
    url = f"http://127.0.0.1:{port}/"
    for _ in range(600):
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return process, url
        except OSError:
            if process.poll() is not None:
                raise RuntimeError(process.stdout.read().decode()) from None
            time.sleep(0.2)
    process.kill()
    raise RuntimeError("the server did not answer")


def stop(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    from small_place import make_place

    return make_place(tmp_path_factory.mktemp("served") / "small")


@pytest.fixture(scope="session")
def server(place):
    process, url = start(str(place))
    yield url
    stop(process)


@pytest.fixture(scope="session")
def two_server(place, tmp_path_factory):
    """Serves the usual entry, and an atlas of another shape whose model is not there."""
    from synthetic_atlas import synthetic_contents

    from head_atlas.store import write_atlas

    folder = tmp_path_factory.mktemp("two") / "other"
    (folder / "model").mkdir(parents=True)
    write_atlas(folder / "atlas.h5", synthetic_contents(2, 3, n_prompts=4))
    process, url = start(f"{place},{folder}")
    yield url
    stop(process)


@pytest.fixture(scope="session")
def full_server(tmp_path_factory):
    """Serves an atlas with every part, whose tokens try to be markup, and which has no model."""
    from full_atlas import full_contents

    from head_atlas.store import write_atlas

    folder = tmp_path_factory.mktemp("full") / "full"
    (folder / "model").mkdir(parents=True)
    write_atlas(folder / "atlas.h5", full_contents())
    process, url = start(str(folder))
    yield url
    stop(process)


@pytest.fixture(scope="session")
def every_server(place, tmp_path_factory):
    """Serves the usual entry, and as "full" an atlas with every part, which has no model."""
    from full_atlas import full_contents

    from head_atlas.store import write_atlas

    folder = tmp_path_factory.mktemp("every") / "full"
    (folder / "model").mkdir(parents=True)
    write_atlas(folder / "atlas.h5", full_contents())
    process, url = start(f"{place},{folder}")
    yield url
    stop(process)


@pytest.fixture(scope="session")
def troubled_server(tmp_path_factory):
    """Serves a damaged atlas, an atlas whose every text is hostile (and whose model is not there), and nothing."""
    from small_place import make_atlas
    from synthetic_atlas import synthetic_contents

    from head_atlas.store import write_atlas

    folder = tmp_path_factory.mktemp("troubled")
    (folder / "damaged").mkdir()
    make_atlas(folder / "damaged" / "atlas.h5")
    content = (folder / "damaged" / "atlas.h5").read_bytes()
    (folder / "damaged" / "atlas.h5").write_bytes(content[: len(content) // 2])
    (folder / "hostile" / "model").mkdir(parents=True)
    contents = synthetic_contents(4, 6, n_prompts=4)
    contents = dataclasses.replace(
        contents,
        provenance={**contents.provenance, "model_id": HOSTILE, "note": HOSTILE},
        left_out={HOSTILE: HOSTILE},
        checks=[{"name": HOSTILE, "value": 0.0, "tolerance": 0.0, "passed": True}],
    )
    write_atlas(folder / "hostile" / "atlas.h5", contents)
    process, url = start(",".join(str(folder / name) for name in ("damaged", "hostile", "gone")))
    yield url
    stop(process)


@pytest.fixture(scope="session")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api")
    executable = shutil.which("chromium")
    if executable is None:
        pytest.fail("the browser tests need the Debian package 'chromium': apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """Opens pages; at the end of the test none of them may have seen an error or asked another host."""
    contexts, trouble = [], []

    def opener(
        url: str,
        *,
        viewport: dict = DESKTOP,
        dark: bool = False,
        hold: list | None = None,
        late: str = "",
        still: bool = False,
    ):
        """Open a page, which is `still` for a visitor who asks for less motion.

        Requests whose path ends in `late` wait in `hold` until the test lets them go on.
        """
        motion = "reduce" if still else "no-preference"
        context = chromium.new_context(
            viewport=viewport, color_scheme="dark" if dark else "light", reduced_motion=motion
        )
        contexts.append(context)
        page = context.new_page()
        host = urlsplit(url).netloc
        page.on("console", lambda m: trouble.append(f"console: {m.text}") if m.type == "error" else None)
        page.on("pageerror", lambda error: trouble.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (trouble.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on(
            "request",
            lambda r: (
                None
                if urlsplit(r.url).scheme in ("data", "blob") or urlsplit(r.url).netloc == host
                else trouble.append(f"foreign request: {r.url}")
            ),
        )
        page.set_default_timeout(30_000)
        if hold is not None:
            page.route(f"**/{late}", lambda route: hold.append(route))
        page.goto(url)
        page.wait_for_selector("#tabs")
        return page

    yield opener
    for context in contexts:
        context.close()
    assert trouble == []
