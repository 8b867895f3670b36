"""A clean and a corrupted prompt, and the number that is compared between them.

The normalised value of a patched run with metric m is

    (m - m_corrupted) / (m_clean - m_corrupted)        1: as in the clean run, 0: as in the corrupted one

in both directions. It is NaN where |m_clean - m_corrupted| is inside the noise: less than `NOISE_FLOOR` logits or
nats, or less than 20 times the model's own rounding, so that rounding moves no value by more than about 5 %. The
rounding is the deviation between a batch and single prompts that was measured when the model was loaded, and no less
than the spacing of its numbers, times the standard deviation of the clean logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch

from head_atlas.errors import HeadAtlasError, PromptError
from head_atlas.interventions.recording import RecordedRun, aligned, record
from head_atlas.measures.effects import as_prompts, token_id
from head_atlas.measures.metrics import Reading
from head_atlas.models import HeadModel
from head_atlas.prompts.prompt import Prompt

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

Direction = Literal["denoise", "noise"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
PairMetric = Literal["logit_difference", "logprob"]
PAIR_METRICS: tuple[PairMetric, ...] = get_args(PairMetric)

NOISE_FLOOR = 0.1
"""Logits or nats: a smaller difference between the two prompts is nothing to be shared out."""
ROUNDING = 20


@dataclass(frozen=True)
class PromptPair:
    """Two aligned prompts.

    Attributes:
        prompt: the clean one, with its targets, contrasts and read positions, and the corrupted one's tokens.
        strings: each token of the clean prompt.
        corrupted_strings: each token of the corrupted one.
        first_difference: the first position where they differ: up to there, both runs are the same.
        metric: "logit_difference" or "logprob", of the target at the read positions (their mean).
    """

    prompt: Prompt
    strings: tuple[str, ...]
    corrupted_strings: tuple[str, ...]
    first_difference: int
    metric: PairMetric


def prompt_pair(
    model: HeadModel,
    clean: str | Prompt,
    corrupted: str | Sequence[int] | None = None,
    metric: PairMetric | None = None,
    target: str | int | None = None,
    contrast: str | int | None = None,
) -> PromptPair:
    """Align two prompts.

    Args:
        model: whose tokens.
        clean: a text, or a `Prompt` with targets of its own.
        corrupted: a text or token ids, BOS first; None for that of a `Prompt`.
        metric: None for the logit difference where there is a contrast, else the log-probability.
        target: of a text: an id, or a text that is one token; the clean run's top token by default.
        contrast: likewise; the corrupted run's top token by default, if that is another one.

    Raises:
        PromptError: an empty prompt, prompts of different lengths or the same, a target that is not one token, or no
            contrast where the metric needs one.
        HeadAtlasError: no such metric.
    """
    if metric is not None and metric not in PAIR_METRICS:
        raise HeadAtlasError(f"metric must be one of {', '.join(PAIR_METRICS)}, found {str(metric)[:40]!r}")
    (one,) = as_prompts(model, clean, target, contrast)
    for token in (*one.targets, *one.contrasts):
        token_id(model, token)
    if corrupted is None:
        if not one.corrupted:
            raise PromptError("no corrupted prompt: give one of as many tokens")
        other = one.corrupted
    elif isinstance(corrupted, str):
        other = model.policy.encode(corrupted, max_length=model.max_length)
    else:
        other = tuple(int(i) for i in corrupted)
    first = aligned(model, one.tokens, other)
    contrasts = one.contrasts
    if not contrasts and isinstance(clean, str) and metric != "logprob":
        read = torch.tensor([one.positions], device=model.device)
        top = int(model.logits(model.rows([other]), read)[0, 0].argmax())
        contrasts = (top,) if top != one.targets[0] else ()
    if metric == "logit_difference" and not contrasts:
        raise PromptError(
            "the logit difference needs a contrast, and the corrupted prompt's top token is the target: give one"
        )
    ready = Prompt(
        one.text,
        one.tokens,
        one.positions,
        one.targets,
        contrasts,
        one.family,
        one.template,
        one.split,
        other,
        one.annotations,
    )
    return PromptPair(
        ready,
        tuple(model.strings(one.tokens)),
        tuple(model.strings(other)),
        first,
        metric or ("logit_difference" if contrasts else "logprob"),
    )


@dataclass(frozen=True)
class PairRuns:
    """Both runs of a pair, recorded in one batch.

    Attributes:
        clean: one row.
        corrupted: one row.
        read: positions, [1, read].
        clean_value: the metric on the clean run.
        corrupted_value: on the corrupted one.
        undefined: why normalised values are NaN; "" where they are not.
    """

    clean: RecordedRun
    corrupted: RecordedRun
    read: Tensor
    clean_value: float
    corrupted_value: float
    undefined: str


def run_pair(model: HeadModel, pair: PromptPair, *, mlps: bool = False, attention_inputs: bool = False) -> PairRuns:
    """Run both prompts and keep what patches need.

    Raises:
        UnsupportedModelError: what is asked for cannot be reached in this architecture.
    """
    one = pair.prompt
    tokens = model.rows([one.tokens, one.corrupted])
    read = torch.tensor([one.positions, one.positions], device=model.device)
    both = record(model, tokens, read, mlps=mlps, attention_inputs=attention_inputs)
    clean, corrupted = both.row(0), both.row(1)
    values = pair_values(pair, both.logits)
    return PairRuns(
        clean,
        corrupted,
        read[:1],
        float(values[0]),
        float(values[1]),
        undefined(model, clean.logits, float(values[0]), float(values[1])),
    )


def pair_values(pair: PromptPair, logits: Float[Tensor, "*row read d_vocab"]) -> np.ndarray:
    """The pair's metric on some runs, [*row], in logits or nats."""
    one = pair.prompt
    targets = torch.tensor(one.targets, device=logits.device)
    contrasts = torch.tensor(one.contrasts or (-1,) * len(one.targets), device=logits.device)
    reading = Reading.of(logits, targets, contrasts)
    values = reading.logit_difference if pair.metric == "logit_difference" else reading.target_log_prob
    return values.mean(-1).double().cpu().numpy()


def undefined(model: HeadModel, logits: Tensor, clean: float, corrupted: float, spread: float = 0.0) -> str:
    """Say why a normalised value means nothing here; "" where it does.

    Args:
        model: whose rounding counts.
        logits: of the clean run.
        clean: metric on the clean run.
        corrupted: on the corrupted one.
        spread: standard error of `corrupted`, where it is a mean over samples: twice that is noise as well.
    """
    (batched,) = (check.value for check in model.checks if check.name == "batched")
    rounding = max(batched, torch.finfo(model.dtype).eps) * float(logits.double().std())
    threshold = max(NOISE_FLOOR, ROUNDING * rounding, 2 * spread)
    difference = abs(clean - corrupted)
    if difference >= threshold:
        return ""
    return (
        f"clean {clean:.3g} and corrupted {corrupted:.3g} differ by {difference:.2g}, which is inside the noise "
        f"(threshold {threshold:.2g}): there is nothing to be shared out"
    )


def normalised(values: np.ndarray, clean: float, corrupted: float, why_not: str) -> np.ndarray:
    """(m - m_corrupted) / (m_clean - m_corrupted); all NaN where it is undefined."""
    if why_not:
        return np.full(values.shape, np.nan)
    return (values - corrupted) / (clean - corrupted)
