"""What a build will cost, before any of it is done: tokens, operations, time and bytes.

Operations are those of the matrix products (`interventions.flops`); T is the length of a prompt, R the positions read:

    forward          one pass, unembedded where it is read
    nulls            the scores of each family once, and drawn: 2, 1 and 1 + 8 times for flat random tokens, running
                     text and repeated random tokens
    scores           a pass without unembedding, and the patterns once more: 2 T^2 H d_head a layer
    effects          the sweep; resample runs the heads once for each draw; pattern_freeze and
                     resample_corrupted need one more pass, of the corrupted prompt
    weights          W_U^T W_E with D permutations of the labels, (1 + D) 2 V d_model^2; every head's circuit through
                     each, (1 + D) (2 d_head d_model^2 + 2 d_head^2 d_model + 10 d_head^3), eigenvalues included; and
                     its logits for S tokens, 2 d_head V (d_model + S)
    composition      three d_head x d_head products of each pair of heads with their d_model x d_head factors

Time is operations over a rate. What is not products of matrices (softmax, metrics, permutations of nulls, reading and
writing) takes time too: `SLOWER` says, for each kind of unit, how much longer it took than its operations at the rate
of a forward pass, measured in a build of the demo model. It depends on model and machine, so a time is right to within
a factor of about 2, not to a percent; docs/cluster.md holds it against measured builds.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from head_atlas.build.measurements import MEASUREMENTS, N_DRAWS, REFERENCE
from head_atlas.build.null_units import null_draws
from head_atlas.build.plan import Plan, Unit
from head_atlas.build.units import BY_CORRUPTED, SCORED
from head_atlas.interventions import Sizes, sizes_of, sweep_flops
from head_atlas.measures.effects import METRICS
from head_atlas.measures.nulls import N_MISMATCHED
from head_atlas.measures.weights import N_DRAWS as LABEL_DRAWS
from head_atlas.measures.weights import N_TOKENS
from head_atlas.models import HeadModel
from head_atlas.prompts.prompt import Prompt

SLOWER: Mapping[str, float] = {
    "reference": 1.5,
    "weights": 45,
    "composition": 14,
    "scores": 1.9,
    "direct_logit": 4.5,
    "named_parts": 9.6,
    "nulls": 3.3,
    "syntax": 5,
    "write_norm": 1.4,
    "superposition": 6.5,
    "neurons": 3.5,
    "zero": 1.2,
    "mean": 1.2,
    "resample": 1.1,
    "pattern_freeze": 1.4,
    "exemplars_text": 1.3,
    "exemplars_families": 1.6,
}
"""Time over that of the operations at the rate of a forward pass, by kind: processor time of a build of the demo model
on one thread, 10 prompts a family."""
PASSES: Mapping[str, float] = {
    "reference": 1,
    "direct_logit": 1,
    "named_parts": 1,
    "syntax": 1,
    "write_norm": 1,
    "superposition": 1,
    "neurons": 1,
    "exemplars_text": 2,
    "exemplars_families": 2,
}
"""Forward passes of kinds that are little else."""
NULL_PASSES: Mapping[str, float] = {"rand_flat": 2, "natural": 1, "rand_repeat": 1 + N_MISMATCHED}
EIGENVALUES = 10
"""Operations of the eigenvalues of a matrix of n rows, over n^3 (Golub and Van Loan 2013, section 7.5)."""
BYTES_PER_NUMBER = 2.0
"""Of a rounded, compressed number in the atlas; a missing one takes next to nothing."""
BYTES_PER_PROMPT = 200.0
"""Its text, tokens and annotations, compressed."""
FIXED_BYTES = 2.2e6
"""Of an atlas with everything in it: some 600 arrays with their axes and attributes."""
SHARD_BYTES_PER_NUMBER = 4.0
_OF_SUMMARY = 60
"""Numbers of the summary for each mode, head and family."""
_OF_HEAD = {"weights": 60, "exemplars_text": 7500, "exemplars_families": 7500}
"""Numbers of each head, however many prompts there are."""
_OF_NEURON = 57
_NULLS = {"nulls": 5, "named_parts": 2, "syntax": 7}
"""Nulls whose draws lie in the shards, for each head."""


@dataclass(frozen=True)
class Cost:
    """Of one kind of units.

    Attributes:
        kind: of the units.
        units: how many.
        tokens: of their prompts.
        flops: operations; NaN where the model's are not known.
        seconds: on one worker, at the given rate.
        atlas_bytes: of what is stored of them.
        shard_bytes: of their shards.
    """

    kind: str
    units: int
    tokens: int
    flops: float
    seconds: float
    atlas_bytes: float
    shard_bytes: float


def costs_of(plan: Plan, sizes: Sizes, *, rate: float, missing: Iterable[Unit] | None = None) -> list[Cost]:
    """The cost of every kind of units, in the order they run.

    Args:
        plan: of the build.
        sizes: of the model.
        rate: operations per second of a sweep.
        missing: units that are still to be done; None for all.
    """
    units = list(plan.units if missing is None else missing)
    found = []
    for kind in dict.fromkeys(unit.kind for unit in units):
        members = [unit for unit in units if unit.kind == kind]
        prompts = [prompt for unit in members for prompt in prompts_of(plan, unit)]
        flops = sum(unit_flops(kind, prompts_of(plan, unit), sizes) for unit in members)
        numbers = stored_numbers(kind, prompts, sizes)
        drawn = _NULLS.get(kind, 0) * sizes.n_layers * sizes.n_heads * null_draws(sizes.n_layers, sizes.n_heads)
        found.append(
            Cost(
                kind=kind,
                units=len(members),
                tokens=sum(map(len, prompts)),
                flops=flops,
                seconds=SLOWER.get(kind, 1.0) * flops / rate,
                atlas_bytes=BYTES_PER_NUMBER * numbers,
                shard_bytes=SHARD_BYTES_PER_NUMBER * (numbers + drawn),
            )
        )
    return found


def prompts_of(plan: Plan, unit: Unit) -> Sequence[Prompt]:
    """The prompts that a unit runs."""
    if unit.kind == REFERENCE.kind:
        return plan.reference_prompts
    wanted = MEASUREMENTS[unit.kind].prompts
    return [plan.prompts[index] for index in unit.index if wanted(plan.prompts[index])]


def unit_flops(kind: str, prompts: Sequence[Prompt], sizes: Sizes) -> float:
    """Operations of a unit; see the head of this module."""
    d, heads = sizes.d_model, sizes.n_layers * sizes.n_heads
    if kind == "weights":
        labels, v, k = 1.0 + LABEL_DRAWS, sizes.d_vocab, sizes.d_head
        circuits = labels * (2 * k * d**2 + 2 * k**2 * d + EIGENVALUES * k**3)
        return labels * 2 * v * d**2 + heads * (circuits + 2 * k * v * (d + min(N_TOKENS, v)))
    if kind == "composition":
        return 3.0 * heads**2 / 2 * 2 * 2 * sizes.d_head**3 + 3.0 * heads * 4 * d * sizes.d_head**2
    lengths = Counter((len(prompt), len(prompt.positions)) for prompt in prompts)
    if kind == "scores":
        return sum(n * pattern_flops(sizes, n_pos) for (n_pos, _), n in lengths.items())
    if kind == "nulls":
        return sum(NULL_PASSES[prompt.family] * pattern_flops(sizes, len(prompt)) for prompt in prompts)
    if kind in PASSES:
        return sum(n * PASSES[kind] * sizes.forward(n_pos, n_read) for (n_pos, n_read), n in lengths.items())
    total = 0.0
    for (n_pos, n_read), n in lengths.items():
        clean = n * sizes.forward(n_pos, n_read)
        swept = sweep_flops(sizes, n, n_pos, n_read)
        runs = N_DRAWS if kind == "resample" else 1
        total += clean + runs * (swept - clean) + (clean if kind in BY_CORRUPTED else 0)
    return total


def pattern_flops(sizes: Sizes, n_pos: int) -> float:
    """Operations of the pattern scores of one prompt: a pass up to the last layer's attention, and every pattern."""
    last = n_pos * (sizes.o + sizes.m)
    patterns = 2.0 * sizes.n_layers * n_pos**2 * sizes.n_heads * sizes.d_head
    return sizes.forward(n_pos, 0) - last + patterns


