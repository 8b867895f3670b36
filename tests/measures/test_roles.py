"""Known answers on invented numbers: what each head holds is decided by hand."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from head_atlas.catalogue import EFFECTS, NAMED_PARTS, ROLE_NUMBERS, SCORES
from head_atlas.catalogue.roles import GRADES, ROLES, STATES, Criterion, Role
from head_atlas.errors import HeadAtlasError
from head_atlas.measures.evidence import (
    Measured,
    all_of,
    any_of,
    by_family,
    from_summary,
    solved_families,
    weigh,
    with_shares,
)
from head_atlas.measures.role_words import _rounded, describe
from head_atlas.measures.roles import HeadRoles, assign_roles
from head_atlas.measures.syntax import DIRECTIONS
from head_atlas.prompts.families import FAMILIES
from head_atlas.prompts.families.syntax import RELATIONS
from head_atlas.store import open_atlas, write_atlas

sys.path.insert(0, str(Path(__file__).parents[1] / "store"))
from synthetic_atlas import synthetic_contents

SHAPE = (3, 4)
CLEAN = dict.fromkeys(("rand_repeat", "ioi", "successor", "subject_verb", "pronoun", "verb_object"), 2.0)
UNIFORM = {
    ("previous_token_excess", "rand_flat"): 0.0,
    ("induction_excess", "rand_repeat"): 0.0,
    ("duplicate_token_excess", "rand_repeat"): 0.0,
    ("current_token_excess", "rand_flat"): 0.0,
    ("positional", "natural"): 0.1,
    **{
        ("syntactic_gain", f"{relation}:{direction}"): 0.0
        for relation in ("subject-verb", "determiner-noun", "pronoun-antecedent", "verb-object", "adjective-noun")
        for direction in ("second_to_first", "first_to_second")
    },
    ("end_to_io_excess", "ioi"): 0.0,
    ("end_to_s2_excess", "ioi"): 0.0,
    ("induction_copy", "rand_repeat"): 0.0,
    ("ov_copy", ""): 0.0,
    ("negative_ov_copy", ""): 0.0,
    ("direct_logit", "ioi"): 0.0,
    ("direct_logit", "successor"): 0.0,
    ("sink", "natural"): 0.05,
    ("non_sink", "natural"): 0.95,
    ("diffuse_sink_free", "natural"): 1.0,
    ("logprob", "natural"): 0.0,
    **{("logit_difference", family): 0.0 for family in CLEAN},
    ("indirect_effect", "ioi"): 0.0,
}
TESTED = ("_excess", "positional", "syntactic_gain")
JOBS = [name for name, role in ROLES.items() if not role.state]


def measure(heads):
    """Numbers of a model of uniform heads, but for `heads`: {(layer, head): {key: value}}."""
    measured = {}
    for key, ordinary in UNIFORM.items():
        value = np.full(SHAPE, ordinary)
        for at, own in heads.items():
            value[at] = own.get(key, ordinary)
        weights = not key[1]
        half = 0.0 if weights else 0.02
        found = Measured(value, value - half, value + half, np.full(SHAPE, 0 if weights else 100))
        if key[0].endswith(TESTED):
            p = np.where(value > ordinary, 1e-4, 0.6)
            found = replace(found, p=p, n99=np.full(SHAPE, 0.03 if key[0] != "positional" else 0.3))
        measured[key] = found
    return measured


def held_by(found: HeadRoles, at) -> set[str]:
    return {name for name in JOBS if found.held.sel(role=name)[at] == 1}


ON_REPEATS = {("logit_difference", "rand_repeat"): -0.8}
IDEAL = {
    "previous_token": {
        ("previous_token_excess", "rand_flat"): 0.98,
        ("positional", "natural"): 1.0,  # it looks one back, and that is one fixed distance
        **ON_REPEATS,
    },
    "induction": {("induction_excess", "rand_repeat"): 0.94, ("induction_copy", "rand_repeat"): 3.0, **ON_REPEATS},
    "duplicate_token": {("duplicate_token_excess", "rand_repeat"): 0.9, ("logit_difference", "ioi"): -0.3},
    "current_token": {
        ("current_token_excess", "rand_flat"): 0.95,
        ("positional", "natural"): 1.0,  # the fixed distance is none
        ("logprob", "natural"): -0.2,
    },
    "positional": {("positional", "natural"): 0.97, ("logprob", "natural"): -0.2},
    "syntactic_verb_to_subject": {
        ("syntactic_gain", "subject-verb:second_to_first"): 0.5,
        ("logit_difference", "subject_verb"): -0.4,
    },
    "name_mover": {
        ("end_to_io_excess", "ioi"): 0.7,
        ("ov_copy", ""): 0.95,
        ("direct_logit", "ioi"): 1.5,
        ("logit_difference", "ioi"): -0.3,
    },
    "s_inhibition": {
        ("end_to_s2_excess", "ioi"): 0.6,
        ("logit_difference", "ioi"): -0.5,
        ("indirect_effect", "ioi"): -0.45,
    },
    "successor": {("direct_logit", "successor"): 1.2, ("logit_difference", "successor"): -0.9},
    "copy_suppression": {
        ("end_to_io_excess", "ioi"): 0.6,
        ("negative_ov_copy", ""): 0.9,
        ("direct_logit", "ioi"): -1.0,
        ("logit_difference", "ioi"): 0.5,
    },
}


@pytest.mark.parametrize("name", IDEAL)
def test_an_ideal_head_holds_exactly_its_role(name):
    found = assign_roles(measure({(1, 2): IDEAL[name]}), CLEAN)
    assert held_by(found, (1, 2)) == {name}
    for grade in GRADES:
        answer = getattr(found, grade).sel(role=name)[1, 2]
        assert answer == 1 if ROLES[name].of(grade) else np.isnan(answer)
    others = found.held.values[: len(JOBS)].copy()
    others[:, 1, 2] = 0
    later = [ROLES[job].read_later for job in JOBS]
    assert np.isnan(others[later, -1]).all(), "what acts through later heads is not judged in the last layer"
    others[later, -1] = 0
    assert (others == 0).all(), "a uniform head holds no role, and every role could be judged"
    assert found.effective_roles[1, 2] == pytest.approx(1)
    assert np.isnan(found.effective_roles[0, 0])


def test_every_job_has_an_ideal_head():
    relations = {name for name in JOBS if name.startswith("syntactic_")}
    assert len(relations) == 10
    assert set(JOBS) - relations == set(IDEAL) - {"syntactic_verb_to_subject"}


def test_a_head_with_two_jobs_holds_two():
    two = IDEAL["induction"] | {("syntactic_gain", "subject-verb:second_to_first"): 0.9412}
    found = assign_roles(measure({(2, 0): two}), CLEAN)
    assert held_by(found, (2, 0)) == {"induction", "syntactic_verb_to_subject"}
    assert found.effective_roles[2, 0] == pytest.approx(2, abs=1e-3)
    # it matters on one family only
    assert found.participation[2, 0] == pytest.approx(1)


def test_who_inhibits_acts_through_later_heads():
    direct = IDEAL["s_inhibition"] | {("indirect_effect", "ioi"): -0.01}  # its interval spans 0
    opposite = IDEAL["s_inhibition"] | {("indirect_effect", "ioi"): 0.4}
    heads = {(1, 0): IDEAL["s_inhibition"], (1, 1): direct, (1, 2): opposite, (2, 0): IDEAL["s_inhibition"]}
    found = assign_roles(measure(heads), CLEAN)
    held, attends, matters = (getattr(found, part).sel(role="s_inhibition") for part in ("held", "attends", "matters"))
    assert held.values[1].tolist() == [1, 0, 0, 0]
    assert attends.values[1].tolist() == [1, 1, 1, 0]
    assert matters.values[1].tolist() == [1, 0, 0, 0]
    for part in (held, attends, matters, found.membership.sel(role="s_inhibition")):
        assert np.isnan(part.values[2]).all(), "no later head reads what the last layer writes"
    measured = measure(heads)
    del measured["indirect_effect", "ioi"]
    assert np.isnan(assign_roles(measured, CLEAN).held.sel(role="s_inhibition")[1, 0])


def test_membership_counts_from_the_99th_percentile_of_the_null():
    found = assign_roles(measure({(1, 2): IDEAL["induction"]}), CLEAN)
    assert found.membership.sel(role="induction")[1, 2] == pytest.approx((0.94 - 0.03) / 0.97)
    assert found.membership.sel(role="induction")[0, 0] == 0
    assert np.isnan(found.membership.sel(role="sink")[1, 2])


@pytest.mark.parametrize(
    ("change", "attends", "writes"),
    [
        ({("induction_copy", "rand_repeat"): -3.0}, 1, 0),  # anti-induction
        ({("induction_copy", "rand_repeat"): 0.01}, 1, 0),  # the interval spans 0
        ({("induction_excess", "rand_repeat"): 0.11}, 0, 1),  # sure, but its lower bound is 0.09
    ],
)
def test_half_an_induction_head_holds_no_role(change, attends, writes):
    found = assign_roles(measure({(1, 2): IDEAL["induction"] | change}), CLEAN)
    assert held_by(found, (1, 2)) == set()
    assert found.attends.sel(role="induction")[1, 2] == attends
    assert found.writes.sel(role="induction")[1, 2] == writes
    assert found.matters.sel(role="induction")[1, 2] == 1


def test_a_large_score_without_significance_is_no_role():
    measured = measure({(1, 2): IDEAL["previous_token"]})
    key = ("previous_token_excess", "rand_flat")
    # 12 heads: p = 0.01 becomes q = 0.12
    measured[key] = replace(measured[key], p=np.where(measured[key].value > 0.5, 0.01, 0.6))
    found = assign_roles(measured, CLEAN)
    assert found.held.sel(role="previous_token")[1, 2] == 0
    assert found.q.sel(role="previous_token")[1, 2] == pytest.approx(0.12)
    # nothing more precise is held any more
    assert held_by(found, (1, 2)) == {"positional"}


def test_a_score_whose_null_reaches_as_far_is_no_role():
    measured = measure({(1, 2): IDEAL["previous_token"]})
    key = ("previous_token_excess", "rand_flat")
    measured[key] = replace(measured[key], n99=np.full(SHAPE, 0.97))
    found = assign_roles(measured, CLEAN)
    assert found.held.sel(role="previous_token")[1, 2] == 0
    assert found.evidence["threshold"].sel(criterion="previous_token/attends/previous_token_excess/rand_flat")[
        1, 2
    ] == pytest.approx(0.97)


def test_what_was_not_measured_is_not_answered():
    measured = measure({(1, 2): IDEAL["induction"], (0, 1): IDEAL["name_mover"], (2, 2): IDEAL["previous_token"]})
    del measured["induction_copy", "rand_repeat"], measured["end_to_io_excess", "ioi"]
    key = ("previous_token_excess", "rand_flat")
    measured[key] = replace(measured[key], p=None, n99=None)
    found = assign_roles(measured, {})
    assert np.isnan(found.held.sel(role="induction")[1, 2])
    assert found.held.sel(role="induction")[0, 0] == 0, "one criterion that fails is enough for a no"
    assert np.isnan(found.held.sel(role="name_mover")[0, 1])
    assert np.isnan(found.held.sel(role="previous_token")[2, 2]), "a score without a null proves nothing"
    assert found.held.sel(role="previous_token")[0, 0] == 0, "but a small one needs none to fail"
    # no family is solved, so nothing can be said of effects
    assert np.isnan(found.matters.sel(role="induction").values).all()
    assert np.isnan(found.participation.values).all()
    with pytest.raises(HeadAtlasError, match=r"numbers of one shape \[layer, head\], found none"):
        assign_roles({}, {})


def test_states_of_attention():
    heads = {
        (0, 0): {("sink", "natural"): 0.8, ("non_sink", "natural"): 0.2},
        (0, 1): {("logprob", "natural"): -0.3},
        (0, 2): {("diffuse_sink_free", "natural"): 0.5},
    }
    held = assign_roles(measure(heads), CLEAN).held
    assert held.sel(role="sink").values.sum() == 1
    assert held.sel(role="sink")[0, 0] == 1
    assert held.sel(role="diffuse")[0, 0] == 0, "too little attention is left"
    assert held.sel(role="diffuse")[0, 2] == 0
    assert held.sel(role="diffuse")[2, 2] == 1
    assert held.sel(role="bag_of_words").values.sum() == 1
    assert held.sel(role="bag_of_words")[0, 1] == 1


def test_states_that_follow():
    heads = {
        (0, 0): {},
        (0, 1): IDEAL["previous_token"] | {("logit_difference", "rand_repeat"): 0.0},
        (0, 2): {("logit_difference", "pronoun"): 0.7, ("diffuse_sink_free", "natural"): 0.2},
        (0, 3): {("logprob", "natural"): 0.4},  # a bag of words
    }
    norm = np.ones(SHAPE)
    norm[0, :2] = 0.01
    states = assign_roles(measure(heads), CLEAN, write_norm=norm).states
    assert list(states.coords["state"]) == list(STATES)
    of = {name: set(zip(*np.nonzero(states.sel(state=name).values == 1), strict=True)) for name in STATES}
    assert of == {"dormant": {(0, 0)}, "decorative": {(0, 1)}, "unexplained": {(0, 2)}}
    without = assign_roles(measure(heads), CLEAN).states.sel(state="dormant")
    assert np.isnan(without[0, 0])
    assert without[0, 1] == 0


def test_effects_are_felt_by_families_and_tiny_ones_are_not():
    heads = {
        (0, 0): {("logit_difference", "ioi"): -1.0, ("logit_difference", "pronoun"): 0.5},
        (0, 1): {("logit_difference", "ioi"): -0.015},  # its interval spans 0
    }
    measured = measure(heads)
    tiny = ("logit_difference", "successor")
    # certain, and under one percent of the clean difference
    measured[tiny] = Measured(*(np.full(SHAPE, -0.01 * factor) for factor in (1, 1.1, 0.9, 100)))
    found = assign_roles(measured, CLEAN)
    assert found.felt.sel(family="ioi")[0, 0] == 1
    assert found.felt.sel(family="pronoun")[0, 0] == 1
    assert found.felt.sel(family="ioi")[0, 1] == 0
    assert (found.felt.sel(family="successor").values == 0).all()
    relative = found.relative_effect
    assert relative.sel(family="ioi")[0, 0] == pytest.approx(0.5)
    assert relative.sel(family="ioi")[0, 1] == 0
    assert relative.sel(family="pronoun")[0, 0] == pytest.approx(0.25)
    assert relative.sel(family="successor")[0, 0] == pytest.approx(0.005)
    shares = np.array([0.5, 0.25, 0.005])
    assert found.participation[0, 0] == pytest.approx(shares.sum() ** 2 / (shares**2).sum())


def test_many_families_are_corrected_together():
    measured = measure({(0, 0): {("logit_difference", "ioi"): -1.0}})
    for key, found in measured.items():
        if key[0] == "logit_difference":
            # one p value of 72 is small: q = 0.36 over families and heads, 0.06 over the heads alone
            measured[key] = replace(found, p=np.where(found.value < -0.5, 0.005, 0.9))
    assert (assign_roles(measured, CLEAN).felt.values != 1).all()


def test_one_rule_for_every_criterion():
    value = np.array([[-0.6, -0.3, 0.6, 0.0]])
    measured = {("m", "f"): Measured(value, value - 0.1, value + 0.1, np.full((1, 4), 9))}
    low = weigh(Criterion("writes", "m", "f", sign=-1, floor=0.25), measured, {}, (1, 4))
    assert low.met.tolist() == [[1, 0, 0, 0]]
    either = weigh(Criterion("writes", "m", "f", sign=0, floor=0.0, least=0.5), measured, {}, (1, 4))
    assert either.met.tolist() == [[1, 0, 1, 0]]
    share = weigh(Criterion("matters", "m", "f", relative=True), measured, {"f": 2.0}, (1, 4))
    np.testing.assert_allclose(share.value, value / 2)
    np.testing.assert_allclose(share.low, (value - 0.1) / 2)
    assert share.met.tolist() == [[0, 0, 1, 0]]
    p = {("m", "f"): replace(measured["m", "f"], p=np.full((1, 4), 0.9))}
    for given in (measured, p):
        unsolved = weigh(Criterion("matters", "m", "f", relative=True), given, {}, (1, 4))
        assert np.isnan(unsolved.met).all(), "not even the test says no of what the model cannot do"


def test_rounding_does_not_decide():
    value = np.array([[0.1, 0.0999]], dtype=np.float32).astype(np.float64) - 1e-8
    measured = {("m", "f"): Measured(value, value, value + 0.2, np.full((1, 2), 9))}
    for asked in ({"floor": 0.1}, {"floor": 0.0, "least": 0.1}):
        assert weigh(Criterion("writes", "m", "f", **asked), measured, {}, (1, 2)).met.tolist() == [[1, 0]]


def test_shares_resample_effect_and_clean_value_together():
    rng = np.random.default_rng(0)
    clean = rng.uniform(0.5, 4, 60)
    values = np.stack([-0.5 * clean, rng.normal(-1, 0.2, 60)])[None]  # the first loses half of every prompt's lead
    templates = list(np.arange(60) % 15)
    measured = by_family("logit_difference", values, ["ioi"] * 60, templates, seed=0)
    shared = with_shares(measured, "logit_difference", values, clean, ["ioi"] * 60, templates, seed=0)
    criterion = Criterion("matters", "logit_difference", "ioi", relative=True)
    with_clean_exact = weigh(criterion, measured, {"ioi": clean.mean()}, (1, 2))
    found = weigh(criterion, shared, {"ioi": clean.mean()}, (1, 2))
    np.testing.assert_allclose(found.value, with_clean_exact.value)
    np.testing.assert_allclose([found.low[0, 0], found.high[0, 0]], -0.5, err_msg="a fixed share has no width")
    assert with_clean_exact.high[0, 0] - with_clean_exact.low[0, 0] > 0.1
    # a loss that does not follow the lead: the lead's own spread comes on top
    assert found.high[0, 1] - found.low[0, 1] > 2 * (with_clean_exact.high[0, 1] - with_clean_exact.low[0, 1])


def test_families_that_a_model_does_not_solve_are_not_answered():
    measured = measure({(0, 0): {("logit_difference", "ioi"): -1.0}})
    key = ("logit_difference", "ioi")
    measured[key] = replace(measured[key], p=np.full(SHAPE, 0.9))
    found = assign_roles(measured, {"pronoun": 2.0})
    assert np.isnan(found.felt.sel(family="ioi").values).all()
    assert np.isnan(found.relative_effect.sel(family="ioi").values).all()
    assert (found.felt.sel(family="pronoun").values == 0).all()


def test_membership_does_not_count_from_below_zero():
    measured = measure({(1, 2): {("syntactic_gain", "subject-verb:second_to_first"): 0.2}})
    key = ("syntactic_gain", "subject-verb:second_to_first")
    measured[key] = replace(measured[key], n99=np.full(SHAPE, -0.5))
    membership = assign_roles(measured, CLEAN).membership.sel(role="syntactic_verb_to_subject")
    assert membership[1, 2] == pytest.approx(0.2)
    assert membership[0, 0] == 0


def test_answers_with_gaps():
    one, no, gap = np.array([1.0]), np.array([0.0]), np.array([np.nan])
    assert all_of([one, gap, no]) == 0
    assert np.isnan(all_of([one, gap]))
    assert all_of([one, one]) == 1
    assert any_of([no, gap, one]) == 1
    assert any_of([no, gap]) == 0
    assert np.isnan(any_of([gap]))


def test_nulls_from_draws():
    rng = np.random.default_rng(0)
    value = np.array([[0.5, 0.0], [0.02, np.nan]])
    draws = 0.02 * rng.normal(size=(2, 2, 500))
    draws[1, 0] = np.nan
    found = Measured(value, value, value, np.full((2, 2), 9)).against(draws)
    assert found.p[0, 0] <= 1 / 501
    assert found.p[0, 1] == pytest.approx(0.5, abs=0.1)
    assert np.isnan(found.p[1]).all()
    assert found.n99[0, 0] == pytest.approx(np.quantile(draws[0, 0], 0.99))
    assert np.isnan(found.n99[1, 0])


def test_families_that_a_model_solves():
    rng = np.random.default_rng(0)
    solved, coin, barely = rng.normal(3, 1, 60), rng.normal(0, 1, 60), rng.normal(0.55, 1, 60)
    values = np.concatenate([solved, coin, barely, np.full(5, np.nan)])
    families = ["ioi"] * 60 + ["fact"] * 60 + ["pronoun"] * 60 + ["natural"] * 5
    found = solved_families(values, families, list(np.arange(185) % 15), seed=0)
    assert found == {"ioi": pytest.approx(solved.mean())}


def test_what_is_stored_comes_back():
    found = assign_roles(measure({(1, 2): IDEAL["induction"]}), CLEAN, write_norm=np.ones(SHAPE))
    arrays = found.arrays()
    assert all(array.dims[-2:] == ("layer", "head") and array.shape[-2:] == SHAPE for array in arrays.values())
    again = HeadRoles.from_arrays(arrays)
    assert again.arrays().keys() == arrays.keys()
    assert describe(again, 1, 2) == describe(found, 1, 2)


def test_the_family_axis_can_be_given():
    measured = measure({(0, 0): {("logit_difference", "ioi"): -1.0}})
    found = assign_roles(measured, CLEAN, families=["rand_flat", "ioi", "natural"])
    assert list(found.felt.coords["family"]) == ["rand_flat", "ioi", "natural"]
    assert np.isnan(found.felt.values[0]).all()
    assert found.felt.values[1, 0, 0] == 1
    assert np.isnan(found.relative_effect.values[[0, 2]]).all()


def test_numbers_from_the_summary_of_an_atlas(tmp_path):
    write_atlas(tmp_path / "atlas.h5", synthetic_contents())
    with open_atlas(tmp_path / "atlas.h5") as atlas:
        summary = dict(atlas.summary)
    found = from_summary(summary, "mean")
    assert found["induction_excess", "rand_repeat"].low is summary["induction_excess_ci_low"].values
    assert found["sink", "natural"].value is summary["sink_natural_mean"].values
    effect = found["logit_difference", "ioi"]
    np.testing.assert_array_equal(effect.value, summary["logit_difference_mean"].sel(mode="mean", family="ioi").values)
    assert effect.n.tolist() == [[20] * 6] * 4
    assert ("logit_difference", "natural") not in found, "natural text has no contrast"
    assert ("logprob", "natural") in found
    assert not any(measure in ("logit_difference", "kl") for measure, _ in from_summary(summary, "resample"))
    held = assign_roles(found, {"ioi": 3.0}).held
    assert held.shape == (len(ROLES), 4, 6)
    assert not (held.values[: len(JOBS)] == 1).any(), "no null, no role"


def test_small_numbers_keep_their_sign_and_size():
    assert [_rounded(x, 2) for x in (0.0, 0.94, -0.005, -0.0023, 0.00017)] == [
        "0.00",
        "0.94",
        "−0.01",
        "−0.002",
        "0.0002",
    ]


def test_a_head_in_one_sentence():
    heads = {
        (1, 2): IDEAL["induction"] | {("diffuse_sink_free", "natural"): 0.2},
        (1, 3): IDEAL["induction"] | {("induction_copy", "rand_repeat"): -3.0, ("diffuse_sink_free", "natural"): 0.2},
        (0, 0): {("sink", "natural"): 0.8, ("non_sink", "natural"): 0.2},
    }
    measured = measure(heads)
    found = assign_roles(measured, CLEAN)
    assert describe(found, 1, 2) == (
        "Attends like an induction head (excess 0.94 [0.92, 0.96], n = 100), writes like one (copying 3.00 [2.98, "
        "3.02] logits, n = 100), and matters (removing it changes the logit difference on rand repeat by −40.0 % "
        "[−41.0, −39.0], n = 100)."
    )
    assert describe(found, 1, 3) == (
        f"Holds none of the {len(JOBS)} roles that could be judged; attends like an induction head (excess 0.94 "
        "[0.92, 0.96], n = 100), does not write like one (copying −3.00 [−3.02, −2.98] logits, n = 100), and "
        "matters (removing it changes the logit difference on rand repeat by −40.0 % [−41.0, −39.0], n = 100), so "
        "it is not called one; is unexplained: its effect is felt on rand repeat."
    )
    assert describe(found, 0, 0) == (
        f"Holds none of the {len(JOBS)} roles that could be judged; is a head that rests on the first position "
        "(attention to the first position 0.80 [0.78, 0.82], n = 100)."
    )
    found = assign_roles(measure({(1, 2): heads[1, 2] | {("logit_difference", "rand_repeat"): 0.2}}), CLEAN)
    assert describe(found, 1, 2).endswith(
        "and works the other way (removing it changes the logit difference on rand repeat by 10.0 % [9.0, 11.0], "
        "n = 100)."
    )
    without = {key: value for key, value in heads[1, 2].items() if key != ("logit_difference", "rand_repeat")}
    assert describe(assign_roles(measure({(1, 2): without}), CLEAN), 1, 2).endswith(
        "and does not matter (removing it changes the logit difference on rand repeat by 0.0 % [−1.0, 1.0], n = 100); "
        "is decorative: its effect is felt on no family."
    )
    several = {("logit_difference", family): -0.5 for family in ("ioi", "successor", "pronoun")}
    found = assign_roles(measure({(0, 1): several | {("diffuse_sink_free", "natural"): 0.2}}), CLEAN)
    assert describe(found, 0, 1).endswith("is unexplained: its effect is felt on ioi, successor and pronoun.")
    del measured["logit_difference", "rand_repeat"]
    assert describe(assign_roles(measured, CLEAN), 1, 2).endswith(
        "and whether it matters was not judged: not measured, or the model does not solve these prompts."
    )
    # what was done is said
    found = assign_roles(measure(heads), CLEAN)
    assert "and matters (replacing its output by that of other text changes the" in describe(
        found, 1, 2, mode="resample"
    )
    assert "and matters (setting its output to 0 changes the" in describe(found, 1, 2, mode="zero")
    nothing = {("sink", "natural"): Measured.exact(np.zeros(SHAPE))}
    assert describe(assign_roles(nothing, {}), 0, 0) == "No role could be judged."


def test_a_positional_head_says_where_it_looks():
    offset = np.full(SHAPE, 5.0, dtype=np.float32)
    offset[1] = 1
    heads = {(0, 2): IDEAL["positional"], (1, 2): IDEAL["positional"]}
    found = assign_roles(measure(heads), CLEAN, positional_offset=offset)
    assert "(share at one offset 0.97 [0.95, 0.99], 5 tokens back, n = 100)" in describe(found, 0, 2)
    assert ", 1 token back, n = 100)" in describe(found, 1, 2)
    stored = found.arrays()
    del stored["positional_offset"]
    assert "(share at one offset 0.97 [0.95, 0.99], n = 100)" in describe(HeadRoles.from_arrays(stored), 0, 2)


def test_working_the_other_way_takes_an_effect_of_some_size():
    measured = measure({(1, 2): IDEAL["induction"]})
    key = ("logit_difference", "rand_repeat")
    for share, words in ((0.009, "and does not matter (removing it"), (0.011, "and works the other way (removing it")):
        effect = np.full(SHAPE, 2.0 * share)
        measured[key] = Measured(effect, effect - 1e-4, effect + 1e-4, np.full(SHAPE, 100))
        assert words in describe(assign_roles(measured, CLEAN), 1, 2)


def test_roles_that_ask_for_the_same_attention_are_told_once():
    mover = IDEAL["name_mover"] | {("diffuse_sink_free", "natural"): 0.2}
    assert "copy-suppression" not in describe(assign_roles(measure({(1, 2): mover}), CLEAN), 1, 2)
    looks = {("end_to_io_excess", "ioi"): 0.7, ("diffuse_sink_free", "natural"): 0.2}
    text = describe(assign_roles(measure({(1, 2): looks}), CLEAN), 1, 2)
    assert text.count("attends like") == 1
    both = looks | {("induction_excess", "rand_repeat"): 0.95}
    text = describe(assign_roles(measure({(1, 2): both}), CLEAN), 1, 2)
    assert "attends like a name mover or a copy-suppression head too, without" in text


def test_a_bag_of_words_takes_a_sure_effect_of_any_size():
    measured = measure({})
    effect = np.full(SHAPE, 0.004)
    measured["logprob", "natural"] = Measured(effect, effect - 1e-3, effect + 1e-3, np.full(SHAPE, 100))
    found = assign_roles(measured, CLEAN)
    assert (found.held.sel(role="bag_of_words").values == 1).all()
    assert (found.felt.sel(family="natural").values == 0).all()


def test_the_catalogue_of_roles_says_what_it_must():
    for name, role in ROLES.items():
        assert role.name == name
        assert role.label.startswith(("a ", "an "))
        assert role.sentence.endswith(".")
        assert role.sentence.count(". ") == 0
        assert role.sources.strip()
        assert role.pitfall.strip()
        assert any(criterion.required for criterion in role.criteria)
        keys = [(criterion.grade, criterion.key) for criterion in role.criteria]
        assert len(set(keys)) == len(keys)
        unasked = {grade for grade, _ in role.unasked}
        assert unasked == {grade for grade in GRADES if not role.of(grade)}, "a question left out says why"
        assert set(role.yields_to) <= set(ROLES)
        for criterion in role.criteria:
            assert criterion.number
            assert criterion.tested <= (criterion.floor is not None)


def test_criteria_ask_for_numbers_that_are_measured():
    named = {name.removeprefix("syntactic_") for name in ROLES if name.startswith("syntactic_")}
    expected = set()
    for relation in RELATIONS:
        first, second = relation.split("-")
        expected |= {f"{first}_to_{second}", f"{second}_to_{first}"}
    assert named == expected
    weights = {"ov_copy", "negative_ov_copy"}
    for role in ROLES.values():
        for criterion in role.criteria:
            name = criterion.measure.removesuffix("_excess")
            if name == "syntactic_gain":
                relation, direction = criterion.where.split(":")
                assert relation in RELATIONS
                assert direction in DIRECTIONS
            elif name in SCORES | NAMED_PARTS:
                entry = (SCORES | NAMED_PARTS)[name]
                assert entry.family == criterion.where or not criterion.tested, "nulls are drawn on the first family"
                assert criterion.where in entry.families
                assert entry.has_excess or name == criterion.measure
            elif name not in weights:
                assert name in ("direct_logit", "induction_copy", *EFFECTS, *ROLE_NUMBERS)
                assert criterion.where in FAMILIES


def test_a_role_is_nothing_but_its_entry():
    own = Role(
        "loud",
        "a loud head",
        "It writes a lot.",
        (Criterion("writes", "norm", "", "norm", floor=2.0, required=True),),
        "this test",
        "none",
    )
    found = assign_roles({("norm", ""): Measured.exact(np.array([[1.0, 3.0]]))}, {}, roles={"loud": own})
    assert found.held.values.tolist() == [[[0, 1]]]
    assert describe(found, 0, 1, roles={"loud": own}) == "Writes like a loud head (norm 3.00)."
