"""Greedy search for a circuit: backward, with swaps. `live.circuit_search` says what for, and reports on it."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from head_atlas.errors import HeadAtlasError, PromptError
from head_atlas.heads import HeadId
from head_atlas.interventions import Budget, Mode, Reference
from head_atlas.measures.circuits import prompt_counts, undefined_share
from head_atlas.measures.head_sets import ValueMetric, iter_set_values
from head_atlas.models import HeadModel
from head_atlas.prompts.prompt import Prompt

if TYPE_CHECKING:
    from head_atlas.live.circuit_search import Circuit

AT_ONCE = 10
"""One head in so many is removed in one round, and at least one."""
LEAST_GAIN = 1e-6
"""Of a swap, as a share: less is rounding."""


@dataclass(frozen=True)
class SearchMove:
    """One step of a search.

    Attributes:
        removed: heads taken out of the circuit.
        added: heads put back.
        share: of the behaviour, on the prompts of the search, afterwards.
        size: of the circuit afterwards.
    """

    removed: tuple[HeadId, ...]
    added: tuple[HeadId, ...]
    share: float
    size: int


@dataclass(frozen=True)
class SearchStep:
    """How far a search is.

    Attributes:
        phase: "search" or "report".
        heads: of the circuit so far.
        move: the latest, if there was one.
        done: runs of a prompt without a set of heads, so far.
        result: in the last step only.
    """

    phase: str
    heads: tuple[HeadId, ...]
    move: SearchMove | None
    done: int
    result: Circuit | None


def split_prompts(prompts: Sequence[Prompt], seed: int) -> tuple[list[Prompt], list[Prompt], str]:
    """Tell prompts of the search from prompts of the report.

    By their own split where both are there. Else at random: whole templates of a family where there are at least
    four, since prompts of one template resemble each other; else prompts.

    Returns:
        (train, held_out, in words how).

    Raises:
        PromptError: fewer than two prompts.
    """
    if len(prompts) < 2:
        raise PromptError(
            f"a circuit is searched on some prompts and reported on others: expected at least 2, found {len(prompts)}"
        )
    if {prompt.split for prompt in prompts} == {"train", "held_out"}:
        parts = {name: [p for p in prompts if p.split == name] for name in ("train", "held_out")}
        return parts["train"], parts["held_out"], "the prompts' own split"
    rng = np.random.default_rng(seed)
    templates = sorted({(p.family, p.template) for p in prompts})
    if len(templates) >= 4 and all(template >= 0 for _, template in templates):
        drawn = {templates[i] for i in rng.permutation(len(templates))[: len(templates) // 2]}
        chosen = [(p.family, p.template) in drawn for p in prompts]
        how = f"half of {len(templates)} templates, at random"
    else:
        half = set(rng.permutation(len(prompts))[: len(prompts) // 2].tolist())
        chosen = [i in half for i in range(len(prompts))]
        how = f"half of {len(prompts)} prompts, at random"
    held_out = [p for p, out in zip(prompts, chosen, strict=True) if out]
    return [p for p, out in zip(prompts, chosen, strict=True) if not out], held_out, how


Steps = Generator["SearchStep", None, np.ndarray]
"""Yields how far it is, and returns numbers."""


class GreedySearch:
    """A circuit that shrinks, and its share on the prompts of the search."""

    def __init__(
        self,
        model: HeadModel,
        candidates: tuple[HeadId, ...],
        train: list[Prompt],
        mode: Mode,
        reference: Reference | None,
        metric: ValueMetric,
        keep: float,
        budget: Budget | None,
    ) -> None:
        self.model, self.candidates, self.train = model, candidates, train
        self.mode, self.reference, self.metric, self.keep, self.budget = mode, reference, metric, keep, budget
        self.done, self.phase = 0, "search"
        self.circuit = candidates
        self.path: list[SearchMove] = []
        self.whole = self.none = np.zeros(len(train))

    def step(self, move: SearchMove | None = None, result: Circuit | None = None) -> SearchStep:
        """Say how far it is."""
        return SearchStep(self.phase, self.circuit, move, self.done, result)

    def values(self, prompts: list[Prompt], circuits: Sequence[Sequence[HeadId]]) -> Steps:
        """F of the model with no candidates but those of each circuit, [circuit, prompt]."""
        sets = [self.outside(circuit) for circuit in circuits]
        before = self.done
        for found in iter_set_values(
            self.model,
            prompts,
            sets,
            self.mode,
            reference=self.reference,
            metric=self.metric,
            base=self.outside(self.circuit),
            budget=self.budget,
        ):
            self.done = before + found.done
            yield self.step()
        return found.values.values

    def outside(self, circuit: Sequence[HeadId]) -> tuple[HeadId, ...]:
        """Candidates that a circuit leaves out."""
        return less(self.candidates, circuit)

    def shares(self, circuits: Sequence[Sequence[HeadId]]) -> Steps:
        """Share of the behaviour on the prompts of the search, [circuit]."""
        values = yield from self.values(self.train, circuits)
        return (values - self.none).mean(-1) / (self.whole - self.none).mean()

    def run(self) -> Iterator[SearchStep]:
        """Search.

        Raises:
            HeadAtlasError: there is no behaviour to keep.
        """
        self.whole, self.none = yield from self.values(self.train, [self.candidates, ()])
        reason = undefined_share(self.none, self.whole, prompt_counts(self.train, 0))
        if reason:
            raise HeadAtlasError(f"there is no circuit to search on these prompts: {reason}")
        while True:
            yield from self.shrink()
            n_moves = len(self.path)
            yield from self.swap()
            if len(self.path) == n_moves:
                return

    def shrink(self) -> Iterator[SearchStep]:
        """Remove heads as long as the rest keeps enough."""
        while len(self.circuit) > 1:
            rest = [less(self.circuit, [head]) for head in self.circuit]
            shares = yield from self.shares(rest)
            order = np.argsort(-shares, kind="stable").tolist()
            n_together = len(self.circuit) // AT_ONCE
            if n_together > 1:
                several = [self.circuit[i] for i in order[:n_together]]
                (share,) = yield from self.shares([less(self.circuit, several)])
                if share >= self.keep:
                    yield self._move(less(self.circuit, several), several, [], float(share))
                    continue
            if not shares[order[0]] >= self.keep:
                return
            yield self._move(rest[order[0]], [self.circuit[order[0]]], [], float(shares[order[0]]))

    def swap(self) -> Iterator[SearchStep]:
        """Put one head back for another, if that leaves a higher F."""
        outside = self.outside(self.circuit)
        if not outside:
            return
        now, *gains = yield from self.shares([self.circuit, *((*self.circuit, head) for head in outside)])
        best = outside[int(np.argmax(gains))]
        larger = tuple(sorted((*self.circuit, best)))
        swapped = [less(larger, [head]) for head in self.circuit]
        shares = yield from self.shares(swapped)
        at = int(shares.argmax())
        if shares[at] > now + LEAST_GAIN:
            yield self._move(swapped[at], [self.circuit[at]], [best], float(shares[at]))

    def _move(
        self, circuit: tuple[HeadId, ...], removed: Sequence[HeadId], added: Sequence[HeadId], share: float
    ) -> SearchStep:
        self.circuit = circuit
        self.path.append(SearchMove(tuple(removed), tuple(added), share, len(circuit)))
        return self.step(self.path[-1])


def less(heads: Sequence[HeadId], removed: Sequence[HeadId]) -> tuple[HeadId, ...]:
    """Heads without some of them, in order."""
    return tuple(head for head in heads if head not in removed)
