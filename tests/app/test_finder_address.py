from __future__ import annotations

import pytest
from full_atlas import full_contents

from head_atlas.app import finder_address
from head_atlas.app.atlas_view import atlas_view
from head_atlas.app.library import Library
from head_atlas.app.page_state import UNFILTERED, PageState, read_query
from head_atlas.store import open_atlas, write_atlas

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    path = tmp_path_factory.mktemp("full") / "atlas.h5"
    write_atlas(path, full_contents())
    with open_atlas(path) as opened:
        yield opened


@pytest.fixture
def library(atlas):
    return Library.of(str(atlas.path))


def asked(**fields):
    """A state of the open table, as the tab would settle it."""
    return PageState(tab="atlas", measure="induction", family="rand_repeat", mode="zero", view="find", **fields)


def test_filters_are_written_short_and_read_back(atlas):
    sent = {"text": " L1 ", "role": "induction", "column": "previous_token", "way": "most", "limit": "0.5"}
    texts = finder_address.written(sent | {"sort": "previous_token", "down": False})
    assert texts == ("L1", "induction", "previous_token:..0.5", "previous_token:up")
    state, problems = finder_address.settled(atlas, asked().filtered(finder_address.held(texts)))
    assert problems == []
    assert state.query().endswith("view=find&find=L1&role=induction&where=previous_token:..0.5&sort=previous_token:up")
    assert read_query(state.query()) == (state, [])
    shown = finder_address.shown(atlas, state)
    assert {key: shown[key] for key in ("text", "role", "column", "way", "limit", "sort", "down")} == {
        "text": "L1",
        "role": "induction",
        "column": "previous_token",
        "way": "most",
        "limit": "0.5",
        "sort": "previous_token",
        "down": False,
    }


def test_a_table_as_it_opens_adds_nothing_to_the_address(atlas):
    empty = finder_address.written({"text": "", "role": "", "column": "", "way": "least", "limit": "", "sort": ""})
    assert empty == UNFILTERED
    own_order, _ = finder_address.settled(atlas, asked(sort="induction"))
    assert own_order.sort == ""
    assert finder_address.shown(atlas, own_order)["sort"] == ""


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("role", HOSTILE, "role or state"),
        ("where", HOSTILE, "filtered by"),
        ("where", "roles:1..", "filtered by"),
        ("where", "induction:1e999..", "filtered by"),
        ("where", "induction:nan..", "filtered by"),
        ("where", "induction:0..1", "filtered by"),
        ("where", "no_such:0..", "filtered by"),
        ("sort", "no_such:up", "to sort by"),
        ("sort", HOSTILE, "to sort by"),
    ],
)
def test_what_the_table_cannot_do_is_refused_with_a_sentence(atlas, key, value, named):
    state, problems = finder_address.settled(atlas, asked(**{key: value}))
    assert getattr(state, key) == ""
    assert len(problems) == 1
    assert named in problems[0]
    assert value.removesuffix(":up") in problems[0]


@pytest.mark.parametrize("sent", [None, 3, [], {"text": 3, "role": ["x"], "limit": {}}, {"text": "x" * 5000}])
def test_anything_else_that_is_sent_counts_as_no_filter(sent):
    assert finder_address.written(sent) == UNFILTERED
    assert finder_address.held(sent) == UNFILTERED


def test_filters_belong_to_the_open_table(library):
    view = atlas_view(library, PageState(tab="atlas", find="L1", sort="no_such"))
    assert (view.state.find, view.state.sort, view.problems) == ("", "", [])


def test_a_view_shows_the_filters_of_its_address(library):
    view = atlas_view(library, PageState(tab="atlas", view="find", role="none", where="logit_difference:-1.5.."))
    assert view.problems == []
    assert (view.finder["asked"]["role"], view.finder["asked"]["limit"]) == ("none", "-1.5")
    names = [column["name"] for column in view.finder["columns"]]
    assert len(set(names)) == len(names)
    assert view.finder["asked"]["column"] in names
