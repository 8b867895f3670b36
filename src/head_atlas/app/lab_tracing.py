"""Causal tracing: the subject drowned in noise, and one place at a time restored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from head_atlas.app.lab_bench import Analysis, Bench, Finding, number, option
from head_atlas.app.limits import well_formed
from head_atlas.catalogue import EFFECTS
from head_atlas.errors import HeadAtlasError
from head_atlas.views import blocks
from head_atlas.views.numbers import interval, plain, signed
from head_atlas.views.token_text import visible

if TYPE_CHECKING:
    from head_atlas.live import CausalTrace

TRACED = [("residual stream", "resid_pre"), ("attention layers", "attn_out"), ("MLPs", "mlp_out")]


def trace_options() -> list[Any]:
    """Components: subject, place, window, noise, samples."""
    return [
        gr.Textbox(
            "", label="Subject", info="The words of the prompt to drown in noise.", max_lines=1, min_width=200,
            elem_id="lab-trace-subject",
        ),
        gr.Dropdown(TRACED, value="resid_pre", label="Restore", min_width=160, elem_id="lab-trace-place"),
        gr.Number(
            1, label="Window of layers", minimum=1, maximum=20, precision=0, min_width=120, elem_id="lab-trace-window",
        ),
        gr.Number(3, label="Noise, in SD", minimum=0.1, maximum=20, min_width=110, elem_id="lab-trace-noise"),
        gr.Number(10, label="Samples", minimum=2, maximum=50, precision=0, min_width=110, elem_id="lab-trace-samples"),
    ]  # fmt: skip


def run_trace(bench: Bench, subject: Any, place: Any, window: Any, noise: Any, samples: Any) -> Finding:
    """Drown the subject in noise and restore one place at a time."""
    from head_atlas.live import causal_trace

    if not isinstance(subject, str) or not subject.strip() or not well_formed(subject):
        raise HeadAtlasError("Name the subject: words of the prompt, as they stand there.")
    if len(subject) > bench.engine.limits.prompt_characters:
        raise HeadAtlasError("The subject is longer than any prompt.")
    what = option(place, [name for _, name in TRACED], "place")
    given: dict[str, Any] = {
        "window": 1 if what == "resid_pre" else int(number(window, 1, 20, "window")),
        "noise": number(noise, 0.1, 20, "noise"),
        "n_samples": int(number(samples, 2, 50, "number of samples")),
    }
    bench.progress.phase("Restoring")
    args: tuple[Any, ...] = (bench.model, bench.prompt, subject.strip(), what)
    found = causal_trace(*args, progress=bench.progress, **given)
    return Finding(blocks.figure(*_trace(bench, found)), ((causal_trace, args, given, found),))


def _trace(bench: Bench, found: CausalTrace) -> list[dict | None]:
    values, low, high = (np.asarray(x.values, float) for x in (found.values, found.low, found.high))
    corrupted = np.asarray(found.corrupted.values, float)
    unit = EFFECTS[found.metric].unit
    columns = [visible(token) + (" *" if i in found.subject else "") for i, token in enumerate(found.strings)]
    return [
        blocks.facts(
            [
                ("Clean", f"{signed(found.clean, 2)} {unit}", bench.measured),
                (
                    "With noise",
                    f"{signed(float(corrupted.mean()), 2)} {unit}",
                    f"mean over {len(corrupted)} samples, standard deviation {plain(float(corrupted.std(ddof=1)), 2)}",
                ),
                (
                    "Noise",
                    f"SD {plain(found.sigma, 3)}",
                    f"{found.noise:g} standard deviations of the embedding matrix",
                ),
            ]
        ),
        blocks.text(f"No shares can be given: {found.undefined}.", "warning") if found.undefined else None,
        blocks.matrix(
            values,
            title="How far each place, restored alone, brings the answer back; * marks the subject",
            rows=[f"L{i}" for i in range(len(values))],
            columns=columns,
            unit="share of the difference",
            texts=[
                [
                    f"{plain(float(v), 2)} {interval(float(a), float(b), 2)}, n = {len(corrupted)} samples of noise"
                    if np.isfinite(v)
                    else found.undefined
                    for v, a, b in zip(*row, strict=True)
                ]
                for row in zip(values, low, high, strict=True)
            ],
            reason=found.undefined,
            axes=("layer", "token"),
        ),
    ]


TRACE = Analysis(
    key="trace",
    title="Causal tracing: where a fact sits",
    button="Trace",
    empty="A grid of layers and tokens will show which place brings the answer back after the subject was drowned in "
    "noise. No corrupted prompt is needed.",
    measures=("causal_trace",),
    work=run_trace,
)
