"""Scores of weights: known answers on constructed heads, and slow twins that build every matrix whole."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import transformers

from head_atlas.catalogue import WEIGHT_SCORES
from head_atlas.measures.composition import KINDS, ROTARY, composition
from head_atlas.measures.weights import PROMOTED, SCORES, effective_rank, eigenvalue_copying, weight_scores
from head_atlas.models import HeadModel, Intervention, PatternReader
from head_atlas.models.readers import ValueReader
from head_atlas.models.weights import folded_weights, projection
from tiny_models import CONFIGS, FAMILIES, IGNORING, TOKENIZER, head_model, plain_model

TOKENS = torch.tensor([[0, 5, 9, 200, 7, 5, 9, 31], [0, 8, 8, 1, 7, 2, 300, 31]])
WITH_NORMS_OF_QUERIES = ("qwen3", "qwen3_moe", "gemma3", "olmo2")


class AttentionInputs(Intervention):
    def __init__(self):
        self.hidden = {}

    def on_attention_input(self, layer, hidden):
        self.hidden[layer] = hidden
        return hidden


@pytest.fixture(scope="module")
def constructed():
    """A Llama of 24 orthonormal tokens and two layers without MLPs. By head of each layer: W_V W_O."""
    config = transformers.LlamaConfig(
        vocab_size=24, hidden_size=32, intermediate_size=8, num_hidden_layers=2, num_attention_heads=4, head_dim=32,
        max_position_embeddings=64, num_key_value_heads=4,
    )  # fmt: skip
    model = plain_model(config, torch.float64)
    generator = torch.Generator().manual_seed(3)
    tokens = torch.linalg.qr(torch.randn(32, 32, generator=generator, dtype=torch.float64)).Q[:24]
    following = tokens.roll(-1, 0)
    writes = [
        tokens.T @ tokens,  # copies
        -tokens.T @ tokens,  # its negative
        tokens.T @ (following - 0.5 * tokens),  # the rival: raises the token after it, and lowers it
        torch.zeros(32, 32, dtype=torch.float64),  # writes nothing
    ]
    model.model.embed_tokens.weight.data = tokens.clone()
    model.lm_head.weight.data = tokens.clone()
    model.model.norm.weight.data.fill_(1)
    for layer in model.model.layers:
        layer.mlp.down_proj.weight.data.zero_()
        layer.input_layernorm.weight.data.fill_(1)
        layer.self_attn.v_proj.weight.data = torch.eye(32, dtype=torch.float64).repeat(4, 1)
        layer.self_attn.o_proj.weight.data = torch.cat([write.T for write in writes], 1)
    return HeadModel(model, TOKENIZER)


def test_an_ideal_copying_head_is_1_its_negative_0_and_the_other_way_round(constructed):
    found = weight_scores(constructed)
    assert found.not_applicable == {}
    copy_share, negative = found.values["ov_copy"].values, found.values["negative_ov_copy"].values
    assert (copy_share[:, 0] == 1).all()
    assert (copy_share[:, [1, 2]] == 0).all()
    assert (negative[:, 1] == 1).all()
    assert (negative[:, 0] == 0).all()
    assert (copy_share[:, 3] == 5 / 24).all(), "no write: the same five tokens for all, so each holds for five"
    eigen = found.values["ov_copy_eig"].values
    np.testing.assert_allclose(eigen[:, 0], 1, atol=1e-9)
    np.testing.assert_allclose(eigen[:, 1], -1, atol=1e-9)
    assert np.isnan(eigen[:, 3]).all()
    # roots of unity minus a half: the real parts add up to -12, the sizes to their sum
    roots = np.exp(2j * np.pi * np.arange(24) / 24) - 0.5
    np.testing.assert_allclose(eigen[:, 2], roots.real.sum() / np.abs(roots).sum(), atol=1e-9)


def test_permuted_labels_take_the_copying_away(constructed):
    nulls = weight_scores(constructed, n_draws=200).nulls
    assert nulls["ov_copy"].dims == ("layer", "head", "draw")
    assert nulls["ov_copy"].values[:, 0].mean() == pytest.approx(5 / 24, abs=0.02)
    assert abs(nulls["ov_copy_eig"].values[:, 0].mean()) < 0.1
    assert nulls["ov_copy_eig"].values[:, 0].max() < 0.7


def test_norms_and_ranks_of_known_matrices(constructed):
    found = weight_scores(constructed).values
    np.testing.assert_allclose(found["ov_norm"].values[:, :2], np.sqrt(24))
    np.testing.assert_allclose(found["ov_effective_rank"].values[:, :2], 24)
    assert (found["ov_norm"].values[:, 3] == 0).all()
    assert np.isnan(found["ov_effective_rank"].values[:, 3]).all()


def test_effective_rank_and_eigenvalue_copying_by_hand():
    assert effective_rank(torch.tensor([3.0, 3.0, 0.0])) == pytest.approx(2)
    assert effective_rank(torch.tensor([1.0, 0.0])) == pytest.approx(1)
    rotation = torch.tensor([[0.0, -1.0], [1.0, 0.0]])  # eigenvalues i and -i
    assert eigenvalue_copying(rotation) == pytest.approx(0)
    assert eigenvalue_copying(torch.diag(torch.tensor([3.0, -1.0]))) == pytest.approx(0.5)


def test_promoted_tokens_are_those_of_the_mean_write(constructed):
    found = weight_scores(constructed).values
    assert found["promoted_tokens"].dims == ("layer", "head", "rank")
    head = 2  # each token is raised by one other and lowered by itself: all alike on average
    np.testing.assert_allclose(found["promoted_logits"].values[:, head], 0, atol=1e-9)
    assert set(found) == {*SCORES, *PROMOTED, "qk_offset"}


@pytest.mark.parametrize(("family", "dtype"), FAMILIES)
def test_values_are_rebuilt_from_weights(family, dtype):
    model = head_model(family, dtype)
    reader = ValueReader()
    inputs = AttentionInputs()
    with model.intervening(inputs, reader):
        model.logits(TOKENS)
    for layer in range(model.n_layers):
        found = projection(model.weight_places[layer].value)
        rebuilt = torch.einsum("bpm,hmd->bphd", inputs.hidden[layer], found.weight) + found.bias
        torch.testing.assert_close(rebuilt, reader.values[layer], atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", [f for f in CONFIGS if f not in WITH_NORMS_OF_QUERIES])
def test_patterns_are_rebuilt_from_queries_and_keys_at_one_position(family):
    """A query on its own key, against key 0 that reads nothing: log-odds are scale (q . k) + a . q + b.

    a stands for the rotated bias of key 0, b for position biases: both are the same in all rows.
    """
    model = head_model(family, torch.float64 if family != "gpt_oss" else torch.float32)
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(60, 2, model.d_model, generator=generator, dtype=torch.float64).to(model.dtype)
    rows[:, 0] = 0

    class Given(PatternReader):
        def on_attention_input(self, layer, hidden):
            return rows if layer == 1 else hidden

    reader = Given()
    with model.intervening(reader):
        model.layerwise(2).run(1, rows)
    pattern = reader.patterns[1][:, :, 1].double()
    odds = (pattern[..., 1] / pattern[..., 0]).log()
    if family == "gemma2":  # scores are capped, and that of key 0 is 0
        odds = torch.atanh(odds / 2) * 2
    query, key = (projection(getattr(model.weight_places[1], side)) for side in ("query", "key"))
    q = torch.einsum("bm,hmd->bhd", rows[:, 1].double(), query.weight.double()) + query.bias.double()[None]
    k = torch.einsum("bm,hmd->bhd", rows[:, 1].double(), key.weight.double()) + key.bias.double()[None]
    for head in range(model.n_heads):
        product = (q[:, head] * k[:, head]).sum(-1, keepdim=True)
        known = torch.cat([product, q[:, head], torch.ones_like(product)], 1)
        solved = torch.linalg.lstsq(known, odds[:, head]).solution
        torch.testing.assert_close(known @ solved, odds[:, head], atol=1e-4, rtol=0)
        assert solved[0] > 0.01


def test_grouped_heads_use_their_groups_keys_and_values():
    model = head_model("llama")
    attention = model.model.model.layers[1].self_attn
    value, key = projection(model.weight_places[1].value), projection(model.weight_places[1].key)
    query = projection(model.weight_places[1].query)
    for head in range(4):
        group = slice(8 * (head // 2), 8 * (head // 2) + 8)
        assert torch.equal(value.weight[head], attention.v_proj.weight[group].T)
        assert torch.equal(key.weight[head], attention.k_proj.weight[group].T)
        assert torch.equal(query.weight[head], attention.q_proj.weight[8 * head : 8 * head + 8].T)


def test_fused_projections_are_taken_apart():
    neox = head_model("gpt_neox")
    fused = neox.model.gpt_neox.layers[0].attention.query_key_value
    by_head = fused.weight.view(4, 3, 8, 32)  # each head's query, key and value together
    for which, side in enumerate(("query", "key", "value")):
        found = projection(getattr(neox.weight_places[0], side))
        assert torch.equal(found.weight, by_head[:, which].transpose(1, 2))
        assert torch.equal(found.bias, fused.bias.view(4, 3, 8)[:, which])
    gpt2 = head_model("gpt2")
    weight = gpt2.model.transformer.h[2].attn.c_attn.weight.view(32, 3, 4, 8)
    assert torch.equal(projection(gpt2.weight_places[2].key).weight, weight[:, 1].transpose(0, 1))


@pytest.mark.parametrize("family", WITH_NORMS_OF_QUERIES)
def test_norms_of_queries_leave_no_qk_scores_and_say_so(family):
    found = weight_scores(head_model(family), n_draws=2)
    for name in ("qk_norm", "qk_effective_rank"):
        assert "RMSNorm stands between" in found.not_applicable[name]
        assert np.isnan(found.values[name].values).all()
    assert np.isfinite(found.values["ov_copy"].values).all()
    pairs = composition(head_model(family))
    assert set(pairs.not_applicable) == {"Q", "K"}
    assert np.isnan(pairs.values.values[:2]).all()
    assert np.isfinite(pairs.values.sel(kind="V").values[0, :, 1]).all()


def test_what_cannot_be_told_is_refused_with_its_reason():
    config = copy.deepcopy(CONFIGS["opt"]())
    config.do_layer_norm_before = False
    found = weight_scores(HeadModel(plain_model(config), TOKENIZER), n_draws=2)
    assert all("residual stream is not its input plus" in found.not_applicable[name] for name in SCORES)
    assert np.isnan(found.values["ov_copy"].values).all()
    assert (found.values["promoted_tokens"].values == -1).all()


def whole(model, layer, head):
    weights = folded_weights(model, layer)
    qk = None if isinstance(weights.query, str) else (weights.query[head] @ weights.key[head].T).numpy()
    return (weights.value[head] @ weights.output[head]).numpy(), qk


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "olmo2", "falcon_grouped", "mpt"])
@torch.no_grad()
def test_norms_and_composition_against_whole_matrices(family):
    model = head_model(family, torch.float64)
    scores = weight_scores(model, n_draws=1).values
    found = composition(model)
    assert found.null == pytest.approx(1 / np.sqrt(32))
    for layer in range(3):
        for head in (0, 3):
            ov, qk = whole(model, layer, head)
            assert scores["ov_norm"][layer, head] == pytest.approx(np.linalg.norm(ov))
            singular = np.linalg.svd(ov, compute_uv=False)[:8]
            share = singular / singular.sum()
            assert scores["ov_effective_rank"][layer, head] == pytest.approx(np.exp(-(share * np.log(share)).sum()))
            if qk is not None:
                assert scores["qk_norm"][layer, head] == pytest.approx(np.linalg.norm(qk))
            for before in range(3):
                pair = found.values.values[:, before, 1, layer, head]
                if before >= layer:
                    assert np.isnan(pair).all()
                    continue
                earlier = whole(model, before, 1)[0]
                later = {"Q": qk, "K": None if qk is None else qk.T, "V": ov}
                for kind, ratio in zip(KINDS, pair, strict=True):
                    if later[kind] is None:
                        assert np.isnan(ratio)
                    else:
                        product = np.linalg.norm(earlier @ later[kind])
                        expected = product / np.linalg.norm(earlier) / np.linalg.norm(later[kind])
                        assert ratio + found.null == pytest.approx(expected, abs=1e-6)


def test_composition_says_what_rotary_positions_do():
    assert composition(head_model("llama")).caveat == ROTARY
    assert composition(head_model("gpt2")).caveat == ""
    assert composition(head_model("gpt2")).not_applicable == {}


def test_random_heads_compose_by_chance():
    pairs = composition(head_model("gpt2")).values.values
    assert abs(np.nanmean(pairs)) < 0.03


def test_a_head_that_reads_what_another_wrote_composes(constructed):
    """The copying head's output lies in the 24 tokens; V composition with a copying head is 24 / 24 of it."""
    found = composition(constructed)
    assert found.values.sel(kind="V").values[0, 0, 1, 0] == pytest.approx(1 / np.sqrt(24) - 1 / np.sqrt(32))


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "bloom", "phi"])
@torch.no_grad()
def test_copying_against_a_loop_over_tokens(family):
    """One token at a time through the model's own norms, W_V, W_O and unembedding."""
    model = head_model(family, torch.float64)
    found = weight_scores(model)
    assert len(found.tokens) == model.d_vocab  # a small vocabulary is taken whole
    unembedding = model.model.get_output_embeddings().weight
    everything = torch.arange(model.d_vocab)
    embedded = embeddings_by_name(family, model, everything)
    block = model.structure.blocks[0]
    final = {"gpt2": "transformer.ln_f", "bloom": "transformer.ln_f", "phi": "model.final_layernorm"}
    final_norm = model.model.get_submodule(final.get(family, "model.norm"))
    after = embedded + mlp_by_name(family, block, embedded)
    for layer, head in ((0, 1), (2, 3)):
        x = embedded if layer == 0 else after
        norm = norm_by_name(family, model.structure.blocks[layer])
        value = projection(model.weight_places[layer].value).weight[head]
        write = norm(x) @ value @ model.output_weights(layer)[0][head]
        if family == "gemma2":
            write = model.structure.blocks[layer].post_attention_layernorm(write)
        for sign, name in ((1, "ov_copy"), (-1, "negative_ov_copy")):
            logits = final_norm(sign * write) @ unembedding.T
            own = logits[everything, everything]
            rank = (logits > own[:, None]).sum(-1)
            assert found.values[name][layer, head] == pytest.approx(float((rank < 5).double().mean()))
        circuit = embedded @ folded_weights(model, layer).value[head] @ folded_weights(model, layer).output[head]
        eigen = np.linalg.eigvals((circuit * model.anatomy.final_norm.gain @ unembedding.T.double()).numpy())
        expected = eigen.real.sum() / np.abs(eigen).sum()
        assert found.values["ov_copy_eig"][layer, head] == pytest.approx(expected, abs=1e-5)


