from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from head_atlas.measures.significance import (
    effective_number,
    participation_ratio,
    percentiles,
    q_values,
    sign_flip_p,
    spearman,
    split_half,
    tail_p,
)

ALONE = -1


def slow_sign_flip(values, clusters):
    """Every assignment of signs to clusters, tried one by one."""
    names = sorted(set(clusters))
    observed = abs(np.nansum(values))
    found = []
    for signs in product((1, -1), repeat=len(names)):
        flipped = sum(signs[names.index(c)] * v for v, c in zip(values, clusters, strict=True) if not np.isnan(v))
        found.append(abs(flipped) >= observed - 1e-9)
    return np.mean(found)


def test_exact_p_values_by_hand():
    # four prompts of one sign: of 16 assignments only all + and all - reach the sum
    p = sign_flip_p(np.array([[1.0, 2.0, 3.0, 4.0], [1.0, -1.0, 1.0, -1.0], [0.0] * 4]), [ALONE] * 4, seed=0)
    assert p.tolist() == [2 / 16, 1.0, 1.0]


def test_a_template_flips_as_one():
    values = np.ones(12)
    assert sign_flip_p(values, [0] * 6 + [1] * 6, seed=0) == 2 / 4
    assert sign_flip_p(values, [ALONE] * 12, seed=0) == 2 / 2**12


def test_exact_p_agrees_with_trying_one_by_one():
    rng = np.random.default_rng(0)
    clusters = [0, 0, 3, 3, 3, 5, ALONE, ALONE, 7]
    named = [0, 0, 3, 3, 3, 5, 100, 101, 7]
    values = rng.normal(0.4, 1, size=(2, 3, 9))
    values[0, 1, :4] = np.nan
    found = sign_flip_p(values, clusters, seed=0)
    assert found.shape == (2, 3)
    for index in np.ndindex(2, 3):
        assert found[index] == pytest.approx(slow_sign_flip(values[index], named))


def test_drawn_assignments_agree_with_all_of_them():
    rng = np.random.default_rng(1)
    values = rng.normal(0.4, 1, size=(6, 15))
    exact = [slow_sign_flip(row, list(range(15))) for row in values[:1]]
    found = sign_flip_p(values[:1], [ALONE] * 15, seed=0)
    np.testing.assert_allclose(found, exact, atol=0.01)
    # never 0, the same again, and other with another seed
    strong = sign_flip_p(np.full(40, 3.0), [ALONE] * 40, seed=0, n_flips=99)
    assert strong == 1 / 100
    again = sign_flip_p(values, [ALONE] * 15, seed=0, family="ioi")
    np.testing.assert_array_equal(sign_flip_p(values, [ALONE] * 15, seed=0, family="ioi"), again)
    assert (sign_flip_p(values, [ALONE] * 15, seed=1, family="ioi") != again).any()


def test_a_row_does_not_depend_on_the_rows_beside_it():
    values = np.random.default_rng(2).normal(0.2, 1, size=(500, 20))
    whole = sign_flip_p(values, [ALONE] * 20, seed=0)
    np.testing.assert_array_equal(sign_flip_p(values[317], [ALONE] * 20, seed=0), whole[317])


def test_one_cluster_says_nothing():
    values = np.array([[1.0, 2.0, np.nan], [1.0, 2.0, 3.0], [np.nan] * 3])
    p = sign_flip_p(values, [0, 0, 1], seed=0)
    assert np.isnan(p[[0, 2]]).all()
    assert p[1] == 2 / 4


def test_shared_noise_of_templates_is_not_called_an_effect():
    # 300 null heads; every template has noise of its own that its prompts share
    rng = np.random.default_rng(3)
    clusters = np.repeat(np.arange(16), 6)
    values = rng.normal(size=(300, 16))[:, clusters] + 0.3 * rng.normal(size=(300, 96))
    by_template = (sign_flip_p(values, clusters, seed=0, n_flips=4000) <= 0.05).mean()
    by_prompt = (sign_flip_p(values, [ALONE] * 96, seed=0, n_flips=4000) <= 0.05).mean()
    assert by_template < 0.09
    assert by_prompt > 0.2


def test_q_values_by_hand():
    p = np.array([0.01, np.nan, 0.04, 0.03, 0.2])
    # 4 tests: 0.01 * 4/1, 0.03 * 4/2, 0.04 * 4/3, 0.2 * 4/4, then the least from the right
    expected = [0.04, np.nan, 0.04 * 4 / 3, 0.04 * 4 / 3, 0.2]
    np.testing.assert_allclose(q_values(p), expected)


def test_q_values_are_taken_along_the_given_axes():
    p = np.random.default_rng(4).random((3, 4, 5, 2))
    p[0, 1, 2, 0] = np.nan
    found = q_values(p, axes=(1, 2))
    for mode in range(3):
        for family in range(2):
            np.testing.assert_allclose(found[mode, :, :, family], q_values(p[mode, :, :, family]))
    assert np.isnan(found[0, 1, 2, 0])
    assert (found[~np.isnan(p)] >= p[~np.isnan(p)]).all()


