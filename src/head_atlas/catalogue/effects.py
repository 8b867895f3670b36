"""Effects of removing a head."""

from __future__ import annotations

from head_atlas.catalogue.measure import Measure, by_name

CORRECT = "_correct"
"""Suffix of effects on the positions alone that the clean run gets right."""

_EFFECT_AXES = ("mode", "layer", "head", "prompt")
REMOVALS = {
    "zero": "setting its output to 0",
    "mean": "replacing its output by its mean",
    "resample": "replacing its output by that of other text",
    "pattern_freeze": "giving it the attention pattern of the corrupted prompt",
}
"""By mode, what is done to a head, in a sentence."""

ABLATION = (
    "Each head's output z (before W_O) is replaced at every position: by 0 (mode `zero`), by its mean over natural "
    "text (`mean`, the first position by its own), or by that of 5 stored natural prompts in turn, the metrics "
    "averaged (`resample`). Mode `pattern_freeze` keeps the values of the prompt and takes the attention pattern of "
    "its corrupted twin. Intervals resample the prompts that are measured; in mode `resample` the 5 stand-ins are "
    "the same for all of them, so what other stand-ins would give is not in the interval."
)


def _effect(
    name: str,
    label: str,
    unit: str,
    bounds: tuple[float | None, float | None],
    formula: str,
    source: str,
    sentence: str,
    pitfall: str,
) -> Measure:
    low, high = bounds
    return Measure(
        name=name,
        label=label,
        kind="effect",
        axes=_EFFECT_AXES,
        unit=unit,
        low=low,
        high=high,
        signed=low is None or low < 0,
        formula=formula,
        source=source,
        sentence=sentence,
        pitfall=pitfall,
    )


EFFECTS: dict[str, Measure] = by_name(
    [
        _effect(
            "logit_difference",
            "logit difference",
            "logits",
            (None, None),
            "[logit(y) - logit(y')] ablated - [logit(y) - logit(y')] clean",
            "Wang et al. 2022, Interpretability in the Wild",
            "How much the lead of the right answer over the wrong one changes when the head is removed; "
            "negative means the head was helping.",
            "A small single effect is not unimportance: other heads can take over. Only prompts with a "
            "contrast have one.",
        ),
        _effect(
            "logprob",
            "log-probability of the answer",
            "nats",
            (None, None),
            "log p(y) ablated - log p(y) clean",
            "Michel et al. 2019, Are Sixteen Heads Really Better than One?",
            "How much less (negative) or more (positive) likely the right answer becomes without the head.",
            "It also moves when the head only made the model more or less certain of everything.",
        ),
        _effect(
            "kl",
            "KL divergence",
            "nats",
            (0.0, None),
            "sum over v of p_clean(v) [log p_clean(v) - log p_ablated(v)]",
            "Kullback and Leibler 1951",
            "How much the whole next-token distribution changes without the head, helpful or not.",
            "Unsigned: it cannot tell a head that helps from one that hurts.",
        ),
        _effect(
            "flip",
            "changed top token",
            "share of positions",
            (0.0, 1.0),
            "1 where arg-max p_ablated differs from arg-max p_clean, else 0",
            "this project",
            "How often the model's first choice changes without the head.",
            "A close race flips easily, a sure answer hardly ever: look at the clean model's lead as well.",
        ),
        _effect(
            "log2_rank",
            "rank of the answer",
            "doublings of the rank",
            (None, None),
            "log2 rank(y) ablated - log2 rank(y) clean, rank 1 the most likely token",
            "this project",
            "By how many doublings the right answer falls (positive) or climbs (negative) in the list.",
            "0 as long as the answer stays first, however much of its lead is gone.",
        ),
    ]
)

ABLATION_MODES: dict[str, str] = {
    "zero": "0",
    "mean": "its mean over natural text, position 0 apart",
    "resample": "z at the same position of natural text that is not measured; effects are means over 5 such texts",
    "resample_corrupted": "z at the same position of the prompt's own aligned corrupted version: what only the "
    "exchanged word changes. Not measured on prompts without one",
    "pattern_freeze": "the corrupted version's pattern applied to the values of the run at hand. Not measured on "
    "prompts without one",
}
"""By mode of an atlas, what each head's output z becomes."""

_MODE_LABELS = {"resample_corrupted": "resample, corrupted prompt", "pattern_freeze": "pattern freeze"}


def mode_label(mode: str) -> str:
    """An ablation mode in words; addresses, files and calls have its name."""
    return _MODE_LABELS.get(mode, mode)
