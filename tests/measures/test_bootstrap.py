from __future__ import annotations

import numpy as np
import pytest

from head_atlas.measures.bootstrap import bootstrap_excess, bootstrap_macro, bootstrap_mean, resample_counts


def test_a_constant_has_no_width():
    counts = resample_counts([-1] * 10, seed=0)
    found = bootstrap_mean(np.full((2, 3, 10), 0.25), counts)
    for values in (found.mean, found.low, found.high):
        np.testing.assert_allclose(values, 0.25, rtol=1e-12)
    assert found.n.tolist() == [[10] * 3] * 2


def test_the_interval_of_independent_prompts_is_that_of_the_normal():
    values = np.random.default_rng(0).normal(size=400)
    found = bootstrap_mean(values, resample_counts([-1] * 400, seed=0))
    half = 1.96 * values.std() / 20
    assert found.mean == pytest.approx(values.mean())
    assert found.high - found.mean == pytest.approx(half, rel=0.1)
    assert found.mean - found.low == pytest.approx(half, rel=0.1)


def test_prompts_of_one_template_that_agree_widen_the_interval():
    # ten templates of ten equal prompts: the sampling unit is the template
    per_template = np.random.default_rng(1).normal(size=10)
    values, clusters = np.repeat(per_template, 10), np.repeat(np.arange(10), 10)
    clustered = bootstrap_mean(values, resample_counts(clusters, seed=0))
    alone = bootstrap_mean(values, resample_counts([-1] * 100, seed=0))
    ratio = (clustered.high - clustered.low) / (alone.high - alone.low)
    assert ratio == pytest.approx(np.sqrt(10), rel=0.15)


def test_counts_draw_whole_templates_with_as_many_prompts_as_they_have():
    clusters = np.array([0, 0, 0, 1, 2, 2])
    counts = resample_counts(clusters, seed=3, n_resamples=500)
    assert counts.shape == (500, 6)
    drawn = np.stack([counts[:, clusters == c].sum(1) / (clusters == c).sum() for c in range(3)], axis=1)
    assert (drawn == drawn.round()).all()
    assert (drawn.sum(1) == 3).all()
    assert set(counts[:, 0]) > {0.0, 1.0, 2.0}


def test_counts_agree_with_an_obvious_twin_in_distribution():
    clusters = [0, 0, 0, 1, 1, -1, -1]
    groups = [[0, 1, 2], [3, 4], [5], [6]]
    values = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0])
    rng = np.random.default_rng(0)
    slow = []
    for _ in range(20000):
        drawn = []
        for group in rng.integers(0, 4, size=4):
            drawn += rng.choice(groups[group], size=len(groups[group])).tolist()
        slow.append(values[drawn].mean())
    counts = resample_counts(clusters, seed=0, n_resamples=20000)
    fast = counts @ values / counts.sum(1)
    for q in (0.025, 0.25, 0.5, 0.75, 0.975):
        assert np.quantile(fast, q) == pytest.approx(np.quantile(slow, q), rel=0.04)


def test_the_seed_and_the_family_decide_the_draw_and_nothing_else():
    same = [resample_counts([0, 1, 1], seed=1, family="ioi") for _ in range(2)]
    np.testing.assert_array_equal(*same)
    assert (resample_counts([0, 1, 1], seed=2, family="ioi") != same[0]).any()
    assert (resample_counts([0, 1, 1], seed=1, family="fact") != same[0]).any()


def test_undefined_prompts_are_left_out_and_counted():
    values = np.array([[1.0, np.nan, 3.0] * 4, [np.nan] * 12])
    found = bootstrap_mean(values, resample_counts([-1] * 12, seed=0))
    assert found.mean[0] == 2.0
    assert 1 < found.low[0] < 2 < found.high[0] < 3
    assert found.n.tolist() == [8, 0]
    assert np.isnan([found.mean[1], found.low[1], found.high[1]]).all()


@pytest.mark.parametrize(("n_defined", "interval"), [(2, False), (3, False), (8, True), (30, True)])
def test_resamples_without_a_defined_prompt_are_not_dropped_in_silence(n_defined, interval):
    counts = resample_counts(range(30), seed=0)
    values = np.where(np.arange(30) < n_defined, np.arange(30) % 2, np.nan)
    found = bootstrap_mean(values, counts)
    assert found.n == n_defined
    assert np.isfinite([found.low, found.high]).all() == interval
    macro = bootstrap_macro([values[None], np.arange(30.0)[None]], [counts, counts])
    assert np.isfinite([macro.low, macro.high]).all() == interval
    # few prompts, all of them defined: every resample has some
    assert np.isfinite(bootstrap_mean(values[:2], resample_counts(range(2), seed=0)).low)


