"""What removing each head would change, to first order: one forward and one backward pass for all heads.

    estimate[h] = sum over positions i of (z'_i - z_i) . df/dz_i

z' is what stands for the head's output, f any differentiable function of the logits, and the gradient is that of
the clean run. The estimate is wrong where a softmax is saturated, where direct and indirect paths cancel, and for
large steps, layer 0's above all: compare it with the exact sweep (`measures.estimates`).

Source: attribution patching, Nanda 2023; Syed et al. 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from head_atlas.interventions.packing import Budget, budget_for, packs
from head_atlas.interventions.replacements import FixedValues, Mode, Reference, corrupted_z
from head_atlas.interventions.sweep import checked_values
from head_atlas.models import HeadModel, Intervention
from head_atlas.prompts.prompt import Prompt

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

Objective = Callable[[Prompt, "Tensor"], "Tensor"]


class _Differentiable(Intervention):
    """Keeps every z where gradients can be had of it."""

    def __init__(self) -> None:
        self.z: dict[int, Float[Tensor, "batch pos head d_head"]] = {}

    def on_z(
        self,
        layer: int,
        z: Float[Tensor, "batch pos head d_head"],
        first_position: int | Int[Tensor, " batch"],  # noqa: ARG002
    ) -> Float[Tensor, "batch pos head d_head"]:
        if not z.requires_grad:
            z = z.detach().requires_grad_()
        self.z[layer] = z
        return z


def first_order(
    model: HeadModel,
    prompts: Sequence[Prompt],
    objective: Objective,
    mode: Mode = "zero",
    *,
    reference: Reference | None = None,
    budget: Budget | None = None,
) -> np.ndarray:
    """Estimate the effect of removing each head alone.

    Args:
        model: whose heads.
        prompts: of any lengths.
        objective: takes a prompt and its logits [read, d_vocab], and returns the one number whose change is
            estimated.
        mode: what a removed head's output becomes.
        reference: as in the sweep; the estimate is linear, so that of several draws is the mean of theirs.
        budget: of tokens; a backward pass keeps every layer, so fewer prompts run together than in a sweep.

    Returns:
        [prompt, layer, head], in the objective's unit; ablated - clean.

    Raises:
        PromptError: no prompt, or one that does not fit the mode.
        MissingReferenceError: a mode without a fitting reference.
    """
    values = checked_values(model, prompts, mode, reference)
    chosen = budget or budget_for(model)
    found = np.full((len(prompts), model.n_layers, model.n_heads), np.nan)
    for pack in packs(prompts, {0: list(range(model.n_layers))}, model.d_vocab, chosen):
        members = [prompts[index] for index in pack.prompts]
        found[list(pack.prompts)] = _of_pack(model, members, objective, mode, values)
    return found


def _of_pack(
    model: HeadModel, members: list[Prompt], objective: Objective, mode: Mode, values: FixedValues | None
) -> np.ndarray:
    tokens = model.rows([prompt.tokens for prompt in members])
    read = torch.tensor([prompt.positions for prompt in members], device=model.device)
    kept = _Differentiable()
    with torch.enable_grad(), model.intervening(kept):
        logits = model.run(tokens, read)
        total = torch.stack([objective(p, row) for p, row in zip(members, logits, strict=True)]).sum()
        gradients = torch.autograd.grad(total, [kept.z[layer] for layer in range(model.n_layers)])
    heads = list(range(model.n_heads))
    at = torch.arange(tokens.shape[1], device=model.device)
    if values is None:
        corrupted = model.rows([prompt.corrupted for prompt in members])
        replaced = corrupted_z(model, tokens, corrupted, freeze=mode == "pattern_freeze")
    else:
        draws = range(len(values.z))
        replaced = {
            layer: torch.stack([values.at(draw, layer, heads, at) for draw in draws]).mean(0)
            for layer in range(model.n_layers)
        }
    estimates = [
        ((replaced[layer] - kept.z[layer].detach()).double() * gradient.double()).sum((1, 3))
        for layer, gradient in enumerate(gradients)
    ]
    return torch.stack(estimates, 1).cpu().numpy()
