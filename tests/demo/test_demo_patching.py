"""Patching finds in the demo model what is known to be there: the induction circuit, and where a fact's subject is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from head_atlas import direct_and_total, direct_logits, load_model, logit_lens, patch, path_patch, propose_corrupted
from head_atlas.live import attention, causal_trace
from head_atlas.prompts.families import build_families

ROOT = Path(__file__).parents[2]
FACT = "The capital of France is"


@pytest.fixture(scope="module")
def model():
    return load_model(ROOT / "atlas" / "demo" / "model")


@pytest.fixture(scope="module")
def repeats(model):
    """r gap r against r' gap r: the deciding tokens are those of the first copy."""
    return build_families(model.policy, n_prompts=6, only=["rand_repeat"]).prompts["rand_repeat"]


@pytest.fixture(scope="module")
def induction_heads(model, repeats):
    """Heads of layer 1 that look at the token after the earlier copy with more than half of their attention."""
    mass = np.zeros(model.n_heads)
    for prompt in repeats:
        pattern = attention(model, prompt).values[1]
        shift = prompt.annotations["second"][0] - prompt.annotations["first"][0]
        mass += np.mean([pattern[:, i, i - shift + 1] for i in prompt.positions], 0) / len(repeats)
    return [(1, int(head)) for head in np.flatnonzero(mass > 0.5)]


def test_the_induction_circuit_shows_by_k_composition(model, repeats, induction_heads):
    """Of all layer-0 heads into q, k and v of layer 1's induction heads, L0H4 into k matters most, by far.

    L0H4 is the previous-token head. Some other heads move the content of tokens into v; queries hear of none.
    """
    assert induction_heads
    through = {}
    for name in "qkv":
        receivers = [(head, name) for head in induction_heads]
        effects = [path_patch(model, prompt, receivers=receivers).effects.values[:, 0] for prompt in repeats]
        through[name] = np.mean(effects, 0)
    assert through["k"][4] < -5
    others = [*np.delete(through["k"], 4), *through["q"], *through["v"]]
    assert through["k"][4] < 2 * min(others)
    assert np.abs(through["q"]).max() < 0.1


def test_a_facts_subject_is_located(model):
    """Early the difference sits at the country, at the end at the last token, and nowhere else."""
    pair = propose_corrupted(model.policy, FACT)
    found = patch(model, FACT, pair.corrupted, "resid_pre")
    subject, last = pair.positions[-1], len(pair.tokens) - 1
    assert found.values[0, subject] == pytest.approx(1, abs=1e-3)
    assert found.values[0, last] == pytest.approx(0, abs=1e-3)
    assert found.values[-1, last] > 0.5
    noised = patch(model, FACT, pair.corrupted, "resid_pre", "noise")
    assert noised.values[0, subject] == pytest.approx(0, abs=1e-3)
    assert noised.values[-1, last] < 0.5


def test_noise_on_the_subject_is_undone_at_the_subject(model):
    found = causal_trace(model, FACT, "France", metric="logprob")
    (subject,) = found.subject
    assert found.values[0, subject] == pytest.approx(1, abs=1e-3)
    assert found.low[1, subject] > 0.3
    assert found.clean - found.corrupted.values.mean() > 1


def test_the_lens_and_the_direct_logits_end_in_the_models_answer(model):
    lens = logit_lens(model, FACT, " Paris")
    assert lens.ranks[-1, -1] == 1
    assert lens.ranks[0, -1] > 1
    assert lens.kl[0, -1] > lens.kl[-1, -1]
    parts = direct_logits(model, FACT, " Paris", " Rome")
    assert abs(parts.residual) < 1e-3
    effects = direct_and_total(model, FACT, " Paris", " Rome")
    assert effects.logit_difference == pytest.approx(parts.logit_difference, abs=1e-3)
