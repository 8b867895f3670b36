"""The catalogue in words: docs/measures.md."""

from __future__ import annotations

from collections.abc import Mapping

from head_atlas.catalogue.attributions import ATTRIBUTIONS
from head_atlas.catalogue.circuits import CIRCUITS
from head_atlas.catalogue.effects import ABLATION, ABLATION_MODES, EFFECTS
from head_atlas.catalogue.exemplars import EXEMPLARS
from head_atlas.catalogue.families import family_section
from head_atlas.catalogue.imported import IMPORTED
from head_atlas.catalogue.live import LIVE_EFFECTS
from head_atlas.catalogue.measure import Measure
from head_atlas.catalogue.model_measures import MODEL_MEASURES
from head_atlas.catalogue.named_parts import NAMED_PARTS
from head_atlas.catalogue.pattern_scores import SCORES
from head_atlas.catalogue.role_numbers import POSITIONAL_OFFSETS, ROLE_NUMBERS
from head_atlas.catalogue.role_reference import published_section, role_sections
from head_atlas.catalogue.syntactic_scores import NULLS, SYNTACTIC
from head_atlas.catalogue.weight_scores import WEIGHT_SCORES

GROUPS: tuple[tuple[str, Mapping[str, Measure]], ...] = (
    ("Scores", SCORES),
    ("Offsets", POSITIONAL_OFFSETS),
    ("Scores between named parts", NAMED_PARTS),
    ("Syntactic scores", SYNTACTIC),
    ("Nulls of scores", NULLS),
    ("Exemplars", EXEMPLARS),
    ("Scores of weights", WEIGHT_SCORES),
    ("Measures of the model", MODEL_MEASURES),
    ("Imported scores", IMPORTED),
    ("Effects", EFFECTS),
    ("Effects for roles", ROLE_NUMBERS),
    ("Effects in the lab", LIVE_EFFECTS),
    ("Circuits", CIRCUITS),
    ("Attributions", ATTRIBUTIONS),
)
"""Every measure, by the sections of the docs."""


def markdown() -> str:
    """The reference of every measure, as Markdown: the content of docs/measures.md."""
    parts = [
        "# Measures",
        "Generated from `head_atlas.catalogue`; do not edit by hand "
        "(`python -m head_atlas.catalogue > docs/measures.md` writes it).",
        "A *score* is read from attention patterns, activations or weights, an *attribution* is a decomposition, "
        "an *effect* is causal: "
        "`ablated - clean`. Means are taken per prompt first, then over prompts. "
        "`pattern[i, j]` is the attention of position i to position j after the softmax, both counted from 0. "
        "`excess = (mass - uniform) / (1 - uniform)`: 0 for a head that attends uniformly to what it can see, "
        "1 for a perfect one. Intervals: 95 %, paired cluster bootstrap (template, then prompt), 2000 resamples.",
        f"{ABLATION} y is the right answer and y' the wrong one it is held against; the value of a prompt is "
        "the mean over its target positions.",
        "\n".join(
            ["| ablation mode | z becomes |", "| --- | --- |"]
            + [f"| `{mode}` | {what} |" for mode, what in ABLATION_MODES.items()]
        ),
    ]
    for title, group in GROUPS:
        parts.append(f"## {title}")
        rows = ["| name | axes | unit | range | measured on |", "| --- | --- | --- | --- | --- |"]
        rows += [
            f"| `{m.name}` | {', '.join(m.axes)} | {m.unit} | {_range(m)} | {_measured_on(m)} |" for m in group.values()
        ]
        parts.append("\n".join(rows))
        for m in group.values():
            excess = "yes" if m.has_excess else "no"
            lines = [f"### {m.name}", m.sentence, f"Formula: `{m.formula}`"]
            if m.kind == "score" and m.measured_on != "weights":
                lines.append(f"Excess over uniform attention: {excess}.")
            parts += [*lines, f"Beware: {m.pitfall}", f"Source: {m.source}."]
    parts += [*family_section(), *role_sections(), *published_section()]
    return "\n\n".join(parts) + "\n"


def _range(measure: Measure) -> str:
    low = "-inf" if measure.low is None else f"{measure.low:g}"
    high = "inf" if measure.high is None else f"{measure.high:g}"
    return f"{low} to {high}" + (", signed" if measure.signed else "")


def _measured_on(measure: Measure) -> str:
    if measure.families:
        return ", ".join(measure.families)
    if measure.name in EXEMPLARS:
        return "any prompts"
    return measure.measured_on or "every family with a target"
