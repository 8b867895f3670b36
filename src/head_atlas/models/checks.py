"""Identities that hold if, and only if, the heads are where we think they are.

They run at every load on a few rows of random tokens, and a model that breaks one is refused: a wrong
attention function, a missing mask, an ignored soft-cap or sink, or a slice that is not a head all show here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from head_atlas.errors import UnsupportedModelError
from head_atlas.models.intervention import GivenAttention, Intervention
from head_atlas.models.last_position import last_logits
from head_atlas.models.readers import PatternReader, Trace, ValueReader

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from head_atlas.models.head_model import HeadModel

_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 5e-2}


@dataclass(frozen=True)
class Check:
    """One identity, verified on the loaded weights.

    Attributes:
        name: short, unique.
        meaning: one plain sentence.
        value: largest deviation, relative to the spread (standard deviation) of what is compared.
        tolerance: largest value that passes; 0 means bit for bit.
        passed: whether it held.
    """

    name: str
    meaning: str
    value: float
    tolerance: float
    passed: bool


class _Nothing(Intervention):
    """Changes nothing, and so must change nothing."""


class _Keeping(Intervention):
    """Puts every z back as a copy of itself."""

    def on_z(
        self,
        layer: int,  # noqa: ARG002
        z: Float[Tensor, "batch pos head d_head"],
        first_position: int | Int[Tensor, " batch"],  # noqa: ARG002
    ) -> Float[Tensor, "batch pos head d_head"]:
        return z.clone()


@torch.no_grad()
def identity_checks(
    model: HeadModel,
    tokens: Int[Tensor, "row pos"],
    plain: Float[Tensor, "row pos d_vocab"],
    fast: Float[Tensor, "row pos d_vocab"],
    bare: Float[Tensor, "row pos d_vocab"],
) -> tuple[Check, ...]:
    """Run every identity.

    Args:
        model: with its wrappers in place.
        tokens: at least two rows.
        plain: logits of the model as transformers loaded it, before anything of ours was installed.
        fast: the same with the kernels of `models.kernels`.
        bare: like `fast`, after an architecture that ignores our attention function was switched to its eager one.

    Raises:
        UnsupportedModelError: one failed; the message names it, its value and its tolerance.
    """
    name = type(model.model).__name__
    tolerance = _TOLERANCE.get(model.dtype, 5e-2)
    if model.dtype == torch.float64 and not model.structure.through_interface:
        tolerance = _TOLERANCE[torch.float32]  # most of these take their scores in float32 all the same
    try:
        checks = _measure(model, tokens, plain, fast, bare, tolerance)
    except (RuntimeError, TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise UnsupportedModelError(f"{name}: its heads cannot be reached: {error}") from error
    for check in checks:
        if not check.passed:
            raise UnsupportedModelError(
                f"{name} fails the check {check.name!r} ({check.meaning}): deviation {check.value:.3g}, "
                f"at most {check.tolerance:.3g} allowed"
            )
    return checks


def _measure(
    model: HeadModel, tokens: Tensor, plain: Tensor, fast: Tensor, bare: Tensor, tolerance: float
) -> tuple[Check, ...]:
    spread = float(plain.double().std())
    # The eager formulas of transformers take the softmax in float32 even in a float64 model, and round every
    # probability to the model's 16 bits, which the fused one does not.
    loose = 0.2 if tolerance > 1e-2 else 1e-4

    def check(name: str, meaning: str, found: Tensor, expected: Tensor, allowed: float, scale: float) -> Check:
        deviation = float((found.double() - expected.double()).abs().max()) / max(scale, 1e-30)
        return Check(name, meaning, deviation, allowed, deviation <= allowed)

    with model.intervening(_Nothing(), _Keeping()):
        no_op = model.logits(tokens)
    patterns, values, with_patterns = PatternReader(), ValueReader(), Trace()
    with model.intervening(patterns, values, with_patterns):
        eager = model.logits(tokens)
    trace = Trace()
    with model.intervening(trace):
        clean = model.logits(tokens)
    single = torch.cat([model.logits(row[None]) for row in tokens])
    last = model.n_layers - 1
    mixed = torch.einsum("bhqk,bkhd->bqhd", patterns.patterns[last].double(), values.values[last].double())
    z = with_patterns.z[last]
    return (
        check("kernels", "faster kernels give the logits of the model as loaded", fast, plain, tolerance, spread),
        check(
            "no-op",
            "intervening without a change is the plain model, bit for bit",
            no_op,
            bare,
            0.0,
            spread,
        ),
        check(
            "patterns",
            "the logits are the same when attention is computed by the architecture's own formula",
            eager,
            plain,
            loose,
            spread,
        ),
        check(
            "values", "the heads' outputs are their patterns times the values", mixed, z, loose, float(z.double().std())
        ),
        check("batched", "a batch of prompts gives what single prompts give", clean, single, tolerance, spread),
        _padded(model, tokens, single, tolerance, spread),
        _results_sum(model, trace, tolerance),
        _resumed(model, tokens, trace, clean, tolerance, spread),
    )


def _padded(model: HeadModel, tokens: Tensor, single: Tensor, tolerance: float, spread: float) -> Check:
    """Compare padded rows, on both sides, with single prompts."""
    n = max(tokens.shape[1] - 3, 1)
    deviations = []
    for side in ("left", "right"):
        padded, mask = model.padded([tokens[0, :n].tolist(), tokens[1].tolist()], side)
        found = model.logits(padded, mask=mask)[0][mask[0]]
        deviations.append((found.double() - single[0, :n].double()).abs().max() / max(spread, 1e-30))
    worst = _worst(deviations)
    meaning = "a prompt padded on either side gives what it gives alone"
    return Check("padded", meaning, worst, tolerance, worst <= tolerance)


def _resumed(model: HeadModel, tokens: Tensor, trace: Trace, clean: Tensor, tolerance: float, spread: float) -> Check:
    """Run every layer alone, for some rows with attention given and for some without, as the sweep does."""
    n_rows, n_pos = trace.inputs[0].shape[:2]
    last = model.n_layers - 1
    course = model.layerwise(n_pos)
    deviations = []
    for layer in range(last):
        hidden = torch.cat([trace.inputs[layer]] * 2)
        found = course.run(layer, hidden, GivenAttention(n_rows, trace.attention_outputs[layer])).double()
        expected = trace.inputs[layer + 1].double()
        deviations.append((found - torch.cat([expected] * 2)).abs().max() / expected.std().clamp(min=1e-30))
    read = [n_pos - 1, 0]
    output = model.project(last, course.z(last, trace.inputs[last])[:, read])
    end = model.layerwise(len(read))
    logits = end.logits(end.run(last, trace.inputs[last][:, read], GivenAttention(0, output)))
    deviations.append((logits.double() - clean[:, read].double()).abs().max() / max(spread, 1e-30))
    after_last = last_logits(model, tokens)
    deviations.append((after_last.double() - clean[:, -1].double()).abs().max() / max(spread, 1e-30))
    worst = _worst(deviations)
    meaning = "layers run one by one, the last at read positions only, end in the logits of the whole run"
    return Check("resumed", meaning, worst, tolerance, worst <= tolerance)


def _worst(deviations: list[Tensor]) -> float:
    """The largest, and NaN where one is NaN."""
    return float(torch.stack(deviations).max())


def _results_sum(model: HeadModel, trace: Trace, tolerance: float) -> Check:
    """Compare the sum over heads of z @ W_O, plus b_O, with the attention output, in the worst layer."""
    deviations = []
    for layer in range(model.n_layers):
        weight, bias = model.output_weights(layer)
        total = torch.einsum("bphd,hdm->bpm", trace.z[layer].double(), weight.double())
        if bias is not None:
            total = total + bias.double()
        expected = trace.attention_outputs[layer].double()
        deviations.append((total - expected).abs().max() / expected.std().clamp(min=1e-30))
    worst = _worst(deviations)
    meaning = "the heads' results and the bias add up to each layer's attention output"
    return Check("results", meaning, worst, tolerance, worst <= tolerance)
