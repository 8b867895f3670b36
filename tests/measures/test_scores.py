"""Known answers for every pattern score, and slow obvious twins."""

from __future__ import annotations

import math

import pytest
import torch

from head_atlas.errors import PromptError
from head_atlas.measures import scores
from head_atlas.measures.bootstrap import excess
from head_atlas.measures.targets import TARGETS, visible

BOS = 0
R, GAP = [5, 6, 7, 8, 9], [3, 4]
REPEAT = torch.tensor([[BOS, *R, *GAP, *R]])
FLAT = torch.tensor([[BOS, *range(20, 31)]])


def looks_at(n_pos, key_of):
    """A head that puts all its attention of query i on key_of(i)."""
    pattern = torch.zeros(1, 1, n_pos, n_pos)
    for i in range(n_pos):
        pattern[0, 0, i, key_of(i)] = 1.0
    return pattern


def uniform(n_pos, window=None):
    seen = visible(n_pos, window).float()
    return (seen / seen.sum(-1, keepdim=True))[None, None]


N = REPEAT.shape[1]
LAG = len(R) + len(GAP)
HEADS = {
    "previous_token": looks_at(N, lambda i: max(i - 1, 0)),
    "current_token": looks_at(N, lambda i: i),
    "sink": looks_at(N, lambda _: 0),
    "duplicate_token": looks_at(N, lambda i: i - LAG if i > LAG else 0),
    "induction": looks_at(N, lambda i: i - LAG + 1 if i > LAG else 0),
}


@pytest.mark.parametrize("score", TARGETS)
@pytest.mark.parametrize("head", HEADS)
def test_an_ideal_head_scores_one_and_every_rival_zero(score, head):
    found = float(scores.mass(HEADS[head], TARGETS[score](REPEAT))[0, 0])
    if score == head:
        assert found == 1.0
    elif score == "sink":
        # the ideal repeaters rest on position 0 where there is nothing to find; the last two never do
        resting = {"previous_token": 1 / (N - 1), "current_token": 0.0}.get(head, (N - 1 - len(R)) / (N - 1))
        assert found == pytest.approx(resting)
    else:
        assert found == 0.0


@pytest.mark.parametrize("score", TARGETS)
@pytest.mark.parametrize("window", [None, 3, 9])
def test_a_uniform_head_has_no_excess(score, window):
    target = TARGETS[score](REPEAT)
    m = scores.mass(uniform(N, window).double(), target)
    u = scores.uniform_mass(target, visible(N, window))
    assert m[0, 0].item() == pytest.approx(u[0].item(), abs=1e-7)
    assert excess(m.numpy(), u.numpy())[0, 0] == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("score", TARGETS)
def test_an_ideal_head_has_an_excess_of_one(score):
    target = TARGETS[score](REPEAT)
    m, u = scores.mass(HEADS[score], target), scores.uniform_mass(target, visible(N, None))
    assert 0 < u[0] < 1
    assert excess(m.numpy(), u.numpy())[0, 0] == pytest.approx(1.0)


def test_uniform_masses_of_twelve_tokens_by_hand():
    seen = visible(12, None)
    previous = sum(1 / (i + 1) for i in range(2, 12)) / 10
    first = sum(1 / (i + 1) for i in range(1, 12)) / 11
    assert scores.uniform_mass(TARGETS["previous_token"](FLAT), seen)[0].item() == pytest.approx(previous)
    assert scores.uniform_mass(TARGETS["sink"](FLAT), seen)[0].item() == pytest.approx(first)
    assert (round(previous, 2), round(first, 2)) == (0.16, 0.19)


def test_several_copies_are_summed_not_averaged():
    tokens = torch.tensor([[BOS, 5, 6, 5, 7, 5]])
    target = TARGETS["induction"](tokens)
    assert target[0, 5].nonzero().flatten().tolist() == [2, 4]
    pattern = torch.zeros(1, 1, 6, 6)
    pattern[0, 0, :, 0] = 1.0
    pattern[0, 0, 5] = torch.tensor([0.0, 0, 0.5, 0, 0.5, 0])
    pattern[0, 0, 3] = torch.tensor([0.0, 0, 1, 0, 0, 0])
    assert scores.mass(pattern, target).item() == 1.0


def test_a_token_that_repeats_at_once_is_not_its_own_induction_target():
    target = TARGETS["induction"](torch.tensor([[BOS, 5, 5, 5]]))
    assert target[0].nonzero().tolist() == [[3, 2]]


def test_the_token_at_position_zero_is_never_copied_or_a_query():
    tokens = torch.tensor([[5, 6, 5, 6]])  # a policy without BOS
    assert TARGETS["duplicate_token"](tokens)[0].nonzero().tolist() == [[3, 1]]
    # key 0 is no target, but what follows it is
    assert TARGETS["induction"](tokens)[0].nonzero().tolist() == [[2, 1], [3, 2]]
    for name in TARGETS:
        assert not TARGETS[name](tokens)[0, 0].any()


def test_tokens_without_repetition_have_no_induction():
    with pytest.raises(PromptError, match="no position of the prompt has a target"):
        scores.mass(uniform(12), TARGETS["induction"](FLAT))


