"""Tokens: six attributions, what removed heads change in them, and whether the order they give is the model's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from head_atlas.app.lab_bench import Analysis, Bench, Finding, option
from head_atlas.app.lab_view import heads_text
from head_atlas.catalogue import ATTRIBUTIONS
from head_atlas.errors import HeadAtlasError
from head_atlas.views import blocks
from head_atlas.views.attribution import attribution_props
from head_atlas.views.choices import titled
from head_atlas.views.numbers import plain, signed
from head_atlas.views.scales import digits_for

if TYPE_CHECKING:
    from head_atlas.live import Attribution, AttributionChange, Faithfulness
    from head_atlas.prompts.prompt import Prompt

METHODS = (
    "integrated_gradients",
    "gradient_x_input",
    "saliency",
    "occlusion_replace",
    "occlusion_mask",
    "occlusion_delete",
)
BASELINES = ("mean", "zero", "eos", "corpus")
_NO_TEXT = (
    "The baseline of other texts takes runs of tokens of the atlas’ reference prompts, and the atlas of this model "
    "names none: choose another baseline, or build the atlas with --modes resample."
)
MOST_WORDS = 40


def options() -> list[Any]:
    """Components: method, baseline, whether to test the order."""
    return [
        gr.Dropdown(
            [(titled(ATTRIBUTIONS[name].label), name) for name in METHODS],
            value="integrated_gradients",
            label="Method",
            min_width=200,
            elem_id="lab-attribution-method",
        ),
        gr.Dropdown(
            [("mean embedding", "mean"), ("zero", "zero"), ("end of text", "eos"), ("8 runs of other texts", "corpus")],
            value="mean",
            label="Baseline",
            info="Where integrated gradients start, and what the test puts in a token’s place.",
            min_width=200,
            elem_id="lab-attribution-baseline",
        ),
        gr.Checkbox(True, label="Test the order against random ones", min_width=220, elem_id="lab-attribution-test"),
    ]


def work(bench: Bench, method: Any, baseline: Any, test: Any) -> Finding:
    """Attribute, with all heads and without the removed ones, and test the order of the tokens."""
    from head_atlas.live import Call, attribute, attribution_change, faithfulness

    method, baseline = option(method, METHODS, "method"), option(baseline, BASELINES, "baseline")
    measure, what = ATTRIBUTIONS[method], bench.what
    given: dict[str, Any] = {
        "target": bench.prompt.targets[-1],
        "contrast": bench.prompt.contrasts[-1] if bench.contrast else None,
    }
    given |= {"method": method, "baseline": baseline}
    if baseline == "corpus":
        given["corpus"] = _texts(bench)
    bench.progress.phase("Attributing")
    change: AttributionChange | None = None
    if what.heads:
        args: tuple[Any, ...] = (bench.model, what.prompt, what.heads, what.mode, bench.reference)
        change = attribution_change(*args, progress=bench.progress, **given)
        clean = change.clean
        calls: list[Any] = [(attribution_change, args, given, change)]
    else:
        clean = attribute(bench.model, what.prompt, progress=bench.progress, **given)
        calls = [(attribute, (bench.model, what.prompt), given, clean)]
    tested: Faithfulness | None = None
    if test is True:
        bench.progress.phase("Taking tokens away")
        how = {name: given[name] for name in ("baseline", "corpus") if name in given}
        tested = faithfulness(clean, **how, progress=bench.progress)
        own = Call.of(attribute, bench.model, what.prompt, **given)
        calls.append((faithfulness, (own,), how, tested))
    figure = blocks.figure(
        blocks.text(f"{titled(measure.label)}: {measure.sentence} {measure.pitfall}"),
        blocks.text(bench.one_draw) if bench.one_draw else None,
        *_chips(bench, clean, change, measure.signed),
        blocks.facts(_facts(clean)),
        _words(clean),
        *_test(bench, tested),
    )
    return Finding(figure, tuple(calls), needs_heads=bool(what.heads))


def _texts(bench: Bench) -> list[Prompt]:
    """The reference prompts of the atlas.

    Raises:
        HeadAtlasError: there are none.
    """
    atlas = bench.engine.library.atlas_or_none(bench.what.model)
    stored = None if atlas is None else atlas.resample_prompts()
    if stored is None:
        raise HeadAtlasError(_NO_TEXT)
    return stored.prompts()


def _chips(bench: Bench, clean: Attribution, change: AttributionChange | None, sign: bool) -> list[dict]:
    runs: list[tuple[str, np.ndarray, bool]] = [("With all heads", np.asarray(clean.values.values), sign)]
    if change is not None:
        removed = heads_text(bench.what.heads)
        runs.append((f"Without {removed}", np.asarray(change.ablated.values.values), sign))
        runs.append((f"What {removed} changed: without minus with", np.asarray(change.change.values), True))
    return [
        blocks.chips(
            attribution_props(
                values,
                clean.strings,
                special=len(bench.model.policy.prefix),
                target=bench.target,
                contrast=bench.contrast,
                title=f"Attribution per token, {label[:1].lower()}{label[1:]}",
                lead=label,
                sign=signed_values,
            )
        )
        for label, values, signed_values in runs
    ]


def _facts(one: Attribution) -> list[tuple[str, str, str]]:
    values = np.asarray(one.values.values, dtype=float)
    digits = max(2, digits_for(abs(one.f)))
    rows = [("Explained value", f"{signed(one.f, digits)} {one.unit}", "logit difference, or log-probability")]
    if one.method == "integrated_gradients":
        relative = one.relative_completeness_gap
        rows += [
            ("Sum over tokens", signed(float(np.nansum(values)), digits), "what the tokens add up to"),
            (
                "Value at the baseline",
                signed(one.f_baseline, digits),
                "the sum is to make up the difference from here",
            ),
            (
                "Completeness gap",
                f"{signed(one.completeness_gap, digits)} ({plain(100 * relative, 1)} %)",
                "sum of the tokens − (value − value at the baseline): 0 where the quadrature is exact",
            ),
            ("Nodes", str(one.n_nodes), "of the quadrature" if one.converged else "of the quadrature: not converged"),
        ]
    if one.standard_error is not None:
        worst = float(np.nanmax(one.standard_error.values))
        rows.append(("Largest standard error", plain(worst, digits), f"over {one.n_draws} tokens put in each place"))
    return rows


def _words(one: Attribution) -> dict | None:
    """Sums over words, unless every word is one token already."""
    if one.method == "saliency":
        return None
    words = one.words()
    if all(word.first == word.last for word in words):
        return None
    rows = [(word.text, word.value, f"tokens {word.first} to {word.last}") for word in words if np.isfinite(word.value)]
    title = "Summed over words"
    if len(rows) > MOST_WORDS:
        title += f" (the {MOST_WORDS} largest of {len(rows)})"
        rows = sorted(rows, key=lambda row: -abs(row[1]))[:MOST_WORDS]
    return blocks.bars(title, rows, unit=one.unit)


def _test(bench: Bench, tested: Faithfulness | None) -> list[dict]:
    if tested is None:
        return []
    curve, area = tested.curve, tested.area
    own = np.asarray(curve.own.values)
    band = (own - np.asarray(curve.high.values), own - np.asarray(curve.low.values))
    low, high, difference = (float(x.values) for x in (area.low, area.high, area.difference))
    verdict = (
        "it does better than chance"
        if high < 0
        else "it does worse than chance"
        if low > 0
        else "a random order does about as well"
    )
    x = [f"{i} of {len(own) - 1} tokens gone" for i in range(len(own))]
    lines = [
        blocks.curve("this attribution’s order", own),
        blocks.curve(f"mean of {tested.n_orders} random orders", np.asarray(curve.random.values), band),
    ]
    return [
        blocks.curves(
            "Does the order hold? Tokens taken away, the most important first",
            lines,
            x=x,
            x_label="tokens taken away",
            y_label=f"{bench.measured[:1].upper()}{bench.measured[1:]}; the band holds 95 % of the random orders",
        ),
        blocks.text(
            f"Area under the curve against random orders: {signed(difference, 2)} [{signed(low, 2)}, "
            f"{signed(high, 2)}]; "
            f"below 0 is good, and here {verdict}."
        ),
    ]


ANALYSIS = Analysis(
    key="attribution",
    title="Attribution by another method, and its test",
    button="Attribute",
    empty="Every token’s share by the chosen method will appear here: with the removed heads in place, without them, "
    "and the difference; then whether taking tokens away in this order hurts more than in a random one.",
    measures=(),
    work=work,
    sentence="How much each token of the prompt contributes to the answer, by one of six methods.",
    caution="Methods disagree, and each answers another question; the test says how far the order is the model’s "
    "own. A "
    "test by taking tokens away leaves prompts that no text has.",
)
