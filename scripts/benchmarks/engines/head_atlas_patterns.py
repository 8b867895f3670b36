"""Head Atlas: `pattern_scores`, summed block by block."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from engines.head_atlas_sweep import load_head_model

from head_atlas.measures.patterns import pattern_scores
from head_atlas.measures.targets import TARGETS
from head_atlas.prompts.prompt import Prompt

NAMES = (*TARGETS, "diffuse", "diffuse_sink_free", "offsets")


def load(folder: str) -> Callable[..., np.ndarray]:
    """Return what scores all heads on prompts: [score, layer, head, prompt], offsets' bins last."""
    model = load_head_model(folder)

    def run(prompts: list[list[int]]) -> np.ndarray:
        asked = [Prompt("", tuple(ids), (len(ids) - 1,), (0,)) for ids in prompts]
        found = pattern_scores(model, asked, NAMES)
        assert found.offsets is not None
        single = np.stack([found.values[name] for name in NAMES[:-1]])
        return np.concatenate([single, found.offsets.transpose(2, 0, 1, 3)])

    return run
