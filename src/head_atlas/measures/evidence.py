"""Evidence for roles: every criterion of `catalogue.roles` weighed by one and the same rule.

    value, interval   turned by the criterion's sign, so that more is more
    threshold         max(floor, 99th percentile of the null)
    met               near end of the interval >= threshold and > 0; value >= least; q <= 0.05 where there is a p value
                      (numbers may fall short of a limit by 1e-6: rounding)

q values are Benjamini-Hochberg over the heads of the model, for each criterion by itself.

Answers are 1 (yes), 0 (no) or NaN (not measured: the family cannot be built, the model does not solve it, there is no
null).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from head_atlas.catalogue import EFFECTS, SCORES
from head_atlas.catalogue.named_parts import NAMED_PARTS
from head_atlas.catalogue.roles import SOLVED, Criterion
from head_atlas.measures.bootstrap import Interval, bootstrap_mean, bootstrap_ratio, resample_counts
from head_atlas.measures.significance import FALSE_DISCOVERIES, TIE, q_values, sign_flip_p, tail_p
from head_atlas.named_array import NamedArray


@dataclass(frozen=True)
class Measured:
    """One number of every head; all arrays [layer, head], NaN where not measured.

    Attributes:
        value: a score, attribution or effect.
        low: lower end of its 95 % interval; the value itself where there is nothing to resample (weights).
        high: upper end.
        n: prompts; 0 for weights.
        p: of the value under its null, or None if there is none.
        n99: 99th percentile of the null, in the unit of the value, or None.
        share: the value as a share of the clean logit difference, a ratio of means whose interval resamples both
            together; None where the prompts are not at hand, and the clean mean has to be taken as exact.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: np.ndarray
    p: np.ndarray | None = None
    n99: np.ndarray | None = None
    share: Interval | None = field(default=None, kw_only=True)

    @classmethod
    def exact(cls, value: np.ndarray, p: np.ndarray | None = None, n99: np.ndarray | None = None) -> Measured:
        """A number without an interval, read from the weights."""
        value = np.asarray(value, dtype=np.float64)
        return cls(value, value, value, np.zeros(value.shape, dtype=np.int32), p, n99)

    @classmethod
    def of(cls, interval: Interval, p: np.ndarray | None = None, n99: np.ndarray | None = None) -> Measured:
        """A mean over prompts with its interval."""
        return cls(interval.mean, interval.low, interval.high, interval.n, p, n99)

    def against(self, draws: np.ndarray) -> Measured:
        """The same with p and n99 from draws of the null, [layer, head, draw]; NaN where there is no draw."""
        drawn = ~np.isnan(draws).all(-1)
        n99 = np.full(drawn.shape, np.nan)
        if drawn.any():
            n99[drawn] = np.nanquantile(draws[drawn], 0.99, axis=-1)
        return replace(self, p=tail_p(self.value, draws), n99=n99)


