"""Parts of a logit difference add up to it, in every architecture, and each is what a slow twin says."""

from __future__ import annotations

import random
from threading import Event, Thread

import numpy as np
import pytest
import torch
import transformers

from head_atlas.errors import NotApplicableError, PromptError
from head_atlas.interventions import ablating
from head_atlas.measures.direct_logit import decompose, decompose_against, induction_copy
from head_atlas.models import HeadModel
from head_atlas.models.readers import StreamReader, Trace
from head_atlas.prompts.families.random_tokens import build_rand_repeat
from head_atlas.prompts.prompt import Prompt
from tiny_models import _SMALL, CONFIGS, FAMILIES, TOKENIZER, head_model, plain_model, random_prompts

PROMPTS = random_prompts([(9, (3, 8)), (12, (11,)), (9, (5, 2)), (6, (0, 1, 2, 3, 5, 4))])


def run_logits(model, prompt):
    return model.logits(model.rows([prompt.tokens]), torch.tensor([prompt.positions]))[0].double()


@pytest.mark.parametrize(("family", "dtype"), FAMILIES)
def test_the_parts_add_up_to_the_models_own_logit_difference(family, dtype):
    model = head_model(family, dtype)
    found = decompose(model, PROMPTS)
    assert found.adds_up()
    assert np.abs(found.residual.values).max() < 1e-5  # and far better than asked for
    cap = model.anatomy.soft_cap
    for index, prompt in enumerate(PROMPTS):
        logits = run_logits(model, prompt)
        if cap is not None:
            logits = torch.atanh(logits / cap) * cap
        rows = torch.arange(len(prompt.positions))
        expected = (logits[rows, list(prompt.targets)] - logits[rows, list(prompt.contrasts)]).mean()
        assert found.logit_difference[index] == pytest.approx(float(expected), abs=1e-5)
        assert sum(found.parts(index).values()) == pytest.approx(float(found.total[index]))


def test_only_gemma_2_has_its_logits_capped_here():
    assert {family for family in CONFIGS if head_model(family).anatomy.soft_cap is not None} == {"gemma2"}


def frozen(norm, x, part, gain):
    """What a LayerNorm or RMSNorm of transformers makes of a part of x, its own sigma frozen."""
    if isinstance(norm, torch.nn.LayerNorm):
        sigma = (x.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt()
        return (part - part.mean(-1, keepdim=True)) / sigma * gain
    epsilon = getattr(norm, "eps", None) or norm.variance_epsilon
    return part / (x.square().mean(-1, keepdim=True) + epsilon).sqrt() * gain


def slow_twin(model, prompt, modules):
    """Each head's z W_O taken through the norms by their names in transformers, position by position."""
    trace, streams = Trace(), StreamReader()
    with model.intervening(trace, streams):
        model.logits(model.rows([prompt.tokens]))
    unembedding = model.model.get_output_embeddings().weight.double()
    found = torch.zeros(model.n_layers, model.n_heads, dtype=torch.float64)
    norm, gain, post = modules
    for layer in range(model.n_layers):
        weight, _ = model.output_weights(layer)
        for head in range(model.n_heads):
            for at, y, other in zip(prompt.positions, prompt.targets, prompt.contrasts, strict=True):
                part = trace.z[layer][0, at, head].double() @ weight[head].double()
                if post is not None:
                    after, its_gain = post(layer)
                    part = frozen(after, trace.attention_outputs[layer][0, at].double(), part, its_gain)
                part = frozen(norm, streams.streams[-1][0, at].double(), part, gain)
                found[layer, head] += part @ (unembedding[y] - unembedding[other])
    return found / len(prompt.positions)


def modules_of(family, model):
    if family == "gpt2":
        norm = model.model.transformer.ln_f
        return norm, norm.weight.double(), None
    norm = model.model.model.norm
    plus = 1 if family.startswith("gemma") else 0
    if family == "llama":
        return norm, norm.weight.double(), None

    def post(layer):
        after = model.model.model.layers[layer].post_attention_layernorm
        return after, plus + after.weight.double()

    return norm, plus + norm.weight.double(), post


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "gemma3", "olmo2"])
def test_each_heads_part_is_its_result_through_frozen_norms(family):
    model = head_model(family, torch.float64)
    with torch.no_grad():
        for index, prompt in enumerate(PROMPTS[:3]):
            expected = slow_twin(model, prompt, modules_of(family, model))
            found = decompose(model, PROMPTS).heads.values[:, :, index]
            np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)


def test_without_a_contrast_the_target_is_held_against_the_mean_logit():
    model = head_model("gpt2")
    found = decompose(model, "The cat sat", target="at")
    (prompt,) = [Prompt("", tuple(model.tokens("The cat sat").tolist()), (3,), (model.policy.single("at"),))]
    logits = run_logits(model, Prompt("", prompt.tokens, (len(prompt.tokens) - 1,), prompt.targets))[0]
    assert found.logit_difference[0] == pytest.approx(float(logits[prompt.targets[0]] - logits.mean()), abs=1e-5)
    assert found.adds_up()


def test_the_unembedding_bias_is_a_part_of_its_own():
    model = head_model("phi")  # the one family here with such a bias
    bias = model.model.get_output_embeddings().bias
    prompt = PROMPTS[1]
    expected = float(bias[prompt.targets[0]] - bias[prompt.contrasts[0]])
    assert decompose(model, prompt).unembedding_bias[0] == pytest.approx(expected, abs=1e-6)
    assert decompose(head_model("llama"), prompt).unembedding_bias[0] == 0


