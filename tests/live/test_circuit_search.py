"""Circuits: one that is known is found, and the report holds what its formulas say."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from hand_built_circuits import induction_model, repeats
from head_atlas import HeadId
from head_atlas.errors import HeadAtlasError, MissingReferenceError, PromptError
from head_atlas.interventions import CORRUPTED
from head_atlas.live.circuit_search import find_circuit, iter_find_circuit
from head_atlas.live.greedy_search import GreedySearch, split_prompts
from head_atlas.measures.head_sets import set_values
from head_atlas.prompts.prompt import Prompt
from tiny_models import head_model, random_prompts

KNOWN = (HeadId(0, 0), HeadId(1, 0))


@pytest.mark.parametrize(("mode", "reference"), [("zero", None), ("resample", CORRUPTED)])
def test_a_known_minimal_circuit_is_found(mode, reference):
    found = find_circuit(induction_model(), repeats(), mode=mode, reference=reference)
    assert found.heads == KNOWN
    assert found.faithfulness.mean.values == pytest.approx(1)
    assert found.without.mean.values == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(found.minimality.mean.values, [1, 1], atol=0.05)
    np.testing.assert_allclose(found.completeness.mean.values, 0, atol=1e-9)
    # one of the six pairs of heads is the circuit itself, a tie with itself; it beats or ties no other
    same = np.isclose(found.random_faithfulness.values, 1).mean()
    assert 0 < same < 0.4
    assert found.percentile.mean.values == pytest.approx(100 * (1 - same / 2))
    np.testing.assert_allclose(found.added.mean.values, 0, atol=1e-9)
    assert not {p.tokens for p in found.train} & {p.tokens for p in found.held_out}


def test_of_redundant_heads_one_is_kept():
    found = find_circuit(induction_model((0, 1), strength=100.0), repeats(), mode="zero")
    assert found.heads[0] == HeadId(0, 0)
    assert len(found.heads) == 2
    assert found.faithfulness.mean.values > 0.95
    assert found.without.mean.values < 0.2  # the other head has no previous-token head to read from
    gap = found.completeness.mean.sel(subset=found.heads[1].label)
    assert gap.values < -0.8  # the model without this head still has the other: the circuit is incomplete


def test_a_head_is_put_back_for_one_that_is_worth_less():
    prompts = repeats()
    search = GreedySearch(
        induction_model(), (HeadId(0, 0), HeadId(0, 1), *(HeadId(1, h) for h in (0, 1))),
        prompts, "zero", None, "logit_difference", 0.9, None,
    )  # fmt: skip
    steps = search.values(prompts, [search.candidates, ()])
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            search.whole, search.none = stop.value
            break
    search.circuit = (HeadId(0, 1), HeadId(1, 0))
    moves = [step.move for step in search.swap() if step.move]
    assert search.circuit == KNOWN
    assert [(move.removed, move.added) for move in moves] == [((HeadId(0, 1),), (HeadId(0, 0),))]
    assert [step.move for step in search.swap() if step.move] == []


def test_the_report_is_of_ratios_of_means_on_held_out_prompts():
    model = head_model("llama")
    prompts = random_prompts([(8, (7,))] * 9)
    # targets that the model's heads favour, so that there is a behaviour
    with_targets = []
    for prompt in prompts:
        logits = model.logits(model.rows([prompt.tokens]))[0, -1]
        with_targets.append(Prompt("", prompt.tokens, (7,), (int(logits.argmax()),), (int(logits.argmin()),)))
    found = find_circuit(model, with_targets, mode="zero", keep=0.7, n_random=7, n_subsets=3, seed=4)
    every = set(found.candidates)
    outside = tuple(sorted(every - set(found.heads)))
    sets = [(), tuple(every), outside, found.heads]
    whole, none, own, rest = set_values(model, list(found.held_out), sets).values.values.mean(-1)
    assert found.faithfulness.mean.values == pytest.approx((own - none) / (whole - none), abs=1e-5)
    assert found.without.mean.values == pytest.approx((rest - none) / (whole - none), abs=1e-5)
    for head in found.heads:
        (lost,) = set_values(model, list(found.held_out), [(*outside, head)]).values.values.mean(-1)
        value = found.minimality.mean.sel(head=head.label).values
        assert value == pytest.approx((own - lost) / (whole - none), abs=1e-5)
    assert found.train_faithfulness.mean.values >= 0.7
    assert found.path[-1].share == pytest.approx(float(found.train_faithfulness.mean.values), abs=1e-5)
    assert len(found.heads) < len(found.candidates)
    assert found.n_random == len(found.random_faithfulness) == 7
    again = find_circuit(model, with_targets, mode="zero", keep=0.7, n_random=7, n_subsets=3, seed=4)
    assert again.heads == found.heads
    np.testing.assert_array_equal(again.random_faithfulness.values, found.random_faithfulness.values)


def test_splits():
    own = [Prompt("", (0, i), (1,), (1,), split=split) for i, split in ((1, "train"), (2, "held_out"), (3, "train"))]
    train, held_out, how = split_prompts(own, 0)
    assert ([p.tokens[1] for p in train], [p.tokens[1] for p in held_out]) == ([1, 3], [2])
    assert "own split" in how
    of_templates = [Prompt("", (0, i), (1,), (1,), template=i % 4) for i in range(1, 13)]
    train, held_out, how = split_prompts(of_templates, 0)
    assert not {p.template for p in train} & {p.template for p in held_out}
    assert len(train) == len(held_out) == 6
    assert "templates" in how


def test_a_search_can_be_stopped_and_says_what_it_does():
    steps = iter_find_circuit(induction_model(), repeats(), mode="zero")
    first = next(steps)
    assert (first.phase, first.result) == ("search", None)
    rest = list(steps)
    assert [step.phase for step in rest][-1] == "report"
    assert all(a.done <= b.done for a, b in pairwise(rest))
    assert rest[-1].result is not None


def test_what_cannot_be_searched_is_refused():
    model = induction_model()
    with pytest.raises(PromptError, match="at least 2, found 1"):
        iter_find_circuit(model, repeats()[:1], mode="zero")
    with pytest.raises(MissingReferenceError):
        iter_find_circuit(model, repeats())
    with pytest.raises(HeadAtlasError, match="keep must be a share above 0"):
        iter_find_circuit(model, repeats(), mode="zero", keep=0)
    with pytest.raises(HeadAtlasError, match=r"no circuit to search on these prompts: .* no behaviour of heads"):
        find_circuit(model, repeats(), ["0.1", "1.1"], mode="zero")
