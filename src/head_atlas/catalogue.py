"""Every score, effect and attribution of Head Atlas: what it is, and how not to misread it. Pure data.

A *score* is read from attention patterns, an *attribution* is a decomposition, an *effect* is causal
(`ablated - clean`); the three words are never synonyms. `docs/measures.md` is generated from this module.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["score", "effect", "attribution"]

WITHOUT_EFFECTS = ("rand_flat",)
"""Families with no right answer: nothing is ablated on them."""


@dataclass(frozen=True)
class Measure:
    """One measure.

    Attributes:
        name: as in files and in the library.
        label: as on screen.
        kind: "score", "effect" or "attribution".
        axes: of the stored array.
        unit: of its values.
        low: smallest possible value, or None.
        high: largest possible value, or None.
        signed: whether values of both signs have a meaning.
        formula: in plain characters.
        source: where it was defined.
        sentence: what it says, in one plain sentence.
        pitfall: how it is misread.
        families: prompt families it is measured on, the first of which the default view shows; empty for
            every family that has a target (all except those in `WITHOUT_EFFECTS`).
        has_excess: whether a causal-uniform baseline is stored beside it.
    """

    name: str
    label: str
    kind: Kind
    axes: tuple[str, ...]
    unit: str
    low: float | None
    high: float | None
    signed: bool
    formula: str
    source: str
    sentence: str
    pitfall: str
    families: tuple[str, ...] = ()
    has_excess: bool = False

    @property
    def family(self) -> str:
        """The family that the default view of a score shows; "" for a measure of every family."""
        return self.families[0] if self.families else ""

    def summary_prefix(self, family: str) -> str:
        """The start of this score's names in the summary of an atlas, for one of its families."""
        return self.name if family == self.family else f"{self.name}_{family}"


_PER_PROMPT = ("layer", "head", "prompt")
_TWO_TEXTS = ("rand_flat", "natural")
_OLSSON = "Olsson et al. 2022, In-context Learning and Induction Heads"


def _mass(
    name: str, label: str, formula: str, source: str, sentence: str, pitfall: str, families: tuple[str, ...]
) -> Measure:
    return Measure(
        name=name,
        label=label,
        kind="score",
        axes=_PER_PROMPT,
        unit="attention probability",
        low=0.0,
        high=1.0,
        signed=False,
        formula=formula,
        source=source,
        sentence=sentence,
        pitfall=pitfall,
        families=families,
        has_excess=True,
    )


def _by_name(measures: Iterable[Measure]) -> dict[str, Measure]:
    return {measure.name: measure for measure in measures}


SCORES: dict[str, Measure] = _by_name(
    [
        _mass(
            "induction",
            "induction",
            "mean over i in the second copy of sum over j of pattern[i, j], j the token after each earlier copy "
            "of token i",
            f"{_OLSSON}: prefix-matching score",
            "How much the head looks at what came after the same token last time.",
            "It says where the head looks, not that it copies what it finds; see its effects on rand_repeat.",
            ("rand_repeat",),
        ),
        _mass(
            "duplicate_token",
            "duplicate token",
            "mean over i with an earlier copy of sum over j of pattern[i, j], j an earlier copy of token i",
            "Wang et al. 2022, Interpretability in the Wild",
            "How much the head looks back at earlier copies of the current token.",
            "With copies at one fixed distance, a head that always looks that far back would score too; "
            "the gap between copies is therefore of random length.",
            ("rand_repeat",),
        ),
        _mass(
            "previous_token",
            "previous token",
            "mean over i >= 2 of pattern[i, i-1]",
            "Elhage et al. 2021, A Mathematical Framework for Transformer Circuits",
            "How much the head looks at the token just before.",
            "A head that attends uniformly scores 0.16 on a 12-token prompt without doing anything: read the "
            "excess. Random tokens and natural text are kept apart.",
            _TWO_TEXTS,
        ),
        _mass(
            "current_token",
            "current token",
            "mean over i >= 1 of pattern[i, i]",
            "Vig and Belinkov 2019, Analyzing the Structure of Attention in a Transformer Language Model",
            "How much the head looks at the token it stands on.",
            "Early in a prompt there is little else to look at: read the excess.",
            _TWO_TEXTS,
        ),
        _mass(
            "sink",
            "sink",
            "mean over i >= 1 of pattern[i, 0]",
            "Xiao et al. 2023, Efficient Streaming Language Models with Attention Sinks",
            "How much attention the head parks on the first position.",
            "A state rather than a job: a head can rest on the first position most of the time and still "
            "matter when it fires.",
            _TWO_TEXTS,
        ),
        Measure(
            name="diffuse",
            label="diffuse",
            kind="score",
            axes=_PER_PROMPT,
            unit="share of the largest entropy",
            low=0.0,
            high=1.0,
            signed=False,
            formula="mean over i >= 8 of H(pattern[i]) / log |V_i|, V_i the keys visible to i (i + 1 of them, "
            "fewer in a sliding window)",
            source="Clark et al. 2019, What Does BERT Look At?",
            sentence="How evenly the head spreads its attention; 1 is perfectly even.",
            pitfall="There is no useful null: an untrained head is uniform and scores 1. A state, not a job.",
            families=("natural",),
        ),
        Measure(
            name="diffuse_sink_free",
            label="diffuse, without the first position",
            kind="score",
            axes=_PER_PROMPT,
            unit="share of the largest entropy",
            low=0.0,
            high=1.0,
            signed=False,
            formula="as diffuse, with key 0 left out and the rest of the row renormalised: "
            "mean over i >= 8 of H(row) / log |V_i without 0|",
            source="Clark et al. 2019, with the attention sink taken out",
            sentence="How evenly the head spreads the attention that it does not park on the first position.",
            pitfall="Of a head that rests almost wholly on the first position it describes a tiny remainder: "
            "read it beside sink. Rows with nothing left beside key 0 do not count.",
            families=("natural",),
        ),
        Measure(
            name="offsets",
            label="attention by distance",
            kind="score",
            axes=("layer", "head", "bin"),
            unit="attention probability",
            low=0.0,
            high=1.0,
            signed=False,
            formula="D[d] = mean over i >= d+1 of pattern[i, i-d] for d = 0..31; for 32-63 and 64+ the sum over "
            "the distances of the bin; sink = mean over i >= 1 of pattern[i, 0]. Key 0 counts as sink only",
            source="Vig and Belinkov 2019",
            sentence="How far back the head looks, on average.",
            pitfall="An average over tokens: a head that finds its target by content shows a smear, not a peak. "
            "The bins do not add up to 1, as later distances have fewer queries.",
            families=("natural",),
        ),
    ]
)

