"""A part of an atlas, as an atlas: some families, some measures, some heads.

Numbers by prompt or by family are cut, and means over families worked out anew. Numbers that are neither (weights,
roles, nulls, offsets, ...) stay what they were on all prompts of the whole atlas, and so do ranks among heads.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from head_atlas.errors import AtlasError
from head_atlas.exchange.carried import (
    MACRO,
    TOP_PROMPTS,
    family_of,
    is_of_ids,
    longest_prefix,
    macro_summaries,
    renumbered,
    seed_of,
    used_tokens,
)
from head_atlas.exchange.strange_arrays import arrays_of
from head_atlas.heads import HeadId
from head_atlas.named_array import NamedArray
from head_atlas.prompts.fingerprint import prompts_sha256
from head_atlas.store.contents import AtlasContents

_NOT_ALL = "chosen among prompts that were not all extracted"
_ALWAYS = ("clean", "offsets")
_Arrays = dict[str, NamedArray]


def extract(
    contents: AtlasContents,
    *,
    families: Sequence[str] | None = None,
    measures: Sequence[str] | None = None,
    heads: Collection[HeadId] | None = None,
) -> AtlasContents:
    """Cut an atlas down.

    Args:
        contents: from `store.contents_of`.
        families: to keep; None for all.
        measures: to keep: names of scores and effects, places ("weights/ov_copy") or whole groups ("roles"); None
            for all.
        heads: to keep; the numbers of the others become NaN (counts 0, ids -1), so that labels stay. None for all.

    Raises:
        AtlasError: an unknown family or measure, or an array that is not what it is called.
        HeadError: the model has no such head.
    """
    found = contents
    with arrays_of("the atlas"):
        if measures is not None:
            found = replace(found, arrays=_of_measures(found.arrays, measures))
        if families is not None:
            found = _of_families(found, families)
        if heads is not None:
            found = _of_heads(found, heads)
    resampled = found.resample_prompts.tokens if found.resample_prompts else None
    used = used_tokens(found.prompts, found.arrays, resampled)
    strings = {i: text for i, text in found.token_strings.items() if i in used}
    asked: dict[str, Collection[str] | None] = {
        "families": families,
        "measures": measures,
        "heads": None if heads is None else [str(head) for head in heads],
    }
    cut = {"config_sha256": contents.provenance.get("config_sha256", ""), "corpus_sha256": _corpus_of(contents)}
    cut |= {name: list(kept) for name, kept in asked.items() if kept is not None}
    before = contents.provenance.get("extracted", [])
    provenance = dict(found.provenance) | {"extracted": [*(before if isinstance(before, list) else [before]), cut]}
    return replace(found, token_strings=strings, provenance=provenance)


def _corpus_of(contents: AtlasContents) -> str:
    return str(contents.provenance.get("corpus_sha256", ""))


def _of_measures(arrays: Mapping[str, NamedArray], measures: Sequence[str]) -> _Arrays:
    names = {place.rpartition("/")[2] for place in arrays if place.split("/")[0] in ("scores", "effects")}
    # of a summary, the measure that it is of, or the group that it sums up: "clean", "direct_logit"
    owners = names | {place.split("/")[0] for place in arrays} | {"induction_copy"}
    known = owners | set(arrays)
    unknown = [name for name in measures if name not in known]
    if unknown:
        raise AtlasError(f"no measure {unknown[0]!r} in this atlas; there are {', '.join(sorted(owners))}")
    wanted = {*measures, *_ALWAYS}
    if {"direct_logit", "direct_logit/induction_copy"} & wanted:
        wanted.add("induction_copy")

    def kept(place: str) -> bool:
        group, name = place.split("/")[0], place.rpartition("/")[2]
        if group == "summary" and "summary" not in wanted:
            return longest_prefix(name, owners) in wanted
        measured = group in ("scores", "baselines", "effects") and name in wanted
        return measured or place in wanted or group in wanted

    return {place: array for place, array in arrays.items() if kept(place)}


def _of_families(contents: AtlasContents, families: Sequence[str]) -> AtlasContents:
    unknown = [family for family in families if family not in contents.families]
    if unknown:
        raise AtlasError(f"no family {unknown[0]!r} in this atlas; there are {', '.join(contents.families)}")
    kept_families = [family for family in contents.families if family in families]
    index = [i for i, prompt in enumerate(contents.prompts) if prompt.family in kept_families]
    prompts = [contents.prompts[i] for i in index]
    places = np.full(len(contents.prompts), -1)
    places[index] = np.arange(len(index))
    left_out = dict(contents.left_out) | {
        family: "not extracted from the whole atlas" for family in contents.families if family not in kept_families
    }
    arrays: _Arrays = {}
    for place, array in contents.arrays.items():
        group, _, name = place.rpartition("/")
        if group == "summary" and ("family" not in array.dims):
            family = family_of(name)
            if MACRO in name or (family and family not in kept_families):
                continue
        arrays[place] = _taken(array, {"prompt": index, "family": _indices(array, kept_families)})
    for place in [place for place in arrays if place.startswith("scores/") and _is_empty(arrays[place])]:
        name = place.removeprefix("scores/")
        left_out[name] = "not measured on the extracted families"
        arrays = {at: array for at, array in arrays.items() if at not in (place, f"baselines/{name}")}
    for inner in sorted({place.rpartition("/")[0] for place in arrays if place.startswith("exemplars/")}):
        problem = _renumber(arrays, contents.arrays, inner, places)
        if problem:
            left_out[inner] = problem
            arrays = {place: array for place, array in arrays.items() if not place.startswith(f"{inner}/")}
    if TOP_PROMPTS in arrays:
        numbered = renumbered(arrays[TOP_PROMPTS], places)
        if numbered is None:
            arrays = {place: array for place, array in arrays.items() if not place.startswith("neurons/top_")}
            left_out["neurons/top_prompts"] = _NOT_ALL
        else:
            arrays[TOP_PROMPTS] = numbered
    macro = macro_summaries(prompts, kept_families, contents.modes, arrays, seed_of(contents.provenance))
    arrays |= {place: array for place, array in macro.items() if place in contents.arrays}
    provenance = dict(contents.provenance) | {"corpus_sha256": prompts_sha256(prompts)}
    return replace(
        contents,
        families=kept_families,
        prompts=prompts,
        arrays=arrays,
        left_out=left_out,
        notes={name: text for name, text in contents.notes.items() if name not in left_out},
        provenance=provenance,
    )


def _is_empty(array: NamedArray) -> bool:
    return bool(np.isnan(array.values).all())


def _indices(array: NamedArray, families: Sequence[str]) -> list[int]:
    return [i for i, family in enumerate(array.coords.get("family", ())) if family in families]


def _taken(array: NamedArray, index: Mapping[str, Sequence[int]]) -> NamedArray:
    """The array at these places of these axes, as far as it has them."""
    values, coords = array.values, dict(array.coords)
    for axis, dim in enumerate(array.dims):
        if dim in index:
            values = np.take(values, index[dim], axis=axis)
            if dim in coords:
                coords[dim] = [coords[dim][i] for i in index[dim]]
    return NamedArray(values, array.dims, coords)


def _renumber(arrays: _Arrays, whole: Mapping[str, NamedArray], group: str, places: np.ndarray) -> str:
    """Give exemplars the new numbers of their prompts; why they cannot be kept, or ""."""
    largest, prompt_index = whole.get(f"{group}/largest"), whole.get(f"{group}/prompt_index")
    if prompt_index is None:
        return ""
    among = np.unique(prompt_index.values)
    if largest is not None:
        among = np.flatnonzero(~np.isnan(largest.values).all((0, 1)))
    if (places[among] < 0).any():
        return _NOT_ALL
    numbered = renumbered(prompt_index, places)
    if numbered is None:
        return _NOT_ALL
    arrays[f"{group}/prompt_index"] = numbered
    return ""


def _of_heads(contents: AtlasContents, heads: Collection[HeadId]) -> AtlasContents:
    kept = np.zeros((contents.n_layers, contents.n_heads), dtype=bool)
    for head in heads:
        head.within(contents.n_layers, contents.n_heads)
        kept[head.layer, head.head] = True
    arrays = {place: _masked(place, array, kept) for place, array in contents.arrays.items()}
    for group in {place.rpartition("/")[0] for place in arrays if place.startswith("exemplars/")}:
        arrays |= _exemplars_of(arrays, group, kept.ravel())
    names = ", ".join(str(head) for head in sorted(heads))
    left_out = dict(contents.left_out) | {"heads": f"all but {names}: not extracted from the whole atlas"}
    return replace(contents, arrays=arrays, left_out=left_out)


def _masked(place: str, array: NamedArray, kept: np.ndarray) -> NamedArray:
    if not {"layer", "head"} <= set(array.dims):
        return array
    axes = [array.dims.index("layer"), array.dims.index("head")]
    shape = [n if axis in axes else 1 for axis, n in enumerate(array.shape)]
    mask = (kept if axes[0] < axes[1] else kept.T).reshape(shape)
    kind = array.values.dtype.kind
    missing = np.nan if kind == "f" else "" if kind in "OU" else -1 if is_of_ids(place) else 0
    return NamedArray(np.where(mask, array.values, np.array(missing, array.values.dtype)), array.dims, array.coords)


def _exemplars_of(arrays: _Arrays, group: str, kept: np.ndarray) -> _Arrays:
    """The ragged arrays of exemplars without those of other heads."""
    offsets = {name: arrays.get(f"{group}/{name}") for name in ("head_offset", "row_offset", "entry_offset")}
    if any(found is None for found in offsets.values()):
        return {}
    edges = {name: np.asarray(found).astype(np.int64) for name, found in offsets.items()}
    chosen = np.repeat(kept, np.diff(edges["head_offset"]))
    counts = np.diff(edges["head_offset"]) * kept
    masks = {"exemplar": chosen}
    found = {f"{group}/head_offset": NamedArray(_edges(counts), ("head_edge",))}
    for name, dim in (("row", "exemplar_row"), ("entry", "exemplar_entry")):
        sizes = np.diff(edges[f"{name}_offset"])
        masks[dim] = np.repeat(chosen, sizes)
        found[f"{group}/{name}_offset"] = NamedArray(_edges(sizes[chosen]), ("exemplar_edge",))
    for place, array in arrays.items():
        if place.rpartition("/")[0] == group and len(array.dims) == 1 and array.dims[0] in masks:
            found[place] = NamedArray(array.values[masks[array.dims[0]]], array.dims)
    return found


def _edges(sizes: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
