"""What measuring stored prompts again has shown, on the About tab."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from head_atlas.views.choices import label_of
from head_atlas.views.numbers import signed

if TYPE_CHECKING:
    from head_atlas.live.recheck import Recheck
    from head_atlas.store import PromptRecord


def recheck_props(found: Recheck, prompts: Sequence[PromptRecord], warning: str = "") -> dict:
    """What measuring some stored prompts again has shown.

    Args:
        found: live against stored.
        prompts: of the atlas.
        warning: that the weights are others, or "".
    """
    families = ", ".join(dict.fromkeys(label_of(prompts[i].family) for i in found.prompts))
    rows = [
        {
            "label": "Live = atlas",
            "text": f"{'passed' if found.passed else 'FAILED'}: the worst difference is {found.worst:.2g} nats, "
            f"allowed there {found.allowed:.2g}; {found.n - found.outside} of {found.n} within what is allowed",
        },
        {
            "label": "Compared",
            "text": f"{found.n} effects: every head removed alone (zero ablation) on {len(found.prompts)} stored "
            f"prompts ({families}), log-probability of the target",
        },
        {
            "label": "Where",
            "text": f"{found.head.label} on prompt {found.prompt}: live {signed(found.live, 4)} nats, "
            f"atlas {signed(found.stored, 4)} nats",
        },
    ]
    if found.missing:
        rows.append({"label": "A number on one side only", "text": f"{found.missing} effects"})
    if warning:
        rows.append({"label": "Other weights", "text": warning})
    note = (
        "Allowed is 0.001 nats for the arithmetic of another machine, and half of the last place that the file keeps "
        "(10 bits of mantissa)."
    )
    return {"title": "Measured again, just now", "sections": [{"kind": "facts", "rows": rows, "note": note}]}