def test_excess_is_a_ratio_of_means():
    mass, uniform = np.array([[[0.5, 0.9]]]), np.array([[0.1, 0.3]])
    found = bootstrap_excess(mass, uniform, resample_counts([-1, -1], seed=0))
    assert found.mean[0, 0] == pytest.approx((0.7 - 0.2) / (1 - 0.2))
    assert found.low[0, 0] == pytest.approx((0.5 - 0.1) / 0.9)
    assert found.high[0, 0] == pytest.approx((0.9 - 0.3) / 0.7)


def test_blocks_of_rows_do_not_change_the_result(monkeypatch):
    values = np.random.default_rng(0).normal(size=(5, 4, 30))
    counts = resample_counts([-1] * 30, seed=0, n_resamples=100)
    whole = bootstrap_mean(values, counts)
    monkeypatch.setattr("head_atlas.measures.bootstrap._NUMBERS_PER_BLOCK", 300)
    blocks = bootstrap_mean(values, counts)
    np.testing.assert_allclose(blocks.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(blocks.low, whole.low, rtol=1e-9)


def test_one_prompt_has_a_mean_but_no_interval():
    values = np.array([[1.0, np.nan], [1.0, 2.0]])
    found = bootstrap_mean(values, resample_counts([-1] * 2, seed=0))
    assert found.mean.tolist() == [1.0, 1.5]
    assert np.isnan([found.low[0], found.high[0]]).all()
    assert (found.low[1], found.high[1]) == (1.0, 2.0)
    assert found.n.tolist() == [1, 2]


def test_the_callers_clusters_are_not_changed():
    clusters = np.array([0, -1, -1], dtype=np.int64)
    resample_counts(clusters, seed=0, n_resamples=3)
    assert clusters.tolist() == [0, -1, -1]


def families(sizes=(40, 60, 30)):
    rng = np.random.default_rng(7)
    values = [rng.normal(size=(2, 3, n)) for n in sizes]
    counts = [resample_counts([-1] * n, seed=0, family=str(i)) for i, n in enumerate(sizes)]
    return values, counts


def test_a_macro_average_is_the_mean_of_the_families_means_and_as_uncertain():
    values, counts = families()
    found = bootstrap_macro(values, counts)
    np.testing.assert_allclose(found.mean, np.mean([v.mean(-1) for v in values], axis=0), rtol=1e-12)
    # independent means: their variances add up
    half = 1.96 * np.sqrt(sum(v.var(-1) / v.shape[-1] for v in values)) / 3
    np.testing.assert_allclose(found.high - found.low, 2 * half, rtol=0.12)
    assert (found.n == 3).all()
    slow = np.mean([(c @ v[1, 2]) / c.sum(1) for v, c in zip(values, counts, strict=True)], axis=0)
    np.testing.assert_allclose((found.low[1, 2], found.high[1, 2]), np.quantile(slow, [0.025, 0.975]), rtol=1e-9)


def test_a_macro_average_leaves_out_families_without_values_and_says_so():
    values, counts = families()
    values[1][0] = np.nan
    values[0][1, :, 1:] = np.nan
    for v in values:
        v[0, 2] = np.nan
    found = bootstrap_macro(values, counts)
    alone = bootstrap_macro([values[0], values[2]], [counts[0], counts[2]])
    for end in ("mean", "low", "high"):
        np.testing.assert_array_equal(getattr(found, end)[0], getattr(alone, end)[0])
    assert found.n.tolist() == [[2, 2, 0], [3, 3, 3]]
    assert np.isnan([found.mean[0, 2], found.low[0, 2], found.high[0, 2]]).all()
    # one family of one prompt has no interval, so their mean has none
    assert np.isfinite(found.mean[1]).all()
    assert np.isnan([found.low[1], found.high[1]]).all()


def test_a_macro_average_of_one_family_is_that_family():
    values, counts = families((25,))
    macro, plain = bootstrap_macro(values, counts), bootstrap_mean(values[0], counts[0])
    for end in ("mean", "low", "high"):
        np.testing.assert_allclose(getattr(macro, end), getattr(plain, end), rtol=1e-12)


def test_blocks_of_rows_do_not_change_a_macro_average(monkeypatch):
    values, counts = families()
    whole = bootstrap_macro(values, counts)
    monkeypatch.setattr("head_atlas.measures.bootstrap._NUMBERS_PER_BLOCK", 4000)
    blocks = bootstrap_macro(values, counts)
    np.testing.assert_allclose(blocks.low, whole.low, rtol=1e-9)
    np.testing.assert_array_equal(blocks.n, whole.n)
