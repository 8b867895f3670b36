from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "app"))
from small_place import make_atlas

from head_atlas.catalogue import EFFECTS, SCORES
from head_atlas.heads import HeadId
from head_atlas.named_array import NamedArray
from head_atlas.store import contents_of, open_atlas, write_atlas
from head_atlas.views.attention import attention_props, lower_triangle
from head_atlas.views.attribution import attribution_props
from head_atlas.views.choices import families_of, measures_of
from head_atlas.views.citing import atlas_bibtex, software_bibtex
from head_atlas.views.comparison import OUTCOMES, forgetting_title, outcome, what_it_means
from head_atlas.views.distribution import distribution_props, effect_facts, top_ids, verdict
from head_atlas.views.grid import grid_props, measure_props
from head_atlas.views.head_page import page_props
from head_atlas.views.head_values import HeadValues
from head_atlas.views.induction import THRESHOLD, induction_heads
from head_atlas.views.measured import values_of
from head_atlas.views.numbers import ordinal
from head_atlas.views.provenance import about_props, provenance_rows


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    path = tmp_path_factory.mktemp("views") / "atlas.h5"
    make_atlas(path)
    return open_atlas(path)


def test_every_measure_on_every_family_can_be_drawn(atlas):
    for _, measure in measures_of(atlas):
        for _, family in families_of(atlas, measure):
            props = grid_props(values_of(atlas, measure, "zero", family), title="t")
            json.dumps(props, allow_nan=False)
            assert len(props["t"]) == atlas.n_layers
            assert measure_props(measure)["sentence"]


def test_measures_say_whether_they_are_scores_or_effects(atlas):
    labels = {name: label for label, name in measures_of(atlas)}
    assert all(labels[name].startswith("Score · ") for name in labels if name in SCORES)
    assert all(labels[name].startswith("Effect · ") for name in labels if name in EFFECTS)


def test_a_missing_value_is_hatched_with_its_reason():
    shown = HeadValues(np.array([[np.nan, 1.0]]), None, None, None, "x", "", False, reason="no contrast here")
    props = grid_props(shown, title="t")
    assert props["t"][0] == [None, 1.0]
    assert props["text"][0][0] == "no contrast here"
    assert props["short"][0][0] == ""
    assert props["reason"] == "no contrast here"


def test_an_interval_that_leaves_zero_out_never_reads_as_if_it_touched_it():
    def text(x, low, high):
        one = HeadValues(*(np.array([[v]]) for v in (x, low, high, 40)), "x", "nats", True)
        return one.text(0, 0)

    assert text(-0.0012, -0.0016, -0.0008) == "−0.0012 [−0.0016, −0.0008], n = 40"
    assert text(1.2, 0.004, 2.4) == "+1.20 [+0.004, +2.40], n = 40"
    assert text(-0.0039, -0.0075, -0.000006) == "−0.0039 [−0.0075, −6.0e−6], n = 40"
    assert text(0.5, 0.4, 0.6) == "+0.50 [+0.40, +0.60], n = 40"
    assert text(0.0, -0.003, 0.003) == "0.0000 [−0.0030, +0.0030], n = 40"


def test_a_mean_over_families_says_how_many(atlas):
    measured = np.isfinite(atlas.summary["logit_difference_mean"].values).any(axis=(0, 1, 2)).sum()
    label = values_of(atlas, "logit_difference", "zero", "all").label
    assert label.endswith(f"mean over {measured} families")


def test_small_effects_of_a_run_keep_two_digits():
    labels = {"logprob": ("log-probability", "nats", "", True)}
    assert effect_facts({"logprob": -0.00042}, {}, labels)[0]["text"] == "−0.00042 nats"


def test_wide_grids_leave_numbers_to_hover():
    shown = HeadValues(np.zeros((2, 32)), None, None, None, "x", "", False)
    assert grid_props(shown, title="t")["short"] is None


def sections_of(page):
    return {section["title"]: section for group in page["groups"] for section in group["sections"]}


def effects_of_page(atlas, head, effect, **more):
    """The rows of the zero-ablation forest, by family."""
    page = page_props(atlas, head, effect=effect, mode="zero", **more)
    forest = page["groups"][0]["sections"][0]["options"][atlas.modes.index("zero")]["section"]
    return {row["label"]: row for row in forest["rows"]}, forest


