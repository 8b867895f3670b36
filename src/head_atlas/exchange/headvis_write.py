"""An atlas as the data tree of HeadVis (Luger et al. 2026): a folder of JSON that its static pages read.

Its pages know bands of exemplars, patterns, two histograms, tokens and one number per head and metric. Exemplars that
were chosen by their effect have no place there and are left out; effects go in as metrics.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from head_atlas.catalogue import EFFECTS, SCORES
from head_atlas.errors import AtlasError
from head_atlas.exchange.tables import finite
from head_atlas.named_array import NamedArray
from head_atlas.store import Atlas
from head_atlas.store.exemplars import Exemplar, StoredExemplars

HEAD_FILES = "L{layer}H{head}.json"
SETS = ("text", "families")
"""Sets of exemplars, the preferred one first."""
_SIDES = {"query": "top_query_tokens", "key": "top_key_tokens"}
_PLOTS = (("distance", "qk_distance_histogram", "Distance from query to key, share of attention"),)
"""Name in the atlas, key and heading of plots; the histogram of the largest attention is always drawn."""
_MOST_TOKENS = 50


def write_headvis(atlas: Atlas, folder: str | Path, *, exemplars: str | None = None) -> int:
    """Write the tree.

    Args:
        atlas: with exemplars.
        folder: to be made; not an existing one with files in it.
        exemplars: the set; None for the first of `SETS` that is there.

    Returns:
        The number of heads.

    Raises:
        AtlasError: the atlas has no exemplars, or is damaged; the folder is not empty.
        OSError: no space, or no permission.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise AtlasError(f"{folder} is not empty: the tree needs a folder of its own")
    chosen = exemplars or next((name for name in SETS if name in atlas.exemplars), "")
    if chosen not in atlas.exemplars:
        raise AtlasError(
            f"{atlas.called} has no exemplars{f' of {chosen!r}' if chosen else ''}: there is nothing to show"
        )
    stored, arrays = atlas.stored_exemplars(chosen), atlas.exemplars[chosen]
    metrics = _metrics(atlas)
    heads = list(np.ndindex(atlas.n_layers, atlas.n_heads))
    bands = arrays["band"].values
    _write(folder / "server_config.json", {})
    _write(folder / "attributions" / "manifest.json", {})
    rows: list[dict[str, Any]] = [
        {"layer": layer, "head": head}
        | {name: finite(float(values[layer, head])) for name, (values, _) in metrics.items()}
        for layer, head in heads
    ]
    # its pages offer the metrics that are numbers in the first row
    rows.sort(key=lambda row: sum(value is None for value in row.values()))
    _write(folder / "scatter_data.json", rows)
    for layer, head in heads:
        shown = [exemplar for exemplar in stored.of(layer, head) if exemplar.band >= 1]
        page = _page(atlas, arrays, stored, shown, layer, head)
        _write(folder / "heads" / HEAD_FILES.format(layer=layer, head=head), page)
    _write(
        folder / "config.json",
        {
            "model_name": atlas.model_id,
            "dataset_name": chosen,
            "heads": [list(head) for head in heads],
            "n_layers": atlas.n_layers,
            "n_heads": atlas.n_heads,
            "n_intervals": int(bands.max(initial=1)),
            "metrics": list(metrics),
            "metric_descriptions": {name: text for name, (_, text) in metrics.items()},
            "head_data_pattern": HEAD_FILES,
            "has_umap": False,
            "umap_heads": [],
            "custom_plots": [{"key": key, "label": label} for name, key, label in _PLOTS if name in arrays],
            "custom_tables": [
                {"key": key, "label": f"Tokens it attends {way}, by their share of its attention"}
                for key, way in ((_SIDES["query"], "from"), (_SIDES["key"], "to"))
                if "token_id" in arrays
            ],
            "statistics_display": {
                "n_samples": {"label": "Sequences kept", "format": "integer"},
                "n_prompts": {"label": "Prompts measured", "format": "integer"},
                "mean_max_activation": {"label": "Mean of the largest attention", "format": "default"},
            },
            "pipeline_config": {"written_by": f"head-atlas {atlas.version}", "provenance": finite(atlas.provenance)},
        },
    )
    return len(heads)


