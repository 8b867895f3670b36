from __future__ import annotations

import json

import gradio as gr
import pytest

from head_atlas.app.atlas_handlers import AtlasHandlers
from head_atlas.app.atlas_view import atlas_view
from head_atlas.app.library import Library
from head_atlas.app.page_state import PageState


def test_the_default_view_is_the_induction_score(library):
    view = atlas_view(library, PageState())
    assert (view.state.model, view.state.measure, view.state.family) == ("small", "induction", "rand_repeat")
    excess = library.atlas("small").summary["induction_excess"].values
    assert view.grid["short"][1][2] == f"{excess[1, 2]:.2f}".replace("-", "−")
    assert "empty" in view.headline
    assert view.page == view.examples == {"empty": ""}
    assert view.problems == []


def test_an_effect_is_read_on_the_family_and_mode_asked_for(library):
    view = atlas_view(library, PageState(measure="logprob", family="ioi", mode="mean", head="L2H5"))
    expected = library.atlas("small").summary["logprob_mean"].sel(mode="mean", family="ioi")[2, 5]
    assert view.grid["text"][2][5].startswith(f"−{abs(expected):.2f} [")
    assert view.grid["text"][2][5].endswith("n = 6")
    assert view.grid["selected"] == [2, 5]
    assert view.grid["scale"]["signed"]
    assert view.headline["heads"][0]["title"] == json.loads(view.page)["pages"][0]["title"] == "L2H5"


def test_a_macro_average_has_its_interval_and_counts_families(library):
    view = atlas_view(library, PageState(measure="logprob", family="all"))
    summary = library.atlas("small").summary
    low = float(summary["logprob_macro_ci_low"].sel(mode="zero")[0, 0])
    n = int(summary["logprob_macro_n"].sel(mode="zero")[0, 0])
    assert f"[{low:+.3f}, ".replace("-", "−") in view.grid["text"][0][0]
    assert f"n = {n} families" in view.grid["text"][0][0]


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


def test_a_typed_head_fills_every_panel(library):
    head, note, grid, headline, examples, page = AtlasHandlers(library).typed(
        "small", "induction", "rand_repeat", "zero", "l1h4"
    )
    assert (head, note, grid["selected"]) == ("1.4", None, [1, 4])
    assert headline["heads"][0]["title"] == json.loads(page)["pages"][0]["title"] == "L1H4"
    assert headline["moves"]
    assert len(json.loads(examples)["heads"]) == 1


def test_an_unknown_typed_head_is_a_note_and_an_empty_page(library):
    head, note, grid, headline, examples, page = AtlasHandlers(library).typed(
        "small", "induction", "rand_repeat", "zero", "4.0"
    )
    assert note["kind"] == "error"
    assert "There is no head 4.0" in note["text"]
    # What was typed stays, to be mended; no other head's page or ring looks like the answer.
    assert head == gr.skip()
    assert headline["empty"] == note["text"]
    assert set(page) == set(examples) == {"empty"}
    assert grid["selected"] is None


@pytest.mark.parametrize("index", [["1", 2], [1], None, {"a": 1}, [True, 1], [1.5, 2], [-1, 0], "12"])
def test_a_forged_cell_is_an_error_for_the_visitor(library, index):
    for grid in ({"selected": index}, index):
        with pytest.raises(gr.Error):
            AtlasHandlers(library).picked("small", "induction", "rand_repeat", "zero", grid)


def test_a_chosen_cell_opens_its_page_and_leaves_the_ring_to_the_page(library):
    head, note, grid, headline, _, page = AtlasHandlers(library).picked(
        "small", "induction", "rand_repeat", "zero", {"selected": [2, 5], "clicks": []}
    )
    assert (head, note, json.loads(page)["pages"][0]["title"]) == ("2.5", None, "L2H5")
    # A ring in the answer would undo a later click.
    assert grid == gr.skip()
    assert "moves" not in headline
    assert "selected" not in AtlasHandlers(library).refresh("small", "kl", "ioi", "zero", "2.5")[5]


def inputs(head="", other="", view="map", x="", y="", by=""):
    return ["small", "induction", "rand_repeat", "zero", head, other, view, x, y, by, "", ""]


def test_two_heads_stand_side_by_side(library):
    _, note, _, headline, examples, page = AtlasHandlers(library).typed(*inputs("1.4", "L2H0"))
    assert note is None
    for found in (headline["heads"], json.loads(page)["pages"]):
        assert [one["title"] for one in found] == ["L1H4", "L2H0"]
    assert len(json.loads(examples)["heads"]) == 2
    _, note, _, headline, *_ = AtlasHandlers(library).typed(*inputs("1.4", "9.9"))
    assert "no head 9.9" in note["text"]
    assert [one["title"] for one in headline["heads"]] == ["L1H4"]


@pytest.mark.parametrize(
    ("head", "step", "expected"),
    [("1.4", 1, "1.5"), ("1.5", 1, "2.0"), ("0.0", -1, "3.5"), ("3.5", 1, "0.0"), ("", 1, "0.0")],
)
def test_steps_go_head_by_head_and_round(library, head, step, expected):
    assert AtlasHandlers(library).stepper(step)(*inputs(head))[0] == expected


def test_only_the_open_view_is_read(library):
    view = AtlasHandlers(library).view(*inputs(view="scatter"))
    assert len(view.scatter["points"]) == 24
    assert view.finder == {"empty": ""}
    name, scatter, finder = AtlasHandlers(library).view_chosen(gr.EventData(None, {"id": "find"}), *inputs())
    assert name == "find"
    assert scatter == gr.skip()
    assert len(finder["rows"]) == 24
    for forged in (None, {}, {"id": "admin"}, {"id": ["find"]}, "find"):
        assert AtlasHandlers(library).view_chosen(gr.EventData(None, forged), *inputs()) == [gr.skip()] * 3


def test_axes_that_the_atlas_has_not_give_way_with_a_word(library):
    view = atlas_view(library, PageState(view="scatter", x="beauty", y="kl@ioi"))
    assert view.chosen[:2] == ("induction@rand_repeat", "kl@ioi")
    assert "no axis “beauty”" in " ".join(view.problems)


@pytest.mark.parametrize("data", [None, {}, {"index": [9, 9, 9]}, {"index": "1.2"}, {"index": [-1, 0]}])
def test_a_forged_link_to_a_head_is_an_error_for_the_visitor(library, data):
    handlers = AtlasHandlers(library)
    with pytest.raises(gr.Error):
        handlers.gone(gr.EventData(None, data), *inputs()[:4], *inputs()[5:])
    good = handlers.gone(gr.EventData(None, {"index": [1, 2]}), *inputs()[:4], *inputs()[5:])
    assert good[0] == "1.2"


def test_forged_inputs_do_not_break_a_view(library):
    view = AtlasHandlers(library).view(None, ["induction"], {"x": 1}, 7, None)
    assert view.state.measure == "induction"
