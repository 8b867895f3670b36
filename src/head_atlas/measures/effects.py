"""Effects: what removing a head changes in the model's prediction. Always ablated - clean.

At one position, with clean log-probabilities p, ablated ones q (natural logarithms), target y, contrast y':

    logprob            q[y] - p[y]                                   nats; negative: the head helped
    logit_difference   (ablated logit[y] - logit[y']) - (clean ...)  logits; negative: the head helped
    kl                 sum over v of exp(p[v]) (p[v] - q[v])         nats, >= 0 up to rounding
    flip               1 if the arg-max changed, else 0
    log2_rank          log2 rank of y ablated - clean, rank 1 + #{v: logit[v] > logit[y]}

A prompt's value is the mean over its positions. NaN where it is not defined (no contrast) or not measured (a
head that was not asked for). 16-bit logits are taken to float32 first; wider ones are left as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from head_atlas.errors import HeadAtlasError, PromptError
from head_atlas.heads import HeadId
from head_atlas.interventions import MeanReference, Mode, SweepBlock, sweep_rows
from head_atlas.models import HeadModel
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt

if TYPE_CHECKING:
    from jaxtyping import Float, Int
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


def effects(clean: Reading, ablated: Reading, metrics: Iterable[str]) -> dict[str, Float[Tensor, "*batch"]]:
    """Each metric, as the mean over read positions."""
    return {name: _FORMULAS[name](clean, ablated).mean(-1) for name in metrics}


def clean_values(clean: Reading, targets: Int[Tensor, "*batch read"]) -> dict[str, Float[Tensor, "*batch"]]:
    """How well the model does with all its heads, as the mean over read positions.

    `correct` is the fraction of positions where the target is the arg-max.
    """
    return {
        "logit_difference": clean.logit_difference.mean(-1),
        "logprob": clean.target_log_prob.mean(-1),
        "log2_rank": clean.log2_rank.mean(-1),
        "correct": (clean.top == targets).to(clean.logits.dtype).mean(-1),
    }


@dataclass(frozen=True)
class SweepPart:
    """The effects of some heads of one layer on some prompts.

    Attributes:
        prompts: indices of the prompts.
        layer: of the heads.
        heads: those removed, one at a time.
        effects: by metric, [prompt, head].
        clean: baseline values by name, [prompt]; the same in every part of these prompts.
        done: pairs of prompt and head finished.
        total: all pairs of the sweep.
    """

    prompts: tuple[int, ...]
    layer: int
    heads: tuple[int, ...]
    effects: dict[str, np.ndarray]
    clean: dict[str, np.ndarray]
    done: int
    total: int


@dataclass(frozen=True)
class Sweep:
    """Effects of removing every head alone: `sweep["logprob"]` has the axes (prompt, layer, head).

    Attributes:
        effects: by metric; NaN where there is no contrast or the head was not asked for.
        clean: baseline values by name (`logit_difference`, `logprob`, `log2_rank`, `correct`), axis (prompt,).
        prompts: what was measured, targets included.
        mode: what a removed head's output became.
    """

    effects: Mapping[str, NamedArray]
    clean: Mapping[str, NamedArray]
    prompts: tuple[Prompt, ...]
    mode: Mode

    def __getitem__(self, metric: str) -> NamedArray:
        if metric not in self.effects:
            raise KeyError(f"no metric {metric!r}: this sweep has {', '.join(self.effects)}")
        return self.effects[metric]

    def __iter__(self) -> Iterator[str]:
        return iter(self.effects)


def token_id(model: HeadModel, token: str | int) -> int:
    """Return a token given as its id, or as a text that is exactly one token.

    Raises:
        PromptError: the text is not one token (the message names its pieces), or there is no such id.
    """
    if isinstance(token, str):
        return model.policy.single(token)
    if not 0 <= int(token) < model.d_vocab:
        raise PromptError(f"token ids must lie in 0..{model.d_vocab - 1}, found {token}")
    return int(token)


def as_prompts(
    model: HeadModel,
    prompts: str | Prompt | Sequence[str | Prompt],
    target: str | int | None = None,
    contrast: str | int | None = None,
) -> list[Prompt]:
    """Make prompts of texts: read at the last token; without a target, the clean run's top token is it.

    Args:
        model: whose tokens.
        prompts: texts, and prompts that are ready.
        target: for the texts: an id, or a text that is one token, leading space included.
        contrast: likewise.

    Raises:
        PromptError: a text is empty or too long; a target is not one token; a target is given for a `Prompt`,
            which has its own; no prompt at all.
    """
    listed = [prompts] if isinstance(prompts, (str, Prompt)) else list(prompts)
    if not listed:
        raise PromptError("no prompt to measure on")
    if (target is not None or contrast is not None) and any(isinstance(p, Prompt) for p in listed):
        raise PromptError("a Prompt has its own targets: give target and contrast for texts only")
    wanted = None if target is None else token_id(model, target)
    against = () if contrast is None else (token_id(model, contrast),)
    return [p if isinstance(p, Prompt) else _from_text(model, p, wanted, against) for p in listed]


def _from_text(model: HeadModel, text: str, target: int | None, contrast: tuple[int, ...]) -> Prompt:
    tokens = model.tokens(text)
    last = len(tokens) - 1
    if target is None:
        read = torch.tensor([[last]], device=model.device)
        target = int(model.logits(tokens[None], read)[0, 0].argmax())
    return Prompt(text, tuple(tokens.tolist()), (last,), (target,), contrast)


def iter_sweep(
    model: HeadModel,
    prompts: str | Prompt | Sequence[str | Prompt],
    mode: Mode = "zero",
    *,
    reference: MeanReference | None = None,
    metrics: Iterable[str] | None = None,
    heads: Iterable[HeadId | str | tuple[int, int]] | None = None,
    target: str | int | None = None,
    contrast: str | int | None = None,
) -> Iterator[SweepPart]:
    """Sweep, part by part: stop iterating to cancel. See `sweep` for the arguments, which are checked at once."""
    names = metric_names(metrics)
    ready = as_prompts(model, prompts, target, contrast)
    for prompt in ready:
        for token in (*prompt.targets, *prompt.contrasts):
            token_id(model, token)
    return _parts(model, ready, names, sweep_rows(model, ready, mode, reference=reference, heads=heads))


def metric_names(metrics: Iterable[str] | None) -> tuple[str, ...]:
    """Return known metrics in the order of `METRICS`; None for all.

    Raises:
        HeadAtlasError: an unknown metric.
    """
    wanted = METRICS if metrics is None else tuple(metrics)
    for name in wanted:
        if name not in METRICS:
            raise HeadAtlasError(f"metric must be one of {', '.join(METRICS)}, found {str(name)[:40]!r}")
    return tuple(name for name in METRICS if name in wanted)


def _parts(
    model: HeadModel, prompts: list[Prompt], metrics: tuple[str, ...], blocks: Iterator[SweepBlock]
) -> Iterator[SweepPart]:
    pack: tuple[int, ...] | None = None
    for block in blocks:
        if block.prompts != pack:
            pack = block.prompts
            members = [prompts[index] for index in pack]
            targets = torch.tensor([p.targets for p in members], device=model.device)
            contrasts = torch.tensor([p.contrasts or (-1,) * len(p.positions) for p in members])
            contrasts = contrasts.to(model.device)
            clean = Reading.of(block.clean, targets, contrasts)
            baseline = {name: _array(value) for name, value in clean_values(clean, targets).items()}
        found = effects(clean, Reading.of(block.ablated, targets, contrasts), metrics)
        yield SweepPart(
            prompts=block.prompts,
            layer=block.layer,
            heads=block.heads,
            effects={name: _array(value.T) for name, value in found.items()},
            clean=baseline,
            done=block.done,
            total=block.total,
        )


def _array(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()


def sweep(
    model: HeadModel,
    prompts: str | Prompt | Sequence[str | Prompt],
    mode: Mode = "zero",
    *,
    reference: MeanReference | None = None,
    metrics: Iterable[str] | None = None,
    heads: Iterable[HeadId | str | tuple[int, int]] | None = None,
    target: str | int | None = None,
    contrast: str | int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Sweep:
    """Remove every head alone, exactly, and measure what changes at each prompt's positions.

    Args:
        model: whose heads.
        prompts: texts (read at their last token) or prompts with positions and targets of their own.
        mode: what a removed head's output becomes: "zero", or its "mean" over reference prompts.
        reference: those means.
        metrics: of `METRICS`; None for all.
        heads: None for all.
        target: for texts, the token whose prediction is measured; the clean run's top token by default.
        contrast: for texts, the token it is held against in `logit_difference`.
        progress: is told pairs of prompt and head done, and all pairs.

    Raises:
        PromptError: a prompt or a token that cannot be measured.
        HeadError: a head that the model does not have.
        MissingReferenceError: mean mode without a fitting reference.
        HeadAtlasError: no such mode or metric.
    """
    names = metric_names(metrics)
    ready = as_prompts(model, prompts, target, contrast)
    shape = (len(ready), model.n_layers, model.n_heads)
    wide = np.float64 if model.dtype == torch.float64 else np.float32
    found = {name: np.full(shape, np.nan, wide) for name in names}
    clean = {name: np.full(len(ready), np.nan, wide) for name in CLEAN}
    for part in iter_sweep(model, ready, mode, reference=reference, metrics=names, heads=heads):
        rows = np.array(part.prompts)
        for name in names:
            found[name][rows[:, None], part.layer, list(part.heads)] = part.effects[name]
        for name in CLEAN:
            clean[name][rows] = part.clean[name]
        if progress is not None:
            progress(part.done, part.total)
    return Sweep(
        effects={name: NamedArray(values, ("prompt", "layer", "head")) for name, values in found.items()},
        clean={name: NamedArray(values, ("prompt",)) for name, values in clean.items()},
        prompts=tuple(ready),
        mode=mode,
    )