def _metrics(atlas: Atlas) -> dict[str, tuple[np.ndarray, str]]:
    """One number per head, with what it is."""
    found: dict[str, tuple[np.ndarray, str]] = {}
    for name, measure in SCORES.items():
        if f"{name}_mean" in atlas.summary:
            where = f"Mean over {measure.family}, in {measure.unit}."
            found[name] = (atlas.summary[f"{name}_mean"].values, f"{measure.sentence} {where}")
    for name, measure in EFFECTS.items():
        for mode in atlas.modes if f"{name}_macro" in atlas.summary else ():
            values = atlas.summary[f"{name}_macro"].sel(mode=mode).values
            where = f"Ablated ({mode}) - clean, mean over families, in {measure.unit}."
            found[f"{name}_effect_{mode}"] = (values, f"{measure.sentence} {where}")
    for name in atlas.summary:  # what came out of such a tree goes back into one
        if name.startswith("headvis_") and name.endswith("_mean"):
            found[name.removeprefix("headvis_").removesuffix("_mean")] = (atlas.summary[name].values, "")
    return found


def _page(
    atlas: Atlas,
    arrays: Mapping[str, NamedArray],
    stored: StoredExemplars,
    shown: Sequence[Exemplar],
    layer: int,
    head: int,
) -> dict[str, Any]:
    page: dict[str, Any] = {"sequences": [_sequence(atlas, stored, exemplar) for exemplar in shown]}
    for name, dim, key in (
        ("distance", "distance_bin", "qk_distance_histogram"),
        ("histogram", "largest_bin", "histogram"),
    ):
        if name in arrays:
            n = arrays[name].shape[-1]
            edges = _distance_edges(arrays[name].coords[dim]) if dim == "distance_bin" else np.linspace(0, 1, n + 1)
            values = arrays[name].values[layer, head]
            page[key] = {"bin_edges": _numbers(edges), "bin_values": _numbers(values)}
    if "token_id" in arrays:
        for side, key in _SIDES.items():
            ids, share = (
                arrays[name].sel(side=side, order="share").values[layer, head] for name in ("token_id", "token_share")
            )
            page[key] = [
                {"token": atlas.token_strings[int(i)], "weight": float(weight)}
                for i, weight in zip(ids[:_MOST_TOKENS], share, strict=False)
                if i >= 0
            ]
    page["statistics"] = {"n_samples": len(shown)} | _statistics(arrays, layer, head)
    return page


def _statistics(arrays: Mapping[str, NamedArray], layer: int, head: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "largest" in arrays:
        found["n_prompts"] = int((~np.isnan(arrays["largest"].values[layer, head])).sum())
    if "mean_largest" in arrays:
        found["mean_max_activation"] = finite(float(arrays["mean_largest"].values[layer, head]))
    return found


def _sequence(atlas: Atlas, stored: StoredExemplars, exemplar: Exemplar) -> dict[str, Any]:
    prompt, weights = atlas.prompts[exemplar.prompt], stored.pattern(exemplar).weights
    query, key = np.nonzero(weights)
    return {
        "sequence_id": exemplar.prompt,
        "interval": exemplar.band,
        "tokens": list(prompt.strings),
        "attention_indices": (query * len(prompt) + key).tolist(),
        "attention_values": weights[query, key].astype(float).tolist(),
        "seq_len": len(prompt),
        "max_activation": finite(float(exemplar.value)),
    }


def _distance_edges(labels: Sequence[str]) -> list[int]:
    """From "0", "1", "2-3", "4+" to 0, 1, 2, 4, 8: the last bin is open, and drawn as wide as its start is far."""
    starts = [int(label.rstrip("+").split("-")[0]) for label in map(str, labels)]
    return [*starts, max(2 * starts[-1], 1)]


def _numbers(values: Any) -> list[float]:
    """Bins that no prompt reaches hold nothing."""
    return [float(value) if np.isfinite(value) else 0.0 for value in np.asarray(values, dtype=np.float64)]


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, allow_nan=False), encoding="utf-8")
