"""A HeadVis tree opens in the app: its scores as a map, its sequences as examples, and no effect is claimed."""

from __future__ import annotations

import json

import pytest

from head_atlas.app.atlas_view import atlas_view
from head_atlas.app.library import Library
from head_atlas.app.page_state import PageState
from head_atlas.exchange import read_headvis
from head_atlas.store import write_atlas


@pytest.fixture
def imported(tmp_path):
    tree = tmp_path / "tree"
    (tree / "heads").mkdir(parents=True)
    config = {
        "model_name": "tiny", "dataset_name": "a text", "n_layers": 1, "n_heads": 2, "n_intervals": 2,
        "heads": [[0, 0], [0, 1]], "metrics": ["induction_score"], "head_data_pattern": "L{layer}H{head}.json",
    }  # fmt: skip
    (tree / "config.json").write_text(json.dumps(config))
    rows = [{"layer": 0, "head": 0, "induction_score": 0.25}, {"layer": 0, "head": 1, "induction_score": None}]
    (tree / "scatter_data.json").write_text(json.dumps(rows))
    for head in (0, 1):
        sequence = {
            "sequence_id": 0, "interval": 2, "tokens": ["<b>", "one", "two"], "attention_indices": [7],
            "attention_values": [0.75], "seq_len": 3, "max_activation": 0.75,
        }  # fmt: skip
        (tree / "heads" / f"L0H{head}.json").write_text(json.dumps({"sequences": [sequence]}))
    (tmp_path / "imported").mkdir()
    write_atlas(tmp_path / "imported" / "atlas.h5", read_headvis(tree))
    return Library.of(str(tmp_path / "imported"))


def test_its_scores_are_a_map_and_say_whose_they_are(imported):
    view = atlas_view(imported, PageState(head="0.0"))
    assert [name for _, name in view.measures] == ["headvis_induction_score"]
    assert view.problems == []
    assert (view.grid["n_layers"], view.grid["n_heads"]) == (1, 2)
    assert "another tool" in str(view.measure)


def test_its_sequences_are_examples_and_nothing_suffers(imported):
    view = atlas_view(imported, PageState(head="0.1"))
    assert [name for _, name in view.bands] == ["2", "1"]
    assert "two" in str(view.examples)
    assert "without removing heads" in str(view.page)
