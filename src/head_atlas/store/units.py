"""Units of stored arrays, from the catalogue: what other programs show beside the numbers."""

from __future__ import annotations

from head_atlas.catalogue import MEASURES
from head_atlas.store.schema import LAYOUTS

_PLAIN = ("_n", "_p", "_q", "_excess", "_excess_ci_low", "_excess_ci_high", "_split_half")
_PERCENT = ("_percentile_model", "_percentile_layer")
_PARTS = ("_mean", "_n99", "_observed")
"""Of a null."""
_OF_EVIDENCE = "that of the measure that the evidence is"
_EFFECT = "logprob"
"""What exemplars of harm are chosen by."""
_NAMED: dict[str, dict[str, str]] = {
    "": {"offsets": "offsets"},
    "clean": {"correct": "=share of positions"},
    "direct_logit": dict.fromkeys(
        "heads mlps attention_bias embedding final_norm_bias unembedding_bias residual".split(), "direct_logit"
    ),
    "exemplars": {
        **dict.fromkeys(("largest", "mean_largest", "value", "band_low", "band_high"), "largest_attention"),
        **dict.fromkeys(("distance", "distance_uniform"), "attention_by_distance"),
        **dict.fromkeys(("weight", "row_dropped"), "exemplar_pattern"),
        "effect": _EFFECT,
        **dict.fromkeys(("histogram", "token_count", "row_count"), "=1"),
    },
    "model": {"interference_random": "interference", "participation_n": "=1"},
    "neurons": {
        **dict.fromkeys(("mean", "threshold", "top_activations"), "neuron_mean"),
        "firing": "neuron_firing",
        "families": "neuron_families",
    },
    "roles": {
        **dict.fromkeys("attends matters writes felt held states membership q evidence_met evidence_q".split(), "=1"),
        **dict.fromkeys("evidence_n effective_roles participation family_difference_q".split(), "=1"),
        **dict.fromkeys(("evidence_value", "evidence_low", "evidence_high", "evidence_threshold"), f"={_OF_EVIDENCE}"),
        **dict.fromkeys(("family_difference_low", "family_difference_high"), "family_difference"),
        "relative_effect": "family_difference",
    },
    "syntax": {
        **dict.fromkeys(("hits", "offset_hits"), "syntactic"),
        **dict.fromkeys(("gains", "gain_mean", "gain_ci_low", "gain_ci_high"), "syntactic_gain"),
        **dict.fromkeys(("gain_n", "gain_split_half"), "=1"),
        "best_offset": "=words",
    },
}
"""By group, arrays that have another name than their entry in the catalogue; "=..." for those that have no entry."""


def unit_of(place: str) -> str:
    """The unit of an array: "1" for plain numbers, "" for texts, ids, indices, and means of z.

    Args:
        place: in the file: "scores/induction", "summary/kl_ci_low".
    """
    group, _, name = place.rpartition("/")
    first = group.split("/")[0]
    if group and first not in LAYOUTS:
        return ""
    entry = _NAMED.get(first, {}).get(name, name)
    if entry.startswith("="):
        return entry[1:]
    if first == "nulls":
        return _of_null(name)
    if group != "summary":
        measure = MEASURES.get(entry)
        return measure.unit if measure else ""
    if name.endswith(_PLAIN):
        return "1"
    if name.endswith(_PERCENT):
        return "percent"
    if name.startswith("clean_correct"):
        return "share of positions"
    owners = [owner for owner in MEASURES if f"{name}_".startswith((f"{owner}_", f"clean_{owner}_"))]
    return MEASURES[max(owners, key=len)].unit if owners else ""


def _of_null(name: str) -> str:
    """A null is of an excess, which has no unit, or of a gain, a share or a weight score in their own."""
    if name.endswith("_p"):
        return "1"
    of = next((name.removesuffix(part) for part in _PARTS if name.endswith(part)), "")
    if of.startswith("syntactic_gain"):
        return MEASURES["syntactic_gain"].unit
    measure = MEASURES.get(of)
    if measure is None:
        return ""
    return "1" if measure.has_excess else measure.unit
