"""What stands for a removed head: resampled outputs and frozen patterns, against slow twins."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from head_atlas.errors import MissingReferenceError, PromptError
from head_atlas.interventions import (
    CORRUPTED,
    CorruptedReference,
    MeanReference,
    ResampleReference,
    ablating,
    mean_reference,
    resample_reference,
    sweep_metric,
    sweep_rows,
)
from head_atlas.measures.effects import sweep
from head_atlas.models import Intervention, PatternReader
from head_atlas.models.readers import Trace, ValueReader
from tiny_models import head_model, random_prompts, tolerance

PROMPTS = random_prompts([(9, (8,)), (9, (1,)), (5, (0, 4))], corrupted=True)
OTHERS = random_prompts([(12, (0,)), (14, (0,)), (11, (0,)), (4, (0,))])
SOME = [
    ("gpt2", torch.float64),
    ("llama", torch.float32),
    ("gemma2", torch.float64),
    ("gpt_oss", torch.float32),
    ("mistral", torch.float64),
    ("falcon_grouped", torch.float64),
    ("gptj", torch.float32),
    ("gpt_neo", torch.float32),
    ("bloom", torch.float64),
    ("mpt", torch.float64),
]


class Put(Intervention):
    """Puts given outputs in place of heads: {(layer, head): [pos, d_head]}."""

    def __init__(self, given):
        self.given = given

    def on_z(self, layer, z, _):
        z = z.clone()
        for (at, head), value in self.given.items():
            if at == layer:
                z[:, :, head] = value
        return z


def logits_with(model, prompt, given):
    with model.intervening(Put(given)):
        return model.logits(torch.tensor([prompt.tokens]))[0, list(prompt.positions)]


def traced(model, tokens):
    trace, patterns, values = Trace(), PatternReader(), ValueReader()
    with model.intervening(trace, values):
        model.logits(torch.tensor([tokens]))
    with model.intervening(patterns):
        model.logits(torch.tensor([tokens]))
    return trace.z, patterns.patterns, values.values


def frozen(model, prompt, layer, head):
    """The corrupted pattern times the clean values, position by position."""
    pattern = traced(model, prompt.corrupted)[1][layer][0, head]
    values = traced(model, prompt.tokens)[2][layer][0, :, head]
    return torch.stack([sum(p * v for p, v in zip(row, values, strict=True)) for row in pattern.to(values.dtype)])


@pytest.mark.parametrize(("family", "dtype"), SOME)
def test_sweeps_of_every_mode_agree_with_a_loop(family, dtype):
    model = head_model(family, dtype)
    # patterns are rounded to float32 by the eager formulas of some architectures
    allowed = {"pattern_freeze": max(tolerance(family, dtype), 1e-6)}
    means = mean_reference(model, PROMPTS, "random tokens")
    drawn = resample_reference(model, OTHERS, "random tokens", n_draws=2, n_pos=10)
    runs = {"mean": means, "resample": drawn, "corrupted": CORRUPTED, "pattern_freeze": None}
    for name, reference in runs.items():
        mode = "resample" if name == "corrupted" else name
        seen = set()
        for block in sweep_rows(model, PROMPTS, mode, reference=reference):
            for row, head in enumerate(block.heads):
                if (block.layer + head) % 2:
                    continue
                for column, index in enumerate(block.prompts):
                    prompt = PROMPTS[index]
                    if name == "mean":
                        z = torch.as_tensor(means.z[:, block.layer, head])
                        z = torch.cat([z[:1], z[1:].expand(len(prompt) - 1, -1)])
                    elif name == "resample":
                        z = torch.as_tensor(drawn.z[block.draw, : len(prompt), block.layer, head])
                    elif name == "corrupted":
                        z = traced(model, prompt.corrupted)[0][block.layer][0, :, head]
                    else:
                        z = frozen(model, prompt, block.layer, head)
                    expected = logits_with(model, prompt, {(block.layer, head): z.to(dtype)})
                    torch.testing.assert_close(
                        block.ablated[row, column], expected, atol=allowed.get(mode, tolerance(family, dtype)), rtol=0
                    )
                    seen.add((index, block.layer, head, block.draw))
        assert len(seen) == len(PROMPTS) * 6 * (2 if name == "resample" else 1)
        assert block.done == block.total


@pytest.mark.parametrize("family", ["llama", "gpt_oss", "gptj", "bloom"])
def test_frozen_patterns_of_several_layers_mix_the_values_of_the_run_at_hand(family):
    model = head_model(family)
    prompt = PROMPTS[0]
    heads = [(0, 1), (1, 2), (1, 3)]
    patterns = traced(model, prompt.corrupted)[1]
    first = {(0, 1): frozen(model, prompt, 0, 1)}
    with model.intervening(Put(first)):
        live = traced(model, prompt.tokens)[2][1][0]
    second = {(1, h): patterns[1][0, h] @ live[:, h] for h in (2, 3)}
    expected = logits_with(model, prompt, first | second)
    with ablating(model, heads, "pattern_freeze", CorruptedReference(prompt.corrupted)):
        found = model.logits(torch.tensor([prompt.tokens]))[0, list(prompt.positions)]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert not torch.allclose(found, logits_with(model, prompt, {}), atol=1e-3)


@pytest.mark.parametrize("mode", ["resample", "pattern_freeze"])
def test_a_prompt_corrupted_into_itself_changes_nothing(mode):
    model = head_model("qwen3", torch.float64)
    prompt = PROMPTS[0]
    tokens = torch.tensor([prompt.tokens])
    with ablating(model, ["0.1", "1.1", "2.3"], mode, CorruptedReference(prompt.tokens)):
        torch.testing.assert_close(model.logits(tokens), model.logits(tokens), atol=0, rtol=0)
        found = model.logits(tokens)
    torch.testing.assert_close(found, model.logits(tokens), atol=1e-5, rtol=0)


def test_one_head_at_a_time_is_a_sweep():
    model = head_model("gpt2", torch.float64)
    drawn = resample_reference(model, OTHERS, "random tokens", n_draws=2, n_pos=10)
    for block in sweep_rows(model, PROMPTS[:1], "resample", reference=drawn, heads=["1.2"]):
        with ablating(model, "1.2", "resample", drawn, draw=block.draw):
            expected = model.logits(torch.tensor([PROMPTS[0].tokens]))[0, [8]]
        torch.testing.assert_close(block.ablated[0, 0], expected, atol=1e-10, rtol=0)


def test_effects_of_resampling_are_means_over_draws():
    model = head_model("llama", torch.float64)
    drawn = resample_reference(model, OTHERS, "random tokens", n_draws=3, n_pos=10)
    whole = sweep(model, PROMPTS, "resample", reference=drawn)
    singles = [
        sweep(model, PROMPTS, "resample", reference=ResampleReference(z[None], "one of them", 0)) for z in drawn.z
    ]
    for metric in whole:
        mean = np.mean([single[metric].values for single in singles], 0)
        np.testing.assert_allclose(whole[metric].values, mean, atol=1e-12)
        assert not np.allclose(singles[0][metric].values, mean)


def test_any_function_of_the_logits_is_a_metric():
    model = head_model("llama", torch.float64)

    def gap(prompt, clean, ablated):
        last = prompt.targets[-1]
        return ablated[:, -1, last] - clean[-1, last]

    found = sweep_metric(model, PROMPTS, gap, heads=["0.1", "2.2"])
    assert np.isnan(found).sum() == found.size - 2 * len(PROMPTS)
    for index, prompt in enumerate(PROMPTS):
        tokens = torch.tensor([prompt.tokens])
        at = prompt.positions[-1], prompt.targets[-1]
        with ablating(model, "2.2"):
            removed = model.logits(tokens)[0][at]
        assert found[index, 2, 2] == pytest.approx(float(removed - model.logits(tokens)[0][at]), abs=1e-10)


def test_padded_rows_are_ablated_as_they_are_alone():
    """The mean of position 0 stands at position 0 of each prompt, wherever the padding puts it."""
    for family in ("gpt2", "llama", "mistral", "gpt_oss", "gptj", "bloom"):
        model = head_model(family)
        reference = mean_reference(model, PROMPTS, "random tokens")
        drawn = resample_reference(model, OTHERS, "random tokens", n_draws=1, n_pos=10)
        for mode, given in (("zero", None), ("mean", reference), ("resample", drawn)):
            for side in ("left", "right"):
                tokens, mask = model.padded([PROMPTS[0].tokens, PROMPTS[2].tokens], side)
                with ablating(model, ["0.1", "1.2"], mode, given):
                    padded = model.logits(tokens, mask=mask)[1][mask[1]]
                    alone = model.logits(torch.tensor([PROMPTS[2].tokens]))[0]
                torch.testing.assert_close(padded, alone, atol=1e-5, rtol=0)


def test_refusals_say_what_is_missing():
    model = head_model("gpt2")
    plain = random_prompts([(9, (8,))])
    with pytest.raises(MissingReferenceError, match=r"resample_reference\(model, prompts, source\)"):
        sweep_rows(model, PROMPTS, "resample")
    with pytest.raises(MissingReferenceError, match="resample ablation needs"):
        sweep_rows(model, PROMPTS, "resample", reference=mean_reference(model, PROMPTS, "means"))
    with pytest.raises(PromptError, match="prompt 0 has no corrupted prompt"):
        sweep_rows(model, plain, "pattern_freeze")
    with pytest.raises(MissingReferenceError, match="pattern_freeze needs the aligned corrupted prompt"):
        ablating(model, ["0.0"], "pattern_freeze")
    with pytest.raises(MissingReferenceError, match="resample needs the aligned corrupted prompt"):
        ablating(model, ["0.0"], "resample", CORRUPTED)
    short = resample_reference(model, OTHERS, "random tokens", n_draws=2, n_pos=3)
    with pytest.raises(PromptError, match="the resample reference has 3 positions, the prompt 9"):
        sweep_rows(model, PROMPTS, "resample", reference=short)
    with pytest.raises(MissingReferenceError, match=r"of another model: expected shape \(2, 3, 3, 4, 8\)"):
        sweep_rows(
            head_model("gpt2"), PROMPTS, "resample", reference=ResampleReference(np.zeros((2, 3, 3, 4, 9)), "", 0)
        )
    with pytest.raises(MissingReferenceError, match="draws 0 to 1, found 2"):
        ablating(model, ["0.0"], "resample", short, draw=2)
    with pytest.raises(PromptError, match="5 draws need as many prompts of at least 12 tokens, found 2"):
        resample_reference(model, OTHERS, "random tokens", n_pos=12)
    with (
        ablating(model, ["0.0"], "pattern_freeze", CorruptedReference((1, 2, 3))),
        pytest.raises(PromptError, match="3"),
    ):
        model.logits(torch.tensor([[1, 2, 3, 4]]))
    with pytest.raises(MissingReferenceError, match="resample reference: expected z of"):
        ResampleReference(np.zeros((3, 4, 8)), "?", 1)
    assert isinstance(mean_reference(model, PROMPTS, "means"), MeanReference)
