"""Effects of heads: every head removed alone, measured by the metrics of `measures.metrics`.

`sweep` gives the whole, `iter_sweep` the same part by part as it is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from head_atlas.catalogue.effects import CORRECT
from head_atlas.errors import HeadAtlasError, PromptError
from head_atlas.heads import HeadId
from head_atlas.interventions import Budget, Mode, Reference, SweepBlock, sweep_rows
from head_atlas.measures.metrics import CLEAN as CLEAN
from head_atlas.measures.metrics import METRICS as METRICS
from head_atlas.measures.metrics import Reading, by_position, clean_values, mean_where, right
from head_atlas.models import HeadModel
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt

if TYPE_CHECKING:
    from torch import Tensor


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
    reference: Reference | None = None,
    metrics: Iterable[str] | None = None,
    heads: Iterable[HeadId | str | tuple[int, int]] | None = None,
    target: str | int | None = None,
    contrast: str | int | None = None,
    budget: Budget | None = None,
    correct: bool = False,
) -> Iterator[SweepPart]:
    """Sweep, part by part: stop iterating to cancel. See `sweep` for the arguments, which are checked at once."""
    names = metric_names(metrics)
    ready = as_prompts(model, prompts, target, contrast)
    for prompt in ready:
        for token in (*prompt.targets, *prompt.contrasts):
            token_id(model, token)
    blocks = sweep_rows(model, ready, mode, reference=reference, heads=heads, budget=budget)
    return _parts(model, ready, names, blocks, correct)


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
    model: HeadModel, prompts: list[Prompt], metrics: tuple[str, ...], blocks: Iterator[SweepBlock], correct: bool
) -> Iterator[SweepPart]:
    pack: tuple[int, ...] | None = None
    drawn: dict[tuple[int, tuple[int, ...]], dict[str, Tensor]] = {}
    for block in blocks:
        if block.prompts != pack:
            pack = block.prompts
            members = [prompts[index] for index in pack]
            targets = torch.tensor([p.targets for p in members], device=model.device)
            contrasts = torch.tensor([p.contrasts or (-1,) * len(p.positions) for p in members])
            contrasts = contrasts.to(model.device)
            clean = Reading.of(block.clean, targets, contrasts)
            positions = torch.tensor([p.positions for p in members], device=model.device)
            is_right = right(clean, targets, positions)
            baseline = {name: _array(value) for name, value in clean_values(clean, is_right).items()}
        values = by_position(clean, Reading.of(block.ablated, targets, contrasts), metrics)
        found = {name: value.mean(-1) for name, value in values.items()}
        if correct:
            found |= {f"{name}{CORRECT}": mean_where(value, is_right) for name, value in values.items()}
        if block.n_draws > 1:
            key = (block.layer, block.heads)
            before = drawn.pop(key, {}) if block.draw else {}
            found = {name: before.get(name, 0.0) + value / block.n_draws for name, value in found.items()}
            if block.draw < block.n_draws - 1:
                drawn[key] = found
                continue
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
    reference: Reference | None = None,
    metrics: Iterable[str] | None = None,
    heads: Iterable[HeadId | str | tuple[int, int]] | None = None,
    target: str | int | None = None,
    contrast: str | int | None = None,
    progress: Callable[[int, int], None] | None = None,
    budget: Budget | None = None,
    correct: bool = False,
) -> Sweep:
    """Remove every head alone, exactly, and measure what changes at each prompt's positions.

    Args:
        model: whose heads.
        prompts: texts (read at their last token) or prompts with positions and targets of their own.
        mode: what a removed head's output becomes: "zero"; its "mean" over reference prompts; "resample", its
            output on other prompts (effects are means over these); "pattern_freeze", its values mixed by the
            pattern of the prompt's corrupted version.
        reference: a `MeanReference`, or a `ResampleReference`, or CORRUPTED for each prompt's corrupted version.
        metrics: of `METRICS`; None for all.
        heads: None for all.
        target: for texts, the token whose prediction is measured; the clean run's top token by default.
        contrast: for texts, the token it is held against in `logit_difference`.
        progress: is told pairs of prompt and head done, and all pairs.
        budget: how much runs at once; None for what suits the model's device.
        correct: whether to give each metric also over the positions alone that the clean run gets right
            (`metrics.right`), as "<metric>_correct"; NaN on prompts without one.

    Raises:
        PromptError: a prompt or a token that cannot be measured.
        HeadError: a head that the model does not have.
        MissingReferenceError: a mode without a fitting reference.
        HeadAtlasError: no such mode or metric.
    """
    names = metric_names(metrics)
    ready = as_prompts(model, prompts, target, contrast)
    shape = (len(ready), model.n_layers, model.n_heads)
    wide = np.float64 if model.dtype == torch.float64 else np.float32
    every = names + tuple(f"{name}{CORRECT}" for name in names if correct)
    found = {name: np.full(shape, np.nan, wide) for name in every}
    clean = {name: np.full(len(ready), np.nan, wide) for name in CLEAN}
    parts = iter_sweep(
        model, ready, mode, reference=reference, metrics=names, heads=heads, budget=budget, correct=correct
    )
    for part in parts:
        rows = np.array(part.prompts)
        for name in every:
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
