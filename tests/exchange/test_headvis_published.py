"""Trees as they are published: written by hand after Neuronpedia's pipeline and the description in the HeadVis sources.

The shapes, names, roundings and absences are those of the writers; the numbers and texts are made up here.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from head_atlas.errors import AtlasError
from head_atlas.exchange import read_headvis, write_headvis
from head_atlas.store import open_atlas, write_atlas

METRICS = [
    "self_attention_score",
    "prev_token_score",
    "pattern_entropy",
    "qk_distance",
    "qk_distance_variance",
    "induction_score",
]


def store(folder, name, value):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(value) + "\n")


def sequence(sequence_id, interval, tokens, entries, largest):
    """A sequence as the pipeline writes it: sorted entries, four decimals that went through float32."""
    n = len(tokens)
    return {
        "sequence_id": sequence_id,
        "interval": interval,
        "tokens": tokens,
        "attention_indices": [query * n + key for query, key, _ in entries],
        "attention_values": [float(np.float32(round(value, 4))) for _, _, value in entries],
        "seq_len": n,
        "max_activation": largest,
    }


def page(sequences, counts, mean):
    edges = [round(i / 50, 4) for i in range(51)]
    return {
        "sequences": sequences,
        "qk_distance_histogram": {"bin_edges": [0, 1, 2, 4], "bin_values": [1.9, 0.1234, 0.0]},
        "top_query_tokens": [{"token": " cat", "weight": 1.8766}],
        "top_key_tokens": [{"token": "The", "weight": 1.1}],
        "histogram": {"bin_edges": edges, "bin_values": counts},
        "statistics": {"n_samples": len(sequences), "mean_max_activation": mean},
    }


@pytest.fixture
def published(tmp_path):
    """gpt-tiny/headvis/a-text, of 2 layers x 2 heads, 4 intervals."""
    tree = tmp_path / "gpt-tiny" / "headvis" / "a-text"
    heads = [[layer, head] for layer in range(2) for head in range(2)]
    config = {
        "model_name": "someone/gpt-tiny",
        "np_model_id": "gpt-tiny",
        "dataset_name": "someone/a-text",
        "heads": heads,
        "n_layers": 2,
        "n_heads": 2,
        "n_intervals": 4,
        "metrics": METRICS,
        "metric_descriptions": {name: f"What {name} is." for name in METRICS},
        "head_data_pattern": "L{layer}H{head}.json",
        "has_umap": False,
        "umap_heads": [],
        "custom_plots": [{"key": "qk_distance_histogram", "label": "Q-K distance"}],
        "custom_tables": [{"key": "top_query_tokens", "label": "Top query tokens"}],
        "statistics_display": {"n_samples": {"label": "Samples kept", "format": "default"}},
        "pipeline_config": {
            "model_name": "someone/gpt-tiny",
            "dataset_config_name": None,
            "n_sequences": 4096,
            "seq_len": 512,
            "dtype": "bfloat16",
            "sparse_topk_per_row": 8,
            "created_at": "2026-05-27T22:55:24+00:00",
            "actual_sequences_processed": 4090,
        },
    }
    store(tree, "config.json", config)
    rows = []
    for layer, head in heads:
        row = {"layer": layer, "head": head} | {name: round(0.1234 + layer + head / 2, 4) for name in METRICS}
        rows.append(row | {"induction_score": None if (layer, head) == (1, 1) else 0.25})
    store(tree, "scatter_data.json", rows)
    store(tree, "server_config.json", {})
    store(tree, "attributions/manifest.json", {})
    words = ["The", " cat", " �", "s"]
    # a row of eight bfloat16 weights, rounded twice, may come to a little over 1
    peaked = [(0, 0, 1.0), (1, 0, 0.6016), (1, 1, 0.4023), (2, 1, 0.0059), (3, 2, 0.9961)]
    even = [(0, 0, 1.0), (1, 0, 0.9), (2, 0, 0.5), (2, 1, 0.4957)]
    kept = [
        sequence(7, 1, words, even, 0.4957),
        sequence(9, 4, words[:3], [entry for entry in peaked if entry[0] < 3], 0.4023),
        sequence(7, 4, words, peaked, 0.9961),
    ]
    counts = [0] * 50
    counts[24], counts[49] = 1090, 3000
    for layer, head in heads:
        # a corpus that is shorter than the warm-up leaves no sequence, and a mean that is unknown
        found = [] if (layer, head) == (0, 1) else kept
        store(tree, f"heads/L{layer}H{head}.json", page(found, counts, None if not found else 0.6123))
    return tree


def test_a_published_tree_becomes_an_atlas(published, tmp_path):
    write_atlas(tmp_path / "atlas.h5", read_headvis(published))
    with open_atlas(tmp_path / "atlas.h5") as atlas:
        assert (atlas.model_id, atlas.n_layers, atlas.n_heads) == ("someone/gpt-tiny", 2, 2)
        assert sorted(atlas.summary) == sorted(f"headvis_{name}_{part}" for name in METRICS for part in ("mean", "n"))
        np.testing.assert_allclose(
            atlas.summary["headvis_qk_distance_mean"].values, [[0.1234, 0.6234], [1.1234, 1.6234]], rtol=5e-4
        )
        # means over all sequences that were processed, not over those kept in a page
        assert atlas.summary["headvis_induction_score_n"].values.tolist() == [[4090, 4090], [4090, 0]]
        assert np.isnan(atlas.summary["headvis_induction_score_mean"].values[1, 1])
        assert [len(prompt.strings) for prompt in atlas.prompts] == [4, 3]  # each text once
        first, *others = atlas.stored_exemplars("text").of(0, 0)
        assert [(e.band, e.rank) for e in (first, *others)] == [(1, 0), (4, 0), (4, 1)]
        pattern = atlas.stored_exemplars("text").pattern(others[1])
        np.testing.assert_allclose(pattern.weights[1], [0.6016, 0.4023, 0, 0], atol=1e-6)
        np.testing.assert_allclose(pattern.dropped, [0, 0, 0.9941, 0.0039], atol=1e-6)
        assert atlas.stored_exemplars("text").of(0, 1) == ()
        np.testing.assert_allclose(atlas.exemplars["text"]["mean_largest"].values, [[0.6123, np.nan], [0.6123] * 2])
        histogram = atlas.exemplars["text"]["histogram"].values
        assert histogram.shape == (2, 2, 50)
        assert histogram.sum(-1).tolist() == [[4090] * 2] * 2
        said = atlas.provenance["imported"]
        assert said["dataset_name"] == "someone/a-text"
        assert said["pipeline_config"]["dtype"] == "bfloat16"


def test_its_export_offers_what_the_pages_can_draw(published, tmp_path):
    write_atlas(tmp_path / "atlas.h5", read_headvis(published))
    with open_atlas(tmp_path / "atlas.h5") as atlas:
        write_headvis(atlas, tmp_path / "out")
    for name in ("heads/L0H0.json", "heads/L1H1.json"):
        before, after = (json.loads((folder / name).read_text()) for folder in (published, tmp_path / "out"))
        assert after["statistics"]["n_samples"] == len(after["sequences"]) == 3
        assert after["histogram"]["bin_values"] == before["histogram"]["bin_values"]
        for one, two in zip(before["sequences"], after["sequences"], strict=True):
            assert one["attention_indices"] == two["attention_indices"]
            np.testing.assert_allclose(one["attention_values"], two["attention_values"], rtol=1e-6)
            assert (one["tokens"], one["interval"], one["seq_len"]) == (two["tokens"], two["interval"], two["seq_len"])
    rows = json.loads((tmp_path / "out" / "scatter_data.json").read_text())
    # the pages offer a metric only if the first row has a number for it
    assert all(isinstance(value, int | float) for value in rows[0].values())
    assert sorted((row["layer"], row["head"]) for row in rows) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert set(config) >= {"heads", "n_intervals", "metrics", "custom_plots", "custom_tables", "statistics_display"}


def test_pages_of_the_first_kind_are_lists(published):
    for path in (published / "heads").iterdir():
        path.write_text(json.dumps(json.loads(path.read_text())["sequences"]))
    found = read_headvis(published)
    assert len(found.prompts) == 2
    assert np.isnan(found.arrays["exemplars/text/mean_largest"].values).all()
    assert "exemplars/text/histogram" not in found.arrays


def test_weights_of_zero_after_the_query_say_nothing(published):
    name = "heads/L0H0.json"
    whole = json.loads((published / name).read_text())
    before = read_headvis(published).arrays["exemplars/text/weight"].values
    first = whole["sequences"][0]
    first["attention_indices"].append(1)  # query 0, key 1: kept by a writer without a threshold
    first["attention_values"].append(0.0)
    store(published, name, whole)
    np.testing.assert_array_equal(read_headvis(published).arrays["exemplars/text/weight"].values, before)
    first["attention_values"][-1] = 0.1
    store(published, name, whole)
    with pytest.raises(AtlasError, match="a key after its query"):
        read_headvis(published)


def test_metrics_by_the_names_of_the_description_and_folders_that_are_not_read(published):
    row = {"layer": 1, "head": 0, "previous_token_score": 0.5, "top_logit_margin": 2.5}
    store(published, "scatter_data.json", [row])
    store(published, "umap/sequences.json", {})
    found = read_headvis(published)
    assert found.arrays["summary/headvis_prev_token_score_mean"].values[1, 0] == 0.5
    assert found.arrays["summary/headvis_top_logit_margin_mean"].values[1, 0] == 2.5
    assert "umap" in found.left_out["projections of queries and keys"]


def test_histograms_with_other_bins_stay_out(published):
    name = "heads/L0H0.json"
    whole = json.loads((published / name).read_text())
    whole["histogram"] = {"bin_edges": [0, 0.1, 1], "bin_values": [1, 2]}
    store(published, name, whole)
    assert "exemplars/text/histogram" not in read_headvis(published).arrays
