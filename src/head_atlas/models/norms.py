"""LayerNorm and RMSNorm, told apart by what a module does, not by its name.

    norm(x) = (x - c mean x) / sigma * gain + bias        sigma = sqrt(mean (x - c mean x)^2 + eps)

c is 1 for LayerNorm and 0 for RMSNorm. With sigma frozen a norm is linear, and its parts add up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@dataclass(frozen=True)
class Norm:
    """A norm whose formula was verified against its module, in float64.

    Attributes:
        centred: the mean is taken out (LayerNorm), or not (RMSNorm).
        gain: [d_model].
        bias: [d_model], zeros where there is none.
        eps: added to the variance.
    """

    centred: bool
    gain: Float[Tensor, " d_model"]
    bias: Float[Tensor, " d_model"]
    eps: float

    def __call__(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """Normalise."""
        return self.frozen(x, self.sigma(x)) + self.bias

    def sigma(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch 1"]:
        """What x is divided by."""
        x = self.centre(x.double())
        return (x.square().mean(-1, keepdim=True) + self.eps).sqrt()

    def frozen(
        self, part: Float[Tensor, "*batch d_model"], sigma: Float[Tensor, "*batch 1"]
    ) -> Float[Tensor, "*batch d_model"]:
        """A part of x as it comes out, sigma being that of the whole; the bias is a part of its own."""
        return self.centre(part.double()) / sigma * self.gain

    def reads(
        self, direction: Float[Tensor, "*batch d_model"], sigma: Float[Tensor, "*batch 1"]
    ) -> Float[Tensor, "*batch d_model"]:
        """The direction in front of the norm that is read by one behind it: the transpose of `frozen`."""
        return self.centre(direction.double() * self.gain) / sigma

    def folded(self, weight: Float[Tensor, "*batch d_model out"]) -> Float[Tensor, "*batch d_model out"]:
        """Weights that read the norm's output, as weights that read its input, sigma left out."""
        weight = weight.double() * self.gain[:, None]
        return weight - weight.mean(-2, keepdim=True) if self.centred else weight

    def centre(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """Take the mean out, where the norm does."""
        return x - x.mean(-1, keepdim=True) if self.centred else x


def recognise(
    module: nn.Module, x: Float[Tensor, "*batch d_model"], y: Float[Tensor, "*batch d_model"], tolerance: float
) -> Norm | None:
    """Return the norm that a module is, or None if it is none.

    The formula must hold for what it read and for random rows with a mean, which tell LayerNorm from RMSNorm.

    Args:
        module: without modules inside, that made y of x.
        x: what it read.
        y: what it returned.
        tolerance: largest deviation from the formula, relative to a number of y or to the spread of y.
    """
    width = x.shape[-1]
    own = dict(module.named_parameters(recurse=False))
    if any(True for _ in module.children()) or any(p.shape != (width,) for p in own.values()):
        return None
    random = torch.randn(4, width, generator=torch.Generator().manual_seed(0)).to(x) + 1
    with torch.no_grad():
        pairs = torch.stack(
            [torch.cat([x.reshape(-1, width), random]), torch.cat([y.reshape(-1, width), module(random)])]
        )
    x, y = pairs.double()
    spread = y.std().clamp(min=1e-30)
    vectors = [p.detach().double() for p in own.values()]
    one, zero = torch.ones(width, dtype=x.dtype, device=x.device), torch.zeros(width, dtype=x.dtype, device=x.device)
    epsilons = [v for v in vars(module).values() if isinstance(v, float) and 0 < v < 0.1] or [0.0]
    for centred in (True, False):
        for eps in epsilons:
            for gain in [*vectors, *(one + v for v in vectors), one]:  # Gemma's gain is 1 + weight
                for bias in [*(v for v in vectors if v is not gain), zero]:
                    norm = Norm(centred, gain, bias, eps)
                    if bool(((norm(x) - y).abs() <= tolerance * (y.abs() + spread)).all()):
                        return norm
    return None
