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
            measured_on="the user's prompt",
        ),
        Measure(
            name="direct_logit",
            label="direct logit attribution",
            kind="attribution",
            axes=("layer", "head", "prompt"),
            unit="logits",
            low=None,
            high=None,
            signed=True,
            formula="(z W_O - its mean, where the norm centres) / sigma * gamma . (W_U[y] - W_U[y']), sigma of the "
            "final norm, and of a norm behind the attention, frozen; before a soft-cap. Without y', against the mean "
            "logit. Mean over read positions",
            source="Wang et al. 2022, Interpretability in the Wild; nostalgebraist 2020, Interpreting GPT",
            sentence="What the head adds to the lead of the right answer by itself, straight to the logits.",
            pitfall="It leaves out what later layers make of the head's output, and freezes the norms: no effect of "
            "removing the head. With the embedding, MLPs and biases the parts add up to the logit difference.",
        ),
        Measure(
            name="induction_copy",
            label="induction copying",
            kind="attribution",
            axes=("layer", "head", "prompt"),
            unit="logits",
            low=None,
            high=None,
            signed=True,
            formula="mean over i of the second copy but its last of [direct logit of t_{i+1} - mean over the block's "
            "tokens], norms frozen as in direct_logit",
            source="Olsson et al. 2022, In-context Learning and Induction Heads",
            sentence="Whether the head raises the token that came next last time, above the block's other tokens.",
            pitfall="Below 0 with a high induction score: the head finds the token and suppresses it. Layers behind it "
            "may do the copying of a head that has none here.",
            families=("rand_repeat",),
        ),
    ]
)
