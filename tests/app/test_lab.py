from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from threading import Semaphore

import gradio as gr
import numpy as np
import pytest

from head_atlas.app import lab_address, lab_view
from head_atlas.app.engine import Engine
from head_atlas.app.lab_handlers import N_SHOWN, LabHandlers
from head_atlas.app.library import Library
from head_atlas.app.limits import Limits
from head_atlas.app.page_state import PageState
from head_atlas.errors import PromptError
from head_atlas.live import ablate
from head_atlas.views.induction import THRESHOLD
from head_atlas.views.token_text import quoted

PROMPT = "The cat sat on the mat. The cat sat on the"
HOSTILE = "<img src=x onerror=alert(1)> ${alert(1)} {{value}}"


@pytest.fixture(scope="module")
def handlers(engine):
    return LabHandlers(engine)


def run(
    handlers,
    prompt=PROMPT,
    removed="1.2, L2H5",
    mode="zero",
    target="",
    contrast="",
    corrupted="",
    head="",
    colour="atlas",
):
    steps = list(handlers.run("small", prompt, removed, mode, target, contrast, corrupted, head, colour, None))
    assert all(len(step) == N_SHOWN for step in steps)
    return steps[-1]


def test_a_menu_that_is_only_passed_runs_nothing(handlers, engine):
    inputs = ("small", PROMPT, "1.2", "zero", "", "", "", "", "atlas", None)
    ran = lab_view.asked(engine, *inputs[:7])
    assert list(handlers.run_other(ran, *inputs)) == [[gr.skip()] * N_SHOWN]
    for before in (None, replace(ran, mode="mean")):
        *_, shown = handlers.run_other(before, *inputs)
        assert shown[7] == ran
    ((status, *_),) = handlers.run_other(ran, "small", PROMPT, "99.9", *inputs[3:])
    assert status["kind"] == "error"


def test_a_run_shows_what_live_ablation_says(handlers, engine):
    status, bars, *_ = run(handlers)
    with engine.use("small") as model:
        expected = ablate(model, PROMPT, ["1.2", "2.5"])
    rows = {row["title"]: row for row in bars["rows"]}
    for change in expected.top(5):
        row = rows[f"token {change.token}"]
        assert row["clean"] == pytest.approx(change.clean, abs=1e-5)
        assert row["ablated"] == pytest.approx(change.ablated, abs=1e-5)
    facts = {fact["label"]: fact["text"] for fact in bars["facts"]}
    assert facts["KL divergence"] == f"{expected.effects['kl']:.2f} nats"
    assert facts["Logit difference"] == "needs a contrast"
    assert status["kind"] == "done"


def test_attribution_of_a_sure_answer_says_that_it_hardly_moves():
    from dataclasses import dataclass

    @dataclass
    class One:
        f: float
        contrast: int | None = None

    assert "almost sure" in lab_view._certainty(One(-0.01))
    assert lab_view._certainty(One(-2.0)) == ""
    assert lab_view._certainty(One(-0.01, contrast=3)) == ""


def test_a_run_without_heads_shows_one_distribution(handlers):
    _, bars, *_ = run(handlers, removed="")
    assert not bars["paired"]
    assert sum(row["clean"] for row in bars["rows"]) <= 1


def test_attribution_matches_the_prompt_and_marks_bos(handlers):
    _, _, chips, without, *_ = run(handlers)
    assert [chip["special"] for chip in chips["chips"]][:2] == [True, False]
    assert chips["chips"][0]["t"] is None
    assert len(chips["chips"]) == len(without["chips"])
    assert max(abs(chip["t"]) for chip in chips["chips"][1:]) == pytest.approx(1)


def test_a_target_is_picked_by_id_or_typed(handlers, engine):
    with engine.use("small") as model:
        token = model.policy.single(" mat")
    by_id = run(handlers, target=f"{lab_view.BY_ID}{token}", contrast=" cat")[1]
    typed = run(handlers, target="·mat", contrast="·cat")[1]
    assert by_id == typed
    assert {row["target"]: row["token"] for row in typed["rows"]}["target"] == "·mat"
    assert {fact["label"]: fact["text"] for fact in typed["facts"]}["Logit difference"].endswith("logits")


