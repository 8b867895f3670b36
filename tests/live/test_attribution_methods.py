"""Token attribution: worked by hand on a linear model, and identities on every family."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import transformers
from torch import nn

from head_atlas import attribute, attribution_change
from head_atlas.errors import HeadAtlasError, MissingReferenceError, PromptError, UnsupportedModelError
from head_atlas.interventions import Budget, ablating
from head_atlas.live import iter_attribute
from head_atlas.live.attribution import METHODS
from head_atlas.live.path_gradients import quadrature
from head_atlas.models import HeadModel
from tiny_models import CONFIGS, TEXT, TOKENIZER, head_model, plain_model, random_prompts

PROMPT = "The cat sat on the mat. Harry"
CORPUS = [TEXT, "Everyone near the old park knew that the cat went home."]


@pytest.fixture(scope="module")
def linear():
    """A GPT-2 of one layer that is linear in its embeddings: no norms, no MLP, and queries of zero, so that every
    position attends evenly to all up to itself."""
    config = transformers.GPT2Config(
        vocab_size=len(TOKENIZER), n_embd=16, n_layer=1, n_head=2, n_positions=64, bos_token_id=0, eos_token_id=0
    )
    model = plain_model(config, torch.float64)
    block = model.transformer.h[0]
    block.ln_1, block.ln_2, model.transformer.ln_f = nn.Identity(), nn.Identity(), nn.Identity()
    block.attn.c_attn.weight.data[:, :32] = 0
    block.attn.c_attn.bias.data[:32] = 0
    block.mlp.c_proj.weight.data[:] = 0
    return HeadModel(model, TOKENIZER)


def slopes(model, n_pos, target, contrast, *, heads=(0, 1)):
    """df/de_i by hand, [pos, d]: the mean over positions of e_i W_V W_O, and at the last position e itself."""
    block, out = model.model.transformer.h[0], model.model.lm_head.weight
    direction = out[target] - out[contrast]
    value, project = block.attn.c_attn.weight[:, 32:], block.attn.c_proj.weight
    kept = torch.cat([project[8 * h : 8 * h + 8] if h in heads else torch.zeros(8, 16).double() for h in (0, 1)])
    through = value @ kept @ direction / n_pos
    rows = through.repeat(n_pos, 1)
    rows[-1] += direction
    return rows.detach().numpy()


def embedded(model, tokens):
    return model.model.transformer.wte.weight[list(tokens)].detach().numpy()


def test_every_gradient_method_is_exact_on_a_linear_model(linear):
    tokens = linear.tokens(PROMPT).tolist()
    target, contrast = 20, 30
    slope, e = slopes(linear, len(tokens), target, contrast), embedded(linear, tokens)
    table = linear.model.transformer.wte.weight.detach().numpy()
    expected = {
        ("gradient_x_input", "mean"): (slope * e).sum(1),
        ("saliency", "mean"): np.linalg.norm(slope, axis=1),
        ("integrated_gradients", "zero"): (slope * e).sum(1),
        ("integrated_gradients", "mean"): (slope * (e - table.mean(0))).sum(1),
    }
    for (method, baseline), values in expected.items():
        found = attribute(linear, PROMPT, target, contrast, method=method, baseline=baseline)
        np.testing.assert_allclose(found.values.values[1:], values[1:], atol=1e-10)
        assert np.isnan(found.values[0])
        if method == "integrated_gradients":
            assert abs(found.completeness_gap) < 1e-10
            assert found.relative_completeness_gap < 1e-9
            assert (found.converged, found.n_nodes, found.n_draws) == (True, 32, 1)
            assert found.f - found.f_baseline == pytest.approx(np.nansum(found.values.values), abs=1e-10)


def test_integrated_gradients_from_several_baselines_is_their_mean(linear):
    tokens = linear.tokens(PROMPT).tolist()
    slope, e = slopes(linear, len(tokens), 20, 30), embedded(linear, tokens)
    given = np.random.default_rng(0).normal(size=(3, *e.shape))
    found = attribute(linear, PROMPT, 20, 30, method="integrated_gradients", baseline=given)
    np.testing.assert_allclose(found.values.values[1:], (slope * (e - given)).sum(2).mean(0)[1:], atol=1e-10)
    assert found.n_draws == 3
    drawn = attribute(linear, PROMPT, 20, 30, method="integrated_gradients", baseline="corpus", corpus=CORPUS, seed=3)
    again = attribute(linear, PROMPT, 20, 30, method="integrated_gradients", baseline="corpus", corpus=CORPUS, seed=3)
    other = attribute(linear, PROMPT, 20, 30, method="integrated_gradients", baseline="corpus", corpus=CORPUS, seed=4)
    np.testing.assert_array_equal(drawn.values.values, again.values.values)
    assert np.nanmax(np.abs(drawn.values.values - other.values.values)) > 1e-4
    assert drawn.n_draws == 8


def test_occlusion_by_hand_on_a_linear_model(linear):
    tokens = linear.tokens(PROMPT).tolist()
    n, target, contrast = len(tokens), 20, 30
    block, out = linear.model.transformer.h[0], linear.model.lm_head.weight
    direction = (out[target] - out[contrast]).detach().numpy()
    positions = linear.model.transformer.wpe.weight.detach().numpy()
    value, bias = (part.detach().numpy() for part in (block.attn.c_attn.weight[:, 32:], block.attn.c_attn.bias[32:]))
    project = block.attn.c_proj.weight.detach().numpy()

    def f(ids, seen=None):
        """Without biases after the attention, which no token changes."""
        x = embedded(linear, ids) + positions[: len(ids)]
        kept = x if seen is None else x[seen]
        return ((x[-1] + (kept @ value + bias).mean(0) @ project) * direction).sum()

    masked = attribute(linear, PROMPT, target, contrast, method="occlusion_mask").values.values
    deleted = attribute(linear, PROMPT, target, contrast, method="occlusion_delete").values.values
    for i in range(1, n):
        others = [j for j in range(n) if j != i]
        assert masked[i] == pytest.approx(f(tokens) - f(tokens, others), abs=1e-10)
        assert deleted[i] == pytest.approx(f(tokens) - f([tokens[j] for j in others]), abs=1e-10)
    replaced = attribute(linear, PROMPT, target, contrast, method="occlusion_replace", corpus=["x"], n_draws=1)
    (x,) = linear.policy.pieces_of("x")
    for i in range(1, n):
        changed = [*tokens[:i], x, *tokens[i + 1 :]]
        assert replaced.values[i] == pytest.approx(f(tokens) - f(changed), abs=1e-10)
    assert replaced.standard_error is None


def test_replacements_are_averaged_and_their_spread_is_told():
    model = head_model("llama", torch.float64)
    found = attribute(model, PROMPT, " Potter", method="occlusion_replace", corpus=CORPUS, n_draws=4, seed=5)
    stream = [i for text in CORPUS for i in model.policy.pieces_of(text)]
    drawn = [stream[i] for i in np.random.default_rng(5).permutation(len(stream))[:4]]
    tokens = list(found.tokens)
    for i in (1, len(tokens) - 1):
        changes = []
        for other in drawn:
            row = torch.tensor([[*tokens[:i], other, *tokens[i + 1 :]]])
            changes.append(found.f - float(model.logits(row)[0, -1].log_softmax(-1)[found.target]))
        assert found.values[i] == pytest.approx(np.mean(changes), abs=1e-9)
        assert found.standard_error[i] == pytest.approx(np.std(changes, ddof=1) / 2, abs=1e-9)
    assert np.isnan(found.values[0])
    assert np.isnan(found.standard_error[0])


def test_without_a_corpus_no_special_token_is_put_in():
    model = head_model("llama")
    everything = attribute(model, PROMPT, method="occlusion_replace", n_draws=len(TOKENIZER) - 1, seed=1)
    assert everything.n_draws == len(TOKENIZER) - 1
    with pytest.raises(PromptError, match=rf"n_draws must lie in 1\.\.{len(TOKENIZER) - 1}, "):
        attribute(model, PROMPT, method="occlusion_replace", n_draws=len(TOKENIZER))


@pytest.mark.parametrize("family", CONFIGS)
def test_integrated_gradients_add_up_in_every_family(family):
    """The gap is what it says, and closes as nodes are added; experts switch, so theirs closes more slowly."""
    model = head_model(family)
    found = attribute(model, PROMPT, " Potter", " went", method="integrated_gradients")
    assert found.completeness_gap == pytest.approx(
        np.nansum(found.values.values) - (found.f - found.f_baseline), abs=2e-4
    )
    if found.converged:
        assert abs(found.completeness_gap) < max(0.05 * abs(found.f - found.f_baseline), 0.02)
    else:
        assert found.n_nodes == 256
    assert found.converged or family in ("gpt_oss", "qwen3_moe")
    own = model.logits(model.tokens(PROMPT)[None])[0, -1]
    assert found.f == pytest.approx(float(own[found.target] - own[found.contrast]), abs=1e-4)


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "falcon"])
def test_integrated_gradients_agree_with_a_slow_twin(family):
    """Two hundred midpoints, one at a time, each by its own backward pass."""
    model = head_model(family)
    tokens = model.tokens(PROMPT)
    found = attribute(model, PROMPT, 20, 30, ("0.1",), method="integrated_gradients")
    embed = model.model.get_input_embeddings()
    end = embed(tokens).detach()
    start = embed(torch.arange(len(TOKENIZER))).mean(0).expand_as(end).clone()
    start[0] = end[0]
    total = torch.zeros_like(end)
    n = 200
    for k in range(n):
        x = (start + (k + 0.5) / n * (end - start)).requires_grad_()
        with torch.enable_grad(), ablating(model, "0.1"):
            logits = model.model(inputs_embeds=x[None]).logits[0, -1]
            (logits[20] - logits[30]).backward()
        total += x.grad / n
    np.testing.assert_allclose(found.values.values[1:], ((end - start) * total).sum(-1)[1:].numpy(), atol=2e-3)


def test_nodes_double_until_complete_and_no_further():
    model = head_model("llama")
    few = attribute(model, PROMPT, method="integrated_gradients", baseline="zero", max_nodes=1)
    assert few.n_nodes == 1
    assert few.converged == (abs(few.completeness_gap) < max(0.05 * abs(few.f - few.f_baseline), 0.02))
    many = attribute(model, PROMPT, method="integrated_gradients", baseline="zero")
    assert abs(many.completeness_gap) < abs(few.completeness_gap)
    assert many.n_nodes in (32, 64, 128, 256)


@pytest.mark.parametrize("n", [1, 2, 32])
def test_quadrature_is_exact_for_polynomials(n):
    nodes, weights = quadrature(n)
    assert weights.sum() == pytest.approx(1)
    for power in range(2 * n):
        assert (weights * nodes**power).sum() == pytest.approx(1 / (power + 1))


@pytest.mark.parametrize("method", METHODS)
def test_batches_do_not_change_the_values(method):
    model = head_model("qwen2", torch.float64)
    one = attribute(model, PROMPT, 20, 30, method=method, budget=Budget(1, 1))
    many = attribute(model, PROMPT, 20, 30, method=method, budget=Budget(10**6, 10**9))
    np.testing.assert_allclose(one.values.values, many.values.values, atol=1e-6)


@pytest.mark.parametrize("family", CONFIGS)
def test_a_masked_token_is_hidden_or_the_architecture_is_refused(family):
    """Two prompts that differ in one token alone agree once it is hidden from all later ones."""
    model = head_model(family)
    if family == "bloom":
        with pytest.raises(UnsupportedModelError, match=r"BloomForCausalLM.*moves the tokens after it"):
            attribute(model, PROMPT, method="occlusion_mask")
        return
    ids = list(model.tokens(PROMPT).tolist())
    found = attribute(model, PROMPT, 20, 30, method="occlusion_mask")
    assert np.isfinite(found.values.values[1:]).all()
    one = torch.tensor([ids])
    other = one.clone()
    other[0, 3] = 77
    seen = torch.ones_like(one, dtype=torch.bool)
    seen[0, 3] = False
    first, second = (model.run(row, seen=seen)[0, -1] for row in (one, other))
    torch.testing.assert_close(first, second, atol=1e-5, rtol=0)
    hidden = float(first[20] - first[30])
    assert found.f - hidden == pytest.approx(found.values[3], abs=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_removing_heads_changes_the_attribution_and_the_change_is_the_difference(method):
    model = head_model("llama")
    found = attribution_change(model, PROMPT, ["0.1", "1.2"], method=method, seed=2)
    assert (found.clean.heads, len(found.ablated.heads)) == ((), 2)
    assert found.clean.target == found.ablated.target
    np.testing.assert_array_equal(found.change.values, found.ablated.values.values - found.clean.values.values)
    assert np.nanmax(np.abs(found.change.values)) > 1e-4
    alone = attribute(model, PROMPT, found.clean.target, None, ["0.1", "1.2"], method=method, seed=2)
    np.testing.assert_array_equal(alone.values.values, found.ablated.values.values)


@pytest.mark.parametrize("method", METHODS)
def test_progress_ends_with_all_and_may_stop_the_run(method):
    model = head_model("llama")
    told = []
    attribute(model, PROMPT, method=method, progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] > 0
    assert [done for done, _ in told] == sorted(done for done, _ in told)

    class Stop(Exception):
        pass

    def stop(*_):
        raise Stop

    with pytest.raises(Stop):
        attribute(model, PROMPT, heads="0.1", method=method, progress=stop)
    plain = model.logits(model.tokens(PROMPT)[None])
    steps = iter_attribute(model, PROMPT, heads="0.1", method=method)
    next(steps)
    assert torch.equal(model.logits(model.tokens(PROMPT)[None]), plain), "a run in between sees no intervention"
    steps.close()


def test_words_sum_their_tokens_and_text_stays_text():
    model = head_model("llama")
    text = "Harry's café, naïve 東京 <|bos|>  end"
    found = attribute(model, text, method="gradient_x_input")
    words = found.words()
    assert sum(word.value for word in words) == pytest.approx(float(np.nansum(found.values.values)), abs=1e-4)
    assert [word.first for word in words] == [1, *(word.last + 1 for word in words[:-1])]
    assert words[-1].last == len(found.tokens) - 1
    shown = [word.text for word in words if word.text.strip()]
    assert shown[:4] == ["Harry's", "café", ",", "naïve"]
    assert "".join(shown) == "".join(text.split())
    assert shown[-1] == "end"


def test_words_need_a_text_and_a_signed_method():
    model = head_model("llama")
    with pytest.raises(PromptError, match="norm"):
        attribute(model, PROMPT, method="saliency").words()
    (prompt,) = random_prompts([(9, (8,))])
    found = attribute(model, prompt)
    assert found.tokens == prompt.tokens
    with pytest.raises(PromptError, match="not the tokens of one"):
        found.words()


def test_the_eos_baseline_is_its_embedding():
    tokenizer = copy.deepcopy(TOKENIZER)
    tokenizer.add_special_tokens({"eos_token": "<|bos|>"})
    model = HeadModel(plain_model(CONFIGS["llama"]()), tokenizer)
    eos = model.embeddings(torch.tensor([0]))[0].numpy()
    by_name = attribute(model, PROMPT, 20, 30, method="integrated_gradients", baseline="eos")
    by_hand = attribute(model, PROMPT, 20, 30, method="integrated_gradients", baseline=eos)
    np.testing.assert_array_equal(by_name.values.values, by_hand.values.values)


def test_a_model_that_does_not_see_embeddings_alone_is_refused():
    model = HeadModel(plain_model(CONFIGS["llama"]()), TOKENIZER)
    plain = model.model.forward

    def forward(input_ids=None, **kwargs):
        output = plain(input_ids=input_ids, **kwargs)
        if input_ids is not None:
            output.logits = output.logits + input_ids[..., None]
        return output

    model.model.forward = forward
    for method in ("gradient_x_input", "saliency", "integrated_gradients"):
        with pytest.raises(UnsupportedModelError, match="LlamaForCausalLM: token ids and their embeddings"):
            attribute(model, PROMPT, method=method)


def test_refusals():
    model = head_model("llama")

    def integrated(**options):
        return attribute(model, PROMPT, method="integrated_gradients", **options)

    with pytest.raises(HeadAtlasError, match="method must be one of gradient_x_input"):
        attribute(model, PROMPT, method="magic")
    with pytest.raises(PromptError, match="baseline must be one of mean, zero, eos, corpus"):
        integrated(baseline="noise")
    with pytest.raises(PromptError, match="no end-of-sequence token"):
        integrated(baseline="eos")
    with pytest.raises(PromptError, match="give them as corpus="):
        integrated(baseline="corpus")
    with pytest.raises(PromptError, match="at least 8 samples, found 7"):
        integrated(baseline="corpus", corpus=CORPUS, n_draws=7)
    with pytest.raises(PromptError, match="need a corpus of at least"):
        integrated(baseline="corpus", corpus=["cat"])
    with pytest.raises(PromptError, match="must be finite and of shape"):
        integrated(baseline=np.zeros((3, 4)))
    with pytest.raises(PromptError, match="must be finite"):
        integrated(baseline=np.full(32, np.nan))
    with pytest.raises(HeadAtlasError, match="max_nodes must be at least 1"):
        integrated(max_nodes=0)
    with pytest.raises(MissingReferenceError):
        iter_attribute(model, PROMPT, heads="0.1", mode="mean")
