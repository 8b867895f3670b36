"""Every head at once: what removing it costs, a first-order estimate beside it, and where both stand in the atlas."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from head_atlas.app.lab_bench import Analysis, Bench, Finding
from head_atlas.catalogue import EFFECTS
from head_atlas.errors import AtlasError
from head_atlas.heads import HeadId
from head_atlas.views import blocks, numbers
from head_atlas.views.choices import titled
from head_atlas.views.numbers import count, plain, signed
from head_atlas.views.scales import Scale, scale_for

if TYPE_CHECKING:
    from head_atlas.live import AllHeads, Standing

TOP_ROWS = 10


def work(bench: Bench) -> Finding:
    """Remove every head alone, exactly and to first order."""
    from head_atlas.live import all_heads

    stored = _stored(bench)
    bench.progress.phase("Removing every head in turn")
    given: dict[str, Any] = {"reference": bench.reference, "stored": stored}
    found = all_heads(bench.model, bench.prompt, bench.what.mode, progress=bench.progress, **given)
    call = (all_heads, (bench.model, bench.prompt, bench.what.mode), given, found)
    return Finding(shown(found), (call,), each_head=True)


def _stored(bench: Bench) -> dict[str, np.ndarray]:
    """Effects of the atlas in this mode, of the metric that is compared."""
    atlas = bench.engine.library.atlas_or_none(bench.what.model)
    metric = "logit_difference" if bench.prompt.contrasts else "logprob"
    with suppress(AtlasError, KeyError):
        if atlas is not None and bench.what.mode in atlas.modes:
            return {metric: np.asarray(atlas.effects[metric].sel(mode=bench.what.mode).values)}
    return {}


def shown(found: AllHeads) -> dict:
    """The figure."""
    measure = EFFECTS[found.metric]
    exact, estimated = np.asarray(found.exact.values), np.asarray(found.estimated.values)
    rows = [f"L{i}" for i in range(exact.shape[0])]
    columns = [f"H{i}" for i in range(exact.shape[1])]
    scale = scale_for(np.stack([exact, estimated]), sign=True, unit=measure.unit)
    standing = found.standing.get(found.metric)
    side = [
        blocks.matrix(
            values,
            title=title,
            rows=rows,
            columns=columns,
            unit=measure.unit,
            scale=scale,
            numbers=exact.shape[1] <= 12,
            axes=("layer", "head"),
        )
        for title, values in (("Exact: the head removed", exact), ("Estimated: one backward pass", estimated))
    ]
    agreement = found.agreement
    return blocks.figure(
        blocks.text(f"{titled(measure.label)} when each head is removed alone: below 0, the head helped."),
        blocks.side_by_side(*side),
        blocks.facts(
            [
                (
                    "Rank agreement",
                    plain(agreement.spearman, 2),
                    f"Spearman correlation of estimate and exact effect over {agreement.n_heads} heads",
                ),
                (
                    f"Top {agreement.k} in common",
                    f"{100 * agreement.overlap:.0f} %",
                    "share of the heads of largest magnitude that both name",
                ),
                (
                    "Heads unlike their atlas",
                    "–" if standing is None else str(int(np.asarray(standing.unlike.values).sum())),
                    "effect outside the 1st to 99th percentile of this head's effects in the atlas",
                ),
            ]
        ),
        _standing_matrix(standing, rows, columns),
        _ranking(exact, estimated, standing, measure.unit),
        blocks.text(_whence(standing)),
    )


def _standing_matrix(standing: Standing | None, rows: list[str], columns: list[str]) -> dict | None:
    if standing is None:
        return None
    values = np.asarray(standing.percentile.values)
    return blocks.matrix(
        values,
        title="Percentile among this head's own effects in the atlas",
        rows=rows,
        columns=columns,
        unit="percentile: high where removing it costs much",
        scale=Scale(0, 100, False, "percentile"),
        short=[[f"{x:.0f}" if np.isfinite(x) else "" for x in row] for row in values]
        if values.shape[1] <= 12
        else None,
        texts=[
            [_percentile_text(standing, layer, head) for head in range(values.shape[1])]
            for layer in range(values.shape[0])
        ],
        axes=("layer", "head"),
    )


def _percentile_text(standing: Standing, layer: int, head: int) -> str:
    x, n = float(standing.percentile.values[layer, head]), float(standing.n.values[layer, head])
    if not np.isfinite(x):
        return "the atlas has no effect of this head to compare with"
    flag = " · unlike its atlas" if standing.unlike.values[layer, head] else ""
    return f"costs more than on {x:.0f} % of {count(n)} stored prompts{flag}"


def _ranking(exact: np.ndarray, estimated: np.ndarray, standing: Standing | None, unit: str) -> dict:
    order = np.argsort(-np.abs(np.where(np.isfinite(exact), exact, 0)), axis=None)[:TOP_ROWS]
    rows, marked = [], []
    for flat in order:
        layer, head = divmod(int(flat), exact.shape[1])
        effect = float(exact[layer, head])
        said = f"{'costs' if effect < 0 else 'adds'} {plain(abs(effect), 2)} {unit} here"
        unlike = False
        if standing is not None and np.isfinite(standing.percentile.values[layer, head]):
            unlike = bool(standing.unlike.values[layer, head])
            said += f": the {ordinal(float(standing.percentile.values[layer, head]))} percentile of what this head does"
            low, high = (float(end.values[layer, head]) for end in (standing.low, standing.high))
            if unlike:
                said += f"; unlike its atlas (1st to 99th: {signed(low, 2)} to {signed(high, 2)})"
        rows.append([HeadId(layer, head).label, signed(effect, 2), signed(float(estimated[layer, head]), 2), said])
        marked.append(unlike)
    return blocks.table(
        f"The {len(rows)} heads that matter most here", ("Head", "Exact", "Estimate", "In words"), rows, marked=marked
    )


def ordinal(percentile: float) -> str:
    """Say 97 as "97th"; never 0th or 100th, which no percentile of a sample is."""
    return numbers.ordinal(min(99, max(1, percentile)))


def _whence(standing: Standing | None) -> str:
    if standing is None:
        return "No percentiles: there is no atlas of this model with effects of this mode and measure."
    n = np.asarray(standing.n.values)
    return (
        f"Percentiles are among {count(float(n.max()))} prompts of the atlas: 97 reads, it costs more here than on "
        "97 % of "
        f"them. “Unlike its atlas” needs {standing.fewest} of them and an effect outside their 1st to 99th percentile."
    )


ANALYSIS = Analysis(
    key="heads",
    title="Every head removed alone",
    button="Measure every head",
    empty="Two grids will show what removing each head costs here: exactly, and as one backward pass estimates it. "
    "A table names the heads that matter most and where that stands in the atlas.",
    measures=("logprob",),
    work=work,
    sentence="Every head is removed alone, and put back.",
    caution="The estimate is of first order: it misses heads that saturate. With a contrast, the logit difference is "
    "measured instead. A percentile compares this prompt with the atlas’ families, not with text like yours.",
)
