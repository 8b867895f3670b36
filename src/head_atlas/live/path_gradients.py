"""Attribution by gradients of f at token embeddings e_i: saliency, gradient x input, integrated gradients.

    saliency              s_i = || df/de_i ||_2                                       >= 0
    gradient x input      a_i = e_i . df/de_i
    integrated gradients  a_i = (e_i - e'_i) . sum_k w_k df/de_i (e' + t_k (e - e'))    sums to f(e) - f(e')

t_k and w_k are the nodes and weights of Gauss-Legendre quadrature on [0, 1] (weights sum to 1). Their number doubles
from 32 to 256 until the sum is complete:

    | sum_i a_i - (f(e) - f(e')) | < max(5 % of | f(e) - f(e') |, 0.02)

From zero, a layer that normalises the embeddings makes f turn abruptly next to the start of the line: many nodes may
not be enough, and the gap then says so.

Nodes run in batches of a bounded size, and only one sum of gradients is kept, so memory does not grow with them.

Source: Simonyan et al. 2013 (saliency); Shrikumar et al. 2016 (gradient x input); Sundararajan et al. 2017.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch

from head_atlas.errors import PromptError
from head_atlas.live.explained import Explained, in_parts, stream_of
from head_atlas.prompts.prompt import Prompt

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

Baseline = Literal["mean", "zero", "eos", "corpus"]
BASELINES: tuple[Baseline, ...] = get_args(Baseline)
FEWEST_NODES, MOST_NODES = 32, 256
RELATIVE_GAP, ABSOLUTE_GAP = 0.05, 0.02
N_SAMPLES = 8
_IDS_AT_ONCE = 2**13


@dataclass(frozen=True)
class PathSum:
    """Integrated gradients along one straight line, or the mean over several.

    Attributes:
        values: of each token, [pos]; 0 for tokens that stay fixed.
        f: at the end of the line.
        f_baseline: f at the start of the line.
        gap: sum of the values - (f - f at the start): signed; 0 is complete.
        n_nodes: of the quadrature; with several lines, the most that one took.
        converged: whether the gap is small enough, on every line.
    """

    values: np.ndarray
    f: float
    f_baseline: float
    gap: float
    n_nodes: int
    converged: bool


def gradient_values(explained: Explained) -> tuple[float, np.ndarray, np.ndarray]:
    """Return f, gradient x input [pos] and saliency [pos], from one forward and one backward pass."""
    embeddings = explained.embeddings
    f, gradient = explained.gradient(embeddings[None])
    wide = gradient[0].double()
    return float(f), _array((wide * embeddings.double()).sum(-1)), _array(wide.norm(dim=-1))


def baselines(
    explained: Explained,
    baseline: Baseline | np.ndarray,
    corpus: Sequence[str | Prompt],
    n_samples: int,
    seed: int,
) -> Float[Tensor, "sample pos d_embed"]:
    """Where the straight lines start: the prompt's embeddings, those that move replaced.

    Args:
        explained: the prediction.
        baseline: "mean" of the embeddings of the tokenizer's tokens; "zero"; "eos", the end-of-sequence token's;
            "corpus", `n_samples` runs of tokens drawn from `corpus`; or embeddings of your own, [d_embed],
            [pos, d_embed] or [sample, pos, d_embed].
        corpus: texts.
        n_samples: at least 8.
        seed: of the draw.

    Raises:
        PromptError: a baseline that does not exist or fit, or a corpus too small to draw from.
    """
    model, own = explained.model, explained.embeddings
    if isinstance(baseline, np.ndarray):
        given = torch.as_tensor(baseline, dtype=own.dtype, device=own.device)
        given = given.expand(own.shape) if given.ndim == 1 and given.shape[0] == own.shape[1] else given
        given = given[None] if given.ndim == 2 else given
        if given.ndim != 3 or given.shape[1:] != own.shape or not torch.isfinite(given).all():
            raise PromptError(
                f"a baseline of embeddings must be finite and of shape [{own.shape[1]}], {list(own.shape)} or "
                f"[sample, {own.shape[0]}, {own.shape[1]}], found {list(np.shape(baseline))}"
            )
        starts = given
    elif baseline == "zero":
        starts = torch.zeros_like(own)[None]
    elif baseline == "mean":
        starts = mean_embedding(explained).expand(1, *own.shape)
    elif baseline == "eos":
        eos = model.tokenizer.eos_token_id
        if eos is None:
            raise PromptError("this tokenizer has no end-of-sequence token: choose the baseline mean, zero or corpus")
        starts = model.embeddings(torch.full_like(explained.tokens, int(eos)))[None]
    elif baseline == "corpus":
        starts = model.embeddings(_windows(explained, corpus, n_samples, seed))
    else:
        raise PromptError(f"baseline must be one of {', '.join(BASELINES)}, found {str(baseline)[:40]!r}")
    starts = starts.clone()
    starts[:, : explained.n_fixed] = own[: explained.n_fixed]
    return starts


def mean_embedding(explained: Explained) -> Float[Tensor, " d_embed"]:
    """Mean embedding of the tokenizer's tokens, each weighing the same; rows beyond them are padding."""
    model = explained.model
    n_ids = min(len(model.tokenizer), model.d_vocab)
    total = torch.zeros((), dtype=torch.float64, device=model.device)
    for start in range(0, n_ids, _IDS_AT_ONCE):
        ids = torch.arange(start, min(start + _IDS_AT_ONCE, n_ids), device=model.device)
        total = total + model.embeddings(ids).double().sum(0)
    return (total / n_ids).to(model.embeddings(ids[:1]).dtype)


