"""Causal tracing: where the model keeps what it knows of a subject, by drowning the subject in noise.

The corrupted run is the prompt itself with normal noise on the token embeddings of its subject, of a standard
deviation of `noise` (3 by default) times that of all numbers in the embedding matrix. Places are restored to the
clean run one at a time. Everything is averaged over samples of the noise:

    value = (mean m - mean m_corrupted) / (m_clean - mean m_corrupted)        1: the place alone restores the answer

A ratio of means; its 95 % interval resamples the noise samples, patched and corrupted runs of a sample together.
attn_out and mlp_out are restored in a window of layers around each (one layer's share is small), resid_pre in one.

Source: Meng et al. 2022, Locating and Editing Factual Associations in GPT. They take the standard deviation over the
embeddings of their subjects' tokens and report probabilities; log-probability or logit difference is measured here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from head_atlas.errors import HeadAtlasError, PromptError
from head_atlas.interventions.packing import Budget
from head_atlas.interventions.patching import Place, Site, patched_rows
from head_atlas.interventions.recording import record
from head_atlas.live.prompt_pair import PAIR_METRICS, PairMetric, PromptPair, normalised, pair_values, undefined
from head_atlas.measures.effects import as_prompts
from head_atlas.models import HeadModel
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt
from head_atlas.seeds import checked_seed

if TYPE_CHECKING:
    from torch import Tensor

TRACED: tuple[Place, ...] = ("resid_pre", "attn_out", "mlp_out")
N_RESAMPLES = 2000
_IDS_AT_ONCE = 4096


@dataclass(frozen=True)
class CausalTrace:
    """How far each place, restored alone, brings the answer back.

    Attributes:
        values: normalised, axes (layer, position); NaN where undefined.
        low: lower end of the 95 % interval over noise samples.
        high: its upper end.
        metric_values: axes (sample, layer, position), logits or nats.
        clean: the metric on the clean run.
        corrupted: on the run of each noise sample, axis (sample,).
        subject: positions of the noise.
        sigma: standard deviation of the noise.
        noise: sigma in standard deviations of the embedding matrix.
        seed: of the noise.
        what: the place.
        window: layers restored together.
        prompt: with its target and contrast.
        strings: each token of the prompt.
        metric: "logit_difference" or "logprob".
        undefined: why values are NaN; "" where they are not.
        done: runs finished; places whose run is not are NaN.
        total: all of them.
    """

    values: NamedArray
    low: NamedArray
    high: NamedArray
    metric_values: NamedArray
    clean: float
    corrupted: NamedArray
    subject: tuple[int, ...]
    sigma: float
    noise: float
    seed: int
    what: Place
    window: int
    prompt: Prompt
    strings: tuple[str, ...]
    metric: PairMetric
    undefined: str
    done: int
    total: int


def causal_trace(
    model: HeadModel,
    prompt: str | Prompt,
    subject: str | Sequence[int],
    what: Place = "resid_pre",
    *,
    window: int = 1,
    noise: float = 3.0,
    n_samples: int = 10,
    seed: int = 0,
    metric: PairMetric | None = None,
    target: str | int | None = None,
    contrast: str | int | None = None,
    progress: Callable[[int, int], None] | None = None,
    budget: Budget | None = None,
) -> CausalTrace:
    """Put noise on a prompt's subject and restore one place at a time.

    Args:
        model: to run.
        prompt: a text, or a `Prompt` with targets of its own.
        subject: a part of the text, or positions of its tokens.
        what: "resid_pre", "attn_out" or "mlp_out".
        window: layers restored together, centred (an even one reaches one layer further down); 1 for "resid_pre".
        noise: in standard deviations of the embedding matrix.
        n_samples: of the noise.
        seed: of the noise.
        metric: "logit_difference" (the default where there is a contrast) or "logprob" (the default elsewhere).
        target: of a text; the clean run's top token by default.
        contrast: of a text.
        progress: is told runs done, and all runs.
        budget: how much runs at once; None for what suits the model's device.

    Raises:
        PromptError: a subject that is not in the prompt, or a target that is not one token.
        HeadAtlasError: another place or metric, or a number that makes no sense.
        NotApplicableError: what MLPs write cannot be told apart in this architecture.
    """
    last: CausalTrace | None = None
    for last in iter_causal_trace(
        model,
        prompt,
        subject,
        what,
        window=window,
        noise=noise,
        n_samples=n_samples,
        seed=seed,
        metric=metric,
        target=target,
        contrast=contrast,
        budget=budget,
    ):
        if progress is not None:
            progress(last.done, last.total)
    assert last is not None  # the generator yields at least once
    return last


def iter_causal_trace(
    model: HeadModel,
    prompt: str | Prompt,
    subject: str | Sequence[int],
    what: Place = "resid_pre",
    *,
    window: int = 1,
    noise: float = 3.0,
    n_samples: int = 10,
    seed: int = 0,
    metric: PairMetric | None = None,
    target: str | int | None = None,
    contrast: str | int | None = None,
    budget: Budget | None = None,
) -> Iterator[CausalTrace]:
    """Trace, part by part: each result has all that is done. Stop iterating to cancel. Arguments of `causal_trace`."""
    if what not in TRACED:
        raise HeadAtlasError(f"what must be one of {', '.join(TRACED)}, found {str(what)[:40]!r}")
    if window < 1 or (what == "resid_pre" and window != 1):
        raise HeadAtlasError(f"window must be 1 for resid_pre and at least 1 otherwise, found {window}")
    if n_samples < 2 or not noise > 0:
        raise HeadAtlasError(f"at least 2 samples of a noise above 0 are needed, found {n_samples} and {noise:g}")
    if metric is not None and metric not in PAIR_METRICS:
        raise HeadAtlasError(f"metric must be one of {', '.join(PAIR_METRICS)}, found {str(metric)[:40]!r}")
    seed = checked_seed(seed)
    (one,) = as_prompts(model, prompt, target, contrast)
    if metric == "logit_difference" and not one.contrasts:
        raise PromptError("the logit difference needs a contrast")
    if what == "mlp_out":
        _ = model.anatomy  # refuses here, before anything runs
    places = _subject_positions(model, one, subject)
    strings = tuple(model.strings(one.tokens))
    pair = PromptPair(one, strings, strings, places[0], metric or ("logit_difference" if one.contrasts else "logprob"))
    return _parts(model, pair, places, what, window, noise, n_samples, seed, budget)


def _parts(
    model: HeadModel,
    pair: PromptPair,
    places: tuple[int, ...],
    what: Place,
    window: int,
    noise: float,
    n_samples: int,
    seed: int,
    budget: Budget | None,
) -> Iterator[CausalTrace]:
    one = pair.prompt
    tokens = model.rows([one.tokens] * n_samples)
    read = torch.tensor([one.positions] * n_samples, device=model.device)
    source = record(model, tokens, read, mlps=what == "mlp_out")
    sigma = noise * embedding_std(model)
    embeddings = _noised(model, tokens, places, sigma, seed)
    base = record(model, tokens, read, run=lambda: model.model(inputs_embeds=embeddings, use_cache=False).logits)
    clean = float(pair_values(pair, source.logits)[0])
    corrupted = pair_values(pair, base.logits)
    found = np.full((n_samples, model.n_layers, len(one)), np.nan)
    found[:, :, : places[0]] = corrupted[:, None, None]  # before the subject both runs are the same
    spread = float(corrupted.std(ddof=1)) / n_samples**0.5
    why_not = undefined(model, source.logits[:1], clean, float(corrupted.mean()), spread)
    dims = ("layer", "position")
    index = [(l, p) for l in range(model.n_layers) for p in range(places[0], len(one))]  # noqa: E741
    sites = [Site(what, _window(l, window, model.n_layers), None, (p,)) for l, p in index]  # noqa: E741
    for block in patched_rows(model, base, source, sites, read, budget=budget):
        values = pair_values(pair, block.logits)
        for site, value in zip(block.sites, values, strict=True):
            found[:, index[site][0], index[site][1]] = value
        low, high = _interval(found, clean, corrupted, seed, why_not)
        yield CausalTrace(
            values=NamedArray(normalised(found.mean(0), clean, float(corrupted.mean()), why_not), dims),
            low=NamedArray(low, dims),
            high=NamedArray(high, dims),
            metric_values=NamedArray(found.copy(), ("sample", *dims)),
            clean=clean,
            corrupted=NamedArray(corrupted, ("sample",)),
            subject=places,
            sigma=sigma,
            noise=noise,
            seed=seed,
            what=what,
            window=window,
            prompt=one,
            strings=pair.strings,
            metric=pair.metric,
            undefined=why_not,
            done=block.done,
            total=block.total,
        )


@torch.no_grad()
def embedding_std(model: HeadModel) -> float:
    """Standard deviation of all numbers in the embedding matrix, as the model reads it (scaled, where it scales)."""
    embed = model.model.get_input_embeddings()
    n, total, squares = 0, 0.0, 0.0
    for ids in torch.arange(embed.num_embeddings, device=model.device).split(_IDS_AT_ONCE):
        rows = embed(ids).double()
        n, total, squares = n + rows.numel(), total + float(rows.sum()), squares + float((rows * rows).sum())
    return (squares / n - (total / n) ** 2) ** 0.5


@torch.no_grad()
def _noised(model: HeadModel, tokens: Tensor, places: tuple[int, ...], sigma: float, seed: int) -> Tensor:
    """Embeddings of the prompt with noise of its own in each row; drawn on the CPU, the same on every machine."""
    embeddings = model.model.get_input_embeddings()(tokens).clone()
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(len(tokens), len(places), embeddings.shape[-1], generator=generator)
    embeddings[:, list(places)] += (sigma * drawn).to(embeddings)
    return embeddings


def _subject_positions(model: HeadModel, prompt: Prompt, subject: str | Sequence[int]) -> tuple[int, ...]:
    if not isinstance(subject, str):
        places = tuple(sorted({int(p) for p in subject}))
        if not places or not 0 <= places[0] <= places[-1] < len(prompt):
            raise PromptError(f"the subject's positions must lie in 0..{len(prompt) - 1}, found {places}")
        return places
    start = prompt.text.find(subject)
    if not subject.strip() or start < 0:
        raise PromptError(f"the prompt has no {subject!r}")
    end = start + len(subject)
    encoded = model.tokenizer(
        prompt.text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True
    )
    shift = len(model.policy.prefix)
    if model.policy.prefix + tuple(encoded["input_ids"]) != prompt.tokens:
        raise PromptError("the prompt's tokens are not those of its text: give the subject's positions")
    return tuple(i + shift for i, (a, b) in enumerate(encoded["offset_mapping"]) if a < end and b > start)


def _window(layer: int, width: int, n_layers: int) -> tuple[int, ...]:
    first = layer - width // 2
    return tuple(range(max(first, 0), min(first + width, n_layers)))


def _interval(
    found: np.ndarray, clean: float, corrupted: np.ndarray, seed: int, why_not: str
) -> tuple[np.ndarray, np.ndarray]:
    """95 % of the ratio of means over resampled noise samples."""
    shape = found.shape[1:]
    if why_not:
        return np.full(shape, np.nan), np.full(shape, np.nan)
    n = len(corrupted)
    drawn = np.random.default_rng(seed).multinomial(n, [1 / n] * n, size=N_RESAMPLES) / n
    means, bases = drawn @ found.reshape(n, -1), (drawn @ corrupted)[:, None]
    low, high = np.percentile((means - bases) / (clean - bases), [2.5, 97.5], axis=0)
    return low.reshape(shape), high.reshape(shape)
