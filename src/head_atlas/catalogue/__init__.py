"""Every score, effect and attribution of Head Atlas: what it is, and how not to misread it. Pure data.

A *score* is read from attention patterns, an *attribution* is a decomposition, an *effect* is causal
(`ablated - clean`); the three words are never synonyms. `docs/measures.md` is generated from this module.
"""

from head_atlas.catalogue.attributions import ATTRIBUTIONS
from head_atlas.catalogue.circuits import CIRCUITS
from head_atlas.catalogue.effects import EFFECTS
from head_atlas.catalogue.live import LIVE
from head_atlas.catalogue.measure import WITHOUT_EFFECTS, Kind, Measure
from head_atlas.catalogue.pattern_scores import SCORES
from head_atlas.catalogue.reference import markdown

__all__ = [
    "ATTRIBUTIONS",
    "CIRCUITS",
    "EFFECTS",
    "LIVE",
    "MEASURES",
    "SCORES",
    "WITHOUT_EFFECTS",
    "Kind",
    "Measure",
    "markdown",
]

MEASURES: dict[str, Measure] = SCORES | EFFECTS | ATTRIBUTIONS | LIVE | CIRCUITS
