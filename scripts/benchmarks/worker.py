"""A process of one engine: reads one task per line, measures it, writes one line back.

Runs in the engine's own environment: python worker.py ENGINE FOLDER THREADS, the engine a module of `engines`.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

STATUS = Path("/proc/self/status")


def memory(field: str) -> float:
    """VmRSS, resident now, or VmHWM, its peak, in bytes; NaN where the system (not Linux) does not say.

    `ru_maxrss` will not do: it starts at the size of the parent process, and nothing resets it.
    """
    lines = STATUS.read_text().splitlines() if STATUS.exists() else []
    return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith(field)), math.nan)


def measure(run: Any, arguments: dict[str, Any], save: str | None, fresh: bool) -> dict[str, float]:
    """Run a task once: seconds by the clock and of all processors, and memory before and at the peak.

    `fresh`: what was freed is given back first, so that the peak counts; the pages then come anew, which takes time.
    """
    if STATUS.exists() and fresh:
        ctypes.CDLL(None).malloc_trim(0)  # what was freed does not count
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = memory("VmRSS")
    clock, processor = time.perf_counter(), time.process_time()
    found = run(**arguments)
    seconds, processor_seconds = time.perf_counter() - clock, time.process_time() - processor
    peak = memory("VmHWM")
    if save:
        np.save(save, np.asarray(found))
    return {
        "seconds": seconds,
        "processor_seconds": processor_seconds,
        "memory_before": before,
        "memory_peak": peak,
    }


def main() -> None:
    """Answer until the input ends."""
    engine, folder, threads = sys.argv[1:]
    # Libraries print: their words go to stderr, and only answers to stdout.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    if int(threads):
        torch.set_num_threads(int(threads))
    torch.set_grad_enabled(False)
    run = importlib.import_module(f"engines.{engine}").load(folder)
    print(json.dumps({"threads": torch.get_num_threads(), "torch": torch.__version__}), file=answers)
    for line in sys.stdin:
        task = json.loads(line)
        print(json.dumps(measure(run, task["arguments"], task["save"], task["fresh"])), file=answers)


if __name__ == "__main__":
    main()
