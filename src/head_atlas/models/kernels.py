"""Faster ways to the same numbers on a CPU, for modules that a sweep spends its time in.

- Linear layers in float32 go through oneDNN rather than through the BLAS that torch was built with: on an AMD EPYC
  10 to 20 % faster for the products of a layer, and 1.5 times for an unembedding of 50,257 tokens.
- `gelu_new` and its like are eight operations, written out in Python, on the widest activation of a layer; torch has
  the same formula as one. (In 16 bits every step is rounded, so there the two are not the same.)
- The gradient of an RMS norm, six operations there and more back, is written in closed form; its values stay the same.

All serve gradients to what a layer reads; where gradients to weights are asked for, modules stay as they were.

Sums are taken in another order, so the last bits differ from those of the model as transformers loaded it:
`models.checks` holds the two against each other at every load.

oneDNN makes a kernel for every shape of a product, which takes some 3 ms and 0.7 MB, and keeps the last 1024: with
prompts of all lengths, memory grew with their number by more than half a gigabyte. Here it keeps `KERNELS_KEPT`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import gelu
from transformers.activations import FastGELUActivation, NewGELUActivation
from transformers.pytorch_utils import Conv1D

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

WRITTEN_OUT = (NewGELUActivation, FastGELUActivation)
"""Modules that compute 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) step by step."""
LINEAR = (nn.Linear, Conv1D)
RMS_NORMS = {"LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm", "Phi3RMSNorm"}
"""Classes of transformers that compute weight * x / sqrt(mean(x^2) + variance_epsilon), and nothing else."""
FEWEST_PRODUCTS = 2**23
"""Multiplications of a linear layer from which oneDNN is at least as fast; a constant: the choice decides last bits."""
KERNELS_KEPT = 128
"""Shapes of products, of which the sweep of a pack of prompts through GPT-2 small needs 30 to 60, again and again."""
_CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
"""Of oneDNN, and of the layer between it and torch; each is read when the first product is made."""


def use_fast_kernels(model: nn.Module) -> None:
    """Let linear layers and written-out activations take the faster way.

    Limits how many kernels oneDNN keeps in this process, unless its environment says how many.
    """
    has_onednn = torch.backends.mkldnn.is_available()
    if has_onednn:
        for cache in _CACHES:
            os.environ.setdefault(cache, str(KERNELS_KEPT))
    for module in model.modules():
        if type(module) in WRITTEN_OUT:
            _fuse(module)
        elif type(module).__name__ in RMS_NORMS and type(module).__module__.startswith("transformers."):
            _norm_in_one(module)
        elif has_onednn and isinstance(module, LINEAR) and type(module) in LINEAR:
            _through_onednn(module)  # a subclass may do more, and stays as it is


def _fuse(activation: nn.Module) -> None:
    plain = activation.forward

    def forward(x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        plainly = x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64)
        return plain(x) if plainly else gelu(x, approximate="tanh")

    activation.forward = forward


def _norm_in_one(norm: nn.Module) -> None:
    plain = norm.forward

    def forward(hidden_states: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        x = hidden_states
        ours = x.requires_grad and torch.is_grad_enabled() and not norm.weight.requires_grad
        if not ours or x.dtype not in (torch.float32, torch.float64) or norm.weight.dtype != x.dtype:
            return plain(x)
        return _RMSNorm.apply(x, norm.weight, norm.variance_epsilon)

    norm.forward = forward


def _through_onednn(linear: nn.Linear | Conv1D) -> None:
    plain = linear.forward

    def forward(x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_out"]:
        # read at every call: a model may be moved or converted
        weight, bias = linear.weight, linear.bias
        learns = weight.requires_grad or (bias is not None and bias.requires_grad)
        plainly = (
            (learns and torch.is_grad_enabled())
            or x.device.type != "cpu"
            or x.dtype != torch.float32
            or weight.dtype != torch.float32
            or x.numel() * (weight.numel() // x.shape[-1]) < FEWEST_PRODUCTS
        )
        if plainly:
            return plain(x)
        by_output = weight.t() if isinstance(linear, Conv1D) else weight
        return _Product.apply(x, by_output, bias) if torch.is_grad_enabled() else _product(x, by_output, bias)

    linear.forward = forward  # type: ignore[method-assign]


def _product(
    x: Float[Tensor, "*batch d_in"], weight: Float[Tensor, "d_out d_in"], bias: Float[Tensor, " d_out"] | None
) -> Float[Tensor, "*batch d_out"]:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


class _Product(Function):
    """x W^T + b, which lets gradients through to x alone: d/dx = g W."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.weight = weight
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _product(gradient, ctx.weight.t(), None), None, None


class _RMSNorm(Function):
    """w y with y = r x and r = 1 / sqrt(mean(x^2) + eps); back, with g' = w g: r (g' - y mean(y g'))."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        # in float32 where the module computes in it, so that values stay what they were to the last bit
        r = torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + epsilon)
        y = (x.float() * r).to(x.dtype)
        ctx.save_for_backward(y, r)
        ctx.weight = weight
        return weight * y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        y, r = ctx.saved_tensors
        gradient = gradient * ctx.weight
        along = (gradient * y).mean(-1, keepdim=True)
        return gradient.addcmul_(y, along, value=-1).mul_(r.to(gradient.dtype)), None, None
