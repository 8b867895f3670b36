from __future__ import annotations

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from urllib.parse import parse_qs

import gradio as gr
import numpy as np
import pytest
from synthetic_atlas import synthetic_contents

from head_atlas.app import compare_view as compare_module
from head_atlas.app.compare_changes import changes_figure
from head_atlas.app.compare_tab import CompareHandlers
from head_atlas.app.compare_view import compare_view
from head_atlas.app.engine import Engine
from head_atlas.app.library import Library
from head_atlas.app.limits import Limits
from head_atlas.app.page_handlers import N_OF_MODEL, N_RESTORED, PageHandlers
from head_atlas.app.page_state import PageState, read_query
from head_atlas.exchange import match_heads
from head_atlas.exchange.difference import Change, Difference, RoleChange
from head_atlas.named_array import NamedArray
from head_atlas.store import write_atlas

SKIPPED = [gr.skip()] * 5


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """`one`; `two`, where removing L1H2 costs 2 more on every prompt; `deep`, of another shape; and nothing."""
    folder = tmp_path_factory.mktemp("compared")
    one = synthetic_contents(2, 4, n_prompts=20)
    changed = dict(one.arrays)
    effect = np.array(changed["effects/logit_difference"].values)
    effect[:, 1, 2] -= 2
    changed["effects/logit_difference"] = NamedArray(effect, ("mode", "layer", "head", "prompt"))
    contents = {
        "one": one,
        "two": dataclasses.replace(one, arrays=changed),
        "deep": synthetic_contents(3, 4, n_prompts=8),
    }
    for name, some in contents.items():
        (folder / name / "model").mkdir(parents=True)
        write_atlas(folder / name / "atlas.h5", some)
    return Library.of(",".join(str(folder / name) for name in ("one", "two", "deep", "gone")))


@pytest.fixture(scope="module")
def handlers(served):
    return CompareHandlers(served)


def tables_of(view):
    """The lists of what changed, which stand beside each other."""
    (pair,) = (block for block in view.changes["blocks"] if block["kind"] == "pair")
    return [block for block in pair["blocks"] if block["kind"] == "table"]


def test_every_panel_is_filled_with_plain_values(handlers):
    menu, *panels = handlers.fill("compare", "one", "two", None)
    assert (menu["choices"], menu["value"]) == (["two", "deep", "gone"], "two")
    for panel in panels:
        json.dumps(panel, allow_nan=False)
        assert "empty" not in panel


def test_a_slow_comparison_keeps_nobody_waiting_but_those_who_ask_for_the_same(served, monkeypatch):
    places = [str(served.entry(name).atlas_path.parent) for name in ("one", "two", "deep")]
    library = Library.of(",".join(places))  # nothing compared yet
    begun, release, compared = Event(), Event(), []

    def slow(first, second):
        compared.append((first.path.parent.name, second.path.parent.name))
        if compared[-1] == ("one", "two"):
            begun.set()
            assert release.wait(60)
        return match_heads(first, second)

    monkeypatch.setattr(compare_module, "match_heads", slow)
    with ThreadPoolExecutor(3) as threads:
        same = [threads.submit(compare_view, library, "one", "two") for _ in range(2)]
        assert begun.wait(60)
        other = threads.submit(compare_view, library, "deep", "one")
        assert other.result(timeout=60).matches["rows"]
        assert not any(one.done() for one in same)
        release.set()
        first, second = (one.result(timeout=60) for one in same)
    assert first == second
    assert sorted(compared) == [("deep", "one"), ("one", "two")]


def test_the_sentence_and_the_map_say_what_changed(served):
    view = compare_view(served, "one", "two")
    assert "8 of 8 heads of one match one of the 8 heads of two" in view.summary["headline"]
    assert "8 match the head in their own place" in view.summary["headline"]
    assert "changed for 1 of 8 heads" in view.summary["headline"]
    matrix = next(block for block in view.changes["blocks"] if block["kind"] == "matrix")
    assert matrix["values"][1][2] == pytest.approx(-2, abs=0.01)
    assert [x for row in matrix["values"] for x in row].count(0.0) == 7
    # The other families have five templates, and five signs alike prove nothing.
    assert "mean over 8 families; 1 changed, most on rand repeat: −2.00 [−2.00, −2.00]" in matrix["text"][1][2]
    tables = tables_of(view)
    assert {row["cells"][0] for row in tables[-1]["rows"]} == {"L1H2"}


