"""All heads on one prompt: exact and estimated side by side, and where each effect stands in an atlas."""

from __future__ import annotations

import numpy as np
import pytest

from head_atlas import agreement, all_heads, estimate, sweep
from head_atlas.errors import HeadAtlasError
from head_atlas.live.heads import standing
from tiny_models import head_model

PROMPT = "The cat sat on the mat. Harry"


@pytest.mark.parametrize(("contrast", "metric"), [(" went", "logit_difference"), (None, "logprob")])
def test_exact_and_estimated_effects_are_those_of_the_sweep_and_the_estimate(contrast, metric):
    model = head_model("llama")
    found = all_heads(model, PROMPT, target=" Potter", contrast=contrast, k=3)
    swept = sweep(model, PROMPT, target=" Potter", contrast=contrast)
    assert found.metric == metric
    np.testing.assert_array_equal(found.exact.values, swept[metric].values[0])
    rough = estimate(model, PROMPT, metric, target=" Potter", contrast=contrast)
    np.testing.assert_array_equal(found.estimated.values, rough.values[0])
    assert found.agreement == agreement(rough.values[0], swept[metric].values[0], 3)
    assert found.agreement.n_heads == 12
    assert dict(found.standing) == {}


def test_percentiles_and_flags_by_hand():
    """A head whose removal cost 1, 2, 3 and 4 nats on stored prompts."""
    stored = -np.array([[[1.0, 2.0, 3.0, 4.0], [np.nan] * 4, [1.0, 2.0, 3.0, np.nan]]])
    here = standing(np.array([[-3.5, -1.0, -2.0]]), stored, metric="logprob", fewest=4)
    np.testing.assert_allclose(here.percentile.values, [[75.0, np.nan, 50.0]])
    np.testing.assert_array_equal(here.n.values, [[4, 0, 3]])
    assert here.unlike.values.tolist() == [[False, False, False]]
    for effect, flagged in [(-4.5, True), (-0.5, True), (-4.0, True), (-3.9, False), (2.0, True)]:
        one = standing(np.full((1, 3), effect), stored, metric="logprob", fewest=4).unlike.values
        assert one.tolist() == [[flagged, False, False]], "too few stored prompts for the other two"
    assert here.low[0, 0] == pytest.approx(np.percentile([-4, -3, -2, -1], 1))


@pytest.mark.parametrize(
    ("metric", "percentile"), [("kl", 75.0), ("flip", 75.0), ("log2_rank", 75.0), ("logprob", 25.0)]
)
def test_a_cost_is_a_rise_of_kl_and_rank_and_a_fall_of_the_others(metric, percentile):
    stored = np.array([[[1.0, 2.0, 3.0, 4.0]]])
    assert standing(np.array([[3.5]]), stored, metric=metric).percentile[0, 0] == percentile


def test_a_hundred_prompts_are_needed_by_default():
    stored = np.linspace(-1, 1, 100)[None, None]
    assert not standing(np.array([[5.0]]), stored[..., :99], metric="kl").unlike[0, 0]
    assert standing(np.array([[5.0]]), stored, metric="kl").unlike[0, 0]


def test_effects_of_stored_prompts_stand_at_their_own_rank():
    """The sweep of the prompt itself among two that cost every head more and less."""
    model = head_model("llama")
    own = sweep(model, PROMPT, target=20)["logprob"].values[0]
    found = all_heads(model, PROMPT, target=20, stored={"logprob": np.stack([own - 1, own, own + 1], -1)})
    np.testing.assert_allclose(found.standing["logprob"].percentile.values, 50)
    assert list(found.standing) == ["logprob"]


def test_refusals():
    model = head_model("llama")
    with pytest.raises(HeadAtlasError, match=r"stored logprob: expected \[layer, head, prompt\] of 3 x 4 heads"):
        all_heads(model, PROMPT, stored={"logprob": np.zeros((3, 5, 2))})
    with pytest.raises(HeadAtlasError, match="metric must be one of"):
        all_heads(model, PROMPT, stored={"importance": np.zeros((3, 4, 2))})
