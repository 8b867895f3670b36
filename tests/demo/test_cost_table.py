"""The table of costs in docs/cluster.md is what the formulas give."""

from __future__ import annotations

from pathlib import Path

import pytest

from head_atlas.build import BuildOptions, plan_atlas
from head_atlas.build.costs import atlas_bytes, costs_of, pattern_flops
from head_atlas.interventions import Sizes
from head_atlas.models import load_model

ROOT = Path(__file__).parents[2]


def llama(n_layers, n_heads, d_model, d_mlp):
    """Of Llama 3: 8 heads of keys and values, 128 wide."""
    q, o, m = d_model * 128 * (n_heads + 2 * 8), d_model * 128 * n_heads, 3 * d_model * d_mlp
    return Sizes(n_layers, n_heads, 128, d_model, 128_256, q=2 * q, o=2 * o, m=2 * m)


GPT2 = Sizes(12, 12, 64, 768, 50_257, q=2 * 3 * 768**2, o=2 * 768**2, m=2 * 8 * 768**2)
SIZES = {"GPT-2 small": GPT2, "Llama 3 8B": llama(32, 32, 4096, 14_336), "Llama 3 70B": llama(80, 64, 8192, 28_672)}
WHAT = {"all": {}, "zero ablation and patterns": {"modes": ("zero",), "measures": ("scores",)}}
PATTERN_PASS = "patterns of 16,384 prompts of 512 tokens"


def rows():
    lines = (ROOT / "docs" / "cluster.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return [row for row in cells if row[0] in SIZES]


@pytest.fixture(scope="module")
def plans():
    model = load_model(str(ROOT / "atlas" / "demo" / "model"))
    return {what: plan_atlas(model, BuildOptions(**options)) for what, options in WHAT.items()}


def test_every_row_is_there_and_true(plans):
    found = rows()
    assert sorted(row[:2] for row in found) == sorted(
        [*([name, what] for name in SIZES for what in WHAT), ["Llama 3 70B", PATTERN_PASS]]
    )
    for name, what, operations, at, hours, atlas, shards in found:
        rate, sizes = float(at.split()[0]) * 1e12, SIZES[name]
        if what == PATTERN_PASS:
            assert float(operations) == pytest.approx(16_384 * pattern_flops(sizes, 512), rel=0.05)
            continue
        costs = costs_of(plans[what], sizes, rate=rate)
        assert float(operations) == pytest.approx(sum(cost.flops for cost in costs), rel=0.05)
        assert float(hours) == pytest.approx(sum(cost.seconds for cost in costs) / 3600, rel=0.1)
        assert float(atlas.split()[0]) == pytest.approx(atlas_bytes(plans[what], sizes, costs) / 1e6, rel=0.1)
        assert float(shards.split()[0]) == pytest.approx(sum(cost.shard_bytes for cost in costs) / 1e6, rel=0.1)


def test_its_prompts_are_counted_right(plans):
    text = (ROOT / "docs" / "cluster.md").read_text()
    prompts = plans["all"].prompts
    assert (
        f"{len(prompts)}\nprompts, {sum(map(len, prompts)):,} tokens in {len(plans['all'].families)} families" in text
    )
    assert len(plans["all"].modes) == 5
