"""Layers: what the model would say after each, what each part writes for the answer, and what its removal costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from head_atlas.app.lab_bench import Analysis, Bench, Finding
from head_atlas.app.lab_view import heads_text
from head_atlas.heads import HeadId
from head_atlas.views import blocks
from head_atlas.views.numbers import percent, plain, signed
from head_atlas.views.scales import scale_for
from head_atlas.views.token_text import quoted, visible

if TYPE_CHECKING:
    from head_atlas.live import DirectAndTotal, DirectLogits, LogitLens

WIDE_ENOUGH = 16
"""Positions up to which the lens shows a token in every cell."""
TOP_ROWS = 8


def lens(bench: Bench) -> Finding:
    """Read every layer as if it were the last."""
    from head_atlas.live import logit_lens

    found = logit_lens(bench.model, bench.prompt)
    return Finding(lens_figure(bench, found), ((logit_lens, (bench.model, bench.prompt), {}, found),))


def lens_figure(bench: Bench, found: LogitLens) -> dict:
    """The lens over layers and positions, and its course at the last position."""
    ids, n_top = np.asarray(found.top_tokens.values), found.top_tokens.values.shape[-1]
    names = dict(
        zip(sorted(set(ids.ravel().tolist())), bench.model.strings(sorted(set(ids.ravel().tolist()))), strict=True)
    )
    p_top, p_target = np.exp(found.top_log_probs.values), np.exp(np.asarray(found.log_probs.values))
    rank, kl = np.asarray(found.ranks.values), np.asarray(found.kl.values)
    n_layers, n_pos = ids.shape[:2]
    rows = ["embedding", *(f"after L{layer}" for layer in range(n_layers - 1))]
    texts = [
        [
            ", ".join(
                f"{quoted(names[int(ids[l, p, k])])} {percent(float(p_top[l, p, k]))}" for k in range(min(3, n_top))
            )
            + f"; {quoted(bench.target)} is number {int(rank[l, p])}, {percent(float(p_target[l, p]))}"
            for p in range(n_pos)
        ]
        for l in range(n_layers)  # noqa: E741
    ]
    short = [[visible(names[int(ids[l, p, 0])]) for p in range(n_pos)] for l in range(n_layers)]  # noqa: E741
    table = [
        [
            rows[l],
            f"{quoted(names[int(ids[l, -1, 0])])} {percent(float(p_top[l, -1, 0]))}",
            percent(float(p_target[l, -1])),
            str(int(rank[l, -1])),
            f"{plain(float(kl[l, -1]), 2)} nats",
        ]
        for l in range(n_layers)  # noqa: E741
    ]
    return blocks.figure(
        blocks.matrix(
            p_top[..., 0],
            title="The likeliest token after each layer, and how sure",
            rows=rows,
            columns=[visible(token) for token in found.strings],
            unit="probability of the likeliest token",
            sign=False,
            high=1.0,
            texts=texts,
            short=short if n_pos <= WIDE_ENOUGH else None,
            axes=("layer", "token read"),
        ),
        blocks.curves(
            f"{quoted(bench.target)} at the last token, layer by layer",
            [blocks.curve("log-probability by the lens", np.asarray(found.log_probs.values)[:, -1])],
            x=rows,
            x_label="layer",
            y_label="nats; after the last layer it is the model’s own output",
        ),
        blocks.table(
            "At the last token", ("Layer", "Says", quoted(bench.target), "Its rank", "KL to the output"), table
        ),
        blocks.text(found.caveat),
    )


def direct(bench: Bench) -> Finding:
    """Split the answer into what each part writes; hold that against what removing each head costs."""
    from head_atlas.live import direct_and_total, direct_logits, stand_ins

    model, prompt, what = bench.model, bench.prompt, bench.what
    bench.progress.phase("Reading what each part writes")
    parts = direct_logits(model, prompt)
    calls: list[Any] = [(direct_logits, (model, prompt), {}, parts)]
    found: list[dict | None] = [_parts_text(bench, parts), *_parts(parts, "Direct logits")]
    if prompt.contrasts:
        bench.progress.phase("Removing every head in turn")
        both = direct_and_total(model, prompt, progress=bench.progress)
        calls.append((direct_and_total, (model, prompt), {}, both))
        found += _against(both)
    else:
        found.append(blocks.text("Give a contrast to hold this against what removing each head costs in all."))
    if what.heads:
        bench.progress.phase("Reading what steps in")
        given: dict[str, Any] = {"reference": bench.reference}
        change = stand_ins(model, prompt, what.heads, what.mode, **given)
        calls.append((stand_ins, (model, prompt, what.heads, what.mode), given, change))
        found.append(
            blocks.text(
                f"Without {heads_text(what.heads)}, direct logits change by this much; above 0, a part steps in for "
                "the "
                f"answer. They add up to {signed(change.logit_difference, 2)}."
            )
        )
        found += _parts(change, "Change")
    return Finding(blocks.figure(*found), tuple(calls), needs_heads=bool(what.heads))


def _parts_text(bench: Bench, parts: DirectLogits) -> dict:
    against = "the mean of all logits" if bench.contrast is None else quoted(bench.contrast)
    return blocks.text(
        f"{quoted(bench.target)} leads {against} by {signed(parts.logit_difference, 2)} logits. The parts below add "
        "up to "
        f"that (rounding: {plain(abs(parts.residual), 6)}); blue speaks for {quoted(bench.target)}."
    )


def _parts(parts: DirectLogits, title: str) -> list[dict]:
    heads, attention, mlps = (np.asarray(x.values, float) for x in (parts.heads, parts.attention, parts.mlps))
    rows = [("embedding", parts.embedding, "token and position embedding")]
    for layer in range(len(mlps)):
        rows.append((f"attention L{layer}", float(attention[layer]), "all its heads and their bias"))
        rows.append((f"MLP L{layer}", float(mlps[layer]), ""))
    rows += [
        (name, value, "")
        for name, value in (
            ("final norm’s bias", parts.final_norm_bias),
            ("unembedding’s bias", parts.unembedding_bias),
        )
        if value
    ]
    return [
        blocks.matrix(
            heads,
            title=f"{title}: heads",
            rows=[f"L{i}" for i in range(heads.shape[0])],
            columns=[f"H{i}" for i in range(heads.shape[1])],
            unit="logits",
            numbers=heads.shape[1] <= 12,
            axes=("layer", "head"),
        ),
        blocks.bars(f"{title}: layers", rows, unit="logits"),
    ]


def _against(both: DirectAndTotal) -> list[dict]:
    direct_, total = np.asarray(both.direct_frozen.values, float), np.asarray(both.total.values, float)
    frozen, live = np.asarray(both.self_repair_frozen.values, float), np.asarray(both.self_repair_live.values, float)
    scale = scale_for(np.stack([direct_, total]), sign=True, unit="logits")
    rows = [f"L{i}" for i in range(total.shape[0])]
    columns = [f"H{i}" for i in range(total.shape[1])]
    pictures = [
        blocks.matrix(
            values,
            title=title,
            rows=rows,
            columns=columns,
            unit="logits",
            scale=scale,
            numbers=total.shape[1] <= 12,
            axes=("layer", "head"),
        )
        for title, values in (
            ("Direct effect: its own write goes, nothing answers", direct_),
            ("Total effect: its output is zero, all behind it runs on", total),
        )
    ]
    order = np.argsort(-np.maximum(np.abs(direct_), np.abs(total)), axis=None)[:TOP_ROWS]
    lines = []
    for flat in order:
        place = tuple(int(i) for i in divmod(int(flat), total.shape[1]))
        numbers = [signed(float(x[place]), 2) for x in (direct_, total, frozen, live)]
        lines.append([HeadId(*place).label, *numbers, _story(float(direct_[place]), float(total[place]))])
    return [
        blocks.side_by_side(*pictures),
        blocks.table(
            "Heads that write, and heads that act through others",
            ("Head", "Direct", "Total", "Self-repair", "… norms live", "Reads as"),
            lines,
        ),
    ]


def _story(direct_: float, total: float) -> str:
    """What two numbers say, where one is clearly the larger; thresholds are of reading, not of significance."""
    if abs(total) > 2 * abs(direct_):
        return "acts mostly through others"
    if direct_ < 0 and total > direct_ / 2:
        return "others stand in for it"
    return "mostly its own write"


LENS = Analysis(
    key="lens",
    title="Logit lens",
    button="Read every layer",
    empty="A table of layers and tokens will show what the model would say if it stopped there.",
    measures=("logit_lens",),
    work=lens,
)
DIRECT = Analysis(
    key="direct",
    title="What each part writes, and what its removal costs",
    button="Split the answer",
    empty="Heads, MLPs and the embedding will show what each adds to the answer by itself; with a contrast, also what "
    "removing each head costs in all.",
    measures=("direct_logit", "self_repair"),
    work=direct,
)
