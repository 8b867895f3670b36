from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from full_atlas import HOSTILE, INDUCTION_HEAD, full_contents

from head_atlas.heads import HeadId
from head_atlas.named_array import NamedArray
from head_atlas.store import open_atlas, write_atlas
from head_atlas.views import head_examples
from head_atlas.views.axes import axes_of, default_axis
from head_atlas.views.choices import families_of, measures_of
from head_atlas.views.finder import finder_props
from head_atlas.views.grid import grid_props, measure_props
from head_atlas.views.head_examples import bands_of, examples_props, sets_of
from head_atlas.views.head_page import page_props, summary_props
from head_atlas.views.head_values import RECORD
from head_atlas.views.measured import values_of
from head_atlas.views.records import value_record
from head_atlas.views.scatter import scatter_props
from head_atlas.views.superposition import superposition_props

HEAD = HeadId(*INDUCTION_HEAD)


def plainly(parts):
    """A text whose words of the glossary are marked, as the reader sees it."""
    return "".join(part if isinstance(part, str) else part["text"] for part in parts)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    path = tmp_path_factory.mktemp("full") / "atlas.h5"
    write_atlas(path, full_contents())
    return open_atlas(path)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """The same without anything that came with version 1.1; it says why the roles are missing."""
    contents = full_contents()
    old = ("scores", "baselines", "effects", "clean", "summary")
    arrays = {place: a for place, a in contents.arrays.items() if place.split("/")[0] in old and "direct" not in place}
    path = tmp_path_factory.mktemp("bare") / "atlas.h5"
    write_atlas(path, dataclasses.replace(contents, arrays=arrays, left_out={"roles": "nothing to judge by"}))
    return open_atlas(path)


def section(atlas, head, title):
    page = page_props(atlas, head, effect="logprob", mode="zero")
    return next(s for group in page["groups"] for s in group["sections"] if s.get("title") == title)


def test_every_measure_is_drawn_with_a_sentence(atlas):
    names = [name for _, name in measures_of(atlas)]
    assert {"role_induction", "ov_copy", "direct_logit", "effective_roles", "logprob", "induction"} <= set(names)
    for name in names:
        assert measure_props(name)["sentence"]
        for family in [f for _, f in families_of(atlas, name)] or [""]:
            json.dumps(grid_props(values_of(atlas, name, "zero", family), title="t"), allow_nan=False)


def test_a_dot_marks_what_is_not_significant_and_the_rule_is_said(atlas):
    grid = grid_props(values_of(atlas, "induction", "zero", "rand_repeat"), title="t")
    assert grid["faint"] == [[True] * 3, [True, True, False]]
    assert "q > 0.05" in grid["rule"]
    assert "not significant" in grid["text"][0][0]
    assert "not significant" not in grid["text"][1][2]
    # Without a null nothing is claimed of previous-token scores but by their intervals.
    other = values_of(atlas, "previous_token", "zero", "rand_flat")
    assert other.q is None
    assert "spans 0" in other.rule()


def test_what_cannot_be_negative_is_never_called_significant(atlas):
    shown = values_of(atlas, "kl", "zero", "ioi")
    assert shown.clear(0, 0) is None
    assert shown.rule() == ""


def test_membership_is_marked_by_the_role_being_held(atlas):
    shown = values_of(atlas, "role_induction", "zero", "")
    held = [[shown.clear(layer, head) for head in range(3)] for layer in range(2)]
    assert held == [[False] * 3, [False, False, True]]
    assert shown.text(1, 2).endswith("holds the role")


def test_membership_has_no_q_value(atlas):
    """Whether a role is held is an answer by all its criteria, and no test: nothing may be written down as its q."""
    shown = values_of(atlas, "role_induction", "zero", "")
    assert dict(zip(RECORD, shown.record(1, 2), strict=True))["q"] is None
    assert value_record("role_induction", shown, HEAD)["q"] is None
    assert value_record("role_induction", shown, HEAD)["significant"] is True


def test_the_headline_says_what_the_head_is_with_three_grades(atlas):
    found = summary_props(atlas, HEAD, "zero")
    assert found["marks"] == ["induction head"]
    assert found["sentence"].startswith("Attends like an induction head (excess 0.90")
    (role,) = [r for r in found["sections"][0]["roles"] if r["held"]]
    assert [(g["grade"], g["answer"]) for g in role["grades"]] == [
        ("attends", True),
        ("writes", True),
        ("matters", True),
    ]
    assert "−50.0 %" in role["grades"][2]["numbers"][0]
    assert "n = 20" in role["grades"][0]["numbers"][0]
    assert summary_props(atlas, HeadId(0, 0), "zero")["marks"] == []


