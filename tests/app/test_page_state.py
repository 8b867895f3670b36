from __future__ import annotations

import pytest

from head_atlas.app.page_state import PageState, keep_heads, read_heads, read_query
from head_atlas.catalogue import EFFECTS, SCORES
from head_atlas.errors import HeadError
from head_atlas.heads import HeadId

FULL = PageState(
    tab="lab",
    model="demo",
    measure="logprob",
    mode="mean",
    family="ioi",
    head="2.5",
    prompt="a & b = “c” ${alert(1)} <b>?#%",
    removed=(HeadId(2, 5), HeadId(0, 1)),
    target="token id 17",
    contrast=" Potter & co",
    colour="kl",
    chapter="circuits",
)


def test_an_address_reads_back_as_it_was_written():
    assert read_query(FULL.query()) == (FULL, [])
    assert read_query("?" + FULL.query()) == (FULL, [])


def test_the_new_page_has_an_empty_address():
    assert PageState().query() == ""
    assert read_query("") == (PageState(), [])


def test_heads_stay_readable_in_an_address():
    assert PageState(tab="lab", removed=FULL.removed).query() == "tab=lab&removed=2.5,0.1"


def test_unknown_keys_and_tabs_are_left_out():
    state, problems = read_query("tab=admin&__theme=dark&file=/etc/passwd&head=1.1")
    assert state == PageState(head="1.1")
    assert problems == ["There is no tab “admin”; the page opens on Start."]


def test_what_is_too_long_is_left_out_with_a_sentence():
    state, problems = read_query({"prompt": "x" * 5000, "head": "1.1"})
    assert state == PageState(head="1.1")
    assert problems == ["The prompt in the address is too long and was left out."]


def test_removed_heads_that_cannot_be_read_are_named():
    state, problems = read_query("removed=1.1,seven")
    assert state.removed == ()
    assert "'seven'" in problems[0]


def test_a_flood_of_fields_is_refused():
    assert read_query("&".join(f"a{i}=1" for i in range(100)))[1] == [
        "The address could not be read, so the page opens as new."
    ]


@pytest.mark.parametrize(
    "text", ["2.5, L1H0", "L2H5,1.0", "2.5;1.0", "2.5 1.0", "L2 H5, l1h0", "2.5,1.0,2.5", " 2.5 ,, 1.0 "]
)
def test_lists_of_heads_are_read_in_every_spelling(text):
    assert read_heads(text, most=9) == (HeadId(2, 5), HeadId(1, 0))


def test_no_heads_is_an_empty_list():
    assert read_heads("", most=9) == ()


@pytest.mark.parametrize("text", ["2", "2.x", "<b>", "1.1, 2.", "-1.2"])
def test_what_is_no_head_is_an_error(text):
    with pytest.raises(HeadError, match="expected a head"):
        read_heads(text, most=9)


def test_too_many_heads_are_an_error():
    with pytest.raises(HeadError, match="3 heads at once are too many; at most 2"):
        read_heads("0.0,0.1,0.2", most=2)


def test_heads_beyond_the_model_are_named():
    kept, problems = keep_heads((HeadId(0, 1), HeadId(9, 9)), 4, 6)
    assert kept == (HeadId(0, 1),)
    assert problems == ["There is no head 9.9: this model has layers 0 to 3 and heads 0 to 5."]


def test_a_measure_name_is_enough_for_an_address():
    # "measure=induction" has to mean one thing.
    assert not set(SCORES) & set(EFFECTS)