def test_a_page_shows_every_score_and_every_family_with_interval_and_n(atlas):
    head = HeadId(2, 3)
    page = page_props(atlas, head, effect="logprob", mode="zero")
    json.dumps(page, allow_nan=False)
    assert len(sections_of(page)["Scores"]["rows"]) == 10
    assert len(sections_of(page)["How far back"]["bins"]) == atlas.offsets.shape[2]
    rows, _ = effects_of_page(atlas, head, "logprob")
    mean, low, high = (
        float(atlas.summary[f"logprob_{part}"].sel(mode="zero", family="ioi")[2, 3])
        for part in ("mean", "ci_low", "ci_high")
    )
    assert rows["ioi"]["cells"][:3] == [
        # The largest of the three is 0.04, of which two digits count.
        f"{mean:+.3f}".replace("-", "−"),
        f"[{low:+.3f}, {high:+.3f}]".replace("-", "−"),
        "6",
    ]
    assert [label for label, row in rows.items() if row["key"] == "logprob@ioi"] == ["ioi"]
    # Beside the other heads of its layer.
    assert len(rows["ioi"]["peers"]) == atlas.n_heads - 1


def test_an_effect_that_is_not_defined_says_so(atlas):
    rows, forest = effects_of_page(atlas, HeadId(0, 0), "logit_difference")
    assert "natural" not in rows
    assert "Not defined on natural" in "".join(p if isinstance(p, str) else p["text"] for p in forest["lead"])


def test_dots_are_coloured_only_where_the_interval_leaves_zero_out(atlas):
    for layer in range(4):
        for head in range(6):
            rows, _ = effects_of_page(atlas, HeadId(layer, head), "logprob")
            for family in (f for f in atlas.families if f != "rand_flat"):
                low = float(atlas.summary["logprob_ci_low"].sel(mode="zero", family=family)[layer, head])
                high = float(atlas.summary["logprob_ci_high"].sel(mode="zero", family=family)[layer, head])
                assert (rows[family.replace("_", " ")]["sign"] != 0) == (low > 0 or high < 0)


def test_no_dot_is_coloured_of_what_is_never_negative(atlas):
    """Every interval of a KL divergence lies above 0, whatever the head does."""
    rows, forest = effects_of_page(atlas, HeadId(0, 0), "kl")
    assert rows
    assert {row["sign"] for row in rows.values()} == {0}
    lead = "".join(p if isinstance(p, str) else p["text"] for p in forest["lead"])
    assert "No dot is coloured" in lead
    assert "where it is significant" not in lead


def test_ordinals():
    assert [ordinal(x) for x in (0, 1, 2, 3, 11, 12, 13, 21, 100, np.nan)] == (
        ["0th", "1st", "2nd", "3rd", "11th", "12th", "13th", "21st", "100th", ""]
    )


def test_induction_heads_pass_the_stated_rule_strongest_first(atlas):
    heads = induction_heads(atlas)
    low, excess = atlas.summary["induction_excess_ci_low"], atlas.summary["induction_excess"]
    assert all(low[h.layer, h.head] >= THRESHOLD for h in heads)
    assert len(heads) == int((low.values >= THRESHOLD).sum())
    assert [excess[h.layer, h.head] for h in heads] == sorted((excess[h.layer, h.head] for h in heads), reverse=True)


CLEAN = np.log(np.array([0.5, 0.3, 0.1, 0.06, 0.04]))
ABLATED = np.log(np.array([0.1, 0.2, 0.1, 0.5, 0.1]))
NAMES = {0: " a", 3: " d", 1: " b"}


def test_rows_are_the_likeliest_of_either_run():
    assert top_ids(CLEAN, ABLATED, 1) == [0, 3]
    assert top_ids(CLEAN, None, 2, also=[4]) == [0, 1, 4]


def test_bars_carry_both_probabilities_and_their_change():
    props = distribution_props(CLEAN, ABLATED, NAMES, target=0, contrast=3)
    first = props["rows"][0]
    assert (first["token"], first["target"], first["text"], first["change"]) == (
        "·a",
        "target",
        "50.0 % → 10.0 %",
        "−40.0 pp",
    )
    assert props["rows"][1]["target"] == "contrast"
    assert not distribution_props(CLEAN, None, NAMES)["paired"]


def test_the_verdict_says_no_more_than_happened():
    assert "says “·d” instead of “·a”" in verdict(" a", " d", " a", 0.5, 0.1, "L1H1")
    assert "still says “·a”" in verdict(" a", " a", " a", 0.5, 0.4, "L1H1")