def test_partners_are_the_strongest_by_kind_and_direction(atlas):
    columns = section(atlas, HEAD, "Composition with other heads")["columns"]
    by_title = {column["title"]: column for column in columns}
    k = by_title["It reads from, K (what to be found by)"]["rows"]
    assert (k[0]["label"], k[0]["t"], k[0]["text"]) == ("L0H1", 1.0, "0.40")
    assert len(k) == 3
    assert by_title["Read by, K (what to be found by)"] == {
        "title": "Read by, K (what to be found by)",
        "rows": [],
        "empty": "no later layer",
    }


def test_weights_show_where_chance_ends(atlas):
    (row,) = section(atlas, HEAD, "OV and QK by themselves")["rows"]
    assert row["t"] == pytest.approx(0.3, rel=1e-3)
    assert row["chance"] == pytest.approx(0.1, rel=1e-3)
    assert (row["faint"], row["cells"][:2]) == (False, ["0.30", "0.10"])


def test_direct_logit_has_a_row_per_family_and_its_tests(atlas):
    rows = {row["label"]: row for row in section(atlas, HEAD, "What it adds to the answer by itself")["rows"]}
    assert list(rows) == ["rand repeat", "ioi"]
    assert (rows["rand repeat"]["sign"], rows["ioi"]["sign"]) == (1, 0)
    assert "q < 0.001" in rows["rand repeat"]["sentence"]


def test_shares_of_families_are_those_that_are_felt(atlas):
    found = section(atlas, HEAD, "Which families need it")
    assert found["rows"][0]["label"] == "rand repeat"
    assert found["rows"][0]["cells"] == ["50.0 %", "felt"]
    assert "1.0 families" in plainly(found["lead"])


@pytest.mark.parametrize("longest", [128, 2])
def test_attention_that_is_not_shown_is_counted_as_elsewhere(atlas, monkeypatch, longest):
    """Beside what the file does not keep: what lies outside of the tokens shown."""
    monkeypatch.setattr(head_examples, "LONGEST", longest)
    stored = atlas.stored_exemplars("text")
    exemplar = next(e for e in stored.of(*INDUCTION_HEAD) if e.band == 2)
    pattern = stored.pattern(exemplar)
    (item,) = examples_props(atlas, HEAD, "text", "2")["items"]
    assert len(item["tokens"]) == min(longest, len(pattern.weights))
    start = len(pattern.weights) - len(item["tokens"]) if longest == 2 else 0
    totals = (pattern.weights.sum(1) + pattern.dropped)[start:][: len(item["tokens"])]
    shown = [sum(weight for _, weight in row) for row in item["rows"]]
    np.testing.assert_allclose(np.add(shown, item["dropped"]), totals, atol=2e-3)


@pytest.mark.parametrize(("felt", "words"), [(1.0, "the effect is felt."), (0.0, "the effect is not felt.")])
def test_natural_text_has_no_share_and_is_not_passed_over(felt, words, tmp_path):
    contents = full_contents()
    array = contents.arrays["roles/felt"]
    array.values[(array.coords["family"].index("natural"), *INDUCTION_HEAD)] = felt
    write_atlas(tmp_path / "felt.h5", contents)
    with open_atlas(tmp_path / "felt.h5") as atlas:
        found = section(atlas, HEAD, "Which families need it")
    assert words in plainly(found["lead"])
    assert [row["label"] for row in found["rows"]] == ["rand repeat"]


def test_an_exemplar_keeps_its_pattern_its_value_and_its_effect(atlas):
    assert sets_of(atlas) == [("natural text", "text")]
    assert [name for _, name in bands_of(atlas, "text")] == ["2", "1", "0"]
    found = examples_props(atlas, HEAD, "text", "2")
    (item,) = found["items"]
    assert item["rows"][3] == [[1, 0.75]]
    assert item["rest"][:3] == [0.0, 0.75, 0.0]
    assert item["dropped"][3] == 0.25
    assert "largest look 0.75" in item["said"]
    assert "−0.30 nats" in item["said"]
    assert atlas.prompts[item["prompt"]].family == "natural"
    assert "none in this band" in examples_props(atlas, HEAD, "text", "1")["empty"]
    assert "no prompt suffers" in examples_props(atlas, HEAD, "text", "0")["empty"]


def test_tokens_are_text_and_stay_what_they_are(atlas):
    rows = section(atlas, HEAD, "Tokens it raises and lowers")["columns"][0]["rows"]
    assert [row["token"] for row in rows] == [HOSTILE, HOSTILE]
    looked = section(atlas, HEAD, "Tokens it looks from, and at")["columns"][1]["rows"][0]
    assert (looked["token"], looked["text"]) == (HOSTILE, "3.0×")


