"""An atlas with every part that a head's page shows: invented numbers, and texts that try to be markup."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "store"))
from synthetic_atlas import FAMILIES, synthetic_contents

from head_atlas.measures.evidence import Measured
from head_atlas.measures.roles import assign_roles
from head_atlas.named_array import NamedArray
from head_atlas.store import AtlasContents

LAYERS, HEADS = 2, 3
SHAPE = (LAYERS, HEADS)
INDUCTION_HEAD = (1, 2)
HOSTILE = "<img src=x onerror=alert(1)> ${alert(2)} {{value}}"


def full_contents() -> AtlasContents:
    """L1H2 is an induction head; L0H1 writes to its keys; the exemplar of L1H2 looks from token 3 at token 1."""
    contents = synthetic_contents(LAYERS, HEADS, n_prompts=4)
    kept = {
        place: array
        for place, array in contents.arrays.items()
        if place.split("/")[0] in ("scores", "baselines", "effects", "clean", "summary", "offsets")
    }
    strings = {**contents.token_strings, 5: HOSTILE}
    arrays = kept | _roles() | _weights() | _attributions() | _exemplars(contents) | _model()
    return dataclasses.replace(contents, arrays=arrays, token_strings=strings)


def _roles() -> dict[str, NamedArray]:
    def measured(high: float, low: float, p: bool = True) -> Measured:
        value = np.full(SHAPE, low)
        value[INDUCTION_HEAD] = high
        n = np.full(SHAPE, 20)
        chance = np.where(value == high, 1e-6, 0.5)
        return Measured(value, value - 0.01, value + 0.01, n, chance if p else None, np.full(SHAPE, 0.05))

    found = assign_roles(
        {
            ("induction_excess", "rand_repeat"): measured(0.9, 0.0),
            ("induction_copy", "rand_repeat"): measured(2.0, 0.0),
            ("logit_difference", "rand_repeat"): measured(-1.5, 0.0),
            ("previous_token_excess", "rand_flat"): measured(0.0, 0.0),
        },
        {"rand_repeat": 3.0},
        families=FAMILIES,
    )
    return {f"roles/{name}": array for name, array in found.arrays().items()}


def _weights() -> dict[str, NamedArray]:
    heads = ("layer", "head")
    kinds = np.full((3, *SHAPE, *SHAPE), np.nan)
    kinds[:, 0, :, 1, :] = 0.01
    kinds[1, 0, 1, 1, 2] = 0.4
    ids = np.full((*SHAPE, 2), 5, dtype=np.int32)
    return {
        "weights/composition": NamedArray(
            kinds, ("kind", "layer_from", "head_from", *heads), {"kind": ["Q", "K", "V"]}
        ),
        "weights/ov_copy": NamedArray(np.full(SHAPE, 0.3), heads),
        "nulls/ov_copy_n99": NamedArray(np.full(SHAPE, 0.1), heads),
        "nulls/induction_p": NamedArray(np.where(np.arange(6).reshape(SHAPE) == 5, 1e-6, 0.5), heads),
        **{f"weights/{side}_tokens": NamedArray(ids, (*heads, "rank")) for side in ("promoted", "suppressed")},
        **{
            f"weights/{side}_logits": NamedArray(np.full((*SHAPE, 2), sign), (*heads, "rank"))
            for side, sign in (("promoted", 2.0), ("suppressed", -2.0))
        },
    }


def _attributions() -> dict[str, NamedArray]:
    mean = np.full((*SHAPE, len(FAMILIES)), np.nan)
    for family in ("rand_repeat", "ioi"):
        mean[..., FAMILIES.index(family)] = 0.0
    mean[(*INDUCTION_HEAD, FAMILIES.index("rand_repeat"))] = 1.5
    dims, coords = ("layer", "head", "family"), {"family": list(FAMILIES)}
    parts = {"mean": mean, "ci_low": mean - 0.1, "ci_high": mean + 0.1, "n": np.full(mean.shape, 4)}
    parts["p"] = np.where(np.isnan(mean), np.nan, np.where(mean > 0, 1e-6, 0.8))
    return {f"summary/direct_logit_{part}": NamedArray(x, dims, coords) for part, x in parts.items()}


def _exemplars(contents: AtlasContents) -> dict[str, NamedArray]:
    """One exemplar per head, of the first natural prompt; two bands."""
    index = next(i for i, p in enumerate(contents.prompts) if p.family == "natural")
    n, flat = len(contents.prompts[index]), LAYERS * HEADS
    count = np.ones(n, dtype=np.uint8)
    key = np.zeros(n, dtype=np.int32)
    key[3] = 1
    weight = np.full(n, 0.2, dtype=np.float32)
    weight[3] = 0.75

    def edges(step: int) -> np.ndarray:
        return np.arange(flat + 1) * step

    def ragged(values: np.ndarray, dim: str) -> NamedArray:
        return NamedArray(np.tile(values, flat), (dim,))

    tokens = np.full((2, 2, *SHAPE, 1), 5)
    coords = {"side": ["query", "key"], "order": ["share", "lift"]}
    of_token = (("side", "order", "layer", "head", "token_rank"), coords)
    arrays = {
        "prompt_index": ragged(np.array([index], dtype=np.int32), "exemplar"),
        "band": ragged(np.array([2], dtype=np.int8), "exemplar"),
        "rank": ragged(np.array([0], dtype=np.int16), "exemplar"),
        "value": ragged(np.array([0.75], dtype=np.float32), "exemplar"),
        "effect": ragged(np.array([-0.3], dtype=np.float32), "exemplar"),
        "row_count": ragged(count, "exemplar_row"),
        "row_dropped": ragged(np.full(n, 0.25, dtype=np.float32), "exemplar_row"),
        "key": ragged(key, "exemplar_entry"),
        "weight": ragged(weight, "exemplar_entry"),
        "head_offset": NamedArray(edges(1), ("head_edge",)),
        "row_offset": NamedArray(edges(n), ("exemplar_edge",)),
        "entry_offset": NamedArray(edges(n), ("exemplar_edge",)),
        "band_low": NamedArray(np.zeros((*SHAPE, 2)), ("layer", "head", "quantile_band")),
        "histogram": NamedArray(np.tile(np.arange(20, dtype=np.int32), (*SHAPE, 1)), ("layer", "head", "largest_bin")),
        "token_id": NamedArray(tokens.astype(np.int32), *of_token),
        "token_share": NamedArray(np.full(tokens.shape, 0.25), *of_token),
        "token_lift": NamedArray(np.full(tokens.shape, 3.0), *of_token),
        "token_count": NamedArray(tokens.astype(np.int32), *of_token),
    }
    return {f"exemplars/text/{name}": array for name, array in arrays.items()}


def _model() -> dict[str, NamedArray]:
    names = ["mean_abs_cos", "mean_squared_cos"]
    neuron = ("layer", "neuron")
    firing = np.zeros((LAYERS, 2, len(FAMILIES)))
    firing[1, 0, :2] = 0.5
    places = (*neuron, "rank")
    return {
        "model/interference": NamedArray(
            np.full((1, 1, 2), 0.2),
            ("space", "centring", "statistic"),
            {"space": ["embedding"], "centring": ["centred"], "statistic": names},
        ),
        "model/interference_random": NamedArray(np.full(2, 0.1), ("statistic",), {"statistic": names}),
        "model/mlp_participation": NamedArray(np.array([1.5, np.nan]), ("layer",)),
        "neurons/firing": NamedArray(firing, (*neuron, "family")),
        "neurons/families": NamedArray(np.where(firing.any(-1), 2.0, np.nan), neuron),
        "neurons/top_prompts": NamedArray(np.full((LAYERS, 2, 1), 1, dtype=np.int32), places),
        "neurons/top_positions": NamedArray(np.full((LAYERS, 2, 1), 2, dtype=np.int32), places),
        "neurons/top_activations": NamedArray(np.full((LAYERS, 2, 1), 4.5), places),
    }
