"""First-order estimates of effects, and how far they agree with the exact ones.

An estimate is never an effect: it is shown with its agreement, and the heads it ranks first are to be verified by
removing them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from head_atlas.errors import HeadAtlasError, PromptError
from head_atlas.interventions import Budget, Mode, Reference, first_order
from head_atlas.measures.effects import as_prompts
from head_atlas.measures.significance import spearman
from head_atlas.models import HeadModel
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt

if TYPE_CHECKING:
    from torch import Tensor

ESTIMATED = ("logit_difference", "logprob")
"""Metrics with a first-order estimate. KL has none: its gradient is zero at the clean run."""


@dataclass(frozen=True)
class Agreement:
    """How an estimate compares with the exact effects of the same heads.

    Attributes:
        spearman: rank correlation over heads, in [-1, 1]; NaN where either is constant.
        overlap: share of the k largest magnitudes that both have in common, in [0, 1].
        k: of `overlap`.
        n_heads: compared.
    """

    spearman: float
    overlap: float
    k: int
    n_heads: int


def estimate(
    model: HeadModel,
    prompts: str | Prompt | Sequence[str | Prompt],
    metric: str = "logit_difference",
    mode: Mode = "zero",
    *,
    reference: Reference | None = None,
    target: str | int | None = None,
    contrast: str | int | None = None,
    budget: Budget | None = None,
) -> NamedArray:
    """Estimate the effect of removing every head alone, from one forward and one backward pass.

    Args:
        model: whose heads.
        prompts: as in `sweep`.
        metric: of `ESTIMATED`.
        mode: as in `sweep`.
        reference: likewise.
        target: likewise.
        contrast: likewise.
        budget: likewise.

    Returns:
        Axes (prompt, layer, head), ablated - clean, in logits or nats: the mean over a prompt's positions.

    Raises:
        PromptError: a prompt or token that cannot be measured, or no contrast for the logit difference.
        HeadAtlasError: a metric that has no estimate.
        MissingReferenceError: a mode without a fitting reference.
    """
    if metric not in ESTIMATED:
        raise HeadAtlasError(f"there are first-order estimates of {' and '.join(ESTIMATED)}, not of {metric[:40]!r}")
    ready = as_prompts(model, prompts, target, contrast)
    if metric == "logit_difference" and not all(prompt.contrasts for prompt in ready):
        raise PromptError("a logit difference needs a contrast in every prompt: give one, or estimate logprob")

    def logprob(prompt: Prompt, logits: Tensor) -> Tensor:
        return logits.log_softmax(-1)[range(len(prompt.targets)), list(prompt.targets)].mean()

    def logit_difference(prompt: Prompt, logits: Tensor) -> Tensor:
        rows = torch.arange(len(prompt.targets))
        return (logits[rows, list(prompt.targets)] - logits[rows, list(prompt.contrasts)]).mean()

    objective = logprob if metric == "logprob" else logit_difference
    values = first_order(model, ready, objective, mode, reference=reference, budget=budget)
    return NamedArray(values, ("prompt", "layer", "head"))


def agreement(estimated: np.ndarray, exact: np.ndarray, k: int = 10) -> Agreement:
    """Compare an estimate with exact effects, head by head.

    Args:
        estimated: [layer, head], of one prompt or a mean over prompts.
        exact: likewise; heads that are NaN in either are left out.
        k: heads of largest magnitude that are compared; all if there are fewer.

    Raises:
        HeadAtlasError: different shapes, or no head that both have.
    """
    one, other = np.asarray(estimated, float).ravel(), np.asarray(exact, float).ravel()
    if one.shape != other.shape:
        raise HeadAtlasError(f"expected two arrays of one shape, found {np.shape(estimated)} and {np.shape(exact)}")
    both = np.isfinite(one) & np.isfinite(other)
    one, other = one[both], other[both]
    if not both.any():
        raise HeadAtlasError("no head has both an estimate and an exact effect")
    k = min(k, len(one))
    largest = [set(np.argsort(-np.abs(values), kind="stable")[:k].tolist()) for values in (one, other)]
    return Agreement(spearman(one, other), len(largest[0] & largest[1]) / k, k, len(one))
