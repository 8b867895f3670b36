from __future__ import annotations

from typing import ClassVar

import gradio as gr
import pytest

from head_atlas.app.about_tab import AboutHandlers
from head_atlas.app.library import Library
from head_atlas.app.page import N_RESTORED, PageHandlers
from head_atlas.app.page_state import PageState, read_query


@pytest.fixture(scope="module")
def handlers(library, engine):
    return PageHandlers(library, engine)


def test_the_address_restores_what_it_was_written_from(handlers):
    address = handlers.address("lab", "small", "logprob", "ioi", "mean", "2.5", "The cat sat", "L1H2, 0.3")
    state, problems = read_query(address["query"])
    assert problems == []
    assert address["query"].startswith("tab=lab")
    tab, _, model, note, measure, family, mode, head, _, _, _, card, _, prompt, removed, grid, lab_head, wanted = (
        handlers.restore(address["query"])
    )
    assert (tab, model, note) == ("lab", "small", None)
    assert (measure["value"], family["value"], mode["value"], head) == ("logprob", "ioi", "mean", "2.5")
    assert (prompt, removed, lab_head, wanted) == ("The cat sat", "1.2, 0.3", "2.5", True)
    assert card["title"] == "L2H5"
    assert grid["removed"] == ["1.2", "0.3"]
    assert state.family == "ioi"


def test_the_address_of_the_new_page_is_empty(handlers):
    prompt = handlers.restore("")[13]
    assert handlers.address("start", "small", "induction", "rand_repeat", "zero", "", prompt, "") == {"query": ""}


@pytest.mark.parametrize("query", ["removed=9.9&tab=lab", "head=77.1", "model=<b>", "measure=__class__", "removed=a"])
def test_an_address_that_cannot_be_honoured_says_so_and_still_opens(handlers, query):
    outputs = handlers.restore(query)
    assert outputs[3]["kind"] == "error"
    assert outputs[9]["n_layers"] == 4


def test_a_page_without_an_address_is_left_as_it_was_painted(handlers):
    class Request:
        query_params: ClassVar = {"__theme": "dark", "utm": "x"}

    assert all(update == gr.skip() for update in handlers.load(Request()))
    Request.query_params = {"head": "1.1"}
    opened = handlers.load(Request())
    assert opened[7] == "1.1"
    assert len(opened) == N_RESTORED


def test_going_back_reads_only_text(handlers):
    for data in ({"query": "head=1.1"}, {"query": "?head=1.1"}):
        assert handlers.navigate(gr.EventData(None, data))[7] == "1.1"
    for data in ({"query": 7}, {}, None, {"query": "head=1.1&x=" + "y" * 5000}):
        assert handlers.navigate(gr.EventData(None, data))[7] == ""


def test_trying_the_landing_experiment_opens_the_lab_with_it(handlers):
    handlers.start.shown.run("small")
    tab, _, prompt, removed, *_, wanted = handlers.try_it("small", "atlas")
    assert (tab, wanted) == ("lab", True)
    assert prompt.startswith("Harry Potter")
    assert removed


def test_about_names_families_left_out_checks_and_provenance(library):
    card = AboutHandlers(library).card("small")
    words = str(card)
    assert "greater than" in words
    assert "single tokens" in words
    assert "passed" in words
    assert "bos policy" in words


def test_about_a_missing_atlas_is_a_sentence(tmp_path):
    assert "atlas.h5" in AboutHandlers(Library.of(str(tmp_path / "gone"))).card("gone")["empty"]


def test_a_page_state_is_readable():
    assert PageState(tab="atlas", measure="kl", family="ioi", head="2.5").query() == (
        "tab=atlas&measure=kl&family=ioi&head=2.5"
    )