def test_an_ablated_head_adds_nothing_and_the_rest_still_adds_up():
    model = head_model("llama")
    with ablating(model, ["1.2"], "zero"):
        found = decompose(model, PROMPTS)
    assert (found.heads.values[1, 2] == 0).all()
    assert found.adds_up()
    assert (decompose(model, PROMPTS).heads.values[1, 2] != 0).all()


def test_induction_copy_is_the_lead_over_the_mean_of_the_block():
    model = head_model("gpt2", torch.float64)
    prompts = build_rand_repeat(model.policy, random.Random(0), 3)
    found = induction_copy(model, prompts)
    assert found.dims == ("layer", "head", "prompt")
    # the slow way: held against one token of the block at a time
    prompt = prompts[1]
    block = [prompt.tokens[at] for at in prompt.annotations["first"]]
    one_by_one = [
        decompose_against(model, [prompt], [[(token,)] * len(prompt.positions)]).heads.values[:, :, 0]
        for token in block
    ]
    np.testing.assert_allclose(found.values[:, :, 1], np.mean(one_by_one, 0), atol=1e-10)
    with pytest.raises(PromptError, match="'first'"):
        induction_copy(model, PROMPTS)


def test_a_norm_on_the_stream_itself_is_refused_with_the_reason():
    config = transformers.OPTConfig(**_SMALL, ffn_dim=48, word_embed_proj_dim=32, do_layer_norm_before=False)
    model = HeadModel(plain_model(config), TOKENIZER)
    with pytest.raises(NotApplicableError, match="OPTForCausalLM, layer 0: the residual stream is not its input plus"):
        decompose(model, PROMPTS)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_massive_activations_do_not_hide_how_layers_write(family):
    """One number of the stream at position 0, and for one token, a thousand times as large as the rest."""
    plain = plain_model(CONFIGS[family]())
    if family == "gpt2":
        plain.transformer.wpe.weight.data[0, 3] = 3000
    plain.get_input_embeddings().weight.data[44, 5] = -2000
    model = HeadModel(plain, TOKENIZER)
    assert {parts.attention_scale for parts in model.anatomy.layers} == {1.0}
    assert decompose(model, PROMPTS).adds_up()


def test_16_bit_models_are_read_as_well():
    model = HeadModel(plain_model(CONFIGS["gemma2"](), torch.bfloat16), TOKENIZER)
    assert {(parts.attention_scale, parts.mlp_scale) for parts in model.anatomy.layers} == {(1.0, 1.0)}
    assert all(parts.post_norm is not None for parts in model.anatomy.layers)
    found = decompose(model, PROMPTS)
    assert np.abs(found.residual.values).max() < 0.1  # 8 bits of each write


@pytest.mark.parametrize("silent", ["attn.c_proj", "mlp.c_proj"])
def test_layers_that_write_nothing_are_told_too(silent):
    plain = plain_model(CONFIGS["gpt2"]())
    projection = plain.transformer.h[1].get_submodule(silent)
    projection.weight.data.zero_()
    projection.bias.data.zero_()
    model = HeadModel(plain, TOKENIZER)
    found = decompose(model, PROMPTS)
    assert found.adds_up()
    assert model.anatomy.layers[1].neurons == 128
    assert ((found.heads if silent.startswith("attn") else found.mlps).values[1] == 0).all()


def test_finding_out_leaves_no_hooks_and_changes_no_logit():
    model = HeadModel(plain_model(CONFIGS["falcon"]()), TOKENIZER)
    tokens = model.rows([PROMPTS[1].tokens])
    before = model.logits(tokens)
    assert model.anatomy is model.anatomy
    assert model.weight_places is model.weight_places
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.model.modules())
    assert torch.equal(model.logits(tokens), before)


def test_other_threads_runs_do_not_mix_with_the_finding_out():
    """Another thread runs other tokens all the while: what is found is the same as without it."""
    model = HeadModel(plain_model(CONFIGS["gemma2"]()), TOKENIZER)
    tokens = torch.full((3, 20), 7)
    done = Event()

    def run():
        while not done.is_set():
            model.logits(tokens)

    thread = Thread(target=run)
    thread.start()
    try:
        found = decompose(model, PROMPTS)
        places = model.weight_places
    finally:
        done.set()
        thread.join()
    alone = head_model("gemma2")
    np.testing.assert_allclose(found.heads.values, decompose(alone, PROMPTS).heads.values, atol=1e-6)
    for one, other in zip(places, alone.weight_places, strict=True):
        assert torch.equal(one.query.columns, other.query.columns)


def test_streams_end_in_the_logits():
    model = head_model("bloom")
    tokens = model.rows([PROMPTS[1].tokens])
    reader = StreamReader()
    with model.intervening(reader):
        logits = model.logits(tokens)
    assert len(reader.streams) == model.n_layers + 1
    lens = model.layerwise(tokens.shape[1]).logits(reader.streams[-1])
    torch.testing.assert_close(lens, logits)


def test_unknown_tokens_are_refused():
    with pytest.raises(PromptError, match="token ids must lie in"):
        decompose_against(head_model(), PROMPTS[1:2], [[(10**6,)]])
    with pytest.raises(PromptError, match="no prompt"):
        decompose_against(head_model(), [], [])
