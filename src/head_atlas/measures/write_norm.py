"""How much heads write: the length of z W_O, whatever its direction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from head_atlas.models import HeadModel
from head_atlas.models.readers import Trace
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt


@torch.no_grad()
def write_norm(model: HeadModel, prompts: Sequence[Prompt]) -> NamedArray:
    """Mean length of what each head adds to the residual stream.

    Args:
        model: whose heads.
        prompts: running text as a rule; those of one token have no position that counts.

    Returns:
        (layer, head, prompt): mean over positions >= 1 of ||z W_O||, in the unit of the residual stream, >= 0; a norm
        after the attention is not in it. NaN for prompts of one token.

    Source:
        Kobayashi et al. 2020, Attention is Not Only a Weight, of the whole output in place of one value.
    """
    found = np.full((model.n_layers, model.n_heads, len(prompts)), np.nan)
    weights = [model.output_weights(layer)[0].double() for layer in range(model.n_layers)]
    read = torch.zeros(1, 1, dtype=torch.long, device=model.device)
    for index, prompt in enumerate(prompts):
        if len(prompt) < 2:
            continue
        trace = Trace()
        with model.intervening(trace):
            model.logits(model.rows([prompt.tokens]), read)
        for layer, weight in enumerate(weights):
            written = torch.einsum("phd,hdm->phm", trace.z[layer][0, 1:].double(), weight)
            found[layer, :, index] = written.norm(dim=-1).mean(0).cpu().numpy()
    return NamedArray(found, ("layer", "head", "prompt"))
