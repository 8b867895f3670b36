from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from small_atlases import SEEN, contents, exemplars

from head_atlas.errors import AtlasError
from head_atlas.exchange import read_headvis, write_headvis
from head_atlas.named_array import NamedArray
from head_atlas.store import contents_of, open_atlas, write_atlas

HEADS = ("layer", "head")


def atlas_with_exemplars(path):
    further = exemplars() | {
        "exemplars/text/largest": NamedArray(np.array([[[0.5, 0.75], [np.nan, 0.25]]]), (*HEADS, "prompt")),
        "exemplars/text/mean_largest": NamedArray(np.array([[0.625, 0.25]]), HEADS),
        "exemplars/text/histogram": NamedArray(np.array([[[0, 2], [1, 0]]]), (*HEADS, "largest_bin")),
        "exemplars/text/distance": NamedArray(
            np.array([[[0.5, 0.25, np.nan], [1, 0, np.nan]]]),
            (*HEADS, "distance_bin"),
            {"distance_bin": ["0", "1", "2+"]},
        ),
        "summary/sink_mean": NamedArray(np.array([[0.25, np.nan]]), HEADS),
        "summary/logit_difference_macro": NamedArray(np.array([[[-1.5, 0]]]), ("mode", *HEADS)),
    }
    tokens = {
        "token_id": np.array([[[[[1, -1], [2, 4]]]], [[[[4, 1], [-1, -1]]]]]),
        "token_share": np.array([[[[[0.5, np.nan], [0.25, 0.125]]]], [[[[1, 0.5], [np.nan, np.nan]]]]]),
    }
    further |= {
        f"exemplars/text/{name}": NamedArray(
            values, ("side", "order", *HEADS, "token_rank"), {"side": ["query", "key"], "order": ["share"]}
        )
        for name, values in tokens.items()
    }
    write_atlas(path, contents({"natural": (0, 0)}, families=("natural",), prompts=SEEN, further=further))


@pytest.fixture
def tree(tmp_path):
    atlas_with_exemplars(tmp_path / "atlas.h5")
    with open_atlas(tmp_path / "atlas.h5") as atlas:
        assert write_headvis(atlas, tmp_path / "tree") == 2
    return tmp_path / "tree"


def load(tree, name):
    return json.loads((tree / name).read_text())


def store(tree, name, value):
    (tree / name).write_text(value if isinstance(value, str) else json.dumps(value))


def test_the_tree_by_hand(tree):
    config = load(tree, "config.json")
    assert (config["model_name"], config["n_layers"], config["n_heads"], config["n_intervals"]) == ("small", 1, 2, 2)
    assert config["heads"] == [[0, 0], [0, 1]]
    assert config["head_data_pattern"] == "L{layer}H{head}.json"
    assert config["metrics"] == ["sink", "logit_difference_effect_zero"]
    assert set(config["metric_descriptions"]) == set(config["metrics"])
    assert "ablated" in config["metric_descriptions"]["logit_difference_effect_zero"].lower()
    assert load(tree, "scatter_data.json") == [
        {"layer": 0, "head": 0, "sink": 0.25, "logit_difference_effect_zero": -1.5},
        {"layer": 0, "head": 1, "sink": None, "logit_difference_effect_zero": 0},
    ]
    assert load(tree, "server_config.json") == load(tree, "attributions/manifest.json") == {}
    page = load(tree, "heads/L0H0.json")
    assert page["sequences"] == [
        {
            "sequence_id": 1,
            "interval": 2,
            "tokens": ["<bos>", " b", "é<b>"],
            "attention_indices": [0, 3, 4, 8],  # query * 3 + key
            "attention_values": [1, 0.25, 0.75, 0.75],
            "seq_len": 3,
            "max_activation": 0.75,
        },
        {
            "sequence_id": 0,
            "interval": 1,
            "tokens": ["<bos>", " a"],
            "attention_indices": [0, 3],
            "attention_values": [1, 0.5],
            "seq_len": 2,
            "max_activation": 0.5,
        },
    ]  # the one that was chosen by its effect has no place there
    assert page["histogram"] == {"bin_edges": [0, 0.5, 1], "bin_values": [0, 2]}
    assert page["qk_distance_histogram"] == {"bin_edges": [0, 1, 2, 4], "bin_values": [0.5, 0.25, 0]}
    assert page["top_query_tokens"] == [{"token": " a", "weight": 0.5}]
    assert page["top_key_tokens"] == [{"token": "é<b>", "weight": 1}, {"token": " a", "weight": 0.5}]
    assert page["statistics"] == {"n_samples": 2, "n_prompts": 2, "mean_max_activation": 0.625}