def embeddings_by_name(family, model, ids):
    embedded = model.model.get_input_embeddings()(ids)
    if family == "bloom":
        embedded = model.model.transformer.word_embeddings_layernorm(embedded)
    return embedded


def norm_by_name(family, block):
    return block.ln_1 if family == "gpt2" else block.input_layernorm


def mlp_by_name(family, block, x):
    if family == "gpt2":
        return block.mlp(block.ln_2(x))
    if family == "gemma2":
        return block.post_feedforward_layernorm(block.mlp(block.pre_feedforward_layernorm(x)))
    if family == "bloom":
        return block.mlp(block.post_attention_layernorm(x), torch.zeros_like(x))
    if family == "phi":  # attention and MLP side by side, behind one norm
        return block.mlp(block.input_layernorm(x))
    return block.mlp(block.post_attention_layernorm(x))


@torch.no_grad()
def test_offsets_with_learned_positions_are_layer_norms_of_positions():
    model = head_model("gpt2", torch.float64)
    found = weight_scores(model, n_draws=1).values["qk_offset"]
    assert found.dims == ("layer", "head", "distance")
    gpt2 = model.model.transformer
    for layer, head in ((0, 0), (1, 2)):
        mean = gpt2.h[layer].ln_1(gpt2.wpe.weight + gpt2.wte.weight.mean(0))
        query, key = (projection(getattr(model.weight_places[layer], side)) for side in ("query", "key"))
        logits = (mean @ query.weight[head] + query.bias[head]) @ (mean @ key.weight[head] + key.bias[head]).T
        logits = logits / np.sqrt(8)
        rows = torch.stack([logits[i, i - torch.arange(32)] for i in range(32, 64)])
        expected = (rows - rows.mean(-1, keepdim=True)).mean(0)
        np.testing.assert_allclose(found[layer, head], expected.numpy(), atol=1e-6)


