"""Families that heads are compared on, from numbers whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from small_build import OPTIONS

from head_atlas.build import plan_atlas
from head_atlas.build.derived import DERIVED
from head_atlas.named_array import NamedArray

CONTRASTS = next(derive for derive in DERIVED if derive.__name__ == "_family_contrasts")


def invented(plan, lead):
    """One head that ioi lives by and pronoun does not need, one that neither needs."""
    rng = np.random.default_rng(0)
    families = np.array([prompt.family for prompt in plan.prompts])
    contrasted = np.isin(families, ("ioi", "pronoun"))
    clean = np.where(contrasted, lead + rng.normal(0, 0.1, len(families)), np.nan)
    effects = rng.normal(0, 0.02, (len(plan.modes), 1, 2, len(families)))
    effects[plan.modes.index("resample"), 0, 0] -= np.where(families == "ioi", 0.5 * clean, 0)
    effects[..., ~contrasted] = np.nan
    return {
        "clean/logit_difference": NamedArray(clean, ("prompt",)),
        "effects/logit_difference": NamedArray(effects, ("mode", "layer", "head", "prompt")),
    }


def test_a_head_that_one_family_lives_by_differs_between_the_two(model):
    plan = plan_atlas(model, replace(OPTIONS, families=["ioi", "pronoun", "natural"], n_prompts=20))
    left_out = {}
    found = CONTRASTS(plan, invented(plan, 3.0), left_out)
    assert left_out == {}
    difference = found["roles/family_difference"]
    assert list(difference.coords["pair"]) == ["ioi - pronoun"]
    np.testing.assert_allclose(difference.values[0, 0], [-0.5, 0], atol=0.02)
    low, high = (found[f"roles/family_difference_{end}"].values[0, 0] for end in ("low", "high"))
    assert (low < difference.values[0, 0]).all()
    assert (difference.values[0, 0] < high).all()
    assert found["roles/family_difference_q"].values[0, 0, 0] < 1e-6
    assert found["roles/n_different"].values.tolist() == [[1, 0]]


def test_families_that_are_not_solved_are_no_pair_and_named(model):
    plan = plan_atlas(model, replace(OPTIONS, families=["ioi", "pronoun", "natural"], n_prompts=20))
    left_out = {}
    assert CONTRASTS(plan, invented(plan, -3.0), left_out) == {}
    assert left_out == {"family_difference": "the model solves 0 families with a contrast; two make a pair"}
    assert CONTRASTS(replace(plan, modes=()), invented(plan, 3.0), left_out) == {}
