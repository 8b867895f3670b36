"""All pattern scores of a model on prompts, of any lengths: none of their patterns is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from head_atlas.catalogue import SCORES
from head_atlas.errors import HeadAtlasError
from head_atlas.measures import scores
from head_atlas.measures.positional import positional
from head_atlas.measures.running_scores import BLOCK_QUERIES, SHARED_MASSES, RunningScores
from head_atlas.measures.running_variants import NORM_WEIGHTED, SINK_FREE, VARIANTS, RunningVariants, write_factors
from head_atlas.measures.targets import TARGETS, visible
from head_atlas.models import HeadModel, Intervention
from head_atlas.prompts.prompt import Prompt

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

PATTERN_NUMBERS_PER_BATCH = 2**23
"""Numbers of one block of a layer's patterns, at most. A constant: packing must not depend on the machine."""


@dataclass(frozen=True)
class PatternScores:
    """Scores of prompts, in the prompts' order.

    Attributes:
        values: by score, [layer, head, prompt] float32.
        baselines: by score with an excess, [layer, prompt] float32: the score of a uniform head.
        offsets: [layer, head, bin, prompt] float32, or None if not asked for.
        arg_max_offsets: [layer, head, offset, prompt] float32 counts of queries, by `scores.ARG_MAX_OFFSETS`; None
            if `positional` is not asked for. The value of `positional` refers to the offset of most queries of these
            prompts together; for more prompts than one call measures, give the counts of all to
            `measures.positional.positional`.
    """

    values: dict[str, np.ndarray]
    baselines: dict[str, np.ndarray]
    offsets: np.ndarray | None
    arg_max_offsets: np.ndarray | None = None


