"""Faster kernels give the numbers of the modules they stand in for, on every kind of input that reaches them."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from head_atlas.models.kernels import FEWEST_PRODUCTS, WRITTEN_OUT, use_fast_kernels


def both(module: nn.Module) -> tuple[nn.Module, nn.Module]:
    fast = nn.Sequential(copy.deepcopy(module))
    use_fast_kernels(fast)
    return module, fast


def random(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("kind", WRITTEN_OUT)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float64, 1e-10), (torch.bfloat16, 0.0)])
def test_activations_are_the_same_function(kind, dtype, tolerance):
    plain, fast = both(kind())
    x = random(7, 301, 193, dtype=dtype)
    with torch.no_grad():
        assert (fast(x) - plain(x)).abs().max() <= tolerance


@pytest.mark.parametrize("kind", ["linear", "without bias", "conv1d"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 0.0), (torch.bfloat16, 0.0)])
def test_products_are_the_same(kind, dtype, tolerance):
    torch.manual_seed(0)
    module = Conv1D(320, 192) if kind == "conv1d" else nn.Linear(192, 320, bias=kind == "linear")
    plain, fast = both(module.to(dtype))
    for x in (random(20, 11, 192, dtype=dtype), random(220, 192, dtype=dtype), random(11, 20, 192, dtype=dtype).mT.mT):
        assert x.numel() * 320 > FEWEST_PRODUCTS
        with torch.no_grad():
            expected = plain(x)
            assert fast(x).shape == expected.shape
            assert (fast(x) - expected).abs().max() <= tolerance * expected.abs().max()


def test_a_weight_that_changes_counts_at_once():
    _, fast = both(nn.Linear(192, 320))
    x = random(220, 192)
    with torch.no_grad():
        fast[0].weight.zero_()
        fast[0].bias.fill_(2.0)
        assert (fast(x) == 2.0).all()


PRODUCTS_OF_MANY_LENGTHS = """
import os

import torch
from torch import nn

from head_atlas.models import kernels

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

torch.set_num_threads(1)
kernels.KERNELS_KEPT = 32
linear = nn.Sequential(nn.Linear(192, 768))
kernels.use_fast_kernels(linear)
with torch.no_grad():
    for lengths in (range(100, 228), range(228, 484)):
        for length in lengths:
            linear(torch.ones(length, 192))
        print(resident())
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="needs oneDNN")
def test_memory_does_not_grow_with_the_number_of_lengths():
    """Without a limit on its kernels, the further 256 lengths take 150 MB or more."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("CACHE_CAPACITY")}
    command = [sys.executable, "-c", PRODUCTS_OF_MANY_LENGTHS]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    first, then = map(float, run.stdout.split())
    assert then - first < 60


@pytest.mark.parametrize("kind", ["activation", "linear", "without bias", "conv1d"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_gradients_to_the_input_are_those_of_the_plain_module(kind, dtype, tolerance):
    torch.manual_seed(0)
    modules = {"activation": WRITTEN_OUT[0](), "conv1d": Conv1D(320, 192)}
    module = modules.get(kind) or nn.Linear(192, 320, bias=kind == "linear")
    plain, fast = both(module.to(dtype).requires_grad_(False))
    for x in (random(220, 192, dtype=dtype), random(20, 11, 192, dtype=dtype)):
        x.requires_grad_()
        weight = random(*plain(x).shape, dtype=dtype)
        (expected,) = torch.autograd.grad((weight * plain(x)).sum(), x)
        (found,) = torch.autograd.grad((weight * fast(x)).sum(), x)
        assert found.shape == expected.shape
        assert (found - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize("frozen", ["nothing", "weight", "bias"])
def test_gradients_to_weights_are_those_of_the_plain_module(frozen):
    plain, fast = both(nn.Linear(192, 320))
    for module in (plain, fast[0]):
        if frozen != "nothing":
            getattr(module, frozen).requires_grad_(False)
    x = random(220, 192)
    plain(x).square().sum().backward()
    fast(x).square().sum().backward()
    for name in {"weight", "bias"} - {frozen}:
        assert torch.equal(getattr(fast[0], name).grad, getattr(plain, name).grad)
