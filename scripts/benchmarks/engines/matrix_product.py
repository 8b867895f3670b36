"""Plain matrix products: the rate that engines are held against."""

from __future__ import annotations

from collections.abc import Callable

import torch

SHAPE = (1024, 768, 3072)
FLOPS = 2 * SHAPE[0] * SHAPE[1] * SHAPE[2]


def load(folder: str) -> Callable[..., list[float]]:  # noqa: ARG001
    """Return what multiplies `times` times."""
    a, b = torch.randn(SHAPE[0], SHAPE[1]), torch.randn(SHAPE[1], SHAPE[2])
    out = torch.empty(SHAPE[0], SHAPE[2])

    def run(times: int) -> list[float]:
        for _ in range(times):
            torch.mm(a, b, out=out)
        return []

    return run
