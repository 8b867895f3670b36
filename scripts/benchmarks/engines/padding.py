"""Prompts of mixed lengths as one batch: padded on the right, which causal attention does not see."""

from __future__ import annotations

import torch


def padded(prompts: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids [prompt, pos], and each prompt's last position."""
    longest = max(map(len, prompts))
    tokens = torch.tensor([ids + [0] * (longest - len(ids)) for ids in prompts])
    return tokens, torch.tensor([len(ids) - 1 for ids in prompts])
