"""What heads write towards an answer themselves, and what removing them costs in all.

direct logits   the share of each part of the residual stream in the logit difference (`measures.direct_logit`)
direct effect   what the logit difference changes by if a head's own share goes and no later layer notices;
                frozen: the norms in its way keep their sigma, so it is minus the head's direct logit;
                live: they are computed anew
total effect    what it changes by if the head is removed (z := 0) and everything behind it runs on

    self-repair = (direct logit lost) - (logit difference lost) = total effect - direct effect

Positive where other heads and MLPs stand in for a head that writes for the answer; a head whose total effect is
large and whose direct one is not acts through others. `stand_ins` says which parts do it: how the direct logits of all
parts change when some heads are removed. These changes add up to the whole effect.

Source: Wang et al. 2022 (backup heads); McGrath et al. 2023; Rushing and Nanda 2024 on self-repair and the norm's part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch

from head_atlas.errors import NotApplicableError, PromptError
from head_atlas.heads import HeadId
from head_atlas.interventions import Mode, Reference, ablating
from head_atlas.interventions.packing import Budget, budget_for
from head_atlas.measures.direct_logit import decompose
from head_atlas.measures.effects import as_prompts, sweep
from head_atlas.measures.metrics import Reading
from head_atlas.models import HeadModel
from head_atlas.models.readers import StreamReader, Trace
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt


@dataclass(frozen=True)
class DirectLogits:
    """The logit difference of one prompt by its parts; logits, positive where a part speaks for the target.

    Norms are frozen, and a soft-cap is left out. The parts add up to the logit difference but for `residual`.

    Attributes:
        heads: axes (layer, head): z W_O.
        attention_bias: (layer,): b_O, and the bias of a norm behind the attention.
        attention: (layer,): the layer's heads and that bias.
        mlps: (layer,).
        embedding: positions included.
        final_norm_bias: of the final norm.
        unembedding_bias: of the unembedding.
        logit_difference: as the model computed it; against the mean of all logits where there is no contrast.
        residual: logit difference - sum of the parts: rounding.
        target: id.
        contrast: id, or None.
    """

    heads: NamedArray
    attention_bias: NamedArray
    attention: NamedArray
    mlps: NamedArray
    embedding: float
    final_norm_bias: float
    unembedding_bias: float
    logit_difference: float
    residual: float
    target: int
    contrast: int | None


def direct_logits(
    model: HeadModel, prompt: str | Prompt, target: str | int | None = None, contrast: str | int | None = None
) -> DirectLogits:
    """Decompose the logit difference after a prompt.

    Args:
        model: to run.
        prompt: a text, read at its last token; or a `Prompt`, whose read positions are averaged over.
        target: of a text; the clean run's top token by default.
        contrast: of a text; without one, the target is held against the mean of all logits.

    Raises:
        PromptError: an empty or too long prompt, or a target that is not one token.
        NotApplicableError: the model's residual stream cannot be decomposed exactly; the message says why.
    """
    (one,) = as_prompts(model, prompt, target, contrast)
    found = decompose(model, one)
    heads, bias = found.heads.values[..., 0], found.attention_bias.values[:, 0]
    return DirectLogits(
        heads=NamedArray(heads, ("layer", "head")),
        attention_bias=NamedArray(bias, ("layer",)),
        attention=NamedArray(heads.sum(1) + bias, ("layer",)),
        mlps=NamedArray(found.mlps.values[:, 0], ("layer",)),
        embedding=float(found.embedding[0]),
        final_norm_bias=float(found.final_norm_bias[0]),
        unembedding_bias=float(found.unembedding_bias[0]),
        logit_difference=float(found.logit_difference[0]),
        residual=float(found.residual[0]),
        target=one.targets[-1],
        contrast=one.contrasts[-1] if one.contrasts else None,
    )


def stand_ins(
    model: HeadModel,
    prompt: str | Prompt,
    heads: Iterable[HeadId | str | tuple[int, int]] | HeadId | str,
    mode: Mode = "zero",
    target: str | int | None = None,
    contrast: str | int | None = None,
    reference: Reference | None = None,
) -> DirectLogits:
    """Say how the direct logits of every part change when some heads are removed: ablated - clean.

    Args:
        model: to run.
        prompt: as in `direct_logits`.
        heads: to remove, all at once.
        mode: what their output becomes.
        target: of a text; the clean run's top token by default.
        contrast: of a text; without one, the target is held against the mean of all logits.
        reference: what the mode needs, as in `ablating`.

    Returns:
        Changes in every field: a positive one steps in for the answer. They add up to that of `logit_difference`, the
        effect before a soft-cap. The norms are frozen in each run at that run's own sigma.

    Raises:
        PromptError: a prompt or a target that cannot be measured.
        HeadError: a head that the model does not have.
        MissingReferenceError: a mode without a fitting reference.
        NotApplicableError: the model's residual stream cannot be decomposed exactly.
    """
    removed = model.heads(heads)
    (one,) = as_prompts(model, prompt, target, contrast)
    clean = direct_logits(model, one)
    with ablating(model, removed, mode, reference):
        ablated = direct_logits(model, one)

    def change(name: str) -> Any:
        before, after = getattr(clean, name), getattr(ablated, name)
        return NamedArray(after.values - before.values, after.dims) if isinstance(after, NamedArray) else after - before

    numbers = [field.name for field in fields(DirectLogits) if field.name not in ("target", "contrast")]
    return replace(clean, **{name: change(name) for name in numbers})


@dataclass(frozen=True)
class DirectAndTotal:
    """Direct against total effect of removing each head; logits, axes (layer, head), negative: the head helped.

    Attributes:
        direct_frozen: with the norms' sigma as in the clean run.
        direct_live: with norms computed anew.
        total: with everything behind the head computed anew.
        logit_difference: of the clean run.
        prompt: with its target and contrast.
    """

    direct_frozen: NamedArray
    direct_live: NamedArray
    total: NamedArray
    logit_difference: float
    prompt: Prompt

    @property
    def self_repair_frozen(self) -> NamedArray:
        """Total - direct effect, norms frozen: above 0 others stand in for the head, the norm's share included."""
        return NamedArray(self.total.values - self.direct_frozen.values, ("layer", "head"))

    @property
    def self_repair_live(self) -> NamedArray:
        """Total - direct effect, norms live: what later layers do, the final norm's share left out."""
        return NamedArray(self.total.values - self.direct_live.values, ("layer", "head"))


