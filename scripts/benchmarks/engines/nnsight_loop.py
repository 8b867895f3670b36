"""nnsight: one trace for every head."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from engines.padding import padded
from engines.transformers_hooks import output_projections
from nnsight import NNsight
from transformers import AutoModelForCausalLM


def load(folder: str) -> Callable[..., np.ndarray]:
    """Return the loop on a model."""
    plain = AutoModelForCausalLM.from_pretrained(folder).eval()
    model = NNsight(plain)
    projections = output_projections(model)
    d_head = plain.config.hidden_size // plain.config.num_attention_heads

    def run(prompts: list[list[int]], heads: list[list[int]], keep: list[list[int]]) -> np.ndarray:  # noqa: ARG001
        tokens, read = padded(prompts)
        rows = torch.arange(len(tokens))
        found = []
        for layer, head in heads:
            with model.trace(input_ids=tokens, use_cache=False):
                projections[layer].input[:, :, head * d_head : (head + 1) * d_head] = 0
                logits = model.lm_head.output.save()
            found.append(logits[rows, read])
        return torch.stack(found).numpy()

    return run
