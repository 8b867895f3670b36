"""Effects: worked by hand on logits, and against a slow loop on models."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from head_atlas.errors import HeadAtlasError, HeadError, MissingReferenceError, PromptError
from head_atlas.interventions import ablating, mean_reference
from head_atlas.measures.effects import as_prompts, iter_sweep, sweep
from head_atlas.measures.metrics import METRICS, Reading, clean_values, effects, right
from head_atlas.prompts.prompt import Prompt
from tiny_models import TOKENIZER, head_model, random_prompts

LN = math.log


def reading(probabilities, target=0, contrast=1):
    """Logits of the given next-token probabilities at one position, off by a constant that must not matter."""
    logits = torch.tensor([probabilities], dtype=torch.float64).log() + 3
    return Reading.of(logits, torch.tensor([target]), torch.tensor([contrast]))


def by_hand(clean, ablated, **kwargs):
    found = effects(reading(clean, **kwargs), reading(ablated, **kwargs), METRICS)
    return {name: float(value) for name, value in found.items()}


def test_a_head_that_helped():
    """The target falls from first to third: 1/2, 1/4, 1/8, 1/8 to 1/8, 1/4, 1/2, 1/8."""
    assert by_hand([1 / 2, 1 / 4, 1 / 8, 1 / 8], [1 / 8, 1 / 4, 1 / 2, 1 / 8]) == pytest.approx(
        {
            "logprob": LN(1 / 8) - LN(1 / 2),
            "logit_difference": (LN(1 / 8) - LN(1 / 4)) - (LN(1 / 2) - LN(1 / 4)),
            "kl": 1 / 2 * LN(4) + 1 / 8 * LN(1 / 4),
            "flip": 1,
            "log2_rank": LN(3) / LN(2),
        }
    )


def test_a_head_that_hurt():
    found = by_hand([1 / 4, 1 / 2, 1 / 4], [1 / 2, 1 / 4, 1 / 4])
    assert found["logprob"] == pytest.approx(LN(2))
    assert found["logit_difference"] == pytest.approx(2 * LN(2))
    assert found["kl"] == pytest.approx(1 / 4 * LN(1 / 2) + 1 / 2 * LN(2))
    assert (found["flip"], found["log2_rank"]) == (1, -1)


def test_a_head_that_does_nothing():
    assert set(by_hand([0.5, 0.3, 0.2], [0.5, 0.3, 0.2]).values()) == {0}


def test_without_a_contrast_there_is_no_logit_difference():
    found = by_hand([0.5, 0.3, 0.2], [0.2, 0.3, 0.5], contrast=-1)
    assert math.isnan(found.pop("logit_difference"))
    assert all(math.isfinite(value) for value in found.values())


def test_a_prompt_is_the_mean_of_its_positions():
    """One position flips and one does not; the target's logarithm changes by log 1/2 and by 0."""
    clean = torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.4, 0.4]], dtype=torch.float64).log()
    ablated = torch.tensor([[0.25, 0.5, 0.25], [0.2, 0.4, 0.4]], dtype=torch.float64).log()
    targets, contrasts = torch.tensor([0, 2]), torch.tensor([-1, -1])
    found = effects(Reading.of(clean, targets, contrasts), Reading.of(ablated, targets, contrasts), ["flip", "logprob"])
    assert float(found["flip"]) == 0.5
    assert float(found["logprob"]) == pytest.approx(LN(1 / 2) / 2)


def test_clean_values():
    """The target is first at one position and second at the other."""
    logits = torch.tensor([[0.5, 0.25, 0.25], [0.3, 0.6, 0.1]], dtype=torch.float64).log()
    targets = torch.tensor([0, 0])
    reading = Reading.of(logits, targets, torch.tensor([1, 1]))
    found = clean_values(reading, reading.top == targets)
    assert {name: float(value) for name, value in found.items()} == pytest.approx(
        {
            "logit_difference": (LN(2) - LN(2)) / 2,
            "logprob": (LN(0.5) + LN(0.3)) / 2,
            "log2_rank": 0.5,
            "correct": 0.5,
        }
    )


