"""The process that opens a strange file first: `python -m head_atlas.store.walk`, with little memory and little time.

It reads paths, one a line, and answers each with one line of JSON: `{"refused": ""}`, or why. A file that makes
the HDF5 library crash or run away takes this process with it, and nothing else.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from head_atlas.errors import AtlasError
from head_atlas.store.reader import Atlas

try:
    import resource
except ImportError:  # Windows has no such limits: what remains is the caller's time limit
    resource = None  # type: ignore[assignment]


def main(argv: list[str]) -> int:
    """Answer for every path on stdin.

    Args:
        argv: bytes of memory beyond what the process has when it starts; seconds of CPU a file; "structure" or
            "numbers": whether every number is read too.
    """
    memory, seconds, depth = int(argv[0]), int(argv[1]), argv[2]
    _limit_memory(memory)
    for line in sys.stdin:
        _limit_time(seconds)
        print(json.dumps({"refused": refusal(Path(json.loads(line)), numbers=depth == "numbers")}), flush=True)
    return 0


def refusal(path: Path, *, numbers: bool) -> str:
    """Why a file is refused; "" if it is not."""
    try:
        with Atlas(path) as atlas:
            if numbers:
                _read_everything(atlas)
    except AtlasError as error:
        return str(error)
    except MemoryError:
        return f"{path} needs more memory than an atlas may"
    return ""


def _read_everything(atlas: Atlas) -> None:
    for place in atlas.places():
        atlas.read_through(place)
    _ = atlas.prompts
    atlas.mean_reference()
    atlas.resample_prompts()


def _limit_memory(beyond: int) -> None:
    if resource is None:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    status = Path("/proc/self/statm")
    used = int(status.read_text().split()[0]) * resource.getpagesize() if status.exists() else 2**30
    resource.setrlimit(resource.RLIMIT_AS, (used + beyond, used + beyond))


def _limit_time(seconds: int) -> None:
    if resource is None:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + seconds + 1, hard))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
