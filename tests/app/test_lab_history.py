"""Undo, the list of this visit, and the pinned experiment."""

from __future__ import annotations

import gradio as gr
import pytest

from head_atlas.app.lab_handlers import LabHandlers
from head_atlas.app.lab_history import MOST_KEPT, HistoryHandlers
from head_atlas.app.lab_view import AUTOMATIC, NO_CONTRAST, asked
from head_atlas.live import ablate

PROMPT = "The cat sat on the mat."


@pytest.fixture(scope="module")
def history(engine):
    return HistoryHandlers(LabHandlers(engine))


def tried(engine, history, kept, removed, prompt=PROMPT):
    ran = asked(engine, "small", prompt, removed, "zero", "", "")
    return history.record(kept, ran, {"headline": removed})


def test_undo_brings_the_experiment_before_back(engine, history):
    kept, listed, undo = tried(engine, history, [], "1.1")
    assert (listed["visible"], undo["interactive"]) == (False, False)
    kept, listed, undo = tried(engine, history, kept, "1.1, 2.2")
    assert (len(listed["choices"]), undo["interactive"]) == (2, True)
    after, _, undo, *inputs, grid, wanted = history.undo(kept, "small", "atlas", None)
    assert inputs == [PROMPT, "1.1", "zero", AUTOMATIC, NO_CONTRAST, ""]
    assert grid["removed"] == ["1.1"]
    assert wanted is True
    assert len(after) == 1
    assert undo["interactive"] is False
    # What runs then is the experiment that is last already.
    assert len(tried(engine, history, after, "1.1")[0]) == 1


@pytest.mark.parametrize("heads", ["", "1.1, 2.2"])
@pytest.mark.parametrize(("target", "contrast"), [("", ""), ("token id 17", "token id 3"), (" mat", "·cat")])
def test_what_is_brought_back_is_the_very_experiment_that_ran(engine, history, heads, target, contrast):
    ran = asked(engine, "small", PROMPT, heads, "zero", target, contrast, "The dog sat on the mat.")
    kept = history.record([], ran, {})[0]
    kept = tried(engine, history, kept, "0.1", "Another prompt")[0]
    *_, prompt, removed, mode, first, second, corrupted, _, _ = history.undo(kept, "small", "atlas", None)
    assert asked(engine, "small", prompt, removed, mode, first, second, corrupted) == ran


def test_running_the_same_again_forgets_nothing(engine, history):
    kept = tried(engine, history, tried(engine, history, [], "1.1")[0], "2.2")[0]
    again, listed, undo = tried(engine, history, kept, "2.2")
    assert [one.inputs[1] for one in again] == ["1.1", "2.2"]
    assert listed["visible"] is True
    assert undo["interactive"] is True


def test_with_nothing_to_undo_nothing_happens(history):
    *rest, wanted = history.undo([], "small", "atlas", None)
    assert wanted is False
    assert rest[3:] == [gr.skip()] * 7


def test_the_list_restores_what_is_chosen_and_nothing_else(engine, history):
    kept = tried(engine, history, tried(engine, history, [], "1.1")[0], "", "Another prompt")[0]
    choices = tried(engine, history, kept, "")[1]["choices"]
    assert "Another prompt" in choices[1]
    *_, removed, mode, target, contrast, corrupted, grid, wanted = history.again(
        kept, choices[2], "small", "atlas", None
    )
    assert (removed, mode, target, contrast, corrupted, wanted) == ("1.1", "zero", AUTOMATIC, NO_CONTRAST, "", True)
    assert grid["removed"] == ["1.1"]
    for hostile in ("x", None, 7, ["1"]):
        assert history.again(kept, hostile, "small", "atlas", None)[-1] is False


def test_the_list_is_short(engine, history):
    kept = []
    for n in range(MOST_KEPT + 5):
        kept = tried(engine, history, kept, "", f"The cat {n}")[0]
    assert len(kept) == MOST_KEPT


def test_the_pinned_experiment_is_the_last_one(engine, history):
    assert history.pin([]) == [gr.skip(), gr.skip()]
    kept = tried(engine, history, [], "1.1")[0]
    shown, bars = history.pin(kept)
    assert shown["visible"] is True
    assert bars["headline"] == "1.1"
    assert "without L1H1" in bars["summary"]
    nothing_removed = history.pin(tried(engine, history, kept, "")[0])[1]["summary"]
    assert nothing_removed == f"“{PROMPT}” · all heads in place"


def test_the_main_result_is_taken_away(engine):
    lab = LabHandlers(engine)
    assert "Run" in next(iter(lab.take("hostile")))["empty"]
    *_, taken = lab.take(asked(engine, "small", PROMPT, "1.1", "mean", "", ""))
    assert {file["name"].rpartition(".")[2] for file in taken["files"]} == {"json", "csv", "py"}
    assert taken["left_out"] == []
    code = next(file["text"] for file in taken["files"] if file["name"].endswith("result.py"))
    assert "ablate(" in code
    assert "open_atlas('atlas.h5')" in code


def test_the_code_that_is_taken_away_prints_what_the_page_shows(engine, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    what = asked(engine, "small", PROMPT, "1.1", "zero", "", "")
    *_, taken = LabHandlers(engine).take(what)
    code = next(file["text"] for file in taken["files"] if file["name"].endswith("result.py"))
    names: dict = {}
    exec(compile(code, "result.py", "exec"), names)
    printed = capsys.readouterr().out
    with engine.use("small") as model:
        run = ablate(model, PROMPT, what.heads, "zero")
    for value in (names["result"].effects["logprob"], names["result"].top()[0].ablated):
        assert str(value) in printed
    assert names["result"].effects["logprob"] == pytest.approx(run.effects["logprob"], abs=1e-5)
    assert names["result"].top()[0].ablated == pytest.approx(run.top()[0].ablated, abs=1e-5)
