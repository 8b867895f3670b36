"""The logits after the last token, the last layer run there alone: values and gradients of the plain forward pass."""

from __future__ import annotations

import pytest
import torch

from head_atlas.interventions import ablating
from head_atlas.models.last_position import last_logits
from head_atlas.models.readers import PatternReader, Trace
from tiny_models import CONFIGS, FAMILIES, IGNORING, TEXT, head_model, tolerance


def slopes(logits, embeddings):
    weights = torch.linspace(-1, 1, logits.shape[-1], dtype=logits.dtype)
    (gradient,) = torch.autograd.grad((logits * weights).sum(), embeddings)
    return gradient.double()


def close(found, expected, limit):
    assert (found.double() - expected.double()).abs().max() <= limit * expected.double().abs().max()


@pytest.mark.parametrize("heads", [(), ("0.1", "2.2")], ids=["all", "without"])
@pytest.mark.parametrize(("family", "dtype"), FAMILIES)
def test_values_and_gradients_are_those_of_the_plain_forward_pass(family, dtype, heads):
    model = head_model(family, dtype)
    tokens = model.tokens(TEXT)[:14].repeat(2, 1)
    tokens[1, 3:9] = tokens[0, 4:10]
    embeddings = model.embeddings(tokens).requires_grad_()
    limit = tolerance(family, dtype)
    with torch.enable_grad(), ablating(model, heads):
        found = last_logits(model, tokens, embeddings=embeddings)
        plain = model.run(tokens, embeddings=embeddings)[:, -1]
        close(found, plain, limit)
        close(slopes(found, embeddings), slopes(plain, embeddings), max(limit, 1e-6))  # some norms are float32 anywhere


@pytest.mark.parametrize("family", CONFIGS)
def test_unseen_tokens_stay_unseen(family):
    model = head_model(family)
    tokens = model.tokens(TEXT)[:14].repeat(2, 1)
    seen = torch.ones_like(tokens, dtype=torch.bool)
    seen[0, 12] = seen[1, 5] = False
    with torch.no_grad():
        close(last_logits(model, tokens, seen=seen), model.run(tokens, seen=seen)[:, -1], 1e-5)
        assert not torch.equal(last_logits(model, tokens, seen=seen), last_logits(model, tokens))


@pytest.mark.parametrize("family", CONFIGS)
def test_the_last_layer_attends_from_the_last_position_alone(family):
    model, trace, plain = head_model(family), Trace(), Trace()
    tokens = model.tokens(TEXT)[:14][None]
    with torch.no_grad(), model.intervening(trace):
        last_logits(model, tokens)
    with torch.no_grad(), model.intervening(plain):
        model.run(tokens)
    for layer in range(model.n_layers - 1):
        assert torch.equal(trace.z[layer], plain.z[layer])
    if family not in IGNORING:
        assert not trace.z[model.n_layers - 1][:, :-1].any()
    close(trace.z[model.n_layers - 1][:, -1], plain.z[model.n_layers - 1][:, -1], 1e-5)


def test_whole_patterns_are_computed_for_who_reads_them():
    model, reader, plain = head_model("llama"), PatternReader(), PatternReader()
    tokens = model.tokens(TEXT)[:14][None]
    with torch.no_grad(), model.intervening(reader):
        last_logits(model, tokens)
    with torch.no_grad(), model.intervening(plain):
        model.run(tokens)
    for layer, pattern in plain.patterns.items():
        assert torch.equal(reader.patterns[layer], pattern)
