"""A small set of heads that keeps a behaviour: greedy search on some prompts, reported on others.

A circuit C keeps its heads; every other candidate head is removed (resampled, as a rule). MLPs, and heads that are no
candidates, stay. With F as in `measures.head_sets`, on the training prompts:

1. Backward. From all candidates, remove the head whose removal leaves F highest (several at once while 20 or more are
   left: a tenth of them), as long as the share of the behaviour, (F(C) - F(none)) / (F(all) - F(none)), stays at
   `keep` or above.
2. Forward. Every head outside C is put back alone, for what it would add. If one, swapped for the head of C that is
   then missed least, leaves a higher F, they are swapped and step 1 goes on from there; each swap must raise F, so
   this ends.

The report is on held-out prompts, which the search never saw:

    faithfulness    the share of C. Above 1: heads that work against the behaviour have been left out
    without         the share of the model without C: near 0 where C is all there is
    minimality      per head v of C: share of C minus share of C without v: what v adds
    completeness    per subset K of C: share of C without K minus share of the model without K; 0 where the circuit
                    breaks as the model does (Wang et al. 2022). K is each head alone, and random halves of C
    percentile      of F(C) among random circuits of the same size

Sources: Wang et al. 2022, Interpretability in the Wild; Conmy et al. 2023, Towards Automated Circuit Discovery.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from head_atlas.errors import HeadAtlasError, HeadError
from head_atlas.heads import HeadId
from head_atlas.interventions import Budget, Mode, Reference
from head_atlas.live.greedy_search import GreedySearch, SearchMove, SearchStep, less, split_prompts
from head_atlas.live.joint_effects import HeadName
from head_atlas.measures.circuits import (
    OverPrompts,
    percentile_among,
    prompt_counts,
    ratio_of_means,
    undefined_share,
)
from head_atlas.measures.effects import as_prompts
from head_atlas.measures.head_sets import ValueMetric, iter_set_values, value_metric
from head_atlas.models import HeadModel
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt
from head_atlas.seeds import checked_seed

KEEP = 0.9
N_RANDOM = 100
N_SUBSETS = 20


@dataclass(frozen=True)
class Circuit:
    """A set of heads, and how well it stands for the whole model.

    All shares are of F(all) - F(none); NaN, all of them, where that means nothing (`undefined` says why).

    Attributes:
        heads: of the circuit, in order of layers.
        candidates: among which it was searched.
        faithfulness: held out, no axes.
        train_faithfulness: on the prompts of the search, no axes; too high, since C was chosen for it.
        without: share of the model without the circuit, held out, no axes.
        minimality: per head of the circuit, what it adds, held out, axes (head,).
        completeness: held out, axes (subset,), labels such as "L0H4 + L1H2".
        percentile: of F(C) among random circuits, held out, in [0, 100], no axes.
        random_faithfulness: of each random circuit, held out, axes (random,).
        added: on the prompts of the search, per candidate outside, share gained by putting it back, axes (head,).
        path: of the search: what was done, and the share on its prompts afterwards.
        whole: F(all), held out, axes (prompt,).
        none: F(none), held out, axes (prompt,).
        undefined: why shares are NaN; "" where they are not.
        train: prompts of the search.
        held_out: prompts of the report.
        split: how the two were told apart, in words.
        n_random: random circuits.
        metric: "logit_difference" or "logprob".
        mode: what a removed head's output became.
        keep: share that the search held on to.
        seed: of the split, the random circuits, the subsets and the bootstrap.
    """

    heads: tuple[HeadId, ...]
    candidates: tuple[HeadId, ...]
    faithfulness: OverPrompts
    train_faithfulness: OverPrompts
    without: OverPrompts
    minimality: OverPrompts
    completeness: OverPrompts
    percentile: OverPrompts
    random_faithfulness: NamedArray
    added: OverPrompts
    path: tuple[SearchMove, ...]
    whole: NamedArray
    none: NamedArray
    undefined: str
    train: tuple[Prompt, ...]
    held_out: tuple[Prompt, ...]
    split: str
    n_random: int
    metric: ValueMetric
    mode: Mode
    keep: float
    seed: int


def find_circuit(
    model: HeadModel,
    prompts: Sequence[str | Prompt],
    heads: Iterable[HeadName] | None = None,
    mode: Mode = "resample",
    *,
    reference: Reference | None = None,
    keep: float = KEEP,
    metric: ValueMetric | None = None,
    target: str | int | None = None,
    contrast: str | int | None = None,
    n_random: int = N_RANDOM,
    n_subsets: int = N_SUBSETS,
    seed: int = 0,
    progress: Callable[[SearchStep], None] | None = None,
    budget: Budget | None = None,
) -> Circuit:
    """Search a small set of heads that keeps a behaviour.

    Args:
        model: whose heads.
        prompts: of one family: both splits of it, or at least two prompts, of which half are held out then.
        heads: candidates; None for all. Others stay in place throughout.
        mode: what heads outside the circuit become: "resample", "mean" or "zero".
        reference: what the mode needs, as in `sweep`: CORRUPTED for each prompt's own corrupted one.
        keep: share of the behaviour that the circuit must keep on the prompts of the search, above 0.
        metric: "logit_difference" or "logprob"; the former by default where every prompt has a contrast.
        target: of texts, as in `sweep`.
        contrast: likewise.
        n_random: random circuits of the same size, drawn from the candidates.
        n_subsets: random subsets of the circuit, for its completeness.
        seed: of the split, the random circuits, the subsets and the bootstrap.
        progress: is told every step; what it raises ends the run.
        budget: how much runs at once.

    Raises:
        PromptError: fewer than two prompts, or one that cannot be measured.
        HeadError: no candidate, or a head that the model does not have.
        HeadAtlasError: a share, number or seed that cannot be; or no behaviour to keep: on the prompts of the search,
            the model is no worse without its heads.
        MissingReferenceError: a mode without a fitting reference.
    """
    last: SearchStep | None = None
    for last in iter_find_circuit(
        model,
        prompts,
        heads,
        mode,
        reference=reference,
        keep=keep,
        metric=metric,
        target=target,
        contrast=contrast,
        n_random=n_random,
        n_subsets=n_subsets,
        seed=seed,
        budget=budget,
    ):
        if progress is not None:
            progress(last)
    assert last is not None
    assert last.result is not None
    return last.result


def iter_find_circuit(
    model: HeadModel,
    prompts: Sequence[str | Prompt],
    heads: Iterable[HeadName] | None = None,
    mode: Mode = "resample",
    *,
    reference: Reference | None = None,
    keep: float = KEEP,
    metric: ValueMetric | None = None,
    target: str | int | None = None,
    contrast: str | int | None = None,
    n_random: int = N_RANDOM,
    n_subsets: int = N_SUBSETS,
    seed: int = 0,
    budget: Budget | None = None,
) -> Iterator[SearchStep]:
    """Search, step by step: stop iterating to cancel. The arguments of `find_circuit`, checked at once."""
    if not keep > 0:
        raise HeadAtlasError(f"keep must be a share above 0, found {keep}")
    seed = checked_seed(seed)
    if n_random < 1 or n_subsets < 0:
        raise HeadAtlasError(f"at least one random circuit and no negative number of subsets: {n_random}, {n_subsets}")
    ready = as_prompts(model, prompts, target, contrast)
    everything = [HeadId(l, h) for l in range(model.n_layers) for h in range(model.n_heads)]  # noqa: E741
    candidates = tuple(sorted(everything if heads is None else model.heads(heads)))
    if not candidates:
        raise HeadError("no candidate head: name at least one")
    name = value_metric(ready, metric)
    train, held_out, split = split_prompts(ready, seed)
    iter_set_values(model, ready, [()], mode, reference=reference, metric=name)  # checks the mode and the prompts
    search = GreedySearch(model, candidates, train, mode, reference, name, keep, budget)
    return _steps(search, held_out, split, n_random, n_subsets, seed)


def _steps(
    search: GreedySearch, held_out: list[Prompt], split: str, n_random: int, n_subsets: int, seed: int
) -> Iterator[SearchStep]:
    yield from search.run()
    search.phase = "report"
    result = yield from _report(search, held_out, split, n_random, n_subsets, seed)
    yield search.step(result=result)


def _report(
    search: GreedySearch, held_out: list[Prompt], split: str, n_random: int, n_subsets: int, seed: int
) -> Generator[SearchStep, None, Circuit]:
    """Measure a circuit on prompts that its search never saw."""
    circuit, candidates = search.circuit, search.candidates
    rng = np.random.default_rng([seed, 1])
    random = [
        tuple(candidates[i] for i in sorted(rng.permutation(len(candidates))[: len(circuit)])) for _ in range(n_random)
    ]
    drawn = rng.random((n_subsets, len(circuit))) < 0.5
    halves = [tuple(head for head, taken in zip(circuit, row, strict=True) if taken) for row in drawn]
    subsets = list(dict.fromkeys([*((head,) for head in circuit), *(half for half in halves if half)]))
    asked = [
        candidates,
        (),
        circuit,
        less(candidates, circuit),
        *(less(circuit, subset) for subset in subsets),
        *(less(candidates, subset) for subset in subsets),
        *random,
    ]
    unique = list(dict.fromkeys(asked))
    values = yield from search.values(held_out, unique)
    by_circuit = dict(zip(unique, values, strict=True))
    whole, none, own = by_circuit[candidates], by_circuit[()], by_circuit[circuit]
    counts = prompt_counts(held_out, seed)
    undefined = undefined_share(none, whole, counts)
    below = np.full_like(whole, np.nan) if undefined else whole - none

    def share(values: np.ndarray, dims: tuple[str, ...] = (), labels: Sequence[str] | None = None) -> OverPrompts:
        return ratio_of_means(values, below, dims, counts, {dims[0]: list(labels)} if labels is not None else None)

    # without any of the circuit's heads, or with one more, each circuit is one asked for above
    lost = np.stack([own - by_circuit[less(circuit, [head])] for head in circuit])
    gaps = np.stack([by_circuit[less(circuit, s)] - by_circuit[less(candidates, s)] for s in subsets])
    others = np.stack([by_circuit[one] for one in random])
    outside = less(candidates, circuit)
    on_train = yield from search.values(search.train, [circuit, *((*circuit, head) for head in outside)])
    train_counts = prompt_counts(search.train, seed)
    train_below = search.whole - search.none
    return Circuit(
        heads=circuit,
        candidates=candidates,
        faithfulness=share(own - none),
        train_faithfulness=ratio_of_means(on_train[0] - search.none, train_below, (), train_counts),
        without=share(by_circuit[outside] - none),
        minimality=share(lost, ("head",), [head.label for head in circuit]),
        completeness=share(gaps, ("subset",), [" + ".join(head.label for head in subset) for subset in subsets]),
        percentile=percentile_among(own, others, counts),
        random_faithfulness=share(others - none, ("random",)).mean,
        added=ratio_of_means(
            on_train[1:] - on_train[0], train_below, ("head",), train_counts, {"head": [h.label for h in outside]}
        ),
        path=tuple(search.path),
        whole=NamedArray(whole, ("prompt",)),
        none=NamedArray(none, ("prompt",)),
        undefined=undefined,
        train=tuple(search.train),
        held_out=tuple(held_out),
        split=split,
        n_random=n_random,
        metric=search.metric,
        mode=search.mode,
        keep=search.keep,
        seed=seed,
    )
