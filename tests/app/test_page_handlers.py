from __future__ import annotations

from typing import ClassVar
from urllib.parse import parse_qs

import gradio as gr
import pytest

from head_atlas.app import lab_view
from head_atlas.app.about_tab import AboutHandlers
from head_atlas.app.atlas_handlers import N_FILLED
from head_atlas.app.engine import Engine
from head_atlas.app.learn_tab import N_SHOWN
from head_atlas.app.library import Library
from head_atlas.app.limits import Limits
from head_atlas.app.page_handlers import N_OF_MODEL, N_RESTORED, PageHandlers
from head_atlas.app.page_state import PageState, read_query


@pytest.fixture(scope="module")
def handlers(library, engine):
    return PageHandlers(library, engine)


def test_the_address_restores_what_it_was_written_from(handlers):
    address = handlers.address(
        *("lab", "small", "logprob", "ioi", "zero", "2.5", "The cat sat", "L1H2, 0.3", "mean"),
        *("token id 7", "·cat", "kl", "The dog sat"),
    )
    state, problems = read_query(address["query"])
    assert problems == []
    assert address["query"].startswith("tab=lab")
    tab, _, model, note, measure, family, mode, head, *others = handlers.restore(address["query"], "small")[:N_RESTORED]
    headline, (prompt, removed, grid, lab_head, *lab) = others[3], others[N_FILLED - 4 :]
    assert (tab, model, note) == ("lab", "small", None)
    assert (measure["value"], family["value"], mode["value"], head) == ("logprob", "ioi", "zero", "2.5")
    assert (prompt, removed, lab_head, lab[:2]) == ("The cat sat", "1.2, 0.3", "2.5", [True, "mean"])
    assert (lab[2]["value"], lab[3]["value"], *lab[4:6]) == ("token id 7", "·cat", "kl", "The dog sat")
    assert headline["heads"][0]["title"] == "L2H5"
    assert grid["removed"] == ["1.2", "0.3"]
    assert state.family == "ioi"


def test_the_address_of_the_new_page_is_empty(handlers):
    prompt = handlers.restore("", "small")[4 + N_FILLED]
    fresh = (lab_view.AUTOMATIC, lab_view.NO_CONTRAST, lab_view.BY_ATLAS, "")
    assert handlers.address("start", "small", "induction", "rand_repeat", "zero", "", prompt, "", "zero", *fresh) == {
        "query": ""
    }


@pytest.mark.parametrize(("mode", "written"), [("zero", []), ("mean", ["mean"]), ("resample", ["resample"])])
def test_the_labs_address_names_its_mode_unless_it_is_the_default_and_back_sets_either(handlers, mode, written):
    fresh = (lab_view.AUTOMATIC, lab_view.NO_CONTRAST, lab_view.BY_ATLAS, "")
    # The Atlas has a mode of its own, which the Lab's address does not take for the Lab's.
    query = handlers.address("lab", "small", "logprob", "ioi", "mean", "", "The cat", "", mode, *fresh)["query"]
    assert parse_qs(query).get("mode", []) == written
    assert handlers.restore(query, "small")[4 + N_FILLED + 5] == mode
    assert handlers.restore("tab=atlas", "small")[4 + N_FILLED + 5] == gr.skip()


@pytest.mark.parametrize("forged", [None, 7, ["x"], {"a": 1}, "x" * 200, "\ud800"])
def test_a_forged_choice_is_not_written_to_the_address(handlers, forged):
    choices = [forged] * 4
    written = handlers.address("lab", "small", "", "", "", "", "The cat", "", *choices, "")["query"]
    assert not {"target", "contrast", "colour"} & set(parse_qs(written))
    assert handlers.address("lab", "small", *[""] * 4, "The cat", "", "zero", "", "", "", forged)["query"]
    assert "mode" not in parse_qs(written)


@pytest.mark.parametrize(
    "query",
    [
        "removed=9.9&tab=lab",
        "head=77.1",
        "model=<b>",
        "measure=__class__",
        "removed=a",
        "tab=x",
        "tab=lab&mode=x",
        "colour=x",
        "target=" + "y" * 99 + "%ff" * 9,
    ],
)
def test_an_address_that_cannot_be_honoured_says_so_and_still_opens(handlers, query):
    outputs = handlers.restore(query, "small")
    assert outputs[3]["kind"] == "error"
    assert outputs[9]["n_layers"] == 4


def test_a_page_without_an_address_is_left_as_it_was_painted(handlers):
    class Request:
        query_params: ClassVar = {"__theme": "dark", "utm": "x"}

    *nothing, address = handlers.load(Request())
    assert all(update == gr.skip() for update in nothing)
    assert address == {"filled": True}
    Request.query_params = {"head": "1.1"}
    *opened, address = handlers.load(Request())
    assert opened[7] == "1.1"
    assert len(opened) == len(nothing) == N_RESTORED + N_OF_MODEL
    assert address == {"filled": True}
    # The heat map is painted with a ring around the head; the measure, its menus and the Lab stay as they are.
    assert opened[9]["selected"] == [1, 1]
    assert opened[4] == opened[5] == gr.skip()
    assert sum(update != gr.skip() for update in opened) < 10