@torch.no_grad()
def test_offsets_with_rotary_positions_are_rotations_of_the_mean_query():
    model = head_model("llama", torch.float64)
    found = weight_scores(model, n_draws=1).values["qk_offset"]
    layer, head = 1, 2
    llama = model.model.model
    mean = llama.layers[layer].input_layernorm(llama.embed_tokens.weight).mean(0)
    query, key = (projection(getattr(model.weight_places[layer], side)).weight[head] for side in ("query", "key"))
    q, k = mean @ query, mean @ key
    frequency = 10000.0 ** (-torch.arange(0, 8, 2, dtype=torch.float64) / 8)
    logits = []
    for distance in range(32):
        angle = distance * frequency
        pairs = [(q[i] * k[i] + q[i + 4] * k[i + 4]) * angle[i].cos() for i in range(4)]
        pairs += [(q[i] * k[i + 4] - q[i + 4] * k[i]) * angle[i].sin() for i in range(4)]
        logits.append(float(sum(pairs)) / np.sqrt(8))
    np.testing.assert_allclose(found[layer, head], np.array(logits) - np.mean(logits), atol=1e-5)


def test_distances_beyond_a_window_are_missing():
    found = weight_scores(head_model("mistral"), n_draws=1)
    profile = found.values["qk_offset"].values
    assert np.isfinite(profile[:, :, :4]).all()
    assert np.isnan(profile[:, :, 4:]).all()
    assert "sliding window" in found.not_applicable["qk_offset"]


