"""Units of stored arrays, from the catalogue: what other programs show beside the numbers."""

from __future__ import annotations

from head_atlas.catalogue import MEASURES
from head_atlas.store.schema import LAYOUTS

_PLAIN = ("_n", "_p", "_q", "_excess", "_excess_ci_low", "_excess_ci_high", "_split_half")
_PERCENT = ("_percentile_model", "_percentile_layer")


def unit_of(place: str) -> str:
    """The unit of an array; "" where the catalogue has none, "1" for plain numbers.

    Args:
        place: in the file: "scores/induction", "summary/kl_ci_low".
    """
    group, _, name = place.rpartition("/")
    if group.split("/")[0] not in LAYOUTS:
        return ""
    if group != "summary":
        measure = MEASURES.get(name)
        return measure.unit if measure else ""
    if name.endswith(_PLAIN):
        return "1"
    if name.endswith(_PERCENT):
        return "percent"
    owners = [owner for owner in MEASURES if name == owner or name.startswith((f"{owner}_", f"clean_{owner}_"))]
    return MEASURES[max(owners, key=len)].unit if owners else ""
