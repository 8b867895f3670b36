"""Runs on a model that others use: the place in the line, turns, time, and leaving."""

from __future__ import annotations

from threading import Event
from types import SimpleNamespace

import pytest
from gradio.context import LocalContext

from head_atlas.app import lab_sections
from head_atlas.app.about_tab import AboutHandlers
from head_atlas.app.chapters import CHAPTERS
from head_atlas.app.engine import Engine
from head_atlas.app.lab_analysis import AnalysisHandlers
from head_atlas.app.lab_handlers import LabHandlers
from head_atlas.app.lab_running import OutOfTime, in_background, result_of, waiting_text
from head_atlas.app.lab_view import asked
from head_atlas.app.learn_tab import LearnHandlers
from head_atlas.app.limits import Limits
from head_atlas.live.cache import Place
from head_atlas.models.readers import LayerWatch

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
NO_TIME = "no run may hold the model for longer here"
OPTIONS = {"paths": ["L3H0.k, L3H1.q", "denoise"], "trace": ["cat", "resid_pre", 1, 3, 4]}
"""Where the defaults of the options give one step, or an error."""


@pytest.mark.parametrize(("analysis", "options"), ALL, ids=[analysis.key for analysis, _ in ALL])
def test_every_analysis_stops_when_its_time_is_up_and_frees_the_model(library, analysis, options):
    engine = Engine(library, Limits(run_seconds=0))
    experiment = ("small", PROMPT, "1.1, 2.2", "zero", " mat", " cat", CORRUPTED)
    values = OPTIONS.get(analysis.key) or [component.value for component in options()]
    *_, last = AnalysisHandlers(engine, analysis).run(*experiment, *values)
    assert last[0]["kind"] == "error"
    assert NO_TIME in last[0]["text"]
    with engine.use("small"):
        pass


class Ticking:
    """A clock by which a second passes from one look to the next."""

    def __init__(self):
        self.now = 0

    def __call__(self):
        self.now += 1
        return self.now


def test_a_run_without_parts_stops_in_front_of_the_layer_at_which_its_time_is_up(library):
    engine = Engine(library, Limits(run_seconds=9), Ticking())
    layers = []

    def run_on_and_on(model, _):
        tokens = model.tokens(PROMPT)[None]
        with model.intervening(LayerWatch(lambda: layers.append(None))):
            while True:
                model.logits(tokens)

    with pytest.raises(OutOfTime, match=r"Stopped after 9 s: no run may hold the model for longer here"):
        result_of(in_background(engine, "small", run_on_and_on))
    # One look before the first layer, and four layers a pass: the third pass is not begun.
    assert len(layers) == 8
    with engine.use("small") as model:  # free, and as before
        assert model.logits(model.tokens(PROMPT)[None]).isfinite().all()


def test_a_run_that_nobody_waits_for_stops_in_front_of_the_next_layer(engine):
    begun, ended = Event(), Event()

    def run_on_and_on(model, _):
        tokens = model.tokens(PROMPT)[None]
        begun.set()
        try:
            while True:
                model.logits(tokens)
        finally:
            ended.set()

    steps = in_background(engine, "small", run_on_and_on)
    next(steps)
    assert begun.wait(30)
    steps.close()
    assert ended.wait(30)


def test_what_a_run_found_before_its_time_was_up_is_shown(library):
    engine = Engine(library, Limits(run_seconds=9), Ticking())

    def two_parts(model, progress):
        progress.found("the first part")
        progress(1, 2)
        while True:
            model.logits(model.tokens(PROMPT)[None])

    found = []
    with pytest.raises(OutOfTime, match=r"Stopped after 9 s, at 1 of 2 in this step: no run may"):
        found.extend(step.result for step in in_background(engine, "small", two_parts))
    assert found[-1] == "the first part"


@pytest.mark.parametrize("name", ["run", "take", "look", "pick"])
def test_every_short_run_of_the_lab_has_a_limit_too(library, name):
    engine = Engine(library, Limits(run_seconds=0))
    lab = LabHandlers(engine)
    ran = asked(engine, "small", PROMPT, "1.1", "zero", "", "")
    inputs = {
        "run": ("small", PROMPT, "1.1", "zero", "", "", "", "", "atlas", None),
        "take": (ran,),
        "look": ("small", "1.1", ran),
        "pick": (ran, {"selected": [1, 1]}),
    }
    *_, last = getattr(lab, name)(*inputs[name])
    assert NO_TIME in str(last)


@pytest.mark.parametrize("name", [name for name in CHAPTERS if name != "superposition"])  # it runs no layer
def test_every_chapter_has_a_limit_too(library, name):
    chapters = LearnHandlers(Engine(library, Limits(run_seconds=0)))
    *_, (note, _) = chapters.run("small", name, 0, next(iter(CHAPTERS[name].choices)))
    # Of this invented atlas some chapters find too little to choose heads by.
    assert NO_TIME in note["text"] or "empty" in chapters.setup("small", name, 0)


def test_measuring_stored_prompts_again_has_a_limit_too(library):
    *_, (note, _) = AboutHandlers(Engine(library, Limits(run_seconds=0))).recheck("small")
    assert NO_TIME in note["text"]


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
