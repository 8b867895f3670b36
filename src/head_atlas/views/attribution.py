"""An attribution of every token of a prompt, as coloured chips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from head_atlas.views.numbers import finite, plain, signed
from head_atlas.views.scales import digits_for, scale_for
from head_atlas.views.token_text import quoted, visible

HINT = "point at a token, or use the arrow keys"


def attribution_props(
    values: np.ndarray,
    tokens: Sequence[str],
    *,
    special: int,
    target: str,
    contrast: str | None,
    title: str = "attribution per token",
    lead: str = "",
    sign: bool = True,
) -> dict:
    """What the chips draw.

    Args:
        values: [pos], signed; positive pushes towards the target; NaN for a token that is held fixed.
        tokens: the prompt's tokens, BOS included.
        special: how many leading tokens are not the user's text.
        target: the target's text.
        contrast: the contrast's text, or None.
        title: names it, and its files.
        lead: a sentence above.
        sign: whether the values have one; a norm has none.
    """
    scale = scale_for(values, sign=sign, unit="logits" if contrast is not None else "nats")
    digits = digits_for(scale.high) + 1
    towards = f"towards {quoted(target)}" + (f" over {quoted(contrast)}" if contrast is not None else "")
    away = f"away from {quoted(target)}"
    chips = []
    for i, (text, x) in enumerate(zip(tokens, values, strict=True)):
        if np.isnan(x):
            label = f"{quoted(text)}: held fixed, so it has no attribution"
        elif not sign:
            label = f"{quoted(text)}: {plain(float(x), digits)}, in whichever direction"
        else:
            way = towards if x > 0 else away if x < 0 else "no push"
            label = f"{quoted(text)}: {signed(float(x), digits)}, {way}"
        chips.append(
            {
                "text": visible(text),
                "t": scale.position(float(x)),
                "value": finite(float(x)),
                "label": label,
                "special": i < special,
            }
        )
    return {"title": title, "lead": lead, "hint": HINT, "scale": scale.props(), "chips": chips}
