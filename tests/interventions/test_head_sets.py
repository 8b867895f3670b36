"""Sets of heads removed together, against one naive ablated run for each set."""

from __future__ import annotations

import pytest
import torch

from head_atlas.errors import HeadAtlasError, HeadError, MissingReferenceError
from head_atlas.interventions import (
    CORRUPTED,
    Budget,
    CorruptedReference,
    ablating,
    mean_reference,
    resample_reference,
    set_rows,
)
from tiny_models import head_model, random_prompts

SETS = [(), ("0.1",), ("0.1", "0.2"), ("0.0", "2.3"), ("1.1", "2.0", "2.3"), ("2.1",), ("1.0", "1.3", "0.3")]
PROMPTS = random_prompts([(9, (8,)), (7, (2, 6)), (9, (5,))], corrupted=True)


def references(model):
    texts = ["The cat sat on the mat. Harry Potter went home.", "Everyone knew Harry Potter. The dogs are old."]
    return {
        "zero": None,
        "mean": mean_reference(model, texts, "two texts"),
        "resample": resample_reference(model, texts, "two texts", n_draws=2, n_pos=9),
    }


def found(model, sets, mode, **more):
    """Mean logits over draws, [set][prompt]."""
    result = {}
    last = 0
    for block in set_rows(model, PROMPTS, sets, mode, **more):
        for i, which in enumerate(block.sets):
            for j, prompt in enumerate(block.prompts):
                before = result.get((which, prompt), 0)
                result[which, prompt] = before + block.logits[i, j].double() / block.n_draws
        assert block.done > last
        last = block.done
    assert last == block.total
    return result


def naive(model, heads, prompt, mode, reference):
    if reference is CORRUPTED:
        reference = CorruptedReference(prompt.corrupted)
    n_draws = reference.n_draws if mode == "resample" and hasattr(reference, "n_draws") else 1
    total = 0
    for draw in range(n_draws):
        with ablating(model, heads, mode, reference, **({"draw": draw} if n_draws > 1 else {})):
            total = total + model.logits(model.rows([prompt.tokens]))[0, list(prompt.positions)].double()
    return total / n_draws


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "gemma2", "bloom"])
@pytest.mark.parametrize("mode", ["zero", "mean", "resample", "corrupted"])
def test_each_set_is_a_naive_ablation(family, mode):
    model = head_model(family, torch.float64)
    reference = CORRUPTED if mode == "corrupted" else references(model)[mode]
    mode = "resample" if mode == "corrupted" else mode
    by_set = found(model, SETS, mode, reference=reference)
    for which, heads in enumerate(SETS):
        for index, prompt in enumerate(PROMPTS):
            expected = naive(model, heads, prompt, mode, reference)
            torch.testing.assert_close(by_set[which, index], expected, atol=1e-8, rtol=0)


def test_base_and_budget_change_no_result():
    model = head_model("llama", torch.float64)
    reference = references(model)["resample"]
    expected = found(model, SETS, "resample", reference=reference)
    for more in ({"base": ("1.1", "2.0")}, {"base": ("0.1", "0.2")}, {"budget": Budget(12, 700)}):
        again = found(model, SETS, "resample", reference=reference, **more)
        assert again.keys() == expected.keys()
        for key, value in expected.items():
            torch.testing.assert_close(again[key], value, atol=1e-8, rtol=0)


def test_what_cannot_be_removed_is_refused_at_once():
    model = head_model("llama")
    with pytest.raises(HeadError, match=r"no head 7\.0"):
        set_rows(model, PROMPTS, [("7.0",)])
    with pytest.raises(HeadAtlasError, match="no set of heads"):
        set_rows(model, PROMPTS, [])
    with pytest.raises(HeadAtlasError, match="pattern_freeze is for one head"):
        set_rows(model, PROMPTS, [()], "pattern_freeze", reference=CORRUPTED)
    with pytest.raises(MissingReferenceError):
        set_rows(model, PROMPTS, [()], "mean")
