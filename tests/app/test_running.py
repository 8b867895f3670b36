"""Runs on a model that others use: the place in the line, turns, time, and leaving."""

from __future__ import annotations

from threading import Event
from types import SimpleNamespace

import pytest
from gradio.context import LocalContext

from head_atlas.app import lab_sections
from head_atlas.app.engine import Engine
from head_atlas.app.lab_analysis import AnalysisHandlers
from head_atlas.app.lab_handlers import LabHandlers
from head_atlas.app.lab_running import in_background, result_of, waiting_text
from head_atlas.app.limits import Limits
from head_atlas.live.cache import Place

PROMPT = "The cat sat on the mat. The cat sat on the"
CORRUPTED = "The cat sat on the cat. The cat sat on the"


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (Place(1, None), "Waiting for the model: one run is before yours"),
        (Place(3, 5.6), "Waiting for the model: 3 runs are before yours; about 6 s"),
        (Place(2, 0.01), "Waiting for the model: 2 runs are before yours; about 1 s"),
    ],
)
def test_a_place_in_words(place, words):
    assert waiting_text(place) == words


def test_a_visitor_who_waits_sees_how_many_are_first(engine):
    run = LabHandlers(engine).run("small", PROMPT, "1.1", "zero", "", "", "", "", "atlas", None)
    second = AnalysisHandlers(engine, lab_sections.SECTIONS[0][2][0][0]).run("small", PROMPT, "", "zero", "", "", "")
    with engine.use("small"):
        assert any("one run is before yours" in step[0]["text"] for step in run)
        assert any("2 runs are before yours" in step[0]["text"] for step in second)
    assert [step[0]["kind"] for step in run][-1] == "done"
    assert [step[0]["kind"] for step in second][-1] == "done"


def test_a_short_run_waits_for_one_step_of_a_long_one(engine):
    begun, others = Event(), Event()

    def long(_, progress):
        for step in range(1000):
            progress(step, 1000)
            begun.set()
            if others.is_set():
                return step
        raise AssertionError("nobody else had a turn")

    steps = in_background(engine, "small", long)
    next(steps, None)
    assert begun.wait(30)
    with engine.use("small"):
        others.set()
    assert result_of(steps) < 999


def test_a_visitor_who_leaves_while_waiting_is_out_of_the_line(engine):
    gone = in_background(engine, "small", lambda *_: "gone")
    with engine.use("small"):
        assert any("before yours" in step.text for step in gone)
        gone.close()
    last = in_background(engine, "small", lambda *_: "there")
    assert result_of(last) == "there"
    assert not engine._models("small")._entries["small"].line


def test_time_spent_waiting_is_not_time_spent_running(library):
    engine = Engine(library, Limits(run_seconds=1))
    with engine.use("small"):
        waiting = in_background(engine, "small", lambda _, progress: progress(1, 2) or "done")
        for _ in range(3):  # a beat of one second each
            next(waiting)
    assert result_of(waiting) == "done"


ALL = [lab_sections.TOKENS, *(pair for _, _, pairs in lab_sections.SECTIONS for pair in pairs)]
ONE_PASS = {"lens"}
"""Analyses of one run of the model: nothing in them could be stopped."""
OPTIONS = {"paths": ["L3H0.k, L3H1.q", "denoise"], "trace": ["cat", "resid_pre", 1, 3, 4]}
"""Where the defaults of the options give one step, or an error."""


@pytest.mark.parametrize(("analysis", "options"), ALL, ids=[analysis.key for analysis, _ in ALL])
def test_every_analysis_stops_when_its_time_is_up_and_frees_the_model(library, analysis, options):
    engine = Engine(library, Limits(run_seconds=0))
    experiment = ("small", PROMPT, "1.1, 2.2", "zero", " mat", " cat", CORRUPTED)
    values = OPTIONS.get(analysis.key) or [component.value for component in options()]
    *_, last = AnalysisHandlers(engine, analysis).run(*experiment, *values)
    if analysis.key in ONE_PASS:
        assert last[0]["kind"] == "done"
    else:
        assert "Stopped after 0 s" in last[0]["text"]
    with engine.use("small"):
        pass


def test_a_run_may_be_refused_before_it_begins(library):
    engine = Engine(library, Limits(queue_size=1))
    token = LocalContext.request.set(SimpleNamespace(client=SimpleNamespace(host="192.0.2.1")))
    try:
        with engine.visitors.admitted("someone"):
            *_, last = LabHandlers(engine).run("small", PROMPT, "1.1", "zero", "", "", "", "", "atlas", None)
    finally:
        LocalContext.request.reset(token)
    assert last[0]["kind"] == "error"
    assert "This server is busy" in last[0]["text"]
    assert not engine.ready("small")
