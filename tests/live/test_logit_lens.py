"""The lens after the last layer is the model; before it, the final norm and unembedding on the stream by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from head_atlas.errors import PromptError
from head_atlas.live import logit_lens
from head_atlas.models.readers import Trace
from tiny_models import CONFIGS, head_model, random_prompts

TEXT = "The cat sat on the mat. Harry"


@pytest.mark.parametrize("family", CONFIGS)
def test_after_the_last_layer_it_is_the_models_output(family):
    model = head_model(family)
    found = logit_lens(model, TEXT, " Potter")
    log_probs = model.logits(model.tokens(TEXT)[None])[0].log_softmax(-1)
    potter = model.policy.single(" Potter")
    np.testing.assert_allclose(found.log_probs[-1], log_probs[:, potter], atol=1e-4)
    np.testing.assert_allclose(found.kl[-1], 0, atol=1e-5)
    assert np.array_equal(found.top_tokens[-1, :, 0], log_probs.argmax(-1))
    assert found.log_probs.shape == found.kl.shape == (model.n_layers + 1, log_probs.shape[0])
    assert (found.kl.values >= -1e-6).all()
    assert found.kl[0].max() > 1e-3
    assert "Early layers" in found.caveat


def test_every_layer_by_hand():
    model = head_model("llama")
    found = logit_lens(model, TEXT, " Potter", n_top=3)
    tokens, trace = model.tokens(TEXT)[None], Trace()
    with model.intervening(trace):
        final = model.logits(tokens)[0].log_softmax(-1)
    for layer in range(model.n_layers):
        with torch.no_grad():
            lens = model.model.lm_head(model.model.model.norm(trace.inputs[layer]))[0].log_softmax(-1)
        target = lens[:, found.target]
        np.testing.assert_allclose(found.log_probs[layer], target, atol=1e-5)
        assert np.array_equal(found.ranks[layer], 1 + (lens > target[:, None]).sum(-1))
        np.testing.assert_allclose(found.kl[layer], (final.exp() * (final - lens)).sum(-1), atol=1e-5)
        assert np.array_equal(found.top_tokens[layer], lens.topk(3).indices)
        np.testing.assert_allclose(found.top_log_probs[layer], lens.topk(3).values, atol=1e-5)


def test_the_target_is_the_top_token_unless_given():
    model = head_model("gpt2")
    prompt = random_prompts([(8, (3, 7))])[0]
    assert logit_lens(model, prompt).target == prompt.targets[-1]
    top = int(model.logits(model.tokens(TEXT)[None])[0, -1].argmax())
    found = logit_lens(model, TEXT)
    assert (found.target, found.ranks[-1, -1]) == (top, 1)
    assert logit_lens(model, TEXT, n_top=10**6).top_tokens.shape[2] == model.d_vocab
    with pytest.raises(PromptError, match="at least one top token"):
        logit_lens(model, TEXT, n_top=0)
    with pytest.raises(PromptError, match="exactly one token"):
        logit_lens(model, TEXT, "two words")