def pattern_scores(
    model: HeadModel,
    prompts: Sequence[Prompt],
    names: Sequence[str],
    *,
    windows: Sequence[int | None] | None = None,
    targets_of: Sequence[Sequence[int]] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PatternScores:
    """Measure scores of every head on prompts of any lengths.

    Args:
        model: whose heads.
        prompts: a mass score needs a target in each (repeated tokens for induction and duplicate_token).
        names: of scores of the catalogue.
        windows: per layer, keys that a query sees; None (a layer's or all) for all keys before it.
        targets_of: for each prompt, other tokens to look for targets in, as many as it has; None for its own. So
            the pattern of one input can be held against the targets of another.
        progress: is told prompts done and all prompts.

    Raises:
        PromptError: a prompt without a target, too long, or with unknown ids.
        HeadAtlasError: an unknown score.
    """
    unknown = sorted(set(names) - set(SCORES))
    if unknown:
        raise HeadAtlasError(f"unknown score {unknown[0]!r}; there are {', '.join(SCORES)}")
    windows = windows or [None] * model.n_layers
    looked_in = [prompt.tokens for prompt in prompts] if targets_of is None else targets_of
    plain, variants = ([n for n in names if (n in VARIANTS) is side] for side in (False, True))
    bases = {base for of in (SINK_FREE, NORM_WEIGHTED) for name, base in of.items() if name in variants}
    factors = write_factors(model) if any(name in NORM_WEIGHTED for name in variants) else []
    shape = (model.n_layers, model.n_heads)
    values = {name: _empty(*shape, len(prompts)) for name in names if name != "offsets"}
    baselines = {name: _empty(model.n_layers, len(prompts)) for name in names if name in TARGETS}
    profile = _empty(*shape, len(scores.OFFSET_BINS), len(prompts)) if "offsets" in names else None
    counts = _empty(*shape, len(scores.ARG_MAX_OFFSETS), len(prompts)) if "positional" in names else None
    done = 0
    # Where attention does not go through our function, the architecture makes its patterns whole.
    n_queries = BLOCK_QUERIES if model.structure.through_interface else model.max_length
    for members in packs(prompts, model.n_heads, n_queries):
        tokens = model.rows([prompts[i].tokens for i in members])
        n_pos = tokens.shape[1]
        n_rows = len(members)
        of_tokens = torch.tensor([list(looked_in[i]) for i in members], dtype=torch.long)
        targets = {name: TARGETS[name](of_tokens) for name in TARGETS if name in names or name in bases}
        for base in bases:
            scores.queries_with_target(targets[base])
        for window in dict.fromkeys(windows):
            seen = visible(n_pos, window)
            layers = [layer for layer, of in enumerate(windows) if of == window]
            for name in baselines:
                target = targets[name][:1] if name in SHARED_MASSES else targets[name]
                uniform = scores.uniform_mass(target, seen).numpy()
                for layer in layers:
                    baselines[name][layer, members] = uniform
        running = RunningScores(
            plain,
            {name: targets[name].to(model.device) for name in plain if name in TARGETS and name not in SHARED_MASSES},
            [visible(n_pos, window).sum(-1).to(model.device) for window in windows],
            n_rows,
            n_pos,
        )
        beside = RunningVariants(variants, {base: targets[base].to(model.device) for base in bases}, factors, n_pos)
        with model.intervening(*([running] if plain else []), *([beside] if variants else [])):
            model.attend(tokens)
        for layer in range(model.n_layers):
            for name in names:
                value = (beside if name in variants else running).score(name, layer).cpu().numpy()
                if name == "offsets" and profile is not None:
                    profile[layer][..., members] = value.transpose(1, 2, 0)
                elif name == "positional" and counts is not None:
                    counts[layer][..., members] = value.transpose(1, 2, 0)
                else:
                    values[name][layer][:, members] = value.T
        done += len(members)
        if progress is not None:
            progress(done, len(prompts))
    if counts is not None:
        values["positional"] = positional(counts, [len(prompt) for prompt in prompts]).share
    return PatternScores(values, baselines, profile, counts)


def _empty(*shape: int) -> np.ndarray:
    return np.full(shape, np.nan, dtype=np.float32)


@torch.no_grad()
def visible_windows(model: HeadModel, n_pos: int) -> list[int | None]:
    """How many keys a query of each layer sees, found out on random tokens; None for all of `n_pos`.

    Read from the patterns rather than from a configuration, whose names differ between architectures: a key
    that is masked has a weight of exactly 0 in every head and every row.

    Args:
        model: whose layers.
        n_pos: length to look at; windows at least as long do not show, and do not matter.
    """
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, model.d_vocab, (2, n_pos), generator=generator).to(model.device)
    widths: dict[int, int] = {}

    class Widest(Intervention):
        wants_pattern = True

        block_queries = BLOCK_QUERIES

        def on_pattern_block(
            self, layer: int, pattern: Float[Tensor, "prompt head some_query key"], first_query: int
        ) -> None:
            attended: Bool[Tensor, "some_query key"] = (pattern > 0).any(0).any(0).cpu()
            query, key = attended.nonzero(as_tuple=True)
            widths[layer] = max(widths.get(layer, 0), int((query + first_query - key).max()) + 1)

    with model.intervening(Widest()):
        model.attend(tokens)
    return [None if widths[layer] == n_pos else widths[layer] for layer in range(model.n_layers)]


def packs(prompts: Sequence[Prompt], n_heads: int, n_queries: int, n_per_row: int = 0) -> list[list[int]]:
    """Batches of prompts of one length, within the budget, in order of first appearance: their indices.

    Args:
        prompts: of any lengths.
        n_heads: per layer.
        n_queries: of a block, at most.
        n_per_row: numbers held for each row of a pattern, if more than its keys.
    """
    groups: dict[int, list[int]] = {}
    for index, prompt in enumerate(prompts):
        groups.setdefault(len(prompt), []).append(index)
    found = []
    for n_pos, members in groups.items():
        size = max(1, PATTERN_NUMBERS_PER_BATCH // (n_heads * min(n_pos, n_queries) * max(n_pos, n_per_row)))
        found += [members[start : start + size] for start in range(0, len(members), size)]
    return found
