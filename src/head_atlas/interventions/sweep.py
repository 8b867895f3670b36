"""The sweep: every head removed alone, exactly, without running again what its removal cannot change.

Algorithm. Prompts of one length, read at the same number of positions, are packed together.
1. One clean run of the pack keeps, for every layer l, its input x_l, the heads' outputs z_l and the
   attention's output a_l = sum_h z_l[h] W_O[h] + b_O.
2. Removing head h of layer l replaces z_l[h] by z'. The output projection is linear, so layer l's attention
   output becomes a_l + (z' - z_l[h]) W_O[h]: a product of rank d_head, and no attention is computed there.
3. Each head is a row of one batch, which enters the model at its layer with x_l and that attention output. The
   batch grows from layer to layer: the rows of layer l join those of the layers below it, which run as in any
   forward pass, in the same matrix products. Layers below a row's own do not run for it.
4. In the last layer, rows from below need keys and values everywhere, but all else (output projection, MLP) only
   at positions that are read; the last layer's own heads need nothing elsewhere. Only these are unembedded.
5. Masks, rotary angles and position biases are made once for a length, and shared by all rows.

FLOPs: see `interventions.flops`; about half of what a forward pass for every head takes, and less a layer.
Batches, memory and budget: see `interventions.packing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np
import torch

from head_atlas.errors import HeadError, PromptError
from head_atlas.heads import HeadId
from head_atlas.interventions.ablation import by_layer
from head_atlas.interventions.packing import Budget, Pack, budget_for, packs
from head_atlas.interventions.replacements import FixedValues, Mode, Reference, corrupted_z, fixed_values
from head_atlas.models import HeadModel
from head_atlas.models.intervention import GivenAttention
from head_atlas.models.readers import Trace
from head_atlas.prompts.prompt import Prompt

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

Metric = Callable[[Prompt, "Tensor", "Tensor"], "Tensor"]


@dataclass(frozen=True)
class SweepBlock:
    """Some heads of one layer, removed one at a time, on one pack of prompts.

    Attributes:
        prompts: indices of the prompts.
        layer: of the heads.
        heads: removed, one per entry of the first axis of `ablated`.
        clean: logits at the prompts' read positions; the same tensor in all blocks of a pack.
        ablated: the same positions with each head removed.
        done: pairs of prompt and head finished with this block, in every draw.
        total: all of them.
        draw: which of the reference's prompts stands in.
        n_draws: how many there are; the blocks of these heads come once for each, the last draw last.
    """

    prompts: tuple[int, ...]
    layer: int
    heads: tuple[int, ...]
    clean: Float[Tensor, "prompt read d_vocab"]
    ablated: Float[Tensor, "head prompt read d_vocab"]
    done: int
    total: int
    draw: int = 0
    n_draws: int = 1


def sweep_rows(
    model: HeadModel,
    prompts: Sequence[Prompt],
    mode: Mode = "zero",
    *,
    reference: Reference | None = None,
    heads: Iterable[HeadId | str | tuple[int, int]] | None = None,
    budget: Budget | None = None,
) -> Iterator[SweepBlock]:
    """Remove heads one at a time and yield the logits at each prompt's positions.

    A generator: whoever stops iterating cancels the rest, and each block says how far it is. Arguments are
    checked before it is returned.

    Args:
        model: whose heads.
        prompts: of any lengths.
        mode: what a removed head's output becomes.
        reference: for "mean" a `MeanReference`; for "resample" a `ResampleReference`, or CORRUPTED for each
            prompt's own corrupted one, which "pattern_freeze" uses in any case.
        heads: None for all.
        budget: None for what suits the model's device.

    Raises:
        HeadError: a head that the model does not have, or no head.
        PromptError: no prompt, one that the model cannot read, one longer than the reference, or one without
            a corrupted prompt where that is needed.
        MissingReferenceError: a mode without a fitting reference.
    """
    everything = [HeadId(l, h) for l in range(model.n_layers) for h in range(model.n_heads)]  # noqa: E741
    chosen = everything if heads is None else model.heads(heads)
    if not chosen:
        raise HeadError("no head to remove: name at least one")
    values = checked_values(model, prompts, mode, reference)
    plan = packs(prompts, by_layer(chosen), model.d_vocab, budget or budget_for(model))
    n_draws = 1 if values is None else len(values.z)
    return _blocks(model, prompts, plan, mode, values, n_draws, len(prompts) * len(chosen) * n_draws)


def checked_values(
    model: HeadModel, prompts: Sequence[Prompt], mode: Mode, reference: Reference | None
) -> FixedValues | None:
    """Return what stands for z (None where it depends on each prompt's corrupted one), prompts checked.

    Raises:
        PromptError: no prompt, or one that the model or the mode cannot take.
        MissingReferenceError: a mode without a fitting reference.
    """
    if not prompts:
        raise PromptError("no prompt to measure on")
    values = fixed_values(model, mode, reference)
    for index, prompt in enumerate(prompts):
        model.rows([prompt.tokens])
        if values is not None:
            values.at(0, 0, [], torch.tensor(len(prompt) - 1, device=model.device))
        elif not prompt.corrupted:
            raise PromptError(f"prompt {index} has no corrupted prompt of equal length, which this mode needs")
        else:
            model.rows([prompt.corrupted])
    return values


def sweep_metric(
    model: HeadModel,
    prompts: Sequence[Prompt],
    metric: Metric,
    mode: Mode = "zero",
    *,
    reference: Reference | None = None,
    heads: Iterable[HeadId | str | tuple[int, int]] | None = None,
    budget: Budget | None = None,
) -> np.ndarray:
    """Measure every head by any metric of the logits.

    Args:
        model: whose heads.
        prompts: of any lengths.
        metric: takes a prompt, its clean logits [read, d_vocab] and ablated logits [head, read, d_vocab], and
            returns one number per head.
        mode: as in `sweep_rows`.
        reference: likewise.
        heads: likewise.
        budget: likewise.

    Returns:
        [prompt, layer, head], the mean over draws; NaN for heads that were not asked for.
    """
    found = np.full((len(prompts), model.n_layers, model.n_heads), np.nan)
    for block in sweep_rows(model, prompts, mode, reference=reference, heads=heads, budget=budget):
        for column, index in enumerate(block.prompts):
            values = metric(prompts[index], block.clean[column], block.ablated[:, column])
            place = (index, block.layer, list(block.heads))
            before = found[place] if block.draw else 0.0
            found[place] = before + values.detach().double().cpu().numpy() / block.n_draws
    return found


class _PackRun:
    """The clean run of a pack, and what stands for its heads."""

    def __init__(self, model: HeadModel, members: Sequence[Prompt], mode: Mode, values: FixedValues | None) -> None:
        self.model, self._values = model, values
        self.n_prompts = len(members)
        tokens = model.rows([prompt.tokens for prompt in members])
        self.read: Int[Tensor, "prompt read"] = torch.tensor([p.positions for p in members], device=model.device)
        self.trace = Trace()
        with model.intervening(self.trace):
            self.clean = model.logits(tokens, self.read)
        self._z: dict[int, Tensor] = {}
        if values is None:
            corrupted = model.rows([prompt.corrupted for prompt in members])
            self._z = corrupted_z(model, tokens, corrupted, freeze=mode == "pattern_freeze")
        self.course, self.end = model.layerwise(tokens.shape[1]), model.layerwise(self.read.shape[1])
        self._at = torch.arange(tokens.shape[1], device=model.device)

    def new_rows(
        self, layer: int, heads: list[int], draw: int
    ) -> tuple[Float[Tensor, "row pos d_model"], Float[Tensor, "row pos d_model"]]:
        """Input and attention output of a layer, with each of some heads removed: rows (head, prompt)."""
        trace = self.trace
        replaced = (
            self._z[layer][:, :, heads] if self._values is None else self._values.at(draw, layer, heads, self._at)
        )
        change = (replaced - trace.z[layer][:, :, heads]).flatten(0, 1).transpose(0, 1)  # head prompt*pos d_head
        weight = self.model.output_weights(layer)[0][heads]
        shape = (len(heads), *trace.inputs[layer].shape)
        attention = (change @ weight).view(shape) + trace.attention_outputs[layer]
        return trace.inputs[layer].expand(shape).flatten(0, 1), attention.flatten(0, 1)

    def at_read(self, rows: Float[Tensor, "row pos *rest"]) -> Float[Tensor, "row read *rest"]:
        """Rows (head, prompt) at their prompts' read positions."""
        by_prompt = rows.unflatten(0, (-1, self.n_prompts))
        prompt = torch.arange(self.n_prompts, device=rows.device)[:, None]
        return by_prompt[:, prompt, self.read].flatten(0, 1)


@torch.no_grad()
def _ablate(run: _PackRun, heads: Sequence[tuple[int, int]], draw: int) -> Float[Tensor, "row read d_model"]:
    """Remove each of some heads alone: the residual stream after the last layer, at read positions."""
    last = run.model.n_layers - 1
    chosen = by_layer(HeadId(*pair) for pair in heads)
    rows: Tensor | None = None
    for layer in range(min(chosen), last):
        if layer in chosen:
            hidden, attention = run.new_rows(layer, chosen[layer], draw)
            n_below = 0 if rows is None else len(rows)
            hidden = hidden if rows is None else torch.cat([rows, hidden])
            rows = run.course.run(layer, hidden, GivenAttention(n_below, attention))
        else:
            assert rows is not None  # the first layer of the range has heads
            rows = run.course.run(layer, rows)
    hiddens, attentions = [], []
    if rows is not None:
        hiddens.append(run.at_read(rows))
        attentions.append(run.model.project(last, run.at_read(run.course.z(last, rows))))
    if last in chosen:
        hidden, attention = run.new_rows(last, chosen[last], draw)
        hiddens.append(run.at_read(hidden))
        attentions.append(run.at_read(attention))
    return run.end.run(last, torch.cat(hiddens), GivenAttention(0, torch.cat(attentions)))


def _blocks(
    model: HeadModel,
    prompts: Sequence[Prompt],
    plan: list[Pack],
    mode: Mode,
    values: FixedValues | None,
    n_draws: int,
    total: int,
) -> Iterator[SweepBlock]:
    done = 0
    for pack in plan:
        run = _PackRun(model, [prompts[index] for index in pack.prompts], mode, values)
        for batch in pack.heads:
            for draw in range(n_draws):
                rows = _ablate(run, batch, draw).unflatten(0, (-1, run.n_prompts))
                for start in range(0, len(batch), pack.heads_per_logits):
                    some = batch[start : start + pack.heads_per_logits]
                    logits = run.end.logits(rows[start : start + len(some)].flatten(0, 1))
                    logits = logits.unflatten(0, (-1, run.n_prompts))
                    for layer, heads, place in _by_layer(some):
                        done += len(pack.prompts) * len(heads)
                        yield SweepBlock(
                            pack.prompts, layer, heads, run.clean, logits[place], done, total, draw, n_draws
                        )


def _by_layer(batch: Sequence[tuple[int, int]]) -> Iterator[tuple[int, tuple[int, ...], slice]]:
    """(layer, heads, their place) of each layer in a batch."""
    start = 0
    for layer, pairs in groupby(batch, key=itemgetter(0)):
        heads = tuple(head for _, head in pairs)
        yield layer, heads, slice(start, start + len(heads))
        start += len(heads)
