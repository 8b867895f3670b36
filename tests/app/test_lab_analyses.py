"""The Lab's deeper analyses: their callbacks, called directly, against the library's own answers."""

from __future__ import annotations

import json
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest

from head_atlas.app import (
    lab_circuits,
    lab_generation,
    lab_graph,
    lab_heads,
    lab_layers,
    lab_patching,
    lab_takeaway,
    lab_tokens,
    lab_tracing,
)
from head_atlas.app.engine import Engine
from head_atlas.app.lab_analysis import AnalysisHandlers, outdated
from head_atlas.app.lab_bench import Made
from head_atlas.app.lab_pair import PairHandlers
from head_atlas.app.lab_view import asked
from head_atlas.app.limits import Limits
from head_atlas.live import (
    ablate,
    all_heads,
    attribute,
    attribution_change,
    direct_and_total,
    faithfulness,
    generate,
    interactions,
    joint_effect,
    patch,
)
from head_atlas.views.token_text import quoted, visible

PROMPT = "The cat sat on the mat. The cat sat on the"
CORRUPTED = "The cat sat on the cat. The cat sat on the"


def run(engine, analysis, *options, prompt=PROMPT, removed="", mode="zero", target="", contrast="", corrupted=""):
    steps = list(
        AnalysisHandlers(engine, analysis).run("small", prompt, removed, mode, target, contrast, corrupted, *options)
    )
    assert all(len(step) == 4 for step in steps)
    return steps[-1][:3]


def found(engine, analysis, *options, **experiment):
    status, figure, made = run(engine, analysis, *options, **experiment)
    assert status["kind"] == "done", status
    assert isinstance(made, Made)
    return figure["blocks"]


def kinds(blocks, kind):
    flat = [inner for block in blocks for inner in (block["blocks"] if block["kind"] == "pair" else [block])]
    return [block for block in flat if block["kind"] == kind]


def test_all_heads_shows_exact_and_estimated_effects_with_their_place_in_the_atlas(engine):
    shown = found(engine, lab_heads.ANALYSIS)
    with engine.use("small") as model:
        expected = all_heads(model, PROMPT)
    exact, estimated, percentile = kinds(shown, "matrix")
    values = np.asarray(expected.exact.values)
    biggest = np.abs(np.stack([values, expected.estimated.values])).max()
    assert np.allclose(exact["t"], values / biggest, atol=1e-4)
    assert np.allclose(estimated["t"], np.asarray(expected.estimated.values) / biggest, atol=1e-4)
    assert "of 60 stored prompts" in percentile["text"][0][0]
    (ranking,) = kinds(shown, "table")
    first = np.unravel_index(np.abs(values).argmax(), values.shape)
    assert ranking["rows"][0]["cells"][0] == f"L{first[0]}H{first[1]}"
    assert "percentile of what this head does" in ranking["rows"][0]["cells"][3]


def test_without_stored_effects_of_the_mode_no_percentile_is_made_up(engine):
    shown = found(engine, lab_heads.ANALYSIS, mode="pattern_freeze", corrupted=CORRUPTED)
    assert len(kinds(shown, "matrix")) == 2
    assert "No percentiles" in kinds(shown, "text")[-1]["text"]


def test_a_figure_says_when_the_experiment_has_changed(engine):
    *_, made = run(engine, lab_heads.ANALYSIS)
    same = asked(engine, "small", PROMPT, "1.1", "zero", "", "")
    other = asked(engine, "small", PROMPT + " mat", "", "zero", "", "")
    now, before, nothing = outdated(same, made, made)[0], outdated(other, made)[0], outdated(same, None)[0]
    assert now["kind"] == "done"
    assert before["text"].startswith("Of an earlier experiment")
    assert nothing == gr.skip()


def test_a_result_over_a_family_belongs_to_any_prompt_but_not_to_other_heads(engine):
    status, _, made = run(engine, lab_circuits.JOINT, "ioi", 4, removed="0.1, 1.2")
    assert status["text"] == "On 4 prompts of ioi, without L0H1, L1H2 (zero)."
    assert made.still_holds(asked(engine, "small", "Another prompt", "0.1, 1.2", "zero", "", ""))
    assert not made.still_holds(asked(engine, "small", PROMPT, "0.1", "zero", "", ""))
    assert not made.still_holds(asked(engine, "small", PROMPT, "0.1, 1.2", "mean", "", ""))


