"""Scores read from attention patterns."""

from __future__ import annotations

from dataclasses import replace

from head_atlas.catalogue.measure import Measure, by_name

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


_BASE: dict[str, Measure] = by_name(
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
            source="Clark et al. 2019, What Does BERT Look At?: entropy; as a share of the largest: this project",
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
            source="Vig and Belinkov 2019, Analyzing the Structure of Attention in a Transformer Language Model: "
            "entropy without the first token; as a share of the largest: this project",
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
            source="Vig and Belinkov 2019, Analyzing the Structure of Attention in a Transformer Language Model: mean "
            "distance; one number for each distance: this project",
            sentence="How far back the head looks, on average.",
            pitfall="An average over tokens: a head that finds its target by content shows a smear, not a peak. "
            "The bins do not add up to 1, as later distances have fewer queries.",
            families=("natural",),
        ),
        Measure(
            name="non_sink",
            label="attention off the first position",
            kind="score",
            axes=_PER_PROMPT,
            unit="attention probability",
            low=0.0,
            high=1.0,
            signed=False,
            formula="mean over i >= 1 of sum over j >= 1 of pattern[i, j]",
            source="this project; the sink: Xiao et al. 2023, Efficient Streaming Language Models with Attention Sinks",
            sentence="How much attention is left for everything but the first position.",
            pitfall="It is what the sink-conditional scores are shares of: where it is close to 0 they describe a "
            "tiny remainder. With sink logits, what these take is not in it.",
            families=(*_TWO_TEXTS, "rand_repeat"),
        ),
        Measure(
            name="positional",
            label="positional",
            kind="score",
            axes=_PER_PROMPT,
            unit="share of queries",
            low=0.0,
            high=1.0,
            signed=False,
            formula="share of the queries i >= d + 1 with i - d = arg-max over j >= 1 of pattern[i, j]; d the offset, "
            "0 to 31, of most queries of all prompts together",
            source="Voita et al. 2019, Analyzing Multi-Head Self-Attention; the fixed offset: this project",
            sentence="How often the head looks most at the token one fixed distance back, whatever the token.",
            pitfall="It counts where the largest attention lies, however small that is: a head that rests on the first "
            "position can be positional with the rest. Offsets of 32 and more are not told apart and never win. A "
            "head is called positional from 0.9 on.",
            families=("natural",),
        ),
    ]
)


def _sink_free(base: Measure) -> Measure:
    return replace(
        base,
        name=f"{base.name}_sink_free",
        label=f"{base.label}, sink-conditional",
        unit="share of the attention off the first position",
        formula="sum of the attention on targets / sum over j >= 1 of pattern[i, j], both over the queries of "
        f"{base.name}: {base.formula}",
        source=f"{base.source}; with the attention sink taken out: this project",
        sentence=f"{base.sentence.rstrip('.')}, as a share of what it does not park on the first position.",
        pitfall="Of a head that rests almost wholly on the first position it describes a tiny remainder: read it "
        "beside non_sink. A ratio of sums within a prompt; prompts with nothing left have none.",
        has_excess=False,
        variant_of=base.name,
    )


def _norm_weighted(base: Measure) -> Measure:
    return replace(
        base,
        name=f"{base.name}_norm_weighted",
        label=f"{base.label}, norm-weighted",
        unit="share of the weighted attention",
        formula="with pattern[i, j] * ||v_j W_O|| in place of pattern[i, j], every row renormalised to 1 (v after its "
        f"bias, W_O of the head): {base.formula}",
        source="Kobayashi et al. 2020, Attention is Not Only a Weight: Analyzing Transformers with Vector Norms",
        sentence=f"{base.sentence.rstrip('.')}, each key weighted by how much its value writes.",
        pitfall="Attention on a key whose value writes next to nothing counts next to nothing. A length says nothing "
        "of direction; values that write a lot can cancel, and a norm after the attention rescales what is written. "
        "Even attention does not have the uniform baseline here, so there is no excess.",
        has_excess=False,
        variant_of=base.name,
    )


SCORES: dict[str, Measure] = _BASE | by_name(
    variant
    for base in _BASE.values()
    if base.has_excess
    for variant in ([] if base.name == "sink" else [_sink_free(base)]) + [_norm_weighted(base)]
)
