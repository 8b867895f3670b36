"""What heads do, read from their weights alone: no prompt.

With W_V, W_O, W_Q, W_K of a head, norms folded in (`models.weights.FoldedWeights`), e_t a token's embedding and x_t
what stands at the token alone, e_t in layer 0 and e_t + MLP0(LN e_t) in later layers:

    ov_copy_eig       sum Re(lambda) / sum |lambda|, lambda the eigenvalues of W_O W_U W_E W_V
    ov_copy           share of tokens t in the top 5 of LN_f(LN_l(x_t) W_V W_O) W_U
    negative_ov_copy  the same of -W_V W_O
    qk_norm, ov_norm  Frobenius norms of W_Q W_K^T and W_V W_O
    ..effective_rank  exp entropy of the singular values over their sum (Roy and Vetterli 2007)
    promoted tokens   top k of the mean over t of the frozen logits LN_f(LN_l(x_t) W_V W_O) W_U
    qk_offset         attention logit by distance, for a query and keys of average content

Everything goes through d_head x d_head products or blocks of the vocabulary: nothing grows with d_model^2 per head,
or with d_vocab^2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from head_atlas.errors import NotApplicableError
from head_atlas.measures.qk_offset import N_DISTANCES, qk_offset
from head_atlas.models import HeadModel
from head_atlas.models.embeddings import Embeddings
from head_atlas.models.intervention import GivenAttention
from head_atlas.models.weights import FoldedWeights, folded_weights, projection
from head_atlas.named_array import NamedArray

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

TOP = 5
N_TOKENS = 1024
N_DRAWS = 20
N_PROMOTED = 10
_BLOCK = 2**13
"""Tokens of the vocabulary at once."""

NULLS = ("ov_copy_eig", "ov_copy", "negative_ov_copy")
SCORES = (*NULLS, "qk_norm", "ov_norm", "qk_effective_rank", "ov_effective_rank")
PROMOTED = ("promoted_tokens", "promoted_logits", "suppressed_tokens", "suppressed_logits")
_OF_TOKENS = (*NULLS, *PROMOTED)


@dataclass(frozen=True)
class WeightScores:
    """Scores of every head.

    Attributes:
        values: by name. Those of `SCORES` have the axes (layer, head), those of `PROMOTED` (layer, head, rank), -1
            or NaN where there is none; qk_offset (layer, head, distance). NaN where a score does not apply.
        nulls: for the copying scores, (layer, head, draw): the score with the tokens' labels permuted.
        not_applicable: by name, why there are NaNs.
        tokens: ids that the shares and means are taken over: a seeded sample, or the whole vocabulary.
    """

    values: dict[str, NamedArray]
    nulls: dict[str, NamedArray]
    not_applicable: dict[str, str]
    tokens: np.ndarray


@torch.no_grad()
def weight_scores(
    model: HeadModel,
    *,
    n_tokens: int = N_TOKENS,
    n_draws: int = N_DRAWS,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> WeightScores:
    """Read every weight score of a model.

    Args:
        model: whose heads.
        n_tokens: tokens that the shares and means are taken over; a share has a standard error of at most
            0.5 / sqrt(n_tokens), 0.016 by default.
        n_draws: permutations of the tokens' labels; the same ones for all heads.
        seed: of the sample and the permutations.
        progress: is told layers done and all layers.
    """
    found = _Found(model, n_draws)
    vocabulary = _Vocabulary(model, n_tokens, n_draws, seed, found)
    for layer in range(model.n_layers):
        try:
            weights = folded_weights(model, layer)
        except NotApplicableError as error:
            found.refuse((*SCORES, *PROMOTED), str(error))
            break
        _sizes(found, layer, weights)
        if not isinstance(weights.value, str) and vocabulary.ready:
            _eigenvalues(found, layer, weights.value, weights.output, vocabulary)
            _copying(found, layer, weights.output, vocabulary)
        if progress is not None:
            progress(layer + 1, model.n_layers)
    try:
        found.values["qk_offset"] = qk_offset(model, vocabulary.embeddings, vocabulary.sample)
        if np.isnan(found.values["qk_offset"]).any():
            found.refuse(("qk_offset",), "some layers cannot see all distances: a sliding window, or a short model")
    except NotApplicableError as error:
        found.refuse(("qk_offset",), str(error))
    return found.scores(vocabulary.sample)


class _Found:
    """What has been found so far: NaN and -1 until then."""

    def __init__(self, model: HeadModel, n_draws: int) -> None:
        heads = (model.n_layers, model.n_heads)
        self.values = {name: np.full(heads, np.nan) for name in SCORES}
        for name in PROMOTED:
            self.values[name] = np.full((*heads, N_PROMOTED), -1 if name.endswith("tokens") else np.nan)
        self.values["qk_offset"] = np.full((*heads, N_DISTANCES), np.nan)
        self.nulls = {name: np.full((*heads, n_draws), np.nan) for name in NULLS}
        self.reasons: dict[str, str] = {}

    def refuse(self, names: tuple[str, ...], reason: str) -> None:
        """Say why scores are missing; the first reason stays."""
        for name in names:
            self.reasons.setdefault(name, reason)

    def scores(self, sample: Tensor) -> WeightScores:
        """Name the axes."""
        last = {**dict.fromkeys(PROMOTED, ("rank",)), "qk_offset": ("distance",)}
        return WeightScores(
            values={name: NamedArray(v, ("layer", "head", *last.get(name, ()))) for name, v in self.values.items()},
            nulls={name: NamedArray(v, ("layer", "head", "draw")) for name, v in self.nulls.items()},
            not_applicable=self.reasons,
            tokens=sample.cpu().numpy(),
        )


class _Vocabulary:
    """What the scores need of the embedding and the unembedding.

    Attributes:
        ready: there is one; else `found` says why not.
        embeddings: of tokens.
        sample: ids.
        first: e_t of the sample, [token, d_model].
        later: e_t + MLP0(LN e_t).
        crossed: W_U^T W_E, [1 + draw, d_model, d_model]: the labels as they are, then permuted. One set per model,
            whatever the number of heads.
    """

    def __init__(self, model: HeadModel, n_tokens: int, n_draws: int, seed: int, found: _Found) -> None:
        self.model, self._found, self._rng = model, found, torch.Generator().manual_seed(seed)
        everything = torch.randperm(model.d_vocab, generator=self._rng)
        self.sample: Int[Tensor, " token"] = everything[:n_tokens].sort().values.to(model.device)
        self.permutations = [
            torch.randperm(len(self.sample), generator=self._rng).to(model.device) for _ in range(n_draws)
        ]
        self.ready = False
        try:
            self.embeddings: Embeddings | None = Embeddings(model)
            anatomy = model.anatomy
        except NotApplicableError as error:
            self.embeddings = None
            found.refuse(_OF_TOKENS, str(error))
            return
        self.ready = True
        self.final, self.unembedding = anatomy.final_norm, anatomy.unembedding
        self.first = self.embeddings.tokens(self.sample)
        self.later = after_first_mlp(model, self.first)
        self.crossed = self._crossed(n_draws)

    def _crossed(self, n_draws: int) -> Float[Tensor, "draw d_model d_model"]:
        assert self.embeddings is not None
        model, n_vocab = self.model, self.model.d_vocab
        blocks = torch.arange(n_vocab, device=model.device).split(_BLOCK)
        everything = torch.cat([self.embeddings.tokens(ids).to(_wide(model)) for ids in blocks])
        orders = [torch.arange(n_vocab), *(torch.randperm(n_vocab, generator=self._rng) for _ in range(n_draws))]
        total = torch.zeros(len(orders), *(model.d_model,) * 2, dtype=_wide(model), device=model.device)
        for start in range(0, n_vocab, _BLOCK):
            block = self.unembedding[start : start + _BLOCK].to(_wide(model)).T
            for draw, order in enumerate(orders):
                total[draw] += block @ everything[order[start : start + _BLOCK].to(model.device)]
        return total


def after_first_mlp(model: HeadModel, embedded: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
    """What stands at a token alone behind layer 0, e + MLP0(LN e): that layer with its attention writing nothing."""
    course, kept = model.layerwise(1), []
    for some in embedded.split(_BLOCK // 2):
        rows = some[:, None].to(model.dtype)
        kept.append(course.run(0, rows, GivenAttention(0, torch.zeros_like(rows)))[:, 0].double())
    return torch.cat(kept)


def _sizes(found: _Found, layer: int, weights: FoldedWeights) -> None:
    """Norms and effective ranks."""
    if isinstance(weights.value, str):
        found.refuse(("ov_norm", "ov_effective_rank", *_OF_TOKENS), weights.value)
    else:
        _norm_and_rank(found, layer, "ov", weights.value, weights.output)
    if isinstance(weights.query, str) or isinstance(weights.key, str):
        reason = weights.query if isinstance(weights.query, str) else weights.key
        found.refuse(("qk_norm", "qk_effective_rank"), str(reason))
    else:
        _norm_and_rank(found, layer, "qk", weights.query, weights.key.transpose(1, 2))


def _norm_and_rank(
    found: _Found, layer: int, name: str, left: Float[Tensor, "head m d_head"], right: Float[Tensor, "head d_head m"]
) -> None:
    values = singular_values(left, right)
    found.values[f"{name}_norm"][layer] = values.square().sum(-1).sqrt().cpu().numpy()
    found.values[f"{name}_effective_rank"][layer] = effective_rank(values).cpu().numpy()


def singular_values(
    left: Float[Tensor, "head m d_head"], right: Float[Tensor, "head d_head n"]
) -> Float[Tensor, "head d_head"]:
    """Singular values of left @ right, at most d_head of them, without making the product."""
    one = torch.linalg.qr(left, mode="r").R
    two = torch.linalg.qr(right.transpose(1, 2), mode="r").R
    return torch.linalg.svdvals(one @ two.transpose(1, 2))


def effective_rank(values: Float[Tensor, "*batch rank"]) -> Float[Tensor, "*batch"]:
    """Effective number of dimensions, 1 to d_head; NaN where all singular values are 0.

    exp of the entropy of the singular values divided by their sum.

    Source:
        Roy and Vetterli 2007, The effective rank.
    """
    share = values / values.sum(-1, keepdim=True)
    return torch.special.entr(share).sum(-1).exp()


def _eigenvalues(
    found: _Found,
    layer: int,
    value: Float[Tensor, "head d_model d_head"],
    output: Float[Tensor, "head d_head d_model"],
    vocabulary: _Vocabulary,
) -> None:
    crossed = vocabulary.crossed
    left = (output * vocabulary.final.gain).flatten(0, 1).to(crossed.dtype)
    for draw, of_labels in enumerate(crossed):
        circuits = (left @ of_labels).view(output.shape).double() @ value
        scores = eigenvalue_copying(circuits).cpu().numpy()
        if draw == 0:
            found.values["ov_copy_eig"][layer] = scores
        else:
            found.nulls["ov_copy_eig"][layer, :, draw - 1] = scores


def eigenvalue_copying(circuit: Float[Tensor, "*batch d_head d_head"]) -> Float[Tensor, "*batch"]:
    """Sum of the eigenvalues' real parts over the sum of their sizes: -1 to 1; NaN where all are 0."""
    values = torch.linalg.eigvals(circuit)
    return values.real.sum(-1) / values.abs().sum(-1)