_EFFECT_AXES = ("mode", "layer", "head", "prompt")
_ABLATION = "Each head's output z (before W_O) is replaced at every position: by 0, or by its mean."


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


EFFECTS: dict[str, Measure] = _by_name(
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

ATTRIBUTIONS: dict[str, Measure] = _by_name(
    [
        Measure(
            name="gradient_x_input",
            label="gradient x input",
            kind="attribution",
            axes=("pos",),
            unit="logits with a contrast, else nats",
            low=None,
            high=None,
            signed=True,
            formula="grad of f at the token's embedding, dot that embedding; f = logit(y) - logit(y') with a "
            "contrast, else log p(y)",
            source="Shrikumar et al. 2016, Not Just a Black Box",
            sentence="Which tokens the answer hangs on, to first order, and in which direction.",
            pitfall="A first-order estimate: it fails where the model saturates. Its parts need not add up to f.",
        ),
    ]
)

MEASURES: dict[str, Measure] = SCORES | EFFECTS | ATTRIBUTIONS


def markdown() -> str:
    """The reference of every measure, as Markdown: the content of docs/measures.md."""
    parts = [
        "# Measures",
        "Generated from `head_atlas.catalogue`; do not edit by hand "
        "(`python -m head_atlas.catalogue > docs/measures.md` writes it).",
        "A *score* is read from attention patterns, an *attribution* is a decomposition, an *effect* is causal: "
        "`ablated - clean`. Means are taken per prompt first, then over prompts. "
        "`pattern[i, j]` is the attention of position i to position j after the softmax, both counted from 0. "
        "`excess = (mass - uniform) / (1 - uniform)`: 0 for a head that attends uniformly to what it can see, "
        "1 for a perfect one. Intervals: 95 %, paired cluster bootstrap (template, then prompt), 2000 resamples.",
        f"{_ABLATION} y is the right answer and y' the wrong one it is held against; the value of a prompt is "
        "the mean over its target positions.",
    ]
    for title, group in (("Scores", SCORES), ("Effects", EFFECTS), ("Attributions", ATTRIBUTIONS)):
        parts.append(f"## {title}")
        rows = ["| name | axes | unit | range | measured on |", "| --- | --- | --- | --- | --- |"]
        rows += [
            f"| `{m.name}` | {', '.join(m.axes)} | {m.unit} | {_range(m)} | {_measured_on(m)} |" for m in group.values()
        ]
        parts.append("\n".join(rows))
        for m in group.values():
            excess = "yes" if m.has_excess else "no"
            lines = [f"### {m.name}", m.sentence, f"Formula: `{m.formula}`"]
            if m.kind == "score":
                lines.append(f"Excess over uniform attention: {excess}.")
            parts += [*lines, f"Beware: {m.pitfall}", f"Source: {m.source}."]
    return "\n\n".join(parts) + "\n"


def _range(measure: Measure) -> str:
    low = "-inf" if measure.low is None else f"{measure.low:g}"
    high = "inf" if measure.high is None else f"{measure.high:g}"
    return f"{low} to {high}" + (", signed" if measure.signed else "")


def _measured_on(measure: Measure) -> str:
    if measure.families:
        return ", ".join(measure.families)
    return "the user's prompt" if measure.kind == "attribution" else "every family with a target"


if __name__ == "__main__":
    print(markdown(), end="")
