"""What an address asks of the Lab, as far as it can be had."""

from __future__ import annotations

from dataclasses import replace

from head_atlas.app.lab_modes import DEFAULT_MODE, MODES
from head_atlas.app.lab_view import BY_ATLAS, token_choice
from head_atlas.app.page_state import PageState
from head_atlas.app.words import sentence
from head_atlas.catalogue import EFFECTS
from head_atlas.errors import PromptError


def settled(state: PageState) -> tuple[PageState, list[str]]:
    """The state with what the Lab can show of it, and a sentence for everything that it cannot.

    Anyone may have sent it. Defaults are written as "". The mode of a state is the Lab's where the Lab is the open tab.
    """
    problems: list[str] = []
    kept = {"colour": "" if state.colour == BY_ATLAS else state.colour}
    if state.tab == "lab":
        kept["mode"] = "" if state.mode == DEFAULT_MODE else state.mode
    for key, names, words in (("colour", EFFECTS, "colouring"), ("mode", MODES, "ablation mode")):
        if kept.get(key) and kept[key] not in names:
            problems.append(f"The Lab has no {words} “{kept[key]}”; its default is shown.")
            kept[key] = ""
    for key in ("target", "contrast"):
        try:
            text = getattr(state, key)
            kept[key] = "" if token_choice(text) is None else text
        except PromptError as error:
            problems.append(f"The {key} in the address was left out. {sentence(error)}")
            kept[key] = ""
    mode = kept.pop("mode", state.mode)
    return replace(state, mode=mode, target=kept["target"], contrast=kept["contrast"], colour=kept["colour"]), problems