def _copying(found: _Found, layer: int, output: Float[Tensor, "head d_head d_model"], vocabulary: _Vocabulary) -> None:
    """Copying, negative copying and promoted tokens of a layer's heads."""
    model, final = vocabulary.model, vocabulary.final
    parts = model.anatomy.layers[layer]
    if parts.post_norm is not None and bool(parts.post_norm.bias.any()):
        found.refuse(("ov_copy", "negative_ov_copy", *PROMOTED), "a norm behind the attention has a bias")
        return
    x = vocabulary.later if layer else vocabulary.first
    read = x if parts.pre_norm is None else parts.pre_norm(x)
    weight = projection(model.weight_places[layer].value).weight
    raw = model.output_weights(layer)[0].double() * parts.attention_scale
    for head in range(model.n_heads):
        mixed = read @ weight[head].double()
        written = mixed @ raw[head]
        if parts.post_norm is not None:
            sigma = parts.post_norm.sigma(written / parts.attention_scale)
            mixed, written = mixed / sigma, parts.post_norm.frozen(written, sigma)
        mixed = mixed / final.sigma(written)
        tops, mean = _logits(vocabulary, mixed, output[head] * final.gain, final.bias)
        for name, top in zip(("ov_copy", "negative_ov_copy"), tops, strict=True):
            ids = vocabulary.sample
            found.values[name][layer, head] = _share(top, ids)
            found.nulls[name][layer, head] = [_share(top, ids[p]) for p in vocabulary.permutations]
        _promoted(found, layer, head, mean)


