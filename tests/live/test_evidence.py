"""Evidence: what was measured can be read, checked and made again from its export alone."""

from __future__ import annotations

import csv
import io
import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import head_atlas
from head_atlas import (
    ablate,
    all_heads,
    attention,
    attribute,
    attribution_change,
    causal_trace,
    circuit_graph,
    direct_and_total,
    direct_logits,
    estimate,
    faithfulness,
    find_circuit,
    generate,
    interactions,
    joint_effect,
    load_model,
    logit_lens,
    patch,
    path_patch,
    stand_ins,
    sweep,
    with_evidence,
)
from head_atlas.errors import HeadAtlasError
from head_atlas.interventions import CORRUPTED, Budget, MeanReference, mean_reference, resample_reference
from head_atlas.live import Call, Evidence, Written, iter_patch, stored_mean
from head_atlas.live.plain_values import numbers_of, plain
from head_atlas.prompts.families import build_families
from tiny_models import head_model

DEMO = Path(__file__).parents[2] / "atlas" / "demo"
TEXT, OTHER = "The capital of France is", "The capital of Italy is"


@cache
def model():
    return load_model(DEMO / "model")


@cache
def repeats():
    return build_families(model().policy, n_prompts=4, only=["rand_repeat"]).prompts["rand_repeat"]


def calls():
    """One call of every kind of result, by name."""
    one = model()
    texts = ["The cat sat on the mat.", "The dog ran to the old park."]
    means = Call.of(mean_reference, one, texts, "two texts")
    draws = Call.of(resample_reference, one, texts, "two texts", n_draws=2, n_pos=6, seed=3)
    with head_atlas.open_atlas(DEMO / "atlas.h5") as atlas:
        stored = MeanReference(*atlas.mean_reference())
    return {
        "ablate": Call.of(ablate, one, TEXT, ["L0H4", (1, 2)], contrast=" Rome"),
        "ablate by the atlas' means": Call.of(
            ablate, one, TEXT, "0.4", "mean", reference=stored_mean(stored, str(DEMO / "atlas.h5"))
        ),
        "ablate by draws": Call.of(ablate, one, TEXT, "0.4", "resample", reference=draws),
        "attention": Call.of(attention, one, TEXT),
        "sweep": Call.of(sweep, one, [TEXT, "The cat"], "mean", reference=means, metrics=["logprob", "kl"]),
        "sweep of prompts": Call.of(sweep, one, repeats(), "resample", reference=CORRUPTED, heads=["1.4"]),
        "estimate": Call.of(estimate, one, TEXT, "logprob"),
        "all_heads": Call.of(all_heads, one, TEXT, budget=Budget(1000, 10**6)),
        "attribute": Call.of(attribute, one, TEXT, " Paris", heads=["0.4"]),
        "attribution by integration": Call.of(attribute, one, TEXT, method="integrated_gradients", max_nodes=64),
        "attribution_change": Call.of(attribution_change, one, TEXT, ["1.4"]),
        "faithfulness": Call.of(faithfulness, Call.of(attribute, one, TEXT), n_orders=4, seed=2),
        "generate": Call.of(generate, one, TEXT, ["0.4"], n_tokens=4, temperature=0.7, seed=5),
        "logit_lens": Call.of(logit_lens, one, TEXT),
        "direct_logits": Call.of(direct_logits, one, TEXT, " Paris", " Rome"),
        "direct_and_total": Call.of(direct_and_total, one, TEXT, " Paris", " Rome"),
        "stand_ins": Call.of(stand_ins, one, TEXT, ["0.4"], "zero", " Paris", " Rome"),
        "patch": Call.of(patch, one, TEXT, OTHER, "resid_pre"),
        "path_patch": Call.of(path_patch, one, TEXT, OTHER, ["0.3", "0.4"], [("1.4", "k")]),
        "causal_trace": Call.of(causal_trace, one, TEXT, "France", n_samples=3),
        "joint_effect": Call.of(joint_effect, one, repeats(), ["0.4", "1.4"]),
        "interactions": Call.of(interactions, one, repeats(), k=3),
        "find_circuit": Call.of(
            find_circuit, one, repeats(), ["0.4", "1.0", "1.4"], reference=CORRUPTED, keep=0.5, n_random=3
        ),
        "circuit_graph": Call.of(circuit_graph, one, repeats()[:2], ["0.4", "1.4"], roles={"previous token": ["0.4"]}),
    }


