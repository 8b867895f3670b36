"""Memory does not grow with the number of prompts, once packs are full."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "atlas" / "demo" / "model"
NULLS_OF_FEW_AND_OF_MANY = """
import sys

import torch

from head_atlas.measures import patterns
from head_atlas.measures.nulls import null_scores
from head_atlas.models import kernels, load_model
from head_atlas.prompts.families import build_families

def of_process(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))

torch.set_num_threads(1)
kernels.KERNELS_KEPT = 32
patterns.PATTERN_NUMBERS_PER_BATCH = 2**19
model = load_model(sys.argv[1])
for n_prompts in (40, 160):
    found = build_families(model.policy, n_prompts=n_prompts, seed=0, only=["rand_repeat"], max_length=model.max_length)
    assert len(found.prompts["rand_repeat"]) == n_prompts
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak is counted from here
    before = of_process("VmRSS")
    null_scores(model, found.prompts, n_draws=1000)
    print(of_process("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the peak is reset through /proc")
def test_the_nulls_of_many_prompts_take_the_memory_of_few():
    """1,280 mismatched inputs of 24 heads: their patterns, kept, would be 230 MB; those of 320 inputs 58 MB."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("CACHE_CAPACITY")}
    command = [sys.executable, "-c", NULLS_OF_FEW_AND_OF_MANY, str(DEMO)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    few, many = map(float, run.stdout.split())
    assert many < few + 60
