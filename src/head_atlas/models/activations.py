"""Element-wise functions written out in Python, run piece by piece: the same bits with less memory traffic.

`gelu_new` and its like are eight operations on the widest activation of a layer. Over a large batch each of them
streams tens of megabytes through memory; on pieces that stay in the processor's cache they do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers.activations import FastGELUActivation, NewGELUActivation

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

WRITTEN_OUT = (NewGELUActivation, FastGELUActivation)
PIECE_BYTES = 2**19


def run_in_pieces(module: nn.Module) -> None:
    """Let the written-out activations inside a module work piece by piece on a CPU, without gradients."""
    for activation in module.modules():
        if isinstance(activation, WRITTEN_OUT):
            _wrap(activation)


def _wrap(activation: nn.Module) -> None:
    plain = activation.forward

    def forward(x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        n_rows = max(1, PIECE_BYTES // (x.shape[-1] * x.element_size()))
        if x.device.type != "cpu" or torch.is_grad_enabled() or x.numel() <= n_rows * x.shape[-1]:
            return plain(x)
        flat = x.flatten(0, -2)
        result = torch.empty_like(flat)
        for piece, part in zip(flat.split(n_rows), result.split(n_rows), strict=True):
            part.copy_(plain(piece))
        return result.view(x.shape)

    activation.forward = forward
