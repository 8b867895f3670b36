"""Scores measured on real (tiny, random) architectures, against transformers' own patterns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
)

from head_atlas.errors import HeadAtlasError, PromptError
from head_atlas.measures import scores
from head_atlas.measures.patterns import pattern_scores, visible_windows
from head_atlas.measures.targets import TARGETS, visible
from head_atlas.models import HeadModel
from head_atlas.prompts.prompt import Prompt

V = 50
SHARED = {
    "vocab_size": V,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.4,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
BUILDERS = {
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=V, n_embd=32, n_layer=2, n_head=4, initializer_range=0.4)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SHARED, num_hidden_layers=2)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SHARED, num_hidden_layers=2, sliding_window=5)),
    "gemma3": lambda: Gemma3ForCausalLM(
        Gemma3TextConfig(
            **SHARED,
            num_hidden_layers=3,
            head_dim=8,
            sliding_window=6,
            layer_types=["sliding_attention", "sliding_attention", "full_attention"],
        )
    ),
}
WINDOWS = {"gpt2": [None, None], "llama": [None, None], "mistral": [5, 5], "gemma3": [6, 6, None]}


def build(name):
    torch.manual_seed(0)
    vocabulary = {"<s>": 0} | {f"t{i}": i for i in range(1, V)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="t1")), bos_token="<s>"
    )
    return HeadModel(BUILDERS[name](), tokenizer)


@pytest.fixture(scope="module", params=BUILDERS)
def named(request):
    return request.param, build(request.param)


def prompt(tokens):
    return Prompt(text="", tokens=tuple(tokens), positions=(len(tokens) - 1,), targets=(1,))


def prompts():
    rng = np.random.default_rng(0)
    made = []
    for n in (12, 20, 12):
        block = rng.permutation(np.arange(1, V))[: n // 2].tolist()
        made.append(prompt([0, *block, *block]))
    return made


def test_windows_are_those_of_the_configuration(named):
    name, model = named
    assert visible_windows(model, 20) == WINDOWS[name]
    assert visible_windows(model, 4) == [None] * model.n_layers


def test_scores_are_those_of_transformers_own_patterns(named):
    name, model = named
    asked = prompts()
    names = [*TARGETS, "diffuse", "diffuse_sink_free", "offsets"]
    found = pattern_scores(model, asked, names, windows=WINDOWS[name])
    plain = BUILDERS[name]().eval()
    plain.load_state_dict(model.model.state_dict())
    plain.set_attn_implementation("eager")
    for p, one in enumerate(asked):
        tokens = torch.tensor([one.tokens])
        with torch.no_grad():
            attentions = plain(input_ids=tokens, output_attentions=True).attentions
        for layer, pattern in enumerate(attentions):
            seen = visible(len(one), WINDOWS[name][layer])
            assert pattern[0].sum(-1).numpy() == pytest.approx(1.0, abs=1e-5)
            expected = {score: scores.mass(pattern, TARGETS[score](tokens)) for score in TARGETS}
            expected["diffuse"] = scores.diffuse(pattern, seen)
            expected["diffuse_sink_free"] = scores.diffuse(pattern, seen, sink_free=True)
            for score, value in expected.items():
                np.testing.assert_allclose(found.values[score][layer, :, p], value[0], rtol=1e-4, atol=1e-6)
            for score in TARGETS:
                base = scores.uniform_mass(TARGETS[score](tokens), seen)
                np.testing.assert_allclose(found.baselines[score][layer, p], base[0], rtol=1e-6)
            profile = scores.offsets(pattern)[0]
            np.testing.assert_allclose(found.offsets[layer, :, :, p], profile, rtol=1e-4, atol=1e-6)


def test_only_what_is_asked_for_is_measured():
    model = build("llama")
    found = pattern_scores(model, [prompt([0, *range(1, 12)])], ["sink"])
    assert set(found.values) == set(found.baselines) == {"sink"}
    assert found.offsets is None
    assert found.values["sink"].shape == (2, 4, 1)


def test_progress_counts_prompts():
    seen = []
    pattern_scores(build("llama"), prompts(), ["sink"], progress=lambda done, total: seen.append((done, total)))
    assert seen == [(2, 3), (3, 3)]


def test_refusals():
    model = build("llama")
    with pytest.raises(HeadAtlasError, match="unknown score 'nosuch'"):
        pattern_scores(model, prompts(), ["nosuch"])
    with pytest.raises(PromptError, match="no position of the prompt has a target"):
        pattern_scores(model, [prompt([0, *range(1, 12)])], ["induction"])
