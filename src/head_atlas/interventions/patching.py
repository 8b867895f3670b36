"""Activation patching: parts of one run put in place of those of another, and the rest run on from there. No metrics.

Places, and what stands there after a patch (l a layer, p a position, h a head):

    resid_pre   the residual stream that layer l reads, at p
    attn_out    what attention l writes, at p; the same as z of all its heads at p, since z W_O + b_O is linear
    mlp_out     what MLP l writes, at p
    z           the output of head h before W_O, at p
    q, k, v     what head h's attention is computed from, at p (positions are in q and k); the patch is in that head
                alone, also where a key or value is shared with other heads: they go on with their own

A `Site` is one such set of places; each site is one run. Every run starts at the first layer that its site touches,
from the base run's residual stream: what lies below cannot change. Sites are ordered by that layer and run together,
as rows of one batch that grows from layer to layer, packed to a budget of tokens; only read positions are unembedded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

import torch

from head_atlas.errors import HeadAtlasError, PromptError
from head_atlas.interventions.packing import Budget, budget_for
from head_atlas.models import HeadModel, Intervention
from head_atlas.models.intervention import AttentionInputs
from head_atlas.models.readers import ReadPositions, Trace

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

Place = Literal["resid_pre", "attn_out", "mlp_out", "z", "q", "k", "v"]
PLACES: tuple[Place, ...] = get_args(Place)
ATTENTION_INPUTS: tuple[Place, ...] = ("q", "k", "v")
OF_HEADS: tuple[Place, ...] = ("z", *ATTENTION_INPUTS)


@dataclass(frozen=True)
class Site:
    """What one run takes from the other.

    Attributes:
        place: one of `PLACES`.
        layers: in order; all are patched in the one run.
        heads: for places of heads; None for all.
        positions: None for all.
    """

    place: Place
    layers: tuple[int, ...]
    heads: tuple[int, ...] | None = None
    positions: tuple[int, ...] | None = None


@dataclass(frozen=True)
class RecordedRun:
    """All that can be patched from a run, or into it; every tensor is [prompt, pos, ...], by layer.

    Attributes:
        tokens: what was run.
        inputs: the residual stream that each layer reads.
        z: of each head.
        attention_outputs: z W_O + b_O.
        mlp_outputs: empty unless recorded.
        q: [prompt, head, pos, d]; like k and v empty unless recorded.
        k: [prompt, kv_head, pos, d].
        v: [prompt, kv_head, pos, d_head].
        logits: at read positions, [prompt, read, d_vocab].
    """

    tokens: Int[Tensor, "prompt pos"]
    inputs: dict[int, Tensor]
    z: dict[int, Tensor]
    attention_outputs: dict[int, Tensor]
    logits: Float[Tensor, "prompt read d_vocab"]
    mlp_outputs: dict[int, Tensor] = field(default_factory=dict)
    q: dict[int, Tensor] = field(default_factory=dict)
    k: dict[int, Tensor] = field(default_factory=dict)
    v: dict[int, Tensor] = field(default_factory=dict)

    @property
    def n_prompts(self) -> int:
        """Rows of the run."""
        return len(self.tokens)

    def row(self, index: int) -> RecordedRun:
        """One prompt of the run, as a run of one row."""

        def pick(tensors: dict[int, Tensor]) -> dict[int, Tensor]:
            return {layer: tensor[index : index + 1] for layer, tensor in tensors.items()}

        return RecordedRun(
            self.tokens[index : index + 1],
            pick(self.inputs),
            pick(self.z),
            pick(self.attention_outputs),
            self.logits[index : index + 1],
            pick(self.mlp_outputs),
            pick(self.q),
            pick(self.k),
            pick(self.v),
        )


class _Recorder(Trace):
    def __init__(self, mlps: bool, attention_inputs: bool) -> None:
        super().__init__()
        self._mlps, self.wants_attention = mlps, attention_inputs
        self.mlp_outputs: dict[int, Tensor] = {}
        self.q: dict[int, Tensor] = {}
        self.k: dict[int, Tensor] = {}
        self.v: dict[int, Tensor] = {}

    def on_attention(self, layer: int, inputs: AttentionInputs, z: Tensor) -> Tensor:
        self.q[layer], self.k[layer], self.v[layer] = inputs.q, inputs.k, inputs.v
        return z

    def on_mlp_output(self, layer: int, output: Tensor) -> None:
        if self._mlps:
            # some MLPs return their rows flattened, and Falcon adds to the output in place
            self.mlp_outputs[layer] = output.reshape(self.inputs[layer].shape).clone()


@torch.no_grad()
def record(
    model: HeadModel,
    tokens: Int[Tensor, "prompt pos"],
    read: Int[Tensor, "prompt read"],
    *,
    mlps: bool = False,
    attention_inputs: bool = False,
    run: Callable[[], Tensor] | None = None,
) -> RecordedRun:
    """Run some prompts of one length and keep what patches need, under the active interventions.

    Args:
        model: to run.
        tokens: of the prompts.
        read: positions whose logits are kept.
        mlps: keep their outputs too.
        attention_inputs: keep q, k and v too.
        run: makes the logits at read positions in place of a plain run of the tokens.

    Raises:
        UnsupportedModelError: q, k and v cannot be reached in this architecture.
        NotApplicableError: nor can what its MLPs write.
    """
    if mlps:
        _ = model.anatomy  # found at first use: from then on MLPs tell what they write
    if attention_inputs:
        model.require_attention_inputs()
    recorder = _Recorder(mlps, attention_inputs)
    with model.intervening(recorder):
        if run is None:
            logits = model.logits(tokens, read)
        else:
            with model.intervening(ReadPositions(read)):
                logits = run()
    return RecordedRun(
        tokens,
        recorder.inputs,
        recorder.z,
        recorder.attention_outputs,
        logits,
        recorder.mlp_outputs,
        recorder.q,
        recorder.k,
        recorder.v,
    )


def aligned(model: HeadModel, clean: Sequence[int], corrupted: Sequence[int]) -> int:
    """Check that two prompts can be patched into each other, and return the first position where they differ.

    Raises:
        PromptError: they have different lengths (the message names both, and where they first differ), or are equal.
    """
    differ = (i for i, (one, other) in enumerate(zip(clean, corrupted, strict=False)) if one != other)
    first = next(differ, min(len(clean), len(corrupted)))
    if len(clean) != len(corrupted):
        pieces = [model.strings(ids[first : first + 1]) for ids in (clean, corrupted)]
        found = [repr(piece[0]) if piece else "the end" for piece in pieces]
        raise PromptError(
            f"patching needs prompts of equal length: the clean one has {len(clean)} tokens, the corrupted one "
            f"{len(corrupted)}; they first differ at position {first}, {found[0]} against {found[1]}"
        )
    if first == len(clean):
        raise PromptError("the clean and the corrupted prompt are the same: there is nothing to patch")
    return first


@dataclass(frozen=True)
class PatchedBlock:
    """The logits of some patched runs.

    Attributes:
        sites: indices into the list of sites.
        logits: at read positions, [site, prompt, read, d_vocab].
        done: sites finished with this block.
        total: all sites.
    """

    sites: tuple[int, ...]
    logits: Float[Tensor, "site prompt read d_vocab"]
    done: int
    total: int


def patched_rows(
    model: HeadModel,
    base: RecordedRun,
    source: RecordedRun,
    sites: Sequence[Site],
    read: Int[Tensor, "prompt read"],
    *,
    budget: Budget | None = None,
) -> Iterator[PatchedBlock]:
    """Run the base with each site taken from the source, alone.

    A generator: whoever stops iterating cancels the rest. Arguments are checked before it is returned.

    Args:
        model: to run.
        base: the run that is patched; MLP outputs need not be in it.
        source: the run that the patches come from; as many prompts as the base.
        sites: one run for each.
        read: positions whose logits are wanted, for each prompt.
        budget: how much runs at once; None for what suits the model's device.

    Raises:
        HeadAtlasError: a place that does not exist, or was not recorded in the source.
        PromptError: runs of different shapes, or no site.
    """
    if base.tokens.shape != source.tokens.shape:
        raise PromptError(f"runs of {tuple(base.tokens.shape)} and {tuple(source.tokens.shape)} tokens are not aligned")
    if not sites:
        raise PromptError("no site to patch")
    kept = {"mlp_out": source.mlp_outputs, "q": source.q, "k": source.k, "v": source.v}
    for place in {site.place for site in sites}:
        if place not in PLACES:
            raise HeadAtlasError(f"place must be one of {', '.join(PLACES)}, found {str(place)[:40]!r}")
        if not kept.get(place, True):
            raise HeadAtlasError(f"{place} was not recorded in the source run")
    return _blocks(model, base, source, sites, read, budget or budget_for(model))


def _blocks(
    model: HeadModel,
    base: RecordedRun,
    source: RecordedRun,
    sites: Sequence[Site],
    read: Int[Tensor, "prompt read"],
    budget: Budget,
) -> Iterator[PatchedBlock]:
    n_prompts, n_pos = base.tokens.shape
    n_read = read.shape[1]
    order = sorted(range(len(sites)), key=lambda i: min(sites[i].layers))
    per_batch = max(1, budget.tokens // (n_prompts * n_pos))
    per_logits = max(1, budget.logits // (n_prompts * n_read * model.d_vocab))
    end = model.layerwise(n_read)
    done = 0
    for start in range(0, len(order), per_batch):
        batch = order[start : start + per_batch]
        final = _run_on(model, base, source, [sites[i] for i in batch])
        at = read.repeat(len(batch), 1)[..., None].expand(-1, -1, final.shape[-1])
        final = final.gather(1, at)
        for first in range(0, len(batch), per_logits):
            some = batch[first : first + per_logits]
            logits = end.logits(final[first * n_prompts : (first + len(some)) * n_prompts])
            done += len(some)
            yield PatchedBlock(tuple(some), logits.unflatten(0, (-1, n_prompts)), done, len(sites))


@torch.no_grad()
def _run_on(
    model: HeadModel, base: RecordedRun, source: RecordedRun, sites: list[Site]
) -> Float[Tensor, "row pos d_model"]:
    """Residual stream after the last layer; rows (site, prompt), sites ordered by their first layer."""
    course = model.layerwise(base.tokens.shape[1])
    firsts = [min(site.layers) for site in sites]
    patches = Patches(model, source, sites)
    rows: Tensor | None = None
    with model.intervening(patches):
        for layer in range(firsts[0], model.n_layers):
            n_new = firsts.count(layer)
            if n_new:
                new = base.inputs[layer].repeat(n_new, 1, 1)
                rows = new if rows is None else torch.cat([rows, new])
            assert rows is not None  # the first layer has sites
            rows = course.run(layer, rows)
    assert rows is not None
    return rows


class Patches(Intervention):
    """Puts parts of a source run in place; rows (site, prompt), of which the first ones that have begun are running.

    Args:
        model: that runs.
        source: what is put in place.
        sites: one for each row of prompts.
    """

    def __init__(self, model: HeadModel, source: RecordedRun, sites: Sequence[Site]) -> None:
        self._source, self._sites = source, sites
        self._n_heads = model.n_heads
        self.wants_attention = any(site.place in ATTENTION_INPUTS for site in sites)

    def on_layer_input(self, layer: int, hidden: Tensor) -> Tensor:
        """Patch `resid_pre`."""
        mask = self._mask(layer, ("resid_pre",), len(hidden))
        return hidden if mask is None else _where(mask.any(1)[..., None], self._source.inputs[layer], hidden)

    def on_attention(self, layer: int, inputs: AttentionInputs, z: Tensor) -> Tensor:
        """Patch q, k and v, each in the heads of its site alone."""
        masks = {place: self._mask(layer, (place,), len(z)) for place in ATTENTION_INPUTS}
        found = {place: mask for place, mask in masks.items() if mask is not None}
        if not found:
            return z
        mixed = dict(q=inputs.q, k=inputs.k, v=inputs.v)
        for place, mask in found.items():
            theirs = getattr(self._source, place)[layer]
            shared = mask.unflatten(1, (theirs.shape[1], -1)).any(2)
            mixed[place] = _where(shared[..., None], theirs, mixed[place])
        heads = torch.stack(list(found.values())).any(0).any(-1)  # row head
        return torch.where(heads[:, None, :, None], inputs.attend(mixed["q"], mixed["k"], mixed["v"]), z)

    def on_z(self, layer: int, z: Tensor, first_position: int | Tensor) -> Tensor:  # noqa: ARG002
        """Patch `z`, and `attn_out`, which is z of all heads."""
        mask = self._mask(layer, ("z", "attn_out"), len(z))
        return z if mask is None else _where(mask.transpose(1, 2)[..., None], self._source.z[layer], z)

    def change_mlp_output(self, layer: int, output: Tensor) -> Tensor:
        """Patch `mlp_out`."""
        rows = output.view(-1, self._source.tokens.shape[1], output.shape[-1])  # some MLPs flatten them
        mask = self._mask(layer, ("mlp_out",), len(rows))
        if mask is None:
            return output
        return _where(mask.any(1)[..., None], self._source.mlp_outputs[layer], rows).view(output.shape)

    def _mask(self, layer: int, places: tuple[Place, ...], n_rows: int) -> Bool[Tensor, "row head pos"] | None:
        """Where some places of a layer are patched, in the rows that run; None for nowhere."""
        n_prompts, n_pos = self._source.tokens.shape
        touched = [
            (i, site)
            for i, site in enumerate(self._sites[: n_rows // n_prompts])
            if site.place in places and layer in site.layers
        ]
        if not touched:
            return None
        mask = torch.zeros(n_rows // n_prompts, self._n_heads, n_pos, dtype=torch.bool)
        for i, site in touched:
            heads = slice(None) if site.heads is None else torch.tensor(site.heads)[:, None]
            mask[i, heads, slice(None) if site.positions is None else torch.tensor(site.positions)] = True
        return mask.repeat_interleave(n_prompts, 0).to(self._source.tokens.device)


def _where(mask: Tensor, theirs: Tensor, ours: Tensor) -> Tensor:
    """The source's values, [prompt, ...], where the mask is True; rows are (site, prompt)."""
    return torch.where(mask, theirs.repeat(len(ours) // len(theirs), *[1] * (theirs.ndim - 1)), ours)
