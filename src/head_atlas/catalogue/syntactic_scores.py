"""Scores of grammatical relations, and what scores are by chance."""

from __future__ import annotations

from head_atlas.catalogue.measure import Measure, by_name

_CLARK = "Clark et al. 2019, What Does BERT Look At?"
_PER_RELATION = ("layer", "head", "relation", "direction", "prompt")

SYNTACTIC: dict[str, Measure] = by_name(
    [
        Measure(
            name="syntactic",
            label="syntactic accuracy",
            kind="score",
            axes=_PER_RELATION,
            unit="share of word pairs",
            low=0.0,
            high=1.0,
            signed=False,
            formula="share of a prompt's pairs (w, t) with t = arg-max over words v up to w, itself included, of the "
            "mean over tokens i of w of sum over tokens j of v of pattern[i, j]; position 0 belongs to no word",
            source=_CLARK,
            sentence="How often the head looks most from a word to the word that it is grammatically tied to.",
            pitfall="A causal model only looks back, so each word order has one direction. A fixed distance hits often "
            "in simple sentences: read the gain. The sentences are few and made by templates.",
            families=("syntax",),
        ),
        Measure(
            name="syntactic_gain",
            label="syntactic gain over the best fixed offset",
            kind="score",
            axes=_PER_RELATION,
            unit="share of word pairs",
            low=-1.0,
            high=1.0,
            signed=True,
            formula="syntactic accuracy on the held-out split minus that of always taking the word d words back, d the "
            "best on the train split",
            source=f"{_CLARK}; the split: this project",
            sentence="How much better the head finds the tied word than the best fixed distance does.",
            pitfall="A role asks for an interval above 0 and a gain of 0.1 at least. A head that merely looks at the "
            "last noun can gain: compare with the null, targets permuted among the earlier words of their class.",
            families=("syntax",),
        ),
    ]
)

NULLS: dict[str, Measure] = by_name(
    [
        Measure(
            name="null_p",
            label="p value of a score",
            kind="score",
            axes=("layer", "head"),
            unit="probability",
            low=0.0,
            high=1.0,
            signed=False,
            formula="(1 + #{draw >= observed}) / (1 + N), of the mean excess over prompts (positional: mean share; "
            "syntactic: mean gain). Draws: keys >= 1 permuted within each row (previous_token, current_token, "
            "positional); mismatched input r' gap r (induction, duplicate_token); targets permuted among earlier words "
            "of their class (syntactic)",
            source="Phipson and Smyth 2010, Permutation P-values Should Never Be Zero",
            sentence="How often chance gives a head as much of a score as it has, or more.",
            pitfall="Small says more than chance, not much: heads of untrained models look one token back a little "
            "more than chance as well. Many heads are tested at once, so correct for that, and ask for a size.",
            families=("rand_flat", "natural", "rand_repeat", "syntax"),
        ),
        Measure(
            name="null_n99",
            label="99th percentile of the null",
            kind="score",
            axes=("layer", "head"),
            unit="that of the score",
            low=-1.0,
            high=1.0,
            signed=True,
            formula="99th percentile of the draws that null_p counts",
            source="this project",
            sentence="The size that a head's score would hardly ever reach by chance.",
            pitfall="Of one head: among hundreds some pass it by chance.",
            families=("rand_flat", "natural", "rand_repeat", "syntax"),
        ),
    ]
)
