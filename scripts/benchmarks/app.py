"""The app as visitors meet it: starting, the first screen, and events while twenty visitors act at once."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import load_average, machine
from benchmarks.table import print_head, print_row, write_json
from benchmarks.visitors import ACTIONS, Answer, Server, visit

ROOT = Path(__file__).parents[2]
STARTING = "the page answers after the process started"
PAINTED = "the atlas is painted after it was asked for"
BARS_MS = {STARTING: 10_000.0, PAINTED: 2_000.0, "heat map": 300.0, "head page": 300.0}
"""What is promised on 2 cores: the first two for every time measured, the others for the 95th percentile."""

VISITORS, SECONDS, EVERY = 20, 60.0, 5.0
TINY = (3, 4.0, 1.0)
"""Visitors, seconds in all, and mean seconds between two actions of one visitor."""
COLUMNS = {
    "what": "what|s",
    "n": "n|d",
    "median_ms": "median ms|.0f",
    "p95_ms": "95 % ms|.0f",
    "max_ms": "slowest ms|.0f",
    "sent": "kB sent|.1f",
    "received": "kB received|.1f",
    "bar_ms": "bar ms|.0f",
    "met": "met|s",
}
CHROMIUM_FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")


def app_table(*, tiny: bool, repeats: int, model: str, check: bool, json_file: Path | None) -> int:
    """Start the app, open it, let visitors in, and print a table.

    Args:
        tiny: few visitors and a few seconds, to try the script: its times mean nothing.
        repeats: starts of the process, and pages opened.
        model: what is served, as in the environment variable `MODEL`.
        check: whether a bar that is missed makes the status 1.
        json_file: for all numbers, or None.
    """
    visitors, seconds, every = TINY if tiny else (VISITORS, SECONDS, EVERY)
    print_head(machine(int(os.environ.get("OMP_NUM_THREADS") or 0)), COLUMNS)
    rows: list[dict[str, Any]] = []

    def add(what: str, milliseconds: Sequence[float], **more: Any) -> None:
        rows.append(_row(what, milliseconds, **more))
        print_row(COLUMNS, rows[-1])

    starts = []
    for _ in range(repeats - 1):
        with served(model) as (_, _, started_ms):
            starts.append(started_ms)
    with served(model) as (url, process, started_ms):
        add(STARTING, [*starts, started_ms])
        settle(process)
        server = Server.of(url)
        add("the page's HTML, with its configuration", [server.page_ms], received=server.page_bytes / 1000)
        for what, (times, received) in painted(url, repeats).items():
            add(what, times, received=received / 1000)
        before = processor_seconds(process)
        began = time.monotonic()
        answers = asyncio.run(_crowd(server, visitors, seconds, every))
        busy = (processor_seconds(process) - before) / (time.monotonic() - began)
        for action in ACTIONS:
            of_it = [answer for answer in answers if answer.action == action]
            if of_it:
                add(
                    action,
                    [answer.milliseconds for answer in of_it],
                    sent=float(np.mean([answer.sent for answer in of_it])) / 1000,
                    received=float(np.mean([answer.received for answer in of_it])) / 1000,
                )
        failures = sorted({answer.failure for answer in answers if answer.failure})
        resident = resident_megabytes(process)
    print(
        f"\n{visitors} visitors, one action each every {every:g} s on average for {seconds:g} s: {len(answers)} "
        f"actions; the server used {100 * busy:.0f} % of one core and holds {resident:.0f} MB; "
        f"load {load_average():.1f}."
    )
    for failure in failures:
        print(f"failed: {failure}")
    write_json(json_file, machine(0) | {"processor_share": busy, "resident_mb": resident}, rows)
    missed = [row["what"] for row in rows if row["met"] == "no"]
    return int(bool(failures) or (check and bool(missed)))


def _row(what: str, milliseconds: Sequence[float], **more: Any) -> dict[str, Any]:
    """A row of the table; a bar holds for the slowest of a few times, for the 95th percentile of many."""
    bar = next((limit for name, limit in BARS_MS.items() if what.startswith(name)), None)
    p95 = float(np.percentile(milliseconds, 95))
    held = p95 if bar == BARS_MS["heat map"] else max(milliseconds)
    return {
        "what": what,
        "n": len(milliseconds),
        "median_ms": float(np.median(milliseconds)),
        "p95_ms": p95,
        "max_ms": max(milliseconds),
        "bar_ms": bar,
        "met": None if bar is None else "yes" if held <= bar else "no",
        **more,
    }


@contextmanager
def served(model: str) -> Iterator[tuple[str, subprocess.Popen[bytes], float]]:
    """Run `app.py` on a free port of this machine.

    Yields:
        Its address, its process, and the milliseconds from the start of the process to its first answer.

    Raises:
        RuntimeError: it ended, or did not answer within a minute.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "MODEL": model, "HOST": "127.0.0.1", "PORT": str(port)}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH"))))
    url = f"http://127.0.0.1:{port}/"
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while True:
            try:
                urllib.request.urlopen(url, timeout=30).close()
                break
            except OSError:
                if process.poll() is not None or time.perf_counter() - began > 60:
                    raise RuntimeError("app.py did not answer; start it by hand to see why") from None
                time.sleep(0.02)
        yield url, process, 1000 * (time.perf_counter() - began)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


