"""Zero ablation of every head: Head Atlas against loops over heads, in one run and on the same weights.

Engines take turns, each in a process of its own, and the rate of a plain matrix product is measured between them.
Loops do the same work for every head, so they are timed on a part of the heads, spread over all layers, and the
time is multiplied; Head Atlas always removes all. The least of several repeats counts: other processes only add.
Shares of the rate are in processor time, on which these weigh less.
Removed alone, the heads of that part must end in the same logits for every engine.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.engines.head_atlas_sweep import load_head_model
from benchmarks.engines.matrix_product import FLOPS
from benchmarks.machine import load_average, machine
from benchmarks.models import demo_model, random_gpt2
from benchmarks.processes import ROOT, Engine, EngineError
from benchmarks.table import print_head, print_row, write_json
from head_atlas.interventions import sweep_flops
from head_atlas.models import HeadModel

OURS = "Head Atlas"
ENGINES: dict[str, tuple[str, str | None]] = {
    OURS: ("head_atlas_sweep", None),
    "transformers, batched hooks": ("transformers_hooks", None),
    "TransformerLens 2.18": ("transformer_lens_2", "transformer-lens-2"),
    "TransformerLens 4": ("transformer_lens_4", "transformer-lens-4"),
    "nnsight": ("nnsight_loop", "nnsight"),
}
"""Name in the table: module of `engines`, and folder under .bench (None: our own environment)."""
TOLERANCE = 1e-3
"""Between logits of two engines."""
COLUMNS = {
    "case": "case",
    "engine": "engine",
    "heads": "heads timed",
    "seconds": "all heads, s|.2f",
    "processor_seconds": "processor s|.2f",
    "ratio": "times ours|.2f",
    "processor_ratio": "in processor s|.2f",
    "share": "of the matrix-product rate|.0%",
    "deviation": "largest deviation|.0e",
    "load": "load|.1f",
    "remark": "",
}


@dataclass(frozen=True)
class Case:
    """Prompts on a model.

    Attributes:
        name: in the table.
        model: "gpt2" or "demo".
        lengths: of the prompts.
        per_layer: heads of each layer that loops are timed on.
        repeats: at most.
    """

    name: str
    model: str
    lengths: tuple[int, ...]
    per_layer: int
    repeats: int


MIXED = tuple(8 + 3 * (i % 9) for i in range(64))
CASES = (
    Case("1 prompt of 16", "gpt2", (16,), 1, 5),
    Case("8 of 16", "gpt2", (16,) * 8, 1, 3),
    Case("8 of 32", "gpt2", (32,) * 8, 1, 2),
    Case("64 of 8 to 32", "gpt2", MIXED, 1, 1),
    Case("demo model, 1 of 16", "demo", (16,), 6, 5),
    Case("demo model, 8 of 32", "demo", (32,) * 8, 6, 5),
)


def sweep_table(
    *, only: list[str] | None, repeats: int, threads: int, full: bool, tiny: bool, json_file: Path | None
) -> int:
    """Measure all cases, print the table, and return the exit status: 1 where an engine deviates.

    Args:
        only: parts of the names of cases; None for all.
        repeats: at most, in every case.
        threads: CPU threads of each engine; 0 for torch's choice.
        full: every head in every engine.
        tiny: tiny shapes, to try the script.
        json_file: for all numbers, or None.
    """
    cases = [case for case in CASES if not only or any(o in case.name for o in only)]
    rows: list[dict[str, Any]] = []
    about = machine(threads or torch.get_num_threads())
    print_head(about, COLUMNS)
    with tempfile.TemporaryDirectory() as place:
        makers = {"gpt2": lambda folder: random_gpt2(folder, tiny=tiny), "demo": demo_model}
        for model in dict.fromkeys(case.model for case in cases):
            folder = makers[model](Path(place) / model)
            of_model = [case for case in cases if case.model == model]
            for row in _measure_model(folder, of_model, repeats, threads, full):
                print_row(COLUMNS, row)
                rows.append(row)
                write_json(json_file, about, rows)
    return int(any(row["deviation"] is not None and not row["deviation"] <= TOLERANCE for row in rows))


@dataclass(frozen=True)
class _Task:
    """A case on its model: prompts, all heads, the part that loops are timed on, FLOPs of all, and repeats."""

    name: str
    prompts: list[list[int]]
    every: list[tuple[int, int]]
    some: list[tuple[int, int]]
    flops: float
    repeats: int


def _task(case: Case, model: HeadModel, repeats: int, full: bool) -> _Task:
    every = [(layer, head) for layer in range(model.n_layers) for head in range(model.n_heads)]
    generator = torch.Generator().manual_seed(0)
    return _Task(
        case.name,
        [torch.randint(1, model.d_vocab, (length,), generator=generator).tolist() for length in case.lengths],
        every,
        every if full else [pair for pair in every if pair[1] < case.per_layer],
        sum(sweep_flops(model, 1, length, 1) for length in case.lengths),
        min(repeats, case.repeats),
    )


def _measure_model(folder: Path, cases: list[Case], repeats: int, threads: int, full: bool) -> Iterator[dict[str, Any]]:
    model = load_head_model(str(folder))
    tasks = [_task(case, model, repeats, full) for case in cases]
    product = Engine("matrix_product", folder, threads)
    engines: dict[str, Engine | EngineError] = {}
    for name, (module, environment) in ENGINES.items():
        try:
            engines[name] = Engine(module, folder, threads, environment and ROOT / ".bench" / environment)
        except EngineError as error:
            engines[name] = error
    for task in tasks:
        yield from _measure(task, engines, product, folder)
    for engine in (product, *engines.values()):
        if isinstance(engine, Engine):
            engine.close()


def _measure(
    task: _Task, engines: dict[str, Engine | EngineError], product: Engine, folder: Path
) -> list[dict[str, Any]]:
    rows = {name: {"case": task.name, "engine": name, "remark": ""} for name in engines}
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in engines}
    rate = 0.0
    for name, engine in engines.items():
        if isinstance(engine, Engine):
            try:  # what is made once for a length, or on first use, is not timed
                engine.run(prompts=task.prompts, heads=task.some[:1], keep=task.some[:1])
            except EngineError as error:
                engines[name] = error
    for repeat in range(task.repeats):
        for name, engine in engines.items():
            rate = max(rate, FLOPS * 40 / product.run(times=40)["processor_seconds"])
            heads = task.every if name == OURS else task.some
            if isinstance(engine, EngineError):
                rows[name]["remark"] = str(engine)
                continue
            print(f"{task.name}: {name}, {repeat + 1} of {task.repeats}", file=sys.stderr, flush=True)
            try:
                save = folder / f"{name}.npy" if repeat == 0 else None
                measured = engine.run(save, prompts=task.prompts, heads=heads, keep=task.some)
            except EngineError as error:
                engines[name] = error
                rows[name]["remark"] = str(error)
                continue
            scale = len(task.every) / len(heads)
            taken[name].append({key: scale * measured[key] for key in ("seconds", "processor_seconds")})
            rows[name] |= {"heads": len(heads), "load": load_average()}
    for name, row in rows.items():
        row["repeats"] = taken[name]
        for key in ("seconds", "processor_seconds"):
            row[key] = min((each[key] for each in taken[name]), default=None)
    expected = np.load(folder / f"{OURS}.npy")
    for row in rows.values():
        row |= {"ratio": None, "processor_ratio": None, "share": None, "deviation": None}
        if row["seconds"] is not None:
            found = np.load(folder / f"{row['engine']}.npy")
            row["ratio"] = row["seconds"] / rows[OURS]["seconds"]
            row["processor_ratio"] = row["processor_seconds"] / rows[OURS]["processor_seconds"]
            row["matrix_product_rate"] = rate
            row["share"] = task.flops / row["processor_seconds"] / rate
            row["deviation"] = float(np.abs(found - expected).max())
    return list(rows.values())
