from __future__ import annotations

import gradio as gr
import pytest

from head_atlas.app.atlas_tab import AtlasHandlers
from head_atlas.app.atlas_view import atlas_view
from head_atlas.app.library import Library
from head_atlas.app.page_state import PageState


def test_the_default_view_is_the_induction_score(library):
    view = atlas_view(library, PageState())
    assert (view.state.model, view.state.measure, view.state.family) == ("small", "induction", "rand_repeat")
    excess = library.atlas("small").summary["induction_excess"].values
    assert view.grid["short"][1][2] == f"{excess[1, 2]:.2f}".replace("-", "−")
    assert "empty" in view.card
    assert view.problems == []


def test_an_effect_is_read_on_the_family_and_mode_asked_for(library):
    view = atlas_view(library, PageState(measure="logprob", family="ioi", mode="mean", head="L2H5"))
    expected = library.atlas("small").summary["logprob_mean"].sel(mode="mean", family="ioi")[2, 5]
    assert view.grid["text"][2][5].startswith(f"−{abs(expected):.2f} [")
    assert view.grid["text"][2][5].endswith("n = 6")
    assert view.grid["selected"] == [2, 5]
    assert view.grid["scale"]["signed"]
    assert view.card["title"] == "L2H5"


def test_a_macro_average_has_no_invented_interval(library):
    view = atlas_view(library, PageState(measure="logprob", family="all"))
    assert "[" not in view.grid["text"][0][0]
    assert "n =" not in view.grid["text"][0][0]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (PageState(head="9.9"), "There is no head 9.9"),
        (PageState(head="<img src=x>"), "Expected a head such as 2.5"),
        (PageState(measure="beauty"), "no measure “beauty”; induction is shown"),
        (PageState(measure="kl", family="royal"), "no prompt family “royal” for kl; all is shown"),
        (PageState(mode="resample"), "no ablation mode “resample”; zero is shown"),
        (PageState(model="gpt9"), "No model “gpt9” is served here; this is small."),
    ],
)
def test_what_cannot_be_honoured_is_said_and_the_page_still_shows(library, state, words):
    view = atlas_view(library, state)
    assert words in " ".join(view.problems)
    assert view.grid["n_heads"] == 6


def test_a_family_that_does_not_fit_a_new_measure_gives_way_quietly(library):
    _, family, _, _, note, *_ = AtlasHandlers(library).refresh("small", "previous_token", "ioi", "zero", "")
    assert family["value"] == "rand_flat"
    assert note is None


@pytest.mark.parametrize("content", [None, b"not an atlas", b"\x89HDF\r\n\x1a\n" + b"\0" * 3000])
def test_a_missing_or_damaged_atlas_is_a_sentence(tmp_path, content):
    folder = tmp_path / "broken"
    folder.mkdir()
    if content is not None:
        (folder / "atlas.h5").write_bytes(content)
    view = atlas_view(Library.of(str(folder)), PageState(head="1.1"))
    assert "atlas.h5" in view.grid["empty"]
    assert view.problems


def test_a_typed_head_fills_grid_and_card(library):
    handlers = AtlasHandlers(library)
    head, note, grid, _, card, profile = handlers.typed("small", "induction", "rand_repeat", "zero", "l1h4")
    assert "L1H4" in profile["sections"][0]["title"]
    assert (head, note, grid["selected"], card["title"]) == ("1.4", None, [1, 4], "L1H4")


def test_an_unknown_typed_head_is_a_note_and_an_empty_card(library):
    head, note, grid, sentence, card, profile = AtlasHandlers(library).typed(
        "small", "induction", "rand_repeat", "zero", "4.0"
    )
    assert note["kind"] == "error"
    assert "There is no head 4.0" in note["text"]
    # What was typed stays, to be mended; no other head's card or ring looks like the answer.
    assert head == sentence == gr.skip()
    assert card == {"empty": note["text"]}
    assert set(profile) == {"empty"}
    assert grid["selected"] is None


@pytest.mark.parametrize("index", [["1", 2], [1], None, {"a": 1}, [True, 1], [1.5, 2], [-1, 0], "12"])
def test_a_forged_cell_is_an_error_for_the_visitor(library, index):
    for grid in ({"selected": index}, index):
        with pytest.raises(gr.Error):
            AtlasHandlers(library).picked("small", "induction", "rand_repeat", "zero", grid)


def test_a_chosen_cell_opens_its_card_and_leaves_the_ring_to_the_page(library):
    head, note, grid, _, card, _ = AtlasHandlers(library).picked(
        "small", "induction", "rand_repeat", "zero", {"selected": [2, 5], "clicks": []}
    )
    assert (head, note, card["title"]) == ("2.5", None, "L2H5")
    # A ring in the answer would undo a later click.
    assert grid == gr.skip()
    assert "selected" not in AtlasHandlers(library).refresh("small", "kl", "ioi", "zero", "2.5")[5]


def test_forged_inputs_do_not_break_a_view(library):
    view = AtlasHandlers(library).view(None, ["induction"], {"x": 1}, 7, None)
    assert view.state.measure == "induction"
