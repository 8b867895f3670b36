"""Path patching on one pair of prompts: what goes from one head to another and not through a third.

The four passes are those of `interventions.path_patching` (Wang et al. 2022). direction "noise": the clean prompt
runs, and what a receiver hears of a sender is that of the corrupted run; "denoise" the other way around. A path from a
head to a receiver of its own or a lower layer does not exist: its effect is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from head_atlas.errors import HeadAtlasError, HeadError
from head_atlas.heads import HeadId
from head_atlas.interventions.packing import Budget
from head_atlas.interventions.path_patching import LOGITS, AttentionInput, Receiver, Receivers, Senders, path_rows
from head_atlas.live.prompt_pair import (
    DIRECTIONS,
    Direction,
    PairMetric,
    PairRuns,
    PromptPair,
    normalised,
    pair_values,
    prompt_pair,
    run_pair,
)
from head_atlas.models import HeadModel
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt

HeadName = HeadId | str | tuple[int, int]
ReceiverName = Receiver | tuple[HeadName, AttentionInput]


@dataclass(frozen=True)
class PathPatching:
    """What the paths between heads carry.

    Attributes:
        effects: change of the metric, patched - unpatched, axes (sender, receiver), with labels such as "L0H4" and
            "L1H2.k"; what was joined is one entry. NaN in parts that are not there yet.
        values: the same runs, normalised: 1: as in the clean run, 0: as in the corrupted one. NaN where undefined.
        pair: the prompts, target, contrast and metric.
        direction: "noise" or "denoise".
        clean: the metric on the clean run.
        corrupted: on the corrupted one.
        undefined: why normalised values are NaN; "" where they are not.
        done: pairs finished.
        total: all of them.
    """

    effects: NamedArray
    values: NamedArray
    pair: PromptPair
    direction: Direction
    clean: float
    corrupted: float
    undefined: str
    done: int
    total: int


def path_patch(
    model: HeadModel,
    clean: str | Prompt,
    corrupted: str | Sequence[int] | None = None,
    senders: Iterable[HeadName] | None = None,
    receivers: Iterable[ReceiverName] | Literal["logits"] = "logits",
    direction: Direction = "noise",
    metric: PairMetric | None = None,
    *,
    join_senders: bool = False,
    join_receivers: bool = True,
    target: str | int | None = None,
    contrast: str | int | None = None,
    progress: Callable[[int, int], None] | None = None,
    budget: Budget | None = None,
) -> PathPatching:
    """Patch the paths from senders to receivers.

    Args:
        model: to run.
        clean: a text, or a `Prompt` with targets of its own.
        corrupted: a text or token ids of equal length; None for that of a `Prompt`.
        senders: heads; None for all below the highest receiver (all heads, where the logits receive).
        receivers: pairs of a head and "q", "k" or "v", for instance `("1.2", "k")`; or "logits".
        direction: "noise" patches corrupted into clean, "denoise" clean into corrupted.
        metric: "logit_difference" or "logprob"; the former by default where there is a contrast.
        join_senders: patch all senders together, in place of one at a time.
        join_receivers: patch all receivers together, as Wang et al. do, in place of one at a time.
        target: of a text; the clean run's top token by default.
        contrast: of a text; the corrupted run's top token by default.
        progress: is told pairs of sender and receiver done, and all pairs.
        budget: how much runs at once; None for what suits the model's device.

    Raises:
        PromptError: prompts that are not aligned, or a target that is not one token.
        HeadError: a head that the model does not have, or no sender or receiver.
        HeadAtlasError: no such direction, metric or input of a head.
        UnsupportedModelError: q, k and v cannot be reached in this architecture; the logits can.
    """
    last: PathPatching | None = None
    for last in iter_path_patch(
        model,
        clean,
        corrupted,
        senders,
        receivers,
        direction,
        metric,
        join_senders=join_senders,
        join_receivers=join_receivers,
        target=target,
        contrast=contrast,
        budget=budget,
    ):
        if progress is not None:
            progress(last.done, last.total)
    assert last is not None  # the generator yields at least once
    return last


def iter_path_patch(
    model: HeadModel,
    clean: str | Prompt,
    corrupted: str | Sequence[int] | None = None,
    senders: Iterable[HeadName] | None = None,
    receivers: Iterable[ReceiverName] | Literal["logits"] = "logits",
    direction: Direction = "noise",
    metric: PairMetric | None = None,
    *,
    join_senders: bool = False,
    join_receivers: bool = True,
    target: str | int | None = None,
    contrast: str | int | None = None,
    budget: Budget | None = None,
) -> Iterator[PathPatching]:
    """Patch, part by part: each result has all that is done. Stop iterating to cancel. Arguments as in `path_patch`."""
    if direction not in DIRECTIONS:
        raise HeadAtlasError(f"direction must be one of {', '.join(DIRECTIONS)}, found {str(direction)[:40]!r}")
    inputs = _receivers(model, receivers, join_receivers)
    heads = _senders(model, senders, inputs, join_senders)
    pair = prompt_pair(model, clean, corrupted, metric, target, contrast)
    runs = run_pair(model, pair)
    base, source = (runs.corrupted, runs.clean) if direction == "denoise" else (runs.clean, runs.corrupted)
    blocks = path_rows(model, base, source, heads, inputs, runs.read, budget=budget)
    found = np.full((len(heads), len(inputs)), np.nan)
    coords = {
        "sender": [" + ".join(head.label for head in group) for group in heads],
        "receiver": [_label(group) for group in inputs],
    }

    def parts() -> Iterator[PathPatching]:
        for block in blocks:
            found[list(block.senders), block.receivers] = pair_values(pair, block.logits[:, 0])
            yield _result(found, coords, pair, runs, direction, block.done, block.total)

    return parts()


def _result(
    found: np.ndarray,
    coords: dict[str, list[str]],
    pair: PromptPair,
    runs: PairRuns,
    direction: Direction,
    done: int,
    total: int,
) -> PathPatching:
    unpatched = runs.corrupted_value if direction == "denoise" else runs.clean_value
    dims = ("sender", "receiver")
    return PathPatching(
        effects=NamedArray(found - unpatched, dims, coords),
        values=NamedArray(normalised(found, runs.clean_value, runs.corrupted_value, runs.undefined), dims, coords),
        pair=pair,
        direction=direction,
        clean=runs.clean_value,
        corrupted=runs.corrupted_value,
        undefined=runs.undefined,
        done=done,
        total=total,
    )


def _receivers(model: HeadModel, names: Iterable[ReceiverName] | Literal["logits"], join: bool) -> list[Receivers]:
    if isinstance(names, str):
        if names != "logits":
            raise HeadError(f"receivers are pairs such as ('1.2', 'k'), or 'logits'; found {names[:40]!r}")
        return [LOGITS]
    read = []
    for name in names:
        head, through = (name.head, name.through) if isinstance(name, Receiver) else name
        (one,) = model.heads([head])
        read.append(Receiver(one, through))
    unique = tuple(dict.fromkeys(read))
    if not unique:
        raise HeadError("path patching needs at least one receiver")
    return [unique] if join else [(one,) for one in unique]


def _senders(
    model: HeadModel, names: Iterable[HeadName] | None, receivers: list[Receivers], join: bool
) -> list[Senders]:
    if names is None:
        reached = [receiver.head.layer for group in receivers for receiver in group]
        top = max(reached) if reached else model.n_layers
        heads = tuple(HeadId(layer, head) for layer in range(top) for head in range(model.n_heads))
    else:
        heads = model.heads(names)
    if not heads:
        raise HeadError("path patching needs at least one sender: no head lies below the receivers")
    return [heads] if join else [(head,) for head in heads]


def _label(group: Receivers) -> str:
    return " + ".join(f"{receiver.head.label}.{receiver.through}" for receiver in group) or "logits"
