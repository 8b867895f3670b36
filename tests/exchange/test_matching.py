from __future__ import annotations

import dataclasses
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "store"))
from small_atlases import contents
from synthetic_atlas import synthetic_contents

from head_atlas.errors import AtlasError
from head_atlas.exchange import match_heads
from head_atlas.exchange.matching import similarity
from head_atlas.exchange.profiles import profiles
from head_atlas.heads import HeadId
from head_atlas.named_array import NamedArray
from head_atlas.store import open_atlas, write_atlas

LAYERS, HEADS = 4, 6
SCORES = ("induction_excess", "previous_token_excess", "sink_excess", "current_token_excess")
FAMILIES = ("ioi", "fact", "rand_repeat", "pronoun", "successor")


def random_summary(seed, layers=LAYERS, heads=HEADS):
    """Independent heads; the numbers of the modes of one head and family are alike, as they are in real atlases."""
    rng = np.random.default_rng(seed)
    shape = (layers, heads)
    found = {f"summary/{name}": rng.normal(size=shape) for name in SCORES}
    effect = rng.normal(size=(1, *shape, len(FAMILIES))) + 0.1 * rng.normal(size=(2, *shape, len(FAMILIES)))
    return found | {"summary/logit_difference_mean": effect}


def atlas_of(path, arrays, layers=LAYERS, heads=HEADS):
    dims = {2: ("layer", "head"), 4: ("mode", "layer", "head", "family")}
    base = contents(dict.fromkeys(FAMILIES, (0, 0)), families=FAMILIES, modes=("zero", "mean"), n=1)
    named = {place: NamedArray(x, dims[x.ndim]) for place, x in arrays.items()}
    write_atlas(path, dataclasses.replace(base, n_layers=layers, n_heads=heads, arrays=named))
    return open_atlas(path)


def permuted(arrays, orders):
    """Heads in another order within each layer: head h of the copy is head orders[layer][h]."""

    def moved(x):
        by_head = x if x.ndim == 2 else np.moveaxis(x, 0, -1)
        found = np.stack([by_head[layer][order] for layer, order in enumerate(orders)])
        return found if x.ndim == 2 else np.moveaxis(found, -1, 0)

    return {place: moved(x) for place, x in arrays.items()}


def test_an_atlas_matches_itself_head_by_head(tmp_path):
    arrays = random_summary(0)
    found = match_heads(atlas_of(tmp_path / "a.h5", arrays), atlas_of(tmp_path / "b.h5", arrays))
    assert len(found.matches) == len(found.pairs) == LAYERS * HEADS
    assert all(match.head == match.other and match.beyond_chance and match.depth == 0 for match in found.pairs)
    assert [match.similarity for match in found.pairs] == pytest.approx([1.0] * 24)
    assert {match.n for match in found.pairs} == {len(SCORES) + 2 * len(FAMILIES)}


def test_heads_that_were_shuffled_within_layers_are_found_again(tmp_path):
    arrays, rng = random_summary(1), np.random.default_rng(7)
    orders = [rng.permutation(HEADS) for _ in range(LAYERS)]
    noise = {place: x + 0.1 * rng.normal(size=x.shape) for place, x in permuted(arrays, orders).items()}
    found = match_heads(atlas_of(tmp_path / "a.h5", arrays), atlas_of(tmp_path / "b.h5", noise))
    assert len(found.pairs) == LAYERS * HEADS
    assert all(
        match.head == HeadId(match.other.layer, orders[match.other.layer][match.other.head]) for match in found.pairs
    )
    assert sum(match.beyond_chance for match in found.pairs) > 20


def test_random_models_do_not_match_better_than_chance(tmp_path):
    """Under 5 % of comparisons claim any match; a bound that 10 comparisons keep but for one in 100."""
    atlases = [atlas_of(tmp_path / f"{seed}.h5", random_summary(100 + seed)) for seed in range(5)]
    claimed, heads = 0, 0
    for one, other in itertools.combinations(atlases, 2):
        found = match_heads(one, other)
        assert found.pairs
        assert not found.untested
        claimed += any(match.beyond_chance for match in found.pairs)
        heads += len(found.pairs)
    assert heads > 50
    assert claimed <= 2


