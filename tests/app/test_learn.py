from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from synthetic_atlas import synthetic_contents

from head_atlas.app import lab_analysis
from head_atlas.app.chapters import CHAPTERS, FIRST, circuits
from head_atlas.app.chapters.attribution import _bars, word_of
from head_atlas.app.chapters.chapter import Finding, Row
from head_atlas.app.chapters.picks import LOOKS_BACK, control_of, score, strongest
from head_atlas.app.chapters.running import expected, first_choice, keeps, probability
from head_atlas.app.engine import Engine
from head_atlas.app.lab_sections import SECTIONS
from head_atlas.app.lab_view import heads_text
from head_atlas.app.learn_tab import EMPTY, N_SHOWN, NAMES, LearnHandlers, finding_props
from head_atlas.app.library import Library
from head_atlas.app.limits import Limits
from head_atlas.errors import AtlasError
from head_atlas.heads import HeadId
from head_atlas.live import ablate
from head_atlas.store import open_atlas, write_atlas
from head_atlas.views.induction import induction_heads


@pytest.fixture(scope="module")
def handlers(engine):
    return LearnHandlers(engine)


def test_the_induction_chapter_removes_induction_heads_and_a_control_of_their_layer(handlers, library):
    _, plan = handlers.plan("small", "induction", 0)
    excess = library.atlas("small").summary["induction_excess"].values
    found = [excess[h.layer, h.head] for h in plan.heads]
    assert found == sorted(found, reverse=True)
    assert len(plan.control) == len(plan.heads)
    assert not set(plan.control) & set(plan.heads)
    assert plan.control[0].layer == plan.heads[0].layer


def test_a_prediction_comes_first_and_is_then_judged(handlers):
    ((note, _),) = list(handlers.run("small", "induction", 0, None))
    assert "prediction" in note["text"]
    ((note, _),) = list(handlers.run("small", "induction", 0, "lost"))
    assert "prediction" in note["text"], "a choice of another chapter is no prediction here"
    *_, (note, result) = handlers.run("small", "induction", 0, "gone")
    assert note is None
    assert [row["kind"] for row in result["rows"]] == ["clean", "ablated", "control"]
    assert result["verdict"]


def test_a_chapters_numbers_are_the_ablations(engine, handlers):
    *_, (_, result) = handlers.run("small", "induction", 2, "same")
    _, plan = handlers.plan("small", "induction", 2)
    with engine.use("small") as model:
        without = ablate(model, plan.prompt, plan.heads, target=model.policy.pieces_of(plan.target)[0])
    assert result["rows"][1]["w"] == pytest.approx(float(np.exp(without.ablated_log_probs[without.target])), abs=1e-5)
    assert heads_text(plan.control) in result["rows"][2]["label"]


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_chapter_runs_or_says_what_is_missing(handlers, name):
    setup = handlers.setup("small", name, 0)
    choice = next(iter(CHAPTERS[name].choices))
    *_, (note, result) = handlers.run("small", name, 0, choice)
    if "empty" in setup:
        assert note["kind"] == "error"
        assert note["text"][:20] == setup["empty"][:20]
    else:
        assert result["rows"] or note["kind"] == "error"
    json.dumps([setup, note], allow_nan=False)


def test_a_chapter_without_an_experiment_asks_for_no_prediction(handlers, monkeypatch):
    def lacking(*_):
        raise AtlasError("This atlas lacks it.")

    named = handlers.opened("small", "induction")
    assert (named[5]["visible"], named[6]["visible"], named[8]["empty"]) == (True, True, EMPTY)
    monkeypatch.setitem(CHAPTERS, "induction", replace(CHAPTERS["induction"], plan=lacking))
    _, story, _, setup, another, prediction, run, _, result, to_lab, *_ = handlers.opened("small", "induction")
    assert setup["empty"].startswith("This atlas lacks it.")
    assert not any(part["visible"] for part in (another, prediction, run, to_lab))
    assert result == {"empty": ""}
    assert story["title"]