def test_exemplars_survive_the_way_out_and_back(tree, tmp_path):
    write_atlas(tmp_path / "back.h5", read_headvis(tree))
    with open_atlas(tmp_path / "atlas.h5") as atlas, open_atlas(tmp_path / "back.h5") as back:
        assert (back.n_layers, back.n_heads, back.model_id) == (1, 2, "small")
        for head in range(2):
            before = [e for e in atlas.stored_exemplars("text").of(0, head) if e.band]
            after = back.stored_exemplars("text").of(0, head)
            assert len(before) == len(after) > 0
            for one, two in zip(before, after, strict=True):
                assert (one.band, one.rank, one.value) == (two.band, two.rank, two.value)
                assert np.isnan(two.effect)
                assert atlas.prompts[one.prompt].strings == back.prompts[two.prompt].strings
                first, second = atlas.stored_exemplars("text").pattern(one), back.stored_exemplars("text").pattern(two)
                np.testing.assert_array_equal(first.weights, second.weights)
                np.testing.assert_array_equal(first.dropped, second.dropped)
        assert back.summary["headvis_sink_mean"].values[0, 0] == 0.25
        assert np.isnan(back.summary["headvis_sink_mean"].values[0, 1])
        # an atlas has another number of prompts for each metric, and a tree no place to say so
        assert back.summary["headvis_sink_n"].values.tolist() == [[0, 0]]
        assert back.exemplars["text"]["histogram"].values.tolist() == [[[0, 2], [1, 0]]]
        assert back.exemplars["text"]["mean_largest"].values.tolist() == [[0.625, 0.25]]


def test_what_a_tree_does_not_have_is_named(tree, tmp_path):
    write_atlas(tmp_path / "back.h5", read_headvis(tree))
    with open_atlas(tmp_path / "back.h5") as back:
        assert back.modes == []
        assert list(back.effects) == list(back.scores) == []
        assert back.left_out["effects"] == "a HeadVis tree has no ablation"
        assert back.provenance["imported"]["from"] == "a HeadVis data tree"
        assert back.provenance["imported"]["pipeline_config"]["provenance"]["model_id"] == "small"
        assert back.provenance["imported"]["token_ids"].startswith("invented")


def test_a_second_export_is_the_first(tree, tmp_path):
    write_atlas(tmp_path / "back.h5", read_headvis(tree))
    with open_atlas(tmp_path / "back.h5") as back:
        write_headvis(back, tmp_path / "again")
    for name in ("heads/L0H0.json", "heads/L0H1.json"):
        one, two = load(tree, name)["sequences"], load(tmp_path / "again", name)["sequences"]
        ids = ("sequence_id",)  # prompts are numbered as they are met
        assert [{k: v for k, v in s.items() if k not in ids} for s in one] == [
            {k: v for k, v in s.items() if k not in ids} for s in two
        ]
    assert load(tmp_path / "again", "scatter_data.json") == load(tree, "scatter_data.json")


def test_a_bare_tree_with_hardly_a_field(tmp_path):
    (tmp_path / "heads").mkdir()
    store(tmp_path, "config.json", {"heads": ["L1H0", "L2H3"]})
    store(
        tmp_path, "heads/L1H0.json", {"sequences": [{"tokens": ["x"]}, {"tokens": ["x", "y"], "attention_indices": []}]}
    )
    found = read_headvis(tmp_path)
    assert (found.n_layers, found.n_heads) == (3, 4)
    assert found.left_out["heads"] == "1 of 2 have no file in the tree"
    write_atlas(tmp_path / "back.h5", found)
    with open_atlas(tmp_path / "back.h5") as back:
        one, two = back.stored_exemplars("text").of(1, 0)
        assert back.stored_exemplars("text").of(2, 3) == ()
        assert [back.prompts[e.prompt].strings for e in (one, two)] == [("x",), ("x", "y")]
        assert np.isnan(one.value)
        # nothing was kept, so all attention went to keys that were not
        assert back.stored_exemplars("text").pattern(two).dropped.tolist() == [1, 1]


