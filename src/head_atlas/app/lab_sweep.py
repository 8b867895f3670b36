"""Every head of the Lab's prompt removed alone: what the grid is coloured by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np

from head_atlas.app.lab_modes import measured_prompt, reference_for
from head_atlas.app.lab_view import Asked, check_length
from head_atlas.catalogue import EFFECTS
from head_atlas.errors import HeadAtlasError

if TYPE_CHECKING:
    from head_atlas.app.engine import Engine


@dataclass(frozen=True)
class Swept:
    """The effects of every head alone, and the prompt they belong to.

    Attributes:
        what: as asked for.
        target: text of the token measured.
        contrast: text of the token it is held against, or None.
        effects: by metric, [layer][head]; NaN where not measured yet or not defined.
    """

    what: Asked
    target: str
    contrast: str | None
    effects: dict[str, list[list[float]]]

    def still_holds(self, what: Asked) -> bool:
        """Whether they belong to this experiment too; heads are swept one by one, so the removed ones may differ."""
        same = replace(what, heads=self.what.heads)
        if what.mode != "pattern_freeze":
            same = replace(same, corrupted=self.what.corrupted)
        return same == self.what


def sweep_parts(engine: Engine, what: Asked) -> Iterator[tuple[Swept, int, int]]:
    """Remove every head alone on the prompt, and yield after each step.

    The model is held for a step at a time, so that an abandoned sweep keeps nobody waiting.

    Yields:
        The effects so far; heads done; all heads.

    Raises:
        HeadAtlasError: with words for the visitor; also when the sweep takes too long.
    """
    from head_atlas.measures.effects import iter_sweep

    deadline = monotonic() + engine.limits.run_seconds
    with engine.use(what.model) as model:
        check_length(engine, model, what.prompt)
        reference = reference_for(engine, model, what)
        prompt = measured_prompt(model, what, reference)
        target, *contrast = model.strings([*prompt.targets, *prompt.contrasts])
        parts = iter_sweep(model, prompt, what.mode, reference=reference)
        shape = (model.n_layers, model.n_heads)
    found = {name: np.full(shape, np.nan) for name in EFFECTS}
    while True:
        with engine.use(what.model):
            part = next(parts, None)
        if part is None:
            return
        for name, values in part.effects.items():
            found[name][part.layer, list(part.heads)] = values[0]
        effects = {name: values.tolist() for name, values in found.items()}
        yield Swept(what, target, contrast[0] if contrast else None, effects), part.done, part.total
        if monotonic() > deadline and part.done < part.total:
            raise HeadAtlasError(
                f"Stopped after {engine.limits.run_seconds} s with {part.done} of {part.total} heads measured; "
                "a shorter prompt goes faster."
            )
