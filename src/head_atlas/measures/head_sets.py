"""What a model still does without sets of heads: the value F of a metric itself, not its change.

    F = logit[y] - logit[y'], or log p(y),        the mean over a prompt's read positions, and over draws

F() is the clean value, and effect(S) = F(S) - F(): ablated - clean. Both metrics are differences of means, so means
over draws and prompts may be taken first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch

from head_atlas.errors import HeadAtlasError, PromptError
from head_atlas.interventions import Budget, Mode, Reference, set_rows
from head_atlas.interventions.head_sets import HeadSet
from head_atlas.measures.metrics import Reading
from head_atlas.models import HeadModel
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt

ValueMetric = Literal["logit_difference", "logprob"]
VALUE_METRICS: tuple[ValueMetric, ...] = get_args(ValueMetric)


@dataclass(frozen=True)
class SetValues:
    """F without each set of heads.

    Attributes:
        values: axes (set, prompt), in logits or nats; NaN in parts that are not there yet.
        metric: that was read.
        done: triples of prompt, set and draw finished.
        total: all of them.
    """

    values: NamedArray
    metric: ValueMetric
    done: int
    total: int


def value_metric(prompts: Sequence[Prompt], metric: str | None) -> ValueMetric:
    """Return the metric asked for; None for the logit difference where every prompt has a contrast, else logprob.

    Raises:
        HeadAtlasError: no such metric.
        PromptError: the logit difference of a prompt without a contrast.
    """
    if metric is None:
        return "logit_difference" if all(prompt.contrasts for prompt in prompts) else "logprob"
    for known in VALUE_METRICS:
        if metric == known:
            if metric == "logit_difference" and not all(prompt.contrasts for prompt in prompts):
                raise PromptError("a logit difference needs a contrast in every prompt: give one, or choose logprob")
            return known
    raise HeadAtlasError(f"metric must be one of {', '.join(VALUE_METRICS)}, found {str(metric)[:40]!r}")


def iter_set_values(
    model: HeadModel,
    prompts: Sequence[Prompt],
    sets: Sequence[HeadSet],
    mode: Mode = "zero",
    *,
    reference: Reference | None = None,
    metric: str | None = None,
    base: HeadSet = (),
    budget: Budget | None = None,
) -> Iterator[SetValues]:
    """Measure F without each set, part by part: stop iterating to cancel. Arguments as in `set_values`."""
    name = value_metric(prompts, metric)
    blocks = set_rows(model, prompts, sets, mode, reference=reference, base=base, budget=budget)

    def parts() -> Iterator[SetValues]:
        found = np.full((len(sets), len(prompts)), np.nan)
        for block in blocks:
            members = [prompts[index] for index in block.prompts]
            targets = torch.tensor([p.targets for p in members], device=model.device)
            contrasts = torch.tensor([p.contrasts or (-1,) * len(p.positions) for p in members], device=model.device)
            reading = Reading.of(block.logits, targets, contrasts)
            value = reading.logit_difference if name == "logit_difference" else reading.target_log_prob
            place = np.ix_(block.sets, block.prompts)
            before = found[place] if block.draw else 0.0
            found[place] = before + value.mean(-1).double().cpu().numpy() / block.n_draws
            yield SetValues(NamedArray(found, ("set", "prompt")), name, block.done, block.total)

    return parts()


def set_values(
    model: HeadModel,
    prompts: Sequence[Prompt],
    sets: Sequence[HeadSet],
    mode: Mode = "zero",
    *,
    reference: Reference | None = None,
    metric: str | None = None,
    base: HeadSet = (),
    progress: Callable[[int, int], None] | None = None,
    budget: Budget | None = None,
) -> SetValues:
    """Measure F without each set of heads.

    Args:
        model: whose heads.
        prompts: with targets of their own.
        sets: each removed as a whole; the empty one gives the clean value.
        mode: "zero", "mean" or "resample".
        reference: what the mode needs.
        metric: of `VALUE_METRICS`; see `value_metric` for None.
        base: a set that the others resemble: cheaper then, and no other result.
        progress: is told how much is done, and all of it; what it raises ends the run.
        budget: how much runs at once.

    Raises:
        HeadAtlasError: as `set_rows`, and for a metric that cannot be read.
    """
    last: SetValues | None = None
    for last in iter_set_values(
        model, prompts, sets, mode, reference=reference, metric=metric, base=base, budget=budget
    ):
        if progress is not None:
            progress(last.done, last.total)
    assert last is not None  # there is a set and a prompt
    return last
