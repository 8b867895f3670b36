"""What the Atlas tab shows for a state of the page."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from head_atlas.app import finder_address
from head_atlas.app.head_json import examples_json, page_json
from head_atlas.app.page_state import PageState
from head_atlas.app.words import sentence
from head_atlas.catalogue import EFFECTS, mode_label
from head_atlas.errors import AtlasError, HeadError
from head_atlas.heads import HeadId
from head_atlas.views.axes import axes_of, default_axis
from head_atlas.views.choices import axis_name, effects_of, families_of, first_mode, measures_of
from head_atlas.views.finder import finder_props
from head_atlas.views.grid import grid_props, measure_props
from head_atlas.views.head_examples import bands_of, sets_of
from head_atlas.views.head_page import summary_props
from head_atlas.views.measured import values_of
from head_atlas.views.saved import measured_by, source_of
from head_atlas.views.scatter import scatter_props

if TYPE_CHECKING:
    from head_atlas.app.library import Library
    from head_atlas.store import Atlas

MAIN_EFFECT = "logit_difference"
"""The effect on a head's page while the grid shows a score."""

_DEFAULT_MEASURE = "induction"
VIEWS = {"map": "Heat map", "scatter": "Scatter", "find": "Find heads"}
"""The views of all heads, by name."""
HEAD_EMPTY = (
    "Click a head, or type its name (2.5 or L2H5): this says what it is, with the evidence, shows prompts that it "
    "looks hard at, and opens its whole page below."
)
NOTHING: dict = {"empty": ""}


@dataclass(frozen=True)
class AtlasView:
    """Everything the tab draws.

    Attributes:
        state: the state as it could be honoured; what is a default is "".
        measures: (label, name) of the measures to choose from.
        families: the same of the families of the chosen measure.
        modes: (label, name) of the ablation modes.
        axes: (label, name) of the axes of the scatter plot.
        chosen: names of its axes to the right and upwards, and of its colour.
        sets: (label, name) of the sets of prompts that exemplars are from.
        bands: (label, name) of the kinds of exemplars.
        grid: the heat map.
        measure: the measure's sentence.
        scatter: the scatter plot, where it is open.
        finder: the table of heads, where it is open.
        headline: what the head is.
        examples: prompts that show it, as JSON text; `NOTHING` without a head.
        page: what was measured of it, as JSON text; `NOTHING` without a head.
        problems: a sentence for everything in the state that could not be honoured.
    """

    state: PageState
    measures: list[tuple[str, str]]
    families: list[tuple[str, str]]
    modes: list[tuple[str, str]]
    axes: list[tuple[str, str]]
    chosen: tuple[str, str, str]
    sets: list[tuple[str, str]]
    bands: list[tuple[str, str]]
    grid: dict
    measure: dict
    scatter: dict
    finder: dict
    headline: dict
    examples: str | dict
    page: str | dict
    problems: list[str]


def honoured(library: Library, state: PageState) -> tuple[PageState, list[str]]:
    """What can be shown of a state, and a sentence for everything that cannot.

    Raises:
        AtlasError: the model's atlas cannot be read, or holds nothing that the app knows.
    """
    state, problems = _served(library, state)
    state, more = settled(library.atlas(state.model), state)
    return state, problems + more


def _served(library: Library, state: PageState) -> tuple[PageState, list[str]]:
    problems: list[str] = []
    if state.model and state.model not in library.names:
        problems.append(f"No model “{state.model}” is served here; this is {library.default}.")
    return replace(state, model=state.model if state.model in library.names else library.default), problems


def atlas_view(library: Library, state: PageState) -> AtlasView:
    """Read what the tab shows; whatever cannot be shown becomes a sentence, never an exception."""
    try:
        settled_state, problems = honoured(library, state)
        return _filled(library.atlas(settled_state.model), settled_state, problems)
    except AtlasError as error:
        state, problems = _served(library, state)
        words = sentence(error)
        return AtlasView(
            state=state,
            measures=[],
            families=[],
            modes=[],
            axes=[],
            chosen=("", "", ""),
            sets=[],
            bands=[],
            grid={"empty": f"{words} The Lab does not need an atlas."},
            measure=NOTHING,
            scatter={"empty": words},
            finder={"empty": words},
            headline={"empty": HEAD_EMPTY},
            examples=NOTHING,
            page=NOTHING,
            problems=[*problems, words],
        )


