"""TransformerLens 4: `run_with_hooks` of its bridge for every head, weights as they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from engines.hook_loop import hook_loop
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM


def load(folder: str) -> Callable[..., np.ndarray]:
    """Return the loop on a model."""
    plain = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    bridge = TransformerBridge.boot_transformers(
        folder, hf_model=plain, device="cpu", dtype=torch.float32, load_weights=True
    )
    bridge.enable_compatibility_mode(disable_warnings=True, no_processing=True)
    return hook_loop(bridge)
