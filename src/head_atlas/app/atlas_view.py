"""What the Atlas tab shows for a state of the page."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from head_atlas.app.page_state import PageState
from head_atlas.app.words import sentence
from head_atlas.catalogue import EFFECTS
from head_atlas.errors import AtlasError, HeadError
from head_atlas.heads import HeadId
from head_atlas.views.choices import effects_of, families_of, measures_of
from head_atlas.views.grid import grid_props, measure_props, values_of
from head_atlas.views.head_card import card_props, profile_props

if TYPE_CHECKING:
    from head_atlas.app.library import Library
    from head_atlas.store import Atlas

MAIN_EFFECT = "logit_difference"
"""The effect on a head's card while the grid shows a score."""

_DEFAULT_MEASURE = "induction"
CARD_EMPTY = (
    "Click a head, or type its name (2.5 or L2H5), and this card says what it looks like and what removing it does."
)
PROFILE_EMPTY = "Here you will see how far back the chosen head looks."


@dataclass(frozen=True)
class AtlasView:
    """Everything the tab draws.

    Attributes:
        state: the state as it could be honoured.
        measures: (label, name) of the measures to choose from.
        families: the same of the families of the chosen measure.
        modes: names of the ablation modes.
        grid: the grid's props.
        measure: the measure's sentence.
        card: the head's card.
        profile: where the head looks.
        problems: a sentence for everything in the state that could not be honoured.
    """

    state: PageState
    measures: list[tuple[str, str]]
    families: list[tuple[str, str]]
    modes: list[str]
    grid: dict
    measure: dict
    card: dict
    profile: dict
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
            grid={"empty": f"{words} The Lab does not need an atlas."},
            measure={"empty": ""},
            card={"empty": CARD_EMPTY},
            profile={"empty": PROFILE_EMPTY},
            problems=[*problems, words],
        )


def settled(atlas: Atlas, state: PageState) -> tuple[PageState, list[str]]:
    """A state that this atlas can show, and a sentence for every part that had to change."""
    problems: list[str] = []

    def choose(what: str, wanted: str, names: list[str], default: str, of: str = "") -> str:
        if wanted and wanted not in names:
            problems.append(f"This atlas has no {what} “{wanted}”{of}; {default or 'nothing'} is shown.")
        return wanted if wanted in names else default

    names = [name for _, name in measures_of(atlas)]
    if not names:
        raise AtlasError(f"{atlas.path} holds no measure that this version of the app knows.")
    first = _DEFAULT_MEASURE if _DEFAULT_MEASURE in names else names[0]
    measure = choose("measure", state.measure, names, first)
    families = [name for _, name in families_of(atlas, measure)]
    family = choose("prompt family", state.family, families, families[0] if families else "", f" for {measure}")
    mode = choose("ablation mode", state.mode, atlas.modes, atlas.modes[0] if atlas.modes else "")
    head = ""
    if state.head:
        try:
            head = str(HeadId.parse(state.head).within(atlas.n_layers, atlas.n_heads))
        except HeadError as error:
            problems.append(sentence(error))
    return replace(state, measure=measure, family=family, mode=mode, head=head), problems


def _filled(atlas: Atlas, state: PageState, problems: list[str]) -> AtlasView:
    head = HeadId.parse(state.head) if state.head else None
    effects = effects_of(atlas)
    card: dict = {"empty": CARD_EMPTY}
    if head is not None:
        chosen = state.measure if state.measure in EFFECTS else MAIN_EFFECT
        if chosen not in effects:
            chosen = effects[0] if effects else ""
        card = card_props(atlas, head, effect=chosen, mode=state.mode, current=(state.measure, state.family))
    shown = values_of(atlas, state.measure, state.mode, state.family)
    return AtlasView(
        state=state,
        measures=measures_of(atlas),
        families=families_of(atlas, state.measure),
        modes=list(atlas.modes),
        grid=grid_props(
            shown,
            title=f"Heads of {atlas.model_id} by {shown.label}",
            selected=head,
            hint="Click a head, or move with the arrow keys.",
        ),
        measure=measure_props(state.measure),
        card=card,
        profile={"empty": PROFILE_EMPTY} if head is None else profile_props(atlas, head),
        problems=problems,
    )
