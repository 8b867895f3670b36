"""Patching between two prompts: what it returns, when it is undefined, what it refuses."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from head_atlas.errors import HeadAtlasError, NotApplicableError, PromptError, UnsupportedModelError
from head_atlas.interventions.packing import Budget
from head_atlas.interventions.patching import Patches, Site
from head_atlas.interventions.recording import record
from head_atlas.live import iter_patch, patch, path_patch
from head_atlas.live.prompt_pair import NOISE_FLOOR, prompt_pair, run_pair, undefined
from tiny_models import CONFIGS, TOKENIZER, HeadModel, head_model, plain_model, random_prompts

CLEAN, CORRUPTED = (0, 5, 9, 200, 7, 5, 9, 31), (0, 5, 9, 40, 7, 5, 9, 31)


@pytest.fixture(scope="module")
def model():
    return head_model("llama")


@pytest.fixture(scope="module")
def prompt():
    one = random_prompts([(8, (7,))])[0]
    return type(one)("", CLEAN, (7,), one.targets, one.contrasts, corrupted=CORRUPTED)


def difference(prompt, logits):
    return float(logits[prompt.targets[0]] - logits[prompt.contrasts[0]])


@pytest.mark.parametrize("direction", ["denoise", "noise"])
@pytest.mark.parametrize("what", ["z", "resid_pre", "attn_out", "mlp_out", "q", "k", "v"])
def test_values_are_those_of_single_patched_runs(model, prompt, what, direction):
    found = patch(model, prompt, what=what, direction=direction)
    of_heads = what in ("z", "q", "k", "v")
    each = what not in ("q", "k", "v")
    assert found.values.dims == ("layer",) + ("head",) * of_heads + ("position",) * each
    assert found.values.shape == (3,) + (4,) * of_heads + (8,) * each
    tokens = model.rows([CLEAN, CORRUPTED])
    whole = record(model, tokens, torch.tensor([[7], [7]]), mlps=what == "mlp_out", attention_inputs=what in "qkv")
    m_clean, m_corrupted = (difference(prompt, row[0]) for row in whole.logits)
    assert (found.clean, found.corrupted) == pytest.approx((m_clean, m_corrupted), abs=1e-5)
    base, source = (CORRUPTED, whole.row(0)) if direction == "denoise" else (CLEAN, whole.row(1))
    unpatched = m_corrupted if direction == "denoise" else m_clean
    every_head, every_position = range(4) if of_heads else [None], range(8) if each else [None]
    for layer, head, position in itertools.product(range(3), every_head, every_position):
        heads, places = None if head is None else (head,), None if position is None else (position,)
        with model.intervening(Patches(model, source, [Site(what, (layer,), heads, places)])):
            value = difference(prompt, model.logits(model.rows([base]))[0, 7])
        index = tuple(i for i in (layer, head, position) if i is not None)
        assert found.metric_values[index] == pytest.approx(value, abs=1e-4)
        assert found.effects[index] == pytest.approx(value - unpatched, abs=1e-4)
        assert found.values[index] == pytest.approx((value - m_corrupted) / (m_clean - m_corrupted), abs=1e-3)
    if each:  # nothing can change before position 3
        assert np.all(found.effects.values[..., :3] == 0)


def test_the_whole_difference_enters_at_the_token_that_differs(model, prompt):
    assert patch(model, prompt, what="resid_pre").values[0, 3] == pytest.approx(1, abs=1e-4)
    assert patch(model, prompt, what="resid_pre", direction="noise").values[0, 3] == pytest.approx(0, abs=1e-4)


def test_parts_grow_and_can_be_stopped(model, prompt):
    parts = iter_patch(model, prompt, budget=Budget(tokens=8 * 10, logits=10**6))
    first = next(parts)
    second = next(parts)
    assert (first.done, second.done, first.total) == (10, 20, 3 * 4 * 5)
    assert np.isnan(first.values.values[..., 3:]).sum() == 50
    assert np.isnan(second.values.values[..., 3:]).sum() == 40
    parts.close()
    told = []
    whole = patch(model, prompt, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (60, 60)
    assert not np.isnan(whole.values.values).any()


def test_texts_get_the_top_tokens_of_both_runs(model):
    clean, corrupted = "The cat sat on the mat.", "The cat sat on the mat,"
    pair = prompt_pair(model, clean, corrupted)
    tops = [int(model.logits(model.tokens(text)[None])[0, -1].argmax()) for text in (clean, corrupted)]
    assert pair.prompt.targets == (tops[0],)
    if tops[0] != tops[1]:
        assert (pair.prompt.contrasts, pair.metric) == ((tops[1],), "logit_difference")
    else:
        assert (pair.prompt.contrasts, pair.metric) == ((), "logprob")
    assert prompt_pair(model, clean, corrupted, "logprob").metric == "logprob"
    assert pair.first_difference == len(pair.prompt) - 1


def test_inside_the_noise_there_is_no_value_and_a_reason(model, prompt):
    """Both prompts give nearly the same where the target is its own contrast but for one logit."""
    runs = run_pair(model, prompt_pair(model, prompt))
    logits = [run.logits[0, 0] for run in (runs.clean, runs.corrupted)]
    change = (logits[0] - logits[0][prompt.targets[0]]) - (logits[1] - logits[1][prompt.targets[0]])
    change[prompt.targets[0]] = np.inf
    contrast = int(change.abs().argmin())
    assert change[contrast].abs() < NOISE_FLOOR
    one = type(prompt)("", CLEAN, (7,), prompt.targets, (contrast,), corrupted=CORRUPTED)
    found = patch(model, one)
    assert np.isnan(found.values.values).all()
    assert "inside the noise (threshold 0.1)" in found.undefined
    assert not np.isnan(found.metric_values.values).any()
    path = path_patch(model, one, senders=["0.1"])
    assert np.isnan(path.values.values).all()
    assert not np.isnan(path.effects.values).any()


def test_sixteen_bits_are_noisier(prompt):
    model = head_model("llama", torch.bfloat16)
    logits = torch.tensor([0.0, 10.0] * 50)  # a standard deviation of 5
    assert undefined(model, logits, 1.0, 0.5) != ""
    assert undefined(head_model("llama"), logits, 1.0, 0.5) == ""
    assert undefined(head_model("llama"), logits, 1.0, 0.5, spread=0.3) != ""
    assert patch(model, prompt).values.shape == (3, 4, 8)


def test_what_is_refused(model, prompt):
    for arguments, words in (
        ({"what": "nonsense"}, "what must be one of"),
        ({"direction": "up"}, "direction must be one of denoise, noise"),
        ({"metric": "kl"}, "metric must be one of logit_difference, logprob"),
        ({"positions": "some"}, "positions must be each or together"),
    ):
        with pytest.raises(HeadAtlasError, match=words):
            patch(model, prompt, **arguments)
    with pytest.raises(PromptError, match="no corrupted prompt"):
        patch(model, "The cat sat")
    with pytest.raises(PromptError, match="equal length"):
        patch(model, "The cat sat on the mat.", "The cat")
    with pytest.raises(PromptError, match="are the same"):
        patch(model, "The cat", "The cat")
    with pytest.raises(UnsupportedModelError, match="GPTJ"):
        patch(head_model("gptj"), prompt, what="k")
    with pytest.raises(HeadAtlasError, match="pairs such as"):
        path_patch(model, prompt, receivers="everything")
    with pytest.raises(HeadAtlasError, match="no head lies below"):
        path_patch(model, prompt, receivers=[("0.1", "k")])


def test_an_architecture_whose_mlp_cannot_be_told_apart_is_refused_by_name(prompt):
    class Doubling(torch.nn.Module):
        """A layer that writes twice what its parts do."""

        def __init__(self, block):
            super().__init__()
            self.block = block

        def forward(self, hidden, *args, **kwargs):
            return hidden * 1.5 + self.block.mlp(hidden).tanh() + self.block.self_attn(hidden, *args, **kwargs)[0]

    plain = plain_model(CONFIGS["llama"]())
    plain.model.layers[1] = Doubling(plain.model.layers[1])
    model = HeadModel(plain, TOKENIZER)
    with pytest.raises(NotApplicableError, match="LlamaForCausalLM, layer 1"):
        patch(model, prompt, what="mlp_out")
    assert patch(model, prompt, what="attn_out").values.shape == (3, 8)


def test_path_effects_have_names(model, prompt):
    apart = path_patch(
        model, prompt, senders=["0.1", "0.2"], receivers=[("1.0", "k"), ("2.3", "v")], join_receivers=False
    )
    assert apart.effects.dims == ("sender", "receiver")
    assert apart.effects.coords == {"sender": ["L0H1", "L0H2"], "receiver": ["L1H0.k", "L2H3.v"]}
    receivers = [("1.0", "k"), ("2.3", "v")]
    joined = path_patch(model, prompt, senders=["0.1", "0.2"], receivers=receivers, join_senders=True)
    assert joined.effects.coords == {"sender": ["L0H1 + L0H2"], "receiver": ["L1H0.k + L2H3.v"]}
    assert joined.effects.shape == (1, 1)
    every = path_patch(model, prompt, receivers=[("2.3", "v")])
    assert every.effects.shape == (8, 1)
    assert path_patch(model, prompt).effects.shape == (12, 1)


@pytest.mark.parametrize("direction", ["noise", "denoise"])
def test_the_last_layers_heads_write_to_the_logits_only(model, prompt, direction):
    """With norms and an MLP behind it, a last-layer head's path to the logits is its patch: nothing else is above."""
    path = path_patch(model, prompt, direction=direction)
    whole = patch(model, prompt, what="z", direction=direction, positions="together")
    np.testing.assert_allclose(path.effects[8:, 0], whole.effects[2], atol=1e-4)
    np.testing.assert_allclose(path.values[8:, 0], whole.values[2], atol=1e-3)
