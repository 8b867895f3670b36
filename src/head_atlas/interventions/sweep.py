"""The sweep: every head removed alone, exactly, without running again what its removal cannot change.

Algorithm. Prompts of one length, read at the same number of positions, are packed together.
1. One clean run of the pack keeps, for every layer l, its input x_l, the heads' outputs z_l and the
   attention's output a_l = sum_h z_l[h] W_O[h] + b_O.
2. Removing head h of layer l replaces z_l[h] by z'. The output projection is linear, so layer l's attention
   output becomes a_l + (z' - z_l[h]) W_O[h]: a product of rank d_head, and no attention is computed there.
3. The heads of layer l are rows of one batch that enters the model at layer l with x_l and that attention
   output. Layers below l do not run; layers above run as in any forward pass.
4. Only positions that are read are unembedded, and the last layer's own heads need its MLP only there.

FLOPs, for H heads in each of L layers, P prompts of T tokens read at R positions, with A the FLOPs per token
of a layer's attention (projections and products of q, k, v), M those of its MLP, d = d_model, V = d_vocab:

    clean run      P T L (A + M) + 2 P R d V
    layer l < L-1  H P T [2 d_head d + M + (L-1-l) (A + M)] + 2 H P R d V
    layer L-1      H P [2 T d_head d + R (M + 2 d V)]

or about H L^2 (A + M) P T / 2 in all, half of what L H forward passes take, in large matrix products.

Packing depends on the prompts, the heads asked for and the two constants below, never on the machine:
a product of 7 rows and one of 20 differ in their last bits, and rebuilds must be identical.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from head_atlas.errors import HeadError, PromptError
from head_atlas.heads import HeadId
from head_atlas.interventions.ablation import MeanReference, Mode, replacement
from head_atlas.models import HeadModel
from head_atlas.models.readers import Trace
from head_atlas.prompts.prompt import Prompt

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

TOKENS_PER_BATCH = 1024
LOGITS_PER_BATCH = 2**24


@dataclass(frozen=True)
class SweepBlock:
    """Some heads of one layer, removed one at a time, on one pack of prompts.

    Attributes:
        prompts: indices of the prompts.
        layer: of the heads.
        heads: removed, one per entry of the first axis of `ablated`.
        clean: logits at the prompts' read positions; the same tensor in all blocks of a pack.
        ablated: the same positions with each head removed.
        done: pairs of prompt and head finished with this block.
        total: all pairs of the sweep.
    """

    prompts: tuple[int, ...]
    layer: int
    heads: tuple[int, ...]
    clean: Float[Tensor, "prompt read d_vocab"]
    ablated: Float[Tensor, "head prompt read d_vocab"]
    done: int
    total: int


@dataclass(frozen=True)
class Pack:
    """Prompts that run together, and how many of their rows make one batch."""

    prompts: tuple[int, ...]
    rows_per_batch: int


def sweep_rows(
    model: HeadModel,
    prompts: Sequence[Prompt],
    mode: Mode = "zero",
    *,
    reference: MeanReference | None = None,
    heads: Iterable[HeadId | str | tuple[int, int]] | None = None,
) -> Iterator[SweepBlock]:
    """Remove heads one at a time and yield the logits at each prompt's positions.

    A generator: whoever stops iterating cancels the rest, and each block says how far it is. Arguments are
    checked before it is returned.

    Args:
        model: whose heads.
        prompts: of any lengths.
        mode: what a removed head's output becomes.
        reference: needed for mean mode.
        heads: None for all.

    Raises:
        HeadError: a head that the model does not have, or no head.
        PromptError: no prompt, or one that the model cannot read.
        MissingReferenceError: mean mode without a fitting reference.
    """
    everything = [HeadId(l, h) for l in range(model.n_layers) for h in range(model.n_heads)]  # noqa: E741
    chosen = everything if heads is None else model.heads(heads)
    if not chosen:
        raise HeadError("no head to remove: name at least one")
    if not prompts:
        raise PromptError("no prompt to measure on")
    for prompt in prompts:
        model.rows([prompt.tokens])
    by_layer: dict[int, list[int]] = {}
    for head in sorted(chosen):
        by_layer.setdefault(head.layer, []).append(head.head)
    values = replacement(model, mode, reference)
    return _blocks(model, prompts, by_layer, values)


def packs(prompts: Sequence[Prompt], n_heads: int, d_vocab: int) -> list[Pack]:
    """Group prompts of one length and number of read positions, in order of first appearance.

    Args:
        prompts: of any lengths.
        n_heads: removed per layer, at most.
        d_vocab: size of the vocabulary.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for index, prompt in enumerate(prompts):
        groups.setdefault((len(prompt), len(prompt.positions)), []).append(index)
    result = []
    for (n_pos, n_read), members in groups.items():
        rows = max(1, min(TOKENS_PER_BATCH // n_pos, LOGITS_PER_BATCH // (n_read * d_vocab)))
        size = max(1, rows // n_heads)
        for start in range(0, len(members), size):
            result.append(Pack(tuple(members[start : start + size]), rows))
    return result


def _blocks(
    model: HeadModel,
    prompts: Sequence[Prompt],
    by_layer: dict[int, list[int]],
    values: Tensor,
) -> Iterator[SweepBlock]:
    total = len(prompts) * sum(len(heads) for heads in by_layer.values())
    done = 0
    for pack in packs(prompts, max(map(len, by_layer.values())), model.d_vocab):
        members = [prompts[index] for index in pack.prompts]
        tokens = model.rows([prompt.tokens for prompt in members])
        read = torch.tensor([prompt.positions for prompt in members], device=model.device)
        trace = Trace()
        with model.intervening(trace):
            clean = model.logits(tokens, read)
        size = max(1, pack.rows_per_batch // len(members))
        for layer, heads in by_layer.items():
            for start in range(0, len(heads), size):
                some = heads[start : start + size]
                ablated = _ablate(model, trace, layer, some, values, tokens, read)
                done += len(members) * len(some)
                yield SweepBlock(pack.prompts, layer, tuple(some), clean, ablated, done, total)


@torch.no_grad()
def _ablate(
    model: HeadModel,
    trace: Trace,
    layer: int,
    heads: list[int],
    values: Float[Tensor, "2 layer head d_head"],
    tokens: Tensor,
    read: Tensor,
) -> Float[Tensor, "head prompt read d_vocab"]:
    """Remove each of some heads of a layer alone: rows (head, prompt) of one batch."""
    n_heads, n_prompts = len(heads), len(tokens)
    change = values[1, layer, heads] - trace.z[layer][:, :, heads]  # prompt pos head d_head
    change[:, 0] = values[0, layer, heads] - trace.z[layer][:, 0, heads]
    weight = model.output_weights(layer)[0][heads]  # head d_head d_model
    # One product per head, [prompt * pos, d_head] x [d_head, d_model].
    result = change.flatten(0, 1).transpose(0, 1) @ weight
    result = result.view(n_heads, *trace.attention_outputs[layer].shape)
    attention_output = trace.attention_outputs[layer] + result
    hidden = trace.inputs[layer].expand(n_heads, *trace.inputs[layer].shape)
    logits = model.resume(
        layer,
        hidden.flatten(0, 1),
        attention_output.flatten(0, 1),
        tokens.repeat(n_heads, 1),
        read.repeat(n_heads, 1),
    )
    return logits.view(n_heads, n_prompts, *logits.shape[1:])