def test_right_positions_by_hand():
    """Position 0 has one answer, and is right by its arg-max; position 1 has two, which lead by log 1.5 on average."""
    one = [0.6, 0.3, 0.05, 0.05]
    two = [0.4, 0.3, 0.2, 0.1]
    logits = torch.tensor([[one, two, two]], dtype=torch.float64).log()
    positions, targets = torch.tensor([[0, 1, 1]]), torch.tensor([[0, 1, 2]])
    contrasts = torch.tensor([[1, 3, 3]])
    assert right(Reading.of(logits, targets, contrasts), targets, positions).tolist() == [[True, True, True]]
    # against the token in front, log 3/4 + log 2/4 < 0; and the second token is not the arg-max of position 0
    behind, wrong = torch.tensor([[1, 0, 0]]), torch.tensor([[1, 1, 2]])
    assert right(Reading.of(logits, wrong, behind), wrong, positions).tolist() == [[False, False, False]]
    # without wrong answers, the arg-max must be among the right ones, whichever of them it is
    none, among = torch.tensor([[-1, -1, -1]]), torch.tensor([[0, 2, 0]])
    assert right(Reading.of(logits, among, none), among, positions).tolist() == [[True, True, True]]
    assert right(Reading.of(logits, wrong, none), wrong, positions).tolist() == [[False, False, False]]


def test_effects_on_right_positions_are_those_of_prompts_that_are_read_there_alone():
    model = head_model("gpt2")
    tokens = PROMPTS[0].tokens
    top = model.logits(torch.tensor([tokens]))[0].argmax(-1).tolist()
    places, good = tuple(range(1, len(tokens) - 1)), (1, 3)
    targets = tuple(top[at] if at in good else (top[at] + 1) % model.d_vocab for at in places)
    contrasts = tuple((y + 2) % model.d_vocab for y in targets)
    whole = Prompt("", tokens, places, targets, contrasts)
    part = Prompt("", tokens, good, tuple(targets[at - 1] for at in good), tuple(contrasts[at - 1] for at in good))
    none = Prompt("", tokens, (2,), (targets[1],), (contrasts[1],))
    found, alone = sweep(model, [whole, none], correct=True), sweep(model, [part])
    for name in METRICS:
        np.testing.assert_allclose(found[f"{name}_correct"].values[0], alone[name].values[0], atol=1e-6)
        assert np.isnan(found[f"{name}_correct"].values[1]).all()
    assert np.abs(found["logprob"].values[0] - found["logprob_correct"].values[0]).max() > 1e-3
    assert found.clean["correct"].values.tolist() == pytest.approx([2 / len(places), 0])


def test_16_bit_logits_are_measured_in_float32():
    logits = torch.randn(1, 50, dtype=torch.bfloat16)
    half = Reading.of(logits, torch.tensor([0]), torch.tensor([1]))
    full = Reading.of(logits.float(), torch.tensor([0]), torch.tensor([1]))
    assert torch.equal(half.log_probs, full.log_probs)


PROMPTS = random_prompts([(9, (8,)), (5, (2, 4)), (9, (3,))])
PROMPTS.append(Prompt("", PROMPTS[0].tokens, (4, 8), (7, 9)))


def slowly(model, prompt, layer, head, mode, reference):
    """Every metric of one head on one prompt, position by position, from full forward passes."""
    tokens = torch.tensor([prompt.tokens])
    clean = model.logits(tokens)[0].double()
    with ablating(model, [(layer, head)], mode, reference):
        ablated = model.logits(tokens)[0].double()
    found = {name: [] for name in METRICS}
    for i, (position, target) in enumerate(zip(prompt.positions, prompt.targets, strict=True)):
        p, q = clean[position].softmax(0), ablated[position].softmax(0)
        found["logprob"].append(float(q[target].log() - p[target].log()))
        found["kl"].append(sum(float(a * (a / b).log()) for a, b in zip(p, q, strict=True)))
        found["flip"].append(float(int(p.argmax()) != int(q.argmax())))
        rank = [sorted(run.tolist(), reverse=True).index(float(run[target])) + 1 for run in (q, p)]
        found["log2_rank"].append(math.log2(rank[0]) - math.log2(rank[1]))
        if prompt.contrasts:
            contrast = prompt.contrasts[i]
            before, after = (run[position, target] - run[position, contrast] for run in (clean, ablated))
            found["logit_difference"].append(float(after - before))
        else:
            found["logit_difference"].append(math.nan)
    return {name: sum(values) / len(values) for name, values in found.items()}


