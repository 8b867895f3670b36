from __future__ import annotations

import numpy as np
import pytest

from head_atlas.views.scales import percentile, positions, scale_for, unit_range


def test_an_unsigned_scale_runs_from_its_floor_to_its_largest_value():
    scale = scale_for(np.array([[0.1, 0.8], [0.4, np.nan]]), sign=False, high=1.0)
    assert positions(np.array([[0.0, 0.8], [0.4, np.nan]]), scale) == [[0, 1], [0.5, None]]
    assert scale.props()["high_text"] == "0.80"


def test_noise_is_not_blown_up_to_full_colour():
    scale = scale_for(np.full((2, 2), 0.004), sign=False, high=1.0)
    assert scale.position(0.004) == pytest.approx(0.016)


def test_values_below_the_floor_are_owned_up_to():
    assert scale_for(np.array([-0.2, 0.5]), sign=False, high=1.0).props()["low_text"] == "≤ 0.00"


def test_a_signed_scale_is_symmetric_about_zero():
    scale = scale_for(np.array([-2.0, 1.0]), sign=True)
    assert [scale.position(x) for x in (-2, -1, 0, 1, 2)] == [-1, -0.5, 0, 0.5, 1]
    assert (scale.props()["low_text"], scale.props()["high_text"]) == ("−2.00", "+2.00")
    assert unit_range(0, scale) == 0.5


@pytest.mark.parametrize("values", [np.array([]), np.array([np.nan]), np.zeros(3)])
@pytest.mark.parametrize("sign", [True, False])
def test_nothing_to_scale_is_no_error(values, sign):
    scale = scale_for(values, sign=sign)
    assert scale.position(0.0) == 0
    assert scale.position(np.nan) is None


def test_a_percentile_is_the_share_of_the_others_below():
    values = np.array([0.0, 1.0, 2.0, 3.0, np.nan])
    assert [percentile(values, x) for x in (0.0, 1.0, 3.0)] == pytest.approx([0, 100 / 3, 100])
    assert percentile(np.ones(5), 1.0) == 50
    assert np.isnan(percentile(values, np.nan))


def test_small_numbers_keep_two_significant_digits_in_the_legend():
    assert scale_for(np.array([-0.00042, 0.0001]), sign=True).props()["high_text"] == "+0.00042"
    assert scale_for(np.array([12.3]), sign=True).props()["high_text"] == "+12.30"