NAMES = list(calls())


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_snippet_makes_the_same_numbers_again(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # nothing may depend on where it runs
    call = calls()[name]
    found = Evidence(call, call.run())
    namespace = {}
    exec(compile(found.snippet(), name, "exec"), namespace)
    first, again = numbers_of(found.result), numbers_of(namespace["result"])
    assert type(namespace["result"]) is type(found.result)
    assert first.keys() == again.keys()
    assert sum(array.values.size for array in first.values()) > 0
    for place, array in first.items():
        np.testing.assert_allclose(np.asarray(again[place]), np.asarray(array), atol=1e-6, rtol=1e-6, err_msg=place)
    assert json.loads(found.json())["result"] is not None
    lines = found.csv().splitlines()
    assert sum(not line.startswith("#") for line in lines) >= 2


def test_json_says_all_that_is_needed():
    found = with_evidence(ablate, model(), TEXT, ["L0H4"], contrast=" Rome", atlas_sha256="ab" * 32)
    read = json.loads(found.json())
    assert (read["format"], read["format_version"]) == ("head-atlas-evidence", 1)
    assert read["function"] == "head_atlas.ablate"
    assert read["arguments"]["mode"] == "zero"  # a default is part of what was called
    assert read["arguments"]["model"] == "model"
    assert read["model"]["fingerprint"] == model().fingerprint
    assert (read["model"]["revision"], read["model"]["bos_policy"]) == ("", "bos")
    (prompt,) = read["prompts"]
    assert prompt["tokens"] == model().tokens(TEXT).tolist()
    assert prompt["text"] == TEXT
    assert read["atlas_sha256"] == "ab" * 32
    assert read["measures"]["logprob"]["formula"] == head_atlas.catalogue.MEASURES["logprob"].formula
    assert read["packages"]["head_atlas"] == head_atlas.__version__
    assert {"torch", "transformers", "numpy", "python"} <= read["packages"].keys()
    assert read["result"]["effects"]["logit_difference"] == found.result.effects["logit_difference"]
    assert read["result"]["heads"] == ["L0H4"]
    assert read["code"] == found.snippet()


def test_csv_holds_every_number_by_the_names_of_its_axes():
    found = with_evidence(sweep, model(), [TEXT, "The cat"], metrics=["logprob"])
    lines = found.csv().splitlines()
    comments = [line for line in lines if line.startswith("# ")]
    about = {key: json.loads(value) for key, value in (line[2:].split(": ", 1) for line in comments)}
    assert about["model"]["model_id"] == model().model_id
    rows = list(csv.DictReader(io.StringIO("\n".join(lines[len(comments) :]))))
    effects = {
        (int(r["prompt"]), int(r["layer"]), int(r["head"])): float(r["value"])
        for r in rows
        if r["array"] == "effects.logprob"
    }
    assert len(effects) == found.result["logprob"].values.size
    for place, value in effects.items():
        assert value == pytest.approx(float(found.result["logprob"][place]))
    # without a contrast there is no logit difference: an empty cell, and null in JSON
    assert {r["value"] for r in rows if r["array"] == "clean.logit_difference"} == {""}
    assert json.loads(found.json())["result"]["clean"]["logit_difference"]["values"] == [None, None]


def test_streamed_results_are_put_together_with_their_call():
    call = Call.of(patch, model(), TEXT, OTHER, "attn_out")
    *_, last = iter_patch(model(), TEXT, OTHER, "attn_out")
    assert Evidence(call, last).json() == Evidence(call, call.run()).json()


@pytest.mark.parametrize(
    "text",
    [
        'a"""\nimport os; os.system("false")\n"""',
        "a'); raise SystemExit  # \\",
        "=1+1\r\n@SUM(A1)\u2028{evil}",
    ],
)
def test_hostile_text_stays_text(text):
    found = with_evidence(attention, model(), text)
    namespace = {}
    exec(compile(found.snippet(), "snippet", "exec"), namespace)
    np.testing.assert_allclose(namespace["result"].values, found.result.values, atol=1e-6)
    assert json.loads(found.json())["prompts"][0]["text"] == text
    lines = found.csv().split("\n")
    assert all(line.startswith(("# ", "array,", "values,", ",")) or not line for line in lines)


@pytest.mark.parametrize("text", ["He said,=1+1", "a ;\t@x", "-5+cmd|' /C calc'!A0", 'one,"=1+1", two'])
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_no_line_above_the_table_is_cut_into_a_formula(text, delimiter):
    found = with_evidence(attention, model(), text)
    lines = [line for line in found.csv().split("\n") if line.startswith("# ")]
    about = {key: json.loads(value) for key, value in (line[2:].split(": ", 1) for line in lines)}
    assert about == json.loads(json.dumps(found.about()))
    cells = [cell.strip().strip('"') for row in csv.reader(lines, delimiter=delimiter) for cell in row]
    assert not [cell for cell in cells if re.match(r"[=+@]|-[^\d]|-\d+[^\]},\d.]", cell)]


def test_no_cell_of_the_table_is_a_formula():
    labels = {"token": ["=1+1", "@x", "plain"]}
    named = head_atlas.named_array.NamedArray(np.array([1.0, -2.0, np.nan]), ("token",), labels)
    text = Evidence(Call.of(attention, model(), TEXT), named).csv()
    rows = list(csv.reader(io.StringIO("\n".join(line for line in text.splitlines() if line[0] != "#"))))
    assert [row[1] for row in rows[1:]] == ["'=1+1", "'@x", "plain"]
    assert [row[2] for row in rows[1:]] == ["1.0", "-2.0", ""]


def test_what_cannot_be_written_as_code_is_said_by_name():
    reference = resample_reference(model(), [TEXT] * 5, "a text")
    found = with_evidence(ablate, model(), TEXT, ["0.4"], "resample", reference=reference)
    with pytest.raises(HeadAtlasError, match=r"argument reference: an array of \d+ numbers .* give it as a Call"):
        found.snippet()
    read = json.loads(found.json())
    assert read["arguments"]["reference"]["source"] == "a text"
    assert len(read["arguments"]["reference"]["sha256"]) == 64
    assert read["code"] is None
    assert "give it as a Call" in read["no_code"]
    with pytest.raises(HeadAtlasError, match="was not loaded from a folder or the hub"):
        with_evidence(attention, head_model("llama"), "The cat").snippet()
    with pytest.raises(HeadAtlasError, match="only functions of head_atlas"):
        Call.of(json.dumps, {})
    with pytest.raises(HeadAtlasError, match="a set cannot be written as code"):
        Call.of(ablate, model(), TEXT, {"0.4"}).snippet()
    with pytest.raises(TypeError):
        Call.of(ablate, model(), nothing=1)


def test_values_given_with_their_code_are_used_and_written():
    call = Call.of(ablate, model(), Written(TEXT, "'The capital ' + 'of France is'"), ["0.4"])
    assert call.run().tokens == ablate(model(), TEXT, ["0.4"]).tokens
    assert "prompt='The capital ' + 'of France is'" in call.snippet()


def test_a_model_can_be_named_as_others_know_it():
    found = Evidence(Call.of(attention, model(), TEXT), attention(model(), TEXT), model_id="someone/demo")
    assert "load_model('someone/demo')" in found.snippet()
    assert json.loads(found.json())["model"]["model_id"] == "someone/demo"
    assert str(DEMO) not in found.json()


def test_numbers_that_json_has_no_word_for():
    assert plain(np.array([1.0, np.nan, np.inf])) == {"shape": [3], "values": [1.0, None, "Infinity"]}
    assert plain({"a": (np.float32(0.5), np.True_, None)}) == {"a": [0.5, True, None]}
    with pytest.raises(HeadAtlasError, match="a object cannot be exported"):
        plain(object())
