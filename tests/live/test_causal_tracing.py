"""Causal tracing: noise on the subject, one place restored."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from head_atlas.errors import HeadAtlasError, PromptError
from head_atlas.interventions.packing import Budget
from head_atlas.interventions.patching import Patches, Site
from head_atlas.interventions.recording import record
from head_atlas.live import causal_trace, iter_causal_trace
from head_atlas.live.causal_tracing import embedding_std
from tiny_models import CONFIGS, head_model

TEXT, TARGET, CONTRAST = "The cat sat on the mat. Harry", " Potter", " went"


def trace(model, **arguments):
    return causal_trace(model, TEXT, "cat", target=TARGET, contrast=CONTRAST, n_samples=3, **arguments)


@pytest.mark.parametrize("family", CONFIGS)
def test_sigma_is_three_standard_deviations_of_the_embeddings(family):
    model = head_model(family)
    with torch.no_grad():
        every = model.model.get_input_embeddings()(torch.arange(model.d_vocab)).double()
    assert embedding_std(model) == pytest.approx(float(every.std(unbiased=False)), rel=1e-6)
    found = trace(model, what="attn_out")
    assert found.sigma == pytest.approx(3 * embedding_std(model))
    assert found.values.shape == (3, len(found.prompt))
    assert "".join(found.strings[p] for p in found.subject).strip() == "cat"


@pytest.mark.parametrize(("what", "window"), [("resid_pre", 1), ("attn_out", 1), ("mlp_out", 2), ("mlp_out", 3)])
def test_every_value_is_a_whole_run_with_that_noise_and_that_restored(what, window):
    model = head_model("gpt2")
    found = trace(model, what=what, window=window, seed=5)
    tokens = model.rows([found.prompt.tokens] * 3)
    read = torch.tensor([found.prompt.positions] * 3)
    clean = record(model, tokens, read, mlps=True)
    with torch.no_grad():
        embeddings = model.model.get_input_embeddings()(tokens)
    noise = torch.randn(3, len(found.subject), 32, generator=torch.Generator().manual_seed(5))
    embeddings[:, list(found.subject)] += found.sigma * noise

    def value(*patches):
        with torch.no_grad(), model.intervening(*patches):
            logits = model.model(inputs_embeds=embeddings, use_cache=False).logits[:, -1]
        return logits[:, found.prompt.targets[0]] - logits[:, found.prompt.contrasts[0]]

    corrupted = value()
    np.testing.assert_allclose(found.corrupted, corrupted, atol=1e-4)
    layers = {1: lambda l: (l,), 2: lambda l: (l - 1, l), 3: lambda l: (l - 1, l, l + 1)}[window]  # noqa: E741
    for layer in range(3):
        inside = tuple(l for l in layers(layer) if 0 <= l < 3)  # noqa: E741
        for position in range(len(found.prompt)):
            patched = value(Patches(model, clean, [Site(what, inside, None, (position,))]))
            np.testing.assert_allclose(found.metric_values[:, layer, position], patched, atol=1e-4)
            expected = (patched.mean() - corrupted.mean()) / (found.clean - corrupted.mean())
            if not found.undefined:
                assert found.values[layer, position] == pytest.approx(float(expected), abs=1e-3)
                assert found.low[layer, position] <= found.values[layer, position] <= found.high[layer, position]


def test_restoring_the_one_drowned_token_at_the_start_is_the_clean_run():
    model = head_model("llama")
    found = causal_trace(model, TEXT, [2], target=TARGET, n_samples=4, noise=20.0)
    assert found.metric == "logprob"
    np.testing.assert_allclose(found.metric_values[:, 0, 2], found.clean, atol=1e-4)
    assert np.all(found.metric_values[:, :, :2] == found.corrupted.values[:, None, None])
    again = causal_trace(model, TEXT, [2], target=TARGET, n_samples=4, noise=20.0)
    assert np.array_equal(found.metric_values, again.metric_values)
    other = causal_trace(model, TEXT, [2], target=TARGET, n_samples=4, noise=20.0, seed=1)
    assert not np.array_equal(found.corrupted, other.corrupted)


def test_parts_grow_and_can_be_stopped():
    model = head_model("llama")
    arguments = {"target": TARGET, "n_samples": 2, "noise": 20.0}
    n = len(model.tokens(TEXT))
    parts = iter_causal_trace(model, TEXT, [2], **arguments, budget=Budget(tokens=2 * n * 5, logits=10**6))
    first, second = next(parts), next(parts)
    assert (first.done, second.done, first.total) == (5, 10, 3 * (n - 2))
    assert np.isnan(first.metric_values.values).sum() == 2 * (first.total - 5)
    parts.close()
    told = []
    causal_trace(model, TEXT, [2], **arguments, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (first.total, first.total)
    whole = causal_trace(model, TEXT, [2], **arguments)
    known = ~np.isnan(second.values.values)
    np.testing.assert_allclose(second.values.values[known], whole.values.values[known], atol=1e-4)


def test_noise_that_does_nothing_gives_no_values_but_a_reason():
    found = causal_trace(head_model("llama"), TEXT, "cat", target=TARGET, n_samples=3, noise=1e-6)
    assert "inside the noise" in found.undefined
    assert all(np.isnan(array.values).all() for array in (found.values, found.low, found.high))


def test_what_is_refused():
    model = head_model("llama")
    for arguments, words in (
        ({"what": "z"}, "what must be one of resid_pre, attn_out, mlp_out"),
        ({"window": 2}, "window must be 1 for resid_pre"),
        ({"noise": 0}, "at least 2 samples of a noise above 0"),
        ({"metric": "kl"}, "metric must be one of"),
    ):
        with pytest.raises(HeadAtlasError, match=words):
            trace(model, **arguments)
    with pytest.raises(PromptError, match="the prompt has no 'dog'"):
        causal_trace(model, TEXT, "dog")
    with pytest.raises(PromptError, match="positions must lie in"):
        causal_trace(model, TEXT, [99])
    with pytest.raises(PromptError, match="needs a contrast"):
        causal_trace(model, TEXT, "cat", metric="logit_difference")
