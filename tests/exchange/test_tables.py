from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from small_atlases import contents

from head_atlas.exchange import describe, write_csv, write_json
from head_atlas.exchange.describe import in_words
from head_atlas.named_array import NamedArray
from head_atlas.store import open_atlas, write_atlas

ROWS = [
    ("summary", "sink_mean", 0, 0, "", 0.25),
    ("summary", "kl_mean", 0, 0, "mode=zero family==1+1", 1.5),
    ("summary", "kl_mean", 0, 1, "mode=zero family==1+1", -2.0),
    ("roles", "held", 0, 1, "role=sink", 1.0),
    ("roles", "held", 0, 0, "role=sink", 0.0),
    ("model", "write_norm", 0, 0, "", 3.0),
    ("model", "write_norm", 0, 1, "", 4.0),
    ("syntax", "gain_mean", 0, 0, "relation=nsubj direction=to_head", 0.5),
    ("", "offsets", 0, 1, "bin=sink", 0.75),
]


@pytest.fixture
def atlas(tmp_path):
    further = {
        "summary/sink_mean": NamedArray(np.array([[0.25, np.nan]]), ("layer", "head")),
        "summary/kl_mean": NamedArray(np.array([[[[1.5], [-2]]]]), ("mode", "layer", "head", "family")),
        "roles/held": NamedArray(np.array([[[0.0, 1.0]]]), ("role", "layer", "head"), {"role": ["sink"]}),
        "model/write_norm": NamedArray(np.array([[3.0, 4.0]]), ("layer", "head")),
        "syntax/gain_mean": NamedArray(
            np.array([[[[0.5]], [[np.nan]]]]),
            ("layer", "head", "relation", "direction"),
            {"relation": ["nsubj"], "direction": ["to_head"]},
        ),
        "syntax/gains": NamedArray(
            np.ones((1, 2, 1, 1, 20)),
            ("layer", "head", "relation", "direction", "prompt"),
            {"relation": ["nsubj"], "direction": ["to_head"]},
        ),
        "offsets": NamedArray(np.array([[[np.nan], [0.75]]]), ("layer", "head", "bin"), {"bin": ["sink"]}),
    }
    found = contents({"=1+1": (0, 0)}, families=("=1+1",), further=further, provenance={"a": [float("nan")]})
    write_atlas(tmp_path / "a.h5", found)
    with open_atlas(tmp_path / "a.h5") as atlas:
        yield atlas


def test_csv_has_one_row_per_number(atlas, tmp_path):
    assert write_csv(atlas, tmp_path / "a.csv") == len(ROWS)
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        found = list(csv.reader(file))
    assert found[0] == ["group", "name", "layer", "head", "labels", "value"]
    assert sorted((g, n, int(la), int(h), w, float(v)) for g, n, la, h, w, v in found[1:]) == sorted(ROWS)


def test_json_has_the_same_rows_and_where_they_come_from(atlas, tmp_path):
    assert write_json(atlas, tmp_path / "a.json") == len(ROWS)
    found = json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail)
    assert sorted(map(tuple, found["rows"])) == sorted(ROWS)
    assert found["model_id"] == "small"
    assert found["provenance"]["a"] == [None]


def test_a_description(atlas):
    found = describe(atlas)
    assert found["families"] == [{"name": "=1+1", "prompts": 20, "tokens": 80}]
    assert found["roles"] == {"sink": ["L0H1"]}
    assert found["groups"]["effects"] == ["logit_difference"]
    text = in_words(found)
    assert "1 layers x 2 heads" in text
    assert "role sink: L0H1" in text
