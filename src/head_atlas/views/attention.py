"""One head's attention, clean, ablated and their difference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from head_atlas.views.scales import Scale
from head_atlas.views.token_text import visible_all

HINT = "rows are queries, columns the keys they read; point at a cell, or use the arrow keys"


def lower_triangle(pattern: np.ndarray) -> list[float]:
    """The causal part of [query, key], row after row, to four decimals."""
    n = pattern.shape[0]
    return [float(x) for x in np.round(pattern[np.tril_indices(n)].astype(float), 4)]


def attention_props(
    clean: np.ndarray, ablated: np.ndarray | None, tokens: Sequence[str], head: str, *, lead: str = ""
) -> dict:
    """What the canvases draw.

    Args:
        clean: post-softmax pattern, [query, key].
        ablated: the same head with heads removed, or None.
        tokens: the prompt's tokens, BOS included.
        head: the head's label.
        lead: a sentence above.
    """
    one = Scale(0.0, 1.0, False)
    runs = [{"label": "clean", "caption": "clean", "rows": lower_triangle(clean), "signed": False, "high": 1.0}]
    scales = [one]
    if ablated is not None:
        change = ablated.astype(float) - clean.astype(float)
        reach = float(np.abs(change).max())
        # A difference of rounding noise stays pale rather than being blown up to full colour.
        high = max(reach, 0.05)
        runs.append(
            {"label": "ablated", "caption": "ablated", "rows": lower_triangle(ablated), "signed": False, "high": 1.0}
        )
        runs.append(
            {
                "label": "difference",
                "caption": "ablated − clean",
                "rows": lower_triangle(change),
                "signed": True,
                "high": high,
            }
        )
        scales += [one, Scale(-high, high, True)]
        if reach < 1e-6 and not lead:
            lead = (
                f"{head} attends exactly as before. A head decides where to look before its output is removed, so only "
                "heads in later layers can change: pick one of those."
            )
    return {
        "head": head,
        "lead": lead,
        "hint": HINT,
        "tokens": visible_all(tokens),
        "runs": [run | {"scale": scale.props()} for run, scale in zip(runs, scales, strict=True)],
    }
