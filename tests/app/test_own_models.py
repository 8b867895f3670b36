"""Models that a visitor brings, and quick atlases of them: on a machine of one's own, and never on a public server."""

from __future__ import annotations

import time

import gradio as gr
import pytest

from head_atlas.app.engine import Engine
from head_atlas.app.lab_model import OwnModelHandlers, opened_name
from head_atlas.app.library import Library
from head_atlas.app.limits import Limits
from head_atlas.app.server import library_of
from head_atlas.errors import AtlasError, HeadAtlasError, ModelError


@pytest.fixture
def own(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Engine(Library.of(str(place), own_models=True), Limits())


def test_a_folder_opens_once_and_without_an_atlas(own, place):
    assert own.library.open(f" {place / 'model'} ") == "small"  # served already
    (place.parent / "other").symlink_to(place / "model")
    name = own.library.open(str(place.parent / "other"))
    assert own.library.open(str(place.parent / "other")) == name
    assert own.library.names == ["small", "other"]
    with pytest.raises(AtlasError, match="without an atlas"):
        own.library.atlas(name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        None,
        7,
        ["gpt2"],
        "/nowhere/at/all",
        "../..",
        "a/b/c",
        "x" * 400,
        "x" * 290,
        "~nobody-at-all/x/y",
        "gpt2\nrm",
        "https://x/y",
    ],
)
def test_what_is_no_model_is_refused(own, text):
    with pytest.raises(ModelError):
        own.library.open(text)
    assert own.library.names == ["small"]


def test_a_public_server_opens_and_builds_nothing_else(place):
    engine = Engine(Library.of(str(place)), Limits())
    handlers = OwnModelHandlers(engine)
    for answer in (handlers.open("gpt2", 0), handlers.start("small"), [handlers.stop()]):
        notes = [part for part in answer if isinstance(part, dict) and part.get("kind")]
        assert notes[0]["kind"] == "error"
        assert "Only the models of the menu" in notes[0]["text"]
    assert engine.library.names == ["small"]
    assert engine.builder.state().text == ""


@pytest.mark.parametrize(
    ("environment", "host", "allowed", "names"),
    [
        ({}, "127.0.0.1", True, 1),
        ({}, "0.0.0.0", False, 1),
        ({"SPACE_ID": "me/space"}, "127.0.0.1", False, 1),
        ({"MODELS": "gpt2,EleutherAI/pythia-70m"}, "127.0.0.1", False, 3),
    ],
)
def test_who_may_bring_models(place, environment, host, allowed, names):
    library = library_of({"MODEL": str(place), **environment}, host)
    assert library.own_models is allowed
    assert len(library.names) == names


def test_opening_tells_the_page_to_show_it(own):
    handlers = OwnModelHandlers(own)
    menu, note, opened = handlers.open("gpt2", "small#4")
    assert (menu["value"], opened) == ("gpt2", "gpt2#5")
    assert opened_name(opened) == "gpt2"
    assert opened_name("a#b/c#12") == "a#b/c"
    for forged in (None, 7, "gpt2", "", "#" + "9" * 5000):
        assert opened_name(handlers.open("gpt2", forged)[2]) == "gpt2"
    assert menu["choices"] == ["small", "gpt2"]
    assert note["kind"] == "done"
    nothing, note, same = handlers.open("no such/model at all", 4)
    assert (nothing, same) == (gr.skip(), gr.skip())
    assert note["kind"] == "error"


def test_an_entry_with_an_atlas_is_not_built_again(own):
    with pytest.raises(HeadAtlasError, match="has an atlas already"):
        own.builder.start("small")


def wait_for(condition, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)


@pytest.mark.slow
def test_a_quick_atlas_is_stopped_goes_on_and_is_opened(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    engine = Engine(Library.of(str(place / "model"), own_models=True), Limits())
    handlers = OwnModelHandlers(engine)
    out = engine.library.quick_atlas_path("model")
    shards = out.with_name(f"{out.name}.parts")
    _, timer = handlers.start("model")
    assert timer.active
    with pytest.raises(HeadAtlasError, match="one at a time"):
        engine.builder.start("model")
    wait_for(lambda: list(shards.glob("*.h5")) or not engine.builder.state().running)
    assert handlers.look("model", "")[0]["kind"] == "busy"
    handlers.stop()
    wait_for(lambda: "goes on from here" in engine.builder.state().text)
    done = len(list(shards.glob("*.h5")))
    assert done > 0
    handlers.start("model")
    wait_for(lambda: not engine.builder.state().running and engine.builder.state().text != "starting")
    wait_for(lambda: engine.builder.state().finished)
    note, timer, opened = handlers.look("model", "")
    assert (note["kind"], timer.active, opened) == ("done", False, "model#1")
    assert engine.library.atlas("model").modes == ["zero"] or tuple(engine.library.atlas("model").modes) == ("zero",)
    assert not shards.exists() or not list(shards.glob("*.h5"))