def test_a_deeper_model_matches_by_relative_depth(tmp_path):
    """Each layer of the first is two of the second: a copy at its own relative depth, and one at the wrong end."""
    arrays = random_summary(2, layers=2)
    deeper = {}
    for place, x in arrays.items():
        axis = 0 if x.ndim == 2 else 1
        first, second = np.split(x, 2, axis=axis)
        deeper[place] = np.concatenate([first, second, first, second], axis=axis)
    one = atlas_of(tmp_path / "a.h5", arrays, layers=2)
    other = atlas_of(tmp_path / "b.h5", deeper, layers=4)
    found = match_heads(one, other)
    # relative depths 0.25 and 0.75 here, 0.125, 0.375, 0.625 and 0.875 there; layers 0 and 2 are copies of layer 0
    assert {(m.head.layer, m.other.layer) for m in found.pairs} == {(0, 0), (1, 3)}
    assert all(m.head.head == m.other.head and m.depth == 0.125 for m in found.pairs)
    assert all(m.nearness == pytest.approx(m.similarity - 0.5 * m.depth) for m in found.pairs)
    alone = [m for m in found.matches if m.head is None]
    assert {m.other.layer for m in alone} == {1, 2}
    assert all(m.nearest.head == m.other.head and not m.beyond_chance and np.isnan(m.q) for m in alone)


def test_similarity_is_the_weighted_cosine_over_entries_of_both():
    """A slow twin, and the count of shared entries; too few of them are no similarity."""
    rng = np.random.default_rng(3)
    one, other, weights = rng.normal(size=(4, 7)), rng.normal(size=(5, 7)), rng.random(7)
    one[0, :3] = np.nan
    other[1, 2:] = np.nan
    found, shared = similarity(one, other, weights)
    for i, j in np.ndindex(found.shape):
        both = [k for k in range(7) if np.isfinite(one[i, k] + other[j, k])]
        assert shared[i, j] == len(both)
        if len(both) < 3:
            assert np.isnan(found[i, j])
            continue
        dot = sum(weights[k] * one[i, k] * other[j, k] for k in both)
        lengths = [sum(weights[k] * x[k] ** 2 for k in both) for x in (one[i], other[j])]
        assert found[i, j] == pytest.approx(dot / np.sqrt(lengths[0] * lengths[1]))
    assert np.isnan(found[0, 1])


def test_profiles_are_in_deviations_of_the_own_model_and_kinds_weigh_the_same(tmp_path):
    arrays = random_summary(4)
    scaled = {place: 100 * x + 7 for place, x in arrays.items()}
    found = profiles(atlas_of(tmp_path / "a.h5", arrays), atlas_of(tmp_path / "b.h5", scaled))
    assert found.first == pytest.approx(found.second, abs=0.01)
    assert found.first.mean(0) == pytest.approx(np.zeros(14), abs=1e-6)
    kinds = [entry.kind for entry in found.entries]
    assert {kind: round(float(found.weights[[k == kind for k in kinds]].sum()), 6) for kind in set(kinds)} == {
        "score": 1,
        "effect": 1,
    }


def test_what_only_one_has_and_what_does_not_vary_is_named(tmp_path):
    arrays = random_summary(5)
    other = {place: x for place, x in arrays.items() if "sink" not in place}
    other["summary/induction_excess"] = np.full((LAYERS, HEADS), 0.5)
    found = match_heads(atlas_of(tmp_path / "a.h5", arrays), atlas_of(tmp_path / "b.h5", other))
    assert found.left_out["sink on rand_flat"] == "measured in one of the two only"
    assert found.left_out["induction on rand_repeat"] == "the same for every head of one of the two"
    assert {entry.measure for entry in found.entries if entry.kind == "score"} == {"previous_token", "current_token"}


def test_the_log_probability_stands_in_where_there_is_no_wrong_answer(tmp_path):
    for name in ("a", "b"):
        write_atlas(tmp_path / f"{name}.h5", synthetic_contents(2, 3, n_prompts=4))
    with open_atlas(tmp_path / "a.h5") as one, open_atlas(tmp_path / "b.h5") as other:
        effects = {(e.measure, e.family) for e in profiles(one, other).entries if e.kind == "effect"}
    assert ("logprob", "natural") in effects
    assert ("logit_difference", "ioi") in effects
    assert ("logprob", "ioi") not in effects


def test_too_little_in_common_is_an_error_and_few_heads_are_not_tested(tmp_path):
    arrays = random_summary(6, layers=1, heads=2)
    one = atlas_of(tmp_path / "a.h5", arrays, layers=1, heads=2)
    bare = atlas_of(tmp_path / "b.h5", {"summary/sink_excess": arrays["summary/sink_excess"]}, layers=1, heads=2)
    with pytest.raises(AtlasError, match=r"measured 1 things of each head in common; a comparison needs 3"):
        match_heads(one, bare)
    found = match_heads(one, one)
    assert found.untested == "chance is known only in models of 6 heads and more"
    assert all(np.isnan(match.q) and not match.beyond_chance for match in found.pairs)
    assert found.as_json()["matches"][0]["q"] is None
