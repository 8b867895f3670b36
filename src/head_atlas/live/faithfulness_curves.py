"""How far an attribution's order of tokens is the model's own.

Tokens are taken away by putting a baseline embedding in their place; positions and BOS stay. With f as in
`live.explained`, x the prompt, and the n tokens in descending order of attribution:

    comprehensiveness(k)  f(x) - f(x without the first k)     high: they were needed
    sufficiency(k)        f(x) - f(the first k alone)         low: they suffice
    deletion curve(m)     f(x without the first m), m = 0..n; its area is the mean over m / n from 0 to 1: low is good

k is a share of n, rounded up, so that of a short prompt several shares name the same tokens: `counts` says how many.
Each number is held against the same number of random orders.

Source: DeYoung et al. 2020 (comprehensiveness, sufficiency); Petsiuk et al. 2018 (deletion).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from head_atlas.errors import HeadAtlasError
from head_atlas.interventions import Budget, budget_for
from head_atlas.live.attribution import Attribution
from head_atlas.live.explained import Explained, check_embeddings, in_parts
from head_atlas.live.path_gradients import Baseline, baselines
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt
from head_atlas.seeds import checked_seed

SHARES = (0.01, 0.05, 0.10, 0.20, 0.50)
N_ORDERS = 20
_Removed = tuple[int, ...]


@dataclass(frozen=True)
class AgainstRandom:
    """A number of an order of tokens, and how it compares with random orders of them.

    Attributes:
        own: of the attribution's order.
        random: the mean over random orders.
        difference: own - random.
        low: of own - a random order's: its 2.5th percentile over the random orders.
        high: likewise, the 97.5th. Where low to high spans 0, chance does as well.
    """

    own: NamedArray
    random: NamedArray
    difference: NamedArray
    low: NamedArray
    high: NamedArray


@dataclass(frozen=True)
class Faithfulness:
    """What taking tokens away in an attribution's order does to f, in its unit.

    Attributes:
        comprehensiveness: axis (share,); a positive difference is good.
        sufficiency: axis (share,); a negative difference is good.
        curve: f with the first tokens taken away, axis (removed,), 0 to all.
        area: under the curve, no axis; a negative difference is good.
        counts: tokens that each share stands for.
        order: positions of the tokens, by descending attribution (ties: the earlier first).
        n_orders: random ones.
        seed: of these.
        baseline: what is put in a token's place.
    """

    comprehensiveness: AgainstRandom
    sufficiency: AgainstRandom
    curve: AgainstRandom
    area: AgainstRandom
    counts: tuple[int, ...]
    order: tuple[int, ...]
    n_orders: int
    seed: int
    baseline: str


def faithfulness(
    attribution: Attribution,
    *,
    shares: Sequence[float] = SHARES,
    n_orders: int = N_ORDERS,
    seed: int = 0,
    baseline: Baseline = "mean",
    corpus: Sequence[str | Prompt] = (),
    progress: Callable[[int, int], None] | None = None,
    budget: Budget | None = None,
) -> Faithfulness:
    """Test an attribution by taking tokens away, against random orders of the same tokens.

    The model runs with the heads removed that were removed in the attribution.

    Args:
        attribution: of `attribute`.
        shares: of the tokens, each in (0, 1].
        n_orders: random orders, at least 2.
        seed: of these, and of a corpus baseline.
        baseline: what is put in a token's place; of several samples f is the mean.
        corpus: texts, for the baseline "corpus".
        progress: is told rows done and all rows; what it raises ends the run.
        budget: how much runs at once; None for what suits the model's device.

    Raises:
        HeadAtlasError: shares, a number of orders or a seed that cannot be, or an attribution without any value.
        UnsupportedModelError: the model does not run from embeddings.
    """
    if not shares or not all(0 < share <= 1 for share in shares):
        raise HeadAtlasError(f"shares must lie above 0 and up to 1, found {list(shares)}")
    if n_orders < 2:
        raise HeadAtlasError(f"an interval needs at least 2 random orders, found {n_orders}")
    seed = checked_seed(seed)
    model, values = attribution.model, np.asarray(attribution.values.values)
    positions = np.flatnonzero(np.isfinite(values))
    if not len(positions):
        raise HeadAtlasError("no token has an attribution: there is nothing to take away")
    explained = Explained(
        model,
        attribution.prompt,
        attribution.heads,
        attribution.mode,
        attribution.reference,
        budget or budget_for(model),
    )
    check_embeddings(model)
    n = len(positions)
    counts = [min(n, math.ceil(share * n - 1e-9)) for share in shares]
    own = positions[np.argsort(-values[positions], kind="stable")]
    rng = np.random.default_rng(seed)
    orders = [own, *(rng.permutation(positions) for _ in range(n_orders))]
    # row 0..n: the first m taken away; then, for each share, all but the first k
    sets = [[_sorted(order[:m]) for m in range(n + 1)] + [_sorted(order[k:]) for k in counts] for order in orders]
    starts = baselines(explained, baseline, corpus, 8, seed)
    f_of = _without(explained, starts, list(dict.fromkeys(one for order in sets for one in order)), progress)
    f = np.array([[f_of[one] for one in order] for order in sets])  # order, row
    curve = f[:, : n + 1]
    area = (curve[:, 1:] + curve[:, :-1]).mean(1) / 2
    return Faithfulness(
        comprehensiveness=_against(curve[:, :1] - curve[:, counts], ("share",), shares),
        sufficiency=_against(curve[:, :1] - f[:, n + 1 :], ("share",), shares),
        curve=_against(curve, ("removed",)),
        area=_against(area, ()),
        counts=tuple(counts),
        order=tuple(own.tolist()),
        n_orders=n_orders,
        seed=seed,
        baseline=baseline,
    )


def _sorted(positions: np.ndarray) -> _Removed:
    return tuple(sorted(positions.tolist()))


def _without(
    explained: Explained,
    starts: torch.Tensor,
    sets: Sequence[_Removed],
    progress: Callable[[int, int], None] | None,
) -> dict[_Removed, float]:
    """Return f with each set of tokens taken away, the mean over baselines."""
    own, total = explained.embeddings, np.zeros(len(sets))
    gone = torch.zeros(len(sets), len(own), 1, dtype=torch.bool)
    for row, removed in enumerate(sets):
        gone[row, list(removed)] = True
    gone = gone.to(own.device)
    for sample, start in enumerate(starts):
        for part in in_parts(len(sets), explained.rows_at_once):
            f = explained.of_embeddings(torch.where(gone[part], start, own))
            total[part] += f.double().cpu().numpy() / len(starts)
            if progress is not None:
                progress(sample * len(sets) + part.stop, len(starts) * len(sets))
    return dict(zip(sets, total.tolist(), strict=True))


def _against(values: np.ndarray, dims: tuple[str, ...], labels: Sequence[float] | None = None) -> AgainstRandom:
    """Hold the first row against the others."""
    coords = {} if labels is None else {dims[0]: tuple(labels)}
    own, random = values[0], values[1:]
    low, high = np.percentile(own - random, (2.5, 97.5), axis=0)
    columns = (own, random.mean(0), own - random.mean(0), low, high)
    return AgainstRandom(*(NamedArray(np.asarray(column), dims, coords) for column in columns))
