"""Exemplars: known answers on patterns made by hand, and a slow twin that keeps every pattern whole."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest
import torch

from head_atlas.errors import HeadAtlasError, PromptError
from head_atlas.measures import patterns as pattern_packs
from head_atlas.measures.attention_totals import DISTANCE_EDGES, AttentionTotals, distance_labels, uniform_totals
from head_atlas.measures.exemplars import HISTOGRAM_EDGES, exemplars
from head_atlas.measures.sparse_patterns import GRID, on_grid, sparse_rows
from head_atlas.measures.stratified import HARMED, Strata, canonical_order, choose
from head_atlas.measures.targets import visible
from head_atlas.measures.token_totals import FEWEST_OCCURRENCES, TokenTotals
from head_atlas.models import PatternReader
from head_atlas.prompts.prompt import Prompt
from head_atlas.store.exemplars import StoredExemplars
from tiny_models import head_model, random_prompts

LENGTHS = [5, 12, 12, 33, 5, 20, 12, 7, 33, 12, 20, 5, 2, 40, 12, 7, 7, 20, 33, 12, 1, 70]
FEW = Strata(n_bands=4, n_top=3, n_per_band=2, n_harmed=2)


def prompt(*tokens):
    return Prompt("", tokens, (0,), (0,))


def many_prompts(n_pos_limit=64):
    """Frequent and rare tokens, lengths on both sides of a block."""
    rng = np.random.default_rng(3)
    lengths = [min(n, n_pos_limit) for n in LENGTHS]
    return [prompt(0, *np.minimum(rng.geometric(0.05, n - 1), 300).tolist()) for n in lengths]


def effects_of(model, prompts, seed=5):
    values = np.random.default_rng(seed).normal(size=(model.n_layers, model.n_heads, len(prompts)))
    values[:, :, ::4] = np.nan
    return values.astype(np.float32)


def whole_patterns(model, prompts):
    """[prompt][layer, head, query, key], one prompt at a time."""
    found = []
    for p in prompts:
        reader = PatternReader()
        with model.intervening(reader):
            model.logits(torch.tensor([p.tokens]))
        found.append(np.stack([reader.patterns[layer][0].double().numpy() for layer in range(model.n_layers)]))
    return found


def exemplars_of(found, model, prompts):
    arrays = {name: array.values for name, array in found.arrays().items()}
    return StoredExemplars(arrays, model.n_layers, model.n_heads, [len(p) for p in prompts])


# Known answers


def test_a_row_keeps_its_eight_largest_weights_and_counts_the_rest():
    row = torch.tensor([[0.004, 0.3, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.246]])
    found = sparse_rows(row)
    assert found.n_kept.tolist() == [8]
    assert found.key.tolist() == [1, 2, 3, 4, 5, 6, 7, 11]  # of equal ones the first
    np.testing.assert_allclose(found.weight, [0.3, *[0.05] * 6, 0.246], atol=GRID / 2)
    assert found.dropped == pytest.approx(0.004 + 3 * 0.05, abs=GRID / 2)


def test_small_weights_are_dropped_and_not_lost():
    found = sparse_rows(torch.tensor([[1.0, 0.0, 0.0], [0.9955, 0.0045, 0.0], [0.0048, 0.9902, 0.005]]))
    assert found.n_kept.tolist() == [1, 1, 2]
    assert found.key.tolist() == [0, 0, 1, 2]
    np.testing.assert_allclose(found.dropped, [0, 0.0045, 0.0048], atol=GRID / 2)
    whole = np.add.reduceat(found.weight, [0, 1, 2]) + found.dropped
    np.testing.assert_allclose(whole, 1, atol=2 * GRID)


def test_the_last_bits_of_a_weight_decide_nothing():
    pattern = torch.rand(40, 30, dtype=torch.float64).softmax(-1)
    pattern = torch.round(pattern / GRID) * GRID
    noise = 1e-7 * torch.randn(40, 30, dtype=torch.float64)
    for one, two in zip(sparse_rows(pattern), sparse_rows(pattern + noise), strict=True):
        np.testing.assert_allclose(one, two, atol=0)


def test_largest_attention_leaves_the_first_position_out():
    pattern = torch.tensor([[1.0, 0, 0], [0.9, 0.1, 0], [0.6, 0.25, 0.15]])[None, None]
    totals = AttentionTotals(3)
    totals.on_pattern_block(0, pattern[:, :, :2, :2], 0)
    totals.on_pattern_block(0, pattern[:, :, 2:], 2)
    assert totals.largest[0].item() == 0.25
    np.testing.assert_allclose(totals.received[0][0, 0], [0, 0.35, 0.15], atol=1e-7)
    np.testing.assert_allclose(totals.sent[0][0, 0], [0, 0.1, 0.4], atol=1e-7)
    expected = np.zeros(len(DISTANCE_EDGES))
    expected[:2] = 0.1 + 0.15, 0.25
    np.testing.assert_allclose(totals.by_distance[0][0, 0], expected, atol=1e-7)


def test_a_block_of_the_first_query_alone_has_no_attention_to_count():
    totals = AttentionTotals(1)
    totals.on_pattern_block(0, torch.ones(1, 2, 1, 1), 0)
    assert totals.largest[0].tolist() == [[0, 0]]


@pytest.mark.parametrize(("n_pos", "window"), [(2, None), (7, None), (130, None), (130, 9), (200, 100)])
def test_what_an_even_head_comes_to(n_pos, window):
    seen = visible(n_pos, window).double().numpy()
    pattern = seen / seen.sum(-1, keepdims=True)
    pattern[0] = pattern[:, 0] = 0
    received, sent, by_distance = uniform_totals(n_pos, window)
    np.testing.assert_allclose(received, pattern.sum(0), atol=1e-12)
    np.testing.assert_allclose(sent, pattern.sum(1), atol=1e-12)
    distance = np.subtract.outer(np.arange(n_pos), np.arange(n_pos))
    edges = [*DISTANCE_EDGES, np.inf]
    expected = [pattern[(distance >= a) & (distance < b)].sum() for a, b in pairwise(edges)]
    np.testing.assert_allclose(by_distance, expected, atol=1e-9)


def test_names_of_distances():
    assert distance_labels()[:5] == ("0", "1", "2-3", "4-7", "8-15")
    assert distance_labels()[-2:] == ("2048-4095", "4096+")
    assert len(distance_labels()) == len(DISTANCE_EDGES)


def test_bands_hold_equally_many_and_the_top_is_the_top():
    largest = np.array([0.9, 0.1, 0.5, np.nan, 0.3, 0.8, 0.2, 0.7, 0.6])
    found = choose(largest, None, np.arange(9), Strata(4, 1, 1, 5), [0])
    assert found.band.tolist() == [4, 3, 2, 1]
    assert found.rank.tolist() == [0] * 4
    assert found.prompt[0] == 0
    np.testing.assert_allclose(found.band_low, [0.1, 0.3, 0.6, 0.8])
    np.testing.assert_allclose(found.band_high, [0.2, 0.5, 0.7, 0.9])
    for band, index in zip(found.band, found.prompt, strict=True):
        assert found.band_low[band - 1] <= largest[index] <= found.band_high[band - 1]


def test_a_band_that_is_smaller_than_its_sample_is_taken_whole_and_an_empty_one_is_named():
    found = choose(np.array([0.2, 0.1]), None, np.arange(2), Strata(3, 10, 3, 0), [0])
    assert list(zip(found.prompt, found.band, found.rank, strict=True)) == [(0, 2, 0), (1, 1, 0)]
    np.testing.assert_array_equal(found.band_low, [0.1, 0.2, np.nan])


def test_those_that_suffer_most_are_drops_only():
    effect = np.array([0.5, -0.1, np.nan, -0.7, 0.0, -0.2])
    found = choose(np.linspace(0.1, 0.6, 6), effect, np.arange(6), Strata(1, 0, 0, 5), [0])
    assert list(zip(found.prompt, found.band, found.rank, strict=True)) == [
        (3, HARMED, 0), (5, HARMED, 1), (1, HARMED, 2),
    ]  # fmt: skip


def test_every_prompt_of_a_band_is_as_likely_and_the_seed_decides():
    largest = np.array([0.1] * 5 + [0.2] * 5 + [0.9] * 5)  # ties within a band and none across
    counts = Counter()
    for seed in range(600):
        found = choose(largest, None, np.arange(15), Strata(3, 1, 2, 0), [seed])
        counts.update(found.prompt.tolist())
        again = choose(largest, None, np.arange(15), Strata(3, 1, 2, 0), [seed])
        np.testing.assert_array_equal(found.prompt, again.prompt)
    for index in range(10):
        assert abs(counts[index] - 240) < 60  # 600 x 2/5; 12 is its standard deviation
    for index in range(10, 15):
        assert abs(counts[index] - 120) < 50


def test_the_order_of_prompts_changes_nothing():
    rng = np.random.default_rng(0)
    prompts = [prompt(0, *rng.integers(1, 9, size=4).tolist()) for _ in range(60)]
    largest = np.round(rng.random(60), 1)  # many ties
    effect = np.round(rng.normal(size=60), 1)
    shuffled = rng.permutation(60)
    one = choose(largest, effect, canonical_order(prompts), FEW, [4])
    moved = [prompts[i] for i in shuffled]
    # copies of one prompt have one value: which of them is taken does not show
    by_tokens = {p.tokens: i for i, p in enumerate(prompts)}
    same = np.array([by_tokens[p.tokens] for p in prompts])
    largest, effect = largest[same], effect[same]
    one = choose(largest, effect, canonical_order(prompts), FEW, [4])
    two = choose(largest[shuffled], effect[shuffled], canonical_order(moved), FEW, [4])
    assert [prompts[i].tokens for i in one.prompt] == [moved[i].tokens for i in two.prompt]
    np.testing.assert_array_equal(one.band, two.band)


def test_tokens_by_share_and_by_lift():
    # "1" is frequent, "2" is where the head looks; nine prompts BOS 1 1 2, the last looks at "3"
    prompts = [prompt(0, 1, 1, 2)] * 8 + [prompt(0, 1, 1, 3)]
    totals = TokenTotals(prompts, 1, 2)
    even = np.array([0, 1, 1, 1.0])
    for p in prompts:
        ids = np.array([p.tokens])
        received = np.array([[[9, 0.3, 0.3, 0.4], [9, 0, 0, 0]]])  # what is on position 0 is left out
        for side in ("query", "key"):
            totals.add(0, ids, side, received, even)
        totals.count(ids)
    top = {name: array.sel(side="key", layer=0, head=0) for name, array in totals.top().items()}
    assert top["token_id"].sel(order="share")[:4].tolist() == [1, 2, 3, -1]
    np.testing.assert_allclose(top["token_share"].sel(order="share")[:3], [0.6, 0.4 * 8 / 9, 0.4 / 9], rtol=1e-6)
    assert top["token_count"].sel(order="share")[:4].tolist() == [18, 8, 1, 0]
    assert FEWEST_OCCURRENCES > 1  # so "3", with as large a lift, is not ranked by it
    assert top["token_id"].sel(order="lift")[:3].tolist() == [2, 1, -1]
    np.testing.assert_allclose(top["token_lift"].sel(order="lift")[:2], [1.2, 0.9], rtol=1e-6)
    resting = {name: array.sel(head=1) for name, array in totals.top().items()}
    assert (resting["token_id"].values == -1).all()
    assert np.isnan(resting["token_share"].values).all()


# The slow twin


def twin_of_choice(values, effect, prompts, strata, seed, layer, head):
    """Chosen the obvious way, with lists."""
    by_tokens = sorted(range(len(prompts)), key=lambda i: canonical_order(prompts).tolist().index(i))
    draws = np.random.default_rng([seed, layer, head]).random((2, len(prompts)))
    tie = {i: draws[0, place] for place, i in enumerate(by_tokens)}
    lot = {i: draws[1, place] for place, i in enumerate(by_tokens)}
    ranked = sorted((i for i in range(len(prompts)) if not np.isnan(values[i])), key=lambda i: (values[i], tie[i]))
    sizes = [len(ranked) // strata.n_bands + (b < len(ranked) % strata.n_bands) for b in range(strata.n_bands)]
    chosen = []
    for band in range(strata.n_bands, 0, -1):
        members = ranked[sum(sizes[: band - 1]) : sum(sizes[:band])]
        if band == strata.n_bands:
            members = members[-strata.n_top :]
        else:
            members = sorted(sorted(members, key=lot.get)[: strata.n_per_band], key=members.index)
        chosen += [(i, band, rank) for rank, i in enumerate(reversed(members))]
    harmed = sorted((i for i in range(len(prompts)) if effect[i] < 0), key=lambda i: (effect[i], tie[i]))
    return chosen + [(i, HARMED, rank) for rank, i in enumerate(harmed[: strata.n_harmed])]


def twin_of_pattern(pattern):
    n = len(pattern)
    dense, dropped = np.zeros((n, n)), np.zeros(n)
    for i in range(n):
        rounded = [round(w / GRID) * GRID for w in pattern[i]]
        kept = [j for j in sorted(range(n), key=lambda j: (-rounded[j], j))[:8] if rounded[j] >= 0.005]
        dense[i, kept] = [rounded[j] for j in kept]
        dropped[i] = sum(pattern[i, j] for j in range(n) if j not in kept)
    return dense, dropped


@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral", "bloom"])
def test_exemplars_are_those_of_whole_patterns(family):
    model = head_model(family, torch.float64)
    prompts = many_prompts()
    effects = effects_of(model, prompts)
    windows = [4] * model.n_layers if family == "mistral" else None
    found = exemplars(model, prompts, effects=effects, strata=FEW, seed=2, windows=windows)
    stored = exemplars_of(found, model, prompts)
    patterns = whole_patterns(model, prompts)
    largest = np.full((model.n_layers, model.n_heads, len(prompts)), np.nan)
    for i, pattern in enumerate(patterns):
        if len(prompts[i]) > 1:
            largest[..., i] = on_grid(pattern[:, :, 1:, 1:].max((-1, -2)))
    np.testing.assert_array_equal(found.largest.values, largest)
    real = [i for i, p in enumerate(prompts) if len(p) > 1]
    assert found.n_prompts == len(real) == len(prompts) - 1
    for layer, head in np.ndindex(model.n_layers, model.n_heads):
        expected = twin_of_choice(largest[layer, head], effects[layer, head], prompts, FEW, 2, layer, head)
        chosen = stored.of(layer, head)
        assert [(e.prompt, e.band, e.rank) for e in chosen] == expected
        for e in chosen:
            np.testing.assert_equal(e.value, largest[layer, head, e.prompt])
            np.testing.assert_equal(np.float32(e.effect), effects[layer, head, e.prompt])
            dense, dropped = twin_of_pattern(patterns[e.prompt][layer, head])
            weights, left_out = stored.pattern(e)
            np.testing.assert_array_equal(weights, dense)
            np.testing.assert_allclose(left_out, dropped, atol=0.51 * GRID)
            np.testing.assert_allclose(weights.sum(1) + left_out, 1, atol=5 * GRID)
        counts = np.zeros(20, dtype=int)
        for i in real:
            counts[min(int(largest[layer, head, i] / 0.05), 19)] += 1
        assert found.histogram[layer, head].tolist() == counts.tolist()
        assert found.mean_largest[layer, head] == pytest.approx(largest[layer, head, real].mean(), abs=1e-6)


@pytest.mark.parametrize(("family", "window"), [("llama", None), ("mistral", 4)])
def test_distances_and_tokens_are_those_of_whole_patterns(family, window):
    model = head_model(family, torch.float64)
    prompts = many_prompts()
    found = exemplars(model, prompts, strata=FEW, windows=[window] * model.n_layers)
    patterns = whole_patterns(model, prompts)
    real = [i for i, p in enumerate(prompts) if len(p) > 1]
    edges = [*DISTANCE_EDGES, 10**9]
    share, distance = defaultdict(float), np.zeros((model.n_layers, model.n_heads, len(DISTANCE_EDGES)))
    uniform = np.zeros(len(DISTANCE_EDGES))
    occurs = Counter(t for i in real for t in prompts[i].tokens[1:])
    for i in real:
        n, tokens = len(prompts[i]), prompts[i].tokens
        for q in range(1, n):
            for k in range(1, q + 1):
                weight = patterns[i][:, :, q, k]
                even = 1 / min(q + 1, window or n) if window is None or q - k < window else 0
                place = next(b for b in range(len(DISTANCE_EDGES)) if edges[b] <= q - k < edges[b + 1])
                distance[:, :, place] += weight / (n - 1) / len(real)
                uniform[place] += even / (n - 1) / len(real)
                for side, token in (("query", tokens[q]), ("key", tokens[k])):
                    share[side, token] = share[side, token] + weight
                    share[side, token, "even"] += even
    reached = uniform > 0
    np.testing.assert_allclose(found.distance.values[:, :, reached], distance[:, :, reached], atol=1e-6)
    np.testing.assert_allclose(
        found.distance_uniform.values[:, reached], [uniform[reached]] * model.n_layers, atol=1e-6
    )
    assert np.isnan(found.distance.values[:, :, ~reached]).all()
    sink = np.mean([patterns[i][:, :, 1:, 0].mean(-1) for i in real], 0)
    np.testing.assert_allclose(np.nansum(found.distance.values, -1) + sink, 1, atol=1e-5)
    for side in ("query", "key"):
        all_even = sum(share[side, t, "even"] for t in occurs)
        total = sum(share[side, t] for t in occurs)
        shares = {t: share[side, t] / total for t in occurs}
        lifts = {t: shares[t] / (share[side, t, "even"] / all_even) for t in occurs}
        for order, values, fewest in (("share", shares, 1), ("lift", lifts, 5)):
            cell = {"side": side, "order": order}
            for at in np.ndindex(model.n_layers, model.n_heads):
                ranked = sorted((t for t in occurs if occurs[t] >= fewest), key=lambda t: (-round(values[t][at], 6), t))
                ranked = ranked[:20]
                ids = found.token_id.sel(**cell)[at]
                assert ids.tolist() == ranked + [-1] * (20 - len(ranked))
                n = len(ranked)
                np.testing.assert_allclose(
                    found.token_share.sel(**cell)[at][:n], [shares[t][at] for t in ranked], rtol=1e-5
                )
                np.testing.assert_allclose(
                    found.token_lift.sel(**cell)[at][:n], [lifts[t][at] for t in ranked], rtol=1e-5
                )
                assert found.token_count.sel(**cell)[at][:n].tolist() == [occurs[t] for t in ranked]


# Independence


@pytest.mark.parametrize("budget", [1, 3000])
def test_batches_change_nothing(monkeypatch, budget):
    model, prompts = head_model("llama", torch.float64), many_prompts()
    effects = effects_of(model, prompts)
    one = exemplars(model, prompts, effects=effects, strata=FEW)
    monkeypatch.setattr(pattern_packs, "PATTERN_NUMBERS_PER_BATCH", budget)
    monkeypatch.setattr("head_atlas.measures.sparse_patterns.NUMBERS_AT_ONCE", budget)
    two = exemplars(model, prompts, effects=effects, strata=FEW)
    for name, array in one.arrays().items():
        if array.values.dtype.kind == "f" and name not in ("weight", "value", "largest"):
            np.testing.assert_allclose(two.arrays()[name].values, array.values, atol=GRID, rtol=1e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(two.arrays()[name].values, array.values, err_msg=name)


def test_the_order_of_prompts_changes_their_indices_only():
    model, prompts = head_model("llama", torch.float64), many_prompts()
    effects = effects_of(model, prompts)
    order = np.random.default_rng(1).permutation(len(prompts))
    moved = [prompts[i] for i in order]
    one = exemplars(model, prompts, effects=effects, strata=FEW)
    two = exemplars(model, moved, effects=effects[:, :, order], strata=FEW)
    np.testing.assert_array_equal(order[two.prompt_index.values], one.prompt_index.values)
    for name in ("band", "rank", "value", "row_count", "key", "weight", "token_id", "histogram", "head_offset"):
        np.testing.assert_array_equal(two.arrays()[name].values, one.arrays()[name].values, err_msg=name)


def test_another_seed_keeps_the_top_and_draws_others():
    model, prompts = head_model("llama"), many_prompts()
    one, two = (exemplars(model, prompts, strata=FEW, seed=seed) for seed in (0, 1))
    top = one.band.values == FEW.n_bands
    np.testing.assert_array_equal(one.value.values[top], two.value.values[top])  # which of equal ones, is drawn
    assert (one.prompt_index.values != two.prompt_index.values).any()


# Refusals and reports


def test_refusals():
    model = head_model("llama")
    with pytest.raises(PromptError, match="at least one prompt of two tokens"):
        exemplars(model, [prompt(0)])
    with pytest.raises(
        HeadAtlasError, match=r"expected effects of \(3, 4, 1\) layers, heads and prompts, found \(4,\)"
    ):
        exemplars(model, [prompt(0, 1)], effects=np.zeros(4))
    with pytest.raises(PromptError, match="70000 tokens long; exemplars have at most 65536"):
        exemplars(model, [prompt(*[1] * 70_000)])


def test_progress_counts_both_runs():
    told = []
    prompts = random_prompts([(6, (2,))] * 5 + [(9, (2,))] * 3)
    exemplars(head_model("llama"), prompts, strata=FEW, progress=lambda done, total: told.append((done, total)))
    assert {total for _, total in told} == {16}
    assert told[-1] == (16, 16)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_histogram_edges_are_documented_ones():
    assert len(HISTOGRAM_EDGES) == 21
    assert (HISTOGRAM_EDGES[0], HISTOGRAM_EDGES[1], HISTOGRAM_EDGES[-1]) == (0, 0.05, 1)
