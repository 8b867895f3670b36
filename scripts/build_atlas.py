"""Build the atlas of a model: python scripts/build_atlas.py --model atlas/demo/model --out atlas/demo/atlas.h5."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path


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
    p.add_argument("--quick", action="store_true", help="8 prompts per family and zero ablation only: a first look")
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
    p.add_argument("--dry-run", action="store_true", help="say what would be done, and stop")
    return p


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, found {number}")
    return number


def main(argv: Sequence[str] | None = None) -> int:
    """Build an atlas; return the exit status."""
    args = parser().parse_args(argv)
    # imported late, so that --help does not wait for torch
    import torch

    from head_atlas.build import QUICK, BuildOptions, build_atlas, plan_atlas
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
        model = load_model(args.model, args.revision, args.device, args.dtype, say)
        if args.dry_run:
            print(describe(plan_atlas(model, options)))
        else:
            path = build_atlas(model, args.out, options, say)
            say(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    except KeyboardInterrupt:
        say("\nstopped; the same command goes on from here")
        return 130
    except (HeadAtlasError, OSError) as error:
        say(f"error: {error}")
        return 1
    return 0


def describe(plan: object) -> str:
    """A plan in words."""
    from head_atlas.build import Plan

    assert isinstance(plan, Plan)
    prompts = Counter(p.family for p in plan.prompts)
    tokens = Counter(dict.fromkeys(prompts, 0))
    for prompt in plan.prompts:
        tokens[prompt.family] += len(prompt)
    lines = [f"{len(plan.prompts)} prompts in {len(plan.families)} families"]
    lines += [f"  {family}: {prompts[family]} prompts, {tokens[family]} tokens" for family in plan.families]
    lines += [f"left out: {name}: {why}" for name, why in plan.left_out.items()]
    lines += [f"note: {name}: {text}" for name, text in plan.notes.items()]
    work = sum(unit.work for unit in plan.units)
    by_kind: Counter[str] = Counter()
    for unit in plan.units:
        by_kind[unit.kind] += round(unit.work)
    lines += [f"  {kind}: {tokens:,} tokens through the model" for kind, tokens in by_kind.items()]
    lines.append(f"{len(plan.units)} units, modes {', '.join(plan.modes)}; {work:,.0f} tokens through the model")
    lines.append(f"configuration {plan.config_sha256}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
