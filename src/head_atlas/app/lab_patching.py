"""Patching between the prompt and a corrupted one, paths between heads, and causal tracing with noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from head_atlas.app.lab_bench import Analysis, Bench, Finding, option
from head_atlas.app.lab_modes import corrupted_tokens
from head_atlas.catalogue import EFFECTS
from head_atlas.errors import HeadError, PromptError
from head_atlas.heads import HeadId
from head_atlas.views import blocks
from head_atlas.views.numbers import plain, signed
from head_atlas.views.token_text import quoted, visible

if TYPE_CHECKING:
    from head_atlas.live import Patching, PathPatching
    from head_atlas.live.prompt_pair import PromptPair

PLACES = [
    ("every head’s output, by position", "z"),
    ("the residual stream before each layer", "resid_pre"),
    ("what each attention layer writes", "attn_out"),
    ("what each MLP writes", "mlp_out"),
    ("every head’s queries", "q"),
    ("every head’s keys", "k"),
    ("every head’s values", "v"),
]
DIRECTIONS = [
    ("restore: clean parts into the corrupted run (is it enough?)", "denoise"),
    ("ruin: corrupted parts into the clean run (is it needed?)", "noise"),
]
MOST_ROWS = 24
MOST_RECEIVERS = 6
NO_PAIR = (
    "This compares the prompt with a corrupted one: open “A corrupted prompt” below the prompt, and propose or type "
    "one."
)


def patch_options() -> list[Any]:
    """Components: place, direction."""
    return [
        gr.Dropdown(PLACES, value="z", label="Take from the other run", min_width=230, elem_id="lab-patch-place"),
        gr.Dropdown(DIRECTIONS, value="denoise", label="Direction", min_width=230, elem_id="lab-patch-direction"),
    ]


def path_options() -> list[Any]:
    """Components: receivers, direction."""
    return [
        gr.Textbox(
            "",
            label="Receivers",
            info="Heads and what they hear by: L1H2.k, 2.5.q. Empty: the logits.",
            max_lines=1,
            min_width=230,
            elem_id="lab-path-receivers",
        ),
        gr.Dropdown(DIRECTIONS, value="noise", label="Direction", min_width=230, elem_id="lab-path-direction"),
    ]


def _pair(bench: Bench) -> tuple[int, ...]:
    if not bench.what.corrupted:
        raise PromptError(NO_PAIR)
    return corrupted_tokens(bench.engine, bench.model, bench.what.prompt, bench.what.corrupted)


def pair_arguments(bench: Bench) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The texts, and the target and contrast as far as they were chosen: the library takes its own contrast."""
    _pair(bench)
    given: dict[str, Any] = {"target": bench.prompt.targets[-1]}
    if bench.prompt.contrasts:
        given["contrast"] = bench.prompt.contrasts[-1]
    return (bench.model, bench.what.prompt, bench.what.corrupted), given


def run_patch(bench: Bench, place: Any, direction: Any) -> Finding:
    """Take every place in turn from the other run."""
    from head_atlas.live import patch

    what = option(place, [name for _, name in PLACES], "place")
    way = option(direction, [name for _, name in DIRECTIONS], "direction")
    pair, given = pair_arguments(bench)
    bench.progress.phase("Patching")
    args: tuple[Any, ...] = (*pair, what, way)
    found = patch(*args, progress=bench.progress, **given)
    figure = blocks.figure(
        *_pair_blocks(bench, found.pair, found.clean, found.corrupted, found.undefined), _patched(found)
    )
    return Finding(figure, ((patch, args, given, found),), measured=_measured(bench, found.pair))


def _pair_blocks(bench: Bench, pair: PromptPair, clean: float, corrupted: float, undefined: str) -> list[dict | None]:
    unit = EFFECTS[pair.metric].unit
    return [
        blocks.text(f"Measured: {_measured(bench, pair)}."),
        blocks.facts(
            [
                ("Clean prompt", f"{signed(clean, 2)} {unit}", "1 on the scale below"),
                ("Corrupted prompt", f"{signed(corrupted, 2)} {unit}", "0 on the scale below"),
            ]
        ),
        blocks.text(f"No shares can be given: {undefined}.", "warning") if undefined else None,
    ]


def _measured(bench: Bench, pair: PromptPair) -> str:
    """What is measured of a pair of prompts, which may bring a contrast of its own, in words."""
    contrast = pair.prompt.contrasts[-1] if pair.prompt.contrasts else None
    if pair.metric != "logit_difference" or contrast is None:
        return f"the log-probability of {quoted(bench.target)}"
    lead = f"the lead of {quoted(bench.target)} over {quoted(bench.model.strings([contrast])[0])}"
    return lead if bench.contrast else f"{lead}, the corrupted prompt’s own first choice"


def _columns(pair: PromptPair) -> list[str]:
    return [
        visible(one) if one == other else f"{visible(one)}→{visible(other)}"
        for one, other in zip(pair.strings, pair.corrupted_strings, strict=True)
    ]


