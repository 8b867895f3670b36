"""Path patching: what goes from some heads to some others and not through any third head. No metrics.

Wang et al. 2022 (Interpretability in the Wild, appendix B), in four passes:

1. the base run: everything is kept;
2. the source run: z of the senders is kept;
3. the base prompt again, senders' z from the source, every other head's z held at the base run's; MLPs and norms are
   computed anew. The receivers' q, k or v is kept, as computed from that residual stream;
4. the base prompt again, the receivers' q, k or v from pass 3; everything else is computed anew.

A sender thus acts on a receiver directly, or through MLPs, never through other heads. With the logits as the
receiver, pass 3 ends in them and there is no pass 4.

Pass 3 computes no attention: a held head's part of a layer's attention output is known. It runs from the senders'
first layer to the receivers' last one, and pass 4 from the receivers' first layer. Senders run as rows of one batch.
A sender in a receiver's layer or above it has no path to it, so pass 4 would be the base run: its logits are given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from head_atlas.errors import HeadAtlasError, HeadError
from head_atlas.heads import HeadId
from head_atlas.interventions.packing import Budget, budget_for
from head_atlas.interventions.patching import ATTENTION_INPUTS
from head_atlas.interventions.recording import RecordedRun
from head_atlas.models import HeadModel, Intervention
from head_atlas.models.intervention import AttentionInputs, GivenAttention

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

AttentionInput = Literal["q", "k", "v"]


@dataclass(frozen=True, order=True)
class Receiver:
    """An input of a head.

    Attributes:
        head: that receives.
        through: "q", "k" or "v".
    """

    head: HeadId
    through: AttentionInput

    def __str__(self) -> str:
        return f"{self.head}.{self.through}"


Receivers = tuple[Receiver, ...]
LOGITS: Receivers = ()
"""In place of receivers: the model's output."""
Senders = tuple[HeadId, ...]


@dataclass(frozen=True)
class PathBlock:
    """The logits that follow when some senders' paths to some receivers are patched.

    Attributes:
        senders: indices into the list of senders.
        receivers: index into the list of receivers.
        logits: at read positions, [sender, prompt, read, d_vocab].
        done: pairs of senders and receivers finished with this block.
        total: all pairs.
    """

    senders: tuple[int, ...]
    receivers: int
    logits: Float[Tensor, "sender prompt read d_vocab"]
    done: int
    total: int


def path_rows(
    model: HeadModel,
    base: RecordedRun,
    source: RecordedRun,
    senders: Sequence[Senders],
    receivers: Sequence[Receivers],
    read: Int[Tensor, "prompt read"],
    *,
    budget: Budget | None = None,
) -> Iterator[PathBlock]:
    """Patch the paths from each set of senders to each set of receivers.

    A generator: whoever stops iterating cancels the rest. Arguments are checked before it is returned.

    Args:
        model: to run.
        base: pass 1; its q, k and v need not be in it.
        source: pass 2.
        senders: sets of heads; the heads of a set are patched together.
        receivers: sets of inputs of heads, likewise, or `LOGITS`.
        read: positions whose logits are wanted, for each prompt.
        budget: how much runs at once; None for what suits the model's device.

    Raises:
        HeadError: a head that the model does not have, or no sender or receiver.
        HeadAtlasError: an input other than q, k and v.
        UnsupportedModelError: q, k and v cannot be reached in this architecture.
    """
    if not receivers or not senders or not all(senders):
        raise HeadError("path patching needs at least one sender and one receiver")
    for group in senders:
        model.heads(group)
    for receiver in (receiver for group in receivers for receiver in group):
        model.heads([receiver.head])
        if receiver.through not in ATTENTION_INPUTS:
            raise HeadAtlasError(f"a head receives through q, k or v, found {str(receiver.through)[:40]!r}")
    if any(receivers):
        model.require_attention_inputs()
    return _blocks(model, base, source, senders, receivers, read, budget or budget_for(model))


