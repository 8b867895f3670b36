"""The public calls that run a model: each is the library's own, within the limits of the page."""

from __future__ import annotations

import json

import numpy as np
import pytest

from head_atlas.app.engine import Engine
from head_atlas.app.limits import Limits
from head_atlas.app.public_api.experiments import ExperimentCalls
from head_atlas.errors import HeadAtlasError
from head_atlas.live import ablate, attribute, generate, logit_lens, patch
from head_atlas.measures.effects import sweep
from head_atlas.measures.estimates import estimate

PROMPT, OTHER = "The cat sat on the", "The cat sat on a"


@pytest.fixture(scope="module")
def calls(engine):
    return ExperimentCalls(engine)


def same(found, expected):
    """Lists that may hold null against an array that may hold NaN."""
    np.testing.assert_allclose(np.array(found, dtype=float), np.asarray(expected, dtype=float), atol=1e-5)


@pytest.fixture
def free(engine):
    """A model that nobody holds while the calls run."""
    with engine.use("small") as held:
        return held


def test_ablation(calls, free):
    found = calls.ablate(PROMPT, "1.2, L2H5", contrast=" cat")
    expected = ablate(free, PROMPT, ["1.2", "2.5"], contrast=" cat")
    assert found["heads"] == ["1.2", "2.5"]
    assert (found["target"], found["contrast"]) == (free.strings([expected.target])[0], " cat")
    assert found["effects"] == pytest.approx(expected.effects, abs=1e-4)
    assert found["clean"] == pytest.approx(expected.clean, abs=1e-4)
    assert [one["token"] for one in found["top"]] == [one.text for one in expected.top(10)]
    assert found["tokens"] == list(expected.strings)
    assert found["reasons"] == {}


def test_a_token_can_be_named_by_its_id(calls):
    first = calls.ablate(PROMPT)
    again = calls.ablate(PROMPT, target=f"token id {first['target_id']}", contrast=f"token id {first['top'][1]['id']}")
    assert again["target_id"] == first["target_id"]
    assert again["contrast"] == first["top"][1]["token"]


def test_without_a_contrast_the_logit_difference_is_null_and_says_why(calls):
    for found in (calls.ablate(PROMPT), calls.sweep(PROMPT)):
        assert found["effects"]["logit_difference"] is None
        assert found["reasons"] == {"logit_difference": "no contrast was given"}
        json.dumps(found, allow_nan=False)


def test_a_sweep_removes_every_head(calls, free):
    found = calls.sweep(PROMPT, target=" cat", contrast=" mat")
    expected = sweep(free, PROMPT, "zero", target=" cat", contrast=" mat").effects
    for name, array in found["effects"].items():
        assert (array["dims"], array["shape"]) == (["layer", "head"], [4, 6])
        same(array["values"], expected[name].values[0])
    assert found["ranked_by"] == "logit_difference"
    sizes = [abs(one["value"]) for one in found["largest"]]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == pytest.approx(np.abs(expected["logit_difference"].values).max(), abs=1e-5)


def test_an_estimate_is_not_called_an_effect(calls, free):
    found = calls.sweep(PROMPT, method="first_order")
    assert "effects" not in found
    target = ablate(free, PROMPT, ()).target
    assert found["target_id"] == target
    same(found["estimates"]["logprob"]["values"], estimate(free, PROMPT, "logprob", target=target).values[0])


@pytest.mark.parametrize("method", ["integrated_gradients", "gradient_x_input", "occlusion_replace"])
def test_attribution(calls, free, method):
    found = calls.attribute(PROMPT, method, target=" cat", contrast=" mat", heads="1.2")
    expected = attribute(free, PROMPT, " cat", " mat", ["1.2"], method=method)
    same(found["values"], expected.values.values)
    assert (found["f"], found["unit"]) == (pytest.approx(expected.f, abs=1e-4), "logits")
    assert (found["standard_errors"] is None) == (method != "occlusion_replace")
    if method == "integrated_gradients":
        total = sum(x for x in found["values"] if x is not None)
        assert total - (found["f"] - found["f_baseline"]) == pytest.approx(found["completeness_gap"], abs=1e-4)


def test_attention_is_causal_and_sums_to_one(calls, free):
    found = calls.attention(PROMPT, "L2H1")
    clean = np.array(found["clean"])
    np.testing.assert_allclose(clean.sum(1), 1, atol=1e-4)
    assert not np.triu(clean, 1).any()
    assert found["ablated"] is None
    assert found["reason"] == "no head is removed"
    removed = calls.attention(PROMPT, "2.1", heads="1.2")
    expected = ablate(free, PROMPT, ["1.2"]).pattern("2.1", "ablated").values
    same(removed["ablated"], expected)
    assert removed["ablated"] != removed["clean"]


def test_the_lens_ends_with_what_the_model_says(calls, free):
    found = calls.logit_lens(PROMPT, n_top=2)
    expected = logit_lens(free, PROMPT, n_top=2)
    same(found["log_probs"]["values"], expected.log_probs.values)
    last = found["top"][-1][-1]
    assert last[0]["token"] == found["target"] == calls.ablate(PROMPT)["target"]
    assert last[0]["probability"] == pytest.approx(np.exp(found["log_probs"]["values"][-1][-1]), rel=1e-4)
    assert (len(found["top"]), len(found["top"][0]), len(last)) == (5, len(found["tokens"]), 2)


