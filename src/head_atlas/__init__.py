"""Head Atlas: measure every attention head of a language model, browse the result, test it live.

The public names are loaded when they are first used, so that reading an atlas imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from head_atlas import catalogue as catalogue
    from head_atlas.exchange import difference as difference
    from head_atlas.exchange import match_heads as match_heads
    from head_atlas.heads import HeadId as HeadId
    from head_atlas.live import Attribution as Attribution
    from head_atlas.live import ablate as ablate
    from head_atlas.live import all_heads as all_heads
    from head_atlas.live import attention as attention
    from head_atlas.live import attribute as attribute
    from head_atlas.live import attribution_change as attribution_change
    from head_atlas.live import causal_trace as causal_trace
    from head_atlas.live import circuit_graph as circuit_graph
    from head_atlas.live import direct_and_total as direct_and_total
    from head_atlas.live import direct_logits as direct_logits
    from head_atlas.live import faithfulness as faithfulness
    from head_atlas.live import find_circuit as find_circuit
    from head_atlas.live import generate as generate
    from head_atlas.live import interactions as interactions
    from head_atlas.live import joint_effect as joint_effect
    from head_atlas.live import logit_lens as logit_lens
    from head_atlas.live import patch as patch
    from head_atlas.live import path_patch as path_patch
    from head_atlas.live import stand_ins as stand_ins
    from head_atlas.live import with_evidence as with_evidence
    from head_atlas.measures.effects import sweep as sweep
    from head_atlas.measures.estimates import agreement as agreement
    from head_atlas.measures.estimates import estimate as estimate
    from head_atlas.models import load_model as load_model
    from head_atlas.prompts.corruption import propose_corrupted as propose_corrupted
    from head_atlas.store import open_atlas as open_atlas

_HOMES = {
    "Attribution": "head_atlas.live",
    "HeadId": "head_atlas.heads",
    "ablate": "head_atlas.live",
    "agreement": "head_atlas.measures.estimates",
    "all_heads": "head_atlas.live",
    "attention": "head_atlas.live",
    "attribute": "head_atlas.live",
    "attribution_change": "head_atlas.live",
    "causal_trace": "head_atlas.live",
    "circuit_graph": "head_atlas.live",
    "difference": "head_atlas.exchange",
    "direct_and_total": "head_atlas.live",
    "direct_logits": "head_atlas.live",
    "estimate": "head_atlas.measures.estimates",
    "faithfulness": "head_atlas.live",
    "find_circuit": "head_atlas.live",
    "generate": "head_atlas.live",
    "interactions": "head_atlas.live",
    "joint_effect": "head_atlas.live",
    "load_model": "head_atlas.models",
    "logit_lens": "head_atlas.live",
    "match_heads": "head_atlas.exchange",
    "open_atlas": "head_atlas.store",
    "patch": "head_atlas.live",
    "path_patch": "head_atlas.live",
    "propose_corrupted": "head_atlas.prompts.corruption",
    "stand_ins": "head_atlas.live",
    "sweep": "head_atlas.measures.effects",
    "with_evidence": "head_atlas.live",
}

__all__ = [
    "Attribution",
    "HeadId",
    "ablate",
    "agreement",
    "all_heads",
    "attention",
    "attribute",
    "attribution_change",
    "catalogue",
    "causal_trace",
    "circuit_graph",
    "difference",
    "direct_and_total",
    "direct_logits",
    "estimate",
    "faithfulness",
    "find_circuit",
    "generate",
    "interactions",
    "joint_effect",
    "load_model",
    "logit_lens",
    "match_heads",
    "open_atlas",
    "patch",
    "path_patch",
    "propose_corrupted",
    "stand_ins",
    "sweep",
    "with_evidence",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "catalogue":
        return import_module("head_atlas.catalogue")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'head_atlas' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