def test_scores_do_not_depend_on_the_rest_of_the_world():
    model = head_model("falcon")
    one, two = weight_scores(model, n_tokens=50, seed=4), weight_scores(model, n_tokens=50, seed=4)
    for name, values in one.values.items():
        np.testing.assert_array_equal(values.values, two.values[name].values)
    assert len(one.tokens) == 50
    assert "falcon" in IGNORING  # attention that is no function of ours has its weights found as well


def test_16_bit_weights_score_as_they_do_in_32():
    plain = plain_model(CONFIGS["llama"](), torch.bfloat16)
    widened = copy.deepcopy(plain).float()
    found = weight_scores(HeadModel(plain, TOKENIZER), n_draws=1)
    wide = weight_scores(HeadModel(widened, TOKENIZER), n_draws=1)
    assert found.not_applicable == {}
    for name in ("qk_norm", "ov_norm", "ov_effective_rank"):
        np.testing.assert_allclose(found.values[name].values, wide.values[name].values, rtol=1e-6)
    np.testing.assert_allclose(found.values["ov_copy"].values, wide.values["ov_copy"].values, atol=0.02)


def test_every_score_of_weights_is_in_the_catalogue_with_its_axes():
    found = weight_scores(head_model("gpt2"), n_draws=1).values
    arrays = found | {"composition": composition(head_model("gpt2")).values}
    assert {name: array.dims for name, array in arrays.items()} == {
        name: measure.axes for name, measure in WEIGHT_SCORES.items()
    }
