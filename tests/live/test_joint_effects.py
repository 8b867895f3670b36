"""Sets and pairs of heads: by hand, and against a naive loop of ablations."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from hand_built_circuits import induction_model, repeats
from head_atlas import HeadId, ablate
from head_atlas.errors import HeadAtlasError, HeadError, PromptError
from head_atlas.interventions import mean_reference
from head_atlas.live.joint_effects import heads_with_roles, interactions, iter_interactions, joint_effect
from head_atlas.measures.circuits import pair_significance
from head_atlas.named_array import NamedArray
from tiny_models import head_model, random_prompts

PROMPTS = random_prompts([(9, (8,)), (7, (6,)), (9, (8,)), (6, (5,))])


def by_ablation(model, heads, metric, **more):
    return np.array([ablate(model, prompt, heads, **more).effects[metric] for prompt in PROMPTS])


@pytest.mark.parametrize("mode", ["zero", "mean"])
@pytest.mark.parametrize("metric", ["logit_difference", "logprob"])
def test_pairs_are_those_of_a_naive_loop(mode, metric):
    model = head_model("llama")
    reference = mean_reference(model, ["The cat sat on the mat."], "a text") if mode == "mean" else None
    more = {"mode": mode, "reference": reference}
    heads = ["0.1", "0.3", "1.2", "2.0", "2.1"]
    found = interactions(model, PROMPTS, heads, metric=metric, **more)
    single = [-by_ablation(model, [head], metric, **more) for head in heads]
    for i in range(len(heads)):
        np.testing.assert_allclose(found.harm.mean[i], single[i].mean(), atol=2e-5)
        for j in range(i + 1, len(heads)):
            pair = -by_ablation(model, [heads[i], heads[j]], metric, **more)
            np.testing.assert_allclose(found.pair_harm.mean[j, i], pair.mean(), atol=2e-5)
            expected = pair - single[i] - single[j]
            np.testing.assert_allclose(found.interaction_by_prompt[i, j], expected, atol=4e-5)
            np.testing.assert_allclose(found.interaction.mean[i, j], expected.mean(), atol=4e-5)
    assert np.isnan(np.diag(found.interaction.mean.values)).all()
    np.testing.assert_array_equal(found.interaction.mean.values, found.interaction.mean.values.T)


def test_the_most_harmful_heads_are_chosen_and_the_steps_add_up():
    model = head_model("llama")
    steps = list(iter_interactions(model, PROMPTS, k=3))
    found = steps[-1].result
    assert [step.result for step in steps[:-1]] == [None] * (len(steps) - 1)
    assert steps[-1].done == steps[-1].total
    assert all(a.done <= b.done for a, b in pairwise(steps))
    harm = {
        (layer, head): -by_ablation(model, [(layer, head)], "logit_difference").mean()
        for layer in range(3)
        for head in range(4)
    }
    assert found.heads == tuple(HeadId(*h) for h in sorted(harm, key=lambda h: -harm[h])[:3])
    assert found.chosen_by_harm
    assert found.interaction.mean.coords["head"] == [head.label for head in found.heads]


def test_a_serial_path_interacts_below_zero():
    """Without L0H0 the induction head has nothing to find, and without that head nothing is written: D is D is D."""
    model = induction_model()
    found = interactions(model, repeats(), ["0.0", "1.0"])
    harm = found.harm.mean.values
    assert harm.min() > 1
    np.testing.assert_allclose(harm[0], harm[1], rtol=0.1)
    np.testing.assert_allclose(found.interaction.mean[0, 1], -harm.mean(), rtol=0.15)
    assert found.interaction.high[0, 1] < 0


def test_redundant_heads_interact_above_zero():
    """Either of two strong induction heads gives the answer: none is missed alone, both are missed together."""
    model = induction_model((0, 1), strength=100.0)
    found = interactions(model, repeats(), ["1.0", "1.1"])
    both = joint_effect(model, repeats(), ["1.0", "1.1"])
    assert found.harm.mean.values.max() < 0.05
    assert found.interaction.low[0, 1] > 1
    assert both.joint.mean.values == pytest.approx(-found.pair_harm.mean[0, 1])
    assert both.difference.high.values < -1


def test_heads_that_write_nothing_do_not_interact():
    model = induction_model()
    found = interactions(model, repeats(), ["0.1", "1.1"])
    np.testing.assert_allclose(found.interaction.mean[0, 1], 0, atol=1e-9)
    np.testing.assert_allclose(found.harm.mean.values, 0, atol=1e-9)


def test_pairs_that_hold_are_told_from_noise_and_corrected_for_their_number():
    """20 prompts, all of one sign for one pair only: p = 2^-19 by all sign flips of 20, over 6 pairs q = 6 p."""
    rng = np.random.default_rng(0)
    noise = np.abs(rng.normal(size=(4, 4, 10)))
    pairs = np.concatenate([noise, -noise], -1)  # every mean is 0: no pair
    pairs = pairs + pairs.transpose(1, 0, 2)
    pairs[1, 3] = pairs[3, 1] = 1 + rng.random(20)
    pairs[np.arange(4), np.arange(4)] = np.nan
    prompts = random_prompts([(9, (8,))] * 20)
    p, q = pair_significance(pairs, prompts, 0)
    assert p[1, 3] == p[3, 1] == pytest.approx(1 / 20_001)  # 20 clusters: flips are drawn
    assert q[1, 3] == pytest.approx(6 * p[1, 3])
    others = [(0, 1), (0, 2), (0, 3), (1, 2), (2, 3)]
    assert min(q[pair] for pair in others) == 1
    assert np.isnan(np.diag(q)).all()
    few = [replace(one, family="ioi", template=i % 3) for i, one in enumerate(prompts)]
    p, q = pair_significance(pairs, few, 0)
    assert p[1, 3] == pytest.approx(0.25)  # three templates: +++ and --- of 8
    assert np.nanmin(q) == pytest.approx(1.0)
    assert np.isnan(pair_significance(pairs[..., :1], prompts[:1], 0)[1]).all()


def test_interactions_bring_their_q_values():
    found = interactions(induction_model((0, 1), strength=100.0), repeats(), ["1.0", "1.1", "0.1"])
    q = found.q.sel(head="L1H0", head_with="L1H1")
    assert float(q.values) == pytest.approx(3 * 2**-5)  # six prompts of one sign, three pairs
    assert found.q.values[0, 2] == 1  # a head that writes nothing
    assert found.p.dims == found.q.dims == ("head", "head_with")


def test_the_joint_effect_is_that_of_ablate():
    model = head_model("llama")
    found = joint_effect(model, PROMPTS, ["0.1", "L2H3", "1.0"], metric="logprob")
    np.testing.assert_allclose(found.joint_by_prompt, by_ablation(model, ["0.1", "2.3", "1.0"], "logprob"), atol=2e-5)
    alone = [by_ablation(model, [head], "logprob") for head in ("0.1", "2.3", "1.0")]
    np.testing.assert_allclose(found.single_by_prompt, alone, atol=2e-5)
    np.testing.assert_allclose(found.sum_of_single.mean.values, np.sum(alone, 0).mean(), atol=5e-5)
    difference = found.joint.mean.values - found.sum_of_single.mean.values
    np.testing.assert_allclose(found.difference.mean.values, difference, atol=1e-9)
    assert found.joint.low.values <= found.joint.mean.values <= found.joint.high.values


def test_one_prompt_has_no_interval():
    found = joint_effect(head_model("llama"), "The cat sat", ["0.1"])
    assert np.isfinite(found.joint.mean.values)
    assert np.isnan(found.joint.low.values)
    assert found.joint.n == 1
    assert found.metric == "logprob"


def test_heads_by_role():
    model = head_model("llama")
    roles = {"induction": ["2.1", (1, 0)], "previous_token": ["0.3", "L2H1"]}
    assert heads_with_roles(model, roles, "induction") == (HeadId(1, 0), HeadId(2, 1))
    assert heads_with_roles(model, roles, roles) == (HeadId(0, 3), HeadId(1, 0), HeadId(2, 1))
    held = np.zeros((2, 3, 4), bool)
    held[0, 1, 2] = held[1, 0, 0] = True
    stored = NamedArray(held, ("role", "layer", "head"), {"role": ["induction", "sink"]})
    assert heads_with_roles(model, stored, "induction") == (HeadId(1, 2),)
    with pytest.raises(HeadError, match="no role 'mover': there are induction, previous_token"):
        heads_with_roles(model, roles, "mover")


def test_what_cannot_be_asked_is_refused_at_once():
    model = head_model("llama")
    with pytest.raises(HeadError, match="at least 2 heads, found 1"):
        iter_interactions(model, PROMPTS, ["0.1"])
    with pytest.raises(HeadError, match="found k = 1"):
        iter_interactions(model, PROMPTS, k=1)
    with pytest.raises(HeadError, match="at least 1 head, found 0"):
        joint_effect(model, PROMPTS, [])
    with pytest.raises(HeadAtlasError, match="metric must be one of logit_difference, logprob, found 'kl'"):
        joint_effect(model, PROMPTS, ["0.1"], metric="kl")
    with pytest.raises(PromptError, match="needs a contrast"):
        joint_effect(model, "The cat", ["0.1"], metric="logit_difference")
