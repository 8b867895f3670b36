"""What tokens contribute to a prediction: linear decompositions, and occlusion.

An occlusion is minus the causal effect of taking a token away (clean - occluded), so that its sign reads as that of
the other attributions: positive, the token speaks for the target.
"""

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
        Measure(
            name="logit_lens",
            label="logit lens",
            kind="attribution",
            axes=("layer", "position"),
            unit="nats",
            low=None,
            high=0.0,
            signed=True,
            formula="log softmax(LN_f(x_l) W_U)[y]; beside it rank(y) and KL(p_final || p_lens)",
            source="nostalgebraist 2020, Interpreting GPT: the logit lens",
            sentence="What the model would say if it stopped after a layer.",
            pitfall="Early layers are unreliable: their stream was not made to be read by the unembedding.",
            measured_on="the user's prompt",
        ),
        Measure(
            name="saliency",
            label="saliency",
            kind="attribution",
            axes=("pos",),
            unit="logits with a contrast, else nats, per unit of embedding",
            low=0.0,
            high=None,
            signed=False,
            formula="Euclidean norm of grad of f at the token's embedding",
            source="Simonyan et al. 2013, Deep Inside Convolutional Networks",
            sentence="How strongly the answer reacts to a small change of a token, in whichever direction.",
            pitfall="It has no sign, says nothing of what the token contributes as it is, and its words do not add up.",
        ),
        Measure(
            name="integrated_gradients",
            label="integrated gradients",
            kind="attribution",
            axes=("pos",),
            unit="logits with a contrast, else nats",
            low=None,
            high=None,
            signed=True,
            formula="(e - e') dot the mean of grad f along the straight line from a baseline e' to the embedding e, by "
            "Gauss-Legendre quadrature with 32 to 256 nodes, until | sum - (f(e) - f(e')) | < max(5 %, 0.02)",
            source="Sundararajan et al. 2017, Axiomatic Attribution for Deep Networks",
            sentence="How the change of the answer from a neutral prompt to this one divides among its tokens.",
            pitfall="It depends on the baseline, and the path leads through embeddings that no text has. Where the "
            "completeness gap is large, the parts do not add up: so it is from zero in models that normalise early.",
        ),
        Measure(
            name="occlusion_replace",
            label="occlusion, replaced",
            kind="attribution",
            axes=("pos",),
            unit="logits with a contrast, else nats",
            low=None,
            high=None,
            signed=True,
            formula="f(x) - mean over K drawn tokens t of f(x with token i replaced by t)",
            source="Zeiler and Fergus 2014, Visualizing and Understanding Convolutional Networks; Li et al. 2016, "
            "Understanding Neural Networks through Representation Erasure",
            sentence="What the answer loses when another token stands in a token's place.",
            pitfall="Minus a causal effect, clean - occluded; no linear decomposition, so it does not add up. What is "
            "put in has a meaning of its own: see the standard error. Redundant tokens each look useless.",
        ),
        Measure(
            name="occlusion_mask",
            label="occlusion, masked",
            kind="attribution",
            axes=("pos",),
            unit="logits with a contrast, else nats",
            low=None,
            high=None,
            signed=True,
            formula="f(x) - f(x where no query attends to token i, which keeps its position)",
            source="Li et al. 2016, Understanding Neural Networks through Representation Erasure",
            sentence="What the answer loses when no head can attend to a token.",
            pitfall="Minus a causal effect, clean - occluded. What the last token carries at its own position stays. "
            "Attention that is taken from one token goes to the others.",
        ),
        Measure(
            name="occlusion_delete",
            label="occlusion, deleted",
            kind="attribution",
            axes=("pos",),
            unit="logits with a contrast, else nats",
            low=None,
            high=None,
            signed=True,
            formula="f(x) - f(x without token i)",
            source="Li et al. 2016, Understanding Neural Networks through Representation Erasure",
            sentence="What the answer loses when a token is left out.",
            pitfall="Minus a causal effect, clean - occluded. It moves every later token one position forward, so the "
            "number is of both changes; deleting the last token asks another question altogether.",
        ),
    ]
)
