"""Files of probabilities hold the numbers, also where they are small."""

from __future__ import annotations

import numpy as np
import pytest

from head_atlas.views.comparison import Condition, comparison_props
from head_atlas.views.distribution import distribution_props


@pytest.mark.parametrize("p", [3.2e-7, 0.0123456, 0.5])
def test_a_small_probability_is_not_saved_as_none_at_all(p):
    clean, ablated = np.log([p, 1 - p]), np.log([p / 2, 1 - p / 2])
    row = distribution_props(clean, ablated, {0: "a"})["rows"][0]
    assert row["clean"] == pytest.approx(p, rel=1e-6)
    assert row["ablated"] == pytest.approx(p / 2, rel=1e-6)
    shown = comparison_props(["x"], "a", [Condition("all heads", "clean", p, "a")], title="t")
    assert shown["rows"][0]["w"] == pytest.approx(p, rel=1e-6)