@pytest.mark.parametrize("mode", ["zero", "mean"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_sweep_agrees_with_a_slow_loop(mode, dtype, tolerance):
    model = head_model("llama", dtype)
    reference = mean_reference(model, PROMPTS, "random tokens")
    found = sweep(model, PROMPTS, mode, reference=reference)
    for name in METRICS:
        assert found[name].dims == ("prompt", "layer", "head")
        assert found[name].shape == (len(PROMPTS), 3, 4)
    for index, prompt in enumerate(PROMPTS):
        for layer in range(3):
            for head in range(4):
                expected = slowly(model, prompt, layer, head, mode, reference)
                got = {name: float(found[name][index, layer, head]) for name in METRICS}
                assert got == pytest.approx(expected, abs=tolerance, nan_ok=True)
    assert np.abs(found["logprob"].values).max() > 0.01


def test_clean_values_of_a_sweep_are_those_of_plain_runs():
    model = head_model("gpt2")
    found = sweep(model, PROMPTS, heads=["0.0"])
    for index, prompt in enumerate(PROMPTS):
        log_probs = model.logits(torch.tensor([prompt.tokens]))[0].log_softmax(-1)
        expected = [float(log_probs[i, y]) for i, y in zip(prompt.positions, prompt.targets, strict=True)]
        assert found.clean["logprob"][index] == pytest.approx(np.mean(expected), abs=1e-5)
    assert np.isnan(found.clean["logit_difference"].values).tolist() == [False, False, False, True]


def test_heads_that_were_not_asked_for_are_missing_not_zero():
    found = sweep(head_model("gpt2"), PROMPTS, heads=["1.2", "2.0"], metrics=["kl"])
    assert list(found) == ["kl"]
    measured = ~np.isnan(found["kl"].values)
    assert measured.sum() == 2 * len(PROMPTS)
    assert measured[:, 1, 2].all()
    assert measured[:, 2, 0].all()
    with pytest.raises(KeyError, match="no metric 'flip': this sweep has kl"):
        found["flip"]


def test_texts_are_read_at_their_last_token_for_the_top_token():
    model = head_model("llama")
    found = sweep(model, ["The cat sat", "Harry Potter went home."])
    for prompt, correct in zip(found.prompts, found.clean["correct"], strict=True):
        assert prompt.positions == (len(prompt.tokens) - 1,)
        assert correct == 1
    assert np.isnan(found["logit_difference"].values).all()
    assert (found["logprob"].values[found["flip"].values == 1] < 0).all()


def test_target_and_contrast_of_a_text():
    model = head_model("llama")
    target, contrast = " Potter", " went"
    found = sweep(model, "Harry", target=target, contrast=contrast)
    assert [TOKENIZER.decode(ids) for ids in (found.prompts[0].targets, found.prompts[0].contrasts)] == [
        target,
        contrast,
    ]
    by_id = sweep(model, "Harry", target=found.prompts[0].targets[0], contrast=found.prompts[0].contrasts[0])
    assert np.array_equal(found["logit_difference"].values, by_id["logit_difference"].values)
    assert np.isfinite(found["logit_difference"].values).all()


def test_refusals():
    model = head_model("llama")
    with pytest.raises(PromptError, match=r"'Harry Potter' must be exactly one token; here it is 3"):
        sweep(model, "The", target="Harry Potter")
    with pytest.raises(PromptError, match=r"exactly one token; here it is 0"):
        sweep(model, "The", contrast="")
    with pytest.raises(PromptError, match="token ids must lie in"):
        sweep(model, "The", target=10**6)
    with pytest.raises(PromptError, match="token ids must lie in"):
        sweep(model, Prompt("", (0, 1), (1,), (10**6,)))
    with pytest.raises(PromptError, match="a Prompt has its own targets"):
        sweep(model, PROMPTS, target=3)
    with pytest.raises(PromptError, match="no prompt"):
        sweep(model, [])
    with pytest.raises(PromptError, match="empty"):
        sweep(model, ["The cat", ""])
    with pytest.raises(HeadError, match=r"there is no head 3\.0"):
        sweep(model, "The", heads=["3.0"])
    with pytest.raises(HeadAtlasError, match=r"metric must be one of .*found 'accuracy'"):
        sweep(model, "The", metrics=["accuracy"])
    with pytest.raises(MissingReferenceError, match="mean ablation needs reference means"):
        sweep(model, "The", "mean")


def test_streaming_and_cancelling():
    model = head_model("llama")
    whole = sweep(model, PROMPTS)
    parts = iter_sweep(model, PROMPTS)
    seen = []
    for part in parts:
        seen.append(part.done)
        for name in METRICS:
            rows = whole[name].values[list(part.prompts), part.layer][:, list(part.heads)]
            assert np.array_equal(part.effects[name], rows, equal_nan=True)
        assert part.total == 48
        if len(seen) == 4:
            parts.close()
    assert seen == sorted(seen)
    assert len(seen) == 4
    assert list(parts) == []


def test_progress():
    calls = []
    sweep(head_model("llama"), PROMPTS, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (48, 48)
    assert calls == sorted(calls)


def test_prompts_that_are_ready_stay_as_they_are():
    assert as_prompts(head_model("llama"), PROMPTS) == PROMPTS
