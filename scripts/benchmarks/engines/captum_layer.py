"""Captum: `LayerIntegratedGradients` of the token embeddings, all nodes at once, as its documentation shows it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from captum.attr import LayerIntegratedGradients
from transformers import AutoModelForCausalLM


def load(folder: str, *, last_only: bool = False, at_once: int | None = None) -> Callable[..., np.ndarray]:
    """Return what attributes a logit difference after a prompt to its tokens.

    Args:
        folder: of the model.
        last_only: unembed the last position alone.
        at_once: nodes that run together; None for all.
    """
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)
    kept = {"logits_to_keep": 1} if last_only else {}

    def run(tokens: list[int], target: int, contrast: int, start: int, n_nodes: int) -> np.ndarray:
        def difference(ids: torch.Tensor) -> torch.Tensor:
            logits = model(input_ids=ids, use_cache=False, **kept).logits[:, -1]
            return logits[:, target] - logits[:, contrast]

        ids = torch.tensor([tokens])
        baseline = torch.full_like(ids, start)
        baseline[0, 0] = tokens[0]
        with torch.enable_grad():
            layer = LayerIntegratedGradients(difference, model.get_input_embeddings())
            found = layer.attribute(ids, baseline, n_steps=n_nodes, method="gausslegendre", internal_batch_size=at_once)
        values = found.sum(-1)[0].detach().numpy()
        values[0] = np.nan  # the first token stays fixed
        return values

    return run
