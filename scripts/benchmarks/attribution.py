"""Integrated gradients of a prompt's tokens: Head Atlas against Captum's LayerIntegratedGradients, at equal nodes.

Every engine runs in a process of its own and takes turns with the others; the least time of several repeats counts.
Each repeat runs twice: once for the memory, how far the process rises above its size with the model loaded after what
was freed is given back; and again for the time, as in a process that is at work. Values must agree.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.machine import load_average, machine
from benchmarks.models import demo_model, random_gpt2
from benchmarks.processes import Engine, EngineError
from benchmarks.table import print_head, print_row, write_json

OURS = "Head Atlas"
ENGINES = {
    OURS: "head_atlas_attribution",
    "Captum": "captum_layer",
    "Captum, last logits, 8 nodes at once": "captum_layer_last",
}
N_NODES = 32
CASES = (("gpt2", 20), ("gpt2", 64), ("demo", 20), ("demo", 64))
"""Model, and tokens of the prompt."""
D_VOCAB = 97
"""Tokens are drawn from these first ids, which every model has."""
TOLERANCE = 1e-3
"""Between values, relative to the largest of them."""
COLUMNS = {
    "case": "case",
    "engine": "engine",
    "seconds": "s|.2f",
    "processor_seconds": "processor s|.2f",
    "ratio": "times ours|.2f",
    "memory": "peak memory above the model, MB|.0f",
    "deviation": "largest deviation|.0e",
    "load": "load|.1f",
    "remark": "",
}


def attribution_table(*, only: list[str] | None, repeats: int, threads: int, tiny: bool, json_file: Path | None) -> int:
    """Measure all cases, print the table, and return the exit status: 1 where an engine deviates.

    Args:
        only: parts of the names of cases; None for all.
        repeats: of every case.
        threads: CPU threads of each engine; 0 for torch's choice.
        tiny: tiny shapes, to try the script.
        json_file: for all numbers, or None.
    """
    rows: list[dict[str, Any]] = []
    about = machine(threads or torch.get_num_threads())
    print_head(about, COLUMNS)
    with tempfile.TemporaryDirectory() as place:
        folders = {
            "gpt2": random_gpt2(Path(place) / "gpt2", tiny=tiny),
            "demo": demo_model(Path(place) / "demo"),
        }
        for model, n_pos in CASES:
            name = f"{model}, {n_pos} tokens, {N_NODES} nodes"
            if not only or any(part in name for part in only):
                for row in _measure_case(name, folders[model], n_pos, repeats, threads):
                    print_row(COLUMNS, row)
                    rows.append(row)
                    write_json(json_file, about, rows)
    return int(any(row["deviation"] is not None and not row["deviation"] <= TOLERANCE for row in rows))


def _measure_case(name: str, folder: Path, n_pos: int, repeats: int, threads: int) -> list[dict[str, Any]]:
    drawn = torch.randint(1, D_VOCAB, (n_pos + 1,), generator=torch.Generator().manual_seed(0)).tolist()
    task = {"tokens": [0, *drawn[:-2]], "target": drawn[-2], "contrast": drawn[-1], "start": 0, "n_nodes": N_NODES}
    rows = {engine: {"case": name, "engine": engine, "remark": "", "repeats": []} for engine in ENGINES}
    engines: dict[str, Engine] = {}
    for engine, module in ENGINES.items():
        try:
            engines[engine] = Engine(module, folder, threads)
            engines[engine].run(**task)  # what is made once, or on first use, is not timed
        except EngineError as error:
            rows[engine]["remark"] = str(error)
            engines.pop(engine, None)
    for repeat in range(repeats):
        for engine, process in engines.items():
            print(f"{name}: {engine}, {repeat + 1} of {repeats}", file=sys.stderr, flush=True)
            memory = process.run(folder / f"{engine}.npy", **task)
            timed = process.run(fresh=False, **task)
            times = {key: timed[key] for key in ("seconds", "processor_seconds")}
            rows[engine]["repeats"].append(memory | times)
            rows[engine]["load"] = load_average()
    for process in engines.values():
        process.close()
    ours = np.load(folder / f"{OURS}.npy")
    for engine, row in rows.items():
        taken = row["repeats"]
        row |= dict.fromkeys(("seconds", "processor_seconds", "ratio", "memory", "deviation"))
        if taken:
            found = np.load(folder / f"{engine}.npy")
            np.testing.assert_array_equal(np.isnan(found), np.isnan(ours))
            for key in ("seconds", "processor_seconds"):
                row[key] = min(each[key] for each in taken)
            row["ratio"] = row["seconds"] / rows[OURS]["seconds"]
            row["memory"] = (max(each["memory_peak"] for each in taken) - taken[0]["memory_before"]) / 1e6
            row["deviation"] = float(np.nanmax(np.abs(found - ours)) / np.nanmax(np.abs(ours)))
    return list(rows.values())
