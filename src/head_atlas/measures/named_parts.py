"""Attention from one named part of a prompt to another, and what it would be by chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from head_atlas.catalogue.named_parts import PARTS
from head_atlas.errors import PromptError
from head_atlas.measures.bootstrap import excess
from head_atlas.measures.targets import visible
from head_atlas.models import HeadModel
from head_atlas.models.readers import PatternReader
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt


@dataclass(frozen=True)
class PartAttention:
    """Attention between two parts of prompts.

    Attributes:
        mass: (layer, head, prompt): mean over the tokens that look of the attention summed over those looked at.
        uniform: (layer, prompt): the same of a head that attends evenly to all it can see.
        draws: (layer, head, draw): mean excess over prompts with the keys >= 1 of every row permuted.
    """

    mass: NamedArray
    uniform: NamedArray
    draws: NamedArray

    @property
    def excess(self) -> NamedArray:
        """(layer, head): excess of the means over prompts."""
        found = excess(self.mass.values.mean(-1), self.uniform.values.mean(-1)[:, None])
        return NamedArray(found, ("layer", "head"))


def part_attention(
    model: HeadModel,
    prompts: Sequence[Prompt],
    name: str,
    *,
    windows: Sequence[int | None] | None = None,
    n_draws: int = 1000,
    seed: int = 0,
    parts: Mapping[str, tuple[str, str]] = PARTS,
    progress: Callable[[int, int], None] | None = None,
) -> PartAttention:
    """Measure attention between two parts, and draw its null.

    Permuting the keys >= 1 of a row puts the attention of as many keys as the part has, drawn without replacement from
    those that the query can see, in the place of the part's. A draw is a mean over all prompts.

    Args:
        model: whose heads.
        prompts: with both parts annotated.
        name: of the score.
        windows: per layer, keys that a query sees; None (a layer's or all) for all keys before it.
        n_draws: of the null.
        seed: of the draws; heads share the random numbers.
        parts: by score, the part that looks and the part that is looked at.
        progress: is told prompts done and all prompts.

    Raises:
        PromptError: no prompt, or one without these parts.
    """
    looking, looked_at = parts[name]
    if not prompts:
        raise PromptError("no prompt to measure on")
    windows = windows or [None] * model.n_layers
    shape = (model.n_layers, model.n_heads)
    mass, uniform = np.zeros((*shape, len(prompts))), np.zeros((model.n_layers, len(prompts)))
    chance = np.zeros((*shape, n_draws))
    for index, prompt in enumerate(prompts):
        queries, keys = prompt.annotations.get(looking, ()), prompt.annotations.get(looked_at, ())
        if not queries or not keys or 0 in keys:
            raise PromptError(f"prompt {index} has no {looking} that could look at a {looked_at}")
        reader = PatternReader()
        with model.intervening(reader):
            model.attend(model.rows([prompt.tokens]))
        for query in queries:
            drawn = {
                window: _draws(seed, index, query, window, (n_draws, len(keys))) for window in dict.fromkeys(windows)
            }
            for layer in range(model.n_layers):
                row = reader.patterns[layer][0, :, query].double().cpu().numpy()
                seen = visible(len(prompt), windows[layer])[query].numpy()
                mass[layer, :, index] += row[:, list(keys)].sum(-1) / len(queries)
                uniform[layer, index] += seen[list(keys)].sum() / seen.sum() / len(queries)
                chance[layer] += row[:, drawn[windows[layer]]].sum(-1) / len(queries) / len(prompts)
        if progress is not None:
            progress(index + 1, len(prompts))
    heads = ("layer", "head")
    return PartAttention(
        NamedArray(mass.astype(np.float32), (*heads, "prompt")),
        NamedArray(uniform.astype(np.float32), ("layer", "prompt")),
        NamedArray(excess(chance, uniform.mean(-1)[:, None, None]).astype(np.float32), (*heads, "draw")),
    )


def _draws(seed: int, prompt: int, query: int, window: int | None, shape: tuple[int, int]) -> np.ndarray:
    """[draw, key]: different keys >= 1, out of those that the query can see."""
    first = 1 if window is None else max(1, query - window + 1)
    n_draws, n_keys = shape
    order = np.random.default_rng([seed, prompt, query]).random((n_draws, query - first + 1)).argsort(-1)
    return first + order[:, :n_keys]
