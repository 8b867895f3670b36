"""Atlases small enough to be worked by hand."""

from __future__ import annotations

import numpy as np

from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt
from head_atlas.store import AtlasContents

WORDS = ["<bos>", " a", " b", " c", "é<b>"]


def prompt(*tokens, family="ioi", template=-1):
    return Prompt(
        "".join(WORDS[t] for t in tokens[1:]), tokens, (len(tokens) - 2,), (tokens[-1],), (1,), family, template
    )


def prompts_of(family, n):
    return [prompt(0, 1 + i % 4, 1 + i // 4 % 4, 1 + i // 16, family=family) for i in range(n)]


def contents(
    effects, *, families=("ioi",), modes=("zero",), n=20, provenance=None, further=None, scores=None, prompts=None
):
    """An atlas of one layer and two heads.

    Args:
        effects: by family, (base, per head) of the logit difference on every prompt: base + 0, 1, 0, 1, ...
    """
    prompts = prompts or [p for family in families for p in prompts_of(family, n)]
    values = np.zeros((len(modes), 1, 2, len(prompts)))
    for index, p in enumerate(prompts):
        values[:, 0, :, index] = np.array(effects[p.family]) + index % 2
    arrays = {
        "effects/logit_difference": NamedArray(values, ("mode", "layer", "head", "prompt")),
        "clean/logit_difference": NamedArray(np.ones(len(prompts)), ("prompt",)),
    }
    if scores is not None:
        arrays["scores/sink"] = NamedArray(np.array(scores), ("layer", "head", "prompt"))
    return AtlasContents(
        n_layers=1,
        n_heads=2,
        families=list(families),
        modes=list(modes),
        prompts=prompts,
        token_strings=dict(enumerate(WORDS)),
        arrays=arrays | (further or {}),
        provenance={"model_id": "small", "seed": 3, "model_fingerprint": "f" * 64} | (provenance or {}),
    )


def exemplars(**changed):
    """Of the prompts `SEEN`: the first head has two exemplars and one of harm, the second has one."""
    found = {
        "head_offset": (np.array([0, 3, 4]), "head_edge"),
        "prompt_index": (np.array([1, 0, 0, 1], dtype=np.int32), "exemplar"),
        "band": (np.array([2, 1, 0, 2], dtype=np.int8), "exemplar"),
        "rank": (np.array([0, 0, 0, 0], dtype=np.int16), "exemplar"),
        "value": (np.array([0.75, 0.5, 0.5, 0.25], dtype=np.float32), "exemplar"),
        "effect": (np.array([np.nan, 1, -2, np.nan], dtype=np.float32), "exemplar"),
        "row_offset": (np.array([0, 3, 5, 7, 10]), "exemplar_edge"),
        "row_count": (np.array([1, 2, 1, 1, 1, 1, 1, 1, 0, 1], dtype=np.uint8), "exemplar_row"),
        "row_dropped": (np.array([0, 0, 0.25, 0, 0.5, 0, 0.5, 0, 1, 0], dtype=np.float32), "exemplar_row"),
        "entry_offset": (np.array([0, 4, 6, 8, 10]), "exemplar_edge"),
        "key": (np.array([0, 0, 1, 2, 0, 1, 0, 1, 0, 0], dtype=np.uint16), "exemplar_entry"),
        "weight": (np.array([1, 0.25, 0.75, 0.75, 1, 0.5, 1, 0.5, 1, 1], dtype=np.float32), "exemplar_entry"),
    }
    return {f"exemplars/text/{name}": NamedArray(changed.get(name, v), (dim,)) for name, (v, dim) in found.items()}


SEEN = [prompt(0, 1, family="natural"), prompt(0, 2, 4, family="natural")]
