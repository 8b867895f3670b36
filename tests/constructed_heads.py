"""A stand-in for a model whose attention patterns are written down: every head is a function of the tokens."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from head_atlas.measures.targets import TARGETS, visible


def resting(target):
    """All attention evenly on the targets, on key 0 where a query has none."""
    pattern = target.double()
    pattern[..., 0] += ~target.any(-1)
    return pattern / pattern.sum(-1, keepdim=True)


def ideal(name):
    """The head that a mass score describes."""
    return lambda tokens: resting(TARGETS[name](tokens))


def even(tokens):
    """Attends evenly to all it can see."""
    seen = visible(tokens.shape[1], None).double()
    return (seen / seen.sum(-1, keepdim=True)).expand(len(tokens), -1, -1)


def noise(seed, sharpness=2.0):
    """Attends anywhere: new logits for every prompt, without any regard to what or where the keys are."""

    def pattern(tokens):
        made = []
        for row in tokens:
            place = hash((seed, *row.tolist())) % 2**31
            logits = sharpness * torch.randn(len(row), len(row), generator=torch.Generator().manual_seed(place))
            made.append(logits.masked_fill(~visible(len(row), None), -torch.inf).double().softmax(-1))
        return torch.stack(made)

    return pattern


class ConstructedHeads:
    """Hands patterns to interventions as a model would, block by block.

    Args:
        heads: by layer, functions from [prompt, pos] tokens to [prompt, query, key] patterns.
    """

    def __init__(self, heads):
        self.heads = heads
        self.n_layers, self.n_heads = len(heads), len(heads[0])
        self.structure = SimpleNamespace(through_interface=True)
        self.device, self.max_length = torch.device("cpu"), 512
        self._active = ()

    def rows(self, prompts):
        return torch.tensor([list(ids) for ids in prompts])

    def intervening(self, *interventions):
        model = self

        class Active:
            def __enter__(self):
                model._active = interventions

            def __exit__(self, *_):
                model._active = ()

        return Active()

    def attend(self, tokens):
        for layer, heads in enumerate(self.heads):
            pattern = torch.stack([head(tokens) for head in heads], 1)
            for reader in self._active:
                for first in range(0, tokens.shape[1], reader.block_queries):
                    last = min(first + reader.block_queries, tokens.shape[1])
                    reader.on_pattern_block(layer, pattern[:, :, first:last, :last], first)
