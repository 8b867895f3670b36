"""A large synthetic atlas: how long a head, a prompt and a heat map take to be read after the file was opened."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from head_atlas.heads import HeadId
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt
from head_atlas.store import AtlasContents, open_atlas, write_atlas

SIZE = (80, 64, 100_000)
TINY = (4, 8, 2_000)
THREADS = 8
READS = 25
"""By each thread."""


def atlas_table(*, tiny: bool, folder: Path | None, repeats: int, json_file: Path | None) -> int:
    """Write the atlas, read it in new processes, print a table, delete it.

    Args:
        tiny: a small one, which has no views: its times mean nothing.
        folder: where it is written, 4 GB; None for the folder of temporary files.
        repeats: processes that read it, each without anything cached but by the system.
        json_file: for all numbers, or None.
    """
    with tempfile.TemporaryDirectory(dir=folder) as place:
        path = Path(place) / "large.h5"
        started = time.perf_counter()
        write_synthetic(path, *(TINY if tiny else SIZE))
        seconds = time.perf_counter() - started
        own = peak_memory()
        size = path.stat().st_size / 1e6
        command = [sys.executable, "-m", "benchmarks.atlas", str(path)]
        found = [
            json.loads(subprocess.run(command, check=True, capture_output=True, cwd=Path(__file__).parents[1]).stdout)
            for _ in range(repeats)
        ]
    shape = " x ".join(f"{n:,}" for n in (TINY if tiny else SIZE))
    print(
        f"One score of {shape} numbers: {size:,.0f} MB, written in {seconds:.0f} s; "
        f"{own:,.0f} MB resident at most, the mapped numbers themselves among them\n"
    )
    print("| step | median | slowest |\n| --- | --- | --- |")
    for step in found[0]:
        unit = "MB" if "memory" in step else "ms"
        values = [run[step] for run in found]
        print(f"| {step} | {np.median(values):.1f} {unit} | {max(values):.1f} {unit} |")
    if json_file:
        json_file.write_text(json.dumps({"size_mb": size, "write_s": seconds, "write_mb": own, "reads": found}))
    return 0


def write_synthetic(path: Path, n_layers: int, n_heads: int, n_prompts: int) -> None:
    """An atlas of one score of random numbers, with the mean that its heat map shows."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryFile(dir=path.parent) as file:
        values = np.memmap(file, np.float32, "w+", shape=(n_layers, n_heads, n_prompts))
        for layer in values:
            layer[:] = rng.random(layer.shape, dtype=np.float32) ** 4
        mean = values.mean(-1)
        prompts = [Prompt("a", (1, 2), (1,), (2,), family="natural") for _ in range(n_prompts)]
        write_atlas(
            path,
            AtlasContents(
                n_layers,
                n_heads,
                families=["natural"],
                modes=[],
                prompts=prompts,
                token_strings={1: "a", 2: "b"},
                arrays={
                    "scores/sink": NamedArray(values, ("layer", "head", "prompt")),
                    "summary/sink_natural_mean": NamedArray(mean, ("layer", "head")),
                },
            ),
        )


def read(path: Path) -> dict[str, float]:
    """Times in ms and memory in MB of one process that opens the atlas and reads."""
    found: dict[str, float] = {}

    def timed(step: str, work: Callable[[], object]) -> None:
        started = time.perf_counter()
        work()
        found[step] = 1000 * (time.perf_counter() - started)

    started = time.perf_counter()
    with open_atlas(path) as atlas:
        found["open and check the file"] = 1000 * (time.perf_counter() - started)
        head = HeadId(atlas.n_layers // 2, atlas.n_heads // 2)
        n_prompts = atlas.n_prompts
        timed("a head on all prompts", lambda: atlas.of_head("scores/sink", head))
        timed("all heads on a prompt", lambda: atlas.of_prompt("scores/sink", n_prompts // 2))
        timed("a heat map", lambda: atlas.summary["sink_natural_mean"])
        slowest: list[float] = []

        def reader(seed: int) -> None:
            rng = np.random.default_rng(seed)
            for _ in range(READS):
                one = HeadId(int(rng.integers(atlas.n_layers)), int(rng.integers(atlas.n_heads)))
                began = time.perf_counter()
                atlas.of_head("scores/sink", one)
                atlas.of_prompt("scores/sink", int(rng.integers(n_prompts)))
                slowest.append(1000 * (time.perf_counter() - began))

        threads = [threading.Thread(target=reader, args=(seed,)) for seed in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found[f"a random head and a random prompt, {THREADS} threads at once, median"] = float(np.median(slowest))
        found["the same, slowest"] = max(slowest)
    found["memory of the process at most"] = peak_memory()
    return found


def peak_memory() -> float:
    """MB that this program has had resident at most, mapped files among them."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main(argv: Sequence[str]) -> None:
    """Read, and print numbers as JSON."""
    print(json.dumps(read(Path(argv[0]))))


if __name__ == "__main__":
    main(sys.argv[1:])
