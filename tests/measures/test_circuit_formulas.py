"""Formulas of circuits, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from head_atlas.measures.bootstrap import resample_counts
from head_atlas.measures.circuits import (
    interaction,
    over_prompts,
    percentile_among,
    prompt_counts,
    ratio_of_means,
    undefined_share,
)
from head_atlas.measures.head_sets import iter_set_values, set_values
from head_atlas.prompts.prompt import Prompt
from tiny_models import head_model, random_prompts


def counts_for(n):
    return resample_counts([-1] * n, seed=0)


def test_interaction_by_hand():
    singles = np.array([[1.0, 2.0], [3.0, 0.0]])  # head, prompt
    pairs = np.zeros((2, 2, 2))
    pairs[0, 1] = pairs[1, 0] = [9.0, 1.0]
    found = interaction(pairs, singles)
    np.testing.assert_array_equal(found[0, 1], [5.0, -1.0])
    np.testing.assert_array_equal(found[1, 0], [5.0, -1.0])
    assert np.isnan(found[[0, 1], [0, 1]]).all()
    assert pairs[0, 0, 0] == 0  # the arguments are left alone


def test_shares_are_ratios_of_means_resampled_together():
    below = np.array([1.0, 2.0, 9.0])
    found = ratio_of_means(np.stack([below / 2, np.array([3.0, 0.0, 0.0])]), below, ("x",), counts_for(3))
    np.testing.assert_allclose(found.mean, [0.5, 0.25])  # a mean of ratios would be 0.5 and 1
    # half of each prompt is half of any resample: no uncertainty
    np.testing.assert_allclose([found.low[0], found.high[0]], [0.5, 0.5])
    assert found.low[1] == 0
    assert found.high[1] == 3
    one = ratio_of_means(np.array([[2.0]]), np.array([4.0]), ("x",), counts_for(1))
    assert (one.mean[0], one.n) == (0.5, 1)
    assert np.isnan([one.low[0], one.high[0]]).all()


def test_percentiles_count_ties_half_and_are_paired():
    value = np.array([1.0, 3.0])
    others = np.array([[0.0, 3.0], [1.0, 3.0], [2.0, 9.0], [2.0, 2.0]])
    found = percentile_among(value, others, counts_for(2))
    # below, equal to itself, above, and one of equal mean
    assert found.mean.values == 100 * (1 + 0.5 + 0 + 0.5) / 4
    assert found.low.values <= found.mean.values <= found.high.values
    same = percentile_among(value, np.stack([value] * 3), counts_for(2))
    assert same.low.values == same.high.values == 50


def test_a_share_of_nothing_is_refused():
    none = np.zeros(20)
    assert undefined_share(none, np.full(20, 2.0), counts_for(20)) == ""
    noise = np.tile([1.0, -1.1], 10)
    assert "lower bound" in undefined_share(none, noise, counts_for(20))
    assert undefined_share(none, np.full(20, -2.0), counts_for(20))
    assert undefined_share(none[:1], np.array([2.0]), counts_for(1)) == ""


def test_prompts_of_one_template_are_drawn_together():
    prompts = [Prompt("", (0, i), (1,), (1,), template=i // 5) for i in range(20)]
    values = np.repeat([0.0, 1.0, 2.0, 3.0], 5)
    together = over_prompts(values, (), prompt_counts(prompts, 0))
    alone = over_prompts(values, (), counts_for(20))
    assert together.mean.values == alone.mean.values == 1.5
    assert together.high.values - together.low.values > 1.3 * (alone.high.values - alone.low.values)
    other_family = [Prompt("", (0, i), (1,), (1,), family=str(i % 2), template=0) for i in range(20)]
    apart = prompt_counts(other_family, 0)
    assert len(np.unique(apart[:, ::2].sum(1))) > 1  # template 0 of two families is two templates


@pytest.mark.parametrize("metric", ["logit_difference", "logprob"])
def test_values_are_those_of_the_logits(metric):
    model = head_model("llama")
    prompts = random_prompts([(8, (3, 7)), (6, (5,))])
    found = set_values(model, prompts, [()], metric=metric)
    for prompt, value in zip(prompts, found.values.values[0], strict=True):
        logits = model.logits(model.rows([prompt.tokens]))[0, list(prompt.positions)].double()
        rows = range(len(prompt.targets))
        if metric == "logprob":
            expected = logits.log_softmax(-1)[rows, list(prompt.targets)]
        else:
            expected = logits[rows, list(prompt.targets)] - logits[rows, list(prompt.contrasts)]
        assert value == pytest.approx(float(expected.mean()), abs=1e-5)


def test_values_come_as_they_are_computed():
    parts = iter_set_values(head_model("llama"), random_prompts([(8, (7,)), (6, (5,))]), [(), ("0.1",)])
    first = next(parts)
    assert 0 < first.done < first.total
    assert np.isnan(first.values.values).any()
    *_, last = parts
    assert np.isfinite(last.values.values).all()
    assert last.done == last.total
