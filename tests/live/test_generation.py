"""Continuations with and without heads: with a cache as from scratch, aligned at the first divergence."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from head_atlas import generate
from head_atlas.errors import HeadAtlasError, HeadError, MissingReferenceError, PromptError
from head_atlas.interventions import CORRUPTED, ablating, mean_reference, resample_reference
from head_atlas.live import iter_generate
from head_atlas.models import HeadModel
from tiny_models import CONFIGS, TEXT, TOKENIZER, head_model, plain_model

PROMPT = "The cat sat on the mat."
HEADS = ("0.1", "1.2", "2.0")


def from_scratch(model, ids, heads, n, mode="zero", reference=None):
    """Greedy, by whole runs without a cache."""
    ids = list(ids)
    for _ in range(n):
        with ablating(model, heads, mode, reference):
            ids.append(int(model.logits(torch.tensor([ids]))[0, -1].argmax()))
    return ids[-n:]


@pytest.mark.parametrize("family", CONFIGS)
def test_the_cache_agrees_with_recomputing_in_every_family(family):
    model = head_model(family)
    found = generate(model, PROMPT, HEADS, n_tokens=12)
    assert list(found.clean.tokens) == from_scratch(model, found.tokens, (), 12)
    assert list(found.ablated.tokens) == from_scratch(model, found.tokens, HEADS, 12)
    assert np.abs(found.clean.ablated_log_probs.values - found.clean.clean_log_probs.values).max() > 1e-4


@pytest.mark.parametrize("mode", ["mean", "resample"])
def test_other_modes_hold_at_every_step(mode):
    model = head_model("llama")
    texts = [TEXT, TEXT + TEXT[:20]]
    reference = (
        mean_reference(model, texts, "two texts")
        if mode == "mean"
        else resample_reference(model, texts, "two texts", n_draws=2)
    )
    found = generate(model, PROMPT, HEADS, mode, reference, n_tokens=8)
    assert list(found.ablated.tokens) == from_scratch(model, found.tokens, HEADS, 8, mode, reference)
    assert found.ablated.tokens != generate(model, PROMPT, HEADS, n_tokens=8).ablated.tokens


def test_every_token_has_its_probability_under_both_models():
    model = head_model("llama")
    found = generate(model, PROMPT, HEADS, n_tokens=8)
    for text in (found.clean, found.ablated):
        for heads, log_probs, choices in (
            ((), text.clean_log_probs, text.clean_choices),
            (HEADS, text.ablated_log_probs, text.ablated_choices),
        ):
            for step, token in enumerate(text.tokens):
                with ablating(model, heads):
                    row = torch.tensor([[*found.tokens, *text.tokens[:step]]])
                    last = model.logits(row)[0, -1].log_softmax(-1)
                assert log_probs[step] == pytest.approx(float(last[token]), abs=1e-4)
                assert choices[step] == int(last.argmax())
    assert found.clean.clean_choices == found.clean.tokens
    assert found.ablated.ablated_choices == found.ablated.tokens


def test_divergence_is_the_first_difference_and_nothing_differs_without_heads():
    model = head_model("llama")
    found = generate(model, PROMPT, HEADS, n_tokens=12)
    assert found.divergence is not None
    assert found.clean.tokens[: found.divergence] == found.ablated.tokens[: found.divergence]
    assert found.clean.tokens[found.divergence] != found.ablated.tokens[found.divergence]
    for temperature in (0.0, 1.0):
        same = generate(model, PROMPT, n_tokens=12, temperature=temperature, seed=3)
        assert same.divergence is None
        assert same.clean.tokens == same.ablated.tokens


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_sampling_takes_the_token_at_which_the_cumulated_probability_passes_the_draw(temperature):
    model = head_model("gpt2")
    for heads in ((), HEADS):
        with ablating(model, heads):
            logits = model.logits(model.tokens(PROMPT)[None])[0, -1].double()
        probabilities = (logits / temperature).softmax(-1).tolist()
        for seed in range(5):
            draw, passed, token = np.random.default_rng(seed).random(1)[0], 0.0, -1
            while passed <= draw:
                token += 1
                passed += probabilities[token]
            found = generate(model, PROMPT, heads, n_tokens=1, temperature=temperature, seed=seed)
            assert found.ablated.tokens == (token,)


def test_the_seed_decides_and_cold_sampling_is_greedy():
    model = head_model("gpt2")
    one, two, other = (generate(model, PROMPT, HEADS, n_tokens=6, temperature=1.0, seed=seed) for seed in (1, 1, 2))
    assert one.ablated.tokens == two.ablated.tokens != other.ablated.tokens
    cold = generate(model, PROMPT, HEADS, n_tokens=6, temperature=1e-6, seed=1)
    assert cold.ablated.tokens == generate(model, PROMPT, HEADS, n_tokens=6).ablated.tokens


def test_writing_ends_with_the_end_of_sequence():
    plain = generate(head_model("llama"), PROMPT, n_tokens=6)
    tokenizer = copy.deepcopy(TOKENIZER)
    end = plain.clean.tokens[2]
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(end)
    model = HeadModel(plain_model(CONFIGS["llama"]()), tokenizer)
    first = plain.clean.tokens.index(end)
    assert generate(model, PROMPT, n_tokens=6).clean.tokens == plain.clean.tokens[: first + 1]


def test_the_text_is_that_of_the_tokens():
    found = generate(head_model("llama"), PROMPT, n_tokens=6)
    whole = TOKENIZER.decode([*found.tokens, *found.clean.tokens], clean_up_tokenization_spaces=False)
    assert whole.endswith(found.clean.text)
    assert len(found.clean.strings) == 6


def test_steps_stream_and_leave_no_intervention_behind():
    model = head_model("llama")
    plain = model.logits(model.tokens(PROMPT)[None])
    steps = iter_generate(model, PROMPT, HEADS, n_tokens=5)
    first = next(steps)
    assert (first.done, first.total, len(first.clean), first.result) == (1, 5, 1, None)
    assert torch.equal(model.logits(model.tokens(PROMPT)[None]), plain)
    rest = list(steps)
    assert rest[-1].result is not None
    assert rest[-1].result.clean.tokens[:1] == first.clean

    class Stop(Exception):
        pass

    def stop(*_):
        raise Stop

    with pytest.raises(Stop):
        generate(model, PROMPT, HEADS, progress=stop)
    assert torch.equal(model.logits(model.tokens(PROMPT)[None]), plain)


def test_refusals():
    model = head_model("llama")
    with pytest.raises(PromptError, match="this model reads 64"):
        generate(model, PROMPT, n_tokens=60)
    with pytest.raises(HeadAtlasError, match="n_tokens must be at least 1"):
        generate(model, PROMPT, n_tokens=0)
    with pytest.raises(HeadAtlasError, match="temperature must be 0 or above"):
        generate(model, PROMPT, temperature=float("nan"))
    with pytest.raises(HeadAtlasError, match="ends where writing begins"):
        generate(model, PROMPT, HEADS, "pattern_freeze", CORRUPTED)
    with pytest.raises(MissingReferenceError):
        generate(model, PROMPT, HEADS, "mean")
    with pytest.raises(HeadError):
        generate(model, PROMPT, "9.9")
    short = resample_reference(model, [TEXT], "one text", n_draws=1, n_pos=12)
    with pytest.raises(PromptError):
        generate(model, PROMPT, HEADS, "resample", short, n_tokens=20)