def _share(top: Int[Tensor, "token rank"], labels: Int[Tensor, " token"]) -> float:
    return float((top == labels[:, None]).any(-1).double().mean())


def _logits(
    vocabulary: _Vocabulary,
    mixed: Float[Tensor, "token d_head"],
    through: Float[Tensor, "d_head d_model"],
    bias: Float[Tensor, " d_model"],
) -> tuple[list[Int[Tensor, "token rank"]], Float[Tensor, " d_vocab"]]:
    """Top tokens of the head and of its negative, and the mean over tokens of the head's logits, by blocks."""
    wide = _wide(vocabulary.model)
    rows, through, bias = mixed.to(wide), through.to(wide), bias.to(wide)
    best: list[tuple[Tensor, Tensor] | None] = [None, None]
    means = []
    for start in range(0, len(vocabulary.unembedding), _BLOCK):
        block = vocabulary.unembedding[start : start + _BLOCK].to(wide).T
        logits, shift = rows @ (through @ block), bias @ block
        means.append(logits.double().mean(0))
        for which, sign in enumerate((1, -1)):
            values, places = (sign * logits + shift).topk(min(TOP, block.shape[1]), -1)
            best[which] = _merged(best[which], values, places + start)
    return [one[1] for one in best if one is not None], torch.cat(means)


def _merged(before: tuple[Tensor, Tensor] | None, values: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """The top of two tops."""
    if before is None:
        return values, ids
    values, ids = torch.cat([before[0], values], -1), torch.cat([before[1], ids], -1)
    values, order = values.topk(min(TOP, values.shape[-1]), -1)
    return values, ids.gather(-1, order)


def _promoted(found: _Found, layer: int, head: int, mean: Float[Tensor, " d_vocab"]) -> None:
    """The tokens that the head's mean write raises and lowers most, against the mean token."""
    mean = mean - mean.mean()
    n = min(N_PROMOTED, len(mean))
    for name, largest in (("promoted", True), ("suppressed", False)):
        values, ids = mean.topk(n, largest=largest)
        found.values[f"{name}_tokens"][layer, head, :n] = ids.cpu().numpy()
        found.values[f"{name}_logits"][layer, head, :n] = values.cpu().numpy()


def _wide(model: HeadModel) -> torch.dtype:
    """What products over the vocabulary are computed in: float32, or the model's float64."""
    return torch.float64 if model.dtype == torch.float64 else torch.float32
