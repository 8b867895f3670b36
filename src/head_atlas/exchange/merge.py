"""Several atlases of one model as one: other families, other modes, other measures.

Numbers are copied, never averaged: where two atlases hold the same number it has to be the same. Means over
families are worked out anew. What was judged from all prompts of one atlas, or from its modes and measures (roles,
exemplars, and what else differs between them), is left out, with the reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from head_atlas.errors import AtlasError
from head_atlas.exchange.carried import MACRO, TOP_PROMPTS, is_of_ids, macro_summaries, renumbered, seed_of
from head_atlas.named_array import NamedArray
from head_atlas.prompts.fingerprint import canonical_json, prompts_sha256
from head_atlas.prompts.prompt import Prompt
from head_atlas.store.contents import AtlasContents, ResamplePrompts

SAME = ("model_fingerprint", "tokenizer_sha256", "bos_policy", "dtype", "seed", "code_sha256", "reference_sha256")
"""What two atlases have to have in common."""

_JUDGED = ("roles/", "nulls/", "scores/positional", "summary/positional")
"""Depends on all prompts of an atlas at once."""
_NOT_MERGED = "judged from all prompts of one atlas: build one of all families to have it"
_OTHER_PROMPTS = "chosen among other prompts in each of the merged atlases"
_OTHER_EVIDENCE = "judged by other modes or measures in each of the merged atlases: build one of all of them to have it"
_OTHER_DRAWS = "each of the merged atlases has others: resample ablation cannot be repeated with one set of prompts"
_OF_ALL_PROMPTS = ("neurons/", "model/", "syntax/", "offsets")
"""Groups with numbers that are of all prompts of an atlas, though of no single one."""
_TOPS = ("neurons/top_prompts", "neurons/top_positions", "neurons/top_activations")
_OF_ALL = ("layer", "head", "prompt", "mode", "family")


def merge(parts: Sequence[AtlasContents]) -> AtlasContents:
    """Put atlases together; families and modes in the order in which they are met.

    Raises:
        AtlasError: fewer than two, another model or configuration, other prompts of the same family, or two
            numbers for one thing.
    """
    if len(parts) < 2:
        raise AtlasError(f"merging needs at least two atlases, found {len(parts)}")
    first = parts[0]
    for number, other in enumerate(parts[1:], start=2):
        _check_same(first, other, number)
    families = list(dict.fromkeys(family for part in parts for family in part.families))
    modes = list(dict.fromkeys(mode for part in parts for mode in part.modes))
    prompts = [prompt for family in families for prompt in _prompts_of(family, parts)]
    start = {family: next(i for i, p in enumerate(prompts) if p.family == family) for family in families}
    one_corpus = all(list(part.prompts) == prompts for part in parts)
    left_out = {name: why for part in parts for name, why in part.left_out.items()}

    differing = set() if one_corpus else _differing(parts)
    apart = _judged_apart(parts) if one_corpus else dict.fromkeys(_clashing_exemplars(parts), _OTHER_PROMPTS)
    merged: dict[str, NamedArray] = {}
    sizes: dict[str, Sequence[Any]] = {"prompt": prompts, "mode": modes, "family": families}
    for part in parts:
        places = {
            "prompt": _prompt_places(part.prompts, start),
            "mode": [modes.index(mode) for mode in part.modes],
            "family": [families.index(family) for family in part.families],
        }
        for place, array in part.arrays.items():
            if not one_corpus and place.startswith(_JUDGED):
                left_out[place.rpartition("/")[2] if place.startswith("scores/") else place.split("/")[0]] = _NOT_MERGED
            elif place in differing:
                left_out[place] = _NOT_MERGED
            elif (group := place.rpartition("/")[0]) in apart:
                left_out[group] = apart[group]
            elif not (MACRO in place and place.startswith("summary/")):
                _put(merged, place, _renumbered(place, array, places["prompt"]), places, sizes)
    macro = macro_summaries(prompts, families, modes, merged, seed_of(first.provenance))
    merged |= {place: array for place, array in macro.items() if any(place in part.arrays for part in parts)}
    here = {*families, *(place.rpartition("/")[2] for place in merged)}
    left_out = {name: why for name, why in left_out.items() if name not in here}
    draws = [part.resample_prompts for part in parts if part.resample_prompts is not None]
    if not _equal_draws(draws):
        draws, left_out["references/resample_token"] = [], _OTHER_DRAWS
    return replace(
        first,
        families=families,
        modes=modes,
        prompts=prompts,
        token_strings=_united(parts, lambda part: part.token_strings, "token"),
        arrays=merged,
        mean_z=next((part.mean_z for part in parts if part.mean_z is not None), None),
        resample_prompts=draws[0] if draws else None,
        provenance=_provenance(parts, prompts, modes),
        left_out=left_out,
        notes={name: text for name, text in _notes(parts).items() if name not in left_out},
        shards=_shards(parts),
    )


def _notes(parts: Sequence[AtlasContents]) -> dict[str, str]:
    """What all of them note, by name; where they say different things of one, all of these."""
    found: dict[str, list[str]] = {}
    for name, text in (item for part in parts for item in part.notes.items()):
        if text not in found.setdefault(name, []):
            found[name].append(text)
    return {name: "; ".join(texts) for name, texts in found.items()}


def _check_same(first: AtlasContents, other: AtlasContents, number: int) -> None:
    shapes = [(part.n_layers, part.n_heads) for part in (first, other)]
    if shapes[0] != shapes[1]:
        raise AtlasError(f"atlas {number} has {shapes[1]} layers and heads, the first {shapes[0]}")
    for key in SAME:
        one, two = first.provenance.get(key, ""), other.provenance.get(key, "")
        if one != two:
            raise AtlasError(f"atlas {number} has another {key} than the first: {two!r}, not {one!r}")


def _prompts_of(family: str, parts: Sequence[AtlasContents]) -> list[Prompt]:
    found: list[list[Prompt]] = []
    for number, part in enumerate(parts, start=1):
        if family in part.families:
            found.append([prompt for prompt in part.prompts if prompt.family == family])
            if found[-1] != found[0]:
                raise AtlasError(f"atlas {number} has other prompts of the family {family!r}")
    return found[0]


def _clashing_exemplars(parts: Sequence[AtlasContents]) -> set[str]:
    """Sets of exemplars that more than one atlas has: each has chosen among its own prompts."""
    sets = [{place.rpartition("/")[0] for place in part.arrays if place.startswith("exemplars/")} for part in parts]
    return {name for found in sets for name in found if sum(name in other for other in sets) > 1}


def _judged_apart(parts: Sequence[AtlasContents]) -> dict[str, str]:
    """Of atlases of the same prompts, the groups that were judged by other evidence in each, and that."""
    found = set()
    for place in {place for part in parts for place in part.arrays if place.startswith(("roles/", "exemplars/"))}:
        first, *others = (part.arrays[place] for part in parts if place in part.arrays)
        # of the ragged arrays of exemplars no number stands alone: they are the same, or others
        same = _are_equal if place.startswith("exemplars/") else partial(_agree, place)
        if not all(same(first, other) for other in others):
            found.add(place.rpartition("/")[0])
    return dict.fromkeys(found, _OTHER_EVIDENCE)


def _are_equal(one: NamedArray, other: NamedArray) -> bool:
    kind = one.values.dtype.kind
    return one.dims == other.dims and np.array_equal(one.values, other.values, equal_nan=kind == "f")


def _agree(place: str, one: NamedArray, other: NamedArray) -> bool:
    """Whether two arrays are of the same things, and have the same number wherever both have one."""
    if one.dims != other.dims or one.shape != other.shape or _labels(one) != _labels(other):
        return False
    both = ~(is_missing(place, one.values) | is_missing(place, other.values))
    return bool((one.values[both] == other.values[both]).all())


def _labels(array: NamedArray) -> dict[str, list[Any]]:
    return {dim: list(of) for dim, of in array.coords.items()}


def _equal_draws(draws: Sequence[ResamplePrompts]) -> bool:
    return all(np.array_equal(one.tokens, draws[0].tokens) and one[1:] == draws[0][1:] for one in draws)


def _prompt_places(prompts: Sequence[Prompt], start: Mapping[str, int]) -> list[int]:
    """Where each prompt of one atlas is among all."""
    seen: dict[str, int] = {}
    places = []
    for prompt in prompts:
        n = seen.get(prompt.family, 0)
        places.append(start[prompt.family] + n)
        seen[prompt.family] = n + 1
    return places


def _renumbered(place: str, array: NamedArray, places: Sequence[int]) -> NamedArray:
    """Numbers of prompts as they are in the merged atlas; other arrays as they are."""
    if place != TOP_PROMPTS and not (place.startswith("exemplars/") and place.endswith("/prompt_index")):
        return array
    found = renumbered(array, np.array(places))
    if found is None:
        raise AtlasError(f"/{place}: numbers of prompts that are not there")
    return found


def _differing(parts: Sequence[AtlasContents]) -> set[str]:
    """What is of all prompts of an atlas at once, and not the same in all that have it."""
    found = set()
    for place in {place for part in parts for place in part.arrays if place.startswith(_OF_ALL_PROMPTS)}:
        arrays = [part.arrays[place] for part in parts if place in part.arrays]
        if {"prompt", "family"} & set(arrays[0].dims):
            continue
        same = all(_are_equal(arrays[0], array) for array in arrays)
        if not same or (place == TOP_PROMPTS and len(arrays) > 1):
            found.add(place)
    return found | {place for place in _TOPS if TOP_PROMPTS in found}


def _put(
    merged: dict[str, NamedArray],
    place: str,
    array: NamedArray,
    places: Mapping[str, list[int]],
    sizes: Mapping[str, Sequence[Any]],
) -> None:
    """Put the numbers of one atlas in their place among those of the others."""
    shape = tuple(len(sizes[dim]) if dim in sizes else n for dim, n in zip(array.dims, array.shape, strict=True))
    where = np.ix_(*(places[dim] if dim in sizes else range(n) for dim, n in zip(array.dims, array.shape, strict=True)))
    if place not in merged:
        coords = {dim: list(sizes[dim]) if dim in ("mode", "family") else of for dim, of in array.coords.items()}
        empty = np.full(shape, missing(place, array.values.dtype), dtype=array.values.dtype)
        merged[place] = NamedArray(empty, array.dims, coords)
        merged[place].values[where] = array.values
        return
    before = merged[place]
    labels = {dim: list(of) for dim, of in array.coords.items() if dim not in _OF_ALL}
    if (
        before.dims != array.dims
        or before.shape != shape
        or labels != {dim: list(before.coords[dim]) for dim in labels}
    ):
        raise AtlasError(f"/{place}: the atlases have it with other axes")
    old, found = np.asarray(before.values[where]), np.asarray(array.values)
    there, new = ~is_missing(place, old), ~is_missing(place, found)
    if (old[there & new] != found[there & new]).any():
        raise AtlasError(f"/{place}: the atlases have different numbers for the same thing")
    before.values[where] = np.where(there, old, found)


def missing(place: str, dtype: np.dtype) -> Any:
    """What stands for a number that is not there: NaN, no id, no text, none counted."""
    return np.nan if dtype.kind == "f" else "" if dtype.kind in "OU" else -1 if is_of_ids(place) else 0


def is_missing(place: str, values: np.ndarray) -> np.ndarray:
    """Where an array holds nothing."""
    nothing = missing(place, values.dtype)
    return np.isnan(values) if values.dtype.kind == "f" else values == nothing


def _united(parts: Sequence[AtlasContents], of: Callable[[AtlasContents], Mapping[Any, Any]], what: str) -> dict:
    found: dict[Any, Any] = {}
    for part in parts:
        for key, value in of(part).items():
            if found.setdefault(key, value) != value:
                raise AtlasError(f"the atlases differ in {what} {key!r}")
    return found


def _shards(parts: Sequence[AtlasContents]) -> dict[str, str]:
    """Units by name; those of equal names and other contents keep apart by their configuration."""
    found: dict[str, str] = {}
    for part in parts:
        for unit, sha256 in part.shards.items():
            config = str(part.provenance.get("config_sha256", ""))[:16]
            found[unit if found.get(unit, sha256) == sha256 else f"{unit}@{config}"] = sha256
    return found


def _provenance(parts: Sequence[AtlasContents], prompts: Sequence[Prompt], modes: Sequence[str]) -> dict[str, Any]:
    """What all have in common; what differs, by atlas, under "merged"."""
    keys = dict.fromkeys(key for part in parts for key in part.provenance)
    common = {
        key: parts[0].provenance[key]
        for key in keys
        if all(key in part.provenance and part.provenance[key] == parts[0].provenance[key] for part in parts)
    }
    merged = [{key: value for key, value in part.provenance.items() if key not in common} for part in parts]
    configs = sorted(str(part.provenance.get("config_sha256", "")) for part in parts)
    return common | {
        "merged": merged,
        "modes": list(modes),
        "config_sha256": hashlib.sha256(canonical_json(configs).encode()).hexdigest(),
        "corpus_sha256": prompts_sha256(prompts),
    }
