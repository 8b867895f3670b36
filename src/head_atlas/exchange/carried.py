"""What of an atlas can be carried over to one of other families, and what has to be worked out anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from head_atlas.catalogue import NAMED_PARTS, SCORES
from head_atlas.errors import HeadAtlasError
from head_atlas.measures.summaries import summarise
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt
from head_atlas.seeds import checked_seed

MACRO = "_macro"
_ONE_FAMILY = {"sink_by_start": "sink_probe", "induction_copy": "rand_repeat"}
_BY_PREFIX = _ONE_FAMILY | {
    score.summary_prefix(family): family for score in (SCORES | NAMED_PARTS).values() for family in score.families
}
_IDS = ("_id", "_tokens")
TOP_PROMPTS = "neurons/top_prompts"
"""Numbers of prompts, like `prompt_index` of exemplars."""


def longest_prefix(name: str, prefixes: Iterable[str]) -> str:
    """Which of the prefixes a summary's name starts with: "diffuse_sink_free" and not "diffuse"; "" for none."""
    found = [prefix for prefix in prefixes if name == prefix or name.startswith(f"{prefix}_")]
    return max(found, key=len, default="")


def family_of(name: str) -> str:
    """The family whose prompts a summary without a family axis is of; "" if of none or of several."""
    return _BY_PREFIX.get(longest_prefix(name, _BY_PREFIX), "")


def seed_of(provenance: Mapping[str, Any]) -> int:
    """The seed of a build, of a file that may be anyone's; 0 where it says none that could be one."""
    try:
        return checked_seed(provenance.get("seed"))
    except HeadAtlasError:
        return 0


def macro_summaries(
    prompts: Sequence[Prompt],
    families: Sequence[str],
    modes: Sequence[str],
    arrays: Mapping[str, NamedArray],
    seed: int,
) -> dict[str, NamedArray]:
    """Means over families, which change with the families, by place."""
    own = {place: array for place, array in arrays.items() if place.split("/")[0] in ("effects", "clean")}
    if not any(place.startswith("effects/") for place in own):
        return {}
    found = summarise(prompts, families, modes, own, seed=seed)
    return {f"summary/{name}": array for name, array in found.items() if MACRO in name}


def renumbered(array: NamedArray, places: np.ndarray) -> NamedArray | None:
    """Numbers of prompts as they are among others; None if one of the prompts is not among them.

    Args:
        array: indices on the old `prompt` axis; negative for none.
        places: [prompt] the new index of each, -1 for none.
    """
    old = array.values
    if old.size and int(old.max()) >= len(places):
        return None
    new = np.where(old < 0, old, places[np.maximum(old, 0)]) if len(places) else old
    if (new[old >= 0] < 0).any():
        return None
    return NamedArray(new.astype(old.dtype), array.dims, array.coords)


def is_of_ids(place: str) -> bool:
    """Whether an array holds token ids, by its name."""
    return place.endswith(_IDS)


def used_tokens(prompts: Sequence[Prompt], arrays: Mapping[str, NamedArray], further: np.ndarray | None) -> set[int]:
    """Every token id that needs its string.

    Args:
        prompts: the prompts of an atlas.
        arrays: its arrays; those of ids are told by their names.
        further: ids, or None.
    """
    used = {t for p in prompts for t in (*p.tokens, *p.targets, *p.contrasts, *p.corrupted)}
    ids = [array.values for place, array in arrays.items() if is_of_ids(place) and array.values.dtype.kind in "iu"]
    for values in [*ids, *([] if further is None else [further])]:
        used |= {int(i) for i in np.unique(values) if i >= 0}
    return used
