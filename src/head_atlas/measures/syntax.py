"""Does a head look from a word to the word it is grammatically tied to, more often than a fixed offset would hit?

Words are those that the prompts are annotated with (`prompts.families.syntax`): the attention of a word to a word is
the sum over the key's tokens, averaged over the query's. Position 0 belongs to no word: it is a resting place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from head_atlas.errors import PromptError
from head_atlas.measures.bootstrap import Interval, bootstrap_mean, cluster_index, resample_counts
from head_atlas.measures.patterns import packs
from head_atlas.measures.running_scores import BLOCK_QUERIES
from head_atlas.models import HeadModel, Intervention
from head_atlas.named_array import NamedArray
from head_atlas.prompts.families.syntax import RELATIONS
from head_atlas.prompts.prompt import Prompt

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

DIRECTIONS = ("second_to_first", "first_to_second")
"""Which of a relation's two words is the query: in "subject-verb" the first direction has the verb look at the subject.
A causal model can only look back, so word order decides."""

SMALLEST_GAIN = 0.1
"""A head of less gain than this over the best fixed offset holds no syntactic role."""

FEWEST_TEMPLATES = 5
"""Held-out templates under which a gain has no interval: resampling fewer says little of others."""


@dataclass(frozen=True)
class WordPair:
    """Two words of a prompt that are tied by a relation, the later one looking at the earlier one.

    Attributes:
        prompt: its index.
        relation: index in `RELATIONS`.
        direction: index in `DIRECTIONS`.
        query: index of the later word.
        key: index of the earlier word.
        same_class: indices of the words before the query that are of the key's class, the key among them.
    """

    prompt: int
    relation: int
    direction: int
    query: int
    key: int
    same_class: tuple[int, ...]


@dataclass(frozen=True)
class SyntacticScores:
    """What heads look at from annotated words.

    Attributes:
        pairs: every measured pair.
        chosen: [layer, head, pair] index of the word with the most attention, among the words up to the query and the
            query itself; -1 where no word has any.
        hits: [layer, head, relation, direction, prompt] share in [0, 1] of the prompt's pairs in which that word is the
            key; NaN for a prompt without such a pair.
        offset_hits: [relation, direction, prompt] the same for the best fixed offset.
        best_offset: [relation, direction] that offset, in words back: the one with the most hits on the train split;
            NaN where that has no pair.
        gains: as `hits`, hits minus those of the best offset, in [-1, 1]; NaN but on the held-out split.
        templates: of each prompt.
    """

    pairs: tuple[WordPair, ...]
    chosen: np.ndarray
    hits: NamedArray
    offset_hits: NamedArray
    best_offset: NamedArray
    gains: NamedArray
    templates: tuple[int, ...]

    def gain(self, *, seed: int, family: str = "syntax") -> Interval:
        """Mean gain over held-out prompts with its cluster-bootstrap interval, [layer, head, relation, direction].

        What is drawn are the templates in which the relation occurs, so that every resample has prompts that count.
        No interval (NaN) with under `FEWEST_TEMPLATES` of them.
        """
        gains = self.gains.values
        shape = gains.shape[:-1]
        mean, low, high = (np.full(shape, np.nan) for _ in range(3))
        n = np.zeros(shape, dtype=np.int32)
        for group in np.ndindex(shape[2:]):
            at = (slice(None), slice(None), *group)
            defined = np.flatnonzero(~np.isnan(gains[at]).all(axis=(0, 1)))
            if not len(defined):
                continue
            templates = [self.templates[index] for index in defined]
            counts = resample_counts(templates, seed=seed, family=f"{family} {group}")
            found = bootstrap_mean(gains[at][..., defined], counts)
            mean[at], n[at] = found.mean, found.n
            if cluster_index(templates)[0] >= FEWEST_TEMPLATES:
                low[at], high[at] = found.low, found.high
        return Interval(mean, low, high, n)


def holds(gain: Interval) -> np.ndarray:
    """Where a gain is a role's: its interval lies above 0 and it is at least 0.1 (10 points)."""
    with np.errstate(invalid="ignore"):
        found: np.ndarray = (gain.low > 0) & (gain.mean >= SMALLEST_GAIN)
    return found