@pytest.mark.parametrize("data", [None, {}, {"id": "admin"}, {"id": ["lab"]}, {"id": 2}, "lab"])
def test_only_a_tab_of_the_page_can_be_chosen(handlers, data):
    assert handlers.tab_chosen(gr.EventData(None, data)) == gr.skip()
    assert handlers.tab_chosen(gr.EventData(None, {"id": "lab", "value": "Lab"})) == "lab"


def test_going_back_reads_only_text(handlers):
    for data in ({"query": "head=1.1"}, {"query": "?head=1.1"}):
        assert handlers.navigate(data, "small", None, None)[7] == "1.1"
    for data in ({"query": 7}, {}, None, {"query": "head=1.1&x=" + "y" * 5000}, {"query": "head=1.1&x=\ud800"}):
        assert handlers.navigate(data, "small", None, None)[7] == ""


def test_trying_the_landing_experiment_opens_the_lab_with_it(handlers):
    handlers.start.shown.run("small")
    tab, _, prompt, removed, *_, wanted, mode, corrupted = handlers.try_it("small", "atlas")
    assert (tab, wanted, mode, corrupted) == ("lab", True, "zero", "")
    assert prompt.startswith("Harry Potter")
    assert removed


@pytest.fixture
def two(tmp_path, place):
    """Two entries of one page: the usual one, and an atlas of another shape without a model."""
    from synthetic_atlas import synthetic_contents

    from head_atlas.store import write_atlas

    (tmp_path / "other" / "model").mkdir(parents=True)
    write_atlas(tmp_path / "other" / "atlas.h5", synthetic_contents(2, 3, n_prompts=4))
    library = Library.of(f"{place},{tmp_path / 'other'}")
    return PageHandlers(library, Engine(library, Limits()))


def test_an_address_of_another_model_leaves_nothing_of_the_first(two):
    outputs = two.restore("model=other&tab=atlas", "small")
    of_model = outputs[N_RESTORED:]
    assert len(of_model) == N_OF_MODEL
    assert all(update == gr.skip() for update in two.restore("model=other", "other")[N_RESTORED:])
    bars, swept, files, start_grid, experiment, about = (of_model[i] for i in (1, 7, 8, 9, 10, 11))
    setup = outputs[N_RESTORED - N_SHOWN + 3]
    assert "empty" in bars
    assert swept is None
    assert files == {"empty": ""}
    assert start_grid["n_heads"] == 3
    assert "starting" in experiment["empty"]
    assert "L0H" in str(setup) or "L1H" in str(setup)
    assert about == two.about.card("other")


def test_another_model_takes_the_results_of_the_first_away(two):
    from head_atlas.app.lab_sweep import Swept
    from head_atlas.app.lab_view import Asked

    outputs = two.other_model("other", "induction", "rand_repeat", "zero", {"chosen": "induction"})
    removed, grid, head, *further = outputs[1 + N_FILLED :]
    assert (removed, grid["n_heads"], head) == ("", 3, "")
    assert [menu["choices"] for menu in further[:2]] == [[lab_view.AUTOMATIC], [lab_view.NO_CONTRAST]]
    assert further[2:4] == [lab_view.BY_ATLAS, ""]
    learn = further[4 : 4 + N_SHOWN]
    assert learn[0]["chosen"] == "induction"
    assert "L0H" in str(learn[3]) or "L1H" in str(learn[3])
    assert len(further[4 + N_SHOWN :]) == N_OF_MODEL
    old = Swept(Asked("small", "x", (), "zero", None, None), " y", None, {"kl": [[0.5] * 6] * 4})
    grid = two.lab.grid("other", "", "kl", old)
    assert grid["t"] == [[None] * 3] * 2


def chapter_shown(outputs):
    return outputs[N_RESTORED - N_SHOWN]


def test_the_address_holds_the_open_chapter(handlers):
    nothing = ("small", *[""] * 4, "", "", "zero", "", "", "", "")
    assert handlers.address("learn", *nothing, {"chosen": "circuits"})["query"] == "tab=learn&chapter=circuits"
    assert handlers.address("learn", *nothing, {"chosen": "ablation"})["query"] == "tab=learn"
    assert "chapter" not in handlers.address("lab", *nothing, {"chosen": "circuits"})["query"]
    assert "chapter" not in handlers.address("learn", *nothing, {"chosen": "<b>"})["query"]


