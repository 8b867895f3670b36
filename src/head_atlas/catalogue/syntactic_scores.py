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

_NULL_FAMILIES = ("rand_flat", "natural", "rand_repeat", "ioi", "syntax")


def _of_null(
    name: str, label: str, unit: str, bounds: tuple[float, float], formula: str, source: str, words: tuple[str, str]
) -> Measure:
    return Measure(
        name=name,
        label=label,
        kind="score",
        axes=("layer", "head"),
        unit=unit,
        low=bounds[0],
        high=bounds[1],
        signed=bounds[0] < 0,
        formula=formula,
        source=source,
        sentence=words[0],
        pitfall=words[1],
        families=_NULL_FAMILIES,
    )


NULLS: dict[str, Measure] = by_name(
    [
        _of_null(
            "null_observed",
            "statistic of a null",
            "that of the score",
            (-1.0, 1.0),
            "mean excess over prompts (positional: mean share; syntactic: mean gain over held-out prompts; scores of "
            "weights: the score itself)",
            "this project",
            (
                "What is held against the null.",
                "Unrounded, so it may differ from the mean of the stored scores in the fourth digit.",
            ),
        ),
        _of_null(
            "null_p",
            "p value of a score",
            "probability",
            (0.0, 1.0),
            "(1 + #{draw >= observed - 1e-6}) / (1 + N), N = 20 draws per head of the model, 1000 to 5000 (20 for "
            "scores of weights). With under 10 draws as large: the tail of a generalised Pareto distribution fitted to "
            "the largest tenth of the draws, if that is smaller, and no less than 1 / (1 + N)^2. Draws: keys >= 1 "
            "permuted within each row (previous_token, current_token, positional, end_to_io, end_to_s2); mismatched "
            "input r' gap r (induction, duplicate_token); targets permuted among earlier words of their class "
            "(syntactic); labels of the tokens permuted (ov_copy, negative_ov_copy, ov_copy_eig)",
            "Phipson and Smyth 2010, Permutation P-values Should Never Be Zero; Knijnenburg et al. 2009, Fewer "
            "permutations, more accurate P-values",
            (
                "How often chance gives a head as much of a score as it has, or more.",
                "Small says more than chance, not much: heads of untrained models look one token back a little more "
                "than chance as well. Many heads are tested at once, so correct for that, and ask for a size. Scores "
                "of weights have 20 draws, so no p under 0.048: no role asks for theirs.",
            ),
        ),
        _of_null(
            "null_n99",
            "99th percentile of the null",
            "that of the score",
            (-1.0, 1.0),
            "99th percentile of the draws that null_p counts, between draws interpolated; of the 20 draws of a score "
            "of weights it lies a fifth of the way from the largest to the second largest",
            "this project",
            (
                "The size that a head's score would hardly ever reach by chance.",
                "Of one head: among hundreds some pass it by chance. For scores of weights it is rough, and a role "
                "asks for 0.1 at least beside it.",
            ),
        ),
        _of_null(
            "null_mean",
            "mean of the null",
            "that of the score",
            (-1.0, 1.0),
            "mean of the draws that null_p counts",
            "this project",
            (
                "What a head's score is on average by chance.",
                "It need not be 0: keys at which the head looks little count as often as those at which it looks much.",
            ),
        ),
    ]
)
