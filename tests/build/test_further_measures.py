"""What a build holds beside pattern scores and effects: it is what the library measures, in its place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_build import OPTIONS, SMALL, silent

from head_atlas.build import build_atlas, plan_atlas, role_evidence
from head_atlas.build.measurement import Corpus
from head_atlas.build.measurements import MEASUREMENTS
from head_atlas.build.parts import Parts, parts_folder
from head_atlas.build.plan import make_plan
from head_atlas.build.runner import run_plan
from head_atlas.catalogue import WITHOUT_EFFECTS
from head_atlas.errors import BuildError
from head_atlas.measures.composition import composition
from head_atlas.measures.direct_logit import decompose, induction_copy
from head_atlas.measures.effects import sweep
from head_atlas.measures.evidence import solved_families
from head_atlas.measures.exemplars import exemplars
from head_atlas.measures.neurons import neuron_statistics
from head_atlas.measures.patterns import pattern_scores
from head_atlas.measures.significance import percentiles, q_values, sign_flip_p, split_half
from head_atlas.measures.superposition import interference, participation
from head_atlas.measures.weights import weight_scores
from head_atlas.measures.write_norm import write_norm
from head_atlas.prompts.families.sink_probe import STARTS
from head_atlas.prompts.prompt import Prompt
from head_atlas.store import open_atlas

ROUNDING = 4.9e-4


def members(atlas, family):
    return [p for p in atlas.prompts if p.family == family]


def places(atlas, family):
    return [p.index for p in members(atlas, family)]


def test_direct_logit_attribution_and_its_sum(atlas, model):
    for family in ("ioi", "rand_repeat", "natural", "syntax"):  # the last two have no wrong answer
        live = decompose(model, members(atlas, family))
        at = places(atlas, family)
        np.testing.assert_allclose(atlas.direct_logit["heads"].values[..., at], live.heads.values, rtol=1e-5, atol=1e-6)
    parts = ("heads", "mlps", "attention_bias", "embedding", "final_norm_bias", "unembedding_bias", "residual")
    total = sum(atlas.direct_logit[name].values.reshape(-1, len(atlas.prompts)).sum(0) for name in parts)
    difference = atlas.direct_logit["logit_difference"].values
    measured = ~np.isnan(difference)
    assert set(np.array([p.family for p in atlas.prompts])[measured]) == set(atlas.families) - set(WITHOUT_EFFECTS)
    # not rounded like other numbers: the parts add up to what they are parts of
    np.testing.assert_allclose(total[measured], difference[measured], atol=1e-5)
    copy = induction_copy(model, members(atlas, "rand_repeat")).values
    found = atlas.direct_logit["induction_copy"].values
    np.testing.assert_allclose(found[..., places(atlas, "rand_repeat")], copy, rtol=1e-5, atol=1e-6)
    assert np.isnan(found[..., places(atlas, "ioi")]).all()
    mean = atlas.summary["direct_logit_mean"].sel(family="ioi").values
    expected = atlas.direct_logit["heads"].values[..., places(atlas, "ioi")].mean(-1)
    np.testing.assert_allclose(mean, expected, rtol=1e-5, atol=1e-6)


def test_weights_with_their_nulls_and_reasons(atlas, model):
    live = weight_scores(model)
    for name, array in live.values.items():
        np.testing.assert_allclose(atlas.weights[name].values, array.values, rtol=ROUNDING, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(
        atlas.nulls["ov_copy_eig_n99"].values, np.quantile(live.nulls["ov_copy_eig"].values, 0.99, -1), rtol=1e-5
    )
    pairs = atlas.weights["composition"]
    assert pairs.dims == ("kind", "layer_from", "head_from", "layer", "head")
    np.testing.assert_allclose(pairs.values, composition(model).values.values, rtol=ROUNDING, atol=1e-6)
    assert "Rotary" in atlas.notes["composition"]  # it is there
    assert "composition" not in atlas.left_out
    for token in np.unique(atlas.weights["promoted_tokens"].values):
        assert token == -1 or atlas.token_strings[int(token)] == model.strings([int(token)])[0]


def harm(atlas):
    """What exemplars of harm are chosen by: in the mode of roles, without families that the model does not solve."""
    families, templates = [p.family for p in atlas.prompts], [p.template for p in atlas.prompts]
    clean = atlas.clean["logit_difference"].values
    solved = solved_families(clean, families, templates, seed=0)
    effects = atlas.effects["logprob"].sel(mode=atlas.provenance["role_mode"]).values.copy()
    for index, family in enumerate(families):
        if not np.isnan(clean[index]) and family not in solved:
            effects[..., index] = np.nan
    return effects


def test_no_head_harms_what_the_model_cannot_do(atlas):
    unsolved = {atlas.prompts[i].family for i in np.flatnonzero(np.isnan(harm(atlas)[0, 0]))} - set(WITHOUT_EFFECTS)
    assert unsolved  # the model is random
    found = atlas.exemplars["families"]
    harmed = found["prompt_index"].values[found["band"].values == 0]
    assert len(harmed)
    assert not {atlas.prompts[i].family for i in harmed} & unsolved
    # the effect that is shown is that of the roles' mode
    at = np.flatnonzero(found["band"].values == 0)[0]
    head = np.searchsorted(found["head_offset"].values, at, side="right") - 1
    shown = atlas.effects["logprob"].sel(mode="resample").values.reshape(-1, len(atlas.prompts))
    assert found["effect"].values[at] == pytest.approx(shown[head, found["prompt_index"].values[at]], rel=1e-3)


@pytest.mark.parametrize("which", ["text", "families"])
def test_exemplars_of_text_and_of_families_on_the_prompts_of_the_atlas(atlas, model, which):
    index = [p.index for p in atlas.prompts if (p.family == "natural") == (which == "text")]
    effects = harm(atlas)[..., index]
    live = exemplars(model, [atlas.prompts[i] for i in index], effects=effects, seed=0)
    found = atlas.exemplars[which]
    np.testing.assert_array_equal(found["prompt_index"].values, np.array(index)[live.prompt_index.values])
    np.testing.assert_array_equal(found["weight"].values, live.weight.values)
    np.testing.assert_array_equal(found["largest"].values[..., index], live.largest.values)
    others = [i for i in range(len(atlas.prompts)) if i not in index]
    assert np.isnan(found["largest"].values[..., others]).all()
    for band, prompt in zip(found["band"].values, found["prompt_index"].values, strict=True):
        assert prompt in index
        assert 0 <= band <= 6


def test_neurons_on_the_prompts_and_families_of_the_atlas(atlas, model):
    index = [p.index for p in atlas.prompts if p.family not in WITHOUT_EFFECTS]
    live = neuron_statistics(model, [atlas.prompts[i] for i in index])
    names = list(live.mean.coords["family"])
    for name in ("mean", "firing"):
        found = atlas.neurons[name]
        assert found.coords["family"] == atlas.families
        at = [atlas.families.index(family) for family in names]
        np.testing.assert_allclose(found.values[..., at], getattr(live, name).values, rtol=ROUNDING, atol=1e-6)
        assert np.isnan(found.sel(family="rand_flat").values).all()
    top = live.top_prompts.values
    np.testing.assert_array_equal(atlas.neurons["top_prompts"].values, np.where(top < 0, -1, np.array(index)[top]))


def test_how_crowded_the_model_is(atlas, model):
    live = interference(model, seed=0)
    np.testing.assert_allclose(atlas.model["interference"].values, live.values.values, rtol=1e-5)
    assert atlas.model["interference"].coords == live.values.coords | {
        dim: list(labels) for dim, labels in live.values.coords.items()
    }
    used = participation(model, members(atlas, "natural"))
    np.testing.assert_allclose(atlas.model["head_participation"].values, used.heads.values, rtol=1e-5)
    assert int(atlas.model["participation_n"].values) == used.n_tokens == 6 * 39


def test_how_much_heads_write(atlas, model):
    live = np.nanmean(write_norm(model, members(atlas, "natural")).values, -1)
    np.testing.assert_allclose(atlas.model["write_norm"].values, live, rtol=1e-5)


def test_the_sink_by_what_stands_first(atlas):
    found = atlas.summary["sink_by_start"]
    assert found.coords["start"] == list(STARTS)
    for template, start in enumerate(STARTS):
        at = [p.index for p in members(atlas, "sink_probe") if p.template == template]
        expected = atlas.scores["sink"].values[..., at].mean(-1)
        np.testing.assert_allclose(found.sel(start=start).values, expected, rtol=1e-3)


def test_how_alike_other_prompts_rank_the_heads(atlas):
    at = places(atlas, "natural")
    values = atlas.scores["sink"].values[..., at]
    expected = split_half(values, [atlas.prompts[i].template for i in at], seed=0, family="natural")
    assert float(atlas.summary["sink_natural_split_half"].values) == pytest.approx(expected, abs=0.1)
    assert -1 <= expected <= 1


def test_tests_of_effects_and_places_among_heads(atlas):
    s = atlas.summary
    at = places(atlas, "ioi")
    values = atlas.effects["logit_difference"].sel(mode="zero").values[..., at]
    p = sign_flip_p(values, [atlas.prompts[i].template for i in at], seed=0, family="ioi")
    found = s["logit_difference_p"].sel(mode="zero", family="ioi").values
    np.testing.assert_allclose(found, p, rtol=1e-5)
    np.testing.assert_allclose(
        s["logit_difference_q"].sel(mode="zero", family="ioi").values, q_values(found), rtol=1e-5
    )
    size = np.abs(s["kl_mean"].sel(mode="zero", family="ioi").values)
    model_rank = s["kl_percentile_model"].sel(mode="zero", family="ioi").values
    np.testing.assert_allclose(model_rank, percentiles(size), rtol=1e-5)
    layer_rank = s["kl_percentile_layer"].sel(mode="zero", family="ioi").values
    assert (layer_rank.max(-1) == 100).all()
    assert np.isnan(s["logit_difference_p"].sel(mode="zero", family="natural").values).all()


def test_the_prompts_that_the_clean_model_gets_right(atlas):
    right = atlas.clean["correct"].values == 1
    for family in ("ioi", "pronoun"):
        at = [i for i in places(atlas, family) if right[i]]
        n = atlas.summary["logprob_correct_n"].sel(mode="zero", family=family).values
        assert (n == len(at)).all()
        if at:
            expected = atlas.effects["logprob"].sel(mode="zero").values[..., at].mean(-1)
            found = atlas.summary["logprob_correct_mean"].sel(mode="zero", family=family).values
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


def test_right_positions_of_prompts_that_are_read_at_many(atlas, model, tmp_path):
    """Prompts that the clean model gets right at one position each are in the subset, with that position alone."""
    whole, single = [], []
    for prompt in members(atlas, "natural"):
        top = int(model.logits(torch.tensor([prompt.tokens]))[0, 5].argmax())
        at = prompt.positions.index(5)
        targets = (*prompt.targets[:at], top, *prompt.targets[at + 1 :])
        whole.append(Prompt("", prompt.tokens, prompt.positions, targets, family="natural"))
        single.append(Prompt("", prompt.tokens, (5,), (top,), family="natural"))
    plan = make_plan(
        Corpus({"natural": whole}), kinds=["zero"], n_layers=2, n_heads=4, config=plan_atlas(model, SMALL).config
    )
    assert plan.modes == ("zero",)
    out = tmp_path / "x.h5"
    run_plan(plan, model, out, {}, silent, parts=Parts(parts_folder(out), plan))
    expected = sweep(model, single)["logprob"].values
    with open_atlas(out) as found:
        assert (found.summary["logprob_correct_n"].values == len(whole)).all()
        mean = found.summary["logprob_correct_mean"].sel(mode="zero", family="natural").values
        assert found.clean["correct"].values.max() < 1.5 / len(whole[0].positions)  # right at no other position
    np.testing.assert_allclose(mean, expected.mean(0), rtol=1e-4, atol=1e-6)


def test_roles_are_judged_by_what_is_in_the_atlas(atlas):
    roles = atlas.roles
    assert set(roles["held"].coords["role"]) >= {"induction", "previous_token", "name_mover", "sink"}
    assert atlas.provenance["role_mode"] == "resample"
    criteria = roles["evidence_value"].coords["criterion"]
    place = criteria.index("induction/attends/induction_excess/rand_repeat")
    np.testing.assert_allclose(
        roles["evidence_value"].values[place], atlas.summary["induction_excess"].values, rtol=1e-5, atol=1e-6
    )
    place = criteria.index("name_mover/attends/end_to_io_excess/ioi")
    np.testing.assert_allclose(
        roles["evidence_value"].values[place], atlas.summary["end_to_io_excess"].values, rtol=1e-5
    )
    assert np.isfinite(roles["evidence_q"].values[place]).all()
    place = criteria.index("name_mover/writes/ov_copy/")
    np.testing.assert_allclose(roles["evidence_value"].values[place], atlas.weights["ov_copy"].values, rtol=1e-3)
    # one p value of a score, that which is stored
    for name, criterion in (
        ("induction", "induction/attends/induction_excess/rand_repeat"),
        (
            "syntactic_gain_subject_verb_second_to_first",
            "syntactic_verb_to_subject/attends/syntactic_gain/subject-verb:second_to_first",
        ),
    ):
        q = roles["evidence_q"].values[criteria.index(criterion)]
        np.testing.assert_allclose(q, q_values(atlas.nulls[f"{name}_p"].values), rtol=1e-6)
        observed = roles["evidence_value"].values[criteria.index(criterion)]
        np.testing.assert_allclose(observed, atlas.nulls[f"{name}_observed"].values, atol=1e-5)
    assert set(np.unique(roles["held"].values[np.isfinite(roles["held"].values)])) <= {0.0, 1.0}
    assert list(roles["felt"].coords["family"]) == atlas.families


def test_how_alike_other_prompts_rank_attributions_and_gains(atlas):
    at = places(atlas, "ioi")
    values = atlas.direct_logit["heads"].values[..., at]
    templates = [p.template for p in members(atlas, "ioi")]
    expected = split_half(values, templates, seed=atlas.provenance["seed"], family="ioi")
    found = atlas.summary["direct_logit_split_half"]
    assert found.sel(family="ioi").values == pytest.approx(expected, abs=0.02)
    assert np.isnan(found.sel(family="rand_flat").values)
    assert -1 <= atlas.summary["induction_copy_split_half"].values <= 1
    halves = atlas.syntax["gain_split_half"]
    assert halves.dims == ("relation", "direction")
    assert np.isnan(halves.sel(relation="determiner-noun", direction="first_to_second").values)
    assert np.isfinite(halves.sel(relation="determiner-noun", direction="second_to_first").values)


def test_where_positional_heads_look_is_kept(atlas, model):
    offset = atlas.summary["positional_offset"]
    assert offset.dims == ("layer", "head")
    np.testing.assert_array_equal(atlas.roles["positional_offset"].values, offset.values)
    found = pattern_scores(model, members(atlas, "natural"), ["positional"])
    np.testing.assert_array_equal(found.arg_max_offsets.sum(-1)[:, :, :32].argmax(2), offset.values)


def test_indirect_effects_are_effects_in_mode_zero_without_the_direct_part(atlas, model):
    plan = plan_atlas(model, OPTIONS)
    assert [p.tokens for p in plan.prompts] == [p.tokens for p in atlas.prompts]
    arrays = {
        "effects/logit_difference": atlas.effects["logit_difference"],
        "direct_logit/heads": atlas.direct_logit["heads"],
    }
    found = role_evidence.indirect(plan, arrays)
    assert list(found) == [("indirect_effect", "ioi")]
    at = places(atlas, "ioi")
    effect = atlas.effects["logit_difference"].sel(mode="zero").values[..., at].mean(-1)
    direct = -atlas.direct_logit["heads"].values[..., at].mean(-1)
    one = found["indirect_effect", "ioi"]
    np.testing.assert_allclose(one.value, effect - direct, rtol=1e-5)
    assert ((one.low < one.value) & (one.value < one.high) & (one.n == len(at)) & (one.p > 0)).all()
    assert role_evidence.indirect(replace(plan, modes=("mean",)), arrays) == {}


def test_nulls_keep_what_roles_need(atlas):
    for name in ("induction", "previous_token", "end_to_io"):
        p, n99, mean = (atlas.nulls[f"{name}_{part}"].values for part in ("p", "n99", "mean"))
        assert ((p > 0) & (p <= 1)).all()
        assert (n99 >= mean).all()


def test_measures_can_be_chosen_and_unknown_ones_are_refused(model, tmp_path):
    with open_atlas(build_atlas(model, tmp_path / "x.h5", SMALL, silent)) as atlas:
        assert dict(atlas.weights) == dict(atlas.scores) == dict(atlas.exemplars) == {}
        assert set(atlas.roles) >= {"held"}
    with pytest.raises(BuildError, match=r"measure must be one of weights, .*, found 'nosuch'"):
        plan_atlas(model, replace(OPTIONS, measures=["nosuch"]))
    with pytest.raises(BuildError, match=r"mode must be one of zero, .*, found 'weights'"):
        plan_atlas(model, replace(OPTIONS, modes=["weights"]))
    plan = plan_atlas(model, replace(OPTIONS, measures=["syntax"], modes=("mean",)))
    assert {unit.kind for unit in plan.units} == {"reference", "syntax", "mean"}
    assert {unit.kind for unit in plan_atlas(model, OPTIONS).units} == {"reference", *MEASUREMENTS}


def test_prompts_that_stand_in_are_not_measured(atlas):
    tokens, source, _ = atlas.resample_prompts()
    assert tokens.shape == (5, max(map(len, atlas.prompts)))
    assert "5 natural prompts that are not measured" in source
    measured = {p.tokens for p in atlas.prompts}
    assert not any(tuple(row)[: len(m)] == m for row in tokens.tolist() for m in measured)