def test_an_address_opens_its_chapter_and_another_tab_leaves_it(handlers):
    assert chapter_shown(handlers.restore("tab=learn&chapter=glossary", "small"))["chosen"] == "glossary"
    here = {"chosen": "circuits"}
    assert chapter_shown(handlers.restore("tab=learn", "small", None, here))["chosen"] == "ablation"
    assert chapter_shown(handlers.restore("tab=learn&chapter=circuits", "small", None, here)) == gr.skip()
    assert chapter_shown(handlers.restore("tab=lab", "small", None, here)) == gr.skip()
    opened = handlers.restore("tab=learn&chapter=<b>", "small")
    assert "no chapter “<b>”" in opened[3]["text"]


def test_half_a_character_is_not_written_to_the_address(handlers):
    assert (
        "prompt" not in handlers.address("lab", "small", *[""] * 4, "a \ud800 b", "", "zero", "", "", "", "")["query"]
    )


def test_about_names_families_left_out_checks_and_provenance(library):
    card = AboutHandlers(Engine(library, Limits())).card("small")
    words = str(card)
    assert "greater than" in words
    assert "single tokens" in words
    assert "passed" in words
    assert "Before every prompt stands" in words
    assert "bos_policy" not in words
    assert "sha256" not in str(card["sections"])


def test_about_a_missing_atlas_is_a_sentence(tmp_path):
    assert "atlas.h5" in AboutHandlers(Engine(Library.of(str(tmp_path / "gone")), Limits())).card("gone")["empty"]


def test_a_page_state_is_readable():
    assert PageState(tab="atlas", measure="kl", family="ioi", head="2.5").query() == (
        "tab=atlas&measure=kl&family=ioi&head=2.5"
    )


def test_the_address_holds_the_views_and_both_heads(handlers):
    fresh = (lab_view.AUTOMATIC, lab_view.NO_CONTRAST, lab_view.BY_ATLAS, "")
    further = ("L0H3", "scatter", "previous_token@natural", "kl@ioi", "layer", "", "")
    written = handlers.address(
        "atlas", "small", "induction", "rand_repeat", "zero", "2.5", "", "", "zero", *fresh, None, None, *further
    )["query"]
    state, problems = read_query(written)
    assert problems == []
    # Colour by layer is what this atlas, which holds no attributions, opens on.
    found = (state.head, state.other, state.view, state.x, state.y, state.by)
    assert found == ("2.5", "0.3", "scatter", "previous_token@natural", "kl@ioi", "")
    restored = handlers.restore(written, "small")
    assert [restored[4 + i] for i in (10, 11)] == ["0.3", "scatter"]
    assert [restored[4 + i]["value"] for i in (13, 14, 15)] == ["previous_token@natural", "kl@ioi", "layer"]


def test_an_exemplar_is_taken_to_the_lab_with_its_head_removed(handlers, library):
    event = gr.EventData(None, {"prompt": 3, "head": "1.2"})
    tab, _, prompt, removed, *_, wanted, mode, corrupted = handlers.take_example(event, "small", "mean", "atlas")
    assert (tab, prompt, removed, wanted) == ("lab", library.atlas("small").prompts[3].text, "1.2", True)
    # Measured as it was seen in the atlas, where that needs no corrupted prompt; one of another prompt goes.
    assert (mode, corrupted) == ("mean", "")
    for other in ("resample_corrupted", "pattern_freeze", "", None, 7):
        assert handlers.take_example(event, "small", other, "atlas")[-2] == "zero"


@pytest.mark.parametrize(
    "data", [None, {}, {"prompt": -1, "head": "1.2"}, {"prompt": True, "head": "1.2"}, {"prompt": 3, "head": "9.9"}]
)
def test_a_forged_exemplar_is_an_error_for_the_visitor(handlers, data):
    with pytest.raises(gr.Error):
        handlers.take_example(gr.EventData(None, data), "small", "zero", "atlas")


def test_the_head_of_the_page_is_removed_on_the_prompt_of_the_lab(handlers):
    tab, _, prompt, removed, *_, wanted, mode, corrupted = handlers.take_head(
        "small", "zero", "2.5", "The cat", "atlas"
    )
    assert (tab, prompt, removed, wanted) == ("lab", "The cat", "2.5", True)
    # The prompt is the Lab's own, and so is its corrupted one.
    assert (mode, corrupted) == ("zero", gr.skip())
    with pytest.raises(gr.Error):
        handlers.take_head("small", "zero", "", "The cat", "atlas")


def test_about_measures_again_or_says_why_not(library, tmp_path):
    # The numbers of this atlas are invented: measuring again must find that.
    *_, (status, shown) = AboutHandlers(Engine(library, Limits())).recheck("small")
    assert status["kind"] == "error"
    assert status["text"].startswith("FAILED: the worst difference is")
    assert shown["sections"][0]["rows"][1]["text"].startswith("144 effects")
    gone = AboutHandlers(Engine(Library.of(str(tmp_path / "gone")), Limits()))
    *_, (status, shown) = gone.recheck("gone")
    assert status["kind"] == "error"
    assert "atlas.h5" in status["text"]
    assert "empty" in shown
    *_, (status, _) = gone.recheck({"not": "a name"})
    assert "No model" in status["text"]