def slow_target(score, tokens, i):
    return {
        "previous_token": [i - 1] if i >= 2 else [],
        "current_token": [i],
        "sink": [0],
        "duplicate_token": [j for j in range(1, i) if tokens[j] == tokens[i]],
        "induction": [j + 1 for j in range(i - 1) if tokens[j] == tokens[i]],
    }[score]


@pytest.mark.parametrize("score", TARGETS)
@pytest.mark.parametrize("window", [None, 7])
def test_masses_agree_with_slow_twins(score, window):
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, 6, (4, 24), generator=generator)
    seen = visible(24, window)
    logits = torch.randn(4, 3, 24, 24, generator=generator, dtype=torch.float64)
    pattern = logits.masked_fill(~seen, -math.inf).softmax(-1)
    target = TARGETS[score](tokens)
    mass, base = scores.mass(pattern, target), scores.uniform_mass(target, seen)
    for p in range(4):
        for h in range(3):
            per_query, per_query_base = [], []
            for i in range(1, 24):
                wanted = slow_target(score, tokens[p].tolist(), i)
                if wanted:
                    per_query.append(sum(pattern[p, h, i, j].item() for j in wanted))
                    keys = [j for j in range(i + 1) if window is None or i - j < window]
                    per_query_base.append(len(set(wanted) & set(keys)) / len(keys))
            assert mass[p, h].item() == pytest.approx(sum(per_query) / len(per_query), abs=1e-12)
            assert base[p].item() == pytest.approx(sum(per_query_base) / len(per_query_base), abs=1e-12)


@pytest.mark.parametrize("window", [None, 5])
@pytest.mark.parametrize("sink_free", [False, True])
def test_a_uniform_head_is_wholly_diffuse_and_a_pointer_not_at_all(window, sink_free):
    seen = visible(20, window)
    even = scores.diffuse(uniform(20, window).double(), seen, sink_free=sink_free)
    assert even.item() == pytest.approx(1.0, abs=1e-12)
    pointer = scores.diffuse(looks_at(20, lambda i: max(i - 1, 0)), seen, sink_free=sink_free)
    assert pointer.item() == pytest.approx(0.0, abs=1e-12)


def test_a_sink_with_an_even_rest_is_diffuse_only_without_the_sink():
    n = 20
    pattern = uniform(n).clone()
    pattern[..., 1:] *= 0.01
    pattern[..., 0] = 1 - pattern[..., 1:].sum(-1)
    assert scores.diffuse(pattern, visible(n, None)).item() < 0.15
    assert scores.diffuse(pattern, visible(n, None), sink_free=True).item() == pytest.approx(1.0, abs=1e-5)


def test_a_pure_sink_has_no_rest_to_be_diffuse():
    pure = looks_at(20, lambda _: 0)
    assert scores.diffuse(pure, visible(20, None)).item() == 0.0
    assert math.isnan(scores.diffuse(pure, visible(20, None), sink_free=True).item())


def test_diffuse_agrees_with_a_slow_twin():
    generator = torch.Generator().manual_seed(2)
    seen = visible(16, None)
    logits = 3 * torch.randn(1, 1, 16, 16, generator=generator, dtype=torch.float64)
    pattern = logits.masked_fill(~seen, -math.inf).softmax(-1)
    rows = []
    for i in range(8, 16):
        row = pattern[0, 0, i, : i + 1].tolist()
        rows.append(-sum(p * math.log(p) for p in row) / math.log(i + 1))
    assert scores.diffuse(pattern, seen).item() == pytest.approx(sum(rows) / len(rows), abs=1e-12)


def test_a_prompt_too_short_for_entropy_has_none():
    assert math.isnan(scores.diffuse(uniform(8), visible(8, None)).item())


@pytest.mark.parametrize("distance", [0, 1, 7, 31])
def test_a_head_of_one_distance_shows_one_bin(distance):
    profile = scores.offsets(looks_at(60, lambda i: max(i - distance, 0)))[0, 0]
    assert profile[distance].item() == 1.0
    others = [d for d in range(33) if d != distance]
    assert profile[others].abs().max() == 0.0
    assert profile[-1].item() == pytest.approx(distance / 59)  # queries before that rest on key 0


def test_offsets_agree_with_a_slow_twin():
    generator = torch.Generator().manual_seed(3)
    n = 80
    seen = visible(n, None)
    logits = torch.randn(1, 1, n, n, generator=generator, dtype=torch.float64)
    pattern = logits.masked_fill(~seen, -math.inf).softmax(-1)
    found = scores.offsets(pattern)[0, 0]
    p = pattern[0, 0]
    for d in range(32):
        values = [p[i, i - d].item() for i in range(d + 1, n)]
        assert found[d].item() == pytest.approx(sum(values) / len(values), abs=1e-12)
    for index, (low, high) in ((32, (32, 63)), (33, (64, n))):
        per_query = [sum(p[i, i - d].item() for d in range(low, high + 1) if i - d >= 1) for i in range(low + 1, n)]
        assert found[index].item() == pytest.approx(sum(per_query) / len(per_query), abs=1e-12)
    assert found[34].item() == pytest.approx(p[1:, 0].mean().item(), abs=1e-12)


def test_distances_that_no_query_has_are_nan():
    found = scores.offsets(uniform(10))[0, 0]
    assert found[:9].isfinite().all()
    assert found[9:34].isnan().all()
    assert found[34].isfinite()
