"""What removing a head changes in a prediction: the formulas. Always ablated - clean.

At one position, with clean log-probabilities p, ablated ones q (natural logarithms), target y, contrast y':

    logprob            q[y] - p[y]                                   nats; negative: the head helped
    logit_difference   (ablated logit[y] - logit[y']) - (clean ...)  logits; negative: the head helped
    kl                 sum over v of exp(p[v]) (p[v] - q[v])         nats, >= 0 up to rounding
    flip               1 if the arg-max changed, else 0
    log2_rank          log2 rank of y ablated - clean, rank 1 + #{v: logit[v] > logit[y]}

A prompt's value is the mean over its positions, or over those alone that the clean run gets right (`right`). NaN
where a prompt has no contrast. 16-bit logits are taken to float32 first; wider ones are left as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

METRICS = ("logit_difference", "logprob", "kl", "flip", "log2_rank")
CLEAN = ("logit_difference", "logprob", "log2_rank", "correct")


@dataclass(frozen=True)
class Reading:
    """What the metrics need of some logits, computed once.

    Attributes:
        logits: [..., read, d_vocab], float32 or wider.
        log_probs: their log-softmax.
        target_logit: logit of the target, [..., read].
        target_log_prob: its log-probability, nats.
        contrast_logit: logit of the contrast; NaN without one.
        top: id of the arg-max.
    """

    logits: Float[Tensor, "*batch read d_vocab"]
    log_probs: Float[Tensor, "*batch read d_vocab"]
    target_logit: Float[Tensor, "*batch read"]
    target_log_prob: Float[Tensor, "*batch read"]
    contrast_logit: Float[Tensor, "*batch read"]
    top: Int[Tensor, "*batch read"]

    @classmethod
    def of(
        cls,
        logits: Float[Tensor, "*batch read d_vocab"],
        targets: Int[Tensor, "*batch read"],
        contrasts: Int[Tensor, "*batch read"],
    ) -> Reading:
        """Read logits.

        Args:
            logits: of any float type.
            targets: ids, of a shape that broadcasts to the logits'.
            contrasts: likewise; -1 where there is none.
        """
        if logits.dtype in (torch.float16, torch.bfloat16):
            logits = logits.float()
        log_probs = logits.log_softmax(-1)
        shape = logits.shape[:-1]
        targets, contrasts = targets.expand(shape), contrasts.expand(shape)
        contrast = logits.gather(-1, contrasts.clamp(min=0)[..., None])[..., 0]
        return cls(
            logits=logits,
            log_probs=log_probs,
            target_logit=logits.gather(-1, targets[..., None])[..., 0],
            target_log_prob=log_probs.gather(-1, targets[..., None])[..., 0],
            contrast_logit=torch.where(contrasts >= 0, contrast, torch.nan),
            top=logits.argmax(-1),
        )

    @property
    def logit_difference(self) -> Float[Tensor, "*batch read"]:
        """Logit of the target minus that of the contrast."""
        return self.target_logit - self.contrast_logit

    @property
    def log2_rank(self) -> Float[Tensor, "*batch read"]:
        """log2 of the target's rank: 0 is first. Ties rank it ahead."""
        above = (self.logits > self.target_logit[..., None]).sum(-1)
        return torch.log2(above.to(self.logits.dtype) + 1)


def logit_difference(clean: Reading, ablated: Reading) -> Float[Tensor, "*batch read"]:
    """Change of target logit - contrast logit; negative where the head helped. NaN without a contrast."""
    return ablated.logit_difference - clean.logit_difference


def logprob(clean: Reading, ablated: Reading) -> Float[Tensor, "*batch read"]:
    """Change of the target's log-probability in nats; negative where the head helped."""
    return ablated.target_log_prob - clean.target_log_prob


def kl(clean: Reading, ablated: Reading) -> Float[Tensor, "*batch read"]:
    """KL divergence from the clean to the ablated distribution in nats: unsigned, any token counts."""
    return (clean.log_probs.exp() * (clean.log_probs - ablated.log_probs)).sum(-1)


def flip(clean: Reading, ablated: Reading) -> Float[Tensor, "*batch read"]:
    """1 where the most likely token changed, else 0."""
    return (ablated.top != clean.top).to(clean.logits.dtype)


def log2_rank(clean: Reading, ablated: Reading) -> Float[Tensor, "*batch read"]:
    """Change of log2 of the target's rank; positive where the head helped."""
    return ablated.log2_rank - clean.log2_rank


_FORMULAS: Mapping[str, Callable[[Reading, Reading], torch.Tensor]] = {
    "logit_difference": logit_difference,
    "logprob": logprob,
    "kl": kl,
    "flip": flip,
    "log2_rank": log2_rank,
}


def by_position(clean: Reading, ablated: Reading, metrics: Iterable[str]) -> dict[str, Float[Tensor, "*batch read"]]:
    """Each metric at every read position."""
    return {name: _FORMULAS[name](clean, ablated) for name in metrics}


def effects(clean: Reading, ablated: Reading, metrics: Iterable[str]) -> dict[str, Float[Tensor, "*batch"]]:
    """Each metric, as the mean over read positions."""
    return {name: values.mean(-1) for name, values in by_position(clean, ablated, metrics).items()}


def mean_where(values: Float[Tensor, "*batch read"], chosen: Bool[Tensor, "*batch read"]) -> Float[Tensor, "*batch"]:
    """Mean over the chosen positions; NaN without one."""
    return torch.where(chosen, values, 0).sum(-1) / chosen.sum(-1)


def right(
    clean: Reading, targets: Int[Tensor, "*batch read"], positions: Int[Tensor, "*batch read"]
) -> Bool[Tensor, "*batch read"]:
    """Where the clean run is right: the arg-max is the target.

    A position that is read several times has several right answers, a sample of all there are. It counts as right if
    these lead over the wrong ones, in the mean of the logit difference; without wrong ones, if the arg-max is one of
    them.
    """
    same = positions[..., :, None] == positions[..., None, :]
    among = (same & (clean.top[..., :, None] == targets[..., None, :])).any(-1)
    lead = mean_where(clean.logit_difference[..., None, :], same)
    return torch.where((same.sum(-1) > 1) & ~lead.isnan(), lead > 0, among)


def clean_values(clean: Reading, correct: Bool[Tensor, "*batch read"]) -> dict[str, Float[Tensor, "*batch"]]:
    """How well the model does with all its heads, as the mean over read positions.

    `correct` is the fraction of positions where it is `right`.
    """
    return {
        "logit_difference": clean.logit_difference.mean(-1),
        "logprob": clean.target_log_prob.mean(-1),
        "log2_rank": clean.log2_rank.mean(-1),
        "correct": correct.to(clean.logits.dtype).mean(-1),
    }
