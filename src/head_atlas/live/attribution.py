"""Which tokens of a prompt a prediction rests on, to first order: gradient x input.

    a_i = e_i . df/de_i        e_i the embedding of token i

with f = logit(y) - logit(y') where a contrast is given, else f = log p(y); never a probability, whose gradient
vanishes where the model is sure. Only token embeddings move: positions stay fixed, and so does BOS, which
therefore has no attribution (NaN). A first-order estimate: a saturated softmax hides what matters.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from head_atlas.errors import PromptError
from head_atlas.heads import HeadId
from head_atlas.interventions import Mode, Reference, ablating
from head_atlas.measures.effects import as_prompts
from head_atlas.models import HeadModel
from head_atlas.named_array import NamedArray


@dataclass(frozen=True)
class Attribution:
    """Signed share of each token in a prediction.

    Attributes:
        values: axis (token,); in logits with a contrast, else in nats; positive: the token speaks for the
            target. NaN for BOS, which stays fixed.
        tokens: ids of the prompt, BOS first.
        strings: each of them.
        target: id of the token whose prediction is explained.
        contrast: id of the token it is held against, or None.
        f: value of the explained quantity: logit difference, or log-probability.
        heads: that were removed in the run.
    """

    values: NamedArray
    tokens: tuple[int, ...]
    strings: tuple[str, ...]
    target: int
    contrast: int | None
    f: float
    heads: tuple[HeadId, ...]


def attribute(
    model: HeadModel,
    prompt: str,
    target: str | int | None = None,
    contrast: str | int | None = None,
    heads: Iterable[HeadId | str | tuple[int, int]] | HeadId | str = (),
    mode: Mode = "zero",
    reference: Reference | None = None,
) -> Attribution:
    """Attribute the prediction after a prompt to its tokens, by gradient x input.

    Args:
        model: to explain.
        prompt: a text.
        target: id, or text of exactly one token; the clean run's top token by default, heads removed or not.
        contrast: likewise; without one, the target's log-probability is explained.
        heads: removed in the run that is explained.
        mode: what their output becomes.
        reference: what the mode needs, as in `ablating`.

    Raises:
        PromptError: the prompt is empty or too long, or a target is not one token.
        HeadError: a head that the model does not have.
        MissingReferenceError: a mode without a fitting reference.
    """
    if not isinstance(prompt, str):
        raise PromptError("attribution takes a text")
    removed = model.heads(heads)
    (one,) = as_prompts(model, prompt, target, contrast)
    y, others = one.targets[0], one.contrasts
    tokens = model.rows([one.tokens])
    with torch.no_grad():
        embeddings = model.model.get_input_embeddings()(tokens)
    embeddings.requires_grad_()
    with torch.enable_grad(), ablating(model, removed, mode, reference):
        output = model.model(inputs_embeds=embeddings, use_cache=False)
        logits = output.logits[0, -1]
        logits = logits if logits.dtype == torch.float64 else logits.float()
        f = logits[y] - logits[others[0]] if others else logits.log_softmax(-1)[y]
        (gradient,) = torch.autograd.grad(f, embeddings)
    wide = torch.float64 if model.dtype == torch.float64 else torch.float32
    values = (gradient.to(wide) * embeddings.detach().to(wide)).sum(-1)[0].cpu().numpy()
    values[: len(model.policy.prefix)] = np.nan
    return Attribution(
        values=NamedArray(values, ("token",)),
        tokens=one.tokens,
        strings=tuple(model.strings(one.tokens)),
        target=y,
        contrast=others[0] if others else None,
        f=float(f.detach()),
        heads=removed,
    )
