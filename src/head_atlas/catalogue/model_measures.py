"""Measures of a model's spaces and of its MLPs: how crowded they are, and what makes hidden units fire."""

from __future__ import annotations

from head_atlas.catalogue.measure import Measure, by_name

_TOY = "Elhage et al. 2022, Toy Models of Superposition"
_GAO = "Gao et al. 2017, A theory of multineuronal dimensionality, dynamics and measurement"
_UNIT = "A unit is an input of the MLP's down projection; a mixture of experts has none that can be read (NaN)."

MODEL_MEASURES: dict[str, Measure] = by_name(
    [
        Measure(
            name="interference",
            label="interference between tokens",
            kind="score",
            axes=("space", "centring", "statistic"),
            unit="cosine",
            low=0.0,
            high=1.0,
            signed=False,
            formula="mean |cos|, mean cos^2 and quantiles of |cos| over all pairs of 4096 sampled token directions (of "
            "embedding: e_t; of unembedding: rows of W_U with the final norm folded in), as they are and centred; "
            "random: mean cos^2 = 1/d, mean |cos| = Gamma(d/2) / (sqrt(pi) Gamma((d+1)/2))",
            source=_TOY,
            sentence="How much the directions of different tokens overlap, beside random directions.",
            pitfall="A direction that all tokens share (frequency, say) shows as overlap until it is centred away. "
            "Fewer dimensions in use look like interference too.",
            measured_on="weights",
        ),
        Measure(
            name="write_norm",
            label="length of what a head writes",
            kind="score",
            axes=("layer", "head"),
            unit="that of the residual stream",
            low=0.0,
            high=None,
            signed=False,
            formula="mean over prompts of the mean over positions i >= 1 of ||z_i W_O||",
            source="Kobayashi et al. 2020, Attention is Not Only a Weight: Analyzing Transformers with Vector Norms",
            sentence="How much the head adds to the residual stream, in whatever direction.",
            pitfall="Streams grow from layer to layer, and norms rescale them: compare heads of one layer. A norm "
            "after the attention is not in it.",
            families=("natural",),
        ),
        Measure(
            name="head_participation",
            label="dimensions of a head's output",
            kind="score",
            axes=("layer", "head"),
            unit="dimensions",
            low=1.0,
            high=None,
            signed=False,
            formula="(tr C)^2 / tr(C^2), C the covariance of z W_O over positions >= 1",
            source=_GAO,
            sentence="In how many dimensions the head's output varies over natural text.",
            pitfall="With few positions it cannot exceed their number: compare it with the tokens counted. One large "
            "direction hides many small ones.",
            families=("natural",),
        ),
        Measure(
            name="mlp_participation",
            label="dimensions of an MLP's hidden units",
            kind="score",
            axes=("layer",),
            unit="dimensions",
            low=1.0,
            high=None,
            signed=False,
            formula="(tr C)^2 / tr(C^2), C the covariance of the hidden units over positions >= 1",
            source=_GAO,
            sentence="In how many dimensions an MLP's hidden units vary over natural text.",
            pitfall=f"{_UNIT} With few positions the ratio cannot exceed their number.",
            families=("natural",),
        ),
        Measure(
            name="neuron_mean",
            label="mean activation of a unit",
            kind="score",
            axes=("layer", "neuron", "family"),
            unit="activation",
            low=None,
            high=None,
            signed=True,
            formula="mean over prompts of a family of the mean over positions >= 1",
            source="this project",
            sentence="How active a hidden unit is on each family of prompts.",
            pitfall=f"{_UNIT} In gated MLPs its sign means nothing by itself.",
            measured_on="every family",
        ),
        Measure(
            name="neuron_firing",
            label="firing of a unit",
            kind="score",
            axes=("layer", "neuron", "family"),
            unit="share of positions",
            low=0.0,
            high=1.0,
            signed=False,
            formula="share of positions >= 1 where |activation| > 3 times the unit's root mean square, families alike",
            source="this project",
            sentence="How often a hidden unit is far above its usual size, on each family of prompts.",
            pitfall="Relative to the unit itself: one that is always on never fires, however strong it is.",
            measured_on="every family",
        ),
        Measure(
            name="neuron_families",
            label="families that a unit fires for",
            kind="score",
            axes=("layer", "neuron"),
            unit="effective number of families",
            low=1.0,
            high=None,
            signed=False,
            formula="exp entropy of neuron_firing over its sum over families",
            source="this project",
            sentence="For how many of the families of prompts a hidden unit fires, weighed by how often.",
            pitfall="Families share words and syntax: a unit for a common word fires in many of them without being "
            "mixed. Look at its top prompts.",
            measured_on="every family",
        ),
    ]
)
