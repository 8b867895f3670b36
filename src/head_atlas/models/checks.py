"""Identities that hold if, and only if, the heads are where we think they are.

They run at every load on a few rows of random tokens, and a model that breaks one is refused: a wrong
attention function, a missing mask, an ignored soft-cap or sink, or a slice that is not a head all show here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from head_atlas.errors import UnsupportedModelError
from head_atlas.models.attention import Intervention
from head_atlas.models.readers import PatternReader, Trace

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
        first_position: int,  # noqa: ARG002
    ) -> Float[Tensor, "batch pos head d_head"]:
        return z.clone()


@torch.no_grad()
def identity_checks(
    model: HeadModel, tokens: Int[Tensor, "row pos"], plain: Float[Tensor, "row pos d_vocab"]
) -> tuple[Check, ...]:
    """Run every identity.

    Args:
        model: with its wrappers in place.
        tokens: at least two rows.
        plain: logits of the model as transformers loaded it, before anything of ours was installed.

    Raises:
        UnsupportedModelError: one failed; the message names it, its value and its tolerance.
    """
    name = type(model.model).__name__
    tolerance = _TOLERANCE.get(model.dtype, 5e-2)
    try:
        checks = _measure(model, tokens, plain, tolerance)
    except (RuntimeError, TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise UnsupportedModelError(f"{name}: its heads cannot be reached: {error}") from error
    for check in checks:
        if not check.passed:
            raise UnsupportedModelError(
                f"{name} fails the check {check.name!r} ({check.meaning}): deviation {check.value:.3g}, "
                f"at most {check.tolerance:.3g} allowed"
            )
    return checks


def _measure(model: HeadModel, tokens: Tensor, plain: Tensor, tolerance: float) -> tuple[Check, ...]:
    spread = float(plain.double().std())

    def check(name: str, meaning: str, found: Tensor, expected: Tensor, allowed: float, scale: float) -> Check:
        deviation = float((found.double() - expected.double()).abs().max()) / max(scale, 1e-30)
        return Check(name, meaning, deviation, allowed, deviation <= allowed)

    with model.intervening(_Nothing(), _Keeping()):
        no_op = model.logits(tokens)
    reader = PatternReader()
    with model.intervening(reader):
        with_patterns = model.logits(tokens)
    trace = Trace()
    with model.intervening(trace):
        clean = model.logits(tokens)
    single = torch.cat([model.logits(row[None]) for row in tokens])
    # The eager formulas of transformers take the softmax in float32 even in a float64 model, and round every
    # probability to the model's 16 bits, which the fused one does not.
    eager_tolerance = 0.2 if tolerance > 1e-2 else 1e-4
    checks = [
        check("no-op", "intervening without a change is the plain model, bit for bit", no_op, plain, 0.0, spread),
        check(
            "patterns",
            "the logits are the same when attention is computed by the architecture's own formula",
            with_patterns,
            plain,
            eager_tolerance,
            spread,
        ),
        check("batched", "a batch of prompts gives what single prompts give", clean, single, tolerance, spread),
        _results_sum(model, trace, tolerance),
    ]
    # The sweep rests on this one.
    ends = torch.tensor([[tokens.shape[1] - 1, 0]] * len(tokens), device=tokens.device)
    resumed = torch.stack(
        [
            model.resume(layer, trace.inputs[layer], trace.attention_outputs[layer], tokens, ends)
            for layer in range(model.n_layers)
        ]
    )
    meaning = "a run resumed at any layer ends in the logits of the whole run"
    checks.append(check("resumed", meaning, resumed, clean[:, [-1, 0]], tolerance, spread))
    return tuple(checks)


def _results_sum(model: HeadModel, trace: Trace, tolerance: float) -> Check:
    """Compare the sum over heads of z @ W_O, plus b_O, with the attention output, in the worst layer."""
    worst = 0.0
    for layer in range(model.n_layers):
        weight, bias = model.output_weights(layer)
        total = torch.einsum("bphd,hdm->bpm", trace.z[layer].double(), weight.double())
        if bias is not None:
            total = total + bias.double()
        expected = trace.attention_outputs[layer].double()
        worst = max(worst, float((total - expected).abs().max()) / max(float(expected.std()), 1e-30))
    meaning = "the heads' results and the bias add up to each layer's attention output"
    return Check("results", meaning, worst, tolerance, worst <= tolerance)
