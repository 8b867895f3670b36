"""Heads are where we think they are, in every architecture; those that cannot be reached are refused."""

from __future__ import annotations

import pytest
import torch

from head_atlas.errors import UnsupportedModelError
from head_atlas.models import HeadModel, Intervention, PatternReader
from head_atlas.models.readers import Trace
from tiny_models import CONFIGS, TOKENIZER, UNREACHED, head_model, plain_model

TOKENS = torch.tensor([[0, 5, 9, 200, 7, 5, 9, 31, 90, 12, 44, 3], [0, 8, 8, 1, 7, 2, 300, 31, 2, 12, 4, 30]])


class Scaled(Intervention):
    """Doubles one head."""

    def __init__(self, layer: int, head: int) -> None:
        self.layer, self.head = layer, head

    def on_z(self, layer, z, _):
        if layer != self.layer:
            return z
        z = z.clone()
        z[:, :, self.head] *= 2
        return z


@pytest.mark.parametrize("family", CONFIGS)
def test_the_logits_are_those_of_plain_transformers(family):
    plain = plain_model(CONFIGS[family]())
    with torch.no_grad():
        expected = plain(input_ids=TOKENS).logits
    model = head_model(family)
    assert torch.equal(model.logits(TOKENS), expected)
    assert torch.equal(model.model(input_ids=TOKENS).logits.detach(), expected)


@pytest.mark.parametrize("family", CONFIGS)
def test_patterns_are_those_of_eager_transformers(family):
    plain = plain_model(CONFIGS[family](), implementation="eager")
    with torch.no_grad():
        expected = plain(input_ids=TOKENS, output_attentions=True).attentions
    model = head_model(family)
    reader = PatternReader()
    with model.intervening(reader):
        model.logits(TOKENS)
    assert sorted(reader.patterns) == list(range(model.n_layers))
    for layer, pattern in enumerate(expected):
        torch.testing.assert_close(reader.patterns[layer], pattern, atol=1e-6, rtol=1e-5)
        assert reader.patterns[layer].triu(1).abs().max() == 0
        total = reader.patterns[layer].sum(-1)
        if family == "gpt_oss":  # the sink takes the rest
            assert (total < 1).all()
        else:
            torch.testing.assert_close(total, torch.ones_like(total))


@pytest.mark.parametrize("family", ["mistral", "gpt_oss"])
def test_a_sliding_window_is_respected(family):
    model = head_model(family)
    reader = PatternReader()
    with model.intervening(reader):
        model.logits(TOKENS)
    i, j = torch.meshgrid(torch.arange(12), torch.arange(12), indexing="ij")
    assert reader.patterns[0][:, :, i - j >= 4].abs().max() == 0


@pytest.mark.parametrize("family", CONFIGS)
def test_z_is_what_the_output_projection_reads_head_by_head(family):
    """Doubling z of one head adds exactly its result, z @ W_O, to the attention output."""
    model = head_model(family)
    clean, doubled = Trace(), Trace()
    with model.intervening(clean):
        model.logits(TOKENS)
    with model.intervening(Scaled(1, 2), doubled):
        model.logits(TOKENS)
    weight, _ = model.output_weights(1)
    assert weight.shape == (model.n_heads, model.d_head, model.d_model)
    result = clean.z[1][:, :, 2] @ weight[2]
    assert result.abs().max() > 1e-3
    torch.testing.assert_close(doubled.attention_outputs[1] - clean.attention_outputs[1], result, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(doubled.z[0], clean.z[0], atol=0, rtol=0)


@pytest.mark.parametrize("family", CONFIGS)
def test_sizes(family):
    model = head_model(family)
    assert (model.n_layers, model.n_heads, model.d_model) == (3, 4, 32)
    assert model.n_kv_heads == (4 if family in ("gpt2", "gpt_neox", "phi", "opt") else 2)
    assert model.d_vocab == len(TOKENIZER)
    assert model.max_length == 64


@pytest.mark.parametrize("family", CONFIGS)
def test_every_load_records_its_identities(family):
    checks = {check.name: check for check in head_model(family).checks}
    assert sorted(checks) == ["batched", "no-op", "patterns", "results", "resumed"]
    assert all(check.passed and check.value <= check.tolerance for check in checks.values())
    assert (checks["no-op"].value, checks["no-op"].tolerance) == (0, 0)


@pytest.mark.parametrize("name", UNREACHED)
def test_an_architecture_that_never_calls_us_is_refused_by_name(name):
    with pytest.raises(UnsupportedModelError, match=f"{name} never calls the attention function"):
        HeadModel(plain_model(UNREACHED[name]()), TOKENIZER)


def test_a_gate_between_the_heads_and_the_projection_is_refused():
    plain = plain_model(CONFIGS["llama"]())
    for layer in plain.model.layers:
        layer.self_attn.o_proj = torch.nn.Sequential(torch.nn.Tanh(), layer.self_attn.o_proj)
    with pytest.raises(UnsupportedModelError, match="no output projection of LlamaAttention reads"):
        HeadModel(plain, TOKENIZER)


def test_an_attention_output_that_is_not_the_sum_of_results_is_refused():
    plain = plain_model(CONFIGS["llama"]())
    attention = plain.model.layers[1].self_attn
    exact = attention.forward

    def scaled(*args, **kwargs):
        output, weights = exact(*args, **kwargs)
        return output * 1.01, weights

    attention.forward = scaled
    with pytest.raises(UnsupportedModelError, match=r"fails the check 'results'.*deviation 0\.0"):
        HeadModel(plain, TOKENIZER)


def test_a_layer_that_is_skipped_is_refused():
    plain = plain_model(CONFIGS["llama"]())
    plain.model.layers[1].forward = lambda hidden, **_: hidden
    with pytest.raises(UnsupportedModelError, match="has 3 layers but calls attention 2 times"):
        HeadModel(plain, TOKENIZER)


def test_layers_that_pass_more_than_the_residual_stream_are_refused():
    """What layer 0 leaves for layer 2 behind the residual stream is lost when a run is resumed at layer 1."""
    plain = plain_model(CONFIGS["llama"]())
    left: list[torch.Tensor] = []

    def leave(_, __, output):
        left[:] = [output]

    def take(_, __, output):
        return output + 0.1 * left[0] if left[0].shape == output.shape else output

    def forget(*_):
        left[:] = [torch.zeros(1)]

    plain.register_forward_pre_hook(forget, with_kwargs=True)
    plain.model.layers[0].mlp.register_forward_hook(leave)
    plain.model.layers[2].register_forward_hook(take)
    with pytest.raises(UnsupportedModelError, match="fails the check 'resumed'"):
        HeadModel(plain, TOKENIZER)