def test_facts_name_what_is_missing_and_spell_out_ranks():
    labels = {name: (m.label, m.unit, m.sentence, m.signed) for name, m in EFFECTS.items()}
    effects = {"logit_difference": float("nan"), "flip": 1.0, "log2_rank": 2.0, "kl": 0.5, "logprob": -1.0}
    texts = {f["label"]: f["text"] for f in effect_facts(effects, {"log2_rank": 0.0}, labels)}
    assert texts["logit difference"] == "needs a contrast"
    assert texts["changed top token"] == "yes"
    assert texts["rank of the answer"] == "1 → 4"
    assert texts["KL divergence"] == "0.50 nats"


def test_attention_is_sent_as_its_causal_part():
    pattern = np.array([[1.0, 0.0], [0.25, 0.75]])
    assert lower_triangle(pattern) == [1.0, 0.25, 0.75]
    props = attention_props(pattern, pattern[::-1], [" a", "\n"], "L1H1")
    assert props["tokens"] == ["·a", "⏎"]
    assert len(props["runs"]) == 3
    assert len(attention_props(pattern, None, ["a", "b"], "L1H1")["runs"]) == 1


def test_a_difference_of_rounding_noise_stays_pale():
    pattern = np.array([[1.0, 0.0], [0.25, 0.75]])
    noise = attention_props(pattern, pattern + 1e-5, ["a", "b"], "L1H1")
    assert noise["runs"][2]["high"] == 0.05


def test_attribution_keeps_signs_and_leaves_bos_blank():
    props = attribution_props(
        np.array([np.nan, 2.0, -1.0]), ["<|bos|>", " x", " y"], special=1, target=" t", contrast=None
    )
    assert [chip["t"] for chip in props["chips"]] == [None, 1.0, -0.5]
    assert props["chips"][0]["special"]
    assert "towards “·t”" in props["chips"][1]["label"]
    assert "away from “·t”" in props["chips"][2]["label"]
    assert "held fixed" in props["chips"][0]["label"]


def test_every_prediction_can_come_true():
    assert outcome(0.9, 0.85, True) == "same"
    assert outcome(0.9, 0.5, True) == "weaker"
    assert outcome(0.9, 0.89, False) == "gone"
    assert set(OUTCOMES) == {"same", "weaker", "gone"}


def test_what_a_removal_means_is_said_beside_the_control():
    true, text = what_it_means(" w", [0.9, 0.1, 0.88], [True, False, True])
    assert true == "gone"
    assert "it is the removed ones, taken together" in text
    true, text = what_it_means(" w", [0.9, 0.1, 0.2], [True, False, True])
    assert true == "gone"
    assert "control matters as well" in text
    true, text = what_it_means(" w", [0.9, 0.88, 0.9], [True, True, True])
    assert true == "same"
    assert "other heads can do it too" in text


def test_a_run_that_cannot_decide_judges_nothing():
    true, text = what_it_means(" w", [0.1, 0.1, 0.1], [False, False, False])
    assert true == ""
    assert "says little" in text


def test_the_landing_title_claims_what_happened():
    assert forgetting_title(" Potter", " Potter", " the", 1) == "Remove this head, and Harry forgets Potter"
    assert forgetting_title(" Potter", " Potter", " the", 2) == "Remove these 2 heads, and Harry forgets Potter"
    assert "becomes less likely" in forgetting_title(" Potter", " Potter", " Potter", 1)
    assert "Potter" not in forgetting_title(" x", " x", " y", 1)


def test_about_counts_prompts_per_family(atlas):
    (families,) = (part["rows"] for part in about_props(atlas)["sections"] if "Corpus" in part.get("title", ""))
    assert [row["label"] for row in families][: len(atlas.families)] == [f.replace("_", " ") for f in atlas.families]
    assert all(row["text"].startswith("6 prompts") for row in families[: len(atlas.families)])


def test_a_family_with_answers_that_was_not_measured_is_not_said_to_have_none(tmp_path):
    """As where the one mode of a build needs corrupted prompts, which natural text may not have."""
    make_atlas(tmp_path / "whole.h5")
    with open_atlas(tmp_path / "whole.h5") as atlas:
        whole = contents_of(atlas)
    right = NamedArray(np.array([0.5, *[np.nan] * (len(whole.families) - 1)]), ("family",))
    arrays = dict(whole.arrays) | {"summary/clean_correct": right}
    write_atlas(tmp_path / "a.h5", replace(whole, arrays=arrays))
    with open_atlas(tmp_path / "a.h5") as atlas:
        (rows,) = (part["rows"] for part in about_props(atlas)["sections"] if "Corpus" in part.get("title", ""))
    said = {family: row["text"] for family, row in zip(whole.families, rows, strict=False)}
    assert "right 50.0 %" in said[whole.families[0]]
    assert "no right answer" in said["rand_flat"]
    assert "was not measured" in said["natural"]
    assert "no right answer" not in said["natural"]