def test_matched_heads_are_links_to_their_pages(served):
    rows = compare_view(served, "one", "two").matches["rows"]
    assert len(rows) == 8
    for row in rows:
        first, second, similarity, *_ = row["cells"]
        assert first["text"] == second["text"]
        assert similarity["sort"] == pytest.approx(1)
        assert parse_qs(first["query"])["tab"] == ["atlas"]
        assert "model" not in parse_qs(first["query"])
        assert parse_qs(second["query"])["model"] == ["two"]
        assert read_query(second["query"])[1] == []


def test_models_of_other_shapes_are_matched_and_say_why_nothing_changed(served):
    view = compare_view(served, "one", "deep")
    assert view.matches["rows"]
    assert len(view.matches["rows"]) >= 12
    assert "other shapes (2 layers of 4 heads; 3 layers of 4 heads)" in view.changes["empty"]
    alone = [row for row in view.matches["rows"] if "none" in (row["cells"][0]["text"], row["cells"][1]["text"])]
    assert all(
        "nearer to another" in row["cells"][0 if row["cells"][0]["text"] == "none" else 1]["title"] for row in alone
    )


def test_the_other_way_round_turns_the_sign(served):
    there, back = (compare_view(served, *pair).changes["blocks"] for pair in (("one", "two"), ("two", "one")))
    values = [next(b for b in some if b["kind"] == "matrix")["values"][1][2] for some in (there, back)]
    assert values[0] == pytest.approx(-values[1])
    link = compare_view(served, "one", "two").summary["links"][0]["query"]
    assert read_query(link)[0] == PageState(tab="compare", beside="two")


def test_what_changed_is_told_from_the_model_that_the_other_is_compared_with(handlers):
    _, summary, *_ = handlers.fill("compare", "two", "one", None)
    assert "From one to two, the effect of removal changed" in summary["headline"]
    assert summary["links"][0]["text"] == "The other way round: from two to one"


def test_the_files_hold_numbers_and_not_the_texts_of_the_page(served):
    view = compare_view(served, "one", "two")
    largest = tables_of(view)[-1]["saved"]
    assert largest["columns"] == ["head", "family", "one", "two", "change", "ci_low", "ci_high", "q"]
    row = dict(zip(largest["columns"], largest["rows"][0], strict=True))
    assert (row["head"], row["change"]) == ("1.2", pytest.approx(row["two"] - row["one"], abs=1e-6))
    assert row["ci_low"] <= row["change"] <= row["ci_high"] < 0
    assert 0 < row["q"] <= 0.05

    columns = [name for column in view.matches["columns"] for name in column["saved"]]
    assert len(set(columns)) == len(columns)
    excess = served.atlas("two").summary["induction_excess"].values
    (named,) = [name for name in columns if name.startswith("Induction") and name.endswith(": two")]
    for row in view.matches["rows"]:
        cells = [x for cell in row["cells"] for x in cell["saved"]]
        found = dict(zip(columns, cells, strict=True))
        layer, head = (int(part) for part in found["match in two"].split("."))
        assert found["relative depth in two"] == (layer + 0.5) / 2
        assert found[named] == pytest.approx(float(excess[layer, head]))
        assert isinstance(found["q"], float | None)


