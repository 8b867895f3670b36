"""Every head of the Lab's prompt removed alone: what the grid is coloured by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from head_atlas.app.lab_modes import measured_prompt, reference_for
from head_atlas.app.lab_running import Progress, Step, in_background
from head_atlas.app.lab_view import Asked, check_length
from head_atlas.catalogue import EFFECTS

if TYPE_CHECKING:
    from head_atlas.app.engine import Engine
    from head_atlas.models import HeadModel


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


def sweep_steps(engine: Engine, what: Asked) -> Iterator[Step[Swept]]:
    """Remove every head alone on the prompt, and yield how far that is, with the effects so far.

    Raises:
        HeadAtlasError: with words for the visitor; also when the sweep takes too long.
    """
    from head_atlas.measures.effects import iter_sweep

    def work(model: HeadModel, progress: Progress[Swept]) -> Swept:
        check_length(engine, model, what.prompt)
        reference = reference_for(engine, model, what)
        prompt = measured_prompt(model, what, reference)
        target, *contrast = model.strings([*prompt.targets, *prompt.contrasts])
        found = {name: np.full((model.n_layers, model.n_heads), np.nan) for name in EFFECTS}
        progress.phase("Heads removed in turn")
        for part in iter_sweep(model, prompt, what.mode, reference=reference):
            for name, values in part.effects.items():
                found[name][part.layer, list(part.heads)] = values[0]
            effects = {name: values.tolist() for name, values in found.items()}
            swept = Swept(what, target, contrast[0] if contrast else None, effects)
            progress.found(swept)
            progress(part.done, part.total)
        return swept

    return in_background(engine, what.model, work)