SEQUENCE = {"tokens": ["a", "b"], "attention_indices": [0, 2, 3], "attention_values": [1, 0.5, 0.5], "seq_len": 2}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tokens": "ab"}, "tokens: expected a list of at most 4096, found str"),
        ({"tokens": ["a"] * 5000}, "tokens: expected a list of at most 4096, found 5000 entries"),
        ({"tokens": ["a", 1]}, "tokens: expected texts"),
        ({"tokens": ["a", "b" * 1001]}, "tokens: expected texts"),
        ({"seq_len": 3}, "seq_len: expected 2, found '3'"),
        ({"attention_indices": [0, 1, 3]}, "a key after its query"),
        ({"attention_indices": [0, 0, 3]}, "one twice"),
        ({"attention_indices": [0, 2, 4]}, "expected a whole number from 0 to 3, found '4'"),
        ({"attention_indices": [0, 2, -1]}, "expected a whole number from 0 to 3, found '-1'"),
        ({"attention_indices": [0, 2, 2.5]}, "expected a whole number from 0 to 3"),
        ({"attention_indices": [0, 2]}, "2 attention_indices and 3 attention_values"),
        ({"attention_values": [1, 0.5, 0.75]}, "attention_values: expected probabilities"),
        ({"attention_values": [1, 0.5, -0.5]}, "attention_values: expected probabilities"),
        ({"attention_values": [1, 0.5, "x"]}, "attention_values: expected a number"),
        ({"attention_values": [1, 0.5, True]}, "attention_values: expected a number"),
        ({"interval": -1}, "interval: expected a whole number"),
        ({"max_activation": {}}, "max_activation: expected a number"),
    ],
)
def test_hostile_sequences(tmp_path, change, words):
    (tmp_path / "heads").mkdir()
    store(tmp_path, "config.json", {"heads": [[0, 0]]})
    store(tmp_path, "heads/L0H0.json", {"sequences": [SEQUENCE]})
    assert len(read_headvis(tmp_path).prompts) == 1
    store(tmp_path, "heads/L0H0.json", {"sequences": [SEQUENCE | change]})
    with pytest.raises(AtlasError, match=words) as refusal:
        read_headvis(tmp_path)
    assert "heads/L0H0.json: sequence 0" in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("config.json", "[1]", "config.json: expected an object, found list"),
        ("config.json", "{", "config.json: is not JSON"),
        ("config.json", '{"heads": NaN}', "config.json: is not JSON: NaN is no number"),
        ("config.json", "[" * 100_000, "config.json: is not JSON"),
        ("config.json", {}, "config.json: heads: expected a list"),
        ("config.json", {"heads": []}, "config.json: heads: there are none"),
        ("config.json", {"heads": [[0, 0]], "n_layers": 10**9}, "n_layers: expected a whole number from 0 to 1000"),
        ("config.json", {"heads": [[5, 0]], "n_layers": 2}, "one lies outside of 2 layers x 1 heads"),
        ("config.json", {"heads": [[0, 10**9]]}, "heads: expected a whole number"),
        ("config.json", {"heads": ["../../x"]}, "heads: expected"),
        ("config.json", {"heads": [[0, 0]], "head_data_pattern": "../../etc/passwd"}, "head_data_pattern: expected"),
        ("scatter_data.json", {}, "scatter_data.json: expected a list"),
        ("scatter_data.json", [3], "every row needs a layer and a head"),
        ("scatter_data.json", [{"layer": 0, "head": 9}], "there is no head L0H9"),
        ("scatter_data.json", '[{"layer": 0, "head": 0, "x": 1e999}]', "scatter_data.json: x: expected a number"),
        ("scatter_data.json", [{"layer": 0, "head": 0} | {f"m{i}": i for i in range(201)}], "more than 200 metrics"),
        ("heads/L0H0.json", {"sequences": [{}] * 1001}, "sequences: expected a list of at most 1000"),
        ("heads/L0H0.json", {"sequences": [3]}, "sequence 0: expected an object"),
        ("heads/L0H0.json", {"sequences": []}, "no head of this tree has a sequence"),
        ("heads/L0H0.json", 3, "heads/L0H0.json: expected an object or a list of sequences, found int"),
        (
            "heads/L0H0.json",
            {"sequences": [SEQUENCE], "statistics": {"mean_max_activation": "x"}},
            "mean_max_activation: expected a number",
        ),
        (
            "heads/L0H0.json",
            {"sequences": [SEQUENCE], "histogram": {"bin_edges": [0, 1], "bin_values": [0.5]}},
            "histogram: bin_values: expected a whole number",
        ),
        (
            "heads/L0H0.json",
            {"sequences": [SEQUENCE], "histogram": {"bin_edges": [0, 1], "bin_values": [1, 2]}},
            "2 bin_values and 2 bin_edges",
        ),
        (
            "config.json",
            {"heads": [[0, 0]], "pipeline_config": {"actual_sequences_processed": -1}},
            "actual_sequences_processed: expected a whole number",
        ),
    ],
)
def test_hostile_trees(tmp_path, name, value, words):
    (tmp_path / "heads").mkdir()
    store(tmp_path, "config.json", {"heads": [[0, 0]]})
    store(tmp_path, "scatter_data.json", [{"layer": 0, "head": 0, "x": 1}])
    store(tmp_path, "heads/L0H0.json", {"sequences": [SEQUENCE]})
    assert read_headvis(tmp_path).n_heads == 1
    store(tmp_path, name, value)
    with pytest.raises(AtlasError, match=words):
        read_headvis(tmp_path)