@pytest.mark.parametrize(
    ("n", "shown", "saved", "note"),
    [
        (3, 3, 3, ""),
        (47, 20, 47, "20 of 47; “Save” gives all 47."),
        (6000, 20, 5000, "20 of 6,000; “Save” gives the first 5,000, scripts/atlas.py diff --json all."),
    ],
)
def test_a_list_of_changes_shows_some_and_its_file_has_all(n, shown, saved, note):
    changes = [Change("kl", "zero", f"f{i}", 0, i % 4, 1.0, 1.0 - x, -x, -x, -x, 0.01, paired=True, changed=True)
               for i in range(n) for x in [10 / (i + 1)]]  # fmt: skip
    unchanged = dataclasses.replace(changes[0], changed=False)
    found = Difference({}, [*changes, unchanged], [RoleChange("induction", 0, i % 4, True, True) for i in range(n)], {})
    figure = changes_figure(found, ("one", "two"), (1, 4), effect="kl", mode="zero")
    (pair,) = (block for block in figure["blocks"] if block["kind"] == "pair")
    roles, largest = pair["blocks"]
    assert (largest["title"], largest["note"]) == ("Largest changes", note)
    assert [len(largest["rows"]), len(largest["saved"]["rows"])] == [shown, saved]
    assert [row[1] for row in largest["saved"]["rows"]] == [f"f{i}" for i in range(saved)]
    assert roles["saved"]["columns"] == ["head", "role", "change", "intervals_apart"]
    assert roles["saved"]["rows"][0] == ["0.0", "induction", "gained", True]
    assert [len(roles["rows"]), len(roles["saved"]["rows"])] == [min(n, 40), saved]
    assert roles["note"].startswith("40 of") is (n > 40)


def test_a_head_without_a_match_has_no_numbers_of_one(served):
    view = compare_view(served, "one", "deep")
    columns = [name for column in view.matches["columns"] for name in column["saved"]]
    alone = [row["cells"] for row in view.matches["rows"] if row["cells"][0]["text"] == "none"]
    assert alone
    for cells in alone:
        found = dict(zip(columns, [x for cell in cells for x in cell["saved"]], strict=True))
        assert [found[name] for name in ("head of one", "similarity", "relative depth in one", "q")] == [None] * 4
        assert found["match in deep"]


def test_a_model_without_an_atlas_is_a_sentence(served):
    view = compare_view(served, "one", "gone")
    assert "atlas.h5" in view.summary["empty"]
    assert "both models" in view.summary["empty"]


def test_one_atlas_alone_says_how_to_serve_two(library):
    handlers = CompareHandlers(library)
    menu, summary, *_ = handlers.fill("compare", "small", None, None)
    assert menu["visible"] is False
    assert "MODEL=" in summary["empty"]


def test_nothing_is_computed_for_a_tab_that_is_not_open_or_shows_the_pair(handlers):
    assert handlers.fill("atlas", "one", "two", None) == SKIPPED
    assert handlers.fill("compare", "one", "two", {"pair": ["two", "one"]}) == SKIPPED
    assert handlers.fill("compare", "two", "two", {"pair": ["two", "one"]})[1]["pair"] == ["one", "two"]


@pytest.mark.parametrize("forged", [None, 7, ["two"], {"a": 1}, "<b>", "\ud800"])
def test_a_forged_model_is_the_first_other_one(handlers, forged):
    assert handlers.fill("compare", "one", forged, forged)[1]["pair"] == ["two", "one"]
    assert handlers.fill("compare", forged, "two", None)[1]["pair"] == ["two", "one"]
    assert handlers.named("compare", "one", forged) == ""


@pytest.fixture(scope="module")
def page(served):
    return PageHandlers(served, Engine(served, Limits()))


def test_the_address_holds_the_other_model_and_restores_it(page):
    nothing = ("one", *[""] * 4, "", "", "zero", "", "", "", "", None)
    assert page.address("compare", *nothing, "deep")["query"] == "tab=compare&with=deep"
    assert page.address("compare", *nothing, "two")["query"] == "tab=compare"
    assert "with" not in page.address("atlas", *nothing, "deep")["query"]
    restored = page.restore("tab=compare&model=two&with=deep", "one")
    assert len(restored) == N_RESTORED + N_OF_MODEL
    assert restored[0] == "compare"
    assert any(
        isinstance(x, dict) and x.get("choices") == ["one", "deep", "gone"] and x["value"] == "deep" for x in restored
    )


def test_an_address_with_a_model_that_is_not_served_says_so(page):
    restored = page.restore("tab=compare&with=<b>", "one")
    assert "No model “<b>” is served here to compare with." in restored[3]["text"]
