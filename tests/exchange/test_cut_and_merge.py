from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_atlases import SEEN, contents, exemplars

from head_atlas.errors import AtlasError, HeadError
from head_atlas.exchange import extract, merge
from head_atlas.exchange.carried import renumbered
from head_atlas.heads import HeadId
from head_atlas.named_array import NamedArray
from head_atlas.prompts.fingerprint import prompts_sha256
from head_atlas.store import ResamplePrompts, contents_of, open_atlas, write_atlas

sys.path.insert(0, str(Path(__file__).parents[1] / "store"))
from synthetic_atlas import synthetic_contents

FAMILIES = ["ioi", "natural", "rand_flat", "fact"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("atlas") / "whole.h5"
    write_atlas(path, synthetic_contents(n_layers=2, n_heads=2, n_prompts=4))
    with open_atlas(path) as atlas:
        return contents_of(atlas)


def stored(found, tmp_path):
    """As it comes back from a file, so that what is made is a valid atlas."""
    write_atlas(tmp_path / "stored.h5", found)
    with open_atlas(tmp_path / "stored.h5", trusted=True) as atlas:
        return contents_of(atlas)


def test_families_are_cut_out_of_every_axis(whole, tmp_path):
    found = stored(extract(whole, families=["natural", "ioi"]), tmp_path)
    assert found.families == ["natural", "ioi"]  # the order of the whole
    index = [i for i, p in enumerate(whole.prompts) if p.family in found.families]
    assert list(found.prompts) == [whole.prompts[i] for i in index]
    np.testing.assert_array_equal(found.arrays["effects/kl"].values, whole.arrays["effects/kl"].values[..., index])
    np.testing.assert_array_equal(
        found.arrays["summary/kl_mean"].values, whole.arrays["summary/kl_mean"].values[..., [2, 3]]
    )
    assert found.arrays["summary/kl_mean"].coords["family"] == ["natural", "ioi"]
    assert "summary/diffuse_mean" in found.arrays  # of natural text
    assert "summary/induction_mean" not in found.arrays  # of rand_repeat
    assert "scores/induction" not in found.arrays
    assert found.left_out["induction"] == "not measured on the extracted families"
    assert found.left_out["fact"] == "not extracted from the whole atlas"
    assert found.provenance["corpus_sha256"] == prompts_sha256(found.prompts)
    assert found.provenance["extracted"][0]["families"] == ["natural", "ioi"]


def test_notes_go_where_what_they_are_of_goes(whole, tmp_path):
    noted = replace(whole, notes={"ioi": "half of the names", "fact": "few", "composition": "not the rotated part"})
    cut = stored(extract(noted, families=["natural", "ioi"]), tmp_path)
    assert cut.notes == {"ioi": "half of the names", "composition": "not the rotated part"}
    other = replace(extract(noted, families=["fact"]), notes={"fact": "few", "composition": "another"})
    merged = merge([cut, other])
    assert merged.notes == {
        "ioi": "half of the names",
        "fact": "few",
        "composition": "not the rotated part; another",
    }


def test_the_mean_over_families_is_worked_out_anew(whole):
    found = extract(whole, families=["ioi", "fact"])
    by_family = [
        whole.arrays["effects/kl"].values[..., [p.family == f for p in whole.prompts]].mean(-1) for f in ("ioi", "fact")
    ]
    np.testing.assert_allclose(found.arrays["summary/kl_macro"].values, np.mean(by_family, axis=0), rtol=1e-5)
    assert (found.arrays["summary/kl_macro_n"].values == 2).all()


def test_measures_and_groups_are_kept_by_name(whole, tmp_path):
    found = stored(extract(whole, measures=["diffuse", "kl", "weights/ov_copy", "roles"]), tmp_path)
    groups = {place for place in found.arrays if not place.startswith(("summary/", "clean/"))}
    assert groups == {"scores/diffuse", "effects/kl", "weights/ov_copy", "roles/held", "offsets"}
    owners = {place.split("/")[1].split("_")[0] for place in found.arrays if place.startswith("summary/")}
    assert owners == {"diffuse", "kl", "clean"}
    assert not any("sink_free" in place for place in found.arrays)


def test_heads_that_are_not_kept_hold_nothing(whole, tmp_path):
    found = stored(extract(whole, heads=[HeadId(1, 0)]), tmp_path)
    kept = np.array([[False, False], [True, False]])
    values = found.arrays["scores/sink"].values
    assert np.isnan(values[~kept]).all()
    np.testing.assert_array_equal(values[kept], whole.arrays["scores/sink"].values[kept])
    assert (found.arrays["summary/kl_n"].values[:, ~kept] == 0).all()
    assert (found.arrays["weights/promoted_id"].values[~kept] == -1).all()
    assert found.left_out["heads"] == "all but 1.0: not extracted from the whole atlas"


def test_exemplars_of_other_heads_go(tmp_path):
    one = contents({"natural": (0, 0)}, families=("natural",), prompts=SEEN, further=exemplars())
    found = stored(extract(one, heads=[HeadId(0, 1)]), tmp_path)
    write_atlas(tmp_path / "cut.h5", found)
    with open_atlas(tmp_path / "cut.h5") as atlas:
        kept = atlas.stored_exemplars("text")
        assert kept.of(0, 0) == ()
        (exemplar,) = kept.of(0, 1)
        assert (exemplar.prompt, exemplar.band, exemplar.value) == (1, 2, 0.25)
        assert kept.pattern(exemplar).weights.tolist() == [[1, 0, 0], [0, 0, 0], [1, 0, 0]]


def test_exemplars_stay_with_their_prompts_or_go(tmp_path):
    more = contents({"ioi": (0, 0)}).prompts
    one = contents(
        {"natural": (0, 0), "ioi": (0, 0)},
        families=("ioi", "natural"),
        prompts=[*more, *SEEN],
        further=exemplars(prompt_index=np.array([21, 20, 20, 21], dtype=np.int32)),
    )
    found = stored(extract(one, families=["natural"]), tmp_path)
    assert found.arrays["exemplars/text/prompt_index"].values.tolist() == [1, 0, 0, 1]
    found = stored(extract(one, families=["ioi"]), tmp_path)
    assert not any(place.startswith("exemplars/") for place in found.arrays)
    assert found.left_out["exemplars/text"] == "chosen among prompts that were not all extracted"


def neurons(*prompts, threshold=0.5):
    tops = {name: np.array([[prompts]]) for name in ("top_prompts", "top_positions")}
    arrays = {name: NamedArray(values, ("layer", "neuron", "rank")) for name, values in tops.items()}
    arrays["threshold"] = NamedArray(np.array([[threshold]]), ("layer", "neuron"))
    return {f"neurons/{name}": array for name, array in arrays.items()}


def test_prompts_that_neurons_fire_for_are_renumbered_or_go(tmp_path):
    families = {"ioi": (0, 0), "fact": (0, 0)}
    one = contents(families, families=tuple(families), further=neurons(25, 39, -1))
    found = stored(extract(one, families=["fact"]), tmp_path)
    assert found.arrays["neurons/top_prompts"].values.tolist() == [[[5, 19, -1]]]
    found = stored(extract(one, families=["ioi"]), tmp_path)
    assert [place for place in found.arrays if place.startswith("neurons/")] == ["neurons/threshold"]
    assert found.left_out["neurons/top_prompts"] == "chosen among prompts that were not all extracted"


def test_numbers_of_all_prompts_at_once_are_merged_only_if_they_agree(tmp_path):
    first = contents({"ioi": (0, 0)}, further=neurons(1, 2))
    second = contents({"fact": (0, 0)}, families=("fact",), further=neurons(3, 4, threshold=0.25))
    found = stored(merge([first, second]), tmp_path)
    assert not any(place.startswith("neurons/") for place in found.arrays)
    assert "judged from all prompts" in found.left_out["neurons/threshold"]
    bare = contents({"fact": (0, 0)}, families=("fact",))
    found = stored(merge([bare, first]), tmp_path)
    assert found.arrays["neurons/top_prompts"].values.tolist() == [[[21, 22]]]


def test_what_is_not_there(whole):
    with pytest.raises(AtlasError, match="no family 'nonsense' in this atlas; there are rand_repeat"):
        extract(whole, families=["nonsense"])
    with pytest.raises(AtlasError, match="no measure 'nonsense' in this atlas; there are"):
        extract(whole, measures=["nonsense"])
    with pytest.raises(HeadError, match=r"there is no head 7\.0"):
        extract(whole, heads=[HeadId(7, 0)])


def equal_arrays(one, two):
    assert sorted(one) == sorted(two)
    for place in one:
        assert (one[place].dims, dict(one[place].coords)) == (two[place].dims, dict(two[place].coords)), place
        np.testing.assert_array_equal(one[place].values, two[place].values, err_msg=place)


def test_what_was_cut_apart_by_families_can_be_put_together(whole, tmp_path):
    names = ["clean", "diffuse", "kl", "previous_token", "logit_difference", "weights"]
    together = extract(whole, families=FAMILIES, measures=names)
    parts = [extract(whole, families=some, measures=names) for some in (["rand_flat", "natural"], ["ioi", "fact"])]
    found = stored(merge(parts), tmp_path)
    assert found.families == together.families
    assert list(found.prompts) == list(together.prompts)
    equal_arrays(found.arrays, stored(together, tmp_path).arrays)
    assert found.token_strings == together.token_strings
    assert found.provenance["corpus_sha256"] == together.provenance["corpus_sha256"]
    assert "ioi" not in found.left_out


def test_what_was_cut_apart_by_measures_can_be_put_together(whole, tmp_path):
    parts = [
        extract(whole, measures=["kl", "roles"]),
        extract(whole, measures=["sink", "logit_difference", "exemplars"]),
    ]
    found = stored(merge(parts), tmp_path)
    together = extract(whole, measures=["kl", "roles", "sink", "logit_difference", "exemplars"])
    macros = {place for place in together.arrays if "_macro" in place}  # invented in this atlas
    equal_arrays(
        {place: array for place, array in found.arrays.items() if "_macro" not in place},
        {place: array for place, array in together.arrays.items() if place not in macros},
    )
    assert macros <= set(found.arrays)


def test_modes_are_put_together(tmp_path):
    macro = {"summary/logit_difference_macro": NamedArray(np.full((1, 1, 2), 9.0), ("mode", "layer", "head"))}
    parts = [
        contents({"ioi": (0, 1)}, further=macro),  # a mean of before, which is worked out anew
        contents({"ioi": (4, 5)}, modes=("mean",)),
    ]
    found = stored(merge(parts), tmp_path)
    assert found.modes == ["zero", "mean"]
    assert found.arrays["effects/logit_difference"].values[:, 0, :, 0].tolist() == [[0, 1], [4, 5]]
    assert found.arrays["summary/logit_difference_macro"].values[:, 0].tolist() == [[0.5, 1.5], [4.5, 5.5]]


def test_judgements_over_all_prompts_are_left_out_of_a_merger(whole):
    found = merge([extract(whole, families=["ioi"]), extract(whole, families=["natural"])])
    assert not any(place.startswith(("roles/", "nulls/")) for place in found.arrays)
    assert "judged from all prompts" in found.left_out["roles"]


def test_judgements_by_other_modes_are_left_out_of_a_merger(tmp_path):
    """The first head holds a role by the first mode, and not by the second; its chosen prompts are others too."""

    def judged(mode, held, first_prompt):
        roles = {"roles/held": NamedArray(np.array([[[held, 0.0]]]), ("role", "layer", "head"), {"role": ["sink"]})}
        chosen = np.array([first_prompt, 0, 0, 1], dtype=np.int32)
        effects = {"natural": (0, 1)}
        further = roles | exemplars(prompt_index=chosen)
        return contents(effects, families=["natural"], modes=(mode,), further=further, prompts=SEEN)

    found = stored(merge([judged("zero", 1.0, 1), judged("mean", 0.0, 1)]), tmp_path)
    assert found.modes == ["zero", "mean"]
    assert "roles/held" not in found.arrays
    assert "judged by other modes" in found.left_out["roles"]
    assert found.arrays["exemplars/text/prompt_index"].values.tolist() == [1, 0, 0, 1]
    found = stored(merge([judged("zero", 1.0, 1), judged("mean", 1.0, 0)]), tmp_path)
    assert found.arrays["roles/held"].values.tolist() == [[[1, 0]]]
    assert not any(place.startswith("exemplars/") for place in found.arrays)
    assert "judged by other modes" in found.left_out["exemplars/text"]


def test_reference_prompts_of_resampling_are_merged_only_if_they_are_the_same(tmp_path):
    """They are as long as the longest prompt of a build, so builds of other families have others."""

    def part(family, n_positions):
        tokens = np.arange(2 * n_positions, dtype=np.int32).reshape(2, n_positions) % 4
        found = contents({family: (0, 0)}, families=[family], modes=["resample"])
        return replace(found, resample_prompts=ResamplePrompts(tokens, "text", 3))

    same = stored(merge([part("ioi", 4), part("natural", 4)]), tmp_path)
    assert same.resample_prompts.tokens.shape == (2, 4)
    others = stored(merge([part("ioi", 4), part("natural", 6)]), tmp_path)
    assert others.resample_prompts is None
    assert "each of the merged atlases has others" in others.left_out["references/resample_token"]


@pytest.mark.parametrize("seed", ["many", -3, None, [1], 2.5])
def test_strange_provenance_of_a_stranger_s_file_is_no_obstacle(seed):
    """Only means over families are drawn by the seed; what was extracted before is kept as it was said."""
    strange = contents({"ioi": (0, 1), "natural": (2, 3)}, families=("ioi", "natural"), provenance={"seed": seed})
    strange = replace(strange, provenance={**strange.provenance, "extracted": 5})
    parts = [extract(strange, families=[family]) for family in ("ioi", "natural")]
    assert parts[0].provenance["extracted"][0] == 5
    assert merge(parts).families == ["ioi", "natural"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: replace(c, provenance={**c.provenance, "model_fingerprint": "0"}), "another model_fingerprint"),
        (lambda c: replace(c, prompts=c.prompts[:-1]), "has other prompts of the family 'ioi'"),
        (lambda c: replace(c, n_heads=3), r"atlas 2 has \(1, 3\) layers and heads"),
        (lambda c: replace(c, token_strings={**c.token_strings, 1: "x"}), "differ in token 1"),
    ],
)
def test_atlases_that_do_not_belong_together(change, words):
    one = contents({"ioi": (0, 0)})
    with pytest.raises(AtlasError, match=words):
        merge([one, change(one)])