PAINT = """(what) => new Promise((done) => {
  const began = performance.now();
  document.querySelector(what.click)?.click();
  const look = () => {
    const found = document.querySelector(what.until);
    if (!found || !found.offsetParent) { requestAnimationFrame(look); return; }
    // Two frames later what was laid out has been painted.
    requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - (what.click ? began : 0))));
  };
  look();
})"""
"""Milliseconds from a click, or from the page's own start, until something is painted."""


def painted(url: str, repeats: int) -> dict[str, tuple[list[float], float]]:
    """Times of the first screens in a headless Chromium, and the bytes that each page took.

    Args:
        url: of the server.
        repeats: pages opened, each with an empty cache.
    """
    from playwright.sync_api import sync_playwright

    times: dict[str, list[float]] = defaultdict(list)
    received: dict[str, list[float]] = defaultdict(list)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=list(CHROMIUM_FLAGS))
        for _ in range(repeats):
            for cache in ("empty", "filled"):
                if cache == "empty":
                    context = browser.new_context(viewport={"width": 1280, "height": 800})
                page = context.new_page()
                page.goto(url, wait_until="commit")
                started = page.evaluate(PAINT, {"until": "#start-grid .ha-cell"})
                label = f"the start page, cache {cache}"
                times[f"{label}: first paint"].append(
                    page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
                )
                times[f"{label}: heads painted"].append(started)
                received[f"{label}: heads painted"].append(page.evaluate(_BYTES))
                clicked = {"click": "#tabs [role=tab]:nth-of-type(2)", "until": "#atlas-grid .ha-cell"}
                times[f"{PAINTED}, by its tab, cache {cache}"].append(page.evaluate(PAINT, clicked))
                page.goto(url + "?tab=atlas&head=1.0", wait_until="commit")
                asked = f"{PAINTED}, by its address, cache {cache}"
                times[asked].append(page.evaluate(PAINT, {"until": "#atlas-grid .ha-cell"}))
                received[asked].append(page.evaluate(_BYTES))
                page.close()
            context.close()
        browser.close()
    return {what: (found, float(np.mean(received[what] or [0.0]))) for what, found in times.items()}


_BYTES = """performance.getEntriesByType('navigation')[0].transferSize
  + performance.getEntriesByType('resource').reduce((sum, entry) => sum + entry.transferSize, 0)"""


async def _crowd(server: Server, visitors: int, seconds: float, every: float) -> list[Answer]:
    """Everything that all visitors were answered."""
    rng = np.random.default_rng(0)
    waits = rng.random(visitors) * every
    found = await asyncio.gather(
        *(visit(server, seed, wait, seconds, every) for seed, wait in enumerate(map(float, waits)))
    )
    return [answer for one in found for answer in one]


def settle(process: subprocess.Popen[bytes]) -> None:
    """Wait, a minute at most, until the server rests: after its start it imports torch and runs an experiment."""
    for _ in range(30):
        before = processor_seconds(process)
        time.sleep(2)
        if processor_seconds(process) - before < 0.1:
            return


def processor_seconds(process: subprocess.Popen[bytes]) -> float:
    """Seconds of all cores that a process and its threads have used so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_megabytes(process: subprocess.Popen[bytes]) -> float:
    """Memory that a process holds now."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def bars() -> Mapping[str, float]:
    """What is promised, in milliseconds."""
    return dict(BARS_MS)
