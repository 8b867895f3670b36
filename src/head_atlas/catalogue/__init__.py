"""Every score, effect and attribution of Head Atlas: what it is, and how not to misread it. Pure data.

A *score* is read from patterns, activations or weights, an *attribution* is a decomposition, an *effect* is causal
(`ablated - clean`); the three words are never synonyms. `docs/measures.md` is generated from this module.
"""

from head_atlas.catalogue.attributions import ATTRIBUTIONS
from head_atlas.catalogue.circuits import CIRCUITS
from head_atlas.catalogue.effects import ABLATION_MODES, EFFECTS, mode_label
from head_atlas.catalogue.exemplars import EXEMPLARS
from head_atlas.catalogue.imported import IMPORTED
from head_atlas.catalogue.live import LIVE_EFFECTS
from head_atlas.catalogue.measure import WITHOUT_EFFECTS, Kind, Measure
from head_atlas.catalogue.model_measures import MODEL_MEASURES
from head_atlas.catalogue.named_parts import NAMED_PARTS
from head_atlas.catalogue.pattern_scores import SCORES
from head_atlas.catalogue.reference import GROUPS, markdown
from head_atlas.catalogue.role_numbers import ROLE_NUMBERS
from head_atlas.catalogue.syntactic_scores import NULLS, SYNTACTIC
from head_atlas.catalogue.weight_scores import WEIGHT_SCORES

__all__ = [
    "ABLATION_MODES",
    "ATTRIBUTIONS",
    "CIRCUITS",
    "EFFECTS",
    "EXEMPLARS",
    "GROUPS",
    "IMPORTED",
    "LIVE_EFFECTS",
    "MEASURES",
    "MODEL_MEASURES",
    "NAMED_PARTS",
    "NULLS",
    "ROLE_NUMBERS",
    "SCORES",
    "SYNTACTIC",
    "WEIGHT_SCORES",
    "WITHOUT_EFFECTS",
    "Kind",
    "Measure",
    "markdown",
    "mode_label",
]

MEASURES: dict[str, Measure] = {name: measure for _, group in GROUPS for name, measure in group.items()}
