"""Token attribution against Captum, where it computes the same: agreement to 1e-5."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from head_atlas import attribute
from head_atlas.interventions import ablating
from tiny_models import WITHOUT_FLOAT64, head_model

captum = pytest.importorskip("captum.attr", reason="captum is not installed: pip install -r requirements-dev.txt")

PROMPT = "The cat sat on the mat. Harry"
FAMILIES = ("gpt2", "llama", "gemma2", "gemma3", "granite", "opt", "gpt_oss", "gptj", "falcon", "bloom")
HEADS = [(), ("0.1", "2.0")]


@pytest.fixture(params=FAMILIES)
def model(request):
    return head_model(request.param, torch.float32 if request.param in WITHOUT_FLOAT64 else torch.float64)


def explained(logits, contrast):
    last = logits[:, -1]
    return last[:, 20] - last[:, contrast] if contrast is not None else last.log_softmax(-1)[:, 20]


def from_ids(model, contrast):
    return lambda ids: explained(model.model(input_ids=ids, use_cache=False).logits, contrast)


def from_embeddings(model, contrast):
    return lambda rows: explained(model.model(inputs_embeds=rows, use_cache=False).logits, contrast)


def close(found, expected):
    np.testing.assert_allclose(found.values.values[1:], expected[0, 1:].detach().numpy(), atol=1e-5, rtol=1e-5)
    assert np.nanmax(np.abs(found.values.values)) > 1e-4  # Bloom normalises its embeddings: small


@pytest.mark.parametrize("heads", HEADS, ids=["all", "without"])
@pytest.mark.parametrize("contrast", [30, None])
def test_gradients(model, contrast, heads):
    own = model.embeddings(model.tokens(PROMPT)[None]).requires_grad_()
    with torch.enable_grad(), ablating(model, heads):
        slopes = captum.Saliency(from_embeddings(model, contrast)).attribute(own, abs=False)
        products = captum.InputXGradient(from_embeddings(model, contrast)).attribute(own)
    close(attribute(model, PROMPT, 20, contrast, heads, method="saliency"), slopes.norm(dim=-1))
    close(attribute(model, PROMPT, 20, contrast, heads, method="gradient_x_input"), products.sum(-1))


@pytest.mark.parametrize("heads", HEADS, ids=["all", "without"])
@pytest.mark.parametrize("contrast", [30, None])
def test_integrated_gradients_of_the_embedding_layer(model, contrast, heads):
    ids = model.tokens(PROMPT)[None]
    start = torch.cat([ids[:, :1], torch.full_like(ids[:, 1:], 7)], 1)
    layer = captum.LayerIntegratedGradients(from_ids(model, contrast), model.model.get_input_embeddings())
    with torch.enable_grad(), ablating(model, heads):
        expected = layer.attribute(ids, start, n_steps=32, method="gausslegendre")
    found = attribute(
        model, PROMPT, 20, contrast, heads, method="integrated_gradients", max_nodes=32,
        baseline=model.embeddings(start[0]).numpy(),
    )  # fmt: skip
    assert found.n_nodes == 32
    close(found, expected.sum(-1))


@pytest.mark.parametrize("baseline", ["mean", "zero"])
def test_integrated_gradients_of_the_embeddings(model, baseline):
    own = model.embeddings(model.tokens(PROMPT)[None])
    every = model.embeddings(torch.arange(len(model.tokenizer))[None])
    start = every.mean(1, keepdim=True).expand(own.shape) if baseline == "mean" else torch.zeros_like(own)
    start = torch.cat([own[:, :1], start[:, 1:]], 1)
    expected, gap = captum.IntegratedGradients(from_embeddings(model, 30)).attribute(
        own, start, n_steps=32, method="gausslegendre", return_convergence_delta=True
    )
    found = attribute(model, PROMPT, 20, 30, method="integrated_gradients", max_nodes=32, baseline=baseline)
    close(found, expected.sum(-1))
    assert found.completeness_gap == pytest.approx(float(gap), abs=1e-5)


@pytest.mark.parametrize("heads", HEADS, ids=["all", "without"])
def test_replacing_a_token(model, heads):
    (x,) = model.policy.pieces_of("x")
    ids = model.tokens(PROMPT)[None]
    with torch.no_grad(), ablating(model, heads):
        expected = captum.FeatureAblation(from_ids(model, 30)).attribute(ids, baselines=x)
    close(attribute(model, PROMPT, 20, 30, heads, method="occlusion_replace", corpus=["x"], n_draws=1), expected)
