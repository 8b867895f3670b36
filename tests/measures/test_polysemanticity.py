from __future__ import annotations

import numpy as np
import pytest

from head_atlas.errors import HeadAtlasError
from head_atlas.measures.bootstrap import bootstrap_ratio, resample_counts
from head_atlas.measures.polysemanticity import contrast_families

N = 90
FAMILIES = ("ioi", "successor", "pronoun")


def families(shares, seed=0):
    """Per family the effects of heads that take away given shares of the clean logit difference, with noise."""
    rng = np.random.default_rng(seed)
    clean = {family: rng.normal(4, 1, N) for family in FAMILIES}
    effects = {
        family: -np.array(share)[..., None] * clean[family] + 0.2 * rng.normal(size=(*np.shape(share), N))
        for family, share in shares.items()
    }
    counts = {f: resample_counts(np.arange(N) % 15, seed=0, family=f) for f in FAMILIES}
    return effects, clean, counts


def test_ratios_are_of_means_and_their_intervals_move_with_the_base():
    base = np.array([1.0, 3.0, 2.0, 2.0])
    counts = resample_counts([-1] * 4, seed=0)
    exact = bootstrap_ratio(0.5 * base[None], base, counts)
    # a constant share has no uncertainty, however much the clean values scatter
    np.testing.assert_allclose([exact.mean[0], exact.low[0], exact.high[0]], 0.5)
    uneven = bootstrap_ratio(np.array([[4.0, 0.0, np.nan, 0.0]]), base, counts)
    assert uneven.mean[0] == pytest.approx(4 / 6)
    assert uneven.n[0] == 3
    gap = bootstrap_ratio(np.ones((1, 4)), np.array([2.0, np.nan, 2.0, 2.0]), counts)
    assert (gap.mean[0], gap.n[0]) == (0.5, 3)


def test_heads_with_known_shares():
    # layer 0: one family, two families, all alike; layer 1: nothing at all
    shares = {
        "ioi": [[0.5, 0.4, 0.3], [0, 0, 0]],
        "successor": [[0, 0.4, 0.3], [0, 0, 0]],
        "pronoun": [[0, 0, 0.3], [0, 0, 0]],
    }
    found = contrast_families(*families(shares))
    np.testing.assert_allclose(found.relative.values, -np.array([shares[f] for f in FAMILIES]), atol=0.03)
    assert found.n_different.values[0].tolist() == [2, 2, 0]
    assert found.relative.dims == ("family", "layer", "head")
    assert list(found.difference.coords["pair"]) == ["ioi - successor", "ioi - pronoun", "successor - pronoun"]
    assert (found.q.sel(pair="ioi - successor")[0] <= 0.05).tolist() == [True, False, False]
    np.testing.assert_allclose(
        found.difference.values[0], found.relative.values[0] - found.relative.values[1], atol=1e-6
    )
    np.testing.assert_allclose(found.participation.values[0], [1, 2, 3], atol=0.1)
    spanning = (found.difference_low.values <= 0) & (found.difference_high.values >= 0)
    assert (~spanning[found.q.values <= 0.05]).all()


def test_heads_that_do_the_same_everywhere_seldom_seem_to_differ():
    rng = np.random.default_rng(1)
    share = rng.uniform(0, 0.4, size=(10, 20))
    found = contrast_families(*families(dict.fromkeys(FAMILIES, share)))
    assert (found.n_different.values > 0).mean() < 0.05
    covered = (found.difference_low.values <= 0) & (found.difference_high.values >= 0)
    assert covered.mean() == pytest.approx(0.95, abs=0.04)


def test_what_was_not_measured():
    effects, clean, counts = families({family: np.full((1, 2), 0.4) for family in FAMILIES})
    effects["ioi"][0, 0] = np.nan
    found = contrast_families(effects, clean, counts)
    assert np.isnan(found.q.sel(pair="ioi - pronoun")[0, 0])
    assert not np.isnan(found.q.sel(pair="successor - pronoun")[0, 0])
    assert found.participation[0, 0] == pytest.approx(2, abs=0.1)
    alone = contrast_families({"ioi": effects["ioi"]}, {"ioi": clean["ioi"]}, counts)
    assert np.isnan(alone.n_different.values).all()
    with pytest.raises(HeadAtlasError, match=r"expected clean values for \['ioi'\], found \[\]"):
        contrast_families({"ioi": effects["ioi"]}, {}, counts)
