"""What the model card says of the demo model holds on the stored weights."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
from demo_model_card import PROBES, report  # noqa: E402

DETERMINED = ("fact", "subject_verb", "pronoun", "successor", "opposite", "brackets", "natural_repeat")


@pytest.fixture(scope="module")
def results():
    folder = ROOT / "atlas" / "demo" / "model"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return report(model, AutoTokenizer.from_pretrained(folder), seed=1, n=100)


@pytest.mark.slow
@pytest.mark.parametrize("family", DETERMINED)
def test_determined_families_are_known_on_prompts_not_trained_on(results, family):
    assert results["accuracy"][family] >= 0.9


@pytest.mark.slow
def test_indirect_objects_are_told_apart(results):
    assert results["accuracy"]["ioi"] >= 0.8


@pytest.mark.slow
def test_repeated_random_tokens_cost_less_the_second_time(results):
    assert results["first_copy"] - results["second_copy"] >= 3.0


@pytest.mark.slow
@pytest.mark.parametrize("text", PROBES)
def test_the_prompts_of_the_guide_work(results, text):
    assert results["probes"][text]["top"] == PROBES[text]