def test_an_atlas_without_the_new_parts_says_what_is_missing_and_why(bare):
    found = summary_props(bare, HEAD, "zero")
    assert found["marks"] == []
    assert "nothing to judge by" in found["sentence"]
    page = page_props(bare, HEAD, effect="logprob", mode="zero")
    json.dumps(page, allow_nan=False)
    empty = [s for group in page["groups"] for s in group["sections"] if s["kind"] == "empty"]
    assert len(empty) == 8
    assert all(s["title"] and s["text"] for s in empty)
    assert "without exemplars" in examples_props(bare, HEAD, "text", "2")["empty"]
    assert "says nothing of superposition" in superposition_props(bare)["empty"]
    assert finder_props(bare, "induction", "rand_repeat", "zero")["note"]


def test_the_scatter_opens_on_looks_against_matters_coloured_by_what_it_writes(atlas):
    axes = [default_axis(atlas, key) for key in ("x", "y", "by")]
    assert axes == ["induction@rand_repeat", "logit_difference@rand_repeat", "direct_logit@rand_repeat"]
    plot = scatter_props(atlas, *axes, "zero")
    json.dumps(plot, allow_nan=False)
    points = {tuple(p["at"]): p for p in plot["points"]}
    x = values_of(atlas, "induction", "zero", "rand_repeat").values
    order = sorted(points, key=lambda at: points[at]["x"])
    assert order == sorted(points, key=lambda at: x[at])
    assert points[INDUCTION_HEAD]["t"] == 1.0
    assert points[0, 0]["faint"]


def test_every_axis_can_be_drawn_and_missing_heads_are_counted(atlas):
    for _, axis in axes_of(atlas):
        plot = scatter_props(atlas, axis, "layer", "layer", "zero")
        assert "empty" in plot or len(plot["points"]) + int(plot["missing"].split()[0] if plot["missing"] else 0) == 6
    plot = scatter_props(atlas, "layer", "effective_roles", "layer", "zero")
    assert len(plot["points"]) == 1
    assert plot["missing"].startswith("5 heads")


def test_the_table_has_every_head_with_its_roles_and_what_to_sort_by(atlas):
    table = finder_props(atlas, "induction", "rand_repeat", "zero")
    json.dumps(table, allow_nan=False)
    assert [f["name"] for f in table["filters"]] == ["induction"]
    rows = {tuple(row["at"]): row for row in table["rows"]}
    assert len(rows) == 6
    assert rows[INDUCTION_HEAD]["held"] == ["induction"]
    assert all(len(row["cells"]) == len(table["columns"]) for row in table["rows"])
    excess = values_of(atlas, "induction", "zero", "rand_repeat").values
    assert np.isclose(rows[0, 0]["cells"][2]["sort"], excess[0, 0])
    assert rows[0, 0]["cells"][2]["text"].endswith("*")


def test_the_superposition_panel_lists_the_mixed_neuron_at_its_token(atlas):
    panel = superposition_props(atlas)
    json.dumps(panel, allow_nan=False)
    neurons = next(s for s in panel["sections"] if s["kind"] == "neurons")
    (only,) = neurons["neurons"]
    assert only["title"] == "Layer 1, neuron 0"
    assert [f["text"] for f in only["families"]] == ["50.0 %", "50.0 %"]
    (example,) = only["examples"]
    assert len(example["tokens"]) == 3
    assert "1 neurons that fire" in neurons["lead"] or "1 fire" in neurons["lead"]
    bars = panel["sections"][0]
    assert bars["rows"][0]["cells"] == ["0.200", "0.100"]


def test_how_many_dimensions_there_are_is_never_guessed(tmp_path):
    """Of MLPs it stands in what was measured of their units, layer by layer; without it there is a dash."""

    def rows(width, **provenance):
        contents = full_contents()
        layers = contents.n_layers
        arrays = {place: one for place, one in contents.arrays.items() if not place.startswith("neurons/")}
        arrays["model/mlp_participation"] = NamedArray(np.full(layers, 3.0), ("layer",))
        arrays["model/head_participation"] = NamedArray(np.full((layers, contents.n_heads), 2.0), ("layer", "head"))
        if width:
            threshold = np.array([[1.0] * width, *[[1.0] + [np.nan] * (width - 1)] * (layers - 1)])
            arrays["neurons/threshold"] = NamedArray(threshold, ("layer", "neuron"))
        kept = {"d_model": 64} | provenance
        write_atlas(tmp_path / "a.h5", dataclasses.replace(contents, arrays=arrays, provenance=kept))
        with open_atlas(tmp_path / "a.h5") as atlas:
            sections = superposition_props(atlas)["sections"]
        used = next(section for section in sections if section["title"] == "Dimensions in use")
        return [row["cells"] for row in used["rows"]]

    assert rows(8, d_head=16) == [["2.0", "16"]] * 2 + [["3.0", "8"], ["3.0", "1"]]
    assert rows(0, d_head="many") == [["2.0", "–"]] * 2 + [["3.0", "–"]] * 2
