"""What the Compare tab shows of two served models."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from head_atlas.app.compare_changes import changed_heads, changes_figure, commonest_change, heads_of_other_role
from head_atlas.app.compare_matches import matches_props
from head_atlas.app.page_state import PageState
from head_atlas.app.words import sentence
from head_atlas.catalogue import EFFECTS
from head_atlas.catalogue.roles import ROLE_MODES, ROLES, STATES
from head_atlas.errors import AtlasError
from head_atlas.exchange import Difference, Matching, difference, match_heads
from head_atlas.views import blocks
from head_atlas.views.numbers import plain
from head_atlas.views.role_depth import parts_of_depth, role_depth_matrix, roles_held
from head_atlas.views.saved import source_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from head_atlas.app.library import Library
    from head_atlas.store import Atlas

ALONE = (
    "One atlas is served here, and a comparison needs two. Serve both, with a comma between them: "
    "MODEL=atlas/demo,path/to/other python app.py"
)
WAITING = "The two models are being compared…"


@dataclass(frozen=True)
class CompareView:
    """Everything the tab draws.

    Attributes:
        summary: a sentence on the two, and the way to see them the other way round.
        depth: where roles sit.
        matches: the table of matched heads.
        changes: what changed, of two models of one shape.
    """

    summary: dict
    depth: dict
    matches: dict
    changes: dict

    @classmethod
    def empty(cls, words: str) -> CompareView:
        """Nothing but a sentence."""
        return cls({"empty": words}, {"empty": ""}, {"empty": ""}, {"empty": ""})


def compare_view(library: Library, first: str, second: str) -> CompareView:
    """Read, or measure, what the tab shows; what cannot be compared becomes a sentence.

    Args:
        library: what is served.
        first: name of the model that the other is compared with: changes are from it.
        second: name of the page's model: changes are to it.
    """
    try:
        atlases = {name: library.atlas(name) for name in (first, second)}
    except AtlasError as error:
        return CompareView.empty(f"{sentence(error)} A comparison needs the atlases of both models.")
    with _turn(*atlases.values()):
        matching, why = _matching(*atlases.values())
        changes, effect, mode, why_not = _difference(*atlases.values())
    about = {"about": {side: source_of(a) for side, a in zip(("first", "second"), atlases.values(), strict=True)}}
    return CompareView(
        summary=_summary(library, atlases, matching, changes),
        depth=_depth(atlases) | about,
        matches=matches_props(matching, atlases, library.default, mode) if matching else {"empty": why},
        changes=changes_figure(changes, (first, second), _shape(atlases[first]), effect=effect, mode=mode)
        | {"about": about["about"] | {"measure": effect, "mode": mode}}
        if changes
        else {"empty": why_not},
    )


_CACHED = 16
_guard = Lock()


def _turn(first: Atlas, second: Atlas) -> Lock:
    """Of two visitors who ask for one pair, the second waits for the first's answer; others wait for neither."""
    with _guard:
        return _turn_of(first, second)


@lru_cache(maxsize=_CACHED)
def _turn_of(first: Atlas, second: Atlas) -> Lock:  # noqa: ARG001  they are its key
    return Lock()


@lru_cache(maxsize=_CACHED)
def _matching(first: Atlas, second: Atlas) -> tuple[Matching | None, str]:
    try:
        return match_heads(first, second), ""
    except AtlasError as error:
        return None, sentence(error)


@lru_cache(maxsize=_CACHED)
def _difference(first: Atlas, second: Atlas) -> tuple[Difference | None, str, str, str]:
    """What changed, the effect and the mode that were compared, and, where there is nothing, why."""
    effects = [name for name in ("logit_difference", *EFFECTS) if name in first.effects and name in second.effects]
    modes = [m for m in first.modes if m in second.modes]
    mode = next((m for m in (*ROLE_MODES, *modes) if m in modes), "")
    if _shape(first) != _shape(second):
        why = (
            f"The two have other shapes ({_size(first)}; {_size(second)}), so no head of one has its place in the "
            "other: what changed can be asked of one model before and after training. The matches need no common shape."
        )
        return None, "", mode, why
    if not effects or not mode:
        return None, "", mode, "The two atlases have no effect in one ablation mode in common."
    try:
        return difference(first, second, measures=effects[:1], mode=mode), effects[0], mode, ""
    except AtlasError as error:
        return None, "", mode, sentence(error)


def _shape(atlas: Atlas) -> tuple[int, int]:
    return atlas.n_layers, atlas.n_heads


def _size(atlas: Atlas) -> str:
    return f"{atlas.n_layers} layers of {atlas.n_heads} heads"


def _summary(
    library: Library, atlases: Mapping[str, Atlas], matching: Matching | None, changes: Difference | None
) -> dict:
    first, second = atlases
    n = [atlas.n_layers * atlas.n_heads for atlas in atlases.values()]
    said = []
    if matching is not None and matching.pairs:
        pairs = matching.pairs
        median = float(np.median([match.similarity for match in pairs]))
        text = (
            f"{len(pairs)} of {n[0]} heads of {first} match one of the {n[1]} heads of {second} (each is the other's "
            f"nearest; median similarity {plain(median)})"
        )
        if not matching.untested:
            beyond = sum(match.beyond_chance for match in pairs)
            text += f", {beyond or 'none'} of them better than chance"
        same = sum(match.head == match.other for match in pairs)
        if _shape(atlases[first]) == _shape(atlases[second]):
            text += f"; {same} match the head in their own place"
        said.append(f"{text}.")
    elif matching is not None:
        said.append(f"No head of {first} matches one of {second}: none is another's nearest both ways.")
    if changes is not None:
        text = f"From {first} to {second}, the effect of removal changed for {changed_heads(changes)} of {n[0]} heads"
        if "roles" not in changes.not_compared:
            text += f", and {heads_of_other_role(changes)} gained or lost a role"
            if common := commonest_change(changes):
                text += f": most often {common}"
        said.append(f"{text}.")
    turned = PageState(tab="compare", model="" if first == library.default else first, beside=second)
    return {
        "headline": " ".join(said) or "Too little was measured of both for a comparison.",
        "links": [{"text": f"The other way round: from {second} to {first}", "query": turned.query()}],
        "pair": [first, second],
    }


def _depth(atlases: Mapping[str, Atlas]) -> dict:
    # In the catalogue's order, whichever model comes first.
    order = [*ROLES, *STATES]
    held = dict.fromkeys(name for atlas in atlases.values() for name in roles_held(atlas))
    names = sorted(held, key=lambda name: order.index(name) if name in order else len(order))
    without = [name for name, atlas in atlases.items() if "held" not in atlas.roles]
    if not names:
        why = f" ({' and '.join(without)} without judged roles)" if without else ""
        return {"empty": f"No head of either model holds a role{why}."}
    parts = parts_of_depth(*atlases.values())
    pictures = [role_depth_matrix(atlas, f"{name}: {_size(atlas)}", names, parts) for name, atlas in atlases.items()]
    return blocks.figure(
        blocks.side_by_side(*pictures),
        blocks.text(f"No roles were judged in {' and '.join(without)}.") if without else None,
    )
