"""Activations in pieces are the activations, bit for bit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from head_atlas.models.activations import PIECE_BYTES, WRITTEN_OUT, run_in_pieces


@pytest.mark.parametrize("kind", WRITTEN_OUT)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(7, 301, 193), (1000, 515), (3, 5)])
def test_pieces_change_no_bit(kind, dtype, shape):
    x = 3 * torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    plain, pieces = kind(), nn.Sequential(kind())
    run_in_pieces(pieces)
    with torch.no_grad():
        assert torch.equal(pieces(x), plain(x))
        assert torch.equal(pieces(x.mT.contiguous().mT), plain(x))
    assert (x.numel() * x.element_size() > PIECE_BYTES) == (shape != (3, 5))


def test_gradients_flow():
    pieces = nn.Sequential(WRITTEN_OUT[0]())
    run_in_pieces(pieces)
    x = torch.randn(1000, 515, requires_grad=True)
    pieces(x).sum().backward()
    assert x.grad is not None
