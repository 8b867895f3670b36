"""Removing heads, against a loop of hooks on the output projection: the obvious way."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from head_atlas.errors import HeadAtlasError, HeadError, MissingReferenceError, PromptError
from head_atlas.interventions import MeanReference, ablating, mean_reference, sweep_rows
from head_atlas.interventions.packing import Budget, Pack, budget_for, packs
from head_atlas.models import Intervention, PatternReader
from tiny_models import FAMILIES, head_model, random_prompts, tolerance

PROMPTS = random_prompts([(9, (8,)), (9, (1,)), (5, (0, 4)), (1, (0,))])


@contextmanager
def hooked(model, layer, head, first, later):
    """Replace one head's slice of what the output projection reads."""
    where = slice(head * model.d_head, (head + 1) * model.d_head)

    def hook(_, args):
        z = args[0].clone()
        z[:, 0, where] = first
        z[:, 1:, where] = later
        return (z,)

    handle = model.structure.projections[layer].register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def naive(model, prompt, layer, head, z=None):
    """Logits at the prompt's positions with one head removed, by a full forward pass."""
    first, later = (0.0, 0.0) if z is None else torch.as_tensor(z[:, layer, head]).to(model.dtype)
    with torch.no_grad(), hooked(model, layer, head, first, later):
        return model.model(input_ids=torch.tensor([prompt.tokens])).logits[0, list(prompt.positions)]


@pytest.mark.parametrize(("family", "dtype"), FAMILIES)
def test_the_sweep_agrees_with_a_loop_of_hooks(family, dtype):
    model = head_model(family, dtype)
    allowed = tolerance(family, dtype)
    seen = set()
    for block in sweep_rows(model, PROMPTS):
        assert block.ablated.shape[:2] == (len(block.heads), len(block.prompts))
        for row, head in enumerate(block.heads):
            for column, index in enumerate(block.prompts):
                expected = naive(model, PROMPTS[index], block.layer, head)
                torch.testing.assert_close(block.ablated[row, column], expected, atol=allowed, rtol=0)
                seen.add((index, block.layer, head))
        for column, index in enumerate(block.prompts):
            tokens = torch.tensor([PROMPTS[index].tokens])
            expected = model.logits(tokens)[0, list(PROMPTS[index].positions)]
            torch.testing.assert_close(block.clean[column], expected, atol=allowed, rtol=0)
    assert len(seen) == len(PROMPTS) * model.n_layers * model.n_heads
    assert block.done == block.total == len(seen)


@pytest.mark.parametrize(("family", "dtype"), FAMILIES)
def test_several_heads_at_once_agree_with_hooks(family, dtype):
    model = head_model(family, dtype)
    prompt = PROMPTS[0]
    heads = [(0, 1), (0, 3), (2, 0)]
    with ablating(model, heads):
        removed = model.logits(torch.tensor([prompt.tokens]))[0, -1]
    with hooked(model, 0, 1, 0.0, 0.0), hooked(model, 0, 3, 0.0, 0.0):
        expected = naive(model, prompt, 2, 0)[0]
    torch.testing.assert_close(removed, expected, atol=tolerance(family, dtype), rtol=0)


def test_removing_nothing_changes_nothing():
    model = head_model("gpt2")
    tokens = torch.tensor([PROMPTS[0].tokens])
    with ablating(model, []):
        assert torch.equal(model.logits(tokens), model.logits(tokens))
        inside = model.logits(tokens)
    assert torch.equal(inside, model.logits(tokens))


def test_ablation_holds_while_patterns_are_read():
    model = head_model("llama")
    tokens = torch.tensor([PROMPTS[0].tokens])
    clean, removed = PatternReader(), PatternReader()
    with model.intervening(clean):
        model.logits(tokens)
    with ablating(model, ["0.0"]), model.intervening(removed):
        with_patterns = model.logits(tokens)
    with ablating(model, ["0.0"]):
        without_patterns = model.logits(tokens)
    torch.testing.assert_close(with_patterns, without_patterns, atol=1e-5, rtol=0)
    assert torch.equal(clean.patterns[0], removed.patterns[0])
    assert not torch.allclose(clean.patterns[1], removed.patterns[1], atol=1e-4)


