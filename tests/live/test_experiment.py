"""Live experiments on one prompt."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import head_atlas
from head_atlas import HeadId, ablate, attention, sweep
from head_atlas.errors import HeadError, MissingReferenceError, PromptError
from head_atlas.interventions import ablating, mean_reference, resample_reference
from head_atlas.measures.effects import METRICS
from head_atlas.prompts.prompt import Prompt
from tiny_models import TOKENIZER, head_model, random_prompts

TEXT = "The cat sat on the mat. Harry"


@pytest.fixture(scope="module")
def model():
    return head_model("llama")


def test_resample_runs_every_draw_and_gives_their_mean_and_spread(model):
    texts = ["The capital of France is Paris. Everyone", "apple river stone cloud tiger lamp paper", TEXT * 2]
    reference = resample_reference(model, texts, "texts", n_draws=3)
    found = ablate(model, TEXT, ["0.1", "2.3"], "resample", 20, 30, reference)
    tokens = model.tokens(TEXT)[None]
    clean = model.logits(tokens)[0, -1].double()
    probabilities, effects = [], []
    for draw in range(3):
        with ablating(model, ["0.1", "2.3"], "resample", reference, draw=draw):
            logits = model.logits(tokens)[0, -1].double()
        probabilities.append(logits.softmax(-1))
        effects.append(float((logits - clean)[20] - (logits - clean)[30]))
    assert found.n_draws == 3
    np.testing.assert_allclose(found.effects_by_draw["logit_difference"], effects, atol=1e-5)
    assert found.effects["logit_difference"] == pytest.approx(np.mean(effects), abs=1e-5)
    np.testing.assert_allclose(np.exp(found.ablated_log_probs), torch.stack(probabilities).mean(0), atol=1e-6)
    low, high = found.interval("logit_difference")
    assert min(effects) - 1e-5 <= low < found.effects["logit_difference"] < high <= max(effects) + 1e-5
    alone = ablate(model, TEXT, ["0.1", "2.3"])
    assert alone.n_draws == 1
    assert np.isnan(alone.interval("logprob")).all()


def test_both_distributions_are_those_of_whole_runs(model):
    found = ablate(model, TEXT, ["0.1", "L2H3"])
    tokens = model.tokens(TEXT)[None]
    clean = model.logits(tokens)[0, -1].log_softmax(-1)
    with ablating(model, ["0.1", "2.3"]):
        ablated = model.logits(tokens)[0, -1].log_softmax(-1)
    np.testing.assert_allclose(found.clean_log_probs, clean, atol=1e-5)
    np.testing.assert_allclose(found.ablated_log_probs, ablated, atol=1e-5)
    assert found.heads == (HeadId(0, 1), HeadId(2, 3))
    assert "".join(found.strings) == "<|bos|>" + TEXT
    assert found.target == int(clean.argmax())
    assert found.contrast is None
    assert found.effects["logprob"] == pytest.approx(float((ablated - clean)[found.target]), abs=1e-5)
    assert found.effects["kl"] == pytest.approx(float((clean.exp() * (clean - ablated)).sum()), abs=1e-5)
    assert math.isnan(found.effects["logit_difference"])


def test_one_head_live_is_that_head_in_a_sweep(model):
    reference = mean_reference(model, [TEXT], "one text")
    for mode in ("zero", "mean"):
        whole = sweep(model, TEXT, mode, reference=reference, target=" Potter", contrast=" went")
        found = ablate(model, TEXT, "1.2", mode, " Potter", " went", reference)
        for name in METRICS:
            assert found.effects[name] == pytest.approx(float(whole[name][0, 1, 2]), abs=1e-5)
        for name, value in found.clean.items():
            assert value == pytest.approx(float(whole.clean[name][0]), abs=1e-5)


def test_removing_no_head_changes_nothing(model):
    found = ablate(model, TEXT, [], target=" Potter", contrast=" went")
    assert found.effects == dict.fromkeys(METRICS, 0.0)
    assert np.array_equal(found.clean_log_probs, found.ablated_log_probs)


def test_the_top_tokens_are_those_of_both_runs(model):
    found = ablate(model, TEXT, ["0.0", "0.1", "0.2", "0.3"])
    top = found.top(3)
    clean = set(np.argsort(-found.clean_log_probs)[:3].tolist())
    ablated = set(np.argsort(-found.ablated_log_probs)[:3].tolist())
    assert {row.token for row in top} == clean | ablated
    for row in top:
        assert row.text == TOKENIZER.decode([row.token])
        assert row.change == pytest.approx(math.exp(found.ablated_log_probs[row.token]) - row.clean)
    best = [max(row.clean, row.ablated) for row in top]
    assert best == sorted(best, reverse=True)


def test_patterns_of_both_runs(model):
    found = ablate(model, TEXT, ["0.1"])
    every = attention(model, TEXT)
    n = len(found.tokens)
    assert (every.dims, every.shape) == (("layer", "head", "query", "key"), (3, 4, n, n))
    np.testing.assert_allclose(every.values.sum(-1), 1, atol=1e-5)
    for name in ("0.1", "1.2", "2.0"):
        head = HeadId.parse(name)
        clean = found.pattern(name)
        assert clean.dims == ("query", "key")
        assert np.array_equal(clean.values, every.values[head.layer, head.head])
    with ablating(model, ["0.1"]):
        under = attention(model, TEXT)
    assert np.array_equal(found.pattern("1.2", "ablated").values, under.values[1, 2])
    assert np.array_equal(found.pattern("0.1", "ablated").values, every.values[0, 1])
    assert not np.allclose(found.pattern("1.2", "ablated").values, found.pattern("1.2").values, atol=1e-4)


def test_a_prompt_with_targets_of_its_own(model):
    prompt = random_prompts([(8, (3, 7))])[0]
    found = ablate(model, prompt, "1.1")
    assert (found.target, found.contrast) == (prompt.targets[-1], prompt.contrasts[-1])
    assert attention(model, prompt).shape == (3, 4, 8, 8)
    with pytest.raises(PromptError, match="the last position of the prompt has no target"):
        ablate(model, random_prompts([(8, (3,))])[0], "1.1")


def test_bfloat16_models_give_numpy_arrays():
    small = head_model("llama", torch.bfloat16)
    found = ablate(small, TEXT, "1.1")
    assert found.clean_log_probs.dtype == np.float32
    assert attention(small, TEXT).values.dtype == np.float32


def test_refusals(model):
    with pytest.raises(PromptError, match="the prompt is empty"):
        ablate(model, "", "0.0")
    with pytest.raises(PromptError, match="at most 64 are possible"):
        ablate(model, "cat " * 70, "0.0")
    with pytest.raises(PromptError, match="64"):
        ablate(model, Prompt("", (0,) * 65, (64,), (1,)), "0.0")
    with pytest.raises(HeadError, match=r"there is no head 7\.0: this model has layers 0 to 2"):
        ablate(model, TEXT, ["0.0", "7.0"])
    with pytest.raises(HeadError, match=r"expected a head such as 2\.5"):
        ablate(model, TEXT, "<script>")
    with pytest.raises(HeadError, match="there is no head"):
        ablate(model, TEXT, "0.0").pattern("9.9")
    with pytest.raises(PromptError, match="must be exactly one token; here it is 3"):
        ablate(model, TEXT, "0.0", target="Harry Potter")
    with pytest.raises(MissingReferenceError, match="mean ablation needs reference means"):
        ablate(model, TEXT, "0.0", "mean")
    with pytest.raises(PromptError, match="empty"):
        attention(model, "")


def test_the_package_names_are_lazy():
    assert set(dir(head_atlas)) >= {"load_model", "ablate", "sweep", "attention", "attribute", "open_atlas"}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = head_atlas.nothing
