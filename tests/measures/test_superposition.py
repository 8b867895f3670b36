"""Interference, dimensions in use, and neurons: known answers, and twins that keep everything."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from head_atlas.errors import NotApplicableError, PromptError
from head_atlas.measures import superposition
from head_atlas.measures.neurons import FIRING, effective_families, neuron_statistics
from head_atlas.measures.superposition import (
    CENTRINGS,
    cosine_statistics,
    interference,
    participation,
    participation_ratio,
    random_statistics,
)
from head_atlas.models import HeadModel, Intervention
from head_atlas.models.readers import Trace
from head_atlas.prompts.prompt import Prompt
from tiny_models import CONFIGS, TOKENIZER, head_model, plain_model, random_prompts

PROMPTS = [
    dataclasses.replace(prompt, family=family)
    for prompt, family in zip(
        random_prompts([(9, (1,)), (12, (1,)), (9, (1,)), (30, (1,)), (2, (1,)), (12, (1,))]),
        ["one", "two", "one", "one", "two", "three"],
        strict=True,
    )
]
EXPERTS = ("qwen3_moe", "gpt_oss")


def test_cosines_of_known_directions():
    rows = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])  # cosines 0, sqrt 1/2, sqrt 1/2
    found = cosine_statistics(rows)
    assert found[0] == pytest.approx(2 * np.sqrt(0.5) / 3)
    assert found[1] == pytest.approx(1 / 3)
    assert found[2] == pytest.approx(np.sqrt(0.5))
    assert np.isnan(cosine_statistics(rows[:1])).all()


def test_blocks_of_the_gram_matrix_are_the_whole(monkeypatch):
    rows = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    unit = (rows / rows.norm(dim=1, keepdim=True)).numpy()
    cosines = np.array([abs(unit[i] @ unit[j]) for i in range(50) for j in range(i)])
    expected = [cosines.mean(), (cosines**2).mean(), *np.quantile(cosines, superposition.QUANTILES)]
    for block in (1024, 7):
        monkeypatch.setattr(superposition, "_BLOCK", block)
        np.testing.assert_allclose(cosine_statistics(rows), expected, rtol=1e-5)


@pytest.mark.parametrize("d", [2, 32, 768])
def test_random_directions_are_as_their_formula_says(d):
    rows = torch.randn(1500, d, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(cosine_statistics(rows)[:5], random_statistics(d)[:5], rtol=0.02)
    assert random_statistics(d)[1] == 1 / d


def test_the_mean_cosine_in_the_plane_is_two_over_pi():
    assert random_statistics(2)[0] == pytest.approx(2 / np.pi)


def test_a_common_direction_is_interference_until_it_is_centred():
    model = head_model("gpt2")
    found = interference(model)
    assert found.values.dims == ("space", "centring", "statistic")
    assert found.n_vectors == model.d_vocab
    rows = model.model.transformer.wte.weight.detach()
    expected = cosine_statistics(rows)
    np.testing.assert_allclose(found.values.sel(space="embedding", centring=CENTRINGS[0]).values, expected, rtol=1e-4)
    shifted = cosine_statistics(rows + 10)
    assert shifted[0] > 0.9
    np.testing.assert_allclose(
        cosine_statistics((rows + 10) - (rows + 10).mean(0)),
        found.values.sel(space="embedding", centring=CENTRINGS[1]).values,
        rtol=1e-3,
    )
    assert found.not_applicable == {}
    assert found.n_zero == {"embedding": 0, "unembedding": 0}


def test_participation_ratio_by_hand():
    assert participation_ratio(torch.diag(torch.tensor([2.0, 2.0, 0.0]))) == pytest.approx(2)
    assert participation_ratio(torch.diag(torch.tensor([1.0, 0.0]))) == pytest.approx(1)
    assert participation_ratio(torch.diag(torch.tensor([3.0, 1.0]))) == pytest.approx(16 / 10)


class Kept(Intervention):
    """Everything at once, on one prompt."""

    def __init__(self):
        self.neurons = {}

    def on_neurons(self, layer, activations):
        self.neurons[layer] = activations.detach().clone()


def everything(model, prompts):
    """z and units of every prompt, one by one: by layer [token, ...], position 0 left out."""
    z, neurons = [], []
    _ = model.anatomy
    for prompt in prompts:
        trace, kept = Trace(), Kept()
        with model.intervening(trace, kept):
            model.logits(model.rows([prompt.tokens]))
        z.append([trace.z[layer][0, 1:] for layer in range(model.n_layers)])
        shape = (1, len(prompt), -1)
        neurons.append([kept.neurons[layer].reshape(shape)[0, 1:] for layer in sorted(kept.neurons)])
    return z, neurons


def ratio(rows):
    values = np.linalg.eigvalsh(np.cov(rows, rowvar=False))
    return values.sum() ** 2 / (values**2).sum()


@pytest.mark.parametrize("family", ["gpt2", "llama", "opt", "bloom", "falcon"])
def test_participation_against_whole_covariances(family, monkeypatch):
    model = head_model(family)
    z, neurons = everything(model, PROMPTS)
    found = participation(model, PROMPTS)
    assert found.n_tokens == sum(len(p) - 1 for p in PROMPTS)
    for layer in range(3):
        weight = model.output_weights(layer)[0].detach().double().numpy()
        mixed = np.concatenate([row[layer].double().numpy() for row in z])
        for head in range(4):
            assert found.heads[layer, head] == pytest.approx(ratio(mixed[:, head] @ weight[head]), rel=1e-5)
        units = np.concatenate([row[layer].double().numpy() for row in neurons])
        assert found.mlps[layer] == pytest.approx(ratio(units), rel=1e-5)
    monkeypatch.setattr(superposition, "COVARIANCE_NUMBERS", 1)  # one layer at a time
    again = participation(model, PROMPTS)
    np.testing.assert_allclose(again.mlps.values, found.mlps.values)
    with pytest.raises(PromptError, match="two positions"):
        participation(model, PROMPTS[4:5])


def test_prompts_of_one_token_are_in_no_covariance():
    model = head_model("llama")
    alone = dataclasses.replace(PROMPTS[0], tokens=PROMPTS[0].tokens[:1], positions=(0,), corrupted=())
    found, expected = (participation(model, prompts) for prompts in ([alone, *PROMPTS], PROMPTS))
    assert found.n_tokens == expected.n_tokens
    np.testing.assert_allclose(found.heads.values, expected.heads.values)
    np.testing.assert_allclose(found.mlps.values, expected.mlps.values)


DOWN = {
    "gpt2": "mlp.c_proj", "gpt_neo": "mlp.c_proj", "starcoder2": "mlp.c_proj", "opt": "fc2", "phi": "mlp.fc2",
    "gpt_neox": "mlp.dense_4h_to_h", "falcon": "mlp.dense_4h_to_h", "falcon_grouped": "mlp.dense_4h_to_h",
    "bloom": "mlp.dense_4h_to_h", "mpt": "ffn.down_proj", "gptj": "mlp.fc_out",
}  # fmt: skip
"""The names that transformers gives; `mlp.down_proj` in all other families."""


@pytest.mark.parametrize("family", [family for family in CONFIGS if family not in EXPERTS])
def test_units_are_what_the_down_projection_reads(family):
    model = head_model(family)
    prompt = PROMPTS[1]
    _, (units,) = everything(model, [prompt])
    for layer in range(3):
        read = []
        down = model.structure.blocks[layer].get_submodule(DOWN.get(family, "mlp.down_proj"))
        handle = down.register_forward_pre_hook(lambda _, args, read=read: read.append(args[0]))
        model.logits(model.rows([prompt.tokens]))
        handle.remove()
        assert torch.equal(read[0].reshape(len(prompt), -1)[1:], units[layer])
        assert units[layer].shape[1] == model.anatomy.layers[layer].neurons


@pytest.mark.parametrize("family", EXPERTS)
def test_mixtures_of_experts_have_no_units_and_say_so(family):
    model = head_model(family)
    with pytest.raises(NotApplicableError, match="mixture of experts"):
        neuron_statistics(model, PROMPTS)
    found = participation(model, PROMPTS)
    assert np.isnan(found.mlps.values).all()
    assert set(found.not_applicable) == {0, 1, 2}
    assert np.isfinite(found.heads.values).all()


@pytest.mark.parametrize("family", ["gpt2", "opt", "gemma2"])
def test_neurons_against_everything_kept(family):
    model = head_model(family)
    _, units = everything(model, PROMPTS)
    found = neuron_statistics(model, PROMPTS)
    assert list(found.mean.coords["family"]) == ["one", "two", "three"]
    for layer, neuron in ((0, 3), (2, 40)):
        by_prompt = [row[layer][:, neuron].double().numpy() for row in units]
        of = {"one": [0, 2, 3], "two": [1, 4], "three": [5]}
        squares = [np.mean([(by_prompt[i] ** 2).mean() for i in members]) for members in of.values()]
        threshold = FIRING * np.sqrt(np.mean(squares))
        assert found.threshold[layer, neuron] == pytest.approx(threshold, rel=1e-5)
        firing = []
        for index, members in enumerate(of.values()):
            mean = np.mean([by_prompt[i].mean() for i in members])
            assert found.mean[layer, neuron, index] == pytest.approx(mean, rel=1e-4, abs=1e-6)
            firing.append(np.mean([(np.abs(by_prompt[i]) > threshold).mean() for i in members]))
        np.testing.assert_allclose(found.firing.values[layer, neuron], firing, atol=1e-6)
        strongest = sorted(range(len(PROMPTS)), key=lambda i: -np.abs(by_prompt[i]).max())[:5]
        assert found.top_prompts[layer, neuron].tolist() == strongest
        first = strongest[0]
        at = int(np.abs(by_prompt[first]).argmax())
        assert found.top_positions[layer, neuron, 0] == at + 1
        assert found.top_activations[layer, neuron, 0] == pytest.approx(by_prompt[first][at], rel=1e-5)


def test_effective_families_by_hand():
    firing = torch.tensor([[0.2, 0.0, 0.0], [0.1, 0.1, 0.0], [0.3, 0.3, 0.3], [0.0, 0.0, 0.0]], dtype=torch.float64)
    found = effective_families(firing)
    torch.testing.assert_close(found, torch.tensor([1, 2, 3, torch.nan], dtype=torch.float64), equal_nan=True)


def test_a_unit_that_fires_for_unrelated_families_is_told_from_one_that_does_not():
    """A GPT-2 of one-hot embeddings whose first units fire for token 5; for 5 or 9; for any; always; and never."""
    plain = plain_model(CONFIGS["gpt2"]())
    gpt2 = plain.transformer
    gpt2.wpe.weight.data.zero_()
    embedding, filler = torch.zeros_like(gpt2.wte.weight), 77
    tokens = {"code": 5, "poems": 9, "recipes": 31}
    for place, token in enumerate([*tokens.values(), filler]):
        embedding[token, place] = 1
    gpt2.wte.weight.data = embedding
    for block in gpt2.h:
        for weight in (
            block.attn.c_proj.weight,
            block.attn.c_proj.bias,
            block.mlp.c_proj.weight,
            block.mlp.c_proj.bias,
        ):
            weight.data.zero_()
        block.ln_2.weight.data.fill_(1)
        block.ln_2.bias.data.zero_()
        block.mlp.c_fc.weight.data.zero_()
        block.mlp.c_fc.bias.data.fill_(-2)
        for unit, places in enumerate([[0], [0, 1], [0, 1, 2]]):
            block.mlp.c_fc.weight.data[places, unit] = 1
        block.mlp.c_fc.bias.data[3] = 4
    model = HeadModel(plain, TOKENIZER)
    prompts = [
        Prompt("", (filler,) * 7 + (token,) + (filler,) * 12, (19,), (0,), family=family)
        for family, token in tokens.items()
    ]
    found = neuron_statistics(model, prompts)
    np.testing.assert_allclose(found.families.values[:, :3], [[1, 2, 3]] * 3, rtol=1e-6)
    assert np.isnan(found.families.values[:, 3:]).all(), "always on, or always off: it never fires"
    np.testing.assert_allclose(found.firing.values[0, 1], [1 / 19, 1 / 19, 0], rtol=1e-6)
    assert set(found.top_prompts.values[0, 1, :2]) == {0, 1}
    assert (found.top_positions.values[0, 1, :2] == 7).all()
    assert found.mean[0, 3, 0] == pytest.approx(4, abs=0.01)


def test_neurons_need_more_than_a_first_position():
    with pytest.raises(PromptError, match="position 0"):
        neuron_statistics(head_model("gpt2"), [])


def test_every_other_family_has_units():
    for family in CONFIGS:
        reasons = {parts.no_neurons for parts in head_model(family).anatomy.layers}
        assert (reasons != {""}) == (family in EXPERTS)
