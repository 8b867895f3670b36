"""Generation: the prompt continued with all heads and without the removed ones, token by token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from head_atlas.app.lab_bench import Analysis, Bench, Finding, number
from head_atlas.app.lab_view import heads_text
from head_atlas.errors import HeadAtlasError
from head_atlas.views import blocks
from head_atlas.views.attribution import HINT
from head_atlas.views.numbers import percent, signed
from head_atlas.views.scales import scale_for
from head_atlas.views.token_text import quoted, visible

if TYPE_CHECKING:
    from head_atlas.live import Generation
    from head_atlas.live.generation import Continuation

MOST_TOKENS = 60


def options() -> list[Any]:
    """Components: tokens, temperature, seed."""
    return [
        gr.Number(
            20, label="Tokens", minimum=1, maximum=MOST_TOKENS, precision=0, min_width=110,
            elem_id="lab-generation-tokens",
        ),
        gr.Number(
            0.0,
            label="Temperature",
            info="0 takes the likeliest token.",
            minimum=0,
            maximum=5,
            step=0.1,
            min_width=150,
            elem_id="lab-generation-temperature",
        ),
        gr.Number(0, label="Seed", minimum=0, maximum=2**31, precision=0, min_width=110, elem_id="lab-generation-seed"),
    ]  # fmt: skip


def work(bench: Bench, n_tokens: Any, temperature: Any, seed: Any) -> Finding:
    """Write both continuations."""
    from head_atlas.live import generate

    what = bench.what
    given: dict[str, Any] = {
        "n_tokens": int(number(n_tokens, 1, MOST_TOKENS, "number of tokens")),
        "temperature": number(temperature, 0, 5, "temperature"),
        "seed": int(number(seed, 0, 2**31, "seed")),
    }
    if not what.heads:
        raise HeadAtlasError("No head is removed, so both texts would be the same: click a head in the grid first.")
    bench.progress.phase("Writing")
    args: tuple[Any, ...] = (bench.model, what.prompt, what.heads, what.mode, bench.reference)
    found = generate(*args, progress=bench.progress, **given)
    return Finding(shown(bench, found), ((generate, args, given, found),), needs_heads=True)


def shown(bench: Bench, found: Generation) -> dict:
    """Both texts with what removing the heads does to every token of them."""
    removed = heads_text(found.heads)
    clean, ablated = found.clean, found.ablated
    changes = [_change(one) for one in (clean, ablated)]
    scale = scale_for(np.concatenate(changes), sign=True, unit="nats: log-probability without the heads − with all")
    if found.divergence is None:
        headline = f"Without {removed}, the model writes the same {len(clean.tokens)} tokens."
    else:
        headline = f"Without {removed}, the text parts at token {found.divergence + 1}: {_parting(found)}."
    return blocks.figure(
        blocks.text(headline, "headline"),
        blocks.text(bench.one_draw) if bench.one_draw else None,
        _chips(f"With all heads: {clean.text!r}", clean, changes[0], scale, found.divergence, bench),
        _chips(f"Without {removed}: {ablated.text!r}", ablated, changes[1], scale, found.divergence, bench),
        blocks.text(
            "Both choose with the same random numbers, so they part only where the model’s distributions do; behind "
            "the "
            "underlined token the two are different texts, and their steps are not comparable. Colours compare the two "
            "models on one and the same text, also where only one of them wrote it: orange is less likely without the "
            "heads."
        ),
        blocks.curves(
            "The text with all heads, read by both models",
            [
                blocks.curve("with all heads", np.asarray(clean.clean_log_probs.values)),
                blocks.curve(f"without {removed}", np.asarray(clean.ablated_log_probs.values)),
            ],
            x=[f"{i + 1} {quoted(token)}" for i, token in enumerate(clean.strings)],
            x_label="tokens in order",
            y_label="log-probability of each token, given all before it; nats",
        ),
    )


def _change(one: Continuation) -> np.ndarray:
    return np.asarray(one.ablated_log_probs.values, float) - np.asarray(one.clean_log_probs.values, float)


def _parting(found: Generation) -> str:
    at = found.divergence or 0
    texts = [quoted(one.strings[at]) if at < len(one.strings) else "the end" for one in (found.clean, found.ablated)]
    return f"{texts[1]} in place of {texts[0]}"


def _chips(lead: str, one: Continuation, change: np.ndarray, scale: Any, parting: int | None, bench: Bench) -> dict:
    would = [bench.model.strings(list(ids)) if ids else [] for ids in (one.clean_choices, one.ablated_choices)]
    chips = []
    for i, token in enumerate(one.strings):
        p, q = (float(np.exp(x.values[i])) for x in (one.clean_log_probs, one.ablated_log_probs))
        label = (
            f"{quoted(token)}: {percent(p)} with all heads, {percent(q)} without ({signed(float(change[i]), 2)} nats)"
        )
        label += "".join(
            f"; {name} it would be {quoted(choices[i])}"
            for name, choices in zip(("with all heads", "without"), would, strict=True)
            if choices[i] != token
        )
        chips.append(
            {"text": visible(token), "t": scale.position(float(change[i])),
                "value": float(change[i]), "label": label, "special": False,
             "mark": i == parting}
        )  # fmt: skip
    title = "continuation, token by token"
    return blocks.chips(
        {"title": title, "lead": lead, "hint": HINT, "scale": scale.props(), "chips": chips}
    )  # fmt: skip


ANALYSIS = Analysis(
    key="generation",
    title="The text goes on",
    button="Continue the text",
    empty="Two continuations will appear here, with all heads and without the removed ones, and how likely each of the "
    "models finds every token of both.",
    measures=(),
    work=work,
    sentence="What the model writes with all its heads and without the removed ones, which stay removed at every step.",
    caution="One continuation is one draw: a text that stays the same need not have been safe, and after the texts "
    "part "
    "every later difference follows from the first. Log-probabilities of a text that a model did not write say how it "
    "reads it, not what it would say.",
)
