"""Linear decompositions."""

from __future__ import annotations

from head_atlas.catalogue.measure import Measure, by_name

ATTRIBUTIONS: dict[str, Measure] = by_name(
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
