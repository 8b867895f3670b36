"""Circuits: heads removed together, pairs that stand in for each other, a small set that suffices, and its graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from head_atlas.app.lab_bench import Analysis, Bench, Finding, number, option
from head_atlas.app.lab_heads import ordinal
from head_atlas.app.lab_pairs import shown_pairs, with_interval
from head_atlas.catalogue import EFFECTS, mode_label
from head_atlas.errors import HeadAtlasError, PromptError
from head_atlas.prompts.prompt import Prompt
from head_atlas.prompts.templates import SAMPLERS
from head_atlas.views import blocks
from head_atlas.views.choices import label_of
from head_atlas.views.numbers import plain

if TYPE_CHECKING:
    from head_atlas.live import Circuit, JointEffect
    from head_atlas.live.greedy_search import SearchStep

HERE = "this prompt"
FAMILIES = ("rand_repeat", *SAMPLERS)
OVER = (HERE, *FAMILIES)
MOST_PROMPTS = 24
TOP_PAIRS = 8
N_RANDOM = 50
LAST_STEPS = 12
_SHOWN = 0.005
"""What is smaller reads 0.00."""


def over_options(value: str, key: str) -> list[Any]:
    """Components: over what, how many prompts."""
    return [
        gr.Dropdown(
            [(HERE, HERE), *((f"prompts of {label_of(name)}", name) for name in FAMILIES)],
            value=value,
            label="Over",
            info="A family’s prompts are those of the atlas.",
            min_width=200,
            elem_id=f"lab-{key}-over",
        ),
        gr.Number(
            12, label="Prompts", minimum=2, maximum=MOST_PROMPTS, precision=0, min_width=100, elem_id=f"lab-{key}-n"
        ),
    ]


def joint_options() -> list[Any]:
    """Components: over what, how many prompts."""
    return over_options(HERE, "joint")


def search_options() -> list[Any]:
    """Components: over what, how many prompts, share to keep."""
    over = over_options("rand_repeat", "search")
    keep = gr.Number(
        0.9, label="Share to keep", minimum=0.1, maximum=1.0, step=0.05, min_width=110, elem_id="lab-search-keep"
    )
    return [*over, keep]


def prompts_over(bench: Bench, over: Any, n: Any) -> list[Prompt]:
    """The prompt on screen, or prompts of a family, half of each split.

    Raises:
        HeadAtlasError: no such family in the atlas, or no atlas.
    """
    name, most = option(over, OVER, "family"), int(number(n, 2, MOST_PROMPTS, "number of prompts"))
    if name == HERE:
        return [bench.prompt]
    records = [one for one in bench.engine.library.atlas(bench.what.model).prompts if one.family == name]
    if len(records) < 2:
        raise HeadAtlasError(f"The atlas of this model has no prompts of the family {label_of(name)}.")
    train = [one for one in records if one.split == "train"]
    other = [one for one in records if one.split != "train"]
    half = max(most // 2, most - len(other))
    taken = [*train[:half], *other[: most - len(train[:half])]]
    return [Prompt(**{key: getattr(one, key) for key in Prompt.__dataclass_fields__}) for one in taken]


def over_caption(over: str, prompts: list[Prompt]) -> str:
    """What a figure is about, where that is not the prompt on screen; else ""."""
    return "" if over == HERE else over_words(over, prompts)


def over_words(over: str, prompts: list[Prompt]) -> str:
    """What a number is over, in words."""
    return "this one prompt: no interval" if over == HERE else f"{len(prompts)} prompts of {label_of(over)}"


def joint(bench: Bench, over: Any, n: Any) -> Finding:
    """Remove the chosen heads at once and one by one; and every pair of them, or of those that matter most."""
    from head_atlas.live import interactions, joint_effect

    prompts, what = prompts_over(bench, over, n), bench.what
    given: dict[str, Any] = {"reference": bench.reference}
    found: list[dict | None] = []
    calls: list[Any] = []
    if len(what.heads) > 1:
        bench.progress.phase("Removing them together")
        args: tuple[Any, ...] = (bench.model, prompts, what.heads, what.mode)
        together = joint_effect(*args, progress=bench.progress, **given)
        calls.append((joint_effect, args, given, together))
        found += _joint(together, over_words(over, prompts))
    else:
        found.append(
            blocks.text(
                "Remove two heads or more to see their joint effect; the pairs below are of those that matter most."
            )
        )
    bench.progress.phase("Removing pairs")
    chosen = what.heads if 2 <= len(what.heads) <= 2 * TOP_PAIRS else None
    args = (bench.model, prompts, chosen, what.mode)
    given = {"k": TOP_PAIRS, "reference": bench.reference}
    pairs = interactions(*args, progress=bench.progress, **given)
    calls.append((interactions, args, given, pairs))
    found += shown_pairs(pairs, over_words(over, prompts))
    return Finding(blocks.figure(*found), tuple(calls), needs_heads=True, over=over_caption(over, prompts))


def together_or_alone(difference: float, low: float, high: float) -> str:
    """What a joint effect minus the sum of single ones says, with its 95 % interval; NaN for the ends of one prompt."""
    if low <= 0 <= high and max(-low, high) >= _SHOWN:
        return "The interval of the difference holds 0: that they cost more or less together is not shown."
    if abs(difference) < _SHOWN:
        return "Together they cost what they cost one by one."
    if difference < 0:
        return "Together they cost more than one by one: they stand in for each other."
    return "Together they cost less than the sum: they are links of one path, or the metric saturates."


def _joint(found: JointEffect, over: str) -> list[dict]:
    unit = EFFECTS[found.metric].unit
    parts = (found.difference.mean, found.difference.low, found.difference.high)
    story = together_or_alone(*(float(np.asarray(part.values)) for part in parts))
    rows = [
        (head.label, float(found.single.mean.values[i]), with_interval(found.single, i))
        for i, head in enumerate(found.heads)
    ]
    rows += [
        ("sum of these", float(found.sum_of_single.mean.values), with_interval(found.sum_of_single)),
        ("all at once", float(found.joint.mean.values), with_interval(found.joint)),
    ]
    return [
        blocks.facts(
            [
                ("All at once", f"{with_interval(found.joint)} {unit}", f"effect over {over}; below 0 they helped"),
                ("Sum of single effects", f"{with_interval(found.sum_of_single)} {unit}", "each removed alone"),
                ("Difference", f"{with_interval(found.difference)} {unit}", "all at once − sum"),
            ]
        ),
        blocks.text(story),
        blocks.bars(f"Together against one by one, over {over}", rows, unit=unit),
    ]


def search(bench: Bench, over: Any, n: Any, keep: Any) -> Finding:
    """Search a small set of heads that keeps the behaviour of a family."""
    from head_atlas.live import find_circuit

    if over == HERE:
        raise PromptError("A circuit is searched on some prompts and reported on others: choose a family.")
    prompts = prompts_over(bench, over, n)
    given: dict[str, Any] = {
        "reference": bench.reference,
        "keep": number(keep, 0.1, 1.0, "share to keep"),
        "n_random": N_RANDOM,
    }

    def tell(step: SearchStep) -> None:
        bench.progress.phase(f"{'Searching' if step.phase == 'search' else 'Reporting'}, {len(step.heads)} heads left")
        # How many runs a search needs is not known before its end.
        bench.progress(step.done, step.done + (step.result is None))

    args: tuple[Any, ...] = (bench.model, prompts, None, bench.what.mode)
    found = find_circuit(*args, progress=tell, **given)
    return Finding(
        blocks.figure(*_circuit(found)),
        ((find_circuit, args, given, found),),
        over=over_caption(over, prompts) + f" ({mode_label(bench.what.mode)})",
    )


def _circuit(found: Circuit) -> list[dict | None]:
    if found.undefined:
        return [blocks.text(f"No shares can be given: {found.undefined}.", "warning")]
    labels = [head.label for head in found.heads]
    random = np.asarray(found.random_faithfulness.values, float)
    minimality = [
        (label, float(found.minimality.mean.values[i]), with_interval(found.minimality, i))
        for i, label in enumerate(labels)
    ]
    completeness = np.asarray(found.completeness.mean.values, float)
    worst = int(np.argmax(np.abs(completeness))) if completeness.size else 0
    path = [[str(i + 1), _move(move.removed, "−"), _move(move.added, "+"), plain(move.share, 2), str(move.size)]
            for i, move in enumerate(found.path)]  # fmt: skip
    return [
        blocks.text(f"{len(labels)} of {len(found.candidates)} heads: {', '.join(labels)}.", "headline"),
        blocks.facts(
            [
                ("Faithfulness, held out", with_interval(found.faithfulness), "share of the behaviour that they keep"),
                (
                    "On the search’s prompts",
                    with_interval(found.train_faithfulness),
                    "too high: they were chosen for it",
                ),
                ("Model without them", with_interval(found.without), "near 0 where they are all there is"),
                (
                    "Among random sets",
                    _place(float(found.percentile.mean.values)),
                    f"of {found.n_random} random sets of as many heads; these keep "
                    f"{plain(float(np.nanmedian(random)), 2)} "
                    "(median)",
                ),
                (
                    "Worst completeness gap",
                    with_interval(found.completeness, worst) if completeness.size else "–",
                    "0 where the circuit breaks as the model does",
                ),
            ]
        ),
        blocks.bars("Minimality: what each head adds, held out", minimality, unit="share of the behaviour"),
        blocks.table(_search_title(len(path)), ("Step", "Out", "In", "Share", "Heads"), path[-LAST_STEPS:])
        if path
        else None,
        blocks.text(
            f"Searched on {len(found.train)} prompts and reported on {len(found.held_out)} others ({found.split}); "
            "heads "
            f"outside the set: {mode_label(found.mode)} ablation. MLPs stay."
        ),
    ]


def _search_title(n: int) -> str:
    return "The search" if n <= LAST_STEPS else f"The search: the last {LAST_STEPS} of {n} steps"


def _place(percentile: float) -> str:
    return "above all of them" if percentile >= 100 else f"{ordinal(percentile)} percentile"


def _move(heads: Any, sign: str) -> str:
    return "".join(f"{sign}{head.label} " for head in heads).strip() if len(heads) < 8 else f"{sign}{len(heads)} heads"


JOINT = Analysis(
    key="joint",
    title="Together against one by one",
    button="Remove them together",
    empty="The joint effect of the removed heads will appear here beside the sum of their single effects, and a "
    "table of "
    "how every pair interacts.",
    measures=("joint_effect", "interaction"),
    work=joint,
)
SEARCH = Analysis(
    key="search",
    title="A small set that keeps the behaviour",
    button="Search",
    empty="A set of heads will appear here that keeps a family’s behaviour when all the others are removed, with its "
    "faithfulness on prompts that the search never saw, and random sets of equal size beside it.",
    measures=("circuit_faithfulness",),
    work=search,
    caution="A greedy search finds one set, not the best and not the only one.",
)