@dataclass(frozen=True)
class Weighed:
    """One criterion, weighed for every head; all arrays [layer, head].

    Attributes:
        value: the number; a share of the clean logit difference where the criterion is relative.
        low: lower end of its interval, likewise.
        high: upper end, likewise.
        n: prompts; 0 for weights.
        threshold: what the near end of the interval has to reach; NaN where it does not matter.
        q: NaN without a null.
        met: 1, 0 or NaN.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: np.ndarray
    threshold: np.ndarray
    q: np.ndarray
    met: np.ndarray


def from_summary(summary: Mapping[str, NamedArray], mode: str) -> dict[tuple[str, str], Measured]:
    """What the summary of an atlas holds of scores and effects, by (measure, where) as criteria ask for it.

    Args:
        summary: arrays by name, as `atlas/README.md` lists them.
        mode: of the effects.

    Returns:
        Scores as ("sink", "natural"), their excess as ("induction_excess", "rand_repeat"), effects with their p
        values as ("logit_difference", "ioi"). Scores have no p value here: see `Measured.against`.
    """
    found = {}
    for name, score in (SCORES | NAMED_PARTS).items():
        for family in score.families:
            prefix = score.summary_prefix(family)
            for measure, start in ((name, f"{prefix}_mean"), (f"{name}_excess", f"{prefix}_excess")):
                if start in summary:
                    stem = start.removesuffix("_mean")
                    names = (start, f"{stem}_ci_low", f"{stem}_ci_high", f"{prefix}_n")
                    found[measure, family] = Measured(*(summary[part].values for part in names))
    for metric in EFFECTS:
        if f"{metric}_mean" not in summary or mode not in summary[f"{metric}_mean"].coords["mode"]:
            continue
        for family in summary[f"{metric}_mean"].coords["family"]:
            at = {"mode": mode, "family": family}
            value, low, high, n = (
                summary[f"{metric}_{part}"].sel(**at).values for part in ("mean", "ci_low", "ci_high", "n")
            )
            p = summary[f"{metric}_p"].sel(**at).values if f"{metric}_p" in summary else None
            found[metric, family] = Measured(value, low, high, n, p)
    return {key: one for key, one in found.items() if not np.isnan(one.value).all()}


def by_family(
    measure: str, values: np.ndarray, families: Sequence[str], templates: Sequence[int], *, seed: int
) -> dict[tuple[str, str], Measured]:
    """Means over the prompts of each family, with intervals.

    Args:
        measure: its name.
        values: [layer, head, prompt]; NaN where not measured.
        families: of each prompt.
        templates: of each prompt; a negative one stands alone.
        seed: of the bootstrap.

    Returns:
        By (measure, family), with p values of a mean of 0 (sign flips); families without any value are left out.
    """
    names, found = np.array(families), {}
    for family in dict.fromkeys(families):
        index = np.flatnonzero(names == family)
        if not np.isnan(values[..., index]).all():
            clusters = [templates[int(i)] for i in index]
            counts = resample_counts(clusters, seed=seed, family=family)
            p = sign_flip_p(values[..., index], clusters, seed=seed, family=family)
            found[measure, family] = Measured.of(bootstrap_mean(values[..., index], counts), p)
    return found


def with_shares(
    found: Mapping[tuple[str, str], Measured],
    measure: str,
    values: np.ndarray,
    clean: np.ndarray,
    families: Sequence[str],
    templates: Sequence[int],
    *,
    seed: int,
) -> dict[tuple[str, str], Measured]:
    """The numbers of one measure, with their shares of the clean logit difference.

    Args:
        found: by (measure, family).
        measure: its name.
        values: [layer, head, prompt] that they are means of.
        clean: [prompt] logit difference of the clean model.
        families: of each prompt.
        templates: of each prompt; a negative one stands alone.
        seed: of the bootstrap.
    """
    names, shared = np.array(families), {}
    for (name, family), one in found.items():
        index = np.flatnonzero(names == family)
        if name == measure and not np.isnan(clean[index]).all():
            counts = resample_counts([templates[int(i)] for i in index], seed=seed, family=family)
            share = bootstrap_ratio(values[..., index], clean[index], counts)
            shared[name, family] = replace(one, share=share)
    return shared


def weigh(
    criterion: Criterion,
    measured: Mapping[tuple[str, str], Measured],
    clean: Mapping[str, float],
    shape: tuple[int, int],
    *,
    q: np.ndarray | None = None,
) -> Weighed:
    """Weigh one criterion for every head.

    Args:
        criterion: to weigh.
        measured: by (measure, where).
        clean: logit difference of the families that the model solves.
        shape: layers and heads.
        q: in place of the q values over the heads of the model.
    """
    missing = np.full(shape, np.nan)
    found = measured.get(criterion.key)
    if found is None or (criterion.relative and criterion.where not in clean):
        return Weighed(*[missing] * 7)
    scale = clean[criterion.where] if criterion.relative else 1.0
    parts = tuple(np.asarray(part, np.float64) / scale for part in (found.value, found.low, found.high))
    if criterion.relative and found.share is not None:
        parts = (found.share.mean, found.share.low, found.share.high)
    value, low, high = parts
    if q is None:
        q = missing if found.p is None else q_values(found.p)
    turned, near = _turn(value, low, high, criterion.sign)
    threshold = missing
    conditions = []
    if criterion.floor is not None:
        threshold = np.full(shape, criterion.floor)
        if found.n99 is not None:
            threshold = np.maximum(threshold, found.n99 / scale)
        conditions.append(yes((near >= threshold - TIE) & (near > 0), near, threshold))
    if criterion.least is not None:
        conditions.append(yes(turned >= criterion.least - TIE, turned))
    if criterion.tested or found.p is not None:
        conditions.append(yes(q <= FALSE_DISCOVERIES, q))
    return Weighed(value, low, high, np.asarray(found.n, np.float64), threshold, q, all_of(conditions))


def solved_families(
    logit_difference: np.ndarray, families: Sequence[str], templates: Sequence[int], *, seed: int
) -> dict[str, float]:
    """The clean logit difference of the families that the model solves.

    A share of a logit difference near 0 means nothing, and a head cannot matter for what the model cannot do. Solved
    means: the share of prompts with a positive logit difference has a lower 95 % bound of at least 0.75, and their
    mean is positive.

    Args:
        logit_difference: [prompt], of the clean model; NaN without a contrast.
        families: of each prompt.
        templates: of each prompt; a negative one stands alone.
        seed: of the bootstrap.

    Returns:
        The mean over prompts, in logits, by family.
    """
    names = np.array(families)
    found = {}
    for family in dict.fromkeys(families):
        index = np.flatnonzero((names == family) & ~np.isnan(logit_difference))
        if not len(index):
            continue
        counts = resample_counts([templates[int(i)] for i in index], seed=seed, family=family)
        right = bootstrap_mean((logit_difference[index] > 0).astype(float)[None], counts)
        mean = float(logit_difference[index].mean())
        if right.low[0] >= SOLVED and mean > 0:
            found[family] = mean
    return found


def yes(condition: np.ndarray, *needs: np.ndarray) -> np.ndarray:
    """1 or 0; NaN where a number that the condition needs is."""
    return np.where(np.any([np.isnan(array) for array in needs], axis=0), np.nan, condition)


def all_of(answers: Iterable[np.ndarray]) -> np.ndarray:
    """0 if one is 0; else NaN if one is NaN; else 1."""
    stacked = np.stack(list(answers))
    return np.where((stacked == 0).any(0), 0.0, np.where(np.isnan(stacked).any(0), np.nan, 1.0))


def any_of(answers: Iterable[np.ndarray]) -> np.ndarray:
    """1 if one is 1; 0 if none is and one was measured; else NaN. What was not measured does not stand in the way."""
    stacked = np.stack(list(answers))
    return np.where((stacked == 1).any(0), 1.0, np.where((stacked == 0).any(0), 0.0, np.nan))


def _turn(value: np.ndarray, low: np.ndarray, high: np.ndarray, sign: int) -> tuple[np.ndarray, np.ndarray]:
    """The value so that more is more, and the end of its interval nearest to 0; that is under 0 if it spans 0."""
    if sign == 0:
        return np.abs(value), np.maximum(low, -high)
    return (value, low) if sign > 0 else (-value, -high)