def test_menus_offer_the_clean_runs_top_ten(handlers, engine):
    targets = run(handlers)[4]["choices"]
    with engine.use("small") as model:
        expected = ablate(model, PROMPT, [])
    top = [int(i) for i in np.argsort(-expected.clean_log_probs)[:10]]
    assert [value for _, value in targets[1:]] == [f"{lab_view.BY_ID}{i}" for i in top]


def test_menus_name_what_was_asked_for_however_unlikely(handlers, engine):
    with engine.use("small") as model:
        least = int(np.argmin(ablate(model, PROMPT, []).clean_log_probs))
    choices = run(handlers, target=f"{lab_view.BY_ID}{least}")[4]["choices"]
    assert [value for _, value in choices[1:]][10:] == [f"{lab_view.BY_ID}{least}"]


def test_a_special_token_that_is_typed_is_text_and_the_lab_says_so(handlers, engine):
    with engine.use("small") as model:
        name = model.tokenizer.bos_token
        n = len(model.policy.pieces_of(name))
    assert name
    text = run(handlers, prompt=f"The {name} cat")[0]["text"]
    assert (
        f"“{name}” names a special token of this model; typed into a prompt it is plain text, here {n} tokens." in text
    )
    assert "special token" not in run(handlers)[0]["text"]


def test_what_an_address_asks_of_the_lab_is_checked():
    good = PageState(tab="lab", mode="mean", target="·mat", contrast=f"{lab_view.BY_ID}7", colour="kl")
    assert lab_address.settled(good) == (good, [])
    defaults = replace(good, target=lab_view.AUTOMATIC, contrast=lab_view.NO_CONTRAST, colour=lab_view.BY_ATLAS)
    assert lab_address.settled(defaults) == (PageState(tab="lab", mode="mean"), [])
    bad = PageState(tab="lab", mode="gentle", target="x" * 101, contrast="\ud800", colour="<b>")
    state, problems = lab_address.settled(bad)
    assert state == PageState(tab="lab")
    for words in ("no ablation mode “gentle”", "The target in the address", "The contrast in the address", "“<b>”"):
        assert words in " ".join(problems)
    # The mode of another tab is none of the Lab's business.
    assert lab_address.settled(PageState(tab="atlas", mode="resample")) == (PageState(tab="atlas", mode="resample"), [])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompt": ""}, "The prompt is empty"),
        ({"prompt": " \n "}, "The prompt is empty"),
        ({"prompt": "a \ud800 b"}, "half of a character"),
        ({"target": "\ud800"}, "half of a character"),
        ({"prompt": "x" * 2001}, "2001 characters long"),
        ({"prompt": "a " * 200}, "at most 128 are possible here"),
        ({"removed": "9.9"}, "There is no head 9.9"),
        ({"removed": "the best one"}, "Expected a head such as 2.5"),
        ({"target": "not one token at all"}, "must be exactly one token; here it is"),
        ({"target": "x" * 300}, "exactly one token"),
        ({"target": f"{lab_view.BY_ID}99999"}, "token ids must lie in"),
        ({"mode": "gentle"}, "The ablation mode must be one of zero, mean, resample, pattern_freeze"),
    ],
)
def test_what_cannot_be_run_is_one_sentence_and_leaves_no_result_of_another_prompt(handlers, changes, words):
    status, bars, chips, without, target, contrast, attention, ran, *rest = run(handlers, **changes)
    assert status["kind"] == "error"
    assert words.lower() in status["text"].lower()
    assert all(set(shown) == {"empty"} for shown in (bars, chips, without, attention))
    assert ran is None
    assert all(isinstance(x, dict) and x.get("__type__") == "update" for x in (target, contrast, *rest))


def test_mean_mode_takes_its_means_from_the_atlas(handlers, engine):
    _, bars, *_ = run(handlers, mode="mean")
    with engine.use("small") as model:
        expected = ablate(model, PROMPT, ["1.2", "2.5"], "mean", reference=engine.reference("small"))
    assert {f["label"]: f["text"] for f in bars["facts"]}["KL divergence"] == f"{expected.effects['kl']:.2f} nats"


