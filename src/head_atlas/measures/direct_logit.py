"""Direct logit attribution: what each part of the residual stream adds to a logit difference, by itself.

With the final norm's sigma, and that of norms behind the attention, frozen at the run's own values, the difference

    LD = s (norm_f(x_L) . (W_U[y] - mean over y' of W_U[y']) + b_U[y] - mean over y' of b_U[y'])

is a sum over what was written into x_L: the embedding, each head's z W_O, each layer's b_O, each MLP; and over the
bias of the final norm and of the unembedding. LD is taken before a soft-cap of the logits. y' is one contrast, or
several, or, without any, the whole vocabulary.

An attribution, not an effect: a part also acts through later layers, which read it.

Source: Wang et al. 2022; nostalgebraist 2020. Frozen norms as in Elhage et al. 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from head_atlas.errors import PromptError
from head_atlas.measures.batches import batches
from head_atlas.measures.effects import as_prompts, token_id
from head_atlas.models import HeadModel, Intervention
from head_atlas.models.anatomy import Anatomy
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

Contrasts = Sequence[Sequence[int]]
"""For each read position the tokens that the target is held against; none for the whole vocabulary."""


@dataclass(frozen=True)
class Decomposition:
    """A logit difference by its parts; every number in logits, positive where it speaks for the target.

    Values of a prompt are means over its read positions. Arrays are float64.

    Attributes:
        heads: (layer, head, prompt): z W_O.
        mlps: (layer, prompt).
        attention_bias: (layer, prompt): b_O, and the bias of a norm behind the attention.
        embedding: (prompt,): the first layer's input, positions included.
        final_norm_bias: (prompt,).
        unembedding_bias: (prompt,).
        logit_difference: (prompt,): as the model computed it, before a soft-cap.
        residual: (prompt,): logit_difference - sum of the parts; 0 but for rounding.
    """

    heads: NamedArray
    mlps: NamedArray
    attention_bias: NamedArray
    embedding: NamedArray
    final_norm_bias: NamedArray
    unembedding_bias: NamedArray
    logit_difference: NamedArray
    residual: NamedArray

    @property
    def total(self) -> NamedArray:
        """Sum of all parts, (prompt,)."""
        return NamedArray(self.logit_difference.values - self.residual.values, ("prompt",))

    def parts(self, prompt: int = 0) -> dict[str, float]:
        """Every part of one prompt by name: "embedding", "L0H3", "L0 MLP", "L0 attention bias", and so on."""
        named = {"embedding": float(self.embedding[prompt])}
        n_layers, n_heads = self.heads.shape[:2]
        for layer in range(n_layers):
            named |= {f"L{layer}H{head}": float(self.heads[layer, head, prompt]) for head in range(n_heads)}
            named[f"L{layer} attention bias"] = float(self.attention_bias[layer, prompt])
            named[f"L{layer} MLP"] = float(self.mlps[layer, prompt])
        named["final norm bias"] = float(self.final_norm_bias[prompt])
        named["unembedding bias"] = float(self.unembedding_bias[prompt])
        return named

    def adds_up(self, tolerance: float = 1e-3) -> bool:
        """Whether the residual is at most that share of max(1, |logit difference|) in every prompt."""
        allowed = tolerance * np.maximum(1, np.abs(self.logit_difference.values))
        return bool((np.abs(self.residual.values) <= allowed).all())


def decompose(
    model: HeadModel,
    prompts: str | Prompt | Sequence[str | Prompt],
    target: str | int | None = None,
    contrast: str | int | None = None,
) -> Decomposition:
    """Decompose the logit difference of prompts, under the interventions that are active.

    Args:
        model: to run.
        prompts: texts, read at their last token, or prompts with positions, targets and contrasts of their own.
        target: for texts; the clean run's top token by default.
        contrast: for texts; without one, a target is held against the mean of all logits.

    Raises:
        PromptError: a prompt or a token that cannot be measured.
        NotApplicableError: the model's residual stream cannot be decomposed exactly; the message says why.
    """
    ready = as_prompts(model, prompts, target, contrast)
    return decompose_against(model, ready, [[(y,) for y in p.contrasts] or [()] * len(p.positions) for p in ready])


def induction_copy(model: HeadModel, prompts: Sequence[Prompt]) -> NamedArray:
    """Direct logit of the token that followed last time, minus the mean over the repeated block's tokens.

    Args:
        model: to run.
        prompts: of the family rand_repeat: read at the second copy's queries but its last, with the part "first"
            annotated.

    Returns:
        (layer, head, prompt), in logits; signed: above 0 the head copies, below 0 it suppresses.

    Raises:
        PromptError: a prompt without that annotation.
        NotApplicableError: as `decompose`.

    Source:
        Olsson et al. 2022, copying by induction heads.
    """
    contrasts = []
    for prompt in prompts:
        if "first" not in prompt.annotations:
            raise PromptError("induction_copy needs the first copy of the block: a part called 'first'")
        block = [prompt.tokens[at] for at in prompt.annotations["first"]]
        contrasts.append([block] * len(prompt.positions))
    return decompose_against(model, prompts, contrasts).heads


@torch.no_grad()
def decompose_against(model: HeadModel, prompts: Sequence[Prompt], contrasts: Sequence[Contrasts]) -> Decomposition:
    """Decompose the lead of each target over the mean of any set of tokens.

    Args:
        model: to run.
        prompts: of any lengths.
        contrasts: for each prompt and read position, the tokens; none for the whole vocabulary.

    Raises:
        PromptError: no prompt, a prompt that is too long, or an unknown token.
        NotApplicableError: the model's residual stream cannot be decomposed exactly; the message says why.
    """
    if not prompts:
        raise PromptError("no prompt to measure on")
    for prompt, against in zip(prompts, contrasts, strict=True):
        for token in (*prompt.targets, *(t for some in against for t in some)):
            token_id(model, token)
    anatomy = model.anatomy
    n, sizes = len(prompts), (model.n_layers, model.n_heads)
    heads, mlps, biases = np.empty((*sizes, n)), np.empty((sizes[0], n)), np.empty((sizes[0], n))
    single = {name: np.empty(n) for name in ("embedding", "final_norm_bias", "unembedding_bias", "logit_difference")}
    everything = _mean_row(anatomy) if any(not some for each in contrasts for some in each) else None
    for members in batches(prompts, lambda prompt: len(prompt.positions)):
        some = [prompts[index] for index in members]
        direction, bias = _directions(anatomy, some, [contrasts[index] for index in members], everything)
        run = _Writes(torch.tensor([p.positions for p in some], device=model.device))
        with model.intervening(run):
            model.logits(model.rows([p.tokens for p in some]), run.read)
        sigma = anatomy.final_norm.sigma(run.last)
        reads = anatomy.final_norm.reads(direction, sigma)
        for layer in range(model.n_layers):
            of_heads, of_bias = _attention(model, layer, run, reads)
            heads[layer][:, members] = _numpy(of_heads).T
            biases[layer, members] = _numpy(of_bias)
            mlp = anatomy.layers[layer].mlp_scale * run.mlps[layer].double()
            mlps[layer, members] = _numpy((mlp * reads).sum(-1))
        single["embedding"][members] = _numpy((run.first.double() * reads).sum(-1))
        single["final_norm_bias"][members] = _numpy((anatomy.final_norm.bias * direction).sum(-1))
        single["unembedding_bias"][members] = _numpy(bias)
        single["logit_difference"][members] = _numpy((run.unembedded.double() * direction).sum(-1) + bias)
    total = heads.sum((0, 1)) + mlps.sum(0) + biases.sum(0)
    total += single["embedding"] + single["final_norm_bias"] + single["unembedding_bias"]
    return Decomposition(
        heads=NamedArray(heads, ("layer", "head", "prompt")),
        mlps=NamedArray(mlps, ("layer", "prompt")),
        attention_bias=NamedArray(biases, ("layer", "prompt")),
        residual=NamedArray(single["logit_difference"] - total, ("prompt",)),
        **{name: NamedArray(values, ("prompt",)) for name, values in single.items()},
    )


class _Writes(Intervention):
    """Keeps, at the positions that are read, all that is written into the residual stream."""

    def __init__(self, read: Int[Tensor, "row read"]) -> None:
        self.read = read
        self.z: dict[int, Float[Tensor, "row read head d_head"]] = {}
        self.attention: dict[int, Float[Tensor, "row read d_model"]] = {}
        self.mlps: dict[int, Float[Tensor, "row read d_model"]] = {}
        self.first = self.last = self.unembedded = torch.empty(0)
        self._shape: tuple[int, ...] = ()

    def _at(self, values: Tensor) -> Tensor:
        rows = torch.arange(len(self.read), device=values.device)
        return values[rows[:, None], self.read]

    def on_layer_input(self, layer: int, hidden: Tensor) -> Tensor:
        self._shape = tuple(hidden.shape)
        if layer == 0:
            self.first = self._at(hidden)
        return hidden

    def on_z(self, layer: int, z: Tensor, first_position: int | Int[Tensor, " batch"]) -> Tensor:  # noqa: ARG002
        self.z[layer] = self._at(z)
        return z

    def on_attention_output(self, layer: int, output: Tensor) -> None:
        self.attention[layer] = self._at(output)

    def on_mlp_output(self, layer: int, output: Tensor) -> None:
        self.mlps[layer] = self._at(output.reshape(self._shape))

    def on_layer_output(self, layer: int, hidden: Tensor) -> None:  # noqa: ARG002
        self.last = self._at(hidden)

    def on_unembed(self, hidden: Tensor) -> Tensor:
        self.unembedded = self._at(hidden)
        return hidden


def _attention(
    model: HeadModel, layer: int, run: _Writes, reads: Float[Tensor, "row read d_model"]
) -> tuple[Float[Tensor, "row read head"], Float[Tensor, "row read"]]:
    """What each head of a layer and its biases add."""
    parts = model.anatomy.layers[layer]
    reads = reads * parts.attention_scale
    biased = torch.zeros(reads.shape[:2], dtype=reads.dtype, device=reads.device)
    if parts.post_norm is not None:
        biased = (parts.post_norm.bias * reads).sum(-1)
        reads = parts.post_norm.reads(reads, parts.post_norm.sigma(run.attention[layer]))
    weight, bias = model.output_weights(layer)
    if bias is not None:
        biased = biased + (bias.double() * reads).sum(-1)
    read_by_heads = torch.einsum("brm,hdm->brhd", reads, weight.double())
    return (run.z[layer].double() * read_by_heads).sum(-1), biased


def _mean_row(anatomy: Anatomy) -> tuple[Float[Tensor, " d_model"], Float[Tensor, ""]]:
    """Mean over the vocabulary of W_U and b_U, float64, by blocks."""
    weight, bias = anatomy.unembedding, anatomy.unembedding_bias
    row = torch.stack([block.double().sum(0) for block in weight.split(2**12)]).sum(0) / len(weight)
    return row, row.new_zeros(()) if bias is None else bias.double().mean()


def _directions(
    anatomy: Anatomy,
    prompts: Sequence[Prompt],
    contrasts: Sequence[Contrasts],
    everything: tuple[Tensor, Tensor] | None,
) -> tuple[Float[Tensor, "row read d_model"], Float[Tensor, "row read"]]:
    """Per read position, the direction behind the final norm whose product is the lead, and the bias' share."""
    weight, bias = anatomy.unembedding, anatomy.unembedding_bias
    offsets = torch.zeros(len(weight), dtype=weight.dtype, device=weight.device) if bias is None else bias

    def of(target: int, against: Sequence[int]) -> tuple[Tensor, Tensor]:
        if len(against):
            ids = torch.tensor(list(against), device=weight.device)
            row, offset = weight[ids].double().mean(0), offsets[ids].double().mean()
        else:
            assert everything is not None
            row, offset = everything
        return weight[target].double() - row, offsets[target].double() - offset

    pairs = [
        [of(y, some) for y, some in zip(p.targets, each, strict=True)]
        for p, each in zip(prompts, contrasts, strict=True)
    ]
    direction = torch.stack([torch.stack([row for row, _ in each]) for each in pairs])
    shares = torch.stack([torch.stack([share for _, share in each]) for each in pairs])
    return direction * anatomy.logit_scale, shares * anatomy.logit_scale


def _numpy(values: Float[Tensor, "row read ..."]) -> np.ndarray:
    """Means over read positions."""
    return values.mean(1).cpu().numpy()