@pytest.fixture(scope="module")
def early():
    """The demo model early in its training: no head passes the rule for induction heads yet."""
    with open_atlas(Path(__file__).parents[2] / "atlas" / "demo-early" / "atlas.h5") as atlas:
        yield atlas


@pytest.fixture(scope="module")
def demo_chapters():
    """The Learn tab of the demo model, and of the same model early in its training."""
    folder = Path(__file__).parents[2] / "atlas"
    library = Library.of(f"{folder / 'demo'},{folder / 'demo-early'}")
    return LearnHandlers(Engine(library, Limits()))


@pytest.mark.parametrize("name", ["induction", "categories", "circuits"])
def test_a_chapter_on_induction_heads_has_no_experiment_where_there_are_none(early, name):
    assert induction_heads(early) == []
    best = early.summary["induction_excess"].values
    with pytest.raises(AtlasError, match="no induction head") as error:
        CHAPTERS[name].plan(early, 0)
    assert f"is that of L1H{np.argmax(best[1])}, {best.max():.2f} " in str(error.value)


def test_where_the_model_lacks_what_a_chapter_is_about_nothing_is_predicted_or_judged(demo_chapters):
    lacking = {"attention", "categories", "induction", "circuits", "backup"}
    for name, chapter in CHAPTERS.items():
        for model in ("demo", "demo-early"):
            _, story, _, setup, another, prediction, run, *_, after, _, _ = demo_chapters.opened(model, name)
            runs = not (model == "demo-early" and name in lacking)
            assert runs is ("empty" not in setup), (model, name)
            assert prediction["visible"] is run["visible"] is runs
            assert another["visible"] is (runs and bool(chapter.again) and (model, name) != ("demo-early", "facts"))
            # The text announces no experiment, and draws no conclusion from one.
            shown = {section["heading"] for section in story["sections"]}
            assert shown == {one.heading for one in chapter.story if runs or not one.of_experiment}
            assert bool(after["sections"]) is runs
            assert after["papers"]
    ((note, result),) = demo_chapters.run("demo-early", "categories", 0, "repetition")
    assert (note["kind"], "verdict" in result) == ("error", False)


def test_a_chapter_says_how_many_facts_the_model_knows(demo_chapters, early):
    right = sum(int(early.clean["correct"].values[one.index]) for one in early.prompts if one.family == "fact")
    rows = demo_chapters.setup("demo-early", "facts", 0)["sections"][0]["rows"]
    assert f"answers {right} of the atlas’ 100 facts" in {row["label"]: row["text"] for row in rows}["Known"]


def test_a_circuit_needs_a_head_below_that_looks_back(monkeypatch):
    with open_atlas(Path(__file__).parents[2] / "atlas" / "demo" / "atlas.h5") as demo:
        plan = CHAPTERS["circuits"].plan(demo, 0)
        (head,), (control,) = plan.heads, plan.control
        excess = score(demo, "previous_token")
        below = excess[: min(reader.layer for reader in plan.readers)]
        assert excess[head.layer, head.head] == below.max() >= LOOKS_BACK
        assert abs(excess[control.layer, control.head]) == np.delete(np.abs(excess[head.layer]), head.head).min()
        assert "closest to 0" in dict(plan.facts)["Control"]
        monkeypatch.setattr(circuits, "LOOKS_BACK", below.max() + 0.01)
        with pytest.raises(AtlasError, match="no head looks at the previous token"):
            CHAPTERS["circuits"].plan(demo, 0)


def test_bars_of_one_question_share_one_scale():
    assert _bars(np.array([11.8, 1.8, -13.3])) == pytest.approx([11.8 / 13.3, 1.8 / 13.3, 1.0])
    assert _bars(np.array([0.0, np.nan])) == [0.0, 0.0]


