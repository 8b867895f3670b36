"""What each pattern score of a head would be by chance: draws of its null.

Prompts are the sampling unit and the mean over prompts is the statistic, so a draw is a mean over as many prompts as
were observed. What is drawn does not depend on how prompts are batched, and heads share the random numbers.

- previous_token, current_token: the keys >= 1 are permuted within each row. A row has one target, so the mass on it
  becomes that on a key drawn evenly from those the query can see.
- positional: the same, whose arg-max is then at each offset with the same chance.
- induction, duplicate_token: mismatched input, r' followed by r: where the targets would be if r' were r. Each prompt
  is run with r' in several orders, and a draw takes one of them.
- syntactic: `syntactic_null`, the targets permuted among the earlier words of their class.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from head_atlas.errors import HeadAtlasError
from head_atlas.measures.bootstrap import excess
from head_atlas.measures.null_offsets import even_positional, mean_of_defined, permuted_masses
from head_atlas.measures.patterns import PatternScores, pattern_scores
from head_atlas.measures.significance import TIE
from head_atlas.measures.syntax import DIRECTIONS, SyntacticScores
from head_atlas.models import HeadModel
from head_atlas.named_array import NamedArray
from head_atlas.prompts.families.random_tokens import mismatched
from head_atlas.prompts.families.syntax import RELATIONS
from head_atlas.prompts.prompt import Prompt

OFFSET_SCORES = ("previous_token", "current_token")
MATCH_SCORES = ("induction", "duplicate_token")
NULL_FAMILIES = dict.fromkeys(OFFSET_SCORES, "rand_flat") | {"positional": "natural"}
NULL_FAMILIES |= dict.fromkeys(MATCH_SCORES, "rand_repeat")
"""By score, the family its null is drawn on."""

DRAWS_PER_HEAD = 20
FEWEST_DRAWS = 1000
N_MISMATCHED = 8
"""Mismatched inputs for each prompt: with k, the centre of the null is known to 1 / k of a prompt's variance."""
_LARGEST_SHARE = 0.99

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Null:
    """A score and its null, for every head.

    Attributes:
        observed: [layer, head] the statistic.
        draws: [layer, head, draw] the same statistic under the null.
        statistic: what it is, in words.
    """

    observed: NamedArray
    draws: NamedArray
    statistic: str

    @property
    def p(self) -> NamedArray:
        """[layer, head] `(1 + #{null >= observed}) / (1 + N)` (Phipson and Smyth 2010); NaN where not measured.

        Never 0. It cannot be less than 1 / (1 + N): where that is too coarse, a generalised Pareto tail is fitted to
        the draws (Knijnenburg et al. 2009).
        """
        observed, draws = self.observed.values, self.draws.values
        # what rounding may take from an equal draw must not make it smaller
        p = (1 + (draws >= observed[..., None] - TIE).sum(-1)) / (1 + draws.shape[-1])
        measured = ~np.isnan(observed) & ~np.isnan(draws).any(-1)
        return NamedArray(np.where(measured, p, np.nan), self.observed.dims)

    @property
    def n99(self) -> NamedArray:
        """[layer, head] 99th percentile of the draws: the floor that a role's lower bound has to reach."""
        return NamedArray(np.quantile(self.draws.values, _LARGEST_SHARE, axis=-1), self.observed.dims)


def default_draws(n_layers: int, n_heads: int) -> int:
    """20 draws for each head of the model, so that one head can pass a correction for all; 1000 at least."""
    return max(FEWEST_DRAWS, DRAWS_PER_HEAD * n_layers * n_heads)


def null_scores(
    model: HeadModel,
    prompts: Mapping[str, Sequence[Prompt]],
    names: Sequence[str] = tuple(NULL_FAMILIES),
    *,
    n_draws: int | None = None,
    seed: int = 0,
    windows: Sequence[int | None] | None = None,
    progress: Progress | None = None,
) -> dict[str, Null]:
    """Draw the nulls of scores.

    Args:
        model: whose heads.
        prompts: by family; the scores of a family that is not there are left out.
        names: of `NULL_FAMILIES`.
        n_draws: None for `default_draws`.
        seed: of the build.
        windows: per layer, keys that a query sees; None (a layer's or all) for all keys before it.
        progress: is told prompts done and all prompts, family by family.

    Returns:
        By score. The statistic is the mean excess over prompts; for `positional` the mean share.

    Raises:
        HeadAtlasError: a score without a null here.
        PromptError: prompts of another family than their name says.
    """
    unknown = sorted(set(names) - set(NULL_FAMILIES))
    if unknown:
        raise HeadAtlasError(f"no null for {unknown[0]!r}; there are {', '.join(NULL_FAMILIES)}")
    n = default_draws(model.n_layers, model.n_heads) if n_draws is None else n_draws
    windows = windows or [None] * model.n_layers
    found: dict[str, Null] = {}
    for family, members in prompts.items():
        asked = [name for name in names if NULL_FAMILIES[name] == family]
        if asked and members:
            draw = {"rand_flat": _offset_nulls, "natural": _positional_null, "rand_repeat": _mismatch_nulls}[family]
            found |= draw(model, members, asked, n, seed, windows, progress)
    return {name: found[name] for name in names if name in found}


