"""One prediction under several conditions: all heads, some removed, a control removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from head_atlas.views.numbers import percent
from head_atlas.views.saved import shortened
from head_atlas.views.token_text import quoted, visible, visible_all


@dataclass(frozen=True)
class Condition:
    """One run.

    Attributes:
        label: what was done, "without L2H5".
        kind: "clean", "ablated" or "control".
        probability: of the target.
        top: text of the likeliest token.
    """

    label: str
    kind: str
    probability: float
    top: str


def comparison_props(
    tokens: Sequence[str],
    target: str,
    conditions: Sequence[Condition],
    *,
    title: str,
    lead: str = "",
    verdict: str = "",
    held: bool | None = None,
) -> dict:
    """What the experiment panel draws.

    Args:
        tokens: the prompt's tokens without BOS.
        target: text of the token whose probability is shown.
        conditions: the runs, the clean one first.
        title: one line.
        lead: a sentence below it.
        verdict: a sentence at the end.
        held: whether a prediction held, or None where none was made.
    """
    return {
        "title": title,
        "lead": lead,
        "tokens": visible_all(tokens),
        "target": visible(target),
        "question": f"How likely is {quoted(target)} next?",
        "rows": [
            {
                "label": c.label,
                "kind": c.kind if c.kind in ("clean", "ablated", "control") else "clean",
                "w": shortened(c.probability),
                "text": percent(c.probability),
                "says": f"says {quoted(c.top)}",
            }
            for c in conditions
        ],
        "verdict": verdict,
        "held": held,
    }


OUTCOMES = {
    "same": "Hardly anything: the word keeps at least nine tenths of its probability.",
    "weaker": "It becomes less likely, but stays the model's first choice.",
    "gone": "It is no longer the model's first choice.",
}
"""The predictions a visitor can make, each defined so that a run decides it."""


def outcome(before: float, after: float, still_first: bool) -> str:
    """Which of `OUTCOMES` came true; losing the first place counts before anything else."""
    if not still_first:
        return "gone"
    return "same" if after >= 0.9 * before else "weaker"


def what_it_means(
    target: str, probabilities: Sequence[float], first: Sequence[bool], n_heads: int = 2
) -> tuple[str, str]:
    """What came of removing heads, beside removing as many others.

    Args:
        target: text of the expected token.
        probabilities: of the target: with all heads, without the heads, without the control.
        first: whether the target is the first choice in each of these runs.
        n_heads: how many heads were removed.

    Returns:
        Which of `OUTCOMES` came true, "" where the run cannot decide; and a few sentences.
    """
    before, after, control = probabilities
    if not first[0]:
        return "", (
            f"On these words the model did not expect {quoted(target)} even with all its heads, so this run says "
            "little. Try other words."
        )
    true, calm = outcome(before, after, first[1]), outcome(before, control, first[2])
    moved = f"{quoted(target)} went from {percent(before)} to {percent(after)}; without the control it has "
    if calm != "same":
        these = "this head" if n_heads == 1 else "these heads"
        meaning = f"The control matters as well, so this prompt alone does not single {these} out."
    elif true == "same":
        meaning = "Neither removal matters on these words: other heads can do it too."
    elif n_heads == 1:
        meaning = "Removing another head hardly matters, so on these words it is this one that the prediction needs."
    else:
        meaning = (
            "Removing as many other heads hardly matters, so on these words it is the removed ones, taken together, "
            "that the prediction needs."
        )
    return true, f"{OUTCOMES[true]} {moved}{percent(control)}. {meaning}"


def forgetting_title(target: str, clean_top: str, ablated_top: str, n_heads: int) -> str:
    """The landing experiment in one line; it claims no more than the run shows."""
    these = "this head" if n_heads == 1 else f"these {n_heads} heads"
    if clean_top == ablated_top:
        return f"Remove {these}, and {quoted(target)} becomes less likely"
    if target.strip() == "Potter":
        return f"Remove {these}, and Harry forgets Potter"
    return f"Remove {these}, and the model no longer says {quoted(target)}"
