"""Numbers that roles are judged by and that are worked out from other measures."""

from __future__ import annotations

from head_atlas.catalogue.measure import Measure, by_name

ROLE_NUMBERS: dict[str, Measure] = by_name(
    [
        Measure(
            name="indirect_effect",
            label="indirect effect on the logit difference",
            kind="effect",
            axes=("layer", "head"),
            unit="logits",
            low=None,
            high=None,
            signed=True,
            formula="logit_difference in mode zero + direct_logit: the effect of setting z to 0, without the direct "
            "part, which is minus the direct logit attribution",
            source="Wang et al. 2022, Interpretability in the Wild; the difference: this project",
            sentence="How much the lead of the right answer changes without the head because later layers read what "
            "it wrote.",
            pitfall="The direct part is taken with the final norm frozen, so the norm's share counts as indirect. In "
            "mode zero only, whatever mode the other criteria are judged in: what a stand-in writes is not stored.",
        ),
        Measure(
            name="family_difference",
            label="difference between two families",
            kind="effect",
            axes=("pair", "layer", "head"),
            unit="share of the clean logit difference",
            low=None,
            high=None,
            signed=True,
            formula="mean effect / mean clean logit_difference on the first family, minus the same on the second; "
            "interval from those of the two ratios (square-and-add), q over pairs and heads",
            source="Zou and Donner 2008, Construction of Confidence Limits about Effect Measures; the comparison: this "
            "project",
            sentence="Whether the head is worth more to one family than to another.",
            pitfall="A head that matters more for one family may do the same thing in both: families differ in how "
            "sure the model is of them.",
            measured_on="pairs of families that the model solves",
        ),
        Measure(
            name="n_different",
            label="pairs of families that differ",
            kind="effect",
            axes=("layer", "head"),
            unit="pairs",
            low=0.0,
            high=None,
            signed=False,
            formula="number of pairs of families with q <= 0.05 of family_difference",
            source="this project",
            sentence="Between how many pairs of families the worth of the head surely differs.",
            pitfall="It grows with the number of families, and with the number of prompts: compare heads of one atlas.",
            measured_on="pairs of families that the model solves",
        ),
    ]
)

POSITIONAL_OFFSETS: dict[str, Measure] = by_name(
    [
        Measure(
            name="positional_offset",
            label="offset of the positional score",
            kind="score",
            axes=("layer", "head"),
            unit="tokens back",
            low=0.0,
            high=31.0,
            signed=False,
            formula="the d of most queries whose arg-max over keys >= 1 is d back, all prompts together; of equally "
            "frequent ones the smallest",
            source="Voita et al. 2019, Analyzing Multi-Head Self-Attention",
            sentence="How far back a positional head looks; 0 is the token itself.",
            pitfall="Every head has one, however seldom it looks there: read the positional share first.",
            families=("natural",),
        ),
    ]
)
