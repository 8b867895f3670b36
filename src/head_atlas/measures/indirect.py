"""What of a head's effect goes through later layers: the effect without the direct part.

Setting a head's output to 0 takes its direct logit attribution away from the logit difference, exactly so with the
norms frozen. The rest of the effect is indirect: later heads, MLPs and norms that read what the head wrote.

    indirect = effect on the logit difference (mode zero) - (-direct logit attribution)

Of the other modes it cannot be told from stored numbers: what the stand-in itself writes to the logits is not kept.
"""

from __future__ import annotations

import numpy as np

INDIRECT_MODE = "zero"
"""The one mode whose direct part is known: what a head wrote is gone, and nothing stands in its place."""


def indirect_effects(effects: np.ndarray, direct_logit: np.ndarray) -> np.ndarray:
    """Effects on the logit difference without what the head writes to it directly.

    Args:
        effects: [layer, head, prompt] on the logit difference in mode `zero`, ablated - clean, in logits.
        direct_logit: [layer, head, prompt] direct logit attribution of the clean run, final norm frozen, in logits.

    Returns:
        [layer, head, prompt] in logits, signed: below 0 where later layers make of the head's output something that
        helps the right answer. In the last layer (no later layer but its own MLP) it holds the MLP and the norm only.
        NaN where either number is.

    Source:
        This project; the split into direct and indirect as in Wang et al. 2022, Interpretability in the Wild.
    """
    return np.asarray(effects, dtype=np.float64) + direct_logit
