"""Scores that other tools measured, in atlases imported from them: their definitions, not ours."""

from __future__ import annotations

from head_atlas.catalogue.measure import Measure, by_name

_HEADVIS = "Luger et al. 2026, HeadVis: as published with its trees; the formula is that tool's"
_PITFALL = (
    "Measured by another tool on its own text, without an interval and without a null: it cannot be compared with a "
    "score of Head Atlas of a similar name."
)


def _headvis(
    name: str, label: str, unit: str, bounds: tuple[float | None, float | None], formula: str, sentence: str
) -> Measure:
    return Measure(
        name=f"headvis_{name}",
        label=label,
        kind="score",
        axes=("layer", "head"),
        unit=unit,
        low=bounds[0],
        high=bounds[1],
        signed=False,
        formula=formula,
        source=_HEADVIS,
        sentence=sentence,
        pitfall=_PITFALL,
        measured_on="the running text that the imported tree was made from",
    )


IMPORTED: dict[str, Measure] = by_name(
    [
        _headvis(
            "induction_score",
            "induction (HeadVis)",
            "attention probability",
            (0.0, 1.0),
            "attention to the positions after all earlier copies of the token, summed; its mean over tokens that "
            "have one; weights under 0.01 count as 0",
            "How much the head looks at what came after the same token last time, as HeadVis counts it.",
        ),
        _headvis(
            "prev_token_score",
            "previous token (HeadVis)",
            "attention probability",
            (0.0, 1.0),
            "mean attention to the token before, over all tokens but the first",
            "How much the head looks at the token just before, as HeadVis counts it.",
        ),
        _headvis(
            "self_attention_score",
            "current token (HeadVis)",
            "attention probability",
            (0.0, 1.0),
            "mean attention of a token to itself, over all tokens: the first, which has no choice, counts as 1",
            "How much the head looks at the token it stands on, as HeadVis counts it.",
        ),
        _headvis(
            "pattern_entropy",
            "pattern entropy (HeadVis)",
            "nats",
            (0.0, None),
            "mean entropy of a row of the pattern, not divided by the largest possible one: longer texts give more",
            "How widely the head spreads its attention, as HeadVis counts it.",
        ),
        _headvis(
            "qk_distance",
            "distance (HeadVis)",
            "tokens",
            (0.0, None),
            "|q - k| weighted by attention, mean over all tokens; attention to the first token counts",
            "How far back the head looks on average, as HeadVis counts it.",
        ),
        _headvis(
            "qk_distance_variance",
            "variance of distance (HeadVis)",
            "tokens squared",
            (0.0, None),
            "variance of |q - k| weighted by attention",
            "How much the distance at which the head looks varies, as HeadVis counts it.",
        ),
        _headvis(
            "logit_std",
            "spread of attention logits (HeadVis)",
            "logits",
            (0.0, None),
            "standard deviation of the scores before the softmax, per query",
            "How far apart the head's scores before the softmax lie, as HeadVis counts it.",
        ),
        _headvis(
            "top_logit_margin",
            "margin of the top logit (HeadVis)",
            "logits",
            (0.0, None),
            "largest minus second largest score before the softmax, per query",
            "By how much the head's first choice beats its second, as HeadVis counts it.",
        ),
        _headvis(
            "logit_z_score",
            "z of the top logit (HeadVis)",
            "standard deviations",
            (0.0, None),
            "(largest score before the softmax - their mean) / their standard deviation, per query",
            "How far the head's first choice stands out, as HeadVis counts it.",
        ),
        _headvis(
            "query_token_entropy",
            "entropy of query tokens (HeadVis)",
            "nats or bits, as its writer chose",
            (0.0, None),
            "entropy over the tokens that the head looks from hard",
            "How many different tokens the head looks hard from, as HeadVis counts it.",
        ),
        _headvis(
            "key_token_entropy",
            "entropy of key tokens (HeadVis)",
            "nats or bits, as its writer chose",
            (0.0, None),
            "entropy over the tokens that the head looks at hard",
            "How many different tokens the head looks hard at, as HeadVis counts it.",
        ),
    ]
)