def test_two_numbers_for_one_thing_are_refused():
    with pytest.raises(AtlasError, match="/effects/logit_difference: the atlases have different numbers"):
        merge([contents({"ioi": (0, 0)}), contents({"ioi": (0, 1)})])
    weights = [{"weights/x": NamedArray(np.zeros((1, 2, n)), ("layer", "head", "rank"))} for n in (2, 3)]
    with pytest.raises(AtlasError, match="/weights/x: the atlases have it with other axes"):
        merge([contents({"ioi": (0, 0)}, further=w) for w in weights])
    with pytest.raises(AtlasError, match="at least two"):
        merge([contents({"ioi": (0, 0)})])


@pytest.mark.parametrize(
    ("changed", "how"),
    [
        ({"head_offset": np.array([0, 5, 4])}, {"heads": [HeadId(0, 1)]}),
        ({"head_offset": np.array([0, 4])}, {"heads": [HeadId(0, 1)]}),
        ({"prompt_index": np.array([np.nan, 1, 0, 1])}, {"families": ["natural"]}),
    ],
)
def test_exemplars_that_are_something_else_are_refused(changed, how):
    strange = contents({"natural": (0, 0)}, families=("natural",), prompts=SEEN, further=exemplars(**changed))
    with pytest.raises(AtlasError, match="an array is not what an atlas holds under its name"):
        extract(strange, **how)


def test_numbers_of_no_prompt_stay_whatever_they_are():
    array = NamedArray(np.array([-99, -1, 1, 0], dtype=np.int32), ("exemplar",))
    assert renumbered(array, np.array([5, 6])).values.tolist() == [-99, -1, 6, 5]
