"""Sets of heads removed together: many sets on many prompts, without running again what they have in common.

A generalisation of the sweep. One run of a pack of prompts with the `base` set removed (none, as a rule) keeps every
layer's input and the heads' own outputs. A set S is a row of one batch, which enters the model at the first layer
where S and the base differ: there its attention output is made of the kept outputs, those of S replaced; in every
later layer the row attends by itself, and the outputs of S are replaced again. Sets are ordered by where they enter,
so rows of later layers join those of earlier ones in the same matrix products. As in the sweep, only read positions
run through the end of the last layer.

So a pair of heads costs the layers from its earlier head on, and a circuit one head larger or smaller than the base
costs the layers from that head on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from head_atlas.errors import HeadAtlasError
from head_atlas.heads import HeadId
from head_atlas.interventions.packing import Budget, budget_for, set_packs
from head_atlas.interventions.replacements import FixedValues, Mode, Reference, corrupted_z
from head_atlas.interventions.sweep import checked_values
from head_atlas.models import HeadModel, Intervention
from head_atlas.models.intervention import GivenAttention
from head_atlas.models.readers import Trace
from head_atlas.prompts.prompt import Prompt

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

HeadSet = Iterable[HeadId | str | tuple[int, int]]


@dataclass(frozen=True)
class SetBlock:
    """Some sets of heads, each removed as a whole, on one pack of prompts, in one draw of the reference.

    Attributes:
        prompts: indices of the prompts.
        sets: indices of the sets, one per entry of the first axis of `logits`.
        logits: at the prompts' read positions.
        done: triples of prompt, set and draw finished with this block.
        total: all of them.
        draw: which of the reference's prompts stands in.
        n_draws: how many there are.
    """

    prompts: tuple[int, ...]
    sets: tuple[int, ...]
    logits: Float[Tensor, "set prompt read d_vocab"]
    done: int
    total: int
    draw: int
    n_draws: int


def set_rows(
    model: HeadModel,
    prompts: Sequence[Prompt],
    sets: Sequence[HeadSet],
    mode: Mode = "zero",
    *,
    reference: Reference | None = None,
    base: HeadSet = (),
    budget: Budget | None = None,
) -> Iterator[SetBlock]:
    """Remove sets of heads, each as a whole, and yield the logits at each prompt's positions.

    A generator: whoever stops iterating cancels the rest. Arguments are checked before it is returned.

    Args:
        model: whose heads.
        prompts: of any lengths.
        sets: of heads; the empty one is the clean run.
        mode: "zero", "mean" or "resample".
        reference: as in `sweep_rows`.
        base: a set that the others resemble. It changes the cost, and no result.
        budget: None for what suits the model's device.

    Raises:
        HeadError: a head that the model does not have.
        HeadAtlasError: no set; or pattern_freeze, which is not defined for sets here.
        PromptError: as `sweep_rows`.
        MissingReferenceError: likewise.
    """
    if mode == "pattern_freeze":
        raise HeadAtlasError("sets of heads can be removed by zero, mean or resample; pattern_freeze is for one head")
    if not sets:
        raise HeadAtlasError("no set of heads to remove: give at least one")
    masks = torch.stack([_mask(model, heads) for heads in sets])
    values = checked_values(model, prompts, mode, reference)
    return _blocks(model, prompts, masks, _mask(model, base), values, budget or budget_for(model))


def _mask(model: HeadModel, heads: HeadSet) -> Bool[Tensor, "layer head"]:
    mask = torch.zeros(model.n_layers, model.n_heads, dtype=torch.bool)
    for head in model.heads(heads):
        mask[head.layer, head.head] = True
    return mask


class _RemovedByRow(Intervention):
    """Replaces z in rows (set, prompt), each set its own heads."""

    def __init__(self, run: _PackRun, masks: Bool[Tensor, "set layer head"]) -> None:
        self._run, self._masks = run, masks

    def on_z(
        self,
        layer: int,
        z: Float[Tensor, "row pos head d_head"],
        first_position: int | Int[Tensor, " batch"],  # noqa: ARG002
    ) -> Float[Tensor, "row pos head d_head"]:
        return self._run.replaced(layer, z, self._masks[:, layer])


class _PackRun:
    """The run of a pack with the base set removed, and what stands for the heads in one draw."""

    def __init__(
        self,
        model: HeadModel,
        members: Sequence[Prompt],
        base: Bool[Tensor, "layer head"],
        values: FixedValues | None,
        draw: int,
    ) -> None:
        self.model, self.n_prompts = model, len(members)
        self._values, self._draw = values, draw
        tokens = model.rows([prompt.tokens for prompt in members])
        self.read: Int[Tensor, "prompt read"] = torch.tensor([p.positions for p in members], device=model.device)
        self._z: dict[int, Tensor] = {}
        if values is None:
            corrupted = model.rows([prompt.corrupted for prompt in members])
            self._z = corrupted_z(model, tokens, corrupted, freeze=False)
        self._at = torch.arange(tokens.shape[1], device=model.device)
        self.trace = Trace()  # outermost: it keeps each head's own z, before it is replaced
        with model.intervening(self.trace, _RemovedByRow(self, base[None])):
            model.logits(tokens, self.read[:, :1])
        self.course, self.end = model.layerwise(tokens.shape[1]), model.layerwise(self.read.shape[1])

    def replaced(
        self, layer: int, z: Float[Tensor, "row pos head d_head"], mask: Bool[Tensor, "set head"]
    ) -> Float[Tensor, "row pos head d_head"]:
        """Put in place what stands for each set's heads, rows being (set, prompt)."""
        if not mask.any():
            return z
        if self._values is None:
            put = self._z[layer]  # prompt pos head d_head
        else:
            put = self._values.at(self._draw, layer, list(range(self.model.n_heads)), self._at)
        by_set = z.unflatten(0, (len(mask), self.n_prompts))
        return torch.where(mask.to(z.device)[:, None, None, :, None], put, by_set).flatten(0, 1)

    def entering(
        self, layer: int, masks: Bool[Tensor, "set layer head"]
    ) -> tuple[Float[Tensor, "row pos d_model"], Float[Tensor, "row pos d_model"]]:
        """Input and attention output of the layer at which some sets enter: rows (set, prompt)."""
        rows = [t.expand(len(masks), *t.shape).flatten(0, 1) for t in (self.trace.inputs[layer], self.trace.z[layer])]
        return rows[0], self.model.project(layer, self.replaced(layer, rows[1], masks[:, layer]))

    def at_read(self, rows: Float[Tensor, "row pos *rest"]) -> Float[Tensor, "row read *rest"]:
        """Rows (set, prompt) at their prompts' read positions."""
        by_prompt = rows.unflatten(0, (-1, self.n_prompts))
        prompt = torch.arange(self.n_prompts, device=rows.device)[:, None]
        return by_prompt[:, prompt, self.read].flatten(0, 1)


