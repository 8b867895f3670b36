"""Outputs of heads over reference prompts: their means, and draws of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from head_atlas.errors import PromptError
from head_atlas.interventions.replacements import MeanReference, ResampleReference
from head_atlas.models import HeadModel
from head_atlas.models.readers import Trace
from head_atlas.prompts.prompt import Prompt
from head_atlas.seeds import checked_seed


def mean_reference(model: HeadModel, prompts: Sequence[str | Prompt], source: str) -> MeanReference:
    """Average the z of every head over prompts, position 0 apart from the rest.

    Every token weighs the same, so a long prompt counts for more than a short one. The prompts run one by
    one, in order, and are summed in float64: the result does not depend on how they could be batched.

    Args:
        model: whose heads.
        prompts: running text as a rule.
        source: what they are, in words; stored with the means.

    Raises:
        PromptError: no prompt is longer than one token.
    """
    shape = (2, model.n_layers, model.n_heads, model.d_head)
    total = torch.zeros(shape, dtype=torch.float64, device=model.device)
    n_first = n_later = 0
    last = torch.tensor([[0]], device=model.device)
    for prompt in prompts:
        tokens = model.tokens(prompt) if isinstance(prompt, str) else model.rows([prompt.tokens])[0]
        trace = Trace()
        with model.intervening(trace):
            model.logits(tokens[None], last)
        for layer, z in trace.z.items():
            total[0, layer] += z[0, 0].double()
            total[1, layer] += z[0, 1:].double().sum(0)
        n_first += 1
        n_later += len(tokens) - 1
    if n_later == 0:
        raise PromptError("a mean reference needs prompts of more than one token")
    total[0] /= n_first
    total[1] /= n_later
    return MeanReference(total.cpu().numpy(), source, n_later)


def resample_reference(
    model: HeadModel,
    prompts: Sequence[str | Prompt],
    source: str,
    *,
    n_draws: int = 5,
    n_pos: int | None = None,
    seed: int = 0,
) -> ResampleReference:
    """Draw prompts and keep the z of every head at each of their first positions.

    Args:
        model: whose heads.
        prompts: running text as a rule; drawn from without replacement.
        source: what they are, in words.
        n_draws: how many are drawn.
        n_pos: positions kept; by default as many as the shortest of those drawn has.
        seed: of the draw.

    Raises:
        PromptError: too few prompts that are long enough.
        HeadAtlasError: a seed that is none.
    """
    seed = checked_seed(seed)
    rows = [model.tokens(p) if isinstance(p, str) else model.rows([p.tokens])[0] for p in prompts]
    fitting = [row for row in rows if len(row) >= (n_pos or 1)]
    if len(fitting) < n_draws:
        raise PromptError(f"{n_draws} draws need as many prompts of at least {n_pos or 1} tokens, found {len(fitting)}")
    drawn = [fitting[i] for i in np.random.default_rng(seed).permutation(len(fitting))[:n_draws]]
    length = n_pos or min(map(len, drawn))
    kept = []
    for row in drawn:
        trace = Trace()
        with model.intervening(trace):
            model.logits(row[None, :length], torch.tensor([[0]], device=model.device))
        kept.append(torch.stack([trace.z[layer][0] for layer in range(model.n_layers)], 1))
    z = torch.stack(kept)
    return ResampleReference((z if z.dtype == torch.float64 else z.float()).cpu().numpy(), source, seed)
