"""Work with atlas files: python scripts/atlas.py info atlas/demo/atlas.h5."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def parser() -> argparse.ArgumentParser:
    """The command line: a subcommand for each thing that can be done, and its function."""
    p = argparse.ArgumentParser(
        prog="atlas.py",
        description="Describe, check, compare, cut down, put together, export, import and share atlas files. No "
        "model is needed. Files may come from strangers: another process with little memory opens them first. "
        "`atlas.py SUBCOMMAND --help` lists the options.",
    )
    commands = p.add_subparsers(title="subcommands", required=True, metavar="SUBCOMMAND")

    c = commands.add_parser("info", help="what an atlas holds")
    c.add_argument("atlas", type=place)
    c.add_argument("--json", action="store_true", help="as JSON")
    c.set_defaults(run=info)

    c = commands.add_parser("validate", help="is it safe, whole and undamaged? Reads every number")
    c.add_argument("atlas", type=Path, nargs="+")
    c.set_defaults(run=validate)

    c = commands.add_parser("diff", help="which heads changed role or effect from one atlas to another")
    c.add_argument("before", type=place)
    c.add_argument("after", type=place)
    c.add_argument("--measures", nargs="+", metavar="NAME", help="scores and effects (default: logit_difference)")
    c.add_argument("--mode", help="ablation mode (default: all that both have)")
    c.add_argument("--json", action="store_true", help="as JSON, with all that changed")
    c.set_defaults(run=diff)

    c = commands.add_parser("merge", help="atlases of one model, of other families, modes or measures, as one")
    c.add_argument("atlas", type=place, nargs="+")
    writes(c, "the atlas file to write")
    c.set_defaults(run=merge)

    c = commands.add_parser("extract", help="some families, measures or heads, as a smaller atlas")
    c.add_argument("atlas", type=place)
    writes(c, "the atlas file to write")
    c.add_argument("--families", nargs="+", metavar="NAME", help="default: all")
    c.add_argument("--measures", nargs="+", metavar="NAME", help="scores, effects, groups or places (default: all)")
    c.add_argument("--heads", nargs="+", metavar="HEAD", help="such as L0H4 or 0.4; the others become NaN")
    c.set_defaults(run=extract)

    c = commands.add_parser("export", help="as CSV, as JSON, or as the data tree of HeadVis")
    c.add_argument("atlas", type=place)
    c.add_argument("--format", choices=("csv", "json", "headvis"), required=True, help="of what is written")
    writes(c, "a file; with --format headvis a new folder")
    c.add_argument("--exemplars", metavar="SET", help="headvis: text or families (default: text if it is there)")
    c.set_defaults(run=export)

    c = commands.add_parser("import", help="the data tree of HeadVis as an atlas")
    c.add_argument("folder", type=Path)
    writes(c, "the atlas file to write")
    c.set_defaults(run=import_tree)

    c = commands.add_parser("publish", help="put an atlas on the Hugging Face hub, with a card, a checksum and a tag")
    c.add_argument("atlas", type=Path)
    c.add_argument("address", help="hub:owner/name@tag, with a new tag")
    c.add_argument("--license", required=True, metavar="ID", help="of the atlas, such as cc-by-4.0")
    c.add_argument("--private", action="store_true", help="a new repository is private")
    c.add_argument("--dry-run", action="store_true", help="print the card, and publish nothing")
    c.set_defaults(run=publish)

    c = commands.add_parser("fetch", help="download and check an atlas of the hub, and print where it lies")
    c.add_argument("address", help="hub:owner/name@revision; without a revision the newest")
    c.set_defaults(run=fetch)
    return p


def writes(command: argparse.ArgumentParser, what: str) -> None:
    """A subcommand writes something, and replaces no file unless it is told to."""
    command.add_argument("--out", type=Path, required=True, help=what)
    command.add_argument("--force", action="store_true", help="replace the file that is there")


def info(args: argparse.Namespace) -> int:
    """Describe an atlas."""
    from head_atlas.exchange import describe
    from head_atlas.exchange.describe import in_words
    from head_atlas.store import open_atlas

    with open_atlas(args.atlas) as atlas:
        found = describe(atlas)
    print(as_json(found) if args.json else printable(in_words(found)))
    return 0


def validate(args: argparse.Namespace) -> int:
    """Check every number of each file; one line each."""
    from head_atlas.errors import AtlasError
    from head_atlas.store.inspection import inspect

    status = 0
    for path in args.atlas:
        try:
            inspect(path, numbers=True)
            print(f"{path}: valid")
        except AtlasError as error:
            print(printable(f"{path}: refused: {error}"))
            status = 1
    return status


def diff(args: argparse.Namespace) -> int:
    """Compare two atlases."""
    from head_atlas.exchange import difference
    from head_atlas.exchange.difference import in_words
    from head_atlas.store import open_atlas

    with open_atlas(args.before) as before, open_atlas(args.after) as after:
        found = difference(before, after, measures=args.measures or ("logit_difference",), mode=args.mode)
    print(as_json(found.as_json()) if args.json else printable(in_words(found)))
    return 0


def merge(args: argparse.Namespace) -> int:
    """Put atlases together."""
    from head_atlas.exchange import merge as merged

    return write(args.out, merged([contents(path) for path in args.atlas]))


def extract(args: argparse.Namespace) -> int:
    """Cut an atlas down."""
    from head_atlas.exchange import extract as cut
    from head_atlas.heads import HeadId

    heads = None if args.heads is None else [HeadId.parse(text) for text in args.heads]
    return write(args.out, cut(contents(args.atlas), families=args.families, measures=args.measures, heads=heads))


def export(args: argparse.Namespace) -> int:
    """Write an atlas in another format."""
    from head_atlas.exchange import write_csv, write_headvis, write_json
    from head_atlas.store import open_atlas

    with open_atlas(args.atlas) as atlas:
        if args.format == "headvis":
            print(f"{args.out}: {write_headvis(atlas, args.out, exemplars=args.exemplars)} heads")
        else:
            n = {"csv": write_csv, "json": write_json}[args.format](atlas, args.out)
            print(f"{args.out}: {n} rows")
    return 0


def import_tree(args: argparse.Namespace) -> int:
    """Read a tree of HeadVis into an atlas."""
    from head_atlas.exchange import read_headvis

    return write(args.out, read_headvis(args.folder))


def publish(args: argparse.Namespace) -> int:
    """Publish an atlas; prints the address that will always mean it."""
    from head_atlas.store.publishing import describe
    from head_atlas.store.publishing import publish as published

    if args.dry_run:
        print(printable(describe(args.atlas, args.address, args.license)[0]))
    else:
        found = published(args.atlas, args.address, license_id=args.license, private=args.private, say=say)
        print(found.pinned_address)
    return 0


def fetch(args: argparse.Namespace) -> int:
    """Download an atlas; prints its path."""
    from head_atlas.store.fetching import fetch as fetched

    print(fetched(args.address, say).path)
    return 0


def say(text: str) -> None:
    """Tell what happens, beside what is printed."""
    print(printable(text), file=sys.stderr, flush=True)


def place(text: str) -> Path | str:
    """A file, or the address of a published atlas."""
    return text if text.startswith("hub:") else Path(text)


def contents(path: Path | str) -> Any:
    """A whole atlas in memory."""
    from head_atlas.store import contents_of, open_atlas

    with open_atlas(path) as atlas:
        return contents_of(atlas)


def write(path: Path, found: Any) -> int:
    """Write an atlas and say so."""
    from head_atlas.store import write_atlas

    write_atlas(path, found)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return 0


def as_json(found: Any) -> str:
    """JSON for people and programs."""
    from head_atlas.exchange.tables import finite

    return json.dumps(finite(found), indent=2, ensure_ascii=True)


def printable(text: str) -> str:
    """Without what a terminal would obey: names in a file may be anything."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; return the exit status."""
    args = parser().parse_args(argv)
    from head_atlas.errors import HeadAtlasError

    try:
        if "out" in args and args.out.is_file() and not args.force:
            raise FileExistsError(f"{args.out} is there already: give another --out, or --force to replace it")
        return int(args.run(args))
    except KeyboardInterrupt:
        return 130
    except (HeadAtlasError, OSError) as error:
        print(printable(f"error: {error}"), file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
