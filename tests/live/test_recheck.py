"""Live against atlas: equal numbers pass, a changed one is found and named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from head_atlas.errors import AtlasError
from head_atlas.heads import HeadId
from head_atlas.live.recheck import NATS, recheck
from head_atlas.store import open_atlas

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model():
    from head_atlas.models import load_model

    return load_model(ROOT / "atlas/demo/model")


@pytest.fixture
def atlas():
    with open_atlas(ROOT / "atlas/demo/atlas.h5") as found:
        yield found


def test_the_demo_atlas_holds_what_the_demo_model_does(model, atlas):
    counted = []
    found = recheck(model, atlas, 4, lambda done, total: counted.append((done, total)))
    assert found.passed
    assert found.n == 4 * 24
    assert found.worst <= NATS + abs(found.stored) * 2**-11
    assert counted[-1] == (4 * 24, 4 * 24)
    assert len({atlas.prompts[i].family for i in found.prompts}) > 1


def test_one_wrong_number_is_found(model, atlas, monkeypatch):
    right = recheck(model, atlas, 3)
    effects = atlas.effects["logprob"]
    changed = effects.values.copy()
    changed[atlas.modes.index("zero"), 2, 3, right.prompts[1]] += 0.01
    monkeypatch.setattr(atlas, "effects", {"logprob": type(effects)(changed, effects.dims, effects.coords)})
    found = recheck(model, atlas, 3)
    assert not found.passed
    assert found.outside == 1
    assert (found.head, found.prompt) == (HeadId(2, 3), right.prompts[1])
    assert found.worst == pytest.approx(0.01, abs=2e-3)
    changed[atlas.modes.index("zero"), 2, 3, right.prompts[1]] = np.nan
    found = recheck(model, atlas, 3)
    assert found.missing == 1
    assert not found.passed


def test_a_wrong_small_effect_is_named_and_not_a_right_large_one_that_is_rounded_more(model, atlas, monkeypatch):
    right = recheck(model, atlas, 3)
    effects = atlas.effects["logprob"]
    changed = effects.values.astype(float)
    at = (atlas.modes.index("zero"), 2, 3, right.prompts[1])
    assert abs(changed[at]) < 0.2 < np.abs(changed[at[0], ..., list(right.prompts)]).max()
    changed[at] += 0.0015
    monkeypatch.setattr(atlas, "effects", {"logprob": type(effects)(changed, effects.dims, effects.coords)})
    found = recheck(model, atlas, 3)
    assert (found.outside, found.head, found.prompt) == (1, HeadId(2, 3), right.prompts[1])
    assert found.worst > found.allowed


def test_an_atlas_without_effects_or_of_another_shape_is_refused_by_name(model, atlas, monkeypatch):
    monkeypatch.setattr(atlas, "effects", {})
    with pytest.raises(AtlasError, match="there is nothing to measure again"):
        recheck(model, atlas)
    monkeypatch.setattr(atlas, "n_heads", 7)
    with pytest.raises(AtlasError, match="nothing can be compared"):
        recheck(model, atlas)
