"""A Ray cluster of two nodes on this machine, and a build on it, each of which can be killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "build_atlas.py"
RAY = Path(sys.executable).with_name("ray")


def environment(folder):
    """A token, as Ray uses by default, and a short folder for sockets."""
    token = folder / "token"
    token.write_text("b" * 64)
    token.chmod(0o600)
    return os.environ | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEDUP_LOGS": "0",
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_timeout_ms": "2000",
        "OMP_NUM_THREADS": "1",
    }


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def two_nodes(folder, env):
    """Yield the address of the cluster, and the processes of its nodes; only these are ended afterwards."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    common = ["--num-cpus=1", "--object-store-memory=100000000", "--block", "--disable-usage-stats"]
    head = [f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}"]
    nodes = []
    try:
        for which in (["--head", *head], [f"--address={address}"]):
            with (folder / f"node{len(nodes)}.log").open("w") as log:
                command = [RAY, "start", *which, *common]
                # each in a session of its own: a node is a raylet with what it started
                nodes.append(subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True))
            wait_for(lambda: "Ray runtime started" in (folder / f"node{len(nodes) - 1}.log").read_text(), 180)
        yield address, nodes
    finally:
        for node in reversed(nodes):
            end(node.pid)


def descendants(pid):
    """Processes that one started, and those that these did."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, queue = [], [pid]
    while queue:
        children = parents.get(queue.pop(), [])
        found += children
        queue += children
    return found


def end(pid):
    """Kill a process and all that it started."""
    for one in [*descendants(pid), pid]:
        try:
            os.kill(one, signal.SIGKILL)
        except ProcessLookupError:
            continue


def actors_of(pid):
    """Processes of workers below a node."""
    found = []
    for one in descendants(pid):
        try:
            words = Path(f"/proc/{one}/cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:
            continue
        if words.startswith(b"ray::Worker"):
            found.append(one)
    return found


def wait_for(condition, seconds=120):
    """Wait until something holds.

    Raises:
        TimeoutError: it did not.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it took too long")
        time.sleep(0.05)


def build(model, out, options, env, *more, log=None):
    """Start a build."""
    command = [sys.executable, str(SCRIPT), "--model", str(model), "--out", str(out), *options, *more]
    return subprocess.Popen(command, env=env, stdout=log or subprocess.DEVNULL, stderr=log or subprocess.DEVNULL)
