"""What each head does, by example: prompts it attends most on and needs most, and the tokens it looks from and at.

The model runs twice. The first run sums up every pattern and keeps one number per head and prompt, its largest
weight; then the exemplars are chosen, and the second run keeps a few keys per row of the chosen patterns. Memory
grows by that one number with the number of prompts, and with the number of different tokens.

What is kept, and how it is stratified, follows HeadVis (Luger et al. 2026), so that it can be shown there too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from head_atlas.errors import HeadAtlasError, PromptError
from head_atlas.measures.attention_totals import AttentionTotals, distance_labels, uniform_totals
from head_atlas.measures.patterns import packs as packs_of_prompts
from head_atlas.measures.running_scores import BLOCK_QUERIES
from head_atlas.measures.sparse_patterns import SparsePattern, SparsePatternReader, on_grid
from head_atlas.measures.stratified import Choice, Strata, canonical_order, choose
from head_atlas.measures.token_totals import TokenTotals
from head_atlas.models import HeadModel
from head_atlas.named_array import NamedArray
from head_atlas.prompts.prompt import Prompt

HISTOGRAM_EDGES = tuple(i / 20 for i in range(21))
"""Of the largest attention: a value on an edge counts in the bin above it, 1 in the last."""
LONGEST_PROMPT = 2**16
"""Keys are stored as uint16."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Exemplars:
    """Exemplars of every head and what its attention comes to, over one set of prompts.

    Ragged arrays are flat, with offsets: head h (layer x n_heads + head) has the exemplars
    `head_offset[h] : head_offset[h + 1]`, exemplar e the rows `row_offset[e] : row_offset[e + 1]`, one per query of
    its prompt, and the entries `entry_offset[e] : entry_offset[e + 1]`, `row_count` of them for each row in turn.

    Attributes:
        largest: [layer, head, prompt] largest attention; NaN for prompts of one token.
        mean_largest: [layer, head] its mean over prompts.
        histogram: [layer, head, largest_bin] prompts by their largest attention, between `HISTOGRAM_EDGES`.
        band_low: [layer, head, quantile_band] smallest value in each band of equal frequency; NaN for a band without
            prompts.
        band_high: [layer, head, quantile_band] its largest.
        distance: [layer, head, distance_bin] mean attention to keys that lie |query - key| back.
        distance_uniform: [layer, distance_bin] the same of a head that attends evenly.
        token_id: [side, order, layer, head, token_rank], -1 where there are fewer.
        token_share: likewise; share of the head's attention that this token sends or receives.
        token_lift: likewise; that share over the share of a head that attends evenly.
        token_count: likewise; how often the token occurs.
        head_offset: [head_edge].
        prompt_index: [exemplar] its prompt.
        band: [exemplar] 1 to n_bands, the highest; 0 (`HARMED`) for those chosen by their effect.
        rank: [exemplar] from 0 within the band.
        value: [exemplar] the largest attention.
        effect: [exemplar] ablated - clean; NaN where there is none.
        row_offset: [exemplar_edge].
        row_count: [exemplar_row] keys kept of each query.
        row_dropped: [exemplar_row] attention to the keys that are not kept.
        entry_offset: [exemplar_edge].
        key: [exemplar_entry].
        weight: [exemplar_entry] attention, rounded to `GRID`.
        n_prompts: of two tokens or more.
    """

    largest: NamedArray
    mean_largest: NamedArray
    histogram: NamedArray
    band_low: NamedArray
    band_high: NamedArray
    distance: NamedArray
    distance_uniform: NamedArray
    token_id: NamedArray
    token_share: NamedArray
    token_lift: NamedArray
    token_count: NamedArray
    head_offset: NamedArray
    prompt_index: NamedArray
    band: NamedArray
    rank: NamedArray
    value: NamedArray
    effect: NamedArray
    row_offset: NamedArray
    row_count: NamedArray
    row_dropped: NamedArray
    entry_offset: NamedArray
    key: NamedArray
    weight: NamedArray
    n_prompts: int

    def arrays(self) -> dict[str, NamedArray]:
        """All arrays by name, for storage."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: array for name, array in found.items() if isinstance(array, NamedArray)}


def exemplars(
    model: HeadModel,
    prompts: Sequence[Prompt],
    *,
    effects: np.ndarray | None = None,
    strata: Strata | None = None,
    seed: int = 0,
    windows: Sequence[int | None] | None = None,
    progress: Progress | None = None,
) -> Exemplars:
    """Find the exemplars of every head.

    Args:
        model: whose heads.
        prompts: of any lengths. Running text and constructed families are best kept apart: a head that follows
            repeats, say, has all of its top among the prompts made of repeats.
        effects: [layer, head, prompt] ablated - clean of the log-probability or the logit difference, NaN where
            there is none; None for no exemplars of harm.
        strata: how many of each kind; None for the defaults.
        seed: of the draws.
        windows: per layer, keys that a query sees; None (a layer's or all) for all keys before it.
        progress: is told prompts done and all prompts, each counted once for each run.

    Raises:
        PromptError: no prompt of two tokens or more, one that is too long, or unknown ids.
        HeadAtlasError: effects of another shape.
    """
    shape = (model.n_layers, model.n_heads, len(prompts))
    if effects is not None and np.shape(effects) != shape:
        raise HeadAtlasError(f"expected effects of {shape} layers, heads and prompts, found {np.shape(effects)}")
    if not any(len(p) > 1 for p in prompts):
        raise PromptError("exemplars need at least one prompt of two tokens or more")
    longest = max(len(p) for p in prompts)
    if longest > LONGEST_PROMPT:
        raise PromptError(f"a prompt is {longest} tokens long; exemplars have at most {LONGEST_PROMPT}")
    strata = strata or Strata()
    done = 0

    def count(n: int) -> None:
        nonlocal done
        done += n
        if progress is not None:
            progress(done, 2 * len(prompts))

    totals, largest, distance, uniform = _first_run(model, prompts, windows or [None] * model.n_layers, count)
    order = canonical_order(prompts)
    choices = [
        choose(largest[at], None if effects is None else np.asarray(effects)[at], order, strata, [seed, *at])
        for at in np.ndindex(shape[:2])
    ]
    count(len(prompts) - len({int(i) for choice in choices for i in choice.prompt}))
    patterns = _second_run(model, prompts, choices, count)
    of_layer = ("layer", "head")
    bins = distance_labels()
    real = np.isfinite(largest)
    histogram = np.stack(
        [np.histogram(row[ok], HISTOGRAM_EDGES)[0] for row, ok in zip(*_flat(largest, real), strict=True)]
    )
    stacked = {
        name: np.stack([getattr(choice, name) for choice in choices]).reshape(*shape[:2], -1).astype(np.float32)
        for name in ("band_low", "band_high")
    }
    coords = {"quantile_band": [str(band) for band in range(1, strata.n_bands + 1)]}
    return Exemplars(
        largest=NamedArray(largest, (*of_layer, "prompt")),
        mean_largest=NamedArray(np.asarray(np.nanmean(largest, -1, dtype=np.float64), dtype=np.float32), of_layer),
        histogram=NamedArray(histogram.reshape(*shape[:2], -1).astype(np.int32), (*of_layer, "largest_bin")),
        band_low=NamedArray(stacked["band_low"], (*of_layer, "quantile_band"), coords),
        band_high=NamedArray(stacked["band_high"], (*of_layer, "quantile_band"), coords),
        distance=NamedArray(distance, (*of_layer, "distance_bin"), {"distance_bin": bins}),
        distance_uniform=NamedArray(uniform, ("layer", "distance_bin"), {"distance_bin": bins}),
        **totals.top(),
        **_flat_choices(choices, largest, effects),
        **_flat_patterns(patterns),
        n_prompts=int(real[0, 0].sum()),
    )


def _flat(*arrays: np.ndarray) -> list[np.ndarray]:
    """Heads of all layers in one row."""
    return [array.reshape(-1, array.shape[-1]) for array in arrays]


def _first_run(
    model: HeadModel, prompts: Sequence[Prompt], windows: Sequence[int | None], count: Callable[[int], None]
) -> tuple[TokenTotals, np.ndarray, np.ndarray, np.ndarray]:
    """Sum up all prompts: by token, the largest weight per prompt, by distance, and that of an even head."""
    n_bins = len(distance_labels())
    largest = np.full((model.n_layers, model.n_heads, len(prompts)), np.nan, dtype=np.float32)
    distance = np.zeros((model.n_layers, model.n_heads, n_bins))
    uniform = np.zeros((model.n_layers, n_bins))
    tokens_seen = TokenTotals(prompts, model.n_layers, model.n_heads)
    n_prompts = 0
    for members in _packs(model, prompts, range(len(prompts))):
        rows = model.rows([prompts[i].tokens for i in members])
        n_pos = rows.shape[1]
        if n_pos > 1:
            n_prompts += len(members)
            even = {window: uniform_totals(n_pos, window) for window in dict.fromkeys(windows)}
            run = AttentionTotals(n_pos)
            with model.intervening(run):
                model.attend(rows)
            ids = rows.cpu().numpy()
            for layer in range(model.n_layers):
                largest[layer][:, members] = on_grid(run.largest[layer].T.cpu().numpy())
                # means per prompt first, over its queries
                distance[layer] += run.by_distance[layer].sum(0).cpu().numpy() / (n_pos - 1)
                received, sent, by_distance = even[windows[layer]]
                uniform[layer] += by_distance * len(members) / (n_pos - 1)
                tokens_seen.add(layer, ids, "query", run.sent[layer].cpu().numpy(), sent)
                tokens_seen.add(layer, ids, "key", run.received[layer].cpu().numpy(), received)
            tokens_seen.count(ids)
        count(len(members))
    reached = (uniform > 0).any(0)
    mean = [np.where(reached, total / n_prompts, np.nan).astype(np.float32) for total in (distance, uniform)]
    return tokens_seen, largest, mean[0], mean[1]


def _second_run(
    model: HeadModel, prompts: Sequence[Prompt], choices: Sequence[Choice], count: Callable[[int], None]
) -> list[SparsePattern]:
    """The sparse pattern of every exemplar, head by head."""
    wanted: dict[int, dict[int, list[int]]] = {}
    for flat, choice in enumerate(choices):
        layer, head = divmod(flat, model.n_heads)
        for prompt in dict.fromkeys(choice.prompt.tolist()):
            wanted.setdefault(prompt, {}).setdefault(layer, []).append(head)
    found: dict[tuple[int, int], SparsePattern] = {}
    for members in _packs(model, prompts, sorted(wanted)):
        reader = SparsePatternReader(
            {
                layer: [(row, head) for row, prompt in enumerate(members) for head in wanted[prompt].get(layer, ())]
                for layer in range(model.n_layers)
            }
        )
        with model.intervening(reader):
            model.attend(model.rows([prompts[i].tokens for i in members]))
        for layer, row, head in reader.blocks:
            found[layer * model.n_heads + head, members[row]] = reader.pattern(layer, row, head)
        count(len(members))
    return [found[flat, prompt] for flat, choice in enumerate(choices) for prompt in choice.prompt.tolist()]


def _packs(model: HeadModel, prompts: Sequence[Prompt], indices: Sequence[int]) -> list[list[int]]:
    n_queries = BLOCK_QUERIES if model.structure.through_interface else model.max_length
    packs = packs_of_prompts([prompts[i] for i in indices], model.n_heads, n_queries)
    return [[indices[place] for place in pack] for pack in packs]


def _flat_choices(choices: Sequence[Choice], largest: np.ndarray, effects: np.ndarray | None) -> dict[str, NamedArray]:
    prompt = np.concatenate([choice.prompt for choice in choices]).astype(np.int32)
    counts = [len(choice.prompt) for choice in choices]
    head = np.repeat(np.arange(len(choices)), counts)
    found: dict[str, np.ndarray] = {
        "prompt_index": prompt,
        "band": np.concatenate([choice.band for choice in choices]).astype(np.int8),
        "rank": np.concatenate([choice.rank for choice in choices]).astype(np.int16),
        "value": _flat(largest)[0][head, prompt],
        "effect": np.full(len(prompt), np.nan, dtype=np.float32)
        if effects is None
        else _flat(np.asarray(effects, dtype=np.float32))[0][head, prompt],
    }
    arrays = {name: NamedArray(values, ("exemplar",)) for name, values in found.items()}
    return arrays | {"head_offset": NamedArray(_offsets(counts), ("head_edge",))}


def _flat_patterns(patterns: Sequence[SparsePattern]) -> dict[str, NamedArray]:
    counts, dropped, keys, weights = (np.concatenate(parts) for parts in zip(*patterns, strict=True))
    edges = ("exemplar_edge",)
    return {
        "row_offset": NamedArray(_offsets([len(p.n_kept) for p in patterns]), edges),
        "row_count": NamedArray(counts, ("exemplar_row",)),
        "row_dropped": NamedArray(dropped, ("exemplar_row",)),
        "entry_offset": NamedArray(_offsets([len(p.key) for p in patterns]), edges),
        "key": NamedArray(keys, ("exemplar_entry",)),
        "weight": NamedArray(weights, ("exemplar_entry",)),
    }


def _offsets(lengths: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