def test_the_mean_of_position_0_stands_at_position_0_only_even_with_a_cache():
    """Generation reads one token at a time; what it then calls the first row is not position 0."""
    model = head_model("llama")
    reference = mean_reference(model, PROMPTS, "random tokens")
    tokens = torch.tensor([PROMPTS[0].tokens])
    with torch.no_grad(), ablating(model, ["1.2"], "mean", reference):
        whole = model.model(input_ids=tokens).logits[0, -1]
        first = model.model(input_ids=tokens[:, :-1], use_cache=True)
        stepped = model.model(input_ids=tokens[:, -1:], past_key_values=first.past_key_values).logits[0, -1]
    torch.testing.assert_close(whole, stepped, atol=1e-5, rtol=0)


def test_mean_reference_is_the_mean_over_every_prompt_and_position():
    model = head_model("gpt2", torch.float64)
    seen = []
    for prompt in PROMPTS:
        inputs = []
        hook = model.structure.projections[1].register_forward_pre_hook(lambda _, args, kept=inputs: kept.append(args))
        model.logits(torch.tensor([prompt.tokens]))
        hook.remove()
        seen.append(inputs[0][0][0].view(len(prompt), model.n_heads, model.d_head))
    reference = mean_reference(model, PROMPTS, "random tokens")
    later = torch.cat([z[1:] for z in seen])
    assert (reference.source, reference.n_tokens) == ("random tokens", len(later))
    np.testing.assert_allclose(reference.z[0, 1], torch.stack([z[0] for z in seen]).mean(0), atol=1e-12)
    np.testing.assert_allclose(reference.z[1, 1], later.mean(0), atol=1e-12)


def test_texts_make_a_reference_as_well():
    model = head_model("gpt2")
    assert mean_reference(model, ["The cat sat", "Harry"], "two texts").z.shape == (2, 3, 4, 8)
    with pytest.raises(PromptError, match="empty"):
        mean_reference(model, [""], "nothing")
    with pytest.raises(PromptError, match="more than one token"):
        mean_reference(model, [PROMPTS[-1]], "one token")


@pytest.mark.parametrize("run", [lambda m, **k: ablating(m, ["0.0"], **k), lambda m, **k: sweep_rows(m, PROMPTS, **k)])
def test_refusals_come_at_once(run):
    model = head_model("gpt2")
    with pytest.raises(MissingReferenceError, match=r"mean_reference\(model, prompts, source\)"):
        run(model, mode="mean")
    other = MeanReference(np.zeros((2, 3, 4, 16)), "another model", 10)
    with pytest.raises(MissingReferenceError, match=r"expected shape \(2, 3, 4, 8\), found \(2, 3, 4, 16\)"):
        run(model, mode="mean", reference=other)
    with pytest.raises(HeadAtlasError, match="mode must be one of zero, mean, resample, pattern_freeze, found 'none'"):
        run(model, mode="none")


def test_a_reference_of_a_wrong_shape():
    with pytest.raises(MissingReferenceError, match=r"expected z of \[2, layer, head, d_head\]"):
        MeanReference(np.zeros((3, 4, 8)), "?", 1)


@pytest.mark.parametrize("heads", [["3.0"], ["0.4"], [(-1, 0)], ["attention"], []])
def test_unknown_heads(heads):
    model = head_model("gpt2")
    with pytest.raises(HeadError):
        sweep_rows(model, PROMPTS, heads=heads)


def test_prompts_that_cannot_be_read():
    model = head_model("gpt2")
    with pytest.raises(PromptError, match="no prompt"):
        sweep_rows(model, [])
    with pytest.raises(PromptError, match="65 tokens long; this model reads 64"):
        sweep_rows(model, random_prompts([(5, (1,)), (65, (1,))]))


def test_only_the_heads_asked_for_run():
    model = head_model("gpt2")
    blocks = list(sweep_rows(model, PROMPTS[:2], heads=["2.1", "L0H3", (2, 0), "2.1"]))
    assert [(block.layer, block.heads) for block in blocks] == [(0, (3,)), (2, (0, 1))]
    assert blocks[-1].total == blocks[-1].done == 6


