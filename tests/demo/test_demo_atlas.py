"""The shipped atlas: of the shipped model, worth looking into, and what the builder makes of it today."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from head_atlas.build import BuildOptions, build_atlas
from head_atlas.catalogue import WITHOUT_EFFECTS
from head_atlas.models import load_model
from head_atlas.store import open_atlas
from head_atlas.store.units import unit_of

DEMO = Path(__file__).parents[2] / "atlas" / "demo"


@pytest.fixture(scope="module")
def atlas():
    with open_atlas(DEMO / "atlas.h5") as opened:
        yield opened


@pytest.fixture(scope="module")
def model():
    return load_model(str(DEMO / "model"))


def test_it_is_the_atlas_of_the_shipped_model(atlas, model):
    assert atlas.provenance["model_fingerprint"] == model.fingerprint
    assert (atlas.n_layers, atlas.n_heads) == (model.n_layers, model.n_heads)
    assert all(check["passed"] for check in atlas.checks)
    assert not atlas.provenance["git_commit"].endswith("-dirty")


def test_it_fits_a_repository():
    assert sum(path.stat().st_size for path in (DEMO / "model").iterdir()) < 9e6
    assert (DEMO / "atlas.h5").stat().st_size < 9e6


def test_every_kind_of_number_in_it_has_a_unit():
    places = []

    def visit(place, found):
        if (
            isinstance(found, h5py.Dataset)
            and found.dtype.kind == "f"
            and found.attrs.get("CLASS") != b"DIMENSION_SCALE"
        ):
            places.append(place)

    with h5py.File(DEMO / "atlas.h5") as file:
        file.visititems(visit)
    assert len(places) > 400
    # a mean of z is in whatever the model computes with
    assert [place for place in places if not unit_of(place)] == ["references/mean_z"]
    assert unit_of("nulls/induction_mean") == "1"
    assert unit_of("nulls/ov_copy_mean") == unit_of("weights/ov_copy") == "share of tokens"
    assert unit_of("summary/clean_kl") == unit_of("clean/kl") == "nats"
    assert unit_of("exemplars/text/effect") == "nats"
    assert unit_of("roles/q") == unit_of("exemplars/text/histogram") == "1"
    assert unit_of("offsets") == "attention probability"


def best_excess(atlas, score):
    return float(np.nanmax(atlas.summary[f"{score}_excess"].values))


def test_its_heads_are_worth_looking_into(atlas):
    assert best_excess(atlas, "induction") >= 0.5
    assert best_excess(atlas, "previous_token") >= 0.5


def test_what_was_not_reached_is_in_the_card(atlas):
    card = (DEMO / "model" / "README.md").read_text()
    best = best_excess(atlas, "duplicate_token")
    assert best < 0.3
    assert f"best duplicate-token excess on random tokens is about {best:.2f}" in " ".join(card.split())


def test_one_head_alone_breaks_induction(atlas):
    effect = atlas.summary["logprob_mean"].sel(mode="zero", family="rand_repeat").values
    assert effect.min() <= -1.0


def test_every_effect_has_its_sample_size(atlas):
    for metric in ("logprob", "kl", "flip", "log2_rank"):
        n = atlas.summary[f"{metric}_n"].sel(mode="zero")
        for family in atlas.families:
            expected = 0 if family in WITHOUT_EFFECTS else sum(p.family == family for p in atlas.prompts)
            assert (n.sel(family=family).values == expected).all()
            assert expected >= 50 or family in WITHOUT_EFFECTS


@pytest.mark.slow
def test_a_part_built_again_is_the_same(atlas, model, tmp_path):
    families, modes = ["subject_verb", "rand_repeat"], ("zero", "mean")
    options = BuildOptions(families=families, modes=modes, measures=["scores"])
    build_atlas(model, tmp_path / "part.h5", options, say=str)
    with open_atlas(tmp_path / "part.h5") as part:
        where = {prompt.tokens: prompt.index for prompt in atlas.prompts}
        rows = [where[prompt.tokens] for prompt in part.prompts]
        assert len(rows) == 200
        for name in set(part.scores) & set(atlas.scores):
            np.testing.assert_allclose(part.scores[name].values, atlas.scores[name].values[..., rows], atol=1e-3)
        for name in part.effects:
            # stored with ten bits of mantissa: two roundings apart at most, beside the tolerance
            np.testing.assert_allclose(
                part.effects[name].values, atlas.effects[name].values[:2][..., rows], atol=1e-3, rtol=2e-3
            )
