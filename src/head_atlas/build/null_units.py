"""Units of scores that come with their nulls: named parts, grammatical relations, and the nulls of pattern scores."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from head_atlas.build.measurement import DRAWS, Arrays, Progress, Workplace, select, spread
from head_atlas.catalogue.named_parts import NAMED_PARTS
from head_atlas.measures.named_parts import part_attention
from head_atlas.measures.nulls import Null, default_draws, null_scores, syntactic_null
from head_atlas.measures.syntax import syntactic_scores
from head_atlas.models import HeadModel
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt
from head_atlas.store.schema import BASELINE_DIMS, SCORE_DIMS

if TYPE_CHECKING:
    from head_atlas.build.plan import Unit

MOST_DRAWS = 5000
"""From here on the fitted tail of a null says more than further draws."""
SYNTAX_FAMILY = "syntax"


def null_draws(n_layers: int, n_heads: int) -> int:
    """Draws of a null of a model of some size."""
    return min(default_draws(n_layers, n_heads), MOST_DRAWS)


def n_draws(model: HeadModel) -> int:
    """Draws of a null."""
    return null_draws(model.n_layers, model.n_heads)


def named_parts(unit: Unit, at: Workplace, progress: Progress) -> Arrays:
    """Attention between the named parts of indirect-object prompts, and its null."""
    arrays: Arrays = {}
    for name, score in NAMED_PARTS.items():
        prompts, index = select(unit, at, partial(_is_of, score.family))
        found = part_attention(
            at.model,
            prompts,
            name,
            windows=at.plan.config["windows"],
            n_draws=n_draws(at.model),
            seed=at.plan.config["seed"],
            progress=lambda done, total: progress(done / total),
        )
        n = len(unit.index)
        arrays[f"scores/{name}"] = NamedArray(spread(found.mass.values, index, n), SCORE_DIMS)
        arrays[f"baselines/{name}"] = NamedArray(spread(found.uniform.values, index, n), BASELINE_DIMS)
        arrays[f"nulls/{name}_observed"] = found.excess
        arrays[f"{DRAWS}/{name}"] = found.draws
    return arrays


def _is_of(family: str, prompt: Prompt) -> bool:
    return prompt.family == family


def nulls(unit: Unit, at: Workplace, progress: Progress) -> Arrays:
    """What the pattern scores of roles would be by chance."""
    prompts: dict[str, list[Prompt]] = {}
    for prompt in at.prompts(unit):
        prompts.setdefault(prompt.family, []).append(prompt)
    found = null_scores(
        at.model,
        prompts,
        n_draws=n_draws(at.model),
        seed=at.plan.config["seed"],
        windows=at.plan.config["windows"],
        progress=lambda done, total: progress(done / total),
    )
    arrays: Arrays = {}
    for name, null in found.items():
        arrays |= _of_null(name, null)
    return arrays


def syntax(unit: Unit, at: Workplace, progress: Progress) -> Arrays:
    """How often heads look at the grammatically tied word, with gains over the best fixed offset and their nulls."""
    seed = at.plan.config["seed"]
    found = syntactic_scores(at.model, at.prompts(unit), progress=lambda done, total: progress(done / total))
    arrays: Arrays = {}
    for name in ("hits", "gains", "offset_hits"):
        array = getattr(found, name)
        arrays[f"syntax/{name}"] = NamedArray(array.values.astype(np.float32), array.dims, array.coords)
    arrays["syntax/best_offset"] = found.best_offset
    gain = found.gain(seed=seed)
    dims, coords = ("layer", "head", "relation", "direction"), found.hits.coords
    labels = {dim: coords[dim] for dim in ("relation", "direction")}
    for part, values in (("mean", gain.mean), ("ci_low", gain.low), ("ci_high", gain.high), ("n", gain.n)):
        arrays[f"syntax/gain_{part}"] = NamedArray(values, dims, labels)
    drawn = syntactic_null(found, n_draws=n_draws(at.model), seed=seed)
    for (relation, direction), null in drawn.items():
        arrays |= _of_null(syntactic_name(relation, direction), null)
    return arrays


def syntactic_name(relation: str, direction: str) -> str:
    """What the null of a relation and direction is called."""
    return f"syntactic_gain_{relation.replace('-', '_')}_{direction}"


def _of_null(name: str, null: Null) -> Arrays:
    observed = null.observed.values.astype(np.float32)
    return {f"{DRAWS}/{name}": null.draws, f"nulls/{name}_observed": NamedArray(observed, null.observed.dims)}
