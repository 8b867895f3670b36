"""Sets of heads and circuits: measured live, over a family's prompts."""

from __future__ import annotations

from head_atlas.catalogue.measure import Measure, by_name

_METRIC = "logits, or nats of logprob"
_SHARE = "share of F(all) - F(none)"
_WANG = "Wang et al. 2022, Interpretability in the Wild"

CIRCUITS: dict[str, Measure] = by_name(
    [
        Measure(
            name="joint_effect",
            label="joint effect",
            kind="effect",
            axes=("prompt",),
            unit=_METRIC,
            low=None,
            high=None,
            signed=True,
            formula="F(S removed) - F(clean), beside the sum over h in S of F(h removed) - F(clean); F the logit "
            "difference, or log p(y)",
            source=_WANG,
            sentence="What removing a set of heads at once costs, beside removing them one by one.",
            pitfall="Heads that stand in for each other have small single effects and a large joint one.",
            measured_on="the user's prompts",
        ),
        Measure(
            name="interaction",
            label="interaction",
            kind="effect",
            axes=("head", "head_with"),
            unit=_METRIC,
            low=None,
            high=None,
            signed=True,
            formula="I(i, j) = D(i, j) - D(i) - D(j), D = F(clean) - F(removed)",
            source="this project; the second difference of F, as in the interaction indices of Grabisch and Roubens "
            "1999",
            sentence="Above 0 two heads stand in for each other; below 0 they are links of one path.",
            pitfall="A metric that saturates also gives values below 0. An interval is of one pair "
            "alone; q holds for all pairs together.",
            measured_on="the user's prompts",
        ),
        Measure(
            name="circuit_faithfulness",
            label="faithfulness of a circuit",
            kind="effect",
            axes=(),
            unit=_SHARE,
            low=None,
            high=None,
            signed=True,
            formula="(F(C) - F(none)) / (F(all) - F(none)), means over held-out prompts first; F(C): every candidate "
            "head outside C resampled, averaged or zeroed, MLPs kept",
            source=f"{_WANG}; Conmy et al. 2023, Towards Automated Circuit Discovery; as a share: this project",
            sentence="How much of the behaviour a set of heads keeps when the other heads are removed.",
            pitfall="Above 1, heads that work against the behaviour have been left out. It depends on what removed "
            "heads become, and says nothing of MLPs.",
            measured_on="the user's prompts",
        ),
        Measure(
            name="circuit_minimality",
            label="minimality of a circuit",
            kind="effect",
            axes=("head",),
            unit=_SHARE,
            low=None,
            high=None,
            signed=True,
            formula="(F(C) - F(C without v)) / (F(all) - F(none))",
            source=f"{_WANG}, where the head is taken out beside the set that shows it best; here alone, and as a "
            "share: this project",
            sentence="What each head adds to the circuit: near 0, it could be left out.",
            pitfall="Of two heads that stand in for each other inside the circuit, neither adds anything alone.",
            measured_on="the user's prompts",
        ),
        Measure(
            name="circuit_completeness",
            label="completeness of a circuit",
            kind="effect",
            axes=("subset",),
            unit=_SHARE,
            low=None,
            high=None,
            signed=True,
            formula="(F(C without K) - F(all without K)) / (F(all) - F(none)), K single heads and random halves of C",
            source=f"{_WANG}, where sets are also searched for; as a share: this project",
            sentence="Near 0 the circuit breaks as the model does; below 0 the model has a backup that it lacks.",
            pitfall="Some subsets are tried, not all: the worst one may be another.",
            measured_on="the user's prompts",
        ),
        Measure(
            name="circuit_percentile",
            label="percentile among random circuits",
            kind="effect",
            axes=(),
            unit="percent",
            low=0.0,
            high=100.0,
            signed=False,
            formula="100 (random circuits of the same size with lower F + half of those with equal F) / their number",
            source="this project",
            sentence="How a circuit compares with as many heads drawn at random.",
            pitfall="A high percentile says better than chance, not good: random sets of heads keep next to nothing.",
            measured_on="the user's prompts",
        ),
    ]
)
