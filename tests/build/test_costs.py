"""What a build is said to cost, worked by hand on a model small enough for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_build import OPTIONS, SMALL

from head_atlas.build import parts_folder, plan_atlas
from head_atlas.build.costs import atlas_bytes, costs_of, measured_rate, unit_flops
from head_atlas.interventions import Sizes, sizes_of, sweep_flops
from head_atlas.prompts.prompt import Prompt

# one layer of 2 heads, width 4; per token 96 operations for q, k and v, 32 for the output, 64 for the rest
SIZES = Sizes(n_layers=1, n_heads=2, d_head=2, d_model=4, d_vocab=10, q=96, o=32, m=64)
PROMPT = Prompt("a", (1, 2, 3), (2,), (5,))


def test_operations_by_hand():
    # attention: 2 (T + 1) H d_head = 32 a token; a token 96 + 32 + 32 + 64 = 224; unembedding 2 x 4 x 10
    assert SIZES.forward(3, 1) == 3 * 224 + 80
    assert unit_flops("direct_logit", [PROMPT], SIZES) == 752
    assert unit_flops("exemplars_text", [PROMPT, PROMPT], SIZES) == 4 * 752
    # no output projection and no MLP in the last layer, and patterns once more: 2 x 9 x 2 x 2
    assert unit_flops("scores", [PROMPT], SIZES) == 3 * 128 + 72
    # once as they are and eight times against other repeats; flat random tokens twice
    assert unit_flops("nulls", [replace(PROMPT, family="rand_repeat")], SIZES) == 9 * 456
    assert unit_flops("nulls", [replace(PROMPT, family="rand_flat")], SIZES) == 2 * 456
    # 21 orders of the labels: 2 x 10 x 4^2 each, and in each of 2 heads 2 x 2 x 4^2 + 2 x 2^2 x 4 + 10 x 2^3; logits of
    # all 10 tokens: 2 x 2 x 10 x (4 + 10)
    assert unit_flops("weights", [], SIZES) == 21 * 320 + 2 * (21 * 176 + 560)
    swept = sweep_flops(SIZES, 1, 3, 1)
    assert unit_flops("zero", [PROMPT], SIZES) == swept
    assert unit_flops("pattern_freeze", [PROMPT], SIZES) == swept + 752
    assert unit_flops("resample_corrupted", [PROMPT], SIZES) == swept + 752
    assert unit_flops("resample", [PROMPT], SIZES) == 752 + 5 * (swept - 752)


def test_time_is_operations_over_the_rate_and_only_what_is_missing_counts(model):
    plan = plan_atlas(model, SMALL)
    sizes = sizes_of(model)
    costs = {cost.kind: cost for cost in costs_of(plan, sizes, rate=1e9)}
    assert set(costs) == {"reference", "zero"}
    faster = {cost.kind: cost for cost in costs_of(plan, sizes, rate=2e9)}
    assert faster["zero"].seconds == pytest.approx(costs["zero"].seconds / 2)
    assert costs["zero"].tokens == sum(map(len, plan.prompts))
    assert costs["reference"].tokens == sum(map(len, plan.reference_prompts))
    assert costs["zero"].flops == sum(sweep_flops(sizes, 1, len(p), len(p.positions)) for p in plan.prompts)
    assert [cost.kind for cost in costs_of(plan, sizes, rate=1e9, missing=plan.units[1:])] == ["zero"]
    assert np.isfinite(measured_rate(model, 0.01))


def test_bytes_are_of_the_right_order(path, model):
    plan, sizes = plan_atlas(model, OPTIONS), sizes_of(model)
    costs = costs_of(plan, sizes, rate=1e9)
    found = sum(shard.stat().st_size for shard in parts_folder(path).glob("*.h5"))
    assert 0.4 < atlas_bytes(plan, sizes, costs) / path.stat().st_size < 2.5
    assert 0.3 < sum(cost.shard_bytes for cost in costs) / found < 3


def test_more_prompts_cost_more(model):
    few, many = (
        sum(cost.flops for cost in costs_of(plan_atlas(model, replace(SMALL, n_prompts=n)), sizes_of(model), rate=1.0))
        for n in (2, 8)
    )
    assert many > few
