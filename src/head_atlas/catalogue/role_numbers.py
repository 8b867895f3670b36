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
    ]
)
