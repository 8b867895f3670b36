"""Build the atlas of a model: python scripts/build_atlas.py --model atlas/demo/model --out atlas/demo/atlas.h5."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from head_atlas.build import Plan
    from head_atlas.models import HeadModel


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="build_atlas.py",
        description="Measure every attention head of a model and write its atlas. Stopped at any moment, the "
        "same command goes on where it was.",
    )
    p.add_argument("--model", required=True, help="a folder, or a name on the Hugging Face hub")
    p.add_argument("--revision", help="branch, tag or commit on the hub")
    p.add_argument("--out", required=True, type=Path, help="the atlas file to write")
    p.add_argument(
        "--quick",
        action="store_true",
        help="8 prompts per family and zero ablation only: a first look; its shards stay in OUT.parts, as "
        "those of any build",
    )
    p.add_argument("--families", nargs="+", metavar="NAME", help="prompt families; default: all")
    p.add_argument("--prompts", type=int, metavar="N", help="prompts per family (default 100; with --quick 8)")
    p.add_argument(
        "--modes",
        nargs="+",
        choices=("zero", "mean", "resample", "pattern_freeze", "resample_corrupted"),
        help="ablation modes (default: all; with --quick zero)",
    )
    p.add_argument("--measures", nargs="*", metavar="NAME", help="what else to measure (default: all; see --dry-run)")
    p.add_argument("--seed", type=int, default=0, help="of prompts and bootstrap (default 0)")
    p.add_argument(
        "--corpus",
        metavar="SOURCE",
        help="your own running text: a text file, a folder, a .jsonl file, or a data set (needs datasets)",
    )
    p.add_argument("--corpus-field", metavar="NAME", default="text", help="field of a line or row (default: text)")
    p.add_argument("--device", help="cpu, cuda, ... (default: a GPU if there is one)")
    p.add_argument("--dtype", choices=("float32", "float64", "bfloat16", "float16"), default="float32")
    p.add_argument("--threads", type=_at_least_one, metavar="N", help="CPU threads (default: torch's choice)")
    p.add_argument(
        "--discard-shards", action="store_true", help="remove OUT.parts at the end: nothing can be added then"
    )
    p.add_argument("--dry-run", action="store_true", help="say what would be done and what it costs, and stop")
    p.add_argument("--json", action="store_true", help="with --dry-run: as JSON")
    p.add_argument(
        "--rate", type=float, metavar="FLOPS", help="with --dry-run: operations per second (default: measured)"
    )
    many = p.add_argument_group("many machines", "docs/cluster.md says how to start them")
    many.add_argument("--shard", type=_share, metavar="I/N", help="measure one of N shares of the units, I from 0")
    many.add_argument("--merge", action="store_true", help="put the atlas together from shares that are done")
    many.add_argument("--engine", choices=("serial", "ray"), default="serial", help="what does the units")
    many.add_argument("--address", help="ray: of the cluster (default: this machine alone)")
    many.add_argument("--workers", type=_at_least_one, default=1, metavar="N", help="ray: models at work (default 1)")
    many.add_argument("--cpus", type=float, default=1.0, metavar="N", help="ray: CPUs of each worker (default 1)")
    many.add_argument(
        "--gpus", type=float, default=0.0, metavar="N", help="ray: GPUs of each worker; 0.5 for half of one"
    )
    return p


def _share(text: str) -> tuple[int, int]:
    index, _, of = text.partition("/")
    if not (index.isdecimal() and of.isdecimal() and int(index) < int(of)):
        raise argparse.ArgumentTypeError(f"must be I/N with I from 0 to N - 1, found {text}")
    return int(index), int(of)


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, found {number}")
    return number


def _unheeded(args: argparse.Namespace) -> str:
    """Why an option would change nothing beside the others; "" where each is heeded."""
    ray, usual = args.engine == "ray", parser()
    of_ray = [name for name in ("address", "workers", "cpus", "gpus") if getattr(args, name) != usual.get_default(name)]
    for unheeded, why in (
        (of_ray and not ray, f"--{of_ray[0] if of_ray else ''} needs --engine ray"),
        (ray and args.shard, "--engine ray hands out the units itself: not with --shard"),
        (ray and args.merge, "--engine ray puts the atlas together itself: not with --merge"),
        (args.shard and args.merge, "--shard and --merge are two commands, one after the other"),
        (args.discard_shards and args.shard, "--discard-shards belongs to --merge: not with --shard"),
        (args.discard_shards and ray, "--discard-shards: not with --engine ray, whose shards stay in OUT.parts"),
        (args.json and not args.dry_run, "--json needs --dry-run"),
        (args.rate is not None and not args.dry_run, "--rate needs --dry-run"),
    ):
        if unheeded:
            return why
    return ""


def main(argv: Sequence[str] | None = None) -> int:
    """Build an atlas; return the exit status."""
    args = parser().parse_args(argv)
    if why := _unheeded(args):
        parser().error(why)
    # imported late, so that --help does not wait for torch
    import torch

    from head_atlas.build import QUICK, BuildOptions, build_atlas, measure_share, merge_shares, plan_atlas
    from head_atlas.build.cluster import Cluster, build_on_ray
    from head_atlas.build.worker import ModelSource
    from head_atlas.errors import HeadAtlasError
    from head_atlas.models import load_model
    from head_atlas.prompts.running_text import RunningText

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    try:
        options = replace(
            QUICK if args.quick else BuildOptions(),
            families=args.families,
            seed=args.seed,
            corpus=RunningText(args.corpus, args.corpus_field) if args.corpus else None,
            threads=args.threads,
        )
        if args.prompts is not None:
            options = replace(options, n_prompts=args.prompts)
        if args.modes is not None:
            options = replace(options, modes=tuple(dict.fromkeys(args.modes)))
        if args.measures is not None:
            options = replace(options, measures=tuple(dict.fromkeys(args.measures)))
        if args.threads is not None:
            # before the checks at loading: their deviations are stored, and depend on the number of threads
            torch.set_num_threads(args.threads)
        if args.engine == "ray" and not args.dry_run:
            source = ModelSource(args.model, args.revision, args.device, args.dtype)
            cluster = Cluster(args.address, args.workers, args.cpus, args.gpus)
            path = build_on_ray(source, args.out, options, cluster, say)
            say(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
            return 0
        model = load_model(args.model, args.revision, args.device, args.dtype, say)
        if args.dry_run:
            print(describe(plan_atlas(model, options), model, args.rate, as_json=args.json))
        elif args.shard:
            measure_share(model, args.out, options, say, index=args.shard[0], of=args.shard[1])
        else:
            build = merge_shares if args.merge else build_atlas
            path = build(model, args.out, options, say, keep_shards=not args.discard_shards)
            say(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    except KeyboardInterrupt:
        say("\nstopped; the same command goes on from here")
        return 130
    except (HeadAtlasError, OSError) as error:
        say(f"error: {error}")
        return 1
    return 0


def describe(plan: Plan, model: HeadModel, rate: float | None, *, as_json: bool) -> str:
    """A plan and its cost, in words or as JSON."""
    from head_atlas.build.costs import atlas_bytes, costs_of, measured_rate
    from head_atlas.build.progress import duration
    from head_atlas.errors import UnsupportedModelError
    from head_atlas.interventions import sizes_of

    prompts = Counter(p.family for p in plan.prompts)
    tokens = Counter(dict.fromkeys(prompts, 0))
    for prompt in plan.prompts:
        tokens[prompt.family] += len(prompt)
    unknown, costs, size = "", [], float("nan")
    try:
        sizes = sizes_of(model)
        speed = rate or measured_rate(model)
        costs = costs_of(plan, sizes, rate=speed)
        size = atlas_bytes(plan, sizes, costs)
    except UnsupportedModelError as error:
        unknown, speed = str(error), float("nan")
    totals = {key: sum(getattr(cost, key) for cost in costs) for key in ("flops", "seconds", "shard_bytes")}
    totals["atlas_bytes"] = size
    if as_json:
        found = {
            "prompts": len(plan.prompts),
            "tokens": sum(tokens.values()),
            "families": {f: {"prompts": prompts[f], "tokens": tokens[f]} for f in plan.families},
            "left_out": dict(plan.left_out),
            "modes": list(plan.modes),
            "units": len(plan.units),
            "tokens_through_model": sum(unit.work for unit in plan.units),
            "rate": speed,
            "kinds": [asdict(cost) for cost in costs],
            "total": totals,
            "unknown": unknown,
            "config_sha256": plan.config_sha256,
        }
        return json.dumps(found, indent=1).replace("NaN", "null")
    lines = [f"{len(plan.prompts)} prompts in {len(plan.families)} families"]
    lines += [f"  {family}: {prompts[family]} prompts, {tokens[family]} tokens" for family in plan.families]
    lines += [f"left out: {name}: {why}" for name, why in plan.left_out.items()]
    lines += [f"note: {name}: {text}" for name, text in plan.notes.items()]
    work = sum(unit.work for unit in plan.units)
    by_kind: Counter[str] = Counter()
    for unit in plan.units:
        by_kind[unit.kind] += round(unit.work)
    of_kind = {cost.kind: cost for cost in costs}
    for kind, through in by_kind.items():
        line = f"  {kind}: {through:,} tokens through the model"
        if kind in of_kind:
            line += f", {of_kind[kind].flops:.2g} FLOPs, {duration(of_kind[kind].seconds)}"
        lines.append(line)
    lines.append(f"{len(plan.units)} units, modes {', '.join(plan.modes)}; {work:,.0f} tokens through the model")
    if unknown:
        lines.append(f"operations and time are not known: {unknown}")
    else:
        lines.append(
            f"{totals['flops']:.3g} FLOPs, about {duration(totals['seconds'])} at {speed / 1e9:,.1f} GFLOP/s (to "
            f"within a factor of 2); atlas about {totals['atlas_bytes'] / 1e6:,.1f} MB, "
            f"shards {totals['shard_bytes'] / 1e6:,.1f} MB"
        )
    lines.append(f"configuration {plan.config_sha256}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
