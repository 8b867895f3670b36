from __future__ import annotations

import json

import numpy as np
import pytest
from full_atlas import full_contents

from head_atlas.heads import HeadId
from head_atlas.store import open_atlas, write_atlas
from head_atlas.store.checksum import sha256_of
from head_atlas.views.grid import grid_props
from head_atlas.views.head_page import page_props
from head_atlas.views.measured import values_of
from head_atlas.views.provenance import about_props
from head_atlas.views.saved import measured_by, saved, source_of
from head_atlas.views.scatter import scatter_props
from head_atlas.views.superposition import superposition_props

HEAD = HeadId(1, 2)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    path = tmp_path_factory.mktemp("full") / "atlas.h5"
    write_atlas(path, full_contents())
    with open_atlas(path) as opened:
        yield opened


def sections_of(page):
    """Every section of a head's page, those of each mode and those that unfold included."""
    found = []

    def add(section):
        if section["kind"] == "switch":
            for option in section["options"]:
                add(option["section"])
        elif section["kind"] == "fold":
            add(section["section"])
        else:
            found.append(section)

    for group in page["groups"]:
        for section in group["sections"]:
            add(section)
    return found


def test_a_table_keeps_numbers_and_leaves_out_empty_facts():
    table = saved(["a", "b"], [[np.float32(0.1), float("nan")], [np.int64(3), True], ["=1+1", None]], mode="", n=4)
    assert table == {
        "columns": ["a", "b"],
        "rows": [[0.1, None], [3, True], ["=1+1", None]],
        "about": {"n": 4},
    }
    json.dumps(table, allow_nan=False)


def test_the_source_names_model_file_and_hash(atlas):
    source = source_of(atlas)
    assert source["model_id"] == atlas.model_id
    assert source["atlas"] == "atlas.h5"
    assert source["atlas_sha256"] == sha256_of(atlas.path)
    assert "/" not in source["atlas"]


def test_a_mode_is_named_only_where_something_was_ablated():
    assert measured_by("induction", "rand_repeat", "zero")["mode"] == ""
    assert measured_by("logit_difference", "ioi", "zero")["mode"] == "zero"


def test_the_heat_map_saves_the_stored_numbers(atlas):
    shown = values_of(atlas, "logit_difference", "zero", "ioi")
    table = grid_props(shown, title="", about=source_of(atlas) | measured_by("logit_difference", "ioi", "zero"))[
        "saved"
    ]
    assert len(table["rows"]) == atlas.n_layers * atlas.n_heads
    mean = atlas.summary["logit_difference_mean"].sel(mode="zero", family="ioi").values
    for row in table["rows"]:
        head = HeadId.parse(row[0])
        expected = float(mean[head.layer, head.head])
        assert row[1] == (pytest.approx(expected, rel=1e-6) if np.isfinite(expected) else None)
    assert table["columns"] == ["head", "value", "ci_low", "ci_high", "n", "q", "significant"]
    assert {"model_id", "measure", "family", "mode", "unit", "atlas_sha256"} <= set(table["about"])
    assert grid_props(shown, title="")["saved"] is None


def test_every_table_of_a_head_is_rectangular_and_plain_json(atlas):
    page = page_props(atlas, HEAD, effect="logit_difference", mode="zero")
    tables = [section for section in sections_of(page) if "saved" in section]
    assert {section["kind"] for section in tables} == {"bars", "forest", "profile", "tokens", "partners"}
    for section in tables:
        table = section["saved"]
        assert table["rows"], section["title"]
        assert all(len(row) == len(table["columns"]) for row in table["rows"]), section["title"]
        json.dumps(table, allow_nan=False)
    # What goes into a file stays out of what is drawn.
    assert '"numbers": [' not in json.dumps(
        [{k: v for k, v in s.items() if k not in ("saved", "roles")} for s in tables], default=str
    )


def test_a_forest_saves_value_interval_and_sample_size(atlas):
    page = page_props(atlas, HEAD, effect="logit_difference", mode="zero")
    table = next(s for s in sections_of(page) if s["title"] == "Effects per prompt family")["saved"]
    row = next(dict(zip(table["columns"], r, strict=True)) for r in table["rows"] if r[0] == "ioi")
    part = {key: atlas.summary[f"logit_difference_{key}"].sel(mode="zero", family="ioi") for key in ("mean", "n")}
    assert row["value"] == pytest.approx(float(part["mean"].values[1, 2]), rel=1e-6)
    assert row["n"] == float(part["n"].values[1, 2])
    assert (table["about"]["measure"], table["about"]["mode"]) == ("logit_difference", "zero")


def test_points_save_their_values_and_what_the_axes_are(atlas):
    props = scatter_props(atlas, "induction@rand_repeat", "logit_difference@ioi", "layer", "zero")
    table = props["saved"]
    assert len(table["rows"]) == len(props["points"])
    shown = values_of(atlas, "induction", "zero", "rand_repeat").values
    for head, x, _, layer in table["rows"]:
        at = HeadId.parse(head)
        assert x == pytest.approx(float(shown[at.layer, at.head]), rel=1e-6)
        assert layer == at.layer
    assert "induction@rand_repeat" in table["about"]["x"]
    assert all("values" not in point for point in props["points"])


def test_about_and_superposition_say_where_they_are_from(atlas):
    assert about_props(atlas)["about"] == source_of(atlas)
    panel = superposition_props(atlas)
    assert panel["about"] == source_of(atlas)
    tables = [section["saved"] for section in panel["sections"] if "saved" in section]
    assert tables
    assert all(len(row) == len(table["columns"]) for table in tables for row in table["rows"])
