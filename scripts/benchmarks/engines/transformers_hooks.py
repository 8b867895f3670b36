"""A plain loop in transformers: heads as rows of one batch, zeroed before the output projection by a hook.

Only the positions that are read are unembedded; no layer is skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from engines.padding import padded
from transformers import AutoModelForCausalLM

TOKENS = 2048
"""In one batch, at most, as in our own default on a CPU."""


def output_projections(model: Any) -> list[Any]:
    """The linear layers that z enters, of GPT-2 or Llama."""
    if model.config.model_type == "gpt2":
        return [block.attn.c_proj for block in model.transformer.h]
    return [block.self_attn.o_proj for block in model.model.layers]


def load(folder: str) -> Callable[..., np.ndarray]:
    """Return the loop on a model."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    projections = output_projections(model)
    n_heads = model.config.num_attention_heads

    def remove(layer: int, some: list[int], tokens: torch.Tensor, read: torch.Tensor) -> torch.Tensor:
        def zero(module: Any, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:  # noqa: ARG001
            z = args[0].unflatten(0, (len(some), -1)).unflatten(-1, (n_heads, -1)).clone()
            for row, head in enumerate(some):
                z[row, :, :, head] = 0
            return (z.flatten(-2).flatten(0, 1),)

        kept, place = read.unique(return_inverse=True)
        handle = projections[layer].register_forward_pre_hook(zero)
        try:
            rows = tokens.repeat(len(some), 1)
            logits = model(input_ids=rows, use_cache=False, logits_to_keep=kept).logits.unflatten(0, (len(some), -1))
        finally:
            handle.remove()
        return logits[:, torch.arange(len(tokens)), place]

    def run(prompts: list[list[int]], heads: list[list[int]], keep: list[list[int]]) -> np.ndarray:  # noqa: ARG001
        tokens, read = padded(prompts)
        at_once = max(1, TOKENS // tokens.numel())
        found = []
        for layer in sorted({layer for layer, _ in heads}):
            of_layer = [head for at, head in heads if at == layer]
            for start in range(0, len(of_layer), at_once):
                found.append(remove(layer, of_layer[start : start + at_once], tokens, read))
        return torch.cat(found).numpy()

    return run