def stored_numbers(kind: str, prompts: Sequence[Prompt], sizes: Sizes) -> float:
    """Numbers that the atlas holds of a kind's units."""
    heads = sizes.n_layers * sizes.n_heads
    if kind == "scores":
        return float(heads * sum(len(SCORED[prompt.family]) for prompt in prompts))
    if kind in ("composition", "reference"):
        return float(heads * {"composition": 3 * heads, "reference": 2 * sizes.d_head}[kind])
    if kind == "neurons":
        # of three matrices, as in a gated MLP
        return float(_OF_NEURON * sizes.n_layers * sizes.m / (6 * sizes.d_model))
    if REFERENCE.kind != kind and MEASUREMENTS[kind].mode:
        return float(len(METRICS) * heads * len(prompts))
    return float(heads * (len(prompts) + _OF_HEAD.get(kind, 0)))


def atlas_bytes(plan: Plan, sizes: Sizes, costs: Iterable[Cost]) -> float:
    """About how large the file will be."""
    summary = 4 * _OF_SUMMARY * len(plan.modes) * sizes.n_layers * sizes.n_heads * len(plan.families)
    stored = sum(cost.atlas_bytes for cost in costs)
    return FIXED_BYTES + summary + BYTES_PER_PROMPT * len(plan.prompts) + stored


@torch.no_grad()
def measured_rate(model: HeadModel, seconds: float = 1.0) -> float:
    """Operations per second of a forward pass of this model on this machine, measured in about a second."""
    sizes = sizes_of(model)
    n_pos = min(64, model.max_length)
    tokens = torch.randint(0, model.d_vocab, (16, n_pos), generator=torch.Generator().manual_seed(0)).to(model.device)
    read = torch.full((16, 1), n_pos - 1, device=model.device)
    n_runs, first = 0, 0.0
    started = time.perf_counter()
    while n_runs < 2 or time.perf_counter() - started < seconds:
        float(model.logits(tokens, read).sum())  # waits for a GPU
        n_runs += 1
        if n_runs == 1:
            first = time.perf_counter() - started
    return 16 * (n_runs - 1) * sizes.forward(n_pos, 1) / (time.perf_counter() - started - first)
