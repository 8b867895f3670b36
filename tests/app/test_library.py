from __future__ import annotations

import dataclasses
import hashlib
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import h5py
import numpy as np
import pytest
from synthetic_atlas import flip_bits, synthetic_contents

from head_atlas.app.about_tab import AboutHandlers
from head_atlas.app.embedding import embedded_head
from head_atlas.app.engine import MOST_DRAWS, Engine
from head_atlas.app.library import Library, Served, served_from
from head_atlas.app.limits import Limits
from head_atlas.app.public_api import BrowsingCalls, ExperimentCalls
from head_atlas.app.server import is_public, library_of
from head_atlas.errors import AtlasError, HeadAtlasError, MissingReferenceError, ModelError, PromptError
from head_atlas.exchange import difference
from head_atlas.store import open_atlas, write_atlas
from head_atlas.store.contents import ResamplePrompts
from head_atlas.store.fetching import checksum_line
from hub_server import point_client_at, serving


def test_a_folder_serves_its_atlas_and_its_model(place, library):
    assert library.names == ["small"]
    assert library.atlas("small").n_heads == 6
    assert library.atlas("small") is library.atlas("small")
    assert library.model_source("small") == (str(place / "model"), None)


def test_every_kind_of_place_is_recognised(place, tmp_path):
    assert served_from(str(place / "atlas.h5")) == Served("atlas", place / "atlas.h5", str(place / "model"))
    assert served_from(str(place / "model")) == Served("model", None, str(place / "model"))
    assert served_from("openai-community/gpt2") == Served("gpt2", None, "openai-community/gpt2")
    assert served_from(str(tmp_path / "gone")) == Served("gone", tmp_path / "gone" / "atlas.h5", None)


def test_names_are_unique(place):
    assert Library.of(f"{place},{place}").names == ["small", "small-2"]


def test_a_missing_atlas_is_an_error_in_words(tmp_path):
    library = Library.of(str(tmp_path / "gone"))
    with pytest.raises(AtlasError, match=r"atlas\.h5"):
        library.atlas("gone")
    assert library.atlas_or_none("gone") is None
    with pytest.raises(ModelError, match="no model lies beside the atlas"):
        library.model_source("gone")


def test_visitors_of_a_public_server_do_not_learn_where_its_files_lie(tmp_path, place, caplog):
    gone, odd = tmp_path / "gone", tmp_path / "odd"
    (odd / "model").mkdir(parents=True)
    (odd / "atlas.h5").write_bytes((place / "atlas.h5").read_bytes())
    (odd / "model" / "config.json").write_text("{")
    library = Library.of(f"{gone},{odd}")
    engine = Engine(library, Limits())
    for _ in range(2):
        with pytest.raises(AtlasError, match=r"^there is no atlas at gone/atlas\.h5$"):
            library.atlas("gone")
    with pytest.raises(ModelError, match="'odd/model'") as refusal, engine.use("odd"):
        pass
    assert str(tmp_path) not in str(refusal.value)
    # The owner reads it in the log, and on a machine of one's own also on the page.
    assert [str(gone / "atlas.h5") in line.getMessage() for line in caplog.records].count(True) == 1
    with pytest.raises(AtlasError, match=str(gone)):
        Library.of(str(gone), own_models=True).atlas("gone")


def damaged(path):
    """Flip a bit in arrays that are stored in chunks; returns their places."""
    with h5py.File(path) as file:
        groups = ("scores", "effects", "weights", "exemplars/families")
        places = [f"{group}/{name}" for group in groups for name, one in file[group].items() if one.chunks]
    flip_bits(path, *places)
    return places


def test_what_is_damaged_within_an_atlas_does_not_say_where_it_lies(tmp_path, place):
    folder = tmp_path / "bad"
    folder.mkdir()
    path = folder / "atlas.h5"
    path.write_bytes((place / "atlas.h5").read_bytes())
    places = damaged(path)
    library = Library.of(str(folder))
    atlas = library.atlas("bad")
    for where in places:
        with pytest.raises(AtlasError, match=rf"^bad/atlas\.h5: /{where} cannot be read") as refusal:
            atlas.read(where)
        assert str(tmp_path) not in str(refusal.value)
    with pytest.raises(AtlasError, match=r"^bad/atlas\.h5: /") as refusal:
        BrowsingCalls(library).head_examples("0.4", where="families")
    assert str(tmp_path) not in str(refusal.value)
    assert str(tmp_path) not in str(embedded_head(library, {"head": "0.4"}))
    with pytest.raises(AtlasError, match=r"^bad/atlas\.h5: /"):
        difference(atlas, atlas)
    # On a machine of one's own, and in the library, it is the path.
    for own in (Library.of(str(folder), own_models=True).atlas("bad"), open_atlas(path)):
        with pytest.raises(AtlasError, match=f"^{path}: /{places[0]} cannot be read"):
            own.read(places[0])


def test_an_atlas_with_very_many_reference_prompts_takes_no_visitors_time(tmp_path):
    """Resample ablation runs each of them, in one step."""
    contents = synthetic_contents(4, 6, n_prompts=6)
    many = ResamplePrompts(np.zeros((MOST_DRAWS + 1, 3), int), "a stranger", 0)
    write_atlas(tmp_path / "atlas.h5", dataclasses.replace(contents, resample_prompts=many))
    engine = Engine(Library.of(str(tmp_path / "atlas.h5")), Limits())
    with pytest.raises(MissingReferenceError, match=f"{MOST_DRAWS + 1} reference prompts .* at most {MOST_DRAWS}"):
        engine.resample_reference("atlas", None)


