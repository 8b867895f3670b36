"""The words of the field, each in one or two plain sentences. Pure data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """One word.

    Attributes:
        name: as the glossary lists it.
        meaning: in plain words.
        forms: how else it is written in a text; its name is one in any case.
    """

    name: str
    meaning: str
    forms: tuple[str, ...] = ()


GLOSSARY: tuple[Term, ...] = tuple(
    sorted(
        (
            Term("token", "A piece of text that the model reads or writes as one: a word, a part of one, or a sign.",
                 ("tokens",)),
            Term("attention head", "One of the parts of a layer that carry information between places of a text: for "
                 "each token it decides which earlier tokens to read, and copies something of what is there.",
                 ("attention heads",)),
            Term("attention pattern", "The shares, adding up to 1, by which a head reads each earlier token from where "
                 "it stands. It says where a head looks, not what it takes from there.", ("attention patterns",)),
            Term("residual stream", "The running sum that carries a token through the layers. Every head and every MLP "
                 "reads it and adds to it; nothing else connects them.", ("residual streams",)),
            Term("logit", "The model’s raw mark for a possible next token. All marks together are turned into "
                 "probabilities; a difference of two logits says by how much one is preferred.", ("logits",)),
            Term("logit difference", "Logit of the right answer minus logit of the wrong one it is held against.",
                 ("logit differences",)),
            Term("log-probability", "The logarithm of a probability. A loss of 0.7 halves the probability; one of 2.3 "
                 "leaves a tenth.", ("log-probabilities",)),
            Term("nat", "The unit of natural logarithms: one nat less is a probability 2.7 times smaller.", ("nats",)),
            Term("softmax", "What turns marks into shares: each becomes positive, and all add up to 1."),
            Term("ablation", "Taking a part of the model away, or putting something harmless in its place, and running "
                 "the model again to see what changes.", ("ablations", "ablate", "ablated", "ablating")),
            Term("zero ablation", "Ablation that puts zeros in place of a head’s output. Simple, but further off "
                 "from what the model is used to than a mean."),
            Term("mean ablation", "Ablation that puts the head’s average output over ordinary text in place of its "
                 "own."),
            Term("resample ablation", "Ablation that puts the head’s output on another text in place of its own."),
            Term("effect", "What a change inside the model causes: the result with it minus the result without it. "
                 "Neither a score nor an attribution.", ("effects",)),
            Term("score", "A number read from attention patterns or weights: it says what a head looks like, not what "
                 "it is good for."),
            Term("control", "The same treatment given to a part that should not matter. Without one, you cannot tell "
                 "the effect of this part from the effect of treating any part.", ("controls",)),
            Term("attribution", "Dividing a prediction among its causes, tokens for instance, by a formula. A "
                 "calculation about the model, not an experiment on it.", ("attributions",)),
            Term("integrated gradients", "An attribution: the gradients are added up along a path from a blank input "
                 "to the real one, so that the shares add up to the change of the prediction."),
            Term("gradient × input", "The cheapest attribution: how fast the prediction changes with a token, times "
                 "the token. True only for small steps."),
            Term("occlusion", "Covering one token, by another or by none, and seeing how the prediction changes."),
            Term("attribution patching", "Estimating by one gradient what patching every part would do. Fast, and "
                 "wrong where the model bends sharply."),
            Term("activation patching", "Carrying the inner state of one run over into another, at one place, to see "
                 "whether that place makes the difference.", ("patching", "patched")),
            Term("path patching", "Patching that lets a change travel along one route only, from one part to another."),
            Term("causal tracing", "Drowning a word in noise, then restoring one inner state at a time, to see where "
                 "what is known of the word passes through."),
            Term("direct logit attribution", "How far a part pushes the answer straight at the end of the model, "
                 "leaving out what later parts make of it.", ("DLA",)),
            Term("logit lens", "Reading the residual stream half-way as if it were the end: what would the model say "
                 "if it stopped here? Early layers answer unreliably."),
            Term("induction", "Reading on from last time: when a token was seen before, expecting what followed it "
                 "then.", ("induction head", "induction heads")),
            Term("previous-token head", "A head that looks at the token just before, wherever it stands.",
                 ("previous-token heads",)),
            Term("duplicate-token head", "A head that looks at earlier copies of the token it stands on.",
                 ("duplicate-token heads",)),
            Term("successor head", "A head that promotes what comes next in an order: Tuesday after Monday.",
                 ("successor heads",)),
            Term("name mover", "A head that copies a name from earlier in the sentence to where a name is due.",
                 ("name movers",)),
            Term("copy suppression", "Pushing down a token that the model is about to copy from the text."),
            Term("attention sink", "A token, mostly the first, on which heads rest much of their attention; it is "
                 "thought, when they have nothing to do.", ("attention sinks", "sink")),
            Term("QK circuit", "The part of a head that decides where it looks: it compares queries with keys."),
            Term("OV circuit", "The part of a head that decides what it takes from there and how it adds that to the "
                 "residual stream."),
            Term("composition", "A later head reading what an earlier one wrote, in its queries, its keys or its "
                 "values.", ("K-composition", "Q-composition", "V-composition")),
            Term("circuit", "A few parts of the model, and their connections, that together do one thing.",
                 ("circuits",)),
            Term("backup", "Parts that do a job when those that usually do it are missing.", ("self-repair",)),
            Term("MLP", "The other half of a layer: it works on each place by itself and moves nothing between "
                 "places.", ("MLPs",)),
            Term("neuron", "One hidden unit of an MLP.", ("neurons",)),
            Term("feature", "Something a model represents: a property of the text, as a direction in its space.",
                 ("features",)),
            Term("superposition", "Keeping more features than there are dimensions, in directions that overlap a "
                 "little.",),
            Term("interference", "What overlapping directions cost: one feature looks a little like another."),
            Term("polysemanticity", "One neuron or head taking part in several unrelated things.",
                 ("polysemantic",)),
            Term("dictionary learning", "Looking for a long list of directions, few of them in use at a time, that "
                 "add up to a model’s inner states: one way to take superposition apart.",
                 ("sparse autoencoder", "sparse autoencoders")),
            Term("confidence interval", "A range around a measured mean, made so that with other prompts of the kind "
                 "it holds the true mean in about 95 of 100 repetitions. Here by resampling the prompts.",
                 ("confidence intervals",)),
            Term("bootstrap", "Drawing the measured prompts again and again, with repeats, to see how far a mean would "
                 "move."),
            Term("false discovery rate", "The share of wrong ones expected among the findings that are called sure. "
                 "A q value is the lowest rate at which this finding would still be among them.",
                 ("q value", "q values")),
            Term("null", "What a number comes to by chance alone, where there is nothing to find.",
                 ("nulls", "null distribution")),
            Term("excess", "A score less what a head gets that attends evenly to all it can see, on a scale where such "
                 "a head has 0 and a perfect one 1."),
            Term("percentile", "The share of the others that lie below, in percent.", ("percentiles",)),
            Term("embedding", "The list of numbers with which a model begins to represent a token.", ("embeddings",)),
            Term("unembedding", "The last step of a model: from the residual stream to a logit for every token."),
            Term("BOS", "The token that stands at the beginning of every text a model was trained on, if it uses one.",
                 ("BOS token",)),
            Term("gradient", "How fast one number changes when another is moved a little.", ("gradients",)),
            Term("saliency", "An attribution: how fast the prediction changes with a token, whatever the direction."),
            Term("saturation", "A number that hardly moves although its cause does, because it is near its limit: a "
                 "probability near 1, for instance.", ("saturate", "saturates", "saturated")),
            Term("KL divergence", "How far one prediction is from another over all tokens at once, in nats; 0 where "
                 "they agree."),
            Term("pattern freeze", "Ablation that keeps what stands at each place and takes where the head looks from "
                 "the corrupted prompt.", ("pattern-freeze",)),
            Term("corrupted prompt", "The same prompt with one word exchanged, so that another answer is right.",
                 ("corrupted prompts", "corrupted version", "corrupted twin")),
            Term("faithfulness", "Of a circuit: how much of what the model does is left once the heads outside it are "
                 "removed. Of an attribution: whether the words it names are those the answer needs."),
            Term("participation ratio", "Over how many things a total is spread: 1 if one has it all, ten if ten share "
                 "it evenly."),
            Term("effective rank", "How many directions a matrix really uses: 1 if all its weight lies in one, and "
                 "more the more evenly it is spread."),
            Term("exemplar", "A text on which a head attends strongly, or needs to, kept to be looked at.",
                 ("exemplars",)),
        ),
        key=lambda term: term.name.lower(),
    )
)  # fmt: skip
"""Every term, in alphabetical order."""
