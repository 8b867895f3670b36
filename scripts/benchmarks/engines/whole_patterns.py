"""The usual pipeline: `output_attentions=True`, and the same formulas on whole patterns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from engines.head_atlas_patterns import NAMES
from transformers import AutoModelForCausalLM

from head_atlas.measures import scores
from head_atlas.measures.targets import TARGETS, visible


def load(folder: str) -> Callable[..., np.ndarray]:
    """Return what scores all heads on prompts of one length: [score, layer, head, prompt], offsets' bins last."""
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()

    def run(prompts: list[list[int]]) -> np.ndarray:
        tokens = torch.tensor(prompts)
        seen = visible(tokens.shape[1], None)
        targets = {name: TARGETS[name](tokens) for name in TARGETS}
        # one position is unembedded: logits are not asked for
        patterns = model(input_ids=tokens, output_attentions=True, use_cache=False, logits_to_keep=1).attentions
        layers = []
        for pattern in patterns:
            found = {name: scores.mass(pattern, targets[name]) for name in targets}
            found["diffuse"] = scores.diffuse(pattern, seen)
            found["diffuse_sink_free"] = scores.diffuse(pattern, seen, sink_free=True)
            single = torch.stack([found[name].double() for name in NAMES[:-1]], -1)
            layers.append(torch.cat([single, scores.offsets(pattern).double()], -1))
        return torch.stack(layers).permute(3, 0, 2, 1).numpy()

    return run
