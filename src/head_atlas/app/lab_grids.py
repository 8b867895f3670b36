"""The Lab's two grids: heads to remove, and the head whose attention is shown."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from head_atlas.app.page_state import read_heads
from head_atlas.catalogue import EFFECTS, mode_label
from head_atlas.errors import AtlasError, HeadError
from head_atlas.heads import HeadId
from head_atlas.views.choices import score_families, titled
from head_atlas.views.grid import grid_props
from head_atlas.views.head_values import HeadValues
from head_atlas.views.measured import score_values
from head_atlas.views.saved import measured_by, source_of
from head_atlas.views.token_text import quoted

if TYPE_CHECKING:
    from head_atlas.app.engine import Engine
    from head_atlas.app.lab_sweep import Swept

NOT_SWEPT = "not measured on this prompt yet: press “Measure every head”"


def picker_grid(engine: Engine, model: str, head_text: Any) -> dict:
    """A small grid to pick the head whose attention is shown; empty before its size is known (the text box remains)."""
    shape = engine.shape(model)
    if shape is None:
        return {"empty": ""}
    selected = None
    with suppress(HeadError):
        selected = HeadId.parse(head_text if isinstance(head_text, str) else "").within(*shape)
    shown = _by_atlas(engine, model, shape)
    return grid_props(shown, title="Pick the head whose attention is shown", selected=selected, small=True)


def lab_grid(engine: Engine, model: str, removed_text: Any, colour: Any, swept: Swept | None) -> dict:
    """The Lab's grid: click to remove or restore a head; coloured by the atlas or by this prompt's sweep."""
    try:
        removed = read_heads(removed_text, most=engine.limits.removed_heads)
    except HeadError:
        removed = ()
    shape = engine.shape(model)
    if shape is None:
        text = "The grid appears once the model is loaded: press “Run”. Heads can be typed meanwhile."
        return {"empty": text, "removed": [str(head) for head in removed]}
    about: dict | None = None
    if isinstance(colour, str) and colour in EFFECTS:
        swept = swept if swept and swept.what.model == model else None
        shown = _swept_values(colour, swept, shape)
        about = (
            None
            if swept is None
            else swept.what.about | {"measure": colour, "mode": swept.what.mode, "removed": "each head alone"}
        )
    else:
        shown = _by_atlas(engine, model, shape)
        atlas = engine.library.atlas_or_none(model)
        about = None if atlas is None else source_of(atlas) | measured_by("induction", "rand_repeat", "")
    return grid_props(
        shown,
        title="Heads: choose one to remove it, or to put it back",
        removed=removed,
        toggle=True,
        hint="Click a head to remove it; click again to put it back.",
        about=about if np.isfinite(shown.values).any() else None,
    )


def _by_atlas(engine: Engine, model: str, shape: tuple[int, int]) -> HeadValues:
    """The atlas' induction scores; nothing where there are none that can be read."""
    atlas = engine.library.atlas_or_none(model)
    with suppress(AtlasError):
        if atlas is not None and "rand_repeat" in score_families(atlas, "induction"):
            return score_values(atlas, "induction", "rand_repeat")
    return HeadValues(np.full(shape, np.nan), None, None, None, "", "", False, reason="no atlas says anything of it")


def _swept_values(metric: str, swept: Swept | None, shape: tuple[int, int]) -> HeadValues:
    """The effects of every head alone on a prompt, named with all that they depend on."""
    measure = EFFECTS[metric]
    label, values, reason = f"{titled(measure.label)}, this prompt", np.full(shape, np.nan), NOT_SWEPT
    if swept is not None:
        text = swept.what.prompt
        over = "" if swept.contrast is None else f" over {quoted(swept.contrast)}"
        label = (
            f"{titled(measure.label)}, {quoted(swept.target)}{over}, {mode_label(swept.what.mode)} ablation, "
            f"“{text if len(text) <= 40 else f'…{text[-38:]}'}”"
        )
        values = np.asarray(swept.effects[metric], dtype=float)
        reason = "not measured, or not defined without a contrast"
    return HeadValues(values, None, None, None, label, measure.unit, measure.signed, most=measure.high, reason=reason)