def test_false_discoveries_are_rare_among_the_found():
    rng = np.random.default_rng(5)
    shares = []
    for _ in range(200):
        false = rng.random(80)
        true = rng.random(20) * 1e-3
        found = q_values(np.concatenate([false, true])) <= 0.05
        shares.append(found[:80].sum() / max(found.sum(), 1))
    assert np.mean(shares) < 0.06


def test_percentiles_by_hand():
    values = np.array([[3.0, 1.0], [np.nan, 1.0], [0.0, 9.0]])
    np.testing.assert_array_equal(percentiles(values), [[75.0, 37.5], [np.nan, 37.5], [0.0, 100.0]])
    np.testing.assert_array_equal(percentiles(values, axes=(1,)), [[100.0, 0.0], [np.nan, np.nan], [0.0, 100.0]])
    assert np.isnan(percentiles(np.array([5.0])))


def test_tail_p_counts_where_it_can():
    draws = np.arange(100.0)
    assert tail_p(np.array(50.0), draws) == 51 / 101
    assert tail_p(np.array(-1.0), draws) == 1.0
    assert np.isnan(tail_p(np.array(np.nan), draws))
    assert np.isnan(tail_p(np.array(1.0), np.full(10, np.nan)))
    # too few draws for a tail
    assert tail_p(np.array(1e9), np.arange(20.0)) == 1 / 21
    # a null that never varies has none
    assert tail_p(np.array(1.0), np.zeros(500)) == 1 / 501


@pytest.mark.parametrize("value", [1 / 3, 0.1, -0.2, 0.7])
def test_an_equal_draw_is_as_large_whatever_its_precision(value):
    draws = np.full((3, 500), value, dtype=np.float32)
    # means of as many float32 numbers in float64, on either side of the float32 one
    observed = np.float64(np.float32(value)) + np.array([0.0, 4e-8, -4e-8])
    np.testing.assert_array_equal(tail_p(observed, draws), 1.0)
    some = np.random.default_rng(0).normal(value - 0.5, 0.01, size=500).astype(np.float32)
    some[:60] = value  # the largest draws are equal to it: no tail lies beyond
    assert tail_p(np.array(value + 4e-8), some) == 61 / 501


def test_tail_p_extrapolates_an_exponential_null():
    rng = np.random.default_rng(6)
    draws = rng.exponential(size=(300, 400))
    found = tail_p(np.full(300, np.log(4000)), draws)
    # the truth is 1/4000, ten times less than 400 draws can count
    assert np.median(found) == pytest.approx(1 / 4000, rel=0.6)
    assert (found >= 1 / 401**2).all()
    assert tail_p(np.array(1e6), draws[0]) == pytest.approx(1 / 401**2)


def test_tail_p_of_null_values_is_not_too_small():
    rng = np.random.default_rng(7)
    null = rng.normal(size=(4000, 201))
    found = tail_p(null[:, 0], null[:, 1:])
    for level in (0.05, 0.01, 0.002):
        assert (found <= level).mean() <= 1.6 * level


@pytest.mark.parametrize("spread", [participation_ratio, effective_number])
def test_spreads_of_known_amounts(spread):
    amounts = np.array([[1.0, 0, 0, 0], [2, 2, 0, 0], [3, 3, 3, 3], [0, 0, 0, 0], [np.nan, 5, 5, np.nan]])
    np.testing.assert_allclose(spread(amounts), [1, 2, 4, np.nan, 2])


def test_unequal_amounts():
    assert participation_ratio(np.array([3.0, 1.0])) == pytest.approx(16 / 10)
    p = np.array([0.75, 0.25])
    assert effective_number(np.array([3.0, 1.0])) == pytest.approx(np.exp(-(p * np.log(p)).sum()))


def test_split_half_of_signal_and_of_noise():
    rng = np.random.default_rng(8)
    heads = rng.normal(size=(4, 6, 1))
    signal = heads + 0.1 * rng.normal(size=(4, 6, 40))
    assert split_half(signal, [ALONE] * 40, seed=0) > 0.95
    assert abs(split_half(rng.normal(size=(20, 20, 40)), [ALONE] * 40, seed=0)) < 0.2
    assert np.isnan(split_half(signal, [0] * 40, seed=0))
    assert np.isnan(split_half(np.ones((2, 2, 8)), [ALONE] * 8, seed=0))


def test_split_half_keeps_templates_whole():
    # the ranking of the heads is the template's: halves that share templates would agree
    rng = np.random.default_rng(9)
    clusters = np.repeat(np.arange(8), 10)
    values = rng.normal(size=(100, 8))[:, clusters]
    assert abs(split_half(values, clusters, seed=0)) < 0.3
    assert split_half(values, [ALONE] * 80, seed=0) > 0.8


def test_spearman_of_ranks():
    assert spearman(np.array([1.0, 2, 3]), np.array([10.0, 100, 1000])) == pytest.approx(1)
    assert spearman(np.array([1.0, 2, 3]), np.array([3.0, 2, 1])) == pytest.approx(-1)
    assert np.isnan(spearman(np.array([1.0, 1]), np.array([1.0, 2])))
