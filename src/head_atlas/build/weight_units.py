"""Units that read the weights: no prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from head_atlas.build.measurement import DRAWS, Arrays, Progress, Workplace, note, reason
from head_atlas.measures.composition import composition as compose
from head_atlas.measures.weights import weight_scores
from head_atlas.named_array import NamedArray

if TYPE_CHECKING:
    from head_atlas.build.plan import Unit


def weights(unit: Unit, at: Workplace, progress: Progress) -> Arrays:  # noqa: ARG001
    """Scores of every head, and what they would be with the tokens' labels permuted."""
    found = weight_scores(at.model, seed=at.plan.config["seed"], progress=lambda done, total: progress(done / total))
    arrays: Arrays = {}
    for name, array in found.values.items():
        ids = name.endswith("_tokens")
        values = array.values.astype(np.int32 if ids else np.float32)
        arrays[f"weights/{name}"] = NamedArray(values, array.dims, array.coords)
    arrays["weights/sampled_tokens"] = NamedArray(found.tokens.astype(np.int32), ("token",))
    for name, draws in found.nulls.items():
        arrays[f"{DRAWS}/{name}"] = NamedArray(draws.values.astype(np.float32), draws.dims)
        arrays[f"nulls/{name}_observed"] = arrays[f"weights/{name}"]
    for name, why in found.not_applicable.items():
        arrays |= reason(name, why)
    return arrays


def composition(unit: Unit, at: Workplace, progress: Progress) -> Arrays:  # noqa: ARG001
    """How much the weights of every pair of heads work together."""
    found = compose(at.model, progress=lambda done, total: progress(done / total))
    arrays: Arrays = {"weights/composition": found.values}
    for kind, why in found.not_applicable.items():
        arrays |= reason(f"{kind.lower()}_composition", why)
    return arrays | (note("composition", found.caveat) if found.caveat else {})
