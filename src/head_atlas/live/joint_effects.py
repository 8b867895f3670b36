"""Heads removed together: the joint effect of a set beside the sum of its single effects, and interactions of pairs.

The formulas are those of `measures.circuits`. Effects are ablated - clean; harm D = -effect. A small single effect is
not unimportance: heads that stand in for each other show only when they go together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from head_atlas.errors import HeadError
from head_atlas.heads import HeadId
from head_atlas.interventions import Budget, Mode, Reference
from head_atlas.measures.circuits import OverPrompts, interaction, over_prompts, pair_significance, prompt_counts
from head_atlas.measures.effects import as_prompts
from head_atlas.measures.head_sets import ValueMetric, iter_set_values, set_values, value_metric
from head_atlas.models import HeadModel
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt
from head_atlas.seeds import checked_seed

HeadName = HeadId | str | tuple[int, int]


@dataclass(frozen=True)
class JointEffect:
    """What a set of heads does together and one by one.

    Attributes:
        joint: effect of removing all at once, no axes.
        single: effect of removing each alone, axes (head,).
        sum_of_single: their sum, no axes.
        difference: joint - sum, no axes: below 0, together they cost more than one by one.
        joint_by_prompt: axes (prompt,).
        single_by_prompt: axes (head, prompt).
        clean: the metric's value with all heads, axes (prompt,).
        heads: that were removed.
        prompts: that were run.
        metric: "logit_difference" or "logprob".
        mode: what a removed head's output became.
        seed: of the bootstrap.
    """

    joint: OverPrompts
    single: OverPrompts
    sum_of_single: OverPrompts
    difference: OverPrompts
    joint_by_prompt: NamedArray
    single_by_prompt: NamedArray
    clean: NamedArray
    heads: tuple[HeadId, ...]
    prompts: tuple[Prompt, ...]
    metric: ValueMetric
    mode: Mode
    seed: int


@dataclass(frozen=True)
class Interactions:
    """Interaction of every pair of some heads.

    Attributes:
        interaction: I = D(i, j) - D(i) - D(j), axes (head, head_with), symmetric, NaN on the diagonal: above 0 the
            two stand in for each other, below 0 they are one serial path (or the metric saturates). Intervals are of
            single pairs, not corrected for their number: `q` is.
        p: of each I being 0, by flipping the signs of whole templates, likewise; NaN with fewer than two of them.
        q: of p over all pairs, each counted once: of those with q <= 0.05, at most 5 % are false on average.
        pair_harm: D(i, j), likewise; D(i) on the diagonal.
        harm: D(i), axes (head,), in order of `heads`.
        interaction_by_prompt: axes (head, head_with, prompt).
        clean: the metric's value with all heads, axes (prompt,).
        heads: the largest harm first where they were not chosen by name.
        chosen_by_harm: whether they were chosen by D on these same prompts: D of heads chosen for it is too high, which
            may pull I below 0, and no p or q allows for that.
        prompts: that were run.
        metric: "logit_difference" or "logprob".
        mode: what a removed head's output became.
        seed: of the bootstrap.
    """

    interaction: OverPrompts
    p: NamedArray
    q: NamedArray
    pair_harm: OverPrompts
    harm: OverPrompts
    interaction_by_prompt: NamedArray
    clean: NamedArray
    heads: tuple[HeadId, ...]
    chosen_by_harm: bool
    prompts: tuple[Prompt, ...]
    metric: ValueMetric
    mode: Mode
    seed: int


@dataclass(frozen=True)
class InteractionStep:
    """How far the pairs are.

    Attributes:
        done: runs of a prompt without a set of heads, in each draw.
        total: all of them, in this and the phases before it.
        phase: "heads" while every head is removed alone to find the most harmful, then "pairs".
        result: in the last step only.
    """

    done: int
    total: int
    phase: str
    result: Interactions | None


def heads_with_roles(
    model: HeadModel, roles: Mapping[str, Iterable[HeadName]] | NamedArray, names: str | Iterable[str]
) -> tuple[HeadId, ...]:
    """Return the heads that hold any of some roles, in order of layers.

    Args:
        model: whose heads.
        roles: heads by role; or of an atlas, true where a head holds a role, axes (role, layer, head) with labels.
        names: of roles.

    Raises:
        HeadError: a role that is not there, or a head that the model does not have.
    """
    if isinstance(roles, NamedArray):
        known: dict[str, list[HeadName]] = {
            str(role): [(int(l), int(h)) for l, h in np.argwhere(np.asarray(held, bool))]  # noqa: E741
            for role, held in zip(roles.coords["role"], roles.values, strict=True)
        }
    else:
        known = {role: list(heads) for role, heads in roles.items()}
    wanted = [names] if isinstance(names, str) else list(names)
    for name in wanted:
        if name not in known:
            raise HeadError(f"no role {str(name)[:40]!r}: there are {', '.join(sorted(known))}")
    return tuple(sorted(model.heads([head for name in wanted for head in known[name]])))


def joint_effect(
    model: HeadModel,
    prompts: str | Prompt | Sequence[str | Prompt],
    heads: Iterable[HeadName],
    mode: Mode = "zero",
    *,
    reference: Reference | None = None,
    metric: ValueMetric | None = None,
    target: str | int | None = None,
    contrast: str | int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    budget: Budget | None = None,
) -> JointEffect:
    """Remove a set of heads at once, and each of them alone.

    Args:
        model: whose heads.
        prompts: as in `sweep`; intervals need at least two.
        heads: of the set.
        mode: "zero", "mean" or "resample".
        reference: what the mode needs, as in `sweep`.
        metric: "logit_difference" or "logprob"; the former by default where every prompt has a contrast.
        target: as in `sweep`.
        contrast: likewise.
        seed: of the bootstrap.
        progress: is told how much is done, and all of it; what it raises ends the run.
        budget: how much runs at once.

    Raises:
        HeadError: no head, or one that the model does not have.
        PromptError: a prompt or a token that cannot be measured.
        MissingReferenceError: a mode without a fitting reference.
        HeadAtlasError: a seed that is none.
    """
    chosen, seed = _some(model, heads), checked_seed(seed)
    ready = as_prompts(model, prompts, target, contrast)
    sets = [(), chosen, *((head,) for head in chosen)]
    values = set_values(model, ready, sets, mode, reference=reference, metric=metric, progress=progress, budget=budget)
    whole, effects = values.values.values[0], values.values.values[1:] - values.values.values[0]
    joint, single = effects[0], effects[1:]
    counts = prompt_counts(ready, seed)
    labels = {"head": [head.label for head in chosen]}
    return JointEffect(
        joint=over_prompts(joint, (), counts),
        single=over_prompts(single, ("head",), counts, labels),
        sum_of_single=over_prompts(single.sum(0), (), counts),
        difference=over_prompts(joint - single.sum(0), (), counts),
        joint_by_prompt=NamedArray(joint, ("prompt",)),
        single_by_prompt=NamedArray(single, ("head", "prompt"), labels),
        clean=NamedArray(whole, ("prompt",)),
        heads=chosen,
        prompts=tuple(ready),
        metric=values.metric,
        mode=mode,
        seed=seed,
    )


def interactions(
    model: HeadModel,
    prompts: str | Prompt | Sequence[str | Prompt],
    heads: Iterable[HeadName] | None = None,
    mode: Mode = "zero",
    *,
    k: int = 10,
    reference: Reference | None = None,
    metric: ValueMetric | None = None,
    target: str | int | None = None,
    contrast: str | int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    budget: Budget | None = None,
) -> Interactions:
    """Remove every pair of some heads, and say how far that is from removing them one by one.

    Args:
        model: whose heads.
        prompts: as in `sweep`; intervals need at least two.
        heads: at least two; None for the k whose removal harms most on these prompts.
        mode: "zero", "mean" or "resample".
        k: of the most harmful; all if the model has fewer.
        reference: what the mode needs, as in `sweep`.
        metric: "logit_difference" or "logprob"; the former by default where every prompt has a contrast.
        target: as in `sweep`.
        contrast: likewise.
        seed: of the bootstrap.
        progress: is told how much is done, and all of it; what it raises ends the run.
        budget: how much runs at once.

    Raises:
        HeadError: fewer than two heads, or one that the model does not have.
        PromptError: a prompt or a token that cannot be measured.
        MissingReferenceError: a mode without a fitting reference.
        HeadAtlasError: a seed that is none.
    """
    last: InteractionStep | None = None
    for last in iter_interactions(
        model,
        prompts,
        heads,
        mode,
        k=k,
        reference=reference,
        metric=metric,
        target=target,
        contrast=contrast,
        seed=seed,
        budget=budget,
    ):
        if progress is not None:
            progress(last.done, last.total)
    assert last is not None
    assert last.result is not None
    return last.result


def iter_interactions(
    model: HeadModel,
    prompts: str | Prompt | Sequence[str | Prompt],
    heads: Iterable[HeadName] | None = None,
    mode: Mode = "zero",
    *,
    k: int = 10,
    reference: Reference | None = None,
    metric: ValueMetric | None = None,
    target: str | int | None = None,
    contrast: str | int | None = None,
    seed: int = 0,
    budget: Budget | None = None,
) -> Iterator[InteractionStep]:
    """Measure pairs, step by step: stop iterating to cancel. The arguments of `interactions`, checked at once."""
    named = None if heads is None else _some(model, heads, at_least=2)
    if named is None and min(k, model.n_layers * model.n_heads) < 2:
        raise HeadError(f"interactions need at least two heads, found k = {k}")
    seed = checked_seed(seed)
    ready = as_prompts(model, prompts, target, contrast)
    name = value_metric(ready, metric)
    everything = [HeadId(l, h) for l in range(model.n_layers) for h in range(model.n_heads)]  # noqa: E741
    listed = named or tuple(everything)
    singly = iter_set_values(
        model, ready, [(), *((head,) for head in listed)], mode, reference=reference, metric=name, budget=budget
    )

    def steps() -> Iterator[InteractionStep]:
        n_kept = len(listed) if named else min(k, len(listed))
        n_pairs = n_kept * (n_kept - 1) // 2
        for part in singly:
            of_pairs = part.total * n_pairs // (len(listed) + 1)
            yield InteractionStep(part.done, part.total + of_pairs, "heads", None)
        whole, harm = part.values.values[0], part.values.values[0] - part.values.values[1:]
        order = range(len(listed)) if named else np.argsort(-harm.mean(-1), kind="stable")[:n_kept].tolist()
        chosen, harm = tuple(listed[i] for i in order), harm[list(order)]
        pairs = list(combinations(range(n_kept), 2))
        together = np.zeros((n_kept, n_kept, len(ready)))
        together[np.arange(n_kept), np.arange(n_kept)] = harm
        before = part.total
        sets = [(chosen[i], chosen[j]) for i, j in pairs]
        for part in iter_set_values(model, ready, sets, mode, reference=reference, metric=name, budget=budget):
            if part.done < part.total:
                yield InteractionStep(before + part.done, before + part.total, "pairs", None)
        for (i, j), values in zip(pairs, part.values.values, strict=True):
            together[i, j] = together[j, i] = whole - values
        counts = prompt_counts(ready, seed)
        labels = [head.label for head in chosen]
        both = {"head": labels, "head_with": labels}
        mutual = interaction(together, harm)
        p, q = pair_significance(mutual, ready, seed)
        result = Interactions(
            interaction=over_prompts(mutual, ("head", "head_with"), counts, both),
            p=NamedArray(p, ("head", "head_with"), both),
            q=NamedArray(q, ("head", "head_with"), both),
            pair_harm=over_prompts(together, ("head", "head_with"), counts, both),
            harm=over_prompts(harm, ("head",), counts, {"head": labels}),
            interaction_by_prompt=NamedArray(mutual, ("head", "head_with", "prompt"), both),
            clean=NamedArray(whole, ("prompt",)),
            heads=chosen,
            chosen_by_harm=named is None,
            prompts=tuple(ready),
            metric=name,
            mode=mode,
            seed=seed,
        )
        yield InteractionStep(before + part.total, before + part.total, "pairs", result)

    return steps()


def _some(model: HeadModel, heads: Iterable[HeadName], at_least: int = 1) -> tuple[HeadId, ...]:
    chosen = model.heads(heads)
    if len(chosen) < at_least:
        raise HeadError(f"expected at least {at_least} head{'s' * (at_least > 1)}, found {len(chosen)}")
    return chosen
