"""Heads are where we think they are, in every architecture; those that cannot be reached are refused."""

from __future__ import annotations

import pytest
import torch
from transformers.masking_utils import AttentionMaskInterface

from head_atlas.errors import UnsupportedModelError
from head_atlas.models import HeadModel, Intervention, PatternReader, attention
from head_atlas.models.attention import NAME, recording_calls
from head_atlas.models.kernels import WRITTEN_OUT
from head_atlas.models.readers import LayerWatch, Trace
from tiny_models import CONFIGS, FAMILIES, IGNORING, OWN_KEYS, TOKENIZER, UNREACHED, head_model, plain_model, tolerance

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
def test_the_logits_are_those_of_plain_transformers(family, monkeypatch):
    # attention by the eager formula where our function is ignored: Falcon has another one by default
    plain = plain_model(CONFIGS[family](), implementation="eager" if family in IGNORING else None)
    with torch.no_grad():
        expected = plain(input_ids=TOKENS).logits
    model = head_model(family)
    torch.testing.assert_close(model.logits(TOKENS), expected, atol=1e-5, rtol=0)  # by faster kernels
    for module in model.model.modules():
        if type(module) in WRITTEN_OUT:
            monkeypatch.delattr(module, "forward")
    assert torch.equal(model.model(input_ids=TOKENS).logits, expected)  # products as small as these stay plain


@pytest.mark.parametrize("family", CONFIGS)
def test_a_watch_in_front_of_every_layer_changes_no_bit_and_may_end_the_run(family):
    model, looks = head_model(family), []
    expected = model.logits(TOKENS)
    with model.intervening(LayerWatch(lambda: looks.append(len(looks)))):
        assert torch.equal(model.logits(TOKENS), expected)
    assert looks == list(range(model.n_layers))

    def enough():
        raise TimeoutError

    with pytest.raises(TimeoutError), model.intervening(LayerWatch(enough)):
        model.logits(TOKENS)
    assert torch.equal(model.logits(TOKENS), expected)


@pytest.mark.parametrize(("family", "dtype"), FAMILIES)
def test_padding_on_either_side_changes_nothing(family, dtype):
    model = head_model(family, dtype)
    # MPT's position bias is shifted by padding, and its softmax is taken in float32
    allowed = max(tolerance(family, dtype), 1e-6 if family == "mpt" else 0)
    prompts = [TOKENS[0, :7].tolist(), TOKENS[1].tolist(), [5]]
    for side in ("left", "right"):
        tokens, mask = model.padded(prompts, side)
        padded = model.logits(tokens, mask=mask)
        for row, prompt in enumerate(prompts):
            alone = model.logits(torch.tensor([prompt]))[0]
            torch.testing.assert_close(padded[row][mask[row]], alone, atol=allowed, rtol=0)
        last = torch.tensor([[len(p) - 1 + (12 - len(p) if side == "left" else 0)] for p in prompts])
        read = model.logits(tokens, last, mask)
        torch.testing.assert_close(read[0, 0], padded[0][mask[0]][-1], atol=allowed, rtol=0)


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
    assert model.n_kv_heads == (1 if family == "falcon" else 4 if family in OWN_KEYS else 2)
    assert model.structure.through_interface == (family not in IGNORING)
    assert model.d_vocab == len(TOKENIZER)
    assert model.max_length == (1024 if family == "bloom" else 64)  # Bloom's has no end


@pytest.mark.parametrize("family", CONFIGS)
def test_every_load_records_its_identities(family):
    checks = {check.name: check for check in head_model(family).checks}
    assert sorted(checks) == ["batched", "kernels", "no-op", "padded", "patterns", "results", "resumed", "values"]
    assert all(check.passed and check.value <= check.tolerance for check in checks.values())
    assert (checks["no-op"].value, checks["no-op"].tolerance) == (0, 0)


def test_an_architecture_whose_two_formulas_disagree_is_refused_by_name():
    with pytest.raises(UnsupportedModelError, match="FalconForCausalLM fails the check 'patterns'"):
        HeadModel(plain_model(UNREACHED["FalconForCausalLM"]()), TOKENIZER)


def test_trap_1_without_our_kind_of_mask_a_window_is_ignored_and_the_model_refused(monkeypatch):
    """A name that only the registry of attention functions knows gets no mask."""
    monkeypatch.delitem(AttentionMaskInterface._global_mapping, NAME)
    with pytest.raises(UnsupportedModelError, match="MistralForCausalLM fails the check 'no-op'"):
        HeadModel(plain_model(CONFIGS["mistral"]()), TOKENIZER)


@pytest.mark.parametrize("family", IGNORING)
def test_trap_2_an_architecture_that_ignores_our_function_is_reached_another_way(family):
    """Our function is not called once, and still no head is left alone."""
    model = head_model(family)
    with recording_calls() as calls:
        clean = model.logits(TOKENS)
    assert calls == []
    for layer in range(3):
        for head in range(4):
            with model.intervening(Scaled(layer, head)):
                assert (model.logits(TOKENS) - clean).abs().max() > 1e-4


def test_trap_2_without_patterns_to_go_by_it_is_refused():
    plain = plain_model(CONFIGS["gptj"](), implementation="eager")
    for block in plain.transformer.h:
        exact = block.attn.forward
        block.attn.forward = lambda *args, exact=exact, **kwargs: (exact(*args, **kwargs)[0], None)
    with pytest.raises(UnsupportedModelError, match="GPTJForCausalLM never calls the attention function it is given"):
        HeadModel(plain, TOKENIZER)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in plain.modules())


def test_trap_2_patterns_that_are_not_the_heads_own_are_refused():
    """Returned in another order, they do not give the outputs that are taken for theirs."""
    plain = plain_model(CONFIGS["gptj"](), implementation="eager")
    attention = plain.transformer.h[2].attn
    exact = attention.forward

    def shuffled(*args, **kwargs):
        output, pattern = exact(*args, **kwargs)
        return output, pattern.roll(1, dims=1)

    attention.forward = shuffled
    with pytest.raises(UnsupportedModelError, match="fails the check 'values'"):
        HeadModel(plain, TOKENIZER)


@pytest.mark.parametrize("family", ["gemma2", "gpt_oss"])
def test_trap_3_soft_caps_and_sinks_that_are_ignored_are_refused(monkeypatch, family):
    """With the formula that SDPA computes, which knows neither, it would be another model."""

    def careless(_, query, key, value, mask, kwargs):
        repeats = query.shape[1] // key.shape[1]
        scores = query @ key.repeat_interleave(repeats, 1).mT * kwargs["scaling"]
        pattern = scores.masked_fill(~mask, -1e30).softmax(-1)
        return (pattern @ value.repeat_interleave(repeats, 1)).transpose(1, 2), pattern

    monkeypatch.setattr(attention, "_eager", careless)
    with pytest.raises(UnsupportedModelError, match="fails the check 'no-op'"):
        HeadModel(plain_model(CONFIGS[family]()), TOKENIZER)


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