def test_a_hostile_prompt_stays_text(handlers):
    _, bars, chips, *_ = run(handlers, prompt=HOSTILE)
    assert "".join(c["text"] for c in chips["chips"][1:]).replace("·", " ") == HOSTILE
    assert bars["rows"]


def test_attention_shows_both_runs_and_says_why_nothing_moved(handlers):
    earlier = run(handlers, removed="1.2", head="0.3")[6]
    assert "only heads in later layers" in earlier["lead"]
    later = run(handlers, removed="1.2", head="3.3")[6]
    assert later["lead"] == ""
    clean, ablated, change = (np.array(r["rows"]) for r in later["runs"])
    assert np.abs(ablated - clean - change).max() < 2e-4
    assert [r["signed"] for r in later["runs"]] == [False, False, True]
    n = len(later["tokens"])
    first = clean[: n * (n + 1) // 2]
    assert first[0] == 1
    assert first.sum() == pytest.approx(n, abs=0.05)


def test_another_heads_attention_belongs_to_the_run_on_screen(handlers):
    ran = run(handlers, removed="1.2")[7]
    *_, (pattern, picker) = handlers.look("small", "3.3", ran)
    assert pattern == run(handlers, removed="1.2", head="3.3")[6]
    assert picker["selected"] == [3, 3]
    assert "empty" in next(handlers.look("small", "3.3", None))[0]
    assert "no head 9.9" in [*handlers.look("small", "9.9", ran)][-1][0]["empty"]


def test_a_sweep_ends_with_the_same_effects_as_single_ablations(handlers, engine):
    steps = list(handlers.sweep("small", PROMPT, "", "zero", "", "", "", "atlas"))
    assert steps[-1][0]["kind"] == "done"
    assert steps[0][3] == "logprob"
    found = steps[-2][2].effects
    with engine.use("small") as model:
        for layer, head in ((0, 0), (2, 5), (3, 1)):
            one = ablate(model, PROMPT, [(layer, head)])
            assert found["kl"][layer][head] == pytest.approx(one.effects["kl"], abs=1e-4)
            assert found["logprob"][layer][head] == pytest.approx(one.effects["logprob"], abs=1e-4)


def painted(grid):
    return sum(t is not None for row in grid["t"] for t in row)


def test_a_sweep_paints_as_it_goes_and_hatches_the_rest(handlers):
    gate = Semaphore(0)

    class Slow(Engine):
        """Lends the model as often as the test says."""

        @contextmanager
        def use(self, name, waiting=None):
            gate.acquire()
            with handlers.engine.use(name, waiting) as model:
                yield model

    sweep = LabHandlers(Slow(handlers.engine.library, Limits())).sweep("small", PROMPT, "", "zero", "", "", "", "kl")
    gate.release()
    grid = next(step[1] for step in sweep if isinstance(step[1], dict) and "t" in step[1])
    assert 0 < painted(grid) < 24
    assert grid["reason"]
    gate.release(100)
    *_, whole, _ = sweep
    assert painted(whole[1]) == 24


def test_a_sweep_belongs_to_its_prompt(handlers):
    swept = list(handlers.sweep("small", PROMPT, "", "zero", "", "", "", "kl"))[-2][2]
    *_, last = handlers.run("small", PROMPT, "1.1", "zero", "", "", "", "", "kl", swept)
    assert last[11] is swept
    assert last[8]["t"][0][0] is not None
    *_, last = handlers.run("small", PROMPT + " mat", "1.1", "zero", "", "", "", "", "kl", swept)
    assert last[11] is None
    assert last[8]["t"][0][0] is None
    assert "Measure every head" in last[8]["reason"]


def test_a_swept_grid_says_what_it_measured(handlers, engine):
    steps = list(handlers.sweep("small", PROMPT, "", "mean", "", " cat", "", "logprob"))
    with engine.use("small") as model:
        top = model.strings([ablate(model, PROMPT, []).target])[0]
    assert f"{quoted(top)} over “·cat”, mean ablation" in steps[-2][1]["label"]
    assert "The cat" in steps[-2][1]["label"]


def test_an_abandoned_sweep_leaves_the_model_free(handlers, engine):
    sweep = handlers.sweep("small", PROMPT, "", "zero", "", "", "", "kl")
    next(sweep)
    next(sweep)
    # Not closed, not finished: whoever comes next must not wait for it.
    quick = LabHandlers(engine)
    assert run(quick)[0]["kind"] == "done"
    sweep.close()


def test_a_sweep_that_takes_too_long_stops_and_says_so(library):
    ticks = count()  # every look at the clock is a second
    engine = Engine(library, Limits(run_seconds=20), lambda: next(ticks))
    *_, before, last = LabHandlers(engine).sweep("small", PROMPT, "", "zero", "", "", "", "kl")
    assert 0 < painted(before[1]) < 24
    assert last[0]["kind"] == "error"
    assert f"Stopped after 20 s, at {painted(before[1])} of 24" in last[0]["text"]


def test_a_click_removes_and_a_second_click_puts_back(handlers):
    clicks = {"clicks": ["2.5"], "clicked": 0, "removed": ["1.2"]}
    text, grid = handlers.toggle("small", "1.2", "atlas", None, clicks)
    assert text == "1.2, 2.5"
    assert (grid["removed"], grid["clicked"]) == (["1.2", "2.5"], 1)
    again = {"clicks": ["2.5", "2.5"], "clicked": 1, "removed": ["1.2", "2.5"]}
    assert handlers.toggle("small", text, "atlas", None, again)[0] == "1.2"


def test_clicks_that_came_at_once_all_count(handlers):
    clicks = {"clicks": ["0.0", "2.5", "1.1", "2.5"], "clicked": 0, "removed": []}
    assert handlers.toggle("small", "", "atlas", None, clicks)[0] == "0.0, 1.1"
    assert handlers.toggle("small", "0.0", "atlas", None, clicks | {"clicked": 1})[0] == "0.0, 1.1"


def test_a_click_leaves_a_text_that_cannot_be_read_alone(handlers):
    clicks = {"clicks": ["0.3", "2.5"], "clicked": 1, "removed": ["0.3"]}
    text, grid = handlers.toggle("small", "0.3, 1.x", "atlas", None, clicks)
    assert text == gr.skip()
    assert (grid["removed"], grid["clicked"]) == (["0.3"], 2)
    assert handlers.typed("small", "0.3, 1.x", "atlas", None, clicks) == gr.skip()
    assert handlers.typed("small", "0.3, 1.1", "atlas", None, clicks)["removed"] == ["0.3", "1.1"]


def test_runs_and_colours_leave_the_marks_to_the_page(handlers):
    assert "removed" not in run(handlers)[8]
    assert "removed" not in handlers.recolour("small", "1.1", "kl", None)
    assert "removed" not in next(
        s[1] for s in handlers.sweep("small", PROMPT, "1.1", "zero", "", "", "", "kl") if "t" in s[1]
    )


@pytest.mark.parametrize("clicks", [None, "1.1", [1.1], [["1.1"]], ["1.x"], ["1.1"] * 100_001])
def test_forged_clicks_are_an_error_for_the_visitor(handlers, clicks):
    with pytest.raises(gr.Error):
        handlers.toggle("small", "", "atlas", None, {"clicks": clicks, "removed": []})
    with pytest.raises(gr.Error):
        handlers.toggle("small", "1.x", "atlas", None, {"clicks": [], "removed": clicks})


def test_all_induction_heads_are_those_of_the_stated_rule(handlers, library):
    text, _, _, run_it = handlers.induction("small", "atlas", None)
    assert run_it
    low = library.atlas("small").summary["induction_excess_ci_low"].values
    expected = {f"{layer}.{head}" for layer, head in np.argwhere(low >= THRESHOLD)}
    assert set(text.split(", ")) == expected
    assert expected


def test_all_heads_of_a_role_are_those_of_the_atlas(handlers, library):
    held = library.atlas("small").roles["held"]
    menu = {name: label for label, name in handlers.roles("small")}
    for name, heads in zip(held.coords["role"], held.values, strict=True):
        expected = {f"{layer}.{head}" for layer, head in np.argwhere(heads)}
        text, grid, _, run_it, chosen = handlers.of_role("small", name, "atlas", None)
        assert chosen is None
        assert run_it
        assert set(text.split(", ")) == expected == set(grid["removed"])
        assert menu[name].endswith(f": {len(expected)}")


@pytest.mark.parametrize("role", [None, "no such role", ["induction"], {"a": 1}])
def test_a_role_that_no_head_holds_is_refused_in_words(handlers, role):
    *_, status, run_it, _ = handlers.of_role("small", role, "atlas", None)
    assert status["text"] == "No head of this atlas holds that role."
    assert not run_it


def test_resample_says_over_how_many_draws_and_how_they_spread(handlers):
    *_, last = handlers.run("small", PROMPT, "1.1", "resample", "", "", "", "", "atlas", None)
    assert "means over 5 prompts" in last[0]["text"]
    facts = {fact["label"]: fact["text"] for fact in last[1]["facts"]}
    assert re.search(r"-?\d.* \[.*, .*\]$", facts["Log-probability of the answer"])
    *_, one = handlers.run("small", PROMPT, "1.1", "zero", "", "", "", "", "atlas", None)
    assert "means over" not in one[0]["text"]


def test_without_an_atlas_the_lab_still_runs(place):
    engine = Engine(Library.of(str(place / "model")), Limits())
    handlers = LabHandlers(engine)
    assert "empty" in handlers.grid("model", "", "atlas", None)
    *_, last = handlers.run("model", PROMPT, "1.1", "zero", "", "", "", "", "atlas", None)
    assert last[0]["kind"] == "done"
    assert last[8]["n_heads"] == last[10]["n_heads"] == 6
    assert handlers.grid("model", "1.1", "atlas", None)["removed"] == ["1.1"]
    *_, failed = handlers.run("model", PROMPT, "1.1", "mean", "", "", "", "", "atlas", None)
    assert failed[0]["kind"] == "error"
    assert "reference" in failed[0]["text"]


def test_a_model_that_cannot_be_loaded_is_a_sentence(tmp_path, place):
    folder = tmp_path / "half"
    (folder / "model").mkdir(parents=True)
    (folder / "atlas.h5").write_bytes((place / "atlas.h5").read_bytes())
    handlers = LabHandlers(Engine(Library.of(str(folder)), Limits()))
    *_, last = handlers.run("half", PROMPT, "1.1", "zero", "", "", "", "", "atlas", None)
    assert last[0]["kind"] == "error"
    assert "config.json" in last[0]["text"]
    assert handlers.grid("half", "", "atlas", None)["n_heads"] == 6


def test_loading_is_told_and_then_over(place):
    engine = Engine(Library.of(str(place)), Limits())
    steps = list(LabHandlers(engine).run("small", PROMPT, "1.1", "zero", "", "", "", "", "atlas", None))
    assert all(step[0]["kind"] == "busy" for step in steps[:-1])
    assert steps[-1][0]["kind"] == "done"
    assert engine.ready("small")
    assert engine.loading("small") == ""


def test_weights_other_than_the_atlas_was_measured_on_are_named(tmp_path, place):
    from small_place import make_atlas

    folder = tmp_path / "other"
    folder.mkdir()
    make_atlas(folder / "atlas.h5", "f" * 64)
    (folder / "model").symlink_to(place / "model")
    handlers = LabHandlers(Engine(Library.of(str(folder)), Limits()))
    *_, last = handlers.run("other", PROMPT, "", "zero", "", "", "", "", "atlas", None)
    assert "not those that this atlas was measured on" in last[0]["text"]


def test_token_choices():
    assert lab_view.token_choice(None) is None
    assert lab_view.token_choice(lab_view.AUTOMATIC) is None
    assert lab_view.token_choice(f"{lab_view.BY_ID}17") == 17
    assert lab_view.token_choice("·Potter") == " Potter"
    with pytest.raises(PromptError):
        lab_view.token_choice("y" * 101)
