"""Untrained models do nothing in particular: of forty of them, at most two may hold any role.

What is asked is only how their heads attend. Writing and mattering count as shown, so the test is harder to pass than
a build, where further criteria have to be met.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers

from head_atlas.catalogue.roles import ROLES, Criterion
from head_atlas.measures.bootstrap import bootstrap_excess, bootstrap_mean, resample_counts
from head_atlas.measures.evidence import Measured
from head_atlas.measures.nulls import null_scores
from head_atlas.measures.patterns import pattern_scores
from head_atlas.measures.roles import assign_roles
from head_atlas.models import HeadModel
from head_atlas.prompts.families import build_families
from head_atlas.prompts.tokens import TokenPolicy
from tiny_models import CONFIGS, TOKENIZER

N_MODELS = 40
N_PROMPTS = 24
KINDS = ("gpt2", "llama", "gpt_neox", "phi")
SCORES = {
    "previous_token": "rand_flat",
    "induction": "rand_repeat",
    "duplicate_token": "rand_repeat",
    "positional": "natural",
}
ATTENTION_ALONE = {
    name: replace(ROLES[name], criteria=tuple(c for c in ROLES[name].criteria if c.grade == "attends"))
    for name in SCORES
}
PROMPTS = build_families(
    TokenPolicy(TOKENIZER), n_prompts=N_PROMPTS, only=dict.fromkeys(SCORES.values()), natural_length=60
).prompts


def random_model(seed: int) -> HeadModel:
    """Half of them as they are initialised, attending almost evenly; half with weights large enough to choose by."""
    config = copy.deepcopy(CONFIGS[KINDS[seed % len(KINDS)]]())
    if seed // len(KINDS) % 2:
        config.initializer_range = 0.2
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = transformers.AutoModelForCausalLM.from_config(config).eval()
    return HeadModel(model, TOKENIZER, model_id=f"random-{seed}")


def measure(model: HeadModel) -> dict[tuple[str, str], Measured]:
    found = {}
    for name, null in null_scores(model, PROMPTS, tuple(SCORES), n_draws=400).items():
        family = SCORES[name]
        scores = pattern_scores(model, PROMPTS[family], [name])
        counts = resample_counts([p.template for p in PROMPTS[family]], seed=0, family=family)
        if name in scores.baselines:
            interval = bootstrap_excess(scores.values[name], scores.baselines[name], counts)
            key = f"{name}_excess", family
        else:
            interval, key = bootstrap_mean(scores.values[name], counts), (name, family)
        found[key] = Measured.of(interval).against(null.draws.values)
    return found


@pytest.mark.slow
def test_of_forty_random_models_at_most_two_hold_any_role():
    holders, uncorrected = [], 0
    for seed in range(N_MODELS):
        measured = measure(random_model(seed))
        held = assign_roles(measured, {}, roles=ATTENTION_ALONE).held
        assert not np.isnan(held.values).any(), "every role was judged"
        if held.values.any():
            holders.append((seed, [name for name in SCORES if held.sel(role=name).values.any()]))
        uncorrected += any((found.p <= 0.05).any() for found in measured.values())
    assert len(holders) <= 0.05 * N_MODELS, holders
    assert uncorrected > N_MODELS / 2, "without correction and floor most of them would hold one"


def test_only_attention_is_asked():
    criteria: list[Criterion] = [criterion for role in ATTENTION_ALONE.values() for criterion in role.criteria]
    assert len(criteria) == len(SCORES)
    assert all(criterion.tested and criterion.required for criterion in criteria)
