"""What the atlas has measured of crowding: overlap of tokens, dimensions in use, what neurons fire for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from head_atlas.views.numbers import plain

if TYPE_CHECKING:
    from head_atlas.store import Atlas

MISSING = (
    "This atlas was built without measures of its model’s spaces and neurons, so there is no panel of measured data "
    "here. The experiment above does not need them."
)


def panel(atlas: Atlas) -> dict:
    """The card; a sentence instead where the atlas holds none of it."""
    sections = [part for part in (_overlap(atlas), _dimensions(atlas), *_neurons(atlas)) if part is not None]
    if not sections:
        return {"empty": MISSING}
    return {
        "title": "Measured in this model",
        "subtitle": "From the atlas, over its own prompts.",
        "sections": sections,
    }


def _overlap(atlas: Atlas) -> dict | None:
    if "interference" not in atlas.model or "interference_random" not in atlas.model:
        return None
    found = atlas.model["interference"].sel(centring="centred")
    chance = np.asarray(atlas.model["interference_random"].values)
    spaces, statistics = found.coords["space"], found.coords["statistic"]
    at = statistics.index("mean_abs_cos")
    rows = [
        {"label": f"Overlap of tokens, {space}", "text": plain(float(values[at]), 3)}
        for space, values in zip(spaces, np.asarray(found.values), strict=True)
        if np.isfinite(values[at])
    ]
    rows.append({"label": "Overlap of random directions", "text": plain(float(chance[at]), 3)})
    return {"kind": "facts", "title": "How much tokens overlap", "rows": rows}


def _dimensions(atlas: Atlas) -> dict | None:
    rows = []
    if "mlp_participation" in atlas.model:
        for layer, value in enumerate(np.asarray(atlas.model["mlp_participation"].values)):
            if np.isfinite(value):
                rows.append({"label": f"Hidden units of MLP {layer}", "text": f"{plain(float(value), 1)} dimensions"})
    if "head_participation" in atlas.model:
        values = np.asarray(atlas.model["head_participation"].values)
        if np.isfinite(values).any():
            low, middle, high = (float(np.nanquantile(values, q)) for q in (0, 0.5, 1))
            rows.append(
                {
                    "label": "Outputs of heads",
                    "text": f"{plain(low, 1)} to {plain(high, 1)} dimensions, half of the heads under "
                    f"{plain(middle, 1)}{_of(atlas, 'd_head')}",
                }
            )
    if not rows:
        return None
    lead = "In how many dimensions the numbers really vary over natural text (participation ratio)."
    return {"kind": "facts", "title": "Room in use", "lead": lead, "rows": rows}


def _of(atlas: Atlas, key: str) -> str:
    value = atlas.provenance.get(key)
    return f", of {value} that there are" if isinstance(value, int) else ""


def _neurons(atlas: Atlas) -> list[dict]:
    if "families" not in atlas.neurons:
        return []
    values = np.asarray(atlas.neurons["families"].values)
    counted = values[np.isfinite(values)]
    if not counted.size:
        return []
    edges = [(0, 2), (2, 4), (4, 8), (8, 12), (12, np.inf)]
    bins = []
    for low, high in edges:
        n = int(((counted >= low) & (counted < high)).sum())
        name = f"{low} to {high}" if np.isfinite(high) else f"{low} or more"
        bins.append((name if low else f"fewer than {high}", n))
    most = max(n for _, n in bins)
    return [
        {
            "kind": "profile",
            "title": "For how many kinds of prompts a neuron fires",
            "lead": "Effective number of prompt families among which a neuron’s firing spreads: 1 is a neuron for one "
            "kind of prompt only.",
            "hint": f"Half of the {counted.size} neurons fire for {plain(float(np.median(counted)), 1)} kinds or "
            f"fewer, of {len(atlas.families)}.",
            "bins": [
                {"t": n / most, "text": f"{name} kinds: {n} neurons, {100 * n / counted.size:.0f} %"}
                for name, n in bins
            ],
            "ticks": ["few kinds", "many kinds"],
        }
    ]