@torch.no_grad()
def _remove(
    run: _PackRun, masks: Bool[Tensor, "set layer head"], entry: Sequence[int]
) -> Float[Tensor, "row read d_model"]:
    """Remove sets, ordered by where they enter: the residual stream after the last layer, at read positions."""
    last = run.model.n_layers - 1
    rows: Tensor | None = None
    inside = 0
    for layer in range(entry[0], last):
        n_new = entry.count(layer)
        with run.model.intervening(_RemovedByRow(run, masks[:inside])):
            if n_new:
                hidden, attention = run.entering(layer, masks[inside : inside + n_new])
                n_below = 0 if rows is None else len(rows)
                hidden = hidden if rows is None else torch.cat([rows, hidden])
                rows = run.course.run(layer, hidden, GivenAttention(n_below, attention))
            else:
                assert rows is not None  # the first layer of the range has sets
                rows = run.course.run(layer, rows)
        inside += n_new
    hiddens, attentions = [], []
    if rows is not None:
        z = run.replaced(last, run.course.z(last, rows), masks[:inside, last])
        hiddens.append(run.at_read(rows))
        attentions.append(run.model.project(last, run.at_read(z)))
    if inside < len(masks):
        hidden, attention = run.entering(last, masks[inside:])
        hiddens.append(run.at_read(hidden))
        attentions.append(run.at_read(attention))
    return run.end.run(last, torch.cat(hiddens), GivenAttention(0, torch.cat(attentions)))


def _blocks(
    model: HeadModel,
    prompts: Sequence[Prompt],
    masks: Bool[Tensor, "set layer head"],
    base: Bool[Tensor, "layer head"],
    values: FixedValues | None,
    budget: Budget,
) -> Iterator[SetBlock]:
    differs = (masks != base).any(-1)  # set layer
    # a set equal to the base enters at the last layer, where nothing of it differs
    entry = [next((layer for layer, here in enumerate(row) if here), model.n_layers - 1) for row in differs.tolist()]
    order = sorted(range(len(masks)), key=entry.__getitem__)
    n_draws = 1 if values is None else len(values.z)
    done, total = 0, len(prompts) * len(masks) * n_draws
    for pack in set_packs(prompts, len(masks), model.d_vocab, budget):
        members = [prompts[index] for index in pack.prompts]
        for draw in range(n_draws):
            run = _PackRun(model, members, base, values, draw)
            for start, stop in pack.batches:
                batch = order[start:stop]
                rows = _remove(run, masks[batch], [entry[i] for i in batch]).unflatten(0, (-1, run.n_prompts))
                for first in range(0, len(batch), pack.sets_per_logits):
                    some = batch[first : first + pack.sets_per_logits]
                    logits = run.end.logits(rows[first : first + len(some)].flatten(0, 1))
                    done += len(some) * len(members)
                    yield SetBlock(
                        pack.prompts,
                        tuple(some),
                        logits.unflatten(0, (-1, run.n_prompts)),
                        done,
                        total,
                        draw,
                        n_draws,
                    )