def test_every_head_alone_belongs_to_its_ablation_mode_and_says_so(engine):
    status, _, made = run(engine, lab_heads.ANALYSIS, removed="1.1", mode="zero")
    assert "each head removed alone (zero)" in status["text"]
    now = {mode: asked(engine, "small", PROMPT, "2.2", mode, "", "") for mode in ("zero", "mean")}
    assert outdated(now["zero"], made)[0]["kind"] == "done"
    assert outdated(now["mean"], made)[0]["text"].startswith("Of an earlier experiment")


@pytest.mark.parametrize(
    ("analysis", "options", "expected"),
    [
        (lab_layers.LENS, (), {"removed": "no head"}),
        (lab_heads.ANALYSIS, (), {"removed": "each head alone", "mode": "mean"}),
        (lab_layers.DIRECT, (), {"removed": "1.1", "mode": "mean"}),
    ],
)
def test_a_saved_figure_names_the_heads_that_were_removed_for_it_and_no_others(engine, analysis, options, expected):
    _, figure, _ = run(engine, analysis, *options, removed="1.1", mode="mean")
    about = {key: value for key, value in figure["about"].items() if key in ("removed", "mode")}
    assert about == expected
    assert figure["about"]["prompt"] == PROMPT


def test_a_saved_figure_over_a_family_does_not_name_the_prompt_on_screen(engine):
    _, figure, _ = run(engine, lab_circuits.JOINT, "rand_repeat", 4, removed="1.1, 2.2")
    assert "prompt" not in figure["about"]
    assert figure["about"]["over"].startswith("4 prompts of")
    assert figure["about"]["removed"] == "1.1, 2.2"


@pytest.mark.parametrize(
    ("difference", "low", "high", "words"),
    [
        (-1.0, -1.5, -0.5, "cost more than one by one"),
        (1.0, 0.5, 1.5, "cost less than the sum"),
        (-1.0, -2.5, 0.5, "interval of the difference holds 0"),
        # That nothing is seen of a difference is no proof that there is none.
        (0.001, -2.0, 2.0, "interval of the difference holds 0"),
        (0.001, -0.002, 0.004, "cost what they cost one by one"),
        (0.001, float("nan"), float("nan"), "cost what they cost one by one"),
        (-1.0, float("nan"), float("nan"), "cost more than one by one"),
    ],
)
def test_a_joint_effect_is_called_no_more_than_its_interval_allows(difference, low, high, words):
    assert words in lab_circuits.together_or_alone(difference, low, high)


def test_a_difference_within_its_interval_is_called_none(engine):
    shown = found(engine, lab_circuits.JOINT, "rand_repeat", 4, removed="1.1, 2.2")
    with engine.use("small") as model:
        bench = SimpleNamespace(engine=engine, what=asked(engine, "small", PROMPT, "", "zero", "", ""))
        prompts = lab_circuits.prompts_over(bench, "rand_repeat", 4)
        result = joint_effect(model, prompts, ["L1H1", "L2H2"]).difference
    low, high = float(result.low.values), float(result.high.values)
    told = " ".join(text for block in kinds(shown, "text") for text in map(str, [block["text"]]))
    assert low <= 0 <= high, (low, high)
    assert "holds 0" in told or "what they cost one by one" in told
    assert "cost more than" not in told
    assert "cost less than" not in told


def test_an_abandoned_run_ends_and_leaves_the_model_free(engine):
    steps = AnalysisHandlers(engine, lab_heads.ANALYSIS).run("small", PROMPT, "", "zero", "", "", "")
    next(steps)
    steps.close()
    assert run(engine, lab_heads.ANALYSIS)[0]["kind"] == "done"


def test_a_run_that_takes_too_long_stops_and_says_so(library):
    slow = Engine(library, Limits(run_seconds=0))
    status, figure, made = run(slow, lab_heads.ANALYSIS)
    assert status["text"].startswith("Stopped after 0 s")
    assert set(figure) == {"empty"}
    assert made is None