def word_pairs(prompts: Sequence[Prompt]) -> tuple[WordPair, ...]:
    """Read the annotated pairs. A pair that touches position 0 is left out.

    Raises:
        PromptError: a prompt has no annotated words, or a relation between positions where no word begins.
    """
    found = []
    for index, prompt in enumerate(prompts):
        starts = prompt.annotations.get("words", ())
        if not starts:
            raise PromptError(f"prompt {index} ({prompt.text[:40]!r}) has no annotated words")
        word_at = {start: word for word, start in enumerate(starts)}
        for relation, (name, classes) in enumerate(RELATIONS.items()):
            flat = prompt.annotations.get(f"relation:{name}", ())
            if len(flat) % 2 or not set(flat) <= set(word_at):
                raise PromptError(f"prompt {index}: relation {name!r} must hold pairs of first tokens of words")
            for pair in zip(flat[::2], flat[1::2], strict=True):
                if 0 in pair:
                    continue
                first, second = (word_at[at] for at in pair)
                key_class = classes[0 if first < second else 1]
                members = prompt.annotations.get(f"class:{key_class}", ())
                query, key = max(first, second), min(first, second)
                same = {word_at[at] for at in members if at and at in word_at} | {key}
                allowed = tuple(sorted(word for word in same if word < query))
                found.append(WordPair(index, relation, int(second < first), query, key, allowed))
    return tuple(found)


def syntactic_scores(
    model: HeadModel, prompts: Sequence[Prompt], *, progress: Callable[[int, int], None] | None = None
) -> SyntacticScores:
    """Measure every head on every annotated relation.

    Args:
        model: whose heads.
        prompts: annotated, of both splits.
        progress: is told prompts done and all prompts.

    Raises:
        PromptError: a prompt without annotations, too long, or with unknown ids.

    Source:
        Clark et al. 2019, What Does BERT Look At? (arg-max accuracy against a fixed offset). The offset is fitted on
        other prompts than those the gain is taken on.
    """
    pairs = word_pairs(prompts)
    of_prompt: dict[int, list[int]] = {}
    for place, pair in enumerate(pairs):
        of_prompt.setdefault(pair.prompt, []).append(place)
    chosen = np.full((model.n_layers, model.n_heads, len(pairs)), -1, dtype=np.int16)
    done = 0
    n_queries = BLOCK_QUERIES if model.structure.through_interface else model.max_length
    for members in packs(prompts, model.n_heads, n_queries):
        queries, keys = _word_maps(
            [prompts[i] for i in members], [[pairs[p] for p in of_prompt.get(i, ())] for i in members]
        )
        running = _WordAttention(queries.to(model.device), keys.to(model.device))
        with model.intervening(running):
            model.attend(model.rows([prompts[i].tokens for i in members]))
        for layer, attention in running.sums.items():
            largest, word = attention.max(-1)
            found = word.where(largest > 0, -1).cpu().numpy()  # prompt head pair
            for row, index in enumerate(members):
                places = of_prompt.get(index, [])
                chosen[layer][:, places] = found[row, :, : len(places)]
        done += len(members)
        if progress is not None:
            progress(done, len(prompts))
    return summarise_choices(pairs, chosen, prompts)