def _windows(explained: Explained, corpus: Sequence[str | Prompt], n_samples: int, seed: int) -> Tensor:
    """Different runs of as many tokens as the prompt has, from texts laid end to end."""
    if n_samples < N_SAMPLES:
        raise PromptError(f"a corpus baseline takes at least {N_SAMPLES} samples, found {n_samples}")
    if not corpus:
        raise PromptError("a corpus baseline draws from texts: give them as corpus=")
    stream, length = stream_of(explained.model, corpus), len(explained.prompt)
    n_starts = len(stream) - length + 1
    if n_starts < n_samples:
        raise PromptError(
            f"{n_samples} samples of {length} tokens need a corpus of at least {length + n_samples - 1} tokens, "
            f"found {len(stream)}"
        )
    drawn = np.random.default_rng(seed).permutation(n_starts)[:n_samples].tolist()
    return torch.stack([stream[start : start + length] for start in drawn])


def integrate(
    explained: Explained, starts: Float[Tensor, "sample pos d_embed"], most_nodes: int
) -> Generator[tuple[int, int], None, PathSum]:
    """Integrate from each start; yields (rows done, rows known of so far), and returns the mean over the starts."""
    own = explained.embeddings
    ends = torch.cat([own[None], starts])
    f, *at_start = torch.cat(
        [explained.of_embeddings(ends[part]).double() for part in in_parts(len(ends), explained.rows_at_once)]
    ).tolist()
    sums: list[PathSum] = []
    done = 0
    for sample, (start, f_start) in enumerate(zip(starts, at_start, strict=True)):
        difference, n_nodes = own.double() - start.double(), min(FEWEST_NODES, most_nodes)
        while True:
            nodes, weights = quadrature(n_nodes)
            slope = torch.zeros_like(difference)
            for part in in_parts(n_nodes, explained.gradients_at_once):
                rows = start.double() + torch.as_tensor(nodes[part], device=own.device)[:, None, None] * difference
                _, gradient = explained.gradient(rows.to(own.dtype))
                slope += torch.einsum("k,kpd->pd", torch.as_tensor(weights[part], device=own.device), gradient.double())
                done += part.stop - part.start
                yield done, done + n_nodes - part.stop + (len(starts) - sample - 1) * min(FEWEST_NODES, most_nodes)
            values = _array((difference * slope).sum(-1))
            gap = float(values.sum()) - (f - f_start)
            converged = abs(gap) < max(RELATIVE_GAP * abs(f - f_start), ABSOLUTE_GAP)
            if converged or n_nodes >= most_nodes:
                break
            n_nodes = min(2 * n_nodes, most_nodes)
        sums.append(PathSum(values, f, f_start, gap, n_nodes, converged))
    return PathSum(
        values=np.mean([one.values for one in sums], axis=0),
        f=f,
        f_baseline=float(np.mean([one.f_baseline for one in sums])),
        gap=float(np.mean([one.gap for one in sums])),
        n_nodes=max(one.n_nodes for one in sums),
        converged=all(one.converged for one in sums),
    )


def quadrature(n_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes in (0, 1) and their weights, which sum to 1."""
    nodes, weights = np.polynomial.legendre.leggauss(n_nodes)
    return (nodes + 1) / 2, weights / 2


def _array(values: Tensor) -> np.ndarray:
    return values.cpu().numpy()
