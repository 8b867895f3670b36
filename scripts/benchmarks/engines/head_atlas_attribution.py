"""Head Atlas: `attribute`, integrated gradients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from engines.head_atlas_sweep import load_head_model

from head_atlas import attribute
from head_atlas.prompts.prompt import Prompt


def load(folder: str) -> Callable[..., np.ndarray]:
    """Return what attributes a logit difference after a prompt to its tokens."""
    model = load_head_model(folder)
    model.tokenizer.decode = lambda ids, **_: str(ids[0])

    def run(tokens: list[int], target: int, contrast: int, start: int, n_nodes: int) -> np.ndarray:
        prompt = Prompt("", tuple(tokens), (len(tokens) - 1,), (target,), (contrast,))
        baseline = model.embeddings(model.rows([[start] * len(tokens)])[0]).numpy()
        found = attribute(model, prompt, method="integrated_gradients", baseline=baseline, max_nodes=n_nodes)
        assert found.n_nodes == n_nodes
        return np.asarray(found.values.values)

    return run
