"""Which tokens of a prompt a prediction rests on.

    gradient_x_input, saliency, integrated_gradients   see `live.path_gradients`
    occlusion_replace, occlusion_mask, occlusion_delete  see `live.occlusion`

What is explained, f = logit(y) - logit(y') or log p(y), is defined in `live.explained`. `faithfulness` (in
`live.faithfulness_curves`) tests how far an attribution's order of tokens is the model's.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch

from head_atlas.errors import HeadAtlasError, PromptError
from head_atlas.heads import HeadId
from head_atlas.interventions import Budget, Mode, Reference
from head_atlas.live.explained import Explained, check_embeddings
from head_atlas.live.occlusion import (
    N_REPLACEMENTS,
    Occluding,
    by_deletion,
    by_mask,
    by_replacement,
    check_masking,
    replacement_tokens,
)
from head_atlas.live.path_gradients import MOST_NODES, N_SAMPLES, Baseline, baselines, gradient_values, integrate
from head_atlas.live.words import Word, summed, word_spans
from head_atlas.models import HeadModel
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt
from head_atlas.seeds import checked_seed

if TYPE_CHECKING:
    from torch import Tensor

Method = Literal[
    "gradient_x_input",
    "saliency",
    "integrated_gradients",
    "occlusion_replace",
    "occlusion_mask",
    "occlusion_delete",
]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True)
class Attribution:
    """Share of each token in a prediction.

    Attributes:
        values: axis (token,); in logits with a contrast, else in nats (saliency: per unit of embedding); positive: the
            token speaks for the target, except for saliency, which has no sign. NaN for a token that stays fixed,
            as BOS does, or cannot be taken away.
        tokens: ids of the prompt, BOS first.
        strings: each of them.
        target: id of the token whose prediction is explained.
        contrast: id of the token it is held against, or None.
        f: value of the explained quantity: logit difference, or log-probability.
        heads: that were removed in the run.
        method: one of `METHODS`.
        mode: what the removed heads' output became.
        f_baseline: integrated gradients: f at the baseline, the mean over several; else NaN.
        completeness_gap: integrated gradients: sum of the values - (f - f_baseline), in the unit of f; else NaN.
        n_nodes: integrated gradients: of the quadrature; else 0.
        converged: integrated gradients: whether the gap is under 5 % of |f - f_baseline|, or under 0.02; else None.
        standard_error: occlusion_replace: of each value's mean over the tokens put in, axis (token,); else None.
        n_draws: occlusion_replace: tokens put in each place; integrated gradients: baselines; else 0.
        seed: of what was drawn.
        model: that was explained.
        prompt: likewise.
        reference: what the mode needed.
    """

    values: NamedArray
    tokens: tuple[int, ...]
    strings: tuple[str, ...]
    target: int
    contrast: int | None
    f: float
    heads: tuple[HeadId, ...]
    method: Method
    mode: Mode
    model: HeadModel = field(repr=False)
    prompt: Prompt = field(repr=False)
    reference: Reference | None = field(repr=False)
    f_baseline: float = float("nan")
    completeness_gap: float = float("nan")
    n_nodes: int = 0
    converged: bool | None = None
    standard_error: NamedArray | None = field(default=None, repr=False)
    n_draws: int = 0
    seed: int = 0

    @property
    def relative_completeness_gap(self) -> float:
        """|completeness_gap| / |f - f_baseline|; infinite where f does not change, NaN without a baseline."""
        difference = abs(self.f - self.f_baseline)
        return abs(self.completeness_gap) / difference if difference else float("inf")

    @property
    def unit(self) -> str:
        """Of f: "logits" or "nats"."""
        return "nats" if self.contrast is None else "logits"

    def words(self) -> list[Word]:
        """Sums over the tokens of each word, BOS left out.

        Raises:
            PromptError: the prompt is not a text; or the method is saliency, whose norms do not add up.
        """
        if self.method == "saliency":
            raise PromptError("saliency is a norm: its values do not add up to words")
        return summed(np.asarray(self.values.values), word_spans(self.model, self.prompt.text, self.tokens))


@dataclass(frozen=True)
class AttributionStep:
    """How far an attribution is.

    Attributes:
        done: rows that went through the model.
        total: rows known to be needed; it grows where integrated gradients have to take more nodes.
        result: the attribution, in the last step only.
    """

    done: int
    total: int
    result: Attribution | None


@dataclass(frozen=True)
class AttributionChange:
    """What removing heads changes in an attribution.

    Attributes:
        clean: with all heads.
        ablated: without some.
        change: ablated - clean, axis (token,), in the unit of f; NaN where either is.
    """

    clean: Attribution
    ablated: Attribution
    change: NamedArray


def attribute(
    model: HeadModel,
    prompt: str | Prompt,
    target: str | int | None = None,
    contrast: str | int | None = None,
    heads: Iterable[HeadId | str | tuple[int, int]] | HeadId | str = (),
    mode: Mode = "zero",
    reference: Reference | None = None,
    *,
    method: Method = "gradient_x_input",
    baseline: Baseline | np.ndarray = "mean",
    corpus: Sequence[str | Prompt] = (),
    n_draws: int | None = None,
    max_nodes: int = MOST_NODES,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    budget: Budget | None = None,
) -> Attribution:
    """Attribute the prediction after a prompt to its tokens.

    Args:
        model: to explain.
        prompt: a text; or a `Prompt`, whose last read position must be its last token.
        target: id, or text of exactly one token; the clean run's top token by default, heads removed or not.
        contrast: likewise; without one, the target's log-probability is explained.
        heads: removed in the run that is explained.
        mode: what their output becomes.
        reference: what the mode needs, as in `ablating`; of a `ResampleReference` the first draw stands in.
        method: one of `METHODS`.
        baseline: of integrated gradients: "mean" embedding, "zero", "eos", "corpus", or an array of embeddings.
        corpus: texts, for the baseline "corpus" and for the tokens that occlusion_replace puts in; without any, those
            are drawn from the vocabulary.
        n_draws: tokens put in each place (8 by default), or corpus baselines (at least and by default 8).
        max_nodes: of the quadrature; it starts with 32, or with this if it is fewer.
        seed: of what is drawn.
        progress: is told rows done and rows known to be needed; what it raises ends the run.
        budget: how much runs at once; None for what suits the model's device.

    Raises:
        PromptError: the prompt is empty or too long, a target is not one token, or a baseline does not fit.
        HeadError: a head that the model does not have.
        MissingReferenceError: a mode without a fitting reference.
        UnsupportedModelError: the architecture does not allow the method.
        HeadAtlasError: no such method, or a number or a seed that cannot be.
    """
    for step in iter_attribute(
        model, prompt, target, contrast, heads, mode, reference, method=method, baseline=baseline, corpus=corpus,
        n_draws=n_draws, max_nodes=max_nodes, seed=seed, budget=budget,
    ):  # fmt: skip
        if progress is not None:
            progress(step.done, step.total)
    assert step.result is not None
    return step.result


def iter_attribute(
    model: HeadModel,
    prompt: str | Prompt,
    target: str | int | None = None,
    contrast: str | int | None = None,
    heads: Iterable[HeadId | str | tuple[int, int]] | HeadId | str = (),
    mode: Mode = "zero",
    reference: Reference | None = None,
    *,
    method: Method = "gradient_x_input",
    baseline: Baseline | np.ndarray = "mean",
    corpus: Sequence[str | Prompt] = (),
    n_draws: int | None = None,
    max_nodes: int = MOST_NODES,
    seed: int = 0,
    budget: Budget | None = None,
) -> Iterator[AttributionStep]:
    """Attribute, step by step: stop iterating to cancel. The arguments of `attribute`, checked at once."""
    if method not in METHODS:
        raise HeadAtlasError(f"method must be one of {', '.join(METHODS)}, found {str(method)[:40]!r}")
    if max_nodes < 1:
        raise HeadAtlasError(f"max_nodes must be at least 1, found {max_nodes}")
    seed = checked_seed(seed)
    explained = Explained.of(model, prompt, target, contrast, heads, mode, reference, budget)
    if method in ("gradient_x_input", "saliency"):
        check_embeddings(model)
        return _steps(_by_gradient(explained, method))
    if method == "integrated_gradients":
        check_embeddings(model)
        starts = baselines(explained, baseline, corpus, N_SAMPLES if n_draws is None else n_draws, seed)
        return _steps(_by_integration(explained, starts, max_nodes, seed))
    if method == "occlusion_mask":
        check_masking(model)
        return _steps(_by_occlusion(explained, method, by_mask(explained)))
    if method == "occlusion_delete":
        return _steps(_by_occlusion(explained, method, by_deletion(explained)))
    drawn = replacement_tokens(model, corpus, N_REPLACEMENTS if n_draws is None else n_draws, seed)
    return _steps(_by_occlusion(explained, method, by_replacement(explained, drawn), len(drawn), seed))


def attribution_change(
    model: HeadModel,
    prompt: str | Prompt,
    heads: Iterable[HeadId | str | tuple[int, int]] | HeadId | str,
    mode: Mode = "zero",
    reference: Reference | None = None,
    *,
    target: str | int | None = None,
    contrast: str | int | None = None,
    **options: Any,
) -> AttributionChange:
    """Attribute one prediction twice, with all heads and without some: what the heads change.

    Args:
        model: to explain.
        prompt: as in `attribute`.
        heads: to remove.
        mode: what their output becomes.
        reference: what the mode needs.
        target: the clean run's top token by default, in both.
        contrast: as in `attribute`.
        **options: of `attribute`: method, baseline, corpus, seed, ...; the same draws serve both.

    Raises:
        HeadAtlasError: as `attribute`.
    """
    clean = attribute(model, prompt, target, contrast, **options)
    if not isinstance(prompt, Prompt):
        target = clean.target
    ablated = attribute(model, prompt, target, contrast, heads, mode, reference, **options)
    return AttributionChange(clean, ablated, NamedArray(ablated.values.values - clean.values.values, ("token",)))


_Running = Generator[tuple[int, int], None, Attribution]


def _steps(running: _Running) -> Iterator[AttributionStep]:
    done = 0
    while True:
        try:
            done, total = next(running)
        except StopIteration as end:
            yield AttributionStep(done, done, end.value)
            return
        yield AttributionStep(done, total, None)


def _by_gradient(explained: Explained, method: Method) -> _Running:
    f, products, norms = gradient_values(explained)
    yield 1, 1
    return _attribution(explained, method, f, products if method == "gradient_x_input" else norms)


def _by_integration(explained: Explained, starts: Tensor, max_nodes: int, seed: int) -> _Running:
    found = yield from integrate(explained, starts, max_nodes)
    return _attribution(
        explained,
        "integrated_gradients",
        found.f,
        found.values,
        f_baseline=found.f_baseline,
        completeness_gap=found.gap,
        n_nodes=found.n_nodes,
        converged=found.converged,
        n_draws=len(starts),
        seed=seed,
    )


def _by_occlusion(
    explained: Explained, method: Method, occluding: Occluding, n_draws: int = 0, seed: int = 0
) -> _Running:
    without, f = yield from occluding
    error = None
    if n_draws > 1:
        error = NamedArray(without.std(1, ddof=1) / np.sqrt(n_draws), ("token",))
    values = f - without.mean(1)
    return _attribution(explained, method, f, values, standard_error=error, n_draws=n_draws, seed=seed)


def _attribution(explained: Explained, method: Method, f: float, values: np.ndarray, **more: Any) -> Attribution:
    wide = np.float64 if explained.model.dtype == torch.float64 else np.float32
    values = values.astype(wide)
    values[: explained.n_fixed] = np.nan
    return Attribution(
        values=NamedArray(values, ("token",)),
        tokens=explained.prompt.tokens,
        strings=tuple(explained.model.strings(explained.prompt.tokens)),
        target=explained.target,
        contrast=explained.contrast,
        f=f,
        heads=explained.heads,
        method=method,
        mode=explained.mode,
        model=explained.model,
        prompt=explained.prompt,
        reference=explained.reference,
        **more,
    )
