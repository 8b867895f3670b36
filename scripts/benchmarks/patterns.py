"""All pattern scores: block by block, against the same formulas on whole patterns; times and peak memory.

Both ways run in new processes for every case and take turns. Memory is how far the process rises above
its size with the model loaded. The least time of several repeats counts.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.machine import load_average, machine
from benchmarks.models import random_gpt2
from benchmarks.processes import Engine
from benchmarks.table import print_head, print_row, write_json

OURS = "Head Atlas"
ENGINES = {OURS: "head_atlas_patterns", "whole patterns": "whole_patterns"}
CASES = ((8, 64), (32, 64), (2, 256), (8, 256), (1, 1024), (4, 1024))
"""Prompts and their tokens: of each length a few, and four times as many."""
BEYOND_ONE_PACK = ((84, 256), (168, 256), (20, 1024), (40, 1024))
"""Two and four full packs: Head Atlas alone and once, as whole patterns of 40 x 1024 would take 24 GB."""
TINY_CASES = ((2, 20), (4, 20))
TOLERANCE = 1e-5
COLUMNS = {
    "case": "case",
    "engine": "engine",
    "seconds": "s|.2f",
    "processor_seconds": "processor s|.2f",
    "ratio": "times ours|.2f",
    "memory": "peak memory above the model, MB|.0f",
    "patterns": "all patterns, MB|.0f",
    "deviation": "largest deviation|.0e",
    "load": "load|.1f",
}


def patterns_table(*, only: list[str] | None, repeats: int, threads: int, tiny: bool, json_file: Path | None) -> int:
    """Measure all cases, print the table, and return the exit status: 1 where the two ways disagree.

    Args:
        only: parts of the names of cases; None for all.
        repeats: of every case, at most 3.
        threads: CPU threads; 0 for torch's choice.
        tiny: tiny shapes, to try the script.
        json_file: for all numbers, or None.
    """
    rows: list[dict[str, Any]] = []
    about = machine(threads or torch.get_num_threads())
    print_head(about, COLUMNS)
    with tempfile.TemporaryDirectory() as place:
        folder = random_gpt2(Path(place), tiny=tiny)
        for n_prompts, n_pos in TINY_CASES if tiny else CASES + BEYOND_ONE_PACK:
            name = f"{n_prompts} of {n_pos}"
            alone = (n_prompts, n_pos) in BEYOND_ONE_PACK
            if not only or any(part in name for part in only):
                engines = (OURS,) if alone else tuple(ENGINES)
                n_repeats = 1 if alone else min(repeats, 3)
                for row in _measure_case(name, folder, n_prompts, n_pos, engines, n_repeats, threads):
                    print_row(COLUMNS, row)
                    rows.append(row)
                    write_json(json_file, about, rows)
    return int(any(row["deviation"] is not None and not row["deviation"] <= TOLERANCE for row in rows))


def _measure_case(
    name: str, folder: Path, n_prompts: int, n_pos: int, names: tuple[str, ...], repeats: int, threads: int
) -> list[dict[str, Any]]:
    engines = {engine: Engine(ENGINES[engine], folder, threads) for engine in names}
    taken: dict[str, list[dict[str, float]]] = {engine: [] for engine in names}
    prompts = repeating(n_prompts, n_pos, d_vocab=97)
    for process in engines.values():
        process.run(prompts=repeating(1, 16, d_vocab=97))  # weights enter memory when they are first used
    for repeat in range(repeats):
        for engine, process in engines.items():
            print(f"{name}: {engine}, {repeat + 1} of {repeats}", file=sys.stderr, flush=True)
            taken[engine].append(process.run(folder / f"{engine}.npy", prompts=prompts))
    for process in engines.values():
        process.close()
    found = [np.load(folder / f"{engine}.npy") for engine in names]
    ours, other = found[0], found[-1]
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(other))
    rows: list[dict[str, Any]] = []
    for engine, measured in taken.items():
        row = {key: min(each[key] for each in measured) for key in ("seconds", "processor_seconds")}
        n_heads = ours.shape[1] * ours.shape[2]
        rows.append({
            "case": name,
            "engine": engine,
            **row,
            "ratio": row["seconds"] / (rows[0]["seconds"] if rows else row["seconds"]),
            "memory": (max(each["memory_peak"] for each in measured) - measured[0]["memory_before"]) / 1e6,
            "patterns": 4 * n_prompts * n_heads * n_pos**2 / 1e6,
            "deviation": float(np.nanmax(np.abs(ours - other))) if len(names) > 1 else None,
            "load": load_average(),
            "repeats": measured,
        })  # fmt: skip
    return rows


def repeating(n_prompts: int, n_pos: int, d_vocab: int) -> list[list[int]]:
    """Random tokens, twice over, so that induction has targets."""
    generator = torch.Generator().manual_seed(0)
    half = torch.randint(1, d_vocab, (n_prompts, (n_pos + 1) // 2), generator=generator)
    return torch.cat([half, half], 1)[:, :n_pos].tolist()