def test_generation(calls, free):
    found = calls.generate(PROMPT, "1.2", n_tokens=4, temperature=1.0, seed=3)
    expected = generate(free, PROMPT, ["1.2"], n_tokens=4, temperature=1.0, seed=3)
    assert (found["clean"]["text"], found["ablated"]["text"]) == (expected.clean.text, expected.ablated.text)
    same(found["ablated"]["clean_log_probs"], expected.ablated.clean_log_probs.values)
    unchanged = calls.generate(PROMPT, n_tokens=3)
    assert unchanged["clean"]["tokens"] == unchanged["ablated"]["tokens"]
    assert unchanged["divergence"] is None
    assert unchanged["reason"] == "both texts are the same"


def test_patching(calls, free):
    found = calls.patch("The cat sat on", "The mat sat on", "resid_pre", target=" the", contrast=" a")
    expected = patch(free, "The cat sat on", "The mat sat on", "resid_pre", target=" the", contrast=" a")
    same(found["values"]["values"], expected.values.values)
    same(found["effects"]["values"], expected.effects.values)
    assert found["corrupted_tokens"] == list(expected.pair.corrupted_strings)
    assert (found["metric"], found["unit"]) == ("logit_difference", "logits")


@pytest.mark.parametrize("mode", ["mean", "resample", "pattern_freeze"])
def test_every_mode_of_the_page_works(calls, mode):
    found = calls.ablate("The cat sat on", "1.2", mode, corrupted="The mat sat on")
    assert found["mode"] == mode
    assert found["effects"]["kl"] > 0
    assert (found["draws"] > 1) == (mode == "resample") == (found["intervals"] is not None)


def test_means_over_draws_have_their_number_and_interval(calls, engine):
    found = calls.ablate("The cat sat on", "1.2", "resample")
    n = found["draws"]
    assert n == len(engine.library.atlas("small").resample_prompts().tokens)
    for name, (low, high) in found["intervals"].items():
        assert (low is None) == (found["effects"][name] is None)
        assert low is None or low <= found["effects"][name] <= high
    assert found["intervals"]["logprob"][0] < found["intervals"]["logprob"][1]
    assert calls.sweep("The cat sat on", "resample")["draws"] == n
    # What is a run of one draw says so.
    attended = calls.attention("The cat sat on", "1.2", "1.1", "resample")
    written = calls.generate("The cat sat on", "1.1", "resample", 2)
    attributed = calls.attribute("The cat sat on", "gradient_x_input", heads="1.1", mode="resample")
    assert {one["note"] for one in (attended, written, attributed)} == {
        f"Outputs on the first of {n} reference prompts stand in for the removed heads."
    }
    assert calls.attention("The cat sat on", "1.2", "1.1")["note"] is None


@pytest.mark.parametrize(
    ("name", "asked", "words"),
    [
        ("ablate", {"prompt": ""}, "The prompt is empty"),
        ("ablate", {"prompt": "x" * 3000}, "at most 2000 are possible"),
        ("ablate", {"prompt": "a " * 200}, "at most 128 are possible"),
        ("ablate", {"prompt": PROMPT, "heads": "7.7"}, "there is no head 7.7"),
        ("ablate", {"prompt": PROMPT, "heads": ",".join(f"0.{i}" for i in range(90))}, "at most 64 are possible"),
        ("ablate", {"prompt": PROMPT, "mode": "magic"}, "mode must be one of"),
        ("ablate", {"prompt": PROMPT, "mode": "pattern_freeze"}, "needs a corrupted prompt"),
        ("ablate", {"prompt": PROMPT, "target": " cat and dog"}, "one token"),
        ("ablate", {"prompt": PROMPT, "model": "gpt9"}, "No model 'gpt9' is served here"),
        ("sweep", {"prompt": PROMPT, "method": "guess"}, "The method must be one of exact, first_order"),
        ("attribute", {"prompt": PROMPT, "method": "guess"}, "The method must be one of integrated_gradients"),
        ("attribute", {"prompt": PROMPT, "baseline": "guess"}, "The baseline must be one of mean"),
        ("attention", {"prompt": PROMPT, "head": "x"}, "expected a head such as 2.5"),
        ("attention", {"prompt": PROMPT, "head": "9.0"}, "there is no head 9.0"),
        ("logit_lens", {"prompt": PROMPT, "n_top": 10**6}, "n_top must be a number from 1 to 20"),
        ("generate", {"prompt": PROMPT, "n_tokens": 10**6}, "n_tokens must be a number from 1 to 60"),
        ("generate", {"prompt": PROMPT, "temperature": -1}, "temperature must be a number from 0 to 5"),
        ("generate", {"prompt": PROMPT, "seed": -1}, "seed must be a number from 0"),
        ("patch", {"prompt": PROMPT, "corrupted": " "}, "The corrupted prompt is empty"),
        ("patch", {"prompt": "The cat sat on", "corrupted": "The cat"}, "they must be as many"),
        ("patch", {"prompt": PROMPT, "corrupted": OTHER, "what": "soul"}, "The what must be one of z"),
    ],
)
def test_what_cannot_be_run_is_refused_in_a_sentence(calls, name, asked, words):
    with pytest.raises(HeadAtlasError) as refusal:
        getattr(calls, name)(**asked)
    assert words in str(refusal.value)


def test_long_runs_stop_at_the_time_limit(library):
    calls = ExperimentCalls(Engine(library, Limits(run_seconds=0)))
    more = {"attention": {"head": "1.1"}, "patch": {"corrupted": OTHER}}
    for name in calls.NAMES:
        with pytest.raises(HeadAtlasError, match=r"Stopped after 0 s.*no run may hold the model for longer here"):
            getattr(calls, name)(PROMPT, **more.get(name, {}))
    with pytest.raises(HeadAtlasError, match="Stopped after 0 s"):
        calls.sweep(PROMPT, method="first_order")