def test_an_atlas_with_a_seed_that_is_none_is_told_in_words(place, tmp_path):
    contents = synthetic_contents(4, 6, n_prompts=6)
    odd = ResamplePrompts(np.zeros((2, 3), int), "a stranger", -1)
    write_atlas(tmp_path / "atlas.h5", dataclasses.replace(contents, resample_prompts=odd))
    served = Library([Served("odd", tmp_path / "atlas.h5", str(place / "model"))])
    calls = ExperimentCalls(Engine(served, Limits()))
    with pytest.raises(HeadAtlasError, match=r"seed must be a whole number from 0 .* found '-1'"):
        calls.ablate("The cat sat", "1.1", mode="resample")


def test_an_atlas_that_appears_later_is_opened(place, tmp_path):
    library = Library.of(str(tmp_path / "late"))
    assert library.atlas_or_none("late") is None
    (tmp_path / "late").mkdir()
    (tmp_path / "late" / "atlas.h5").write_bytes((place / "atlas.h5").read_bytes())
    assert library.atlas("late").n_layers == 4


def test_an_unknown_name_is_an_error_that_says_what_there_is(library):
    with pytest.raises(AtlasError, match="No model 'other' is served here; there is small"):
        library.atlas("other")


def published(place):
    body = (place / "atlas.h5").read_bytes()
    return {"atlas.h5": body, "atlas.h5.sha256": checksum_line(hashlib.sha256(body).hexdigest()).encode()}


def test_while_one_atlas_is_downloaded_another_can_be_browsed(place, tmp_path, monkeypatch):
    with serving() as hub:
        point_client_at(monkeypatch, hub.address, tmp_path)
        hub.add("datasets", "someone/heads", published(place))
        hub.held["atlas.h5"] = arrives = Event()
        library = Library.of(f"hub:someone/heads,{place}")
        with ThreadPoolExecutor(2) as threads:
            far = threads.submit(library.atlas, "heads")
            near = threads.submit(library.atlas, "small")
            assert near.result(timeout=50).source is None
            assert not far.done()
            arrives.set()
            assert far.result(timeout=50).source is not None


def test_a_published_atlas_is_served_and_a_failure_is_said(place, tmp_path, monkeypatch):
    files = published(place)
    with serving() as hub:
        point_client_at(monkeypatch, hub.address, tmp_path)
        commit = hub.add("datasets", "someone/heads", files).branches["main"]
        library = Library.of(f"hub:someone/heads,{place},hub:no/such@v1,hub:nonsense")
        assert library.names == ["heads", "small", "such", "hub:nonsense"]
        assert library.atlas("heads") is library.atlas("heads")
        about = AboutHandlers(Engine(library, Limits()))
        inner = [section.get("section", section) for section in about.card("heads")["sections"]]
        rows = {row["label"]: row["text"] for section in inner for row in section.get("rows", [])}
        assert rows["Always this version"] == f"hub:someone/heads@{commit}"
        assert rows["This file (SHA-256)"] == hashlib.sha256(files["atlas.h5"]).hexdigest()

        assert about.card("such")["empty"].startswith("there is no data set 'no/such' on the hub")
        assert "is not the address of an atlas" in about.card("hub:nonsense")["empty"]
        hub.asked.clear()
        assert library.atlas_or_none("such") is None
        assert hub.asked == []  # visitors do not make it ask again and again
        assert library.atlas("small").source is None
        patient = Library([served_from("hub:no/such@v1")], pause=0)
        assert patient.atlas_or_none("such") is None
        hub.add("datasets", "no/such", files).tags["v1"] = commit
        assert patient.atlas("such").source.commit == commit


def test_limits_come_from_the_environment():
    assert Limits.from_environment({"PROMPT_TOKENS": "64", "QUEUE_SIZE": ""}) == Limits(prompt_tokens=64)


def test_visitors_are_counted_by_default_only_where_others_come():
    assert Limits.from_environment({}) == Limits()
    own = Limits.from_environment({}, public=False)
    assert (own.runs_per_minute, own.runs_at_once, own.reads_per_minute) == (0, 0, 0)
    assert own.run_seconds == Limits().run_seconds
    assert Limits.from_environment({"RUNS_PER_MINUTE": "5"}, public=False).runs_per_minute == 5
    assert Limits.from_environment({"RUNS_PER_MINUTE": "0"}).runs_per_minute == 0
    with pytest.raises(ValueError, match="RUNS_AT_ONCE must be a whole number or 0, found 'no'"):
        Limits.from_environment({"RUNS_AT_ONCE": "no"})


@pytest.mark.parametrize(
    ("environment", "host", "public"),
    [
        ({}, "127.0.0.1", False),
        ({"PUBLIC": "0"}, "localhost", False),
        ({"PUBLIC": "1"}, "127.0.0.1", True),
        ({"SPACE_ID": "x/y"}, "127.0.0.1", True),
        ({"MODELS": "gpt2"}, "::1", True),
        ({}, "0.0.0.0", True),
    ],
)
def test_on_a_public_server_no_visitor_brings_a_model(place, environment, host, public):
    assert is_public(environment, host) == public
    assert library_of({"MODEL": str(place), **environment}, host).own_models != public


@pytest.mark.parametrize("text", ["0", "-3", "many", "1.5"])
def test_a_limit_that_is_no_number_is_an_error_that_names_it(text):
    with pytest.raises(ValueError, match="PROMPT_TOKENS must be a whole number above 0"):
        Limits.from_environment({"PROMPT_TOKENS": text})


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_an_empty_prompt_is_refused(text):
    with pytest.raises(PromptError, match="The prompt is empty"):
        Limits().check_text(text)


def test_a_prompt_of_too_many_characters_is_refused_before_it_is_tokenised():
    with pytest.raises(PromptError, match="2001 characters long; at most 2000"):
        Limits().check_text("x" * 2001)
