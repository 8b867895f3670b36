"""The loop over heads that TransformerLens's users write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from engines.padding import padded


def hook_loop(model: Any) -> Callable[..., np.ndarray]:
    """Zero `hook_z` of one head in one run, for every head."""

    def run(prompts: list[list[int]], heads: list[list[int]], keep: list[list[int]]) -> np.ndarray:  # noqa: ARG001
        tokens, read = padded(prompts)
        rows = torch.arange(len(tokens))
        found = []
        for layer, head in heads:

            def zero(z: torch.Tensor, hook: Any, head: int = head) -> torch.Tensor:  # noqa: ARG001
                z[:, :, head] = 0
                return z

            hooks = [(f"blocks.{layer}.attn.hook_z", zero)]
            found.append(model.run_with_hooks(tokens, fwd_hooks=hooks)[rows, read])
        return torch.stack(found).numpy()

    return run
