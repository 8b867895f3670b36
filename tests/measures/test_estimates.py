"""First-order estimates: where they are exact, where they cannot be, and how agreement is counted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from head_atlas.errors import HeadAtlasError, PromptError
from head_atlas.interventions import (
    CORRUPTED,
    Budget,
    MeanReference,
    ResampleReference,
    first_order,
    mean_reference,
    resample_reference,
)
from head_atlas.measures.effects import sweep
from head_atlas.measures.estimates import agreement, estimate
from head_atlas.models.readers import Trace
from tiny_models import CONFIGS, FLOAT32_SCORES, WITHOUT_FLOAT64, head_model, random_prompts

PROMPTS = random_prompts([(9, (8,)), (9, (1,)), (5, (0, 4))], corrupted=True)
OTHERS = random_prompts([(12, (0,)), (14, (0,)), (11, (0,))])


def moved(model, prompt, share):
    """A reference that takes every head a small way towards zero, and so the prompt it is made for."""
    trace = Trace()
    with model.intervening(trace):
        model.logits(torch.tensor([prompt.tokens]))
    z = torch.stack([trace.z[layer][0] for layer in range(model.n_layers)], 1)
    return ResampleReference((1 - share) * z[None].double().numpy(), "a step", 0)


@pytest.mark.parametrize("family", CONFIGS)
def test_the_estimate_is_the_derivative_of_the_exact_effect(family):
    """Half the difference between a small step towards zero and one away from it, in every family."""
    exact_type = family not in (*WITHOUT_FLOAT64, *FLOAT32_SCORES)
    model = head_model(family, torch.float64 if exact_type else torch.float32)
    step, allowed = (3e-3, 1e-6) if exact_type else (1e-2, 2e-5)
    found = estimate(model, PROMPTS[0], mode="resample", reference=moved(model, PROMPTS[0], step)).values[0]
    effects = [
        sweep(model, PROMPTS[0], "resample", reference=moved(model, PROMPTS[0], share), metrics=["logit_difference"])
        for share in (step, -step)
    ]
    towards, away = (effect["logit_difference"].values[0] for effect in effects)
    assert np.abs(towards).max() > 20 * allowed
    np.testing.assert_allclose(found, (towards - away) / 2, atol=allowed, rtol=1e-2)


@pytest.mark.parametrize("mode", ["mean", "resample", "corrupted", "pattern_freeze"])
def test_the_estimate_is_linear_in_what_stands_for_a_head(mode):
    """z' halfway between z and a reference gives half the estimate; here, twice the estimate of means of both."""
    model = head_model("llama", torch.float64)
    if mode == "mean":
        reference = mean_reference(model, PROMPTS, "random tokens")
        zero = estimate(model, PROMPTS).values
        double = MeanReference(2 * reference.z, "twice", 1)
        one = estimate(model, PROMPTS, mode="mean", reference=reference).values
        two = estimate(model, PROMPTS, mode="mean", reference=double).values
        np.testing.assert_allclose(two - zero, 2 * (one - zero), atol=1e-10)
    elif mode == "resample":
        drawn = resample_reference(model, OTHERS, "random tokens", n_draws=3, n_pos=10)
        singles = [
            estimate(model, PROMPTS, mode="resample", reference=type(drawn)(z[None], "one", 0)).values for z in drawn.z
        ]
        whole = estimate(model, PROMPTS, mode="resample", reference=drawn).values
        np.testing.assert_allclose(whole, np.mean(singles, 0), atol=1e-10)
    else:
        kind = "resample" if mode == "corrupted" else mode
        found = estimate(model, PROMPTS, mode=kind, reference=CORRUPTED if mode == "corrupted" else None).values
        exact = sweep(model, PROMPTS, kind, reference=CORRUPTED)["logit_difference"].values
        assert found.shape == exact.shape
        assert agreement(found.mean(0), exact.mean(0)).spearman > 0.5


def test_the_budget_changes_nothing():
    model = head_model("qwen2", torch.float64)
    np.testing.assert_allclose(
        estimate(model, PROMPTS, budget=Budget(1, 1)).values, estimate(model, PROMPTS).values, atol=1e-12
    )


def test_any_objective():
    model = head_model("gpt2", torch.float64)
    found = first_order(model, PROMPTS, lambda prompt, logits: logits[-1, prompt.targets[-1]])
    assert found.shape == (3, 3, 4)
    assert np.isfinite(found).all()


def test_a_run_that_is_over_leaves_no_gradient_behind():
    model = head_model("gpt2")
    estimate(model, PROMPTS)
    assert not any(p.requires_grad or p.grad is not None for p in model.model.parameters())
    assert not model.logits(torch.tensor([PROMPTS[0].tokens])).requires_grad


def test_agreement_by_hand():
    exact = np.array([[4.0, -3.0], [2.0, 1.0]])
    assert agreement(exact, exact, k=2).spearman == pytest.approx(1)
    assert agreement(-exact, exact, k=2).spearman == pytest.approx(-1)
    assert agreement(-exact, exact, k=2).overlap == 1  # the largest magnitudes
    # ranks 1 2 3 4 and 1 3 2 4: 1 - 6 (1 + 1) / (4 * 15)
    found = agreement(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 3.0, 2.0, 4.0]), k=2)
    assert (found.spearman, found.overlap, found.n_heads) == (pytest.approx(0.8), 0.5, 4)
    # ties share a rank: 1.5 1.5 3 against 1 2 3
    assert agreement(np.array([1.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])).spearman == pytest.approx(0.75**0.5)
    assert agreement(np.array([1.0, np.nan, 2.0]), np.array([1.0, 5.0, 2.0])).n_heads == 2
    assert np.isnan(agreement(np.array([1.0, 1.0]), np.array([1.0, 2.0])).spearman)


def test_refusals():
    model = head_model("gpt2")
    with pytest.raises(HeadAtlasError, match="estimates of logit_difference and logprob, not of 'kl'"):
        estimate(model, PROMPTS, "kl")
    with pytest.raises(PromptError, match="needs a contrast in every prompt"):
        estimate(model, "The cat")
    with pytest.raises(HeadAtlasError, match="one shape"):
        agreement(np.zeros(3), np.zeros(4))
    with pytest.raises(HeadAtlasError, match="no head has both"):
        agreement(np.array([np.nan]), np.array([1.0]))
