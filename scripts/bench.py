"""Measure Head Atlas against other ways to the same numbers: python scripts/bench.py sweep."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="bench.py",
        description="Measure Head Atlas against other ways to the same numbers, in one run. `sweep` removes every "
        "head; `patterns` scores attention patterns; `attribution` integrates gradients; `published` looks published "
        "heads up in an atlas; `atlas` writes a large synthetic atlas, about 2 GB, and times reading it; `app` starts "
        "the app and lets a browser and twenty visitors in. The table "
        "goes to stdout, in markdown. Peers other than plain transformers and Captum are installed by "
        "`make bench-peers`.",
    )
    p.add_argument("what", choices=("sweep", "patterns", "attribution", "published", "atlas", "app"))
    p.add_argument("--only", nargs="+", metavar="PART", help="cases with one of these in their name")
    p.add_argument("--repeats", type=int, default=5, metavar="N", help="at most, of each case (default 5)")
    p.add_argument("--threads", type=int, default=0, metavar="N", help="CPU threads (default: torch's choice)")
    p.add_argument("--full", action="store_true", help="sweep: all heads in every engine")
    p.add_argument("--tiny", action="store_true", help="tiny shapes, to try the script: its times mean nothing")
    p.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there")
    p.add_argument("--model", default="gpt2", help="published: a model by its name on the hub (default gpt2)")
    p.add_argument("--atlas", type=Path, metavar="FILE", help="published: the atlas of that model")
    p.add_argument("--mode", default="mean", help="published: ablation mode of the effects (default mean)")
    p.add_argument(
        "--folder", type=Path, metavar="FOLDER", help="atlas: where it is written (default: temporary files)"
    )
    p.add_argument("--serve", default="atlas/demo", metavar="MODEL", help="app: what is served (default atlas/demo)")
    p.add_argument("--check", action="store_true", help="app: status 1 where a bar is missed")
    p.add_argument("--build", action="store_true", help="published: make that atlas first")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table; return 1 where two engines disagree, 2 where there is nothing to print."""
    args = parser().parse_args(argv)
    # imported late, so that --help does not wait for torch
    if args.what == "sweep":
        from benchmarks.sweep import sweep_table

        return sweep_table(
            only=args.only,
            repeats=args.repeats,
            threads=args.threads,
            full=args.full,
            tiny=args.tiny,
            json_file=args.json,
        )
    if args.what == "attribution":
        from benchmarks.attribution import attribution_table

        return attribution_table(
            only=args.only, repeats=args.repeats, threads=args.threads, tiny=args.tiny, json_file=args.json
        )
    if args.what == "published":
        from benchmarks.published import published_table

        return published_table(model=args.model, atlas=args.atlas, mode=args.mode, build=args.build)
    if args.what == "atlas":
        from benchmarks.atlas import atlas_table

        return atlas_table(tiny=args.tiny, folder=args.folder, repeats=args.repeats, json_file=args.json)
    if args.what == "app":
        from benchmarks.app import app_table

        return app_table(tiny=args.tiny, repeats=args.repeats, model=args.serve, check=args.check, json_file=args.json)
    from benchmarks.patterns import patterns_table

    return patterns_table(
        only=args.only, repeats=args.repeats, threads=args.threads, tiny=args.tiny, json_file=args.json
    )


if __name__ == "__main__":
    sys.exit(main())
