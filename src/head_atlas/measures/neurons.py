"""What makes each hidden unit of the MLPs fire, and whether these things have anything to do with each other.

A unit is one input of the MLP's down projection. It fires at a position where |activation| exceeds `FIRING` times its
own root mean square over all families: a unit that is always on does not fire, one that is rarely on does. In gated
MLPs the sign of a unit means nothing, so sizes are compared; means keep their sign.

    mean[f]    mean activation over prompts of family f
    firing[f]  share of positions where it fires, mean over prompts of f
    families   exp entropy of firing over its sum: the effective number of families it fires for

Position 0 of every prompt is left out. Families are weighed alike, and so are prompts within a family.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from head_atlas.errors import NotApplicableError, PromptError
from head_atlas.measures.batches import batches
from head_atlas.models import HeadModel, Intervention
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

FIRING = 3.0
N_TOP = 5


@dataclass(frozen=True)
class NeuronStatistics:
    """Of every hidden unit; NaN and -1 in layers without, and in columns that a narrower layer does not have.

    Attributes:
        mean: (layer, neuron, family) float32, activation, signed.
        firing: (layer, neuron, family) float32, 0 to 1.
        families: (layer, neuron) float32, 1 to the number of families; NaN where it never fires.
        threshold: (layer, neuron) float32: |activation| above which it fires.
        top_prompts: (layer, neuron, rank) int32: index of the prompt with the largest |activation|, each prompt
            once, of equal ones the earlier; -1 for none.
        top_positions: likewise, position in that prompt.
        top_activations: likewise, signed.
        not_applicable: by layer, why there are no units to read.
    """

    mean: NamedArray
    firing: NamedArray
    families: NamedArray
    threshold: NamedArray
    top_prompts: NamedArray
    top_positions: NamedArray
    top_activations: NamedArray
    not_applicable: dict[int, str]


@torch.no_grad()
def neuron_statistics(
    model: HeadModel, prompts: Sequence[Prompt], progress: Callable[[int, int], None] | None = None
) -> NeuronStatistics:
    """Measure every hidden unit on prompts of several families; every prompt runs twice.

    Args:
        model: to run.
        prompts: with their families. Memory does not grow with their number.
        progress: is told runs done and all runs.

    Raises:
        PromptError: a prompt of one token, or none at all.
        NotApplicableError: no layer has units that can be read; the message says why.
    """
    if not prompts or min(map(len, prompts)) < 2:
        raise PromptError("neurons need prompts of two tokens or more: position 0 is left out")
    layers = model.anatomy.layers
    reasons = {layer: parts.no_neurons for layer, parts in enumerate(layers) if parts.no_neurons}
    if len(reasons) == len(layers):
        raise NotApplicableError(reasons[0])
    families = tuple(dict.fromkeys(prompt.family for prompt in prompts))
    numbers = torch.tensor([families.index(prompt.family) for prompt in prompts])
    sizes = numbers.bincount(minlength=len(families)).to(torch.float64)
    first = _Sums(model, len(families))
    _run(model, prompts, numbers, first, progress, 0)
    mean, squares = first.mean / sizes, first.squares / sizes
    threshold = FIRING * squares.mean(-1).sqrt()
    second = _Firing(model, len(families), threshold)
    _run(model, prompts, numbers, second, progress, len(prompts))
    firing = second.firing / sizes
    effective = effective_families(firing)
    for layer, parts in enumerate(layers):
        for values in (mean, firing, effective, threshold, first.top_values):
            values[layer, parts.neurons :] = torch.nan
        for places in (first.top_prompts, first.top_positions):
            places[layer, parts.neurons :] = -1
    top, labels = ("layer", "neuron", "rank"), {"family": families}
    return NeuronStatistics(
        mean=NamedArray(mean.float().numpy(), ("layer", "neuron", "family"), labels),
        firing=NamedArray(firing.float().numpy(), ("layer", "neuron", "family"), labels),
        families=NamedArray(effective.float().numpy(), ("layer", "neuron")),
        threshold=NamedArray(threshold.float().numpy(), ("layer", "neuron")),
        top_prompts=NamedArray(first.top_prompts.int().numpy(), top),
        top_positions=NamedArray(first.top_positions.int().numpy(), top),
        top_activations=NamedArray(first.top_values.numpy(), top),
        not_applicable=reasons,
    )


def effective_families(firing: Float[Tensor, "*unit family"]) -> Float[Tensor, "*unit"]:
    """Effective number of families that a unit fires for: exp entropy of its firing over the sum of it.

    1 for one family, all of them where it fires alike in all; NaN where it never fires.
    """
    share = firing / firing.sum(-1, keepdim=True)
    return torch.special.entr(share).sum(-1).exp()


def _run(
    model: HeadModel,
    prompts: Sequence[Prompt],
    families: Int[Tensor, " prompt"],
    reader: _Units,
    progress: Callable[[int, int], None] | None,
    done: int,
) -> None:
    for members in batches(prompts):
        reader.prompts = torch.tensor(members)
        reader.families = families[members]
        tokens = model.rows([prompts[index].tokens for index in members])
        with model.intervening(reader):
            model.logits(tokens, torch.zeros(len(tokens), 1, dtype=torch.long, device=model.device))
        done += len(members)
        if progress is not None:
            progress(done, 2 * len(prompts))


class _Units(Intervention):
    """Reads hidden units as [prompt, pos >= 1, neuron].

    Attributes:
        prompts: indices of the rows.
        families: numbers of theirs.
    """

    prompts: Int[Tensor, " row"]
    families: Int[Tensor, " row"]

    def __init__(self, model: HeadModel) -> None:
        self._shape: tuple[int, ...] = ()
        self.n_layers, self.width = model.n_layers, max(parts.neurons for parts in model.anatomy.layers)

    def on_layer_input(self, layer: int, hidden: Tensor) -> Tensor:  # noqa: ARG002
        self._shape = tuple(hidden.shape[:2])
        return hidden

    def on_neurons(self, layer: int, activations: Tensor) -> None:
        self.read(layer, activations.reshape(*self._shape, -1)[:, 1:].float())

    def read(self, layer: int, activations: Float[Tensor, "row pos neuron"]) -> None:
        """Take in a layer's units."""
        raise NotImplementedError

    def added(self, total: Tensor, layer: int, by_prompt: Float[Tensor, "row neuron"]) -> None:
        """Add prompts to the sums of their families."""
        values = by_prompt.double().cpu().T
        total[layer, : len(values)].index_add_(1, self.families, values)


