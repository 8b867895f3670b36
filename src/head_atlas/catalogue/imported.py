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
            "mean attention to the position after an earlier copy of the token; values under 0.01 are zeroed",
            "How much the head looks at what came after the same token last time, as HeadVis counts it.",
        ),
        _headvis(
            "prev_token_score",
            "previous token (HeadVis)",
            "attention probability",
            (0.0, 1.0),
            "mean attention to the token before",
            "How much the head looks at the token just before, as HeadVis counts it.",
        ),
        _headvis(
            "self_attention_score",
            "current token (HeadVis)",
            "attention probability",
            (0.0, 1.0),
            "mean attention of a token to itself",
            "How much the head looks at the token it stands on, as HeadVis counts it.",
        ),
        _headvis(
            "pattern_entropy",
            "pattern entropy (HeadVis)",
            "nats or bits, as the tree says",
            (0.0, None),
            "mean entropy of a row of the pattern, not divided by the largest possible one",
            "How widely the head spreads its attention, as HeadVis counts it.",
        ),
        _headvis(
            "qk_distance",
            "distance (HeadVis)",
            "tokens",
            (0.0, None),
            "|q - k| weighted by attention",
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
    ]
)
