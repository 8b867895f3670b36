"""Scores read from attention between named parts of a prompt: the roles of Wang et al. 2022 are defined by them."""

from __future__ import annotations

from head_atlas.catalogue.measure import Measure, by_name

PARTS: dict[str, tuple[str, str]] = {"end_to_io": ("END", "IO"), "end_to_s2": ("END", "S2")}
"""By score, the part that looks and the part that is looked at."""

_WANG = "Wang et al. 2022, Interpretability in the Wild"


def _part(name: str, label: str, looked_at: str, sentence: str, pitfall: str) -> Measure:
    return Measure(
        name=name,
        label=label,
        kind="score",
        axes=("layer", "head", "prompt"),
        unit="attention probability",
        low=0.0,
        high=1.0,
        signed=False,
        formula=f"sum over the tokens j of {looked_at} of pattern[END, j], END the last token",
        source=_WANG,
        sentence=sentence,
        pitfall=pitfall,
        families=("ioi",),
        has_excess=True,
    )


NAMED_PARTS: dict[str, Measure] = by_name(
    [
        _part(
            "end_to_io",
            "end to the indirect object",
            "IO",
            "How much the head looks from the end of the prompt at the name that answers.",
            "Name movers and the heads that suppress copies look alike here: see what they write.",
        ),
        _part(
            "end_to_s2",
            "end to the repeated name",
            "S2",
            "How much the head looks from the end of the prompt at the second mention of the subject.",
            "A head that looks at any recent name scores too.",
        ),
    ]
)
