"""The examples of docs/api.md, run as they stand against a server of the shipped atlas and model."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from head_atlas.app.engine import Engine
from head_atlas.app.library import Library
from head_atlas.app.limits import Limits
from head_atlas.app.look import launch_options
from head_atlas.app.page import build_page
from head_atlas.app.public_api import BrowsingCalls, ExperimentCalls

ROOT = Path(__file__).parents[2]
WRITTEN = "http://127.0.0.1:7860/"
DOCS = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


def blocks(language: str, url: str) -> list[str]:
    return [
        code.replace(WRITTEN.rstrip("/"), url.rstrip("/"))
        for code in re.findall(rf"```{language}\n(.*?)```", DOCS, re.DOTALL)
    ]


@pytest.fixture(scope="module")
def url():
    library, limits = Library.of(str(ROOT / "atlas" / "demo")), Limits()
    page, _ = build_page(library, limits, Engine(library, limits))
    page.queue(max_size=8, api_open=False)
    _, address, _ = page.launch(prevent_thread_lock=True, server_name="127.0.0.1", **launch_options(library))
    yield address
    page.close()


@pytest.mark.slow
def test_every_python_example_runs(url, capsys):
    scope: dict = {}
    first, *rest = blocks("python", url)
    exec(first, scope)
    number, unit = capsys.readouterr().out.strip().split()[-2:]
    assert float(number) < -1, "without this head the model no longer says Potter"
    assert unit == "nats"
    called = []
    for code in rest:
        found = eval(code, scope)
        called += re.findall(r'api_name="/(\w+)"', code)
        assert isinstance(found, dict)
        assert found
    assert called == [*BrowsingCalls.NAMES, *ExperimentCalls.NAMES]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_curl_example_runs(url):
    (code,) = blocks("bash", url)
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True, timeout=120)
    events = [line for line in done.stdout.splitlines() if line.startswith(("event:", "data:"))]
    assert "event: complete" in events
    (found,) = json.loads(events[-1].removeprefix("data: "))
    assert found["heads"] == ["0.4"]
    assert found["effects"]["logprob"] < -1