def direct_and_total(
    model: HeadModel,
    prompt: str | Prompt,
    target: str | int | None = None,
    contrast: str | int | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
    budget: Budget | None = None,
) -> DirectAndTotal:
    """Remove each head (z := 0) from the final residual stream alone, and from the whole run.

    Args:
        model: to run.
        prompt: a text, or a `Prompt` with targets and contrasts of its own.
        target: of a text; the clean run's top token by default.
        contrast: of a text; needed, as an effect on a logit alone has no zero point.
        progress: is told heads done, and all heads; what it raises ends the run.
        budget: of the sweep; None for what suits the model's device.

    Raises:
        PromptError: no contrast, or a prompt that cannot be measured.
        NotApplicableError: logits behind a soft-cap, or a residual stream that cannot be decomposed exactly.
    """
    (one,) = as_prompts(model, prompt, target, contrast)
    if not one.contrasts:
        raise PromptError("direct and total effects are changes of a logit difference: give a contrast")
    if model.anatomy.soft_cap is not None:
        raise NotApplicableError(
            f"{type(model.model).__name__} caps its logits: direct parts add up in front of the cap, total effects are "
            "measured behind it"
        )
    dims = ("layer", "head")
    total = sweep(model, one, metrics=["logit_difference"], progress=progress, budget=budget)
    parts = decompose(model, one)
    return DirectAndTotal(
        direct_frozen=NamedArray(-parts.heads.values[..., 0], dims),
        direct_live=NamedArray(_direct_live(model, one, budget or budget_for(model)), dims),
        total=NamedArray(total["logit_difference"].values[0].astype(np.float64), dims),
        logit_difference=float(total.clean["logit_difference"][0]),
        prompt=one,
    )


@torch.no_grad()
def _direct_live(model: HeadModel, prompt: Prompt, budget: Budget) -> np.ndarray:
    """Take each head's own write out of the final residual stream, and let the norms answer."""
    read = list(prompt.positions)
    stream, trace = StreamReader(), Trace()
    with model.intervening(stream, trace):
        model.logits(model.rows([prompt.tokens]), torch.tensor([read], device=model.device))
    final = stream.streams[-1][0, read]
    end = model.layerwise(len(read))
    targets = torch.tensor(prompt.targets, device=model.device)
    contrasts = torch.tensor(prompt.contrasts, device=model.device)

    def differences(rows: torch.Tensor) -> torch.Tensor:
        size = max(1, budget.logits // (len(read) * model.d_vocab))
        found = [Reading.of(end.logits(some), targets, contrasts).logit_difference for some in rows.split(size)]
        return torch.cat(found).mean(-1).double()

    effects = []
    for layer, parts in enumerate(model.anatomy.layers):
        weight, _ = model.output_weights(layer)
        written = torch.einsum("phd,hdm->hpm", trace.z[layer][0, read], weight)
        output = trace.attention_outputs[layer][0, read]
        if parts.post_norm is None:
            change = -written
        else:
            change = (parts.post_norm(output - written) - parts.post_norm(output)).to(written)
        effects.append(differences(final + parts.attention_scale * change))
    clean = differences(final[None])
    return (torch.stack(effects) - clean).cpu().numpy()