def test_packing_depends_on_the_work_and_the_budget_and_runs_are_bit_identical():
    model = head_model("llama")
    prompts = random_prompts([(9, (8,))] * 7 + [(5, (4,))] * 3 + [(9, (3, 8))])
    budget = Budget(80, 2**24)  # 8 rows of 9 tokens: two prompts x four heads
    heads = {layer: [0, 1, 2, 3] for layer in range(3)}
    found = packs(prompts, heads, 320, budget)
    assert [pack.prompts for pack in found] == [(0,), (1, 2), (3, 4), (5, 6), (7, 8, 9), (10,)]
    # twelve heads in batches of four for two prompts, of six for one
    assert [[len(batch) for batch in pack.heads] for pack in found] == [[6] * 2, *[[4] * 3] * 4, [6] * 2]
    first = list(sweep_rows(model, prompts, budget=budget))
    model.logits(torch.zeros(3, 7, dtype=torch.long))
    for one, two in zip(first, sweep_rows(model, prompts, budget=budget), strict=True):
        assert (one.prompts, one.layer, one.heads) == (two.prompts, two.layer, two.heads)
        assert torch.equal(one.ablated, two.ablated)


def test_a_prompt_or_a_vocabulary_larger_than_the_budget_is_split_not_failed():
    prompts = random_prompts([(9, (3, 8))] * 2)
    (one, other) = packs(prompts, {0: [0, 1], 2: [1]}, 320, Budget(1, 1))
    assert one == Pack((0,), (((0, 0),), ((0, 1),), ((2, 1),)), 1)
    assert other.prompts == (1,)


def test_the_budget_is_the_same_each_time_and_a_power_of_two():
    model = head_model("llama")
    budget = budget_for(model)
    assert budget == budget_for(model)
    assert budget.tokens & (budget.tokens - 1) == budget.logits & (budget.logits - 1) == 0
    assert 2**8 <= budget.tokens <= 2**11


@pytest.mark.parametrize("family", ["gpt_neox", "bloom"])
@pytest.mark.parametrize(("tokens", "logits"), [(1, 2**24), (10, 2**24), (10**6, 2**24), (10**6, 1), (1000, 1000)])
def test_the_batch_size_changes_nothing_but_rounding(family, tokens, logits):
    model = head_model(family, torch.float64)
    seen = 0
    for block in sweep_rows(model, PROMPTS, budget=Budget(tokens, logits)):
        for row, head in enumerate(block.heads):
            for column, index in enumerate(block.prompts):
                expected = naive(model, PROMPTS[index], block.layer, head)
                torch.testing.assert_close(block.ablated[row, column], expected, atol=1e-10, rtol=0)
                seen += 1
    assert seen == len(PROMPTS) * 12


def test_a_sweep_under_an_ablation_is_a_sweep_of_what_is_left():
    model = head_model("llama", torch.float64)
    with ablating(model, ["1.0"]):
        blocks = list(sweep_rows(model, PROMPTS[:1]))
    for block in blocks:
        for row, head in enumerate(block.heads):
            with hooked(model, 1, 0, 0.0, 0.0):
                expected = naive(model, PROMPTS[0], block.layer, head)
            torch.testing.assert_close(block.ablated[row, 0], expected, atol=1e-10, rtol=0)


def test_stopping_early_leaves_the_model_as_it_was():
    model = head_model("llama")
    tokens = torch.tensor([PROMPTS[0].tokens])
    clean = model.logits(tokens)
    blocks = sweep_rows(model, PROMPTS)
    next(blocks)
    assert torch.equal(model.logits(tokens), clean)
    blocks.close()
    assert torch.equal(model.logits(tokens), clean)


def test_layers_below_the_removed_head_do_not_run_again():
    """Tokens through each MLP: the clean run's, then those of the heads of a layer and below; one in the last."""
    model = head_model("llama")
    tokens: list[list[int]] = [[], [], []]

    def count(layer):
        def hook(_, args):
            tokens[layer].append(args[0].shape[0] * args[0].shape[1])

        return hook

    handles = [block.mlp.register_forward_pre_hook(count(layer)) for layer, block in enumerate(model.structure.blocks)]
    list(sweep_rows(model, PROMPTS[:1]))
    for handle in handles:
        handle.remove()
    assert tokens == [[9, 4 * 9], [9, 8 * 9], [9, 12 * 1]]


def test_attention_is_computed_neither_in_the_removed_heads_layer_nor_below():
    model = head_model("llama")
    rows: list[list[int]] = [[], [], []]

    class Count(Intervention):
        def on_z(self, layer, z, _):
            rows[layer].append(len(z))
            return z

    with model.intervening(Count()):
        list(sweep_rows(model, PROMPTS[:1]))
    assert rows == [[1], [1, 4], [1, 8]]
