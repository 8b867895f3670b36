"""Gradient x input: against finite differences, and exact where the model is linear."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from head_atlas import attribute
from head_atlas.errors import HeadError, MissingReferenceError, PromptError
from head_atlas.interventions import ablating
from tiny_models import head_model

TEXT = "The cat sat on the mat. Harry"


def value(model, embeddings, target, contrast):
    with torch.no_grad():
        logits = model.model(inputs_embeds=embeddings).logits[0, -1]
    return float(logits[target] - logits[contrast] if contrast is not None else logits.log_softmax(-1)[target])


@pytest.mark.parametrize("contrast", [None, " went"])
@pytest.mark.parametrize("heads", [(), ("0.1", "2.2")])
@pytest.mark.parametrize(
    ("family", "step", "tolerance"),
    [
        ("gpt2", 1e-5, 1e-6),
        ("phi", 1e-5, 1e-6),
        ("llama", 1e-3, 2e-4),  # transformers normalises these in float32 even in a float64 model
        ("gemma3", 1e-3, 2e-4),
    ],
)
def test_agrees_with_finite_differences(family, step, tolerance, heads, contrast):
    """a_i is the slope of f as token i's embedding alone is scaled."""
    model = head_model(family, torch.float64)
    found = attribute(model, TEXT, " Potter", contrast, heads)
    embeddings = model.model.get_input_embeddings()(model.tokens(TEXT)[None]).detach()
    with ablating(model, heads):
        assert found.f == pytest.approx(value(model, embeddings, found.target, found.contrast), abs=1e-10)
        for i in range(1, len(found.tokens)):
            up, down = embeddings.clone(), embeddings.clone()
            up[0, i] *= 1 + step
            down[0, i] *= 1 - step
            ends = [value(model, e, found.target, found.contrast) for e in (up, down)]
            assert found.values[i] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=tolerance)
        assert np.nanmax(np.abs(found.values.values)) > 20 * tolerance


def test_bos_stays_fixed_and_has_no_attribution():
    found = attribute(head_model("llama"), TEXT)
    assert found.strings[0] == "<|bos|>"
    assert np.isnan(found.values.values).tolist() == [True] + [False] * (len(found.tokens) - 1)
    assert found.values.dims == ("token",)


def test_the_default_target_is_the_clean_top_token_even_with_heads_removed():
    model = head_model("llama")
    top = int(model.logits(model.tokens(TEXT)[None])[0, -1].argmax())
    everything = [(layer, head) for layer in range(3) for head in range(4)]
    assert attribute(model, TEXT).target == attribute(model, TEXT, heads=everything).target == top


def test_without_any_attention_only_the_last_token_counts():
    model = head_model("llama")
    found = attribute(model, TEXT, heads=[(layer, head) for layer in range(3) for head in range(4)])
    assert np.abs(found.values.values[1:-1]).max() == 0
    assert abs(found.values[-1]) > 1e-3


def test_nothing_of_the_gradient_stays_behind():
    model = head_model("llama")
    attribute(model, TEXT)
    assert all(p.grad is None and not p.requires_grad for p in model.model.parameters())
    assert not model.logits(model.tokens(TEXT)[None]).requires_grad


def test_refusals():
    model = head_model("llama")
    with pytest.raises(PromptError, match="empty"):
        attribute(model, "")
    with pytest.raises(PromptError, match="exactly one token"):
        attribute(model, TEXT, contrast="Harry Potter")
    with pytest.raises(HeadError, match="there is no head"):
        attribute(model, TEXT, heads="9.9")
    with pytest.raises(MissingReferenceError):
        attribute(model, TEXT, heads="0.0", mode="mean")