def test_links_out_of_the_tree_and_large_files(tmp_path, monkeypatch):
    (tmp_path / "tree" / "heads").mkdir(parents=True)
    store(tmp_path, "secret.json", {"sequences": [SEQUENCE]})
    store(tmp_path / "tree", "config.json", {"heads": [[0, 0]]})
    (tmp_path / "tree" / "heads" / "L0H0.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(AtlasError, match=r"heads/L0H0\.json: leads out of the folder"):
        read_headvis(tmp_path / "tree")
    monkeypatch.setattr("head_atlas.exchange.strange_json.MAX_FILE_BYTES", 10)
    with pytest.raises(AtlasError, match=r"config\.json: over 10 bytes"):
        read_headvis(tmp_path / "tree")
    with pytest.raises(AtlasError, match="there is no folder"):
        read_headvis(tmp_path / "nowhere")


def test_a_link_to_itself_and_texts_that_cannot_be_stored(tree, tmp_path):
    strange = {"pipeline_config": {"a\ud800": ["\udc00", "\0"]}, "metric_descriptions": {"m": "é"}}
    store(tree, "config.json", load(tree, "config.json") | strange)
    write_atlas(tmp_path / "again.h5", read_headvis(tree))
    with open_atlas(tmp_path / "again.h5") as atlas:
        assert atlas.provenance["imported"]["pipeline_config"] == {"a?": ["?", "\0"]}
        assert atlas.provenance["imported"]["metric_descriptions"] == {"m": "é"}
    (tree / "config.json").unlink()
    (tree / "config.json").symlink_to("config.json")
    with pytest.raises(AtlasError, match=r"config\.json: (leads nowhere|there is no such file)"):
        read_headvis(tree)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("exemplars/text/token_id", None),
        ("exemplars/text/key", None),
        ("exemplars/text/histogram", NamedArray(np.zeros(1), ("layer",))),
        ("summary/logit_difference_macro", NamedArray(np.zeros((1, 2)), HEADS)),
        ("summary/sink_mean", NamedArray(np.zeros(1), ("layer",))),
        ("exemplars/text/distance", NamedArray(np.zeros((1, 2, 1)), (*HEADS, "distance_bin"), {"distance_bin": ["x"]})),
    ],
)
def test_arrays_that_are_something_else_are_refused_by_name(tmp_path, name, array):
    """None: token ids without a string, or exemplars without their keys."""
    atlas_with_exemplars(tmp_path / "atlas.h5")
    with open_atlas(tmp_path / "atlas.h5") as atlas:
        whole = contents_of(atlas)
    arrays = {place: one for place, one in whole.arrays.items() if place != name}
    if array is not None:
        arrays[name] = array
    elif name.endswith("token_id"):
        ids = whole.arrays[name]
        arrays[name] = NamedArray(np.where(ids.values >= 0, 4000, -1), ids.dims, ids.coords)
    write_atlas(tmp_path / "strange.h5", replace(whole, arrays=arrays))
    with (
        open_atlas(tmp_path / "strange.h5") as atlas,
        pytest.raises(AtlasError, match=r"strange\.h5: an array is not what an atlas holds under its name"),
    ):
        write_headvis(atlas, tmp_path / "tree")


def test_a_folder_with_files_is_left_alone_and_exemplars_are_needed(tree, tmp_path):
    with open_atlas(tmp_path / "atlas.h5") as atlas:
        with pytest.raises(AtlasError, match="is not empty"):
            write_headvis(atlas, tree)
        with pytest.raises(AtlasError, match="has no exemplars of 'families'"):
            write_headvis(atlas, tmp_path / "new", exemplars="families")
    write_atlas(tmp_path / "none.h5", contents({"ioi": (0, 0)}))
    with open_atlas(tmp_path / "none.h5") as atlas, pytest.raises(AtlasError, match="has no exemplars"):
        write_headvis(atlas, tmp_path / "new")
    assert not (tmp_path / "new").exists()
