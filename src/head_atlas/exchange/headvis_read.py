"""A data tree of HeadVis (Luger et al. 2026) as the contents of an atlas.

A tree has exemplars and one number per head and metric: no ablation, no intervals, no baselines. What it does not
have is left out by name, and token ids are invented, as a tree has texts only. Trees come from strangers: only
`config.json`, `scatter_data.json` and `heads/L<layer>H<head>.json` are read, inside the folder, and only so much.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from head_atlas.errors import AtlasError
from head_atlas.exchange.headvis_pages import Pages, read_page
from head_atlas.exchange.headvis_write import HEAD_FILES
from head_atlas.exchange.strange_json import Folder, listed, number, storable, text, whole
from head_atlas.heads import HeadId
from head_atlas.named_array import NamedArray
from head_atlas.prompts.fingerprint import prompts_sha256
from head_atlas.store.contents import AtlasContents

FAMILY = "headvis"
_HEADS = ("layer", "head")
_MOST_LAYERS = 1000
_MOST_METRICS = 200
_SPELLINGS = {"previous_token_score": "prev_token_score"}
"""One metric has one name in the description of the tree and another in what is published."""
_NOT_READ = {
    "umap": "projections of queries and keys",
    "custom_sequences": "sequences that readers of the tree added",
    "attributions/qk": "attributions of queries and keys",
    "attributions/ov": "attributions of values",
}
"""By folder, what a tree may hold besides."""
_KEPT_TEXT = 100_000
"""Characters of what a tree says of itself that go into the atlas."""


def read_headvis(folder: str | Path) -> AtlasContents:
    """Read a tree.

    Args:
        folder: with `config.json`.

    Returns:
        Contents to be written by `write_atlas`: one family, "headvis", no ablation modes, exemplars "text", and
        the tree's own metrics in `/summary` as `headvis_<metric>_mean`.

    Raises:
        AtlasError: what is missing, too large or of another kind, by file and field.
    """
    tree = Folder(Path(folder))
    config = tree.object("config.json")
    heads = _heads(config)
    n_layers = _size(config, "n_layers", max((h.layer for h in heads), default=0) + 1)
    n_heads = _size(config, "n_heads", max((h.head for h in heads), default=0) + 1)
    pattern = config.get("head_data_pattern", HEAD_FILES)
    if pattern != HEAD_FILES:
        raise AtlasError(f"config.json: head_data_pattern: expected {HEAD_FILES!r}, found {text(pattern, 60)!r}")
    if any(not (0 <= h.layer < n_layers and 0 <= h.head < n_heads) for h in heads):
        raise AtlasError(f"config.json: heads: one lies outside of {n_layers} layers x {n_heads} heads")
    left_out = {
        "effects": "a HeadVis tree has no ablation",
        "intervals": "a HeadVis tree has means alone",
        "tokens by attention": "the weights of its lists of tokens are of no stated unit",
    }
    pages = Pages(n_layers, n_heads)
    absent = 0
    for head in sorted(heads):
        name = f"heads/L{head.layer}H{head.head}.json"
        if tree.has(name):
            read_page(tree.json(name), name, head, pages)
        else:
            absent += 1
    for folder_, what in _NOT_READ.items():
        if tree.has(folder_):
            left_out[what] = f"the tree's folder {folder_} is not read"
    if absent:
        left_out["heads"] = f"{absent} of {len(heads)} have no file in the tree"
    if not pages.prompts:
        raise AtlasError(f"{tree.root}: no head of this tree has a sequence")
    arrays = {f"exemplars/text/{name}": array for name, array in pages.arrays().items()}
    arrays |= _metrics(tree, _n_sequences(config), n_layers, n_heads)
    kept: dict[str, Any] = storable(
        {key: config[key] for key in ("pipeline_config", "metric_descriptions", "n_intervals") if key in config}
    )
    if len(repr(kept)) > _KEPT_TEXT:
        kept = {"too_long_to_keep": sorted(kept)}
    return AtlasContents(
        n_layers=n_layers,
        n_heads=n_heads,
        families=[FAMILY],
        modes=[],
        prompts=pages.prompts,
        token_strings=pages.token_strings,
        arrays=arrays,
        provenance={
            "model_id": text(config.get("model_name", ""), 200),
            "bos_policy": "unknown",
            "imported": {
                "from": "a HeadVis data tree",
                "dataset_name": text(config.get("dataset_name", ""), 200),
                "token_ids": "invented: counted in the order in which texts are met",
                **kept,
            },
            "corpus_sha256": prompts_sha256(pages.prompts),
            "config_sha256": hashlib.sha256(tree.bytes("config.json")).hexdigest(),
        },
        left_out=left_out,
    )


def _heads(config: Mapping[str, Any]) -> set[HeadId]:
    found = set()
    for entry in listed(config.get("heads"), "config.json: heads", _MOST_LAYERS**2):
        if isinstance(entry, str):
            match = re.fullmatch(r"L(\d{1,4})H(\d{1,4})", entry)
            pair = [int(part) for part in match.groups()] if match else []
        else:
            pair = [whole(part, "config.json: heads", _MOST_LAYERS) for part in listed(entry, "config.json: heads", 2)]
        if len(pair) != 2:
            raise AtlasError(f'config.json: heads: expected [layer, head] or "L0H0", found {text(str(entry), 40)!r}')
        found.add(HeadId(*pair))
    if not found:
        raise AtlasError("config.json: heads: there are none")
    return found


def _size(config: Mapping[str, Any], name: str, default: int) -> int:
    return max(1, whole(config[name], f"config.json: {name}", _MOST_LAYERS)) if name in config else default


def _n_sequences(config: Mapping[str, Any]) -> int:
    """Sequences that the metrics are means over; 0 where the tree does not say.

    A page's `n_samples` is how many sequences are kept in it, which is something else.
    """
    pipeline = config.get("pipeline_config")
    for place in (pipeline if isinstance(pipeline, dict) else {}, config):
        if place.get("actual_sequences_processed") is not None:
            n = place["actual_sequences_processed"]
            return whole(n, "config.json: actual_sequences_processed", 2**31 - 1)
    return 0


def _metrics(tree: Folder, n_sequences: int, n_layers: int, n_heads: int) -> dict[str, NamedArray]:
    """One number per head and metric, NaN where a row or a field is absent, and how many sequences it is of."""
    shape = (n_layers, n_heads)
    found: dict[str, np.ndarray] = {}
    name = "scatter_data.json"
    rows = listed(tree.json(name), name, _MOST_LAYERS**2) if tree.has(name) else []
    for row in rows:
        if not isinstance(row, dict) or "layer" not in row or "head" not in row:
            raise AtlasError("scatter_data.json: every row needs a layer and a head")
        layer, head = (whole(row[key], f"scatter_data.json: {key}", _MOST_LAYERS) for key in ("layer", "head"))
        if layer >= n_layers or head >= n_heads:
            raise AtlasError(f"scatter_data.json: there is no head L{layer}H{head} in {n_layers} x {n_heads}")
        for key, value in row.items():
            name = _metric_name(key)
            if key in ("layer", "head") or value is None or isinstance(value, str | bool | list | dict):
                continue  # texts and coordinates of plots are not numbers of a head
            if name not in found and len(found) == _MOST_METRICS:
                raise AtlasError(f"scatter_data.json: more than {_MOST_METRICS} metrics")
            found.setdefault(name, np.full(shape, np.nan))[layer, head] = number(value, f"scatter_data.json: {key}")
    arrays = {f"summary/{name}_mean": NamedArray(values, _HEADS) for name, values in found.items()}
    return arrays | {
        f"summary/{name}_n": NamedArray(np.where(np.isnan(values), 0, n_sequences), _HEADS)
        for name, values in found.items()
    }


def _metric_name(key: str) -> str:
    name = re.sub(r"[^a-z0-9_]+", "_", key.lower())[:60]
    return "headvis_" + _SPELLINGS.get(name, name)
