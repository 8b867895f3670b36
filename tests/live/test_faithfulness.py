"""Faithfulness: worked by hand from runs of the model, one at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from head_atlas import attribute, faithfulness
from head_atlas.errors import HeadAtlasError
from head_atlas.interventions import ablating
from head_atlas.named_array import NamedArray
from tiny_models import TOKENIZER, head_model

PROMPT = "The cat sat on the mat. Harry"


@pytest.mark.parametrize("heads", [(), ("0.1", "2.0")])
def test_agrees_with_runs_one_at_a_time(heads):
    model = head_model("llama", torch.float64)
    found = attribute(model, PROMPT, 20, 30, heads)
    result = faithfulness(found, shares=(0.01, 0.2, 0.5, 1.0), n_orders=3, seed=4)
    embed = model.model.get_input_embeddings()
    own = embed(torch.tensor(found.tokens)).detach()
    mean = embed(torch.arange(len(TOKENIZER))).detach().mean(0)

    def f(removed):
        x = own.clone()
        x[list(removed)] = mean
        with torch.no_grad(), ablating(model, heads):
            logits = model.model(inputs_embeds=x[None]).logits[0, -1]
        return float(logits[20] - logits[30])

    values = found.values.values
    n = len(values) - 1
    order = sorted(range(1, n + 1), key=lambda i: -values[i])
    assert list(result.order) == order
    counts = [1, int(np.ceil(0.2 * n)), int(np.ceil(0.5 * n)), n]
    assert list(result.counts) == counts
    curve = [f(order[:m]) for m in range(n + 1)]
    close = {"atol": 1e-6}
    np.testing.assert_allclose(result.curve.own.values, curve, **close)
    np.testing.assert_allclose(result.comprehensiveness.own.values, [curve[0] - f(order[:k]) for k in counts], **close)
    np.testing.assert_allclose(result.sufficiency.own.values, [curve[0] - f(order[k:]) for k in counts], **close)
    assert result.area.own.values == pytest.approx(np.trapezoid(curve, dx=1 / n), abs=1e-6)
    rng = np.random.default_rng(4)
    orders = [rng.permutation(np.arange(1, n + 1)).tolist() for _ in range(3)]
    areas = [np.trapezoid([f(one[:m]) for m in range(n + 1)], dx=1 / n) for one in orders]
    assert result.area.random.values == pytest.approx(np.mean(areas), abs=1e-6)
    assert result.area.difference.values == pytest.approx(result.area.own.values - np.mean(areas), abs=1e-6)
    assert result.area.low.values == pytest.approx(
        np.percentile(result.area.own.values - np.array(areas), 2.5), abs=1e-6
    )
    assert result.comprehensiveness.own.coords == {"share": (0.01, 0.2, 0.5, 1.0)}


def test_nothing_and_everything_do_not_depend_on_the_order():
    result = faithfulness(attribute(head_model("gpt2"), PROMPT, 20, 30), shares=(1.0,), n_orders=4)
    for ends in (result.curve.difference.values[[0, -1]], result.sufficiency.own.values):
        np.testing.assert_allclose(ends, 0, atol=1e-5)
    np.testing.assert_allclose(result.comprehensiveness.difference.values, 0, atol=1e-5)


def test_the_order_of_what_tokens_do_beats_chance_and_its_reverse_loses():
    """Each token's own share, measured by taking it away alone, on a model where tokens hardly interact."""
    model = head_model("gpt2")
    found = attribute(model, PROMPT, 20, 30, method="integrated_gradients")
    good = faithfulness(found, n_orders=50)
    worst = faithfulness(replace(found, values=NamedArray(-found.values.values, ("token",))), n_orders=50)
    assert good.area.difference.values < 0 < worst.area.difference.values
    assert good.order == worst.order[::-1]


def test_the_same_seed_gives_the_same_numbers_and_progress_ends_with_all():
    found = attribute(head_model("llama"), PROMPT)
    told = []
    one = faithfulness(found, n_orders=3, seed=1, progress=lambda done, total: told.append((done, total)))
    two = faithfulness(found, n_orders=3, seed=1)
    np.testing.assert_array_equal(one.curve.random.values, two.curve.random.values)
    assert told[-1][0] == told[-1][1]
    other = faithfulness(found, n_orders=3, seed=2)
    assert np.abs(one.curve.random.values - other.curve.random.values).max() > 1e-5


def test_refusals():
    found = attribute(head_model("llama"), PROMPT)
    with pytest.raises(HeadAtlasError, match="shares must lie above 0"):
        faithfulness(found, shares=(0.0,))
    with pytest.raises(HeadAtlasError, match="at least 2 random orders, found 1"):
        faithfulness(found, n_orders=1)
    with pytest.raises(HeadAtlasError, match="no token has an attribution"):
        faithfulness(replace(found, values=NamedArray(np.full(len(found.tokens), np.nan), ("token",))))
