"""How crowded a model's spaces are: interference between token directions, and dimensions in use.

Interference: cosines between pairs of directions, against those of random directions in as many dimensions, where
cos^2 has the mean 1/d and cos^2 ~ Beta(1/2, (d-1)/2). Participation ratio of a covariance with eigenvalues lambda:
(sum lambda)^2 / sum lambda^2, 1 if one dimension is in use and d if all are, evenly.

Sources: Elhage et al. 2022, Toy Models of Superposition; Gao et al. 2017 (participation ratio).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from head_atlas.errors import NotApplicableError, PromptError
from head_atlas.measures.batches import batches
from head_atlas.models import HeadModel, Intervention
from head_atlas.models.embeddings import Embeddings
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

QUANTILES = (0.5, 0.9, 0.99, 0.999)
STATISTICS = ("mean_abs_cos", "mean_squared_cos", *(f"abs_cos_q{q:g}" for q in QUANTILES))
SPACES = ("embedding", "unembedding")
CENTRINGS = ("as they are", "centred")
N_VECTORS = 4096
COVARIANCE_NUMBERS = 2**27
"""Numbers of covariance matrices held at once: 1 GiB. With more layers than fit, the prompts run again."""
_RANDOM_DRAWS = 10**6
_BLOCK = 2**10


@dataclass(frozen=True)
class Interference:
    """Cosines between pairs of token directions.

    Attributes:
        values: (space, centring, statistic): "embedding" is what the first layer reads of tokens, without positions;
            "unembedding" rows of W_U with the final norm's gain folded in. Centred: the mean direction of all is
            taken out first. NaN where a space is not to be had.
        random: (statistic,): the same of random directions in d_model dimensions.
        n_vectors: directions compared, all pairs of them; a seeded sample of a large vocabulary.
        n_zero: by space, directions of no length in the sample, left out.
        not_applicable: by space, why it is NaN.
    """

    values: NamedArray
    random: NamedArray
    n_vectors: int
    n_zero: dict[str, int]
    not_applicable: dict[str, str]


@torch.no_grad()
def interference(model: HeadModel, *, n_vectors: int = N_VECTORS, seed: int = 0) -> Interference:
    """Measure how much token directions overlap, against random directions.

    Args:
        model: whose embedding and unembedding.
        n_vectors: tokens compared, at most.
        seed: of their sample.
    """
    order = torch.randperm(model.d_vocab, generator=torch.Generator().manual_seed(seed))
    ids = order[:n_vectors].sort().values.to(model.device)
    values = np.full((len(SPACES), len(CENTRINGS), len(STATISTICS)), np.nan)
    n_zero, reasons = {}, {}
    for index, space in enumerate(SPACES):
        try:
            rows = _directions(model, space, ids)
        except NotApplicableError as error:
            reasons[space] = str(error)
            continue
        rows = rows[rows.norm(dim=-1) > 0]
        n_zero[space] = len(ids) - len(rows)
        values[index] = [cosine_statistics(rows), cosine_statistics(rows - rows.mean(0))]
    return Interference(
        NamedArray(
            values,
            ("space", "centring", "statistic"),
            {"space": SPACES, "centring": CENTRINGS, "statistic": STATISTICS},
        ),
        NamedArray(random_statistics(model.d_model), ("statistic",), {"statistic": STATISTICS}),
        len(ids),
        n_zero,
        reasons,
    )


def _directions(model: HeadModel, space: str, ids: Int[Tensor, " token"]) -> Float[Tensor, "token d_model"]:
    if space == "embedding":
        return Embeddings(model).tokens(ids)
    anatomy = model.anatomy
    return anatomy.final_norm.folded(anatomy.unembedding[ids].double().T).T


def cosine_statistics(rows: Float[Tensor, "vector d"]) -> np.ndarray:
    """`STATISTICS` over all pairs of rows, by blocks of the Gram matrix; NaN with fewer than two rows."""
    if len(rows) < 2:
        return np.full(len(STATISTICS), np.nan)
    unit = torch.nn.functional.normalize(rows.double(), dim=-1)
    found = []
    for start in range(0, len(unit), _BLOCK):
        products = unit[start : start + _BLOCK] @ unit[start:].T
        found.append(products[torch.ones_like(products, dtype=torch.bool).triu(1)].abs().float().cpu().numpy())
    return _statistics(np.concatenate(found))


def random_statistics(d: int) -> np.ndarray:
    """`STATISTICS` of random directions in d dimensions: the means exactly, quantiles from a million seeded draws."""
    rng = np.random.default_rng(0)
    one, rest = rng.standard_normal(_RANDOM_DRAWS), rng.chisquare(d - 1, _RANDOM_DRAWS) if d > 1 else 0
    found = _statistics(np.abs(one) / np.sqrt(one**2 + rest))
    found[0] = math.exp(math.lgamma(d / 2) - math.lgamma((d + 1) / 2)) / math.sqrt(math.pi)
    found[1] = 1 / d
    return found


def _statistics(cosines: np.ndarray) -> np.ndarray:
    wide = cosines.astype(np.float64)
    return np.array([wide.mean(), (wide**2).mean(), *np.quantile(wide, QUANTILES)])


@dataclass(frozen=True)
class Participation:
    """Dimensions in use, over all positions but the first of some prompts.

    Attributes:
        heads: (layer, head): of z W_O, 1 to d_head. NaN where a head writes one and the same vector.
        mlps: (layer,): of the MLP's hidden units, 1 to their number. NaN where they cannot be read.
        n_tokens: in the covariances: a ratio near or above it is limited by it.
        not_applicable: by layer, why `mlps` is NaN.
    """

    heads: NamedArray
    mlps: NamedArray
    n_tokens: int
    not_applicable: dict[int, str]


@torch.no_grad()
def participation(model: HeadModel, prompts: Sequence[Prompt]) -> Participation:
    """Measure the participation ratio of every head's output and every MLP's hidden units.

    Args:
        model: to run.
        prompts: natural text as a rule. Memory does not grow with their number.

    Raises:
        PromptError: fewer than two positions that are not the first of a prompt.
        NotApplicableError: how the layers write is not known; the message says why.
    """
    n_tokens = sum(len(prompt) - 1 for prompt in prompts)
    if n_tokens < 2:
        raise PromptError("a covariance needs two positions that are not the first of a prompt")
    layers = model.anatomy.layers
    reasons = {layer: parts.no_neurons for layer, parts in enumerate(layers) if parts.no_neurons}
    heads, mlps = np.full((model.n_layers, model.n_heads), np.nan), np.full(model.n_layers, np.nan)
    for group in _groups([parts.neurons for parts in layers]):
        sums = _Covariances(model, group)
        for members in batches(prompts):
            tokens = model.rows([prompts[index].tokens for index in members])
            with model.intervening(sums):
                model.logits(tokens, torch.zeros(len(tokens), 1, dtype=torch.long, device=model.device))
        for layer in group:
            weight = model.output_weights(layer)[0].double()
            heads[layer] = _through(sums.z[layer].covariance(), weight @ weight.transpose(1, 2)).cpu().numpy()
            if layer in sums.neurons:
                mlps[layer] = float(participation_ratio(sums.neurons[layer].covariance()))
    return Participation(NamedArray(heads, ("layer", "head")), NamedArray(mlps, ("layer",)), n_tokens, reasons)


def participation_ratio(covariance: Float[Tensor, "*batch d d"]) -> Float[Tensor, "*batch"]:
    """(sum of eigenvalues)^2 / sum of their squares; NaN where all are 0."""
    return covariance.diagonal(dim1=-2, dim2=-1).sum(-1).square() / covariance.square().sum((-2, -1))


def _through(
    covariance: Float[Tensor, "head d_head d_head"], gram: Float[Tensor, "head d_head d_head"]
) -> Float[Tensor, " head"]:
    """Participation ratio of z W_O from the covariance of z and W_O W_O^T: traces of their product."""
    product = covariance @ gram
    trace = product.diagonal(dim1=-2, dim2=-1).sum(-1)
    return trace.square() / (product * product.transpose(1, 2)).sum((1, 2))


def _groups(widths: list[int]) -> list[list[int]]:
    """Layers whose covariances are held at once."""
    groups: list[list[int]] = [[]]
    held = 0
    for layer, width in enumerate(widths):
        if groups[-1] and held + width**2 > COVARIANCE_NUMBERS:
            groups.append([])
            held = 0
        groups[-1].append(layer)
        held += width**2
    return groups


class _Moments:
    """Sums of vectors and of their products, about the first batch's mean, so that nothing cancels."""

    def __init__(self) -> None:
        self._n = 0
        self._about: Tensor | None = None
        self._sum: Tensor | float = 0.0
        self._products: Tensor | float = 0.0

    def add(self, rows: Float[Tensor, "*batch row d"]) -> None:
        if not rows.shape[-2]:  # prompts of one token
            return
        rows = rows.double()
        if self._about is None:
            self._about = rows.mean(-2, keepdim=True)
        rows = rows - self._about
        self._n += rows.shape[-2]
        self._sum = self._sum + rows.sum(-2)
        self._products = self._products + rows.transpose(-1, -2) @ rows

    def covariance(self) -> Float[Tensor, "*batch d d"]:
        mean = torch.as_tensor(self._sum) / self._n
        spread = torch.as_tensor(self._products) / self._n - mean[..., :, None] * mean[..., None, :]
        return spread * (self._n / max(self._n - 1, 1))


class _Covariances(Intervention):
    """Adds up z and hidden units of some layers, position 0 left out."""

    def __init__(self, model: HeadModel, layers: list[int]) -> None:
        self._shape: tuple[int, ...] = ()
        self.z = {layer: _Moments() for layer in layers}
        self.neurons = {layer: _Moments() for layer in layers if model.anatomy.layers[layer].neurons}

    def on_layer_input(self, layer: int, hidden: Tensor) -> Tensor:  # noqa: ARG002
        self._shape = tuple(hidden.shape[:2])
        return hidden

    def on_z(self, layer: int, z: Tensor, first_position: int | Int[Tensor, " batch"]) -> Tensor:  # noqa: ARG002
        if layer in self.z:
            self.z[layer].add(z[:, 1:].flatten(0, 1).transpose(0, 1))
        return z

    def on_neurons(self, layer: int, activations: Tensor) -> None:
        if layer in self.neurons:
            self.neurons[layer].add(activations.reshape(*self._shape, -1)[:, 1:].flatten(0, 1))
