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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import torch

from head_atlas.errors import HeadAtlasError, PromptError
from head_atlas.interventions.packing import Budget, budget_for
from head_atlas.interventions.recording import RecordedRun
from head_atlas.models import HeadModel, Intervention
from head_atlas.models.intervention import AttentionInputs

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
        mixed = {"q": inputs.q, "k": inputs.k, "v": inputs.v}
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