def _patched(found: Patching) -> dict:
    values, effects = np.asarray(found.values.values, float), np.asarray(found.effects.values, float)
    # What a place changes is coloured: 0 on the scale is the run that was patched.
    moved = values if found.direction == "denoise" else values - 1
    dims = found.values.dims
    note = ""
    if dims == ("layer", "head", "position"):
        n_heads = values.shape[1]
        flat, said = moved.reshape(-1, values.shape[2]), values.reshape(-1, values.shape[2])
        most = np.nanmax(np.abs(effects.reshape(flat.shape)), axis=1)
        kept = np.sort(np.argsort(-most, kind="stable")[:MOST_ROWS])
        rows = [HeadId(int(i) // n_heads, int(i) % n_heads).label for i in kept]
        moved, values, effects = flat[kept], said[kept], effects.reshape(flat.shape)[kept]
        columns, axes = _columns(found.pair), ("head", "token")
        if len(kept) < len(flat):
            note = f" The {len(kept)} of {len(flat)} heads that change most somewhere."
    elif dims == ("layer", "position"):
        rows, columns = [f"L{i}" for i in range(len(values))], _columns(found.pair)
        axes = ("layer", "token")
    else:
        rows, columns = [f"L{i}" for i in range(values.shape[0])], [f"H{i}" for i in range(values.shape[1])]
        axes = ("layer", "head")
    way = (
        "0: still as corrupted, 1: as clean" if found.direction == "denoise" else "0: still as clean, −1: as corrupted"
    )
    unit = EFFECTS[found.pair.metric].unit
    return blocks.matrix(
        moved,
        title=f"Change by each place; {way}.{note}",
        rows=rows,
        columns=columns,
        unit="share of the difference",
        numbers=len(columns) <= 12 and axes[1] == "head",
        texts=[
            [
                f"{plain(float(v), 2)} of the way to the clean run ({signed(float(e), 2)} {unit})"
                if np.isfinite(v)
                else f"{signed(float(e), 2)} {unit}; {found.undefined or 'not measured'}"
                for v, e in zip(*pair, strict=True)
            ]
            for pair in zip(values, effects, strict=True)
        ],
        reason=found.undefined,
        axes=axes,
    )


def run_paths(bench: Bench, receivers: Any, direction: Any) -> Finding:
    """Patch the paths from every lower head to some receivers."""
    from head_atlas.live import path_patch

    way = option(direction, [name for _, name in DIRECTIONS], "direction")
    heard = read_receivers(receivers)
    pair, given = pair_arguments(bench)
    given |= {"receivers": heard or "logits", "direction": way, "join_receivers": False}
    bench.progress.phase("Patching paths")
    found = path_patch(*pair, progress=bench.progress, **given)
    figure = blocks.figure(
        *_pair_blocks(bench, found.pair, found.clean, found.corrupted, found.undefined), _paths(found)
    )
    return Finding(figure, ((path_patch, pair, given, found),), measured=_measured(bench, found.pair))


def read_receivers(text: Any) -> list[tuple[str, str]]:
    """Receivers as they are typed: "L1H2.k, 2.5.q".

    Raises:
        HeadError: one of them is not a head and q, k or v, or there are too many.
    """
    if not isinstance(text, str) or not text.strip():
        return []
    found = []
    for piece in text.replace(";", ",").split(","):
        name, _, through = piece.strip().rpartition(".")
        if through.lower() not in ("q", "k", "v"):
            raise HeadError(f"Expected a head and q, k or v, such as L1H2.k, found {piece.strip()[:40]!r}")
        found.append((str(HeadId.parse(name)), through.lower()))
    if len(found) > MOST_RECEIVERS:
        raise HeadError(f"{len(found)} receivers are too many; at most {MOST_RECEIVERS} are possible here")
    return found


def _paths(found: PathPatching) -> dict:
    effects = np.asarray(found.effects.values, float)
    senders = list(found.effects.coords["sender"])
    most = np.abs(effects).max(1)
    kept = np.sort(np.argsort(-most, kind="stable")[:MOST_ROWS])
    unit = EFFECTS[found.pair.metric].unit
    some = f" The {len(kept)} of {len(senders)} senders that change most." if len(kept) < len(senders) else ""
    return blocks.matrix(
        effects[kept],
        title=f"Change by the path from a head (row) to what hears it (column).{some}",
        rows=[senders[int(i)] for i in kept],
        columns=list(found.effects.coords["receiver"]),
        unit=unit,
        numbers=True,
        axes=("sender", "receiver"),
    )


PATCH = Analysis(
    key="patch",
    title="Where the difference between two prompts sits",
    button="Patch every place",
    empty="A grid of places and tokens will show which of them carries the difference between the two prompts.",
    measures=("patching",),
    work=run_patch,
)
PATHS = Analysis(
    key="paths",
    title="From head to head",
    button="Patch the paths",
    empty="A table of senders and receivers will show what goes from one head to another, and not through a third.",
    measures=("path_patching",),
    work=run_paths,
)
