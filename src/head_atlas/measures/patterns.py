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
from head_atlas.measures.running_scores import BLOCK_QUERIES, SHARED_MASSES, RunningScores
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
    """

    values: dict[str, np.ndarray]
    baselines: dict[str, np.ndarray]
    offsets: np.ndarray | None


def pattern_scores(
    model: HeadModel,
    prompts: Sequence[Prompt],
    names: Sequence[str],
    *,
    windows: Sequence[int | None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PatternScores:
    """Measure scores of every head on prompts of any lengths.

    Args:
        model: whose heads.
        prompts: a mass score needs a target in each (repeated tokens for induction and duplicate_token).
        names: of scores of the catalogue.
        windows: per layer, keys that a query sees; None (a layer's or all) for all keys before it.
        progress: is told prompts done and all prompts.

    Raises:
        PromptError: a prompt without a target, too long, or with unknown ids.
        HeadAtlasError: an unknown score.
    """
    unknown = sorted(set(names) - set(SCORES))
    if unknown:
        raise HeadAtlasError(f"unknown score {unknown[0]!r}; there are {', '.join(SCORES)}")
    windows = windows or [None] * model.n_layers
    n_bins = len(scores.OFFSET_BINS)
    shape = (model.n_layers, model.n_heads, len(prompts))
    values = {name: np.full(shape, np.nan, dtype=np.float32) for name in names if name != "offsets"}
    baselines = {
        name: np.full((model.n_layers, len(prompts)), np.nan, dtype=np.float32) for name in names if name in TARGETS
    }
    profile = np.full((*shape[:2], n_bins, len(prompts)), np.nan, dtype=np.float32)
    done = 0
    # Where attention does not go through our function, the architecture makes its patterns whole.
    n_queries = BLOCK_QUERIES if model.structure.through_interface else model.max_length
    for members in packs_of_one_length(prompts, model.n_heads, n_queries):
        tokens = model.rows([prompts[i].tokens for i in members])
        n_pos = tokens.shape[1]
        n_rows = len(members)
        targets = {name: TARGETS[name](tokens.cpu()) for name in names if name in TARGETS}
        for window in dict.fromkeys(windows):
            seen = visible(n_pos, window)
            layers = [layer for layer, of in enumerate(windows) if of == window]
            for name, target in targets.items():
                base = scores.uniform_mass(target[:1] if name in SHARED_MASSES else target, seen).numpy()
                for layer in layers:
                    baselines[name][layer, members] = base
        running = RunningScores(
            names,
            {name: target.to(model.device) for name, target in targets.items() if name not in SHARED_MASSES},
            [visible(n_pos, window).sum(-1).to(model.device) for window in windows],
            n_rows,
            n_pos,
        )
        with model.intervening(running):
            model.attend(tokens)
        for layer in range(model.n_layers):
            for name in names:
                value = running.score(name, layer).cpu()
                if name == "offsets":
                    profile[layer][..., members] = value.permute(1, 2, 0).numpy()
                else:
                    values[name][layer][:, members] = value.T.numpy()
        done += len(members)
        if progress is not None:
            progress(done, len(prompts))
    return PatternScores(values, baselines, profile if "offsets" in names else None)


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


def packs_of_one_length(prompts: Sequence[Prompt], n_heads: int, n_queries: int) -> list[list[int]]:
    """Prompts of one length, within the budget, in order of first appearance."""
    groups: dict[int, list[int]] = {}
    for index, prompt in enumerate(prompts):
        groups.setdefault(len(prompt), []).append(index)
    packs = []
    for n_pos, members in groups.items():
        size = max(1, PATTERN_NUMBERS_PER_BATCH // (n_heads * min(n_pos, n_queries) * n_pos))
        packs += [members[start : start + size] for start in range(0, len(members), size)]
    return packs