def settled(atlas: Atlas, state: PageState) -> tuple[PageState, list[str]]:
    """A state that this atlas can show, and a sentence for every part that had to change."""
    problems: list[str] = []

    def choose(what: str, wanted: str, names: list[str], default: str, of: str = "") -> str:
        if wanted and wanted not in names:
            problems.append(f"This atlas has no {what} “{wanted}”{of}; {default or 'nothing'} is shown.")
        return wanted if wanted in names else default

    def other_than(default: str, what: str, wanted: str, names: list[str]) -> str:
        found = choose(what, wanted, names, default)
        return "" if found == default else found

    names = [name for _, name in measures_of(atlas)]
    if not names:
        raise AtlasError(f"{atlas.path.name} holds no measure that this version of the app knows.")
    first = _DEFAULT_MEASURE if _DEFAULT_MEASURE in names else names[0]
    measure = choose("measure", state.measure, names, first)
    families = [name for _, name in families_of(atlas, measure)]
    family = choose("prompt family", state.family, families, families[0] if families else "", f" for {measure}")
    mode = choose("ablation mode", state.mode, atlas.modes, first_mode(atlas))
    axes = [name for _, name in axes_of(atlas)]
    x, y, by = (other_than(default_axis(atlas, key), "axis", getattr(state, key), axes) for key in ("x", "y", "by"))
    view = other_than("map", "view", state.view, list(VIEWS))
    sets = [name for _, name in sets_of(atlas)]
    prompts = other_than(sets[0] if sets else "", "set of exemplars", state.prompts, sets)
    bands = [name for _, name in bands_of(atlas, prompts or (sets[0] if sets else ""))]
    band = other_than(bands[0] if bands else "", "kind of exemplars", state.band, bands)
    heads: dict[str, Any] = {}
    for key in ("head", "other"):
        heads[key] = ""
        if wanted := getattr(state, key):
            try:
                heads[key] = str(HeadId.parse(wanted).within(atlas.n_layers, atlas.n_heads))
            except HeadError as error:
                problems.append(sentence(error))
    if heads["other"] == heads["head"] or not heads["head"]:
        heads["other"] = ""
    kept: dict[str, Any] = {"measure": measure, "family": family, "mode": mode, "x": x, "y": y, "by": by, "view": view}
    state, more = finder_address.settled(atlas, replace(state, **kept, prompts=prompts, band=band, **heads))
    return state, problems + more


def shortened(atlas: Atlas, state: PageState) -> PageState:
    """A settled state without the measure, family and mode that the page opens with anyway."""
    first, _ = settled(atlas, PageState(measure=state.measure))
    default, _ = settled(atlas, PageState())
    return replace(
        state,
        measure="" if state.measure == default.measure else state.measure,
        family="" if state.family == first.family else state.family,
        mode="" if state.mode == default.mode else state.mode,
    )


def _filled(atlas: Atlas, state: PageState, problems: list[str]) -> AtlasView:
    heads = tuple(HeadId.parse(text) for text in (state.head, state.other) if text)
    headlines = [summary_props(atlas, head, state.mode) for head in heads]
    shown = values_of(atlas, state.measure, state.mode, state.family)
    x, y, by = (getattr(state, key) or default_axis(atlas, key) for key in ("x", "y", "by"))
    grid = grid_props(
        shown,
        title=f"Heads of {atlas.model_id} by {shown.label}",
        selected=heads[0] if heads else None,
        hint="Click a head, or move with the arrow keys.",
        about=source_of(atlas) | measured_by(state.measure, state.family, state.mode),
    )
    return AtlasView(
        state=state,
        measures=measures_of(atlas),
        families=families_of(atlas, state.measure),
        modes=[(mode_label(name), name) for name in atlas.modes],
        axes=list(axes_of(atlas)),
        chosen=(x, y, by),
        sets=sets_of(atlas),
        bands=bands_of(atlas, state.prompts or (sets_of(atlas) or [("", "")])[0][1]),
        grid=grid | {"shared": True, "shows": axis_name(state.measure, state.family)},
        measure=measure_props(state.measure),
        # Only what is open: each is read again when it is opened.
        scatter=scatter_props(atlas, x, y, by, state.mode) if state.view == "scatter" else NOTHING,
        finder=_finder(atlas, state) if state.view == "find" else NOTHING,
        headline={
            "heads": headlines,
            "model": state.model,
            "mode": "" if state.mode == first_mode(atlas) else state.mode,
            "about": source_of(atlas),
        }
        if heads
        else {"empty": HEAD_EMPTY},
        examples=_examples(atlas, state, heads),
        page=_page(atlas, state, heads),
        problems=problems,
    )


def _finder(atlas: Atlas, state: PageState) -> dict:
    table = finder_props(atlas, state.measure, state.family, state.mode)
    return table | {"asked": finder_address.shown(atlas, state), "about": source_of(atlas) | {"mode": state.mode}}


def _examples(atlas: Atlas, state: PageState, heads: tuple[HeadId, ...]) -> str | dict:
    sets = sets_of(atlas)
    where = state.prompts or (sets[0][1] if sets else "")
    bands = bands_of(atlas, where)
    band = state.band or (bands[0][1] if bands else "")
    return examples_json(atlas, heads, where, band) if heads else NOTHING


def _page(atlas: Atlas, state: PageState, heads: tuple[HeadId, ...]) -> str | dict:
    effects = effects_of(atlas)
    chosen = state.measure if state.measure in EFFECTS else MAIN_EFFECT
    if chosen not in effects:
        chosen = effects[0] if effects else ""
    return page_json(atlas, heads, chosen, state.mode) if heads else NOTHING