def _blocks(
    model: HeadModel,
    base: RecordedRun,
    source: RecordedRun,
    senders: Sequence[Senders],
    receivers: Sequence[Receivers],
    read: Int[Tensor, "prompt read"],
    budget: Budget,
) -> Iterator[PathBlock]:
    n_prompts, n_pos = base.tokens.shape
    by_logits = budget.logits // (n_prompts * read.shape[1] * model.d_vocab)
    layers = {receiver.head.layer for group in receivers for receiver in group}
    # the inputs that pass 3 keeps, of several layers, take as much as a few more rows would
    size = max(1, min(budget.tokens // (n_prompts * n_pos * (1 + len(layers) // 4)), by_logits))
    order = sorted(range(len(senders)), key=lambda i: min(head.layer for head in senders[i]))
    total, done = len(senders) * len(receivers), 0
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        inputs, final = _pass_3(model, base, source, [senders[i] for i in batch], receivers)
        for index, group in enumerate(receivers):
            if group:
                last = max(receiver.head.layer for receiver in group)
                # pass 4 of the others is the base run
                lower = [i for i, s in enumerate(batch) if min(head.layer for head in senders[s]) < last]
                logits = base.logits.repeat(len(batch), *[1] * (base.logits.ndim - 1))
                logits = logits.unflatten(0, (-1, n_prompts))
                if lower:
                    rows = torch.tensor([i * n_prompts + p for i in lower for p in range(n_prompts)])
                    rows = rows.to(model.device)
                    found = _unembed(model, _pass_4(model, base, inputs, group, rows), read)
                    logits = logits.clone()
                    logits[lower] = found.unflatten(0, (-1, n_prompts))
            else:
                logits = _unembed(model, final, read).unflatten(0, (-1, n_prompts))
            done += len(batch)
            yield PathBlock(tuple(batch), index, logits, done, total)


def _unembed(model: HeadModel, final: Tensor, read: Tensor) -> Tensor:
    at = read.repeat(len(final) // len(read), 1)[..., None].expand(-1, -1, final.shape[-1])
    return model.layerwise(read.shape[1]).logits(final.gather(1, at))


class _KeepInputs(Intervention):
    wants_attention = True

    def __init__(self) -> None:
        self.inputs: AttentionInputs | None = None

    def on_attention(self, layer: int, inputs: AttentionInputs, z: Tensor) -> Tensor:  # noqa: ARG002
        self.inputs = inputs
        return z


@torch.no_grad()
def _pass_3(
    model: HeadModel,
    base: RecordedRun,
    source: RecordedRun,
    senders: list[Senders],
    receivers: Sequence[Receivers],
) -> tuple[dict[int, AttentionInputs], Tensor]:
    """Attention inputs by receiving layer, and the final residual stream; rows (sender, prompt)."""
    course = model.layerwise(base.tokens.shape[1])
    receiving = {receiver.head.layer for group in receivers for receiver in group}
    last = model.n_layers - 1 if not all(receivers) else max(receiving)
    first = min(min(head.layer for group in senders for head in group), *receiving, last)
    hidden = base.inputs[first].repeat(len(senders), 1, 1)
    kept: dict[int, AttentionInputs] = {}
    for layer in range(first, last + 1):
        if layer in receiving:
            keep = _KeepInputs()
            with model.intervening(keep):
                course.z(layer, hidden)
            assert keep.inputs is not None  # checked by require_attention_inputs
            kept[layer] = keep.inputs
            if layer == last and all(receivers):
                break
        hidden = course.run(layer, hidden, GivenAttention(0, _held(model, base, source, senders, layer)))
    return kept, hidden


def _held(model: HeadModel, base: RecordedRun, source: RecordedRun, senders: list[Senders], layer: int) -> Tensor:
    """Attention output of a layer in which senders' z is the source's, and all others' is the base run's."""
    weight, _ = model.output_weights(layer)
    change = source.z[layer] - base.z[layer]
    outputs = []
    for group in senders:
        heads = [head.head for head in group if head.layer == layer]
        output = base.attention_outputs[layer]
        if heads:
            output = output + change[:, :, heads].flatten(2) @ weight[heads].flatten(0, 1)
        outputs.append(output)
    return torch.cat(outputs)


class _Receiving(Intervention):
    """Gives receivers the inputs that pass 3 computed; what else their attention takes is that of the run at hand."""

    wants_attention = True

    def __init__(self, receivers: Receivers, kept: dict[int, AttentionInputs], rows: Int[Tensor, " row"]) -> None:
        self._kept, self._rows = kept, rows
        through: dict[HeadId, set[str]] = {}
        for receiver in receivers:
            through.setdefault(receiver.head, set()).add(receiver.through)
        # heads of a layer that receive through the same inputs share one computation
        self._heads: dict[int, dict[frozenset[str], list[int]]] = {}
        for head, inputs in through.items():
            self._heads.setdefault(head.layer, {}).setdefault(frozenset(inputs), []).append(head.head)

    def on_attention(self, layer: int, inputs: AttentionInputs, z: Tensor) -> Tensor:
        kept = self._kept.get(layer)
        if layer not in self._heads or kept is None:
            return z
        live = z
        z = live.clone()
        for through, heads in self._heads[layer].items():
            mixed = [
                getattr(kept if name in through else inputs, name)[self._rows if name in through else slice(None)]
                for name in ATTENTION_INPUTS
            ]
            z[:, :, heads] = inputs.attend(*mixed)[:, :, heads]
        return z


@torch.no_grad()
def _pass_4(
    model: HeadModel,
    base: RecordedRun,
    kept: dict[int, AttentionInputs],
    receivers: Receivers,
    rows: Int[Tensor, " row"],
) -> Float[Tensor, "row pos d_model"]:
    """Residual stream after the last layer, for some rows of pass 3."""
    course = model.layerwise(base.tokens.shape[1])
    first = min(receiver.head.layer for receiver in receivers)
    hidden = base.inputs[first].repeat(len(rows) // base.n_prompts, 1, 1)
    with model.intervening(_Receiving(receivers, kept, rows)):
        for layer in range(first, model.n_layers):
            hidden = course.run(layer, hidden)
    return hidden
