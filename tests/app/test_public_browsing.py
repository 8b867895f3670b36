"""The public calls that read an atlas: what they say is what the file holds."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from head_atlas.app.library import Library
from head_atlas.app.public_api.browsing import BrowsingCalls
from head_atlas.errors import HeadAtlasError
from head_atlas.store import write_atlas

sys.path.insert(0, str(Path(__file__).parents[1] / "views"))
from full_atlas import INDUCTION_HEAD, full_contents

HEAD = "1.2"


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    path = tmp_path_factory.mktemp("full") / "atlas.h5"
    write_atlas(path, full_contents())
    return Library.of(str(path))


@pytest.fixture(scope="module")
def calls(full):
    return BrowsingCalls(full)


@pytest.fixture(scope="module")
def atlas(full):
    return full.atlas("atlas")


def test_an_atlas_describes_itself(calls, atlas):
    assert calls.list_models() == {"models": [{"name": "atlas", "has_atlas": True, "default": True}]}
    found = calls.describe_atlas()
    assert (found["n_layers"], found["n_heads"], found["n_prompts"]) == (2, 3, len(atlas.prompts))
    assert found["families"] == atlas.families
    assert "induction" in found["roles"]
    assert "unexplained" in found["states"]
    assert found["left_out"] == atlas.left_out


def test_every_listed_measure_can_be_asked_for_on_all_that_it_names(calls):
    for measure in calls.list_measures()["measures"]:
        assert measure["sentence"]
        assert measure["formula"]
        for family in measure["families"] or [""]:
            for mode in measure["modes"] or [""]:
                found = calls.find_heads(measure["name"], family, mode)
                assert found["measured"]["measure"] == measure["name"]
                json.dumps(found, allow_nan=False)


def test_measures_can_be_listed_by_kind(calls):
    assert {one["kind"] for one in calls.list_measures()["measures"]} == {"score", "effect", "attribution", "role",
                                                                         "behaviour"}  # fmt: skip
    assert {one["name"] for one in calls.list_measures("effect")["measures"]} == {
        "logit_difference", "logprob", "kl", "flip", "log2_rank"
    }  # fmt: skip


@pytest.mark.parametrize(("order", "sign"), [("highest", -1), ("lowest", 1)])
def test_heads_are_ranked_by_what_the_file_holds(calls, atlas, order, sign):
    stored = atlas.summary["logprob_mean"].sel(mode="mean", family="ioi").values
    flat = np.argsort(sign * stored, axis=None)
    found = calls.find_heads("logprob", "ioi", "mean", order=order, limit=4)
    assert [one["head"] for one in found["heads"]] == [f"{i // 3}.{i % 3}" for i in flat[:4]]
    assert [one["value"] for one in found["heads"]] == pytest.approx(stored.flat[flat[:4]].tolist())
    assert found["n_found"] == 6


def test_filters_leave_out_what_does_not_pass(calls, atlas):
    stored = atlas.summary["induction_excess"].values
    middle = float(np.median(stored))
    above = calls.find_heads("induction", at_least=middle)["heads"]
    assert {one["head"] for one in above} == {f"{i}.{j}" for i, j in np.argwhere(stored >= middle)}
    below = calls.find_heads("induction", at_most=middle)["heads"]
    assert {one["head"] for one in below} == {f"{i}.{j}" for i, j in np.argwhere(stored <= middle)}
    # the null of the invented atlas leaves one head
    assert [one["head"] for one in calls.find_heads("induction", significant=True)["heads"]] == [HEAD]


def test_the_largest_are_by_magnitude(calls):
    found = calls.find_heads("direct_logit", "rand_repeat", order="largest", limit=1)
    assert found["heads"][0]["head"] == HEAD
    sizes = [abs(one["value"]) for one in calls.find_heads("logprob", order="largest")["heads"]]
    assert sizes == sorted(sizes, reverse=True)


def test_a_role_alone_ranks_by_its_membership(calls, atlas):
    found = calls.find_heads(role="induction")
    held = atlas.roles["held"].sel(role="induction").values
    assert [one["head"] for one in found["heads"]] == [f"{i}.{j}" for i, j in np.argwhere(held == 1)] == [HEAD]
    assert found["measured"]["measure"] == "role_induction"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"measure": "beauty"}, "no measure 'beauty'; there are induction"),
        ({}, "no measure ''; there are induction"),
        ({"measure": "kl", "family": "royal"}, "no family 'royal' for kl; there are all"),
        ({"measure": "kl", "mode": "resample"}, "no mode 'resample' for kl; there are zero, mean"),
        ({"measure": "induction", "mode": "zero"}, "induction is not measured by ablation mode"),
        ({"measure": "ov_copy", "family": "ioi"}, "ov_copy is not measured by family"),
        ({"measure": "kl", "role": "king"}, "no role 'king'; there are previous_token"),
        ({"measure": "kl", "order": "best"}, "The order must be one of highest, lowest, largest"),
        ({"measure": "kl", "limit": 0}, "The limit must be a number from 1 to 1000"),
        ({"measure": "kl", "model": "../../etc"}, "No model '../../etc' is served here; there is atlas"),
    ],
)
def test_what_there_is_not_is_refused_with_what_there_is(calls, asked, words):
    with pytest.raises(HeadAtlasError) as refusal:
        calls.find_heads(**asked)
    assert words in str(refusal.value)


def test_scores_are_those_of_the_file_with_their_certainty(calls, atlas):
    (found,) = calls.head_scores(HEAD, "previous_token")["scores"][:1]
    prefix = "previous_token"
    assert found["statistic"] == "excess"
    stored = {
        part: float(atlas.summary[f"{prefix}_{name}"].values[INDUCTION_HEAD])
        for part, name in (("value", "excess"), ("low", "excess_ci_low"), ("high", "excess_ci_high"), ("n", "n"))
    }
    assert {part: found[part] for part in stored} == pytest.approx(stored)
    values = atlas.summary[f"{prefix}_excess"].values
    assert found["percentile"] == pytest.approx(100 * (values < stored["value"]).sum() / 5)
    assert found["percentile_in_layer"] == pytest.approx(100 * (values[1] < stored["value"]).sum() / 2)
    assert found["reason"] is None


def test_percentiles_of_effects_rank_the_size_as_on_the_page(calls):
    found = calls.find_heads("logit_difference", order="lowest", limit=1000)
    family, mode = found["measured"]["family"], found["measured"]["mode"]
    sizes = np.abs([one["value"] for one in found["heads"]])
    assert (np.argsort(sizes) == np.argsort([one["percentile"] for one in found["heads"]])).all()
    strongest = found["heads"][int(sizes.argmax())]
    assert (strongest["percentile"], strongest["percentile_in_layer"]) == (100, 100)
    (same,) = [
        one
        for one in calls.head_effects(strongest["head"], mode=mode)["effects"]
        if one["family"] == family and one["measure"] == "logit_difference"
    ]
    assert same["percentile"] == 100


def test_scores_effects_and_attributions_are_never_mixed(calls):
    kinds = {one["name"]: one["kind"] for one in calls.list_measures()["measures"]}
    for name, kind in (("head_scores", "score"), ("head_attributions", "attribution")):
        rows = getattr(calls, name)(HEAD)[f"{kind}s"]
        assert {kinds[row["measure"]] for row in rows} == {kind}
    rows = calls.head_effects(HEAD, measure="")["effects"]
    assert {kinds[row["measure"]] for row in rows} == {"effect"}
    with pytest.raises(HeadAtlasError, match="no score 'kl'"):
        calls.head_scores(HEAD, "kl")


def test_effects_come_by_family_and_mode(calls, atlas):
    rows = calls.head_effects(HEAD, "logprob")["effects"]
    by_place = {(row["family"], row["mode"]): row for row in rows}
    for mode in atlas.modes:
        stored = float(atlas.summary["logprob_mean"].sel(mode=mode, family="ioi").values[INDUCTION_HEAD])
        assert by_place["ioi", mode]["value"] == pytest.approx(stored)
        macro = float(atlas.summary["logprob_macro"].sel(mode=mode).values[INDUCTION_HEAD])
        assert by_place["all", mode]["value"] == pytest.approx(macro)
        assert by_place["all", mode]["counted"] == "families"
    assert {row["mode"] for row in calls.head_effects(HEAD, "kl", "mean")["effects"]} == {"mean"}


def test_a_number_that_there_is_not_is_null_with_a_reason(calls):
    rows = calls.head_effects(HEAD, "logit_difference", "zero")["effects"]
    missing = {row["family"]: row["reason"] for row in rows if row["value"] is None}
    assert missing["natural"] == "not defined on natural"
    assert all(row["reason"] is None for row in rows if row["value"] is not None)


def test_roles_give_the_stored_evidence_for_and_against(calls, atlas):
    found = calls.head_roles(HEAD, "induction")
    (role,) = found["roles"]
    assert role["held"] is True
    assert role["membership"] == pytest.approx(float(atlas.roles["membership"].sel(role="induction").values[1, 2]))
    attends = role["grades"]["attends"]
    assert attends["answer"] is True
    first = attends["evidence"][0]
    assert (first["measure"], first["where"], first["met"]) == ("induction_excess", "rand_repeat", True)
    assert (first["value"], first["low"], first["n"]) == pytest.approx((0.9, 0.89, 20))
    (other,) = calls.head_roles("0.0", "induction")["roles"]
    assert other["held"] is False
    assert other["grades"]["attends"]["evidence"][0]["met"] is False
    # A question that nobody asks of a role says why.
    for one in calls.head_roles(HEAD)["roles"]:
        for grade in one["grades"].values():
            assert (grade["answer"] is None) == bool(grade["reason"])


def test_the_summary_is_the_sentence_of_the_page(calls):
    found = calls.head_summary("L1H2")
    assert found["head"] == HEAD
    assert "induction head" in found["sentence"]
    assert found["roles"] == ["induction"]


def test_examples_hold_the_stored_pattern(calls, atlas):
    found = calls.head_examples(HEAD, patterns=True)
    assert (found["where"], found["band"]) == ("text", "2")
    (one,) = found["examples"]
    prompt = atlas.prompts[one["prompt"]]
    assert (one["text"], one["tokens"]) == (prompt.text, list(prompt.strings))
    assert (one["looks_from"], one["looks_at"], one["largest_attention"]) == (3, 1, 0.75)
    assert one["effect_on_logprob"] == pytest.approx(-0.3)
    assert one["pattern"][3] == [[1, 0.75]]
    assert one["attention_left_out"][3] == 0.25
    assert "pattern" not in calls.head_examples(HEAD)["examples"][0]
    assert calls.head_examples(HEAD, band="1")["examples"] == []
    with pytest.raises(HeadAtlasError, match="no band '9' for text; there are 2, 1, 0"):
        calls.head_examples(HEAD, band="9")


def test_an_atlas_that_holds_less_says_so(library):
    calls = BrowsingCalls(library)
    found = calls.head_roles("1.1")
    assert found["roles"] == []
    assert "without roles" in found["reason"]
    assert "without roles" in calls.head_summary("1.1")["reason"]
    with pytest.raises(HeadAtlasError, match="cannot be read"):
        calls.head_examples("1.1")
    with pytest.raises(HeadAtlasError, match="there are none"):
        calls.find_heads(role="induction")
