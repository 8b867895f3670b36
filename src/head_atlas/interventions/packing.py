"""Which rows run together: decided by the prompts, the heads and a budget, before anything runs.

A product of 7 rows and one of 20 differ in their last bits, so a rebuild is identical only with the same
packing. The budget is chosen from the device's memory once, and builds record it.

Memory of a sweep, in numbers of the model's type, with N = `Budget.tokens`: about N (8 d_model + 3 w + 4 H d_head)
for the rows that run, w being the widest linear layer of a block; 3 N L d_model / H for the clean run of a pack; and
6 `Budget.logits` for logits and what metrics make of them. One row is never split: a prompt longer than the budget
runs alone, and takes what a forward pass of it takes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import torch

from head_atlas.models import HeadModel
from head_atlas.prompts.prompt import Prompt

_Item = TypeVar("_Item")

MOST_TOKENS = {"cpu": 2**11, "cuda": 2**17}
"""Beyond these, larger products are no faster; on a CPU, 4096 tokens took 6 % longer than 2048 with GPT-2 small."""
LEAST_TOKENS = 2**8
MOST_LOGITS = {"cpu": 2**24, "cuda": 2**29}
SHARE = {"cpu": 1 / 16, "cuda": 1 / 4}
"""Of the device's memory that rows, and as much again that logits, may take."""


@dataclass(frozen=True)
class Budget:
    """How much runs at once.

    Attributes:
        tokens: in rows of heads and prompts.
        logits: numbers.
    """

    tokens: int
    logits: int


def budget_for(model: HeadModel) -> Budget:
    """Choose a budget from the memory of the model's device: powers of two, the same on every such device."""
    kind = model.device.type if model.device.type in SHARE else "cpu"
    if kind == "cuda":
        memory = torch.cuda.get_device_properties(model.device).total_memory
    else:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    share = SHARE[kind] * memory / model.dtype.itemsize
    return Budget(
        tokens=min(max(_power_of_two(share / numbers_per_token(model)), LEAST_TOKENS), MOST_TOKENS[kind]),
        logits=min(_power_of_two(share / 6), MOST_LOGITS[kind]),
    )


def numbers_per_token(model: HeadModel) -> int:
    """Estimate what one layer holds for each token while it runs, or keeps for a backward pass."""
    return 8 * model.d_model + 3 * model.structure.widest + 4 * model.n_heads * model.d_head


@dataclass(frozen=True)
class Pack:
    """Prompts that run together.

    Attributes:
        prompts: their indices; all of one length, read at the same number of positions.
        heads: per batch of rows, (layer, head) in order, removed one at a time.
        heads_per_logits: of these, how many are unembedded at once.
    """

    prompts: tuple[int, ...]
    heads: tuple[tuple[tuple[int, int], ...], ...]
    heads_per_logits: int


def packs(prompts: Sequence[Prompt], heads: dict[int, list[int]], d_vocab: int, budget: Budget) -> list[Pack]:
    """Group prompts of one length and number of read positions, in order of first appearance.

    Args:
        prompts: of any lengths.
        heads: to remove, by layer.
        d_vocab: size of the vocabulary.
        budget: for tokens in rows, and logits.
    """
    pairs = [(layer, head) for layer in sorted(heads) for head in heads[layer]]
    in_layer = max(map(len, heads.values()))
    result = []
    for (n_pos, n_read), members in _of_one_shape(prompts).items():
        rows = max(1, budget.tokens // n_pos)
        prompts_of_logits = max(1, budget.logits // (n_read * d_vocab))
        size = max(1, min(rows // in_layer, prompts_of_logits))
        for some in _even_parts(members, size):
            batches = _even_parts(pairs, max(1, rows // len(some)))
            result.append(Pack(some, batches, max(1, prompts_of_logits // len(some))))
    return result


@dataclass(frozen=True)
class SetPack:
    """Prompts that run together, and the batches of sets of heads that are removed from them.

    Attributes:
        prompts: their indices; all of one length, read at the same number of positions.
        batches: first and one behind the last of the sets, in the order in which they run.
        sets_per_logits: of a batch, how many are unembedded at once.
    """

    prompts: tuple[int, ...]
    batches: tuple[tuple[int, int], ...]
    sets_per_logits: int


SETS_AT_ONCE = 16
"""Prompts are packed so that about as many sets run with them: one run of the base serves all of these."""


def set_packs(prompts: Sequence[Prompt], n_sets: int, d_vocab: int, budget: Budget) -> list[SetPack]:
    """Group prompts of one length and number of read positions, and cut sets of heads into batches.

    Args:
        prompts: of any lengths.
        n_sets: sets of heads to remove from each.
        d_vocab: size of the vocabulary.
        budget: for tokens in rows, and logits.
    """
    result = []
    for (n_pos, n_read), members in _of_one_shape(prompts).items():
        rows = max(1, budget.tokens // n_pos)
        prompts_of_logits = max(1, budget.logits // (n_read * d_vocab))
        size = max(1, min(rows // min(n_sets, SETS_AT_ONCE), prompts_of_logits))
        for some in _even_parts(members, size):
            batches = [(part[0], part[-1] + 1) for part in _even_parts(range(n_sets), max(1, rows // len(some)))]
            result.append(SetPack(some, tuple(batches), max(1, prompts_of_logits // len(some))))
    return result


def _of_one_shape(prompts: Sequence[Prompt]) -> dict[tuple[int, int], list[int]]:
    """Indices of prompts by their length and number of read positions, in order of first appearance."""
    groups: dict[tuple[int, int], list[int]] = {}
    for index, prompt in enumerate(prompts):
        groups.setdefault((len(prompt), len(prompt.positions)), []).append(index)
    return groups


def _even_parts(items: Sequence[_Item], most: int) -> tuple[tuple[_Item, ...], ...]:
    """Cut a list into as few parts as possible, of nearly one size."""
    n_parts = -(-len(items) // most)
    bounds = [len(items) * part // n_parts for part in range(n_parts + 1)]
    return tuple(tuple(items[start:stop]) for start, stop in pairwise(bounds))


def _power_of_two(number: float) -> int:
    """The largest one that is not above a number."""
    return 1 << max(int(number).bit_length() - 1, 0)
