"""Direct logits, and direct against total effects."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from head_atlas import ablate, sweep
from head_atlas.errors import NotApplicableError, PromptError
from head_atlas.live import direct_and_total, direct_logits, stand_ins
from head_atlas.models.readers import StreamReader, Trace
from tiny_models import CONFIGS, head_model

TEXT, TARGET, CONTRAST = "The cat sat on the mat. Harry", " Potter", " went"
UNCAPPED = [family for family in CONFIGS if head_model(family).anatomy.soft_cap is None]


@pytest.mark.parametrize("family", UNCAPPED)
def test_the_parts_add_up_to_the_models_logit_difference(family):
    model = head_model(family)
    found = direct_logits(model, TEXT, TARGET, CONTRAST)
    logits = model.logits(model.tokens(TEXT)[None])[0, -1]
    difference = float(logits[found.target] - logits[found.contrast])
    parts = found.embedding + found.final_norm_bias + found.unembedding_bias
    parts += found.attention.values.sum() + found.mlps.values.sum()
    assert found.logit_difference == pytest.approx(difference, abs=1e-3 * max(1, abs(difference)))
    assert parts == pytest.approx(difference, abs=1e-3 * max(1, abs(difference)))
    np.testing.assert_allclose(found.attention, found.heads.values.sum(1) + found.attention_bias.values, atol=1e-9)


def test_with_the_norm_live_a_head_is_taken_out_of_the_final_stream():
    model = head_model("llama")
    effects = direct_and_total(model, TEXT, TARGET, CONTRAST)
    y, other = (model.policy.single(text) for text in (TARGET, CONTRAST))
    stream, trace = StreamReader(), Trace()
    with model.intervening(stream, trace):
        clean = model.logits(model.tokens(TEXT)[None])[0, -1]
    norm, unembed = model.model.model.norm, model.model.lm_head
    for layer in range(3):
        for head in range(4):
            written = trace.z[layer][0, -1, head] @ model.output_weights(layer)[0][head]
            final = stream.streams[-1][0, -1]
            with torch.no_grad():
                logits = unembed(norm(final - written))
                sigma = (final.pow(2).mean() + norm.variance_epsilon).sqrt()
                frozen = unembed(norm(final) - written / sigma * norm.weight)
            before = clean[y] - clean[other]
            live, held = (float(found[y] - found[other] - before) for found in (logits, frozen))
            assert effects.direct_live[layer, head] == pytest.approx(live, abs=1e-5)
            assert effects.direct_frozen[layer, head] == pytest.approx(held, abs=1e-4)


@pytest.mark.parametrize("family", UNCAPPED)
def test_total_is_the_sweep_and_self_repair_is_what_lies_between(family):
    model = head_model(family)
    found = direct_and_total(model, TEXT, TARGET, CONTRAST)
    whole = sweep(model, TEXT, target=TARGET, contrast=CONTRAST)
    np.testing.assert_allclose(found.total, whole["logit_difference"].values[0], atol=1e-6)
    np.testing.assert_allclose(found.self_repair_frozen, found.total.values - found.direct_frozen.values)
    np.testing.assert_allclose(found.self_repair_live, found.total.values - found.direct_live.values)
    assert np.abs(found.self_repair_live.values).max() > 1e-3


@pytest.mark.parametrize("family", ["gpt_neox", "phi", "gptj", "cohere"])
def test_nothing_repairs_a_head_of_the_last_layer_where_its_mlp_does_not_read_it(family):
    """In these the MLP stands beside the attention: behind the last layer's heads is nothing but the final norm."""
    model = head_model(family)
    found = direct_and_total(model, TEXT, TARGET, CONTRAST)
    np.testing.assert_allclose(found.self_repair_live[-1], 0, atol=1e-4)
    assert np.abs(found.self_repair_live[0]).max() > 1e-3


@pytest.mark.parametrize("family", UNCAPPED)
def test_what_steps_in_for_removed_heads_adds_up_to_the_effect_of_removing_them(family):
    model = head_model(family)
    found = stand_ins(model, TEXT, ["0.1", "1.2"], target=TARGET, contrast=CONTRAST)
    effect = ablate(model, TEXT, ["0.1", "1.2"], target=TARGET, contrast=CONTRAST).effects["logit_difference"]
    parts = found.embedding + found.final_norm_bias + found.unembedding_bias
    parts += found.attention.values.sum() + found.mlps.values.sum()
    assert found.logit_difference == pytest.approx(effect, abs=1e-3)
    assert parts == pytest.approx(effect, abs=2e-3)
    clean = direct_logits(model, TEXT, TARGET, CONTRAST)
    assert found.heads[0, 1] == pytest.approx(-clean.heads[0, 1], abs=1e-6)
    assert found.heads[1, 2] == pytest.approx(-clean.heads[1, 2], abs=1e-6)
    assert abs(found.heads[2]).max() > 1e-4
    assert (found.target, found.contrast) == (clean.target, clean.contrast)


def test_without_a_contrast_or_behind_a_cap_it_is_refused():
    with pytest.raises(PromptError, match="give a contrast"):
        direct_and_total(head_model("llama"), TEXT, TARGET)
    with pytest.raises(NotApplicableError, match="Gemma2ForCausalLM caps its logits"):
        direct_and_total(head_model("gemma2"), TEXT, TARGET, CONTRAST)