def test_about_tells_what_is_missing_from_what_is_partial(atlas, monkeypatch):
    def rows(title):
        return [row for part in about_props(atlas)["sections"] if part.get("title") == title for row in part["rows"]]

    monkeypatch.setattr(atlas, "notes", {"fact": "72 of 100 prompts"})
    assert rows("Notes") == [{"label": "fact", "text": "72 of 100 prompts"}]
    assert not any(row["label"] == "fact" for row in rows("Left out"))
    monkeypatch.setattr(atlas, "notes", {})
    assert rows("Notes") == []


def test_provenance_is_in_words_and_keeps_what_it_does_not_know():
    rows = provenance_rows(
        {"future_key": 3, "bos_policy": "eos", "windows": [None, None], "model_revision": "", "seed": 0}
    )
    assert [(row["label"], row["text"]) for row in rows] == [
        ("Attention window per layer, in tokens", "none: every layer sees the whole prompt"),
        ("Before every prompt stands", "its EOS token, as it has no BOS"),
        ("Seed", "0"),
        ("Future key", "3"),
    ]


def test_views_import_no_torch_and_no_gradio():
    import subprocess

    code = (
        "import sys, pkgutil, importlib, head_atlas.views as v\n"
        "[importlib.import_module(f'head_atlas.views.{m.name}') for m in pkgutil.iter_modules(v.__path__)]\n"
        "print([m for m in ('torch', 'transformers', 'gradio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def rows_of(shown):
    inner = [section.get("section", section) for section in shown["sections"]]
    return {row["label"]: row["text"] for section in inner for row in section.get("rows", [])}


def test_about_puts_the_checks_first_with_their_numbers(atlas, monkeypatch):
    checks = [
        {"name": "no-op", "value": 0.0, "tolerance": 0.0, "passed": True, "meaning": "nothing changes"},
        {"name": "batched", "value": 2e-3, "tolerance": 1e-4, "passed": False, "meaning": "equal"},
    ]
    monkeypatch.setattr(atlas, "checks", checks)
    noop, batched = about_props(atlas)["sections"][0]["rows"]
    assert noop["text"] == "passed: found 0, allowed 0 (bit for bit)"
    assert batched["text"] == "FAILED: found 0.002, allowed 0.0001"
    monkeypatch.setattr(atlas, "checks", [])
    assert [row["text"] for row in about_props(atlas)["sections"][0]["rows"]] == ["not recorded in this file"] * 2


def test_about_counts_tokens_and_says_whose_text_it_is(atlas, monkeypatch):
    rows = rows_of(about_props(atlas))
    assert rows["All families"] == f"{len(atlas.prompts)} prompts · {sum(map(len, atlas.prompts)):,} tokens"
    assert "Apache-2.0" in rows["The text of its prompts"]
    monkeypatch.setattr(atlas, "provenance", {**atlas.provenance, "natural_source": "a corpus of the user's"})
    assert "whoever" in rows_of(about_props(atlas))["The text of its prompts"]
    monkeypatch.setattr(atlas, "provenance", {**atlas.provenance, "imported": {"from": "a HeadVis data tree"}})
    assert "imported" in rows_of(about_props(atlas))["The text of its prompts"]


def test_a_hostile_name_stays_within_its_braces(atlas, monkeypatch):
    monkeypatch.setattr(atlas, "model_id", "}}, note = {x}\n\\input{passwd} 50% a_b")
    entry = atlas_bibtex(atlas)
    assert "\n\\input" not in entry
    assert r"\}\}, note = \{x\} \textbackslash{}input\{passwd\} 50\% a\_b" in entry
    plain = entry.replace("\\{", "").replace("\\}", "")
    assert plain.count("{") == plain.count("}")


def test_the_software_is_cited_as_bibtex_reads_it():
    assert software_bibtex().splitlines()[0] == "@software{head_atlas,"
    assert "  author  = {{The Head Atlas authors}}," in software_bibtex()


def test_imported_and_merged_atlases_say_of_what_one_by_one():
    rows = provenance_rows(
        {
            "imported": {"from": "a HeadVis data tree", "dataset_name": "a text", "tool": ""},
            "merged": [{"seed": 1, "modes": ["zero"]}, {}],
        }
    )
    assert [(row["label"], row["text"]) for row in rows] == [
        ("Merged of, 1", "modes zero, seed 1"),
        ("Merged of, 2", "nothing that all do not share"),
        ("Imported: from", "a HeadVis data tree"),
        ("Imported: dataset name", "a text"),
    ]