class _Sums(_Units):
    """First run: sums of means and of mean squares, and the largest activations."""

    def __init__(self, model: HeadModel, n_families: int) -> None:
        super().__init__(model)
        shape = (self.n_layers, self.width)
        self.mean = torch.zeros(*shape, n_families, dtype=torch.float64)
        self.squares = torch.zeros(*shape, n_families, dtype=torch.float64)
        self.top_values = torch.full((*shape, N_TOP), torch.nan)
        self.top_prompts = torch.full((*shape, N_TOP), -1)
        self.top_positions = torch.full((*shape, N_TOP), -1)

    def read(self, layer: int, activations: Float[Tensor, "row pos neuron"]) -> None:
        self.added(self.mean, layer, activations.mean(1, dtype=torch.float64))
        self.added(self.squares, layer, activations.double().square().mean(1))
        at = activations.abs().argmax(1, keepdim=True)  # each prompt stands for itself once
        values = activations.gather(1, at)[:, 0].cpu().T
        n = len(values)
        kept = self.top_values[layer, :n], self.top_prompts[layer, :n], self.top_positions[layer, :n]
        found = values, self.prompts.expand(n, -1), at[:, 0].cpu().T + 1
        both = [torch.cat([old, new], 1) for old, new in zip(kept, found, strict=True)]
        # Of equal ones the earlier prompt comes first, however prompts are batched: by prompt, then stably by size.
        by_prompt = both[1].sort(dim=1, stable=True).indices
        both = [values.gather(1, by_prompt) for values in both]
        order = both[0].abs().nan_to_num(nan=-1.0).sort(dim=1, descending=True, stable=True).indices[:, :N_TOP]
        for old, new in zip(kept, both, strict=True):
            old.copy_(new.gather(1, order))


class _Firing(_Units):
    """Second run: how often units exceed their thresholds."""

    def __init__(self, model: HeadModel, n_families: int, threshold: Float[Tensor, "layer neuron"]) -> None:
        super().__init__(model)
        self._threshold = threshold
        self.firing = torch.zeros(self.n_layers, self.width, n_families, dtype=torch.float64)

    def read(self, layer: int, activations: Float[Tensor, "row pos neuron"]) -> None:
        limit = self._threshold[layer, : activations.shape[-1]].to(activations.device)
        self.added(self.firing, layer, (activations.abs() > limit).double().mean(1))