@pytest.mark.parametrize("pieces", [["Harry", " Potter"], ["Har", "ry", " Pot", "ter"], ["▁Harry", "▁Potter"]])
def test_a_word_in_pieces_is_one_word(pieces):
    text = "Harry Potter went home. Everyone knew Harry"
    pieces = [piece.replace("▁", " ") for piece in pieces]
    tokens = [
        *pieces,
        " went",
        " home",
        ".",
        " Everyone",
        " knew",
        *[f" {p}" if i == 0 else p for i, p in enumerate(piece.strip() for piece in pieces[: len(pieces) // 2])],
    ]
    assert "".join(tokens).strip() == text
    half = len(pieces) // 2
    said = [word_of(tokens, at) for at in range(len(tokens))]
    assert said == ["first"] * half + ["earlier"] * half + ["between"] * 5 + ["last"] * half


def test_a_model_of_many_induction_heads_is_told_which_of_them_go(tmp_path):
    contents = synthetic_contents(4, 6, n_prompts=4)
    for name in ("induction_excess", "induction_excess_ci_low"):
        contents.arrays[f"summary/{name}"].values[:] = 0.0
        contents.arrays[f"summary/{name}"].values[1:3] = 0.5
    write_atlas(tmp_path / "atlas.h5", contents)
    with open_atlas(tmp_path / "atlas.h5") as atlas:
        assert len(induction_heads(atlas)) == 12
        plan = CHAPTERS["backup"].plan(atlas, 0)
    assert len(plan.heads) == 8
    assert "8 strongest of its 12 induction heads" in dict(plan.facts)["Removed"]
    assert "all induction heads" not in CHAPTERS["backup"].question


@pytest.mark.parametrize(("name", "place"), [("ablation", "Control"), ("circuits", "Control")])
def test_a_control_of_another_layer_is_not_said_to_be_of_the_same(tmp_path, name, place):
    contents = synthetic_contents(4, 1, n_prompts=4)
    for which in ("induction_excess", "induction_excess_ci_low"):
        contents.arrays[f"summary/{which}"].values[:] = 0.0
        contents.arrays[f"summary/{which}"].values[3] = 0.5
    contents.arrays["summary/previous_token_excess"].values[:3] = 0.6
    write_atlas(tmp_path / "atlas.h5", contents)
    with open_atlas(tmp_path / "atlas.h5") as atlas:
        plan = CHAPTERS[name].plan(atlas, 0)
    assert plan.control[0].layer != plan.heads[0].layer
    assert "as far as they have any left" in dict(plan.facts)[place]


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_opens_and_its_json_holds_no_nan(handlers, name):
    shown = handlers.opened("small", name)
    assert len(shown) == N_SHOWN
    assert shown[0]["chosen"] == name
    json.dumps([part for part in shown if isinstance(part, dict)], allow_nan=False, default=str)


def test_the_entries_follow_each_other_in_a_circle(handlers):
    name, seen = FIRST, []
    for _ in NAMES:
        seen.append(name)
        name = handlers.next("small", {"chosen": name})[0]["chosen"]
    assert tuple(seen) == NAMES
    assert name == FIRST


@pytest.mark.parametrize(
    "forged", [None, 7, "x", "__class__", {"chosen": ["ablation"]}, {"chosen": None}, ["glossary"]]
)
def test_a_forged_chapter_is_the_first_one(handlers, forged):
    assert handlers.named(forged) == FIRST
    assert handlers.another("small", forged, "x")[0] == 0


@pytest.mark.parametrize("seed", [None, -1, 10**12, "7", 1.5])
def test_a_forged_number_is_the_first_prompt(handlers, seed):
    assert handlers.plan("small", "induction", seed)[1] == handlers.plan("small", "induction", 0)[1]


def test_other_words_are_other_words(handlers):
    seed, setup, result, note = handlers.another("small", "induction", 0)
    assert (seed, note) == (1, None)
    assert "empty" in result
    assert setup != handlers.setup("small", "induction", 0)


def test_the_lab_gets_what_the_chapter_would_run(handlers):
    prompt, removed = handlers.for_lab("small", "induction", 3)
    _, plan = handlers.plan("small", "induction", 3)
    assert prompt == plan.prompt
    assert removed == ", ".join(str(head) for head in plan.heads)
    assert handlers.for_lab("small", "superposition", 0) == ("", "")
    assert handlers.for_lab("nowhere", "induction", 0) == ("", "")


def test_a_verdict_says_what_came_true_whatever_was_predicted():
    chapter = CHAPTERS["circuits"]
    rows = (Row("all heads", "clean", 0.9, "90 %"),)
    found = Finding(("a",), (("How much?", rows),), "lost", "Numbers.")
    assert finding_props(chapter, found, "lost")["held"] is True
    wrong = finding_props(chapter, found, "same")
    assert wrong["held"] is False
    assert wrong["verdict"] == f"Your prediction did not hold. {chapter.choices['lost']} Numbers."
    open_end = finding_props(chapter, Finding(("a",), (("How much?", rows),), "", "Numbers."), "same")
    assert (open_end["held"], open_end["verdict"]) == (None, "Numbers.")


def test_a_word_that_the_model_did_not_expect_decides_nothing(engine):
    with engine.use("small") as model:
        sure = ablate(model, "one two three", [HeadId(0, 0)])
        unlikely = int(np.argmin(sure.clean_log_probs))
        unsure = ablate(model, "one two three", [HeadId(0, 0)], target=unlikely)
    assert (first_choice(sure, "clean"), first_choice(unsure, "clean")) == (True, False)
    assert expected(sure, "both", "Numbers.") == ("both", "Numbers.")
    outcome, said = expected(unsure, "both", "Numbers.")
    assert outcome == ""
    assert said.startswith("Numbers. But the model did not expect")
    for run in (sure, unsure):
        assert keeps(run) is bool(probability(run) >= 0.9 * probability(run, "clean"))


def test_two_losses_too_small_to_compare_decide_nothing(engine, handlers):
    chapter, plan = CHAPTERS["backup"], handlers.plan("small", "induction", 0)[1]
    with engine.use("small") as model:
        found = chapter.run(model, replace(plan, heads=(), control=()))
    assert found.outcome == ""
    assert "too little to compare" in found.said


def test_the_labs_analyses_explain_their_words():
    found = {}
    for analysis in [one for _, _, group in SECTIONS for one, _ in group]:
        blocks = lab_analysis._heading(analysis)["blocks"]
        found[analysis.key] = [p["term"] for block in blocks for p in block["text"] if not isinstance(p, str)]
    assert all(len(set(terms)) == len(terms) for terms in found.values()), "each is explained once"
    assert {"logit lens", "causal tracing", "MLP"} <= {term for terms in found.values() for term in terms}, found


@pytest.mark.parametrize("chapter", CHAPTERS.values(), ids=list(CHAPTERS))
def test_a_chapter_is_short_and_its_sources_are_listed(chapter):
    from head_atlas.catalogue.reading import PAPERS

    words = sum(len(p.split()) for section in chapter.story for p in section.paragraphs)
    words += sum(len(p.split()) for p in chapter.after)
    assert 150 <= words <= 300
    assert set(chapter.papers) <= set(PAPERS)
    assert len(chapter.choices) >= 3


def test_heads_are_picked_by_value_and_an_impossible_choice_is_an_error():
    values = np.array([[0.1, np.nan, 0.4], [0.9, 0.2, 0.0]])
    assert strongest(values) == HeadId(1, 0)
    assert strongest(values, below=1) == HeadId(0, 2)
    assert control_of(values, [HeadId(1, 0)]) == (HeadId(1, 2),)
    with pytest.raises(AtlasError, match="No head"):
        strongest(values, below=0)
    with pytest.raises(AtlasError, match="Too few"):
        control_of(np.array([[0.5]]), [HeadId(0, 0)])


def test_scores_that_are_all_missing_pick_no_head():
    atlas = SimpleNamespace(summary={"induction_excess": SimpleNamespace(values=np.array([[np.nan, np.nan]]))})
    with pytest.raises(AtlasError, match="no induction scores"):
        score(atlas, "induction")