def summarise_choices(pairs: Sequence[WordPair], chosen: np.ndarray, prompts: Sequence[Prompt]) -> SyntacticScores:
    """Count hits, fit the best offset on the train split, and take the gain on the held-out one. No model runs.

    Args:
        pairs: of `word_pairs`.
        chosen: [layer, head, pair] words.
        prompts: those of the pairs.
    """
    groups = (len(RELATIONS), len(DIRECTIONS))
    dims = ("relation", "direction", "prompt")
    coords = {"relation": tuple(RELATIONS), "direction": DIRECTIONS}
    hits = np.full((*chosen.shape[:2], *groups, len(prompts)), np.nan, dtype=np.float32)
    offset_hits = np.full((*groups, len(prompts)), np.nan, dtype=np.float32)
    best_offset = np.full(groups, np.nan, dtype=np.float32)
    train = np.array([prompt.split == "train" for prompt in prompts], dtype=bool)
    by_group: dict[tuple[int, int], dict[int, list[int]]] = {}
    for place, pair in enumerate(pairs):
        by_group.setdefault((pair.relation, pair.direction), {}).setdefault(pair.prompt, []).append(place)
    keys = np.array([pair.key for pair in pairs], dtype=np.int64)
    offsets = np.array([pair.query - pair.key for pair in pairs], dtype=np.int64)
    for group, places_of in by_group.items():
        for prompt, places in places_of.items():
            hits[(..., *group, prompt)] = (chosen[:, :, places] == keys[places]).mean(-1)
        fitted = [offsets[places] for prompt, places in places_of.items() if train[prompt]]
        if not fitted:
            continue
        tried = np.unique(np.concatenate(fitted))  # the smallest of equally good ones
        best = tried[np.argmax([np.mean([(one == offset).mean() for one in fitted]) for offset in tried])]
        best_offset[group] = best
        for prompt, places in places_of.items():
            offset_hits[(*group, prompt)] = (offsets[places] == best).mean()
    gains = np.where(train, np.float32(np.nan), hits - offset_hits)
    return SyntacticScores(
        tuple(pairs),
        chosen,
        NamedArray(hits, ("layer", "head", *dims), coords),
        NamedArray(offset_hits, dims, coords),
        NamedArray(best_offset, dims[:2], coords),
        NamedArray(gains, ("layer", "head", *dims), coords),
        tuple(prompt.template for prompt in prompts),
    )


class _WordAttention(Intervention):
    """Adds up the attention of the queries' words to all words, block by block: [prompt, head, pair, word] by layer."""

    wants_pattern = True
    block_queries = BLOCK_QUERIES

    def __init__(self, queries: Float[Tensor, "prompt pair query"], keys: Float[Tensor, "prompt key word"]) -> None:
        self._queries, self._keys = queries, keys
        self.sums: dict[int, Float[Tensor, "prompt head pair word"]] = {}

    def on_pattern_block(
        self, layer: int, pattern: Float[Tensor, "prompt head some_query key"], first_query: int
    ) -> None:
        queries = self._queries[:, None, :, first_query : first_query + pattern.shape[2]]
        keys = self._keys[:, None, : pattern.shape[3]]
        words = queries @ (pattern.to(keys.dtype) @ keys)
        self.sums[layer] = self.sums[layer] + words if layer in self.sums else words


def _word_maps(prompts: Sequence[Prompt], pairs: Sequence[Sequence[WordPair]]) -> tuple[Tensor, Tensor]:
    """Mean over the query word's tokens, [prompt, pair, query], and sum over each word's, [prompt, key, word]."""
    n_pos = len(prompts[0])
    word_of = torch.stack([_word_of(prompt) for prompt in prompts])
    keys = torch.nn.functional.one_hot(word_of + 1)[..., 1:].double()
    queries = torch.zeros(len(prompts), max(map(len, pairs)), n_pos, dtype=torch.float64)
    for row, of_prompt in enumerate(pairs):
        for place, pair in enumerate(of_prompt):
            pieces = word_of[row] == pair.query
            queries[row, place] = pieces / pieces.sum()
    return queries, keys


def _word_of(prompt: Prompt) -> Int[Tensor, " pos"]:
    """Index of the word that each token is part of; -1 for position 0 and for what stands before the first word."""
    starts = torch.tensor(prompt.annotations["words"])
    word_of = (torch.arange(len(prompt))[:, None] >= starts).sum(-1) - 1
    word_of[0] = -1
    return word_of
