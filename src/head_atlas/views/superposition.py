"""How crowded a model's spaces are, and which neurons fire for unrelated prompts: from what the build measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from head_atlas.catalogue import MODEL_MEASURES
from head_atlas.views.choices import label_of, titled
from head_atlas.views.numbers import MISSING, count, finite, percent, plain
from head_atlas.views.saved import saved, source_of
from head_atlas.views.token_text import visible

if TYPE_CHECKING:
    from head_atlas.store import Atlas

N_NEURONS = 5
N_PROMPTS = 3
AROUND = 8
"""Tokens shown before the one at which a neuron is most active."""
LEAST_FIRING = 0.01
"""Share of positions on its strongest family at which a neuron has to fire to be listed."""


def superposition_props(atlas: Atlas) -> dict:
    """What the panel "Superposition in this model" draws."""
    if not atlas.model and not atlas.neurons:
        why = atlas.left_out.get("superposition", "it was built without these measures, or before there were any")
        return {"empty": f"This atlas says nothing of superposition: {why}."}
    return {
        "title": "Superposition in this model",
        "subtitle": "A model can hold more features than it has dimensions if they share directions. Measured, not "
        "told: how much directions overlap, how many dimensions are in use, and neurons that fire for several things.",
        "about": source_of(atlas),
        "sections": [*_interference(atlas), _participation(atlas), *_neurons(atlas)],
    }


def _interference(atlas: Atlas) -> list[dict]:
    title = "How much the directions of tokens overlap"
    needed = ("interference", "interference_random")
    if not all(name in atlas.model for name in needed):
        why = atlas.left_out.get("interference", "this atlas was built without it")
        return [{"kind": "empty", "title": title, "text": f"Not known: {why}."}]
    array, random = (atlas.model[name] for name in needed)
    statistic = "mean_abs_cos"
    by_chance = float(random.sel(statistic=statistic).values)
    scale = 1.1 * max(by_chance, float(np.nanmax(array.sel(statistic=statistic).values)))
    rows = []
    for space in array.coords["space"]:
        for centring in array.coords["centring"]:
            x = float(array.sel(space=space, centring=centring, statistic=statistic).values)
            rows.append(
                _bar(f"{titled(space)}, {centring}", x, scale, [plain(x, 3), plain(by_chance, 3)], by_chance, by_chance)
            )
    entry = MODEL_MEASURES["interference"]
    return [
        {
            "kind": "bars",
            "title": title,
            "lead": f"Mean |cosine| between the directions of two tokens; the line is what random directions of "
            f"{atlas.provenance.get('d_model', 'that many')} dimensions give. {entry.pitfall}",
            "columns": ["directions", "", "mean |cos|", "random"],
            "saved": saved(
                ["directions", statistic, "random"], (row.pop("numbers") for row in rows), measure="interference"
            ),
            "rows": rows,
        }
    ]


def _participation(atlas: Atlas) -> dict:
    title = "Dimensions in use"
    if "mlp_participation" not in atlas.model and "head_participation" not in atlas.model:
        why = atlas.left_out.get("participation", "this atlas was built without it")
        return {"kind": "empty", "title": title, "text": f"Not known: {why}."}
    rows = []
    if "head_participation" in atlas.model:
        known = atlas.provenance.get("d_head")
        d_head = known if isinstance(known, int) and known > 0 else None
        heads = np.asarray(atlas.model["head_participation"].values, dtype=float)
        means = [float(np.nanmean(values)) if np.isfinite(values).any() else np.nan for values in heads]
        rows += _in_use("Heads of layer {}, mean", means, [d_head] * len(means))
    if "mlp_participation" in atlas.model:
        mlps = np.asarray(atlas.model["mlp_participation"].values, dtype=float).tolist()
        units: list[int | None] = [None] * len(mlps)
        if "threshold" in atlas.neurons:  # NaN in columns that a narrower layer does not have
            units = np.isfinite(atlas.neurons["threshold"].values).sum(-1).tolist()
        rows += _in_use("MLP of layer {}", mlps, units)
    n = atlas.model["participation_n"].values if "participation_n" in atlas.model else None
    tokens = "" if n is None else f" Over {count(float(n))} tokens of natural text."
    entry = MODEL_MEASURES["mlp_participation"]
    return {
        "kind": "bars",
        "title": title,
        "lead": f"Participation ratio: in how many dimensions the output varies, beside how many there are.{tokens} "
        f"{entry.pitfall}",
        "columns": ["where", "", "in use", "there are"],
        "saved": saved(
            ["where", "participation_ratio", "dimensions"],
            (row.pop("numbers") for row in rows),
            measure="participation",
            n_tokens=None if n is None else int(n),
        ),
        "rows": rows,
    }


def _in_use(label: str, used: list[float], there: list[int | None]) -> list[dict]:
    """A row for each layer; where it is not known how many dimensions there are, bars reach to the largest."""
    largest = max((x for x in used if np.isfinite(x)), default=1.0)
    return [
        _bar(label.format(layer), x, float(n or largest), [plain(x, 1), MISSING if n is None else count(n)], n)
        for layer, (x, n) in enumerate(zip(used, there, strict=True))
        if np.isfinite(x)
    ]


def _bar(
    label: str, x: float, most: float, cells: list[str], beside: float | None, chance: float | None = None
) -> dict:
    return {
        "label": label,
        "sentence": "",
        "reason": "",
        "t": finite(x / most if most > 0 else 0.0),
        "low": None,
        "high": None,
        "chance": None if chance is None else finite(chance / most),
        "cells": cells,
        "numbers": [label, x, beside],
    }


def _neurons(atlas: Atlas) -> list[dict]:
    title = "Neurons that fire for unrelated prompts"
    needed = ("families", "firing", "top_prompts", "top_positions", "top_activations")
    if not all(name in atlas.neurons for name in needed):
        why = atlas.left_out.get("neurons", "this atlas was built without it")
        return [{"kind": "empty", "title": title, "text": f"Not known: {why}."}]
    spread = np.asarray(atlas.neurons["families"].values, dtype=float)
    firing = np.asarray(atlas.neurons["firing"].values, dtype=float)
    strongest = np.nan_to_num(firing, nan=0.0).max(-1)
    ranked = np.where((strongest >= LEAST_FIRING) & np.isfinite(spread), spread, -np.inf)
    order = [int(i) for i in np.argsort(-ranked, axis=None, kind="stable")[:N_NEURONS]]
    neurons = [
        _neuron(atlas, *(int(j) for j in np.unravel_index(i, spread.shape)))
        for i in order
        if np.isfinite(ranked.ravel()[i])
    ]
    several = int((ranked >= 2).sum())
    counted = int(np.isfinite(ranked).sum())
    return [
        {
            "kind": "neurons",
            "title": title,
            "lead": f"Of {count(counted)} neurons that fire on at least {percent(LEAST_FIRING)} of the positions of "
            f"some family, {count(several)} fire for two families or more, effectively. Below are the most mixed ones. "
            f"{MODEL_MEASURES['neuron_families'].pitfall}",
            "neurons": neurons,
        }
    ]


def _neuron(atlas: Atlas, layer: int, neuron: int) -> dict:
    at = (layer, neuron)
    firing = np.asarray(atlas.neurons["firing"].values[at], dtype=float)
    names = list(atlas.neurons["firing"].coords.get("family", atlas.families))
    order = [i for i in np.argsort(-np.nan_to_num(firing, nan=-1.0), kind="stable")[:5] if firing[i] > 0]
    examples: list[dict] = []
    parts = ("top_prompts", "top_positions", "top_activations")
    for prompt, position, activation in zip(*(atlas.neurons[p].values[at] for p in parts), strict=True):
        if 0 <= prompt < len(atlas.prompts) and len(examples) < N_PROMPTS:
            record = atlas.prompts[int(prompt)]
            position = int(position)
            if not 0 <= position < len(record.strings):
                continue
            start = max(0, position - AROUND)
            examples.append(
                {
                    "family": label_of(record.family),
                    "tokens": [visible(text) for text in record.strings[start : position + 1]],
                    "text": plain(float(activation), 2),
                }
            )
    return {
        "title": f"Layer {layer}, neuron {neuron}",
        "text": f"{plain(float(atlas.neurons['families'].values[at]), 1)} families, effectively",
        "families": [{"label": label_of(names[i]), "text": percent(float(firing[i]))} for i in order],
        "examples": examples,
    }