@pytest.mark.parametrize(
    ("experiment", "words"),
    [
        ({"prompt": ""}, "The prompt is empty"),
        ({"prompt": ["x"]}, "The prompt is empty"),
        ({"removed": "9.9"}, "There is no head 9.9"),
        ({"mode": {"a": 1}}, "The ablation mode must be one of"),
        ({"mode": "pattern_freeze"}, "Pattern freeze needs a corrupted prompt"),
        ({"mode": "pattern_freeze", "corrupted": PROMPT + " the mat"}, "they must be as many"),
        ({"corrupted": "x" * 3000}, "3000 characters long"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(engine, experiment, words):
    status, figure, made = run(engine, lab_heads.ANALYSIS, **experiment)
    assert status["kind"] == "error"
    assert words.lower() in status["text"].lower()
    assert set(figure) == {"empty"}
    assert made is None


@pytest.mark.parametrize("method", lab_tokens.METHODS)
def test_tokens_show_what_the_library_attributes(engine, method):
    shown = found(engine, lab_tokens.ANALYSIS, method, "mean", False)
    with engine.use("small") as model:
        expected = attribute(model, PROMPT, method=method)
    values = np.asarray(expected.values.values)
    (chips,) = kinds(shown, "chips")
    drawn = [chip["t"] for chip in chips["chips"]]
    assert drawn[0] is None
    assert np.allclose(drawn[1:], values[1:] / np.nanmax(np.abs(values)), atol=1e-3)
    assert chips["scale"]["signed"] is (method != "saliency")
    labels = [fact["label"] for fact in kinds(shown, "facts")[0]["facts"]]
    assert ("Completeness gap" in labels) is (method == "integrated_gradients")
    assert ("Largest standard error" in labels) is (method == "occlusion_replace")


def test_tokens_show_what_removed_heads_change_and_test_the_order(engine):
    shown = found(engine, lab_tokens.ANALYSIS, "gradient_x_input", "zero", True, removed="1.2")
    with engine.use("small") as model:
        expected = attribution_change(model, PROMPT, ["1.2"], baseline="zero")
        tested = faithfulness(expected.clean, baseline="zero")
    change = np.asarray(expected.change.values)[1:]
    *_, last = kinds(shown, "chips")
    assert np.allclose([chip["t"] for chip in last["chips"]][1:], change / np.abs(change).max(), atol=1e-3)
    (curve,) = kinds(shown, "curves")
    own, random = curve["lines"]
    assert np.allclose(own["values"], tested.curve.own.values, atol=1e-3)
    assert np.allclose(random["values"], tested.curve.random.values, atol=1e-3)
    assert all(low <= high for low, high in zip(*random["band"], strict=True))


def test_the_lens_ends_with_the_models_own_answer(engine):
    shown = found(engine, lab_layers.LENS)
    with engine.use("small") as model:
        top = model.strings([ablate(model, PROMPT, []).target])[0]
    (matrix,) = kinds(shown, "matrix")
    assert len(matrix["rows"]) == 5
    assert matrix["text"][-1][-1].startswith(quoted(top))
    (table,) = kinds(shown, "table")
    assert table["rows"][-1]["cells"][1].startswith(quoted(top))
    assert table["rows"][-1]["cells"][3] == "1"


def test_direct_logits_are_held_against_total_effects_where_there_is_a_contrast(engine):
    without = found(engine, lab_layers.DIRECT)
    assert not kinds(without, "table")
    shown = found(engine, lab_layers.DIRECT, contrast=" cat", removed="1.2")
    with engine.use("small") as model:
        both = direct_and_total(model, PROMPT, contrast=" cat")
    total = kinds(shown, "matrix")[2]
    values = np.asarray(both.total.values)
    top = max(np.abs(values).max(), np.abs(both.direct_frozen.values).max())
    assert np.allclose(total["t"], values / top, atol=1e-3)
    assert any("steps in" in block["text"] for block in kinds(shown, "text"))


def test_generation_compares_both_texts_token_by_token(engine):
    status, *_ = run(engine, lab_generation.ANALYSIS, 5, 0, 0)
    assert "No head is removed" in status["text"]
    shown = found(engine, lab_generation.ANALYSIS, 6, 0.8, 3, removed="0.1, 1.2")
    with engine.use("small") as model:
        expected = generate(model, PROMPT, ["0.1", "1.2"], n_tokens=6, temperature=0.8, seed=3)
    clean, ablated = kinds(shown, "chips")
    assert "".join(chip["text"] for chip in clean["chips"]) == "".join(map(visible, expected.clean.strings))
    assert [chip["mark"] for chip in ablated["chips"]].count(True) == (expected.divergence is not None)
    (curve,) = kinds(shown, "curves")
    assert np.allclose(curve["lines"][1]["values"], expected.clean.ablated_log_probs.values, atol=1e-3)


def test_patching_shows_which_places_carry_the_difference(engine):
    shown = found(engine, lab_patching.PATCH, "resid_pre", "denoise", corrupted=CORRUPTED)
    with engine.use("small") as model:
        expected = patch(model, PROMPT, CORRUPTED, "resid_pre")
    (matrix,) = kinds(shown, "matrix")
    values = np.asarray(expected.values.values)
    assert np.allclose(matrix["t"], values / np.abs(values).max(), atol=1e-3)
    assert any("→" in column for column in matrix["columns"])
    heads = kinds(found(engine, lab_patching.PATCH, "z", "noise", corrupted=CORRUPTED), "matrix")[0]
    assert len(heads["rows"]) == lab_patching.MOST_ROWS
    keys = kinds(found(engine, lab_patching.PATCH, "k", "denoise", corrupted=CORRUPTED), "matrix")[0]
    assert (len(keys["rows"]), len(keys["columns"])) == (4, 6)


@pytest.mark.parametrize("contrast", ["", " cat"])
def test_patching_says_the_same_of_what_it_measured_wherever_it_says_it(engine, contrast):
    for analysis, options in ((lab_patching.PATCH, ("resid_pre", "denoise")), (lab_patching.PATHS, ("", "noise"))):
        status, figure, _ = run(engine, analysis, *options, corrupted=CORRUPTED, contrast=contrast)
        assert status["kind"] == "done", status
        texts = [block["text"] for block in kinds(figure["blocks"], "text")]
        (text,) = [text for text in texts if text.startswith("Measured: ")]
        assert status["text"].endswith(f", {text.removeprefix('Measured: ')}")


def test_paths_lead_from_lower_heads_to_the_receivers_named(engine):
    shown = found(engine, lab_patching.PATHS, "L1H2.k, 2.3.q", "noise", corrupted=CORRUPTED)
    (matrix,) = kinds(shown, "matrix")
    assert matrix["columns"] == ["L1H2.k", "L2H3.q"]
    assert set(matrix["rows"]) == {f"L{layer}H{head}" for layer in range(2) for head in range(6)}
    # No path leads from a head to a receiver of its own layer.
    assert matrix["t"][matrix["rows"].index("L1H0")][0] == 0
    (logits,) = kinds(found(engine, lab_patching.PATHS, "", "noise", corrupted=CORRUPTED), "matrix")
    assert logits["columns"] == ["logits"]


def test_a_trace_marks_its_subject(engine):
    shown = found(engine, lab_tracing.TRACE, "cat", "mlp_out", 3, 3, 4)
    (matrix,) = kinds(shown, "matrix")
    assert [i for i, column in enumerate(matrix["columns"]) if column.endswith(" *")] == [2]
    assert len(matrix["rows"]) == 4


@pytest.mark.parametrize(
    ("analysis", "options", "experiment", "words"),
    [
        (lab_tokens.ANALYSIS, ("magic", "mean", True), {}, "The method must be one of"),
        (lab_tokens.ANALYSIS, (["x"], "mean", True), {}, "The method must be one of"),
        (lab_generation.ANALYSIS, (10_000, 0, 0), {"removed": "1.1"}, "number of tokens must be a number from 1 to 60"),
        (lab_generation.ANALYSIS, (5, float("nan"), 0), {"removed": "1.1"}, "temperature must be a number"),
        (lab_generation.ANALYSIS, (5, 0, True), {"removed": "1.1"}, "seed must be a number"),
        (lab_patching.PATCH, ("z", "denoise"), {}, "compares the prompt with a corrupted one"),
        (lab_patching.PATCH, ("z", "denoise"), {"corrupted": PROMPT}, "are the same"),
        (lab_patching.PATCH, ("z", "denoise"), {"corrupted": "The cat"}, "they must be as many"),
        (lab_patching.PATCH, ("weights", "denoise"), {"corrupted": PROMPT}, "The place must be one of"),
        (lab_patching.PATHS, ("L1H2", "noise"), {"corrupted": PROMPT}, "Expected a head and q, k or v"),
        (lab_patching.PATHS, ("0.0.q," * 7 + "0.0.q", "noise"), {"corrupted": PROMPT}, "too many"),
        (lab_tracing.TRACE, ("", "resid_pre", 1, 3, 4), {}, "Name the subject"),
        (lab_tracing.TRACE, ("\ud800", "resid_pre", 1, 3, 4), {}, "Name the subject"),
        (lab_tracing.TRACE, ("zebra", "resid_pre", 1, 3, 4), {}, "the prompt has no"),
        (lab_tracing.TRACE, ("cat", "resid_pre", 1, -3, 4), {}, "noise must be a number"),
    ],
)
def test_hostile_options_are_one_sentence(engine, analysis, options, experiment, words):
    status, figure, _ = run(engine, analysis, *options, **experiment)
    assert status["kind"] == "error"
    assert words.lower() in status["text"].lower()
    assert set(figure) == {"empty"}


def test_a_corrupted_prompt_is_proposed_and_checked(engine):
    pair = PairHandlers(engine)
    *_, (text, note) = pair.propose("small", "The capital of France is", "")
    if note["kind"] == "error":  # the tiny tokenizer has few whole words; then it says so
        assert "tokens" in note["text"]
    else:
        assert text != "The capital of France is"
        assert "they differ in “·France” →" in note["text"]
    *_, (kept, refused) = pair.propose("small", "Nothing that any template says", "")
    assert kept == gr.skip()
    assert "follows no template" in refused["text"]
    *_, good = pair.check("small", PROMPT, CORRUPTED)
    assert "“·mat” → “·cat”" in good["text"]
    *_, bad = pair.check("small", PROMPT, PROMPT + " the mat")
    assert "they must be as many" in bad["text"]
    assert list(pair.check("small", PROMPT, " ")) == [None]


def test_heads_removed_together_are_held_against_single_ones(engine):
    shown = found(engine, lab_circuits.JOINT, "this prompt", 4, removed="0.1, 1.2, 2.3")
    with engine.use("small") as model:
        together = joint_effect(model, PROMPT, ["0.1", "1.2", "2.3"])
        pairs = interactions(model, PROMPT, ["0.1", "1.2", "2.3"])
    bars = kinds(shown, "bars")[0]["rows"]
    assert [row["label"] for row in bars] == ["L0H1", "L1H2", "L2H3", "sum of these", "all at once"]
    biggest = max(abs(float(x)) for x in [*together.single.mean.values, together.sum_of_single.mean.values,
                                         together.joint.mean.values])  # fmt: skip
    assert bars[-1]["t"] == pytest.approx(float(together.joint.mean.values) / biggest, abs=1e-3)
    (matrix,) = kinds(shown, "matrix")
    values = np.asarray(pairs.interaction.mean.values)
    assert matrix["t"][0][0] is None
    assert matrix["t"][0][1] == pytest.approx(values[0, 1] / np.nanmax(np.abs(values)), abs=1e-3)


@pytest.mark.parametrize(("mode", "said"), [("resample", True), ("zero", False)])
@pytest.mark.parametrize(
    ("analysis", "options"),
    [(lab_tokens.ANALYSIS, ("gradient_x_input", "mean", False)), (lab_generation.ANALYSIS, (2, 0, 0))],
)
def test_one_run_of_a_resample_says_that_it_is_one_draw(engine, analysis, options, mode, said):
    shown = found(engine, analysis, *options, removed="1.1", mode=mode)
    texts = [block["text"] for block in kinds(shown, "text")]
    assert any("the first of 5 reference prompts" in text for text in texts) == said


def test_pairs_over_a_family_are_tested_and_marked(engine):
    shown = found(engine, lab_circuits.JOINT, "ioi", 12, removed="0.1, 1.2, 2.3")
    matrix, (table,) = kinds(shown, "matrix")[0], kinds(shown, "table")
    assert len(table["rows"]) == 3
    for row in table["rows"]:
        q = float(row["cells"][2].split()[-1])
        one, other = (matrix["rows"].index(label) for label in row["cells"][0].split(", "))
        assert row["marked"] == (q <= 0.05) == matrix["short"][one][other].endswith("*")
        assert row["cells"][2] in matrix["text"][one][other]
    alone = found(engine, lab_circuits.JOINT, "this prompt", 4, removed="0.1, 1.2, 2.3")
    assert {row["cells"][2] for row in kinds(alone, "table")[0]["rows"]} == {"not tested"}
    assert "cannot be tested" in kinds(alone, "text")[-1]["text"]


def test_a_graph_connects_the_removed_heads(engine):
    shown = found(engine, lab_graph.GRAPH, "this prompt", 4, "path_k", removed="0.1, 1.2, 2.3", corrupted=CORRUPTED)
    (graph,) = kinds(shown, "graph")
    assert graph["rows"] == [["L0H1"], ["L1H2"], ["L2H3"], ["logits"]]
    assert {(edge["source"], edge["target"]) for edge in graph["edges"]} >= {("L0H1", "L1H2"), ("L2H3", "logits")}


@pytest.mark.parametrize(
    ("analysis", "options", "experiment", "words"),
    [
        (lab_circuits.JOINT, ("nowhere", 4), {}, "The family must be one of"),
        (lab_circuits.JOINT, ("this prompt", 10_000), {}, "number of prompts must be a number from 2 to 24"),
        (lab_circuits.SEARCH, ("this prompt", 4, 0.9), {}, "choose a family"),
        (lab_circuits.SEARCH, ("rand_repeat", 4, "all"), {}, "share to keep must be a number"),
        (lab_graph.GRAPH, ("this prompt", 4, "path_k"), {"removed": "1.1"}, "connects 2 to 12 heads"),
        (lab_graph.GRAPH, ("this prompt", 4, "path_k"), {"removed": "0.1, 1.1"}, "corrupted one"),
        (lab_graph.GRAPH, ("this prompt", 4, "paths"), {"removed": "0.1, 1.1"}, "kind of edges must be one of"),
    ],
)
def test_hostile_options_of_circuits_are_one_sentence(engine, analysis, options, experiment, words):
    status, figure, _ = run(engine, analysis, *options, **experiment)
    assert status["kind"] == "error"
    assert words.lower() in status["text"].lower()
    assert set(figure) == {"empty"}


def test_a_result_is_taken_away_as_files_and_as_code_that_makes_it_again(engine, place, monkeypatch):
    monkeypatch.chdir(place)
    handlers = AnalysisHandlers(engine, lab_heads.ANALYSIS)
    *_, (_, _, made, _) = handlers.run("small", PROMPT, "", "zero", "", "", "")
    taken = handlers.take(made)
    assert taken["left_out"] == []
    files = {file["name"].rpartition(".")[2]: file for file in taken["files"]}
    assert set(files) == {"json", "csv", "py"}
    content = json.loads(files["json"]["text"])
    assert content["function"] == "head_atlas.all_heads"
    assert content["model"]["fingerprint"]
    assert len(content["atlas_sha256"]) == 64
    with engine.use("small") as model:
        expected = all_heads(model, PROMPT)
    assert np.allclose(content["result"]["exact"]["values"], expected.exact.values, atol=1e-5)
    # Atlas and model lie where whoever runs the code has them: a public server names no folder of its disk.
    assert not any(str(place) in file["text"] for file in taken["files"])
    code = files["py"]["text"].replace("open_atlas('atlas.h5')", "open_atlas(ATLAS)")
    names = {"ATLAS": str(engine.library.entry("small").atlas_path)}
    exec(compile(code, "snippet", "exec"), names)
    assert np.allclose(names["result"].exact.values, expected.exact.values, atol=1e-5)
    assert "logprob" in names["result"].standing


@pytest.mark.parametrize(
    ("analysis", "options", "experiment"),
    [
        (lab_tokens.ANALYSIS, ("occlusion_mask", "mean", True), {"removed": "1.1", "mode": "mean"}),
        (lab_tokens.ANALYSIS, ("integrated_gradients", "corpus", True), {"contrast": " cat"}),
        (lab_heads.ANALYSIS, (), {"contrast": " cat"}),
        (lab_layers.LENS, (), {}),
        (lab_layers.DIRECT, (), {"contrast": " cat", "removed": "1.1"}),
        (lab_generation.ANALYSIS, (3, 0, 0), {"removed": "1.1", "mode": "resample"}),
        (lab_patching.PATCH, ("z", "noise"), {"corrupted": CORRUPTED}),
        (lab_patching.PATHS, ("1.2.k", "noise"), {"corrupted": CORRUPTED}),
        (lab_tracing.TRACE, ("cat", "mlp_out", 2, 3, 2), {}),
        (lab_circuits.JOINT, ("this prompt", 4), {"removed": "0.1, 1.2"}),
        (lab_circuits.JOINT, ("ioi", 4), {"removed": "0.1, 1.2"}),
        (lab_graph.GRAPH, ("this prompt", 4, "path_k"), {"removed": "0.1, 1.2", "corrupted": CORRUPTED}),
    ],
)
def test_every_analysis_can_be_taken_away(engine, place, monkeypatch, capsys, analysis, options, experiment):
    monkeypatch.chdir(place)  # a snippet looks for the atlas where it is run
    asked_for = {"removed": "", "mode": "zero", "target": "", "contrast": "", "corrupted": "", **experiment}
    handlers = AnalysisHandlers(engine, analysis)
    *_, (status, _, made, _) = handlers.run("small", PROMPT, *asked_for.values(), *options)
    assert status["kind"] == "done", status
    taken = handlers.take(made)
    assert taken["left_out"] == []
    endings = [file["name"].rpartition(".")[2] for file in taken["files"]]
    assert set(endings) == {"json", "csv", "py"}
    for file in taken["files"]:
        if file["mime"] == "text/x-python":
            names = {}
            exec(compile(file["text"], file["name"], "exec"), names)
            assert names["result"] is not None
            assert capsys.readouterr().out.strip()


def test_what_is_no_longer_kept_is_said(engine):
    handlers = AnalysisHandlers(engine, lab_heads.ANALYSIS)
    assert "run this first" in handlers.take({"taken": "x"})["empty"]
    *_, (_, _, made, _) = handlers.run("small", PROMPT, "", "zero", "", "", "")
    for _ in range(lab_takeaway.MOST_KEPT):
        handlers.shelf.put({"files": []})
    assert "no longer keeps" in handlers.take(made)["empty"]


def result_of_size(characters, letter="x"):
    return {"files": [{"name": "a.json", "mime": "application/json", "text": letter * characters}], "left_out": []}


def test_results_are_kept_as_far_as_memory_reaches_the_latest_first():
    shelf = lab_takeaway.Shelf(most_kept=5, most_bytes=2500)
    one, two = (shelf.put(result_of_size(1000)) for _ in range(2))
    assert shelf.get(one) == shelf.get(two) == result_of_size(1000)
    three = shelf.put(result_of_size(1000))
    assert "no longer keeps" in shelf.get(one)["empty"]
    assert shelf.get(two) == shelf.get(three) == result_of_size(1000)
    large = shelf.put(result_of_size(5000))  # alone above the bound: nothing beside it
    assert shelf.get(large) == result_of_size(5000)
    assert "no longer keeps" in shelf.get(three)["empty"]
    small = [shelf.put(result_of_size(10)) for _ in range(5)]
    assert "no longer keeps" in shelf.get(large)["empty"]
    assert all(shelf.get(key) == result_of_size(10) for key in small)
    shelf.put(result_of_size(10))
    assert "no longer keeps" in shelf.get(small[0])["empty"]


def test_a_result_is_as_large_as_its_texts_are_in_memory():
    latin, wide = lab_takeaway.size_of(result_of_size(1000)), lab_takeaway.size_of(result_of_size(1000, "\U0001d400"))
    assert 1000 <= latin < 1200
    assert 4000 <= wide < 4200
