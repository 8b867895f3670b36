"""Strange files are opened by another process first: what makes the HDF5 library crash is then a refusal.

Files are known to be harmless if this process wrote them, or if they passed before and have not changed since.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Lock

from head_atlas.errors import AtlasError
from head_atlas.store.validate import check_signature

MEMORY = 400 * 2**20
"""Bytes that the process may take beyond its own start, which takes about 110 MB: under 512 MB in all."""
SECONDS = 5
"""Of CPU, for a small file."""
STREAMS_PER_SECOND = 32 * 2**20
"""Bytes of the file for which it gets another second: it inflates every chunk, to see that none holds too much."""
NUMBERS_PER_SECOND = 16 * 2**20
"""The same, where all numbers are read."""
_WAITS = 12
"""Seconds by the clock for each second of CPU: other processes want theirs too."""
_MOST_ANSWER = 4000
_PACKAGES = Path(__file__).parents[2]

_Identity = tuple[int, int, int, int, int]
_known: set[_Identity] = set()
_lock = Lock()


def inspect(path: Path, *, numbers: bool = False) -> None:
    """Let another process walk a file, unless the file is known.

    Args:
        path: the file; only read.
        numbers: whether every number is read as well, known or not; the walk else reads texts, attributes and
            where numbers lie.

    Raises:
        AtlasError: what is wrong with it, or that the process did not survive it.
    """
    check_signature(path)
    identity = _identity(path)
    with _lock:
        if identity in _known and not numbers:
            return
    refusal = _ask(path, numbers=numbers)
    if refusal:
        raise AtlasError(refusal)
    if _identity(path) != identity:
        raise AtlasError(f"{path} changed while it was checked; open it again")
    with _lock:
        _known.add(identity)


def remember(path: Path) -> None:
    """Take a file as known, because this process wrote it."""
    with _lock:
        _known.add(_identity(path))


def is_known(path: Path) -> bool:
    """Whether the file, as it is now, was written here or has passed."""
    with _lock:
        return _identity(path) in _known


def command(*, memory: int = MEMORY, seconds: int = SECONDS, numbers: bool = False) -> list[str]:
    """The command line of the process that walks."""
    depth = "numbers" if numbers else "structure"
    return [sys.executable, "-P", "-m", "head_atlas.store.walk", str(memory), str(seconds), depth]


def environment() -> dict[str, str]:
    """Its environment: this package, one thread, and no plug-ins of HDF5."""
    before = os.environ.get("PYTHONPATH")
    return os.environ | {
        "PYTHONPATH": os.pathsep.join([str(_PACKAGES), *([before] if before else [])]),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "HDF5_PLUGIN_PRELOAD": "::",
    }


def seconds_for(path: Path, *, numbers: bool = False) -> int:
    """Seconds of CPU for a file, by what it holds on the disk: a sparse file's length costs its maker nothing."""
    status = path.stat()
    held = min(status.st_size, 512 * getattr(status, "st_blocks", status.st_size))
    return SECONDS + held // (NUMBERS_PER_SECOND if numbers else STREAMS_PER_SECOND)


def _ask(path: Path, *, numbers: bool) -> str:
    """Why the process refuses the file; "" if it does not."""
    seconds = seconds_for(path, numbers=numbers)
    try:
        done = subprocess.run(
            command(seconds=seconds, numbers=numbers),
            input=json.dumps(str(path)) + "\n",
            capture_output=True,
            text=True,
            env=environment(),
            timeout=seconds * _WAITS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{path} is refused: checking it took over {seconds * _WAITS} s"
    return answer_in(done.stdout) if done.returncode == 0 else f"{path} is refused: {_end(done.returncode, seconds)}"


def answer_in(line: str) -> str:
    """What the process found, as one line that can be shown."""
    found = json.loads(line)["refused"]
    return " ".join(str(found)[:_MOST_ANSWER].split())


def _end(status: int, seconds: int) -> str:
    if status == -getattr(signal, "SIGXCPU", 0) and status:
        return f"checking it took over {seconds} s"
    name = signal.Signals(-status).name if status < 0 else f"status {status}"
    return f"the process that checked it did not survive it ({name})"


def _identity(path: Path) -> _Identity:
    """What changes whenever a file is changed or replaced."""
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