def syntactic_null(found: SyntacticScores, *, n_draws: int | None = None, seed: int = 0) -> dict[tuple[str, str], Null]:
    """Draw the nulls of the syntactic scores: gains if every target were another word of its class, drawn evenly.

    The words drawn from stand before the query, the target among them; the best fixed offset keeps its hits. Where a
    sentence holds one such word only, a draw is what was observed: the test is cautious there.

    Args:
        found: measured choices.
        n_draws: None for `default_draws`.
        seed: of the build.

    Returns:
        By relation and direction that occur on the held-out split; the statistic is the mean gain over its prompts.
    """
    n_layers, n_heads = found.chosen.shape[:2]
    n = default_draws(n_layers, n_heads) if n_draws is None else n_draws
    nulls = {}
    for group in np.ndindex(len(RELATIONS), len(DIRECTIONS)):
        gains = found.gains.values[(slice(None), slice(None), *group)]
        held_out = np.flatnonzero(~np.isnan(gains).all(axis=(0, 1)))
        if not len(held_out):
            continue
        members: dict[int, list[int]] = {int(prompt): [] for prompt in held_out}
        for place, pair in enumerate(found.pairs):
            if (pair.relation, pair.direction) == group and pair.prompt in members:
                members[pair.prompt].append(place)
        rng = np.random.default_rng([seed, *group])
        hits = np.zeros((n_layers * n_heads, n))
        for places in members.values():
            for place in places:
                words = found.pairs[place].same_class
                drawn = np.asarray(words)[rng.integers(len(words), size=n)]
                chosen = found.chosen[:, :, place].reshape(-1, 1)
                hits += (chosen == drawn) / (len(places) * len(held_out))
        offset = found.offset_hits.values[group][held_out].astype(np.float64).mean()
        observed = gains[..., held_out].astype(np.float64).mean(-1)
        key = (tuple(RELATIONS)[group[0]], DIRECTIONS[group[1]])
        nulls[key] = _null(observed, hits.reshape(n_layers, n_heads, n) - offset, "mean gain over held-out prompts")
    return nulls


def _offset_nulls(
    model: HeadModel,
    prompts: Sequence[Prompt],
    names: Sequence[str],
    n_draws: int,
    seed: int,
    windows: Sequence[int | None],
    progress: Progress | None,
) -> dict[str, Null]:
    found = pattern_scores(model, prompts, names, windows=windows)
    drawn = permuted_masses(model, prompts, names, n_draws, seed=seed, windows=windows, progress=progress)
    return {name: _excess_null(found, name, drawn[name]) for name in names}


def _positional_null(
    model: HeadModel,
    prompts: Sequence[Prompt],
    names: Sequence[str],
    n_draws: int,
    seed: int,
    windows: Sequence[int | None],
    progress: Progress | None,
) -> dict[str, Null]:
    found = pattern_scores(model, prompts, names, windows=windows, progress=progress)
    observed = mean_of_defined(found.values["positional"])
    draws = np.empty((*observed.shape, n_draws))
    lengths = [len(prompt) for prompt in prompts]
    for window in dict.fromkeys(windows):
        layers = [layer for layer, of in enumerate(windows) if of == window]
        draws[layers] = even_positional(lengths, window, n_draws, np.random.default_rng([seed, 2]))
    return {"positional": _null(observed, draws, "mean share over prompts")}


def _mismatch_nulls(
    model: HeadModel,
    prompts: Sequence[Prompt],
    names: Sequence[str],
    n_draws: int,
    seed: int,
    windows: Sequence[int | None],
    progress: Progress | None,
) -> dict[str, Null]:
    n_each = N_MISMATCHED
    inputs = [
        Prompt(prompt.text, tokens, prompt.positions, prompt.targets, family=prompt.family)
        for index, prompt in enumerate(prompts)
        for tokens in mismatched(prompt, n_each, random.Random(f"{seed}/mismatched/{index}"))
    ]
    looked_for = [prompt.tokens for prompt in prompts for _ in range(n_each)]
    clean = pattern_scores(model, prompts, names, windows=windows)
    found = pattern_scores(model, inputs, names, windows=windows, targets_of=looked_for, progress=progress)
    # a draw takes one of the inputs of each prompt; prompt by prompt, so that memory does not grow with them
    masses = {name: np.zeros((model.n_layers, model.n_heads, n_draws)) for name in names}
    rng = np.random.default_rng([seed, 3])
    for index in range(len(prompts)):
        drawn = index * n_each + rng.integers(n_each, size=n_draws)
        for name in names:
            masses[name] += found.values[name][..., drawn] / len(prompts)
    return {name: _excess_null(clean, name, masses[name]) for name in names}


def _excess_null(observed: PatternScores, name: str, masses: np.ndarray) -> Null:
    """Excess of means over prompts, of what was observed and of [layer, head, draw] mean masses."""
    mass = observed.values[name].astype(np.float64).mean(-1)
    uniform = observed.baselines[name].astype(np.float64).mean(-1)[:, None]
    return _null(excess(mass, uniform), excess(masses, uniform[..., None]), "mean excess over prompts")


def _null(observed: np.ndarray, draws: np.ndarray, statistic: str) -> Null:
    heads = ("layer", "head")
    return Null(NamedArray(observed, heads), NamedArray(draws.astype(np.float32), (*heads, "draw")), statistic)
