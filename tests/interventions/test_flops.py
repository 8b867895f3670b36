"""The written formula against what torch counts."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from head_atlas.errors import UnsupportedModelError
from head_atlas.interventions import sweep_flops, sweep_rows
from tiny_models import head_model, random_prompts


@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt_neox", "bloom"])
@pytest.mark.parametrize(("n_pos", "positions"), [(20, (19,)), (20, (3, 8, 19)), (40, (39,))])
def test_the_formula_counts_the_matrix_products_of_a_sweep(family, n_pos, positions):
    model = head_model(family)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        list(sweep_rows(model, random_prompts([(n_pos, positions)] * 3)))
    # Products of scores and values are made for masked keys too, by some kernels uncounted; masks and positions are
    # made by runs that unembed a few rows.
    attention = 4 * n_pos * model.n_heads * model.d_head * n_pos * 3 * (3 + 4 * 1 + 4 * 2)
    found = sweep_flops(model, 3, n_pos, len(positions))
    assert counter.get_total_flops() == pytest.approx(found, abs=attention, rel=0.02)
    assert attention < 0.35 * found


def test_experts_are_refused():
    with pytest.raises(UnsupportedModelError, match="dense layers"):
        sweep_flops(head_model("gpt_oss"), 1, 10, 1)
