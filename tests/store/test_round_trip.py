from __future__ import annotations

import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray
from synthetic_atlas import synthetic_contents

from head_atlas.named_array import NamedArray
from head_atlas.store import AtlasContents, open_atlas, write_atlas
from head_atlas.store.elements import round_mantissa
from head_atlas.store.schema import LAYOUTS, SCORE_DIMS, VERSION, chunk_of

ROUNDED = [name for name, layout in LAYOUTS.items() if layout.rounded]
HEADS = ("layer", "head")
RELEASED = Path(__file__).parent / "released"


@pytest.fixture(scope="module")
def contents() -> AtlasContents:
    return synthetic_contents()


@pytest.fixture(scope="module")
def path(contents, tmp_path_factory):
    path = tmp_path_factory.mktemp("atlas") / "atlas.h5"
    write_atlas(path, contents)
    return path


def array_at(atlas, place):
    """The array of a place, as people reach it."""
    if place == "offsets":
        return atlas.offsets
    group, *inner, name = place.split("/")
    found = getattr(atlas, group)
    for part in inner:
        found = found[part]
    return found[name]


def test_every_number_comes_back(path, contents):
    with open_atlas(path) as atlas:
        assert (atlas.n_layers, atlas.n_heads) == (4, 6)
        assert atlas.families == list(contents.families)
        assert atlas.modes == ["zero", "mean"]
        for place, expected in contents.arrays.items():
            group = place.split("/")[0]
            found = array_at(atlas, place)
            assert found.dims == expected.dims
            if expected.values.dtype.kind != "f":
                assert (found.values == expected.values).all(), place
            elif group in ROUNDED:
                np.testing.assert_allclose(found.values, expected.values, rtol=4.9e-4)
            else:
                np.testing.assert_array_equal(found.values, expected.values.astype(np.float32))
            for dim, labels in expected.coords.items():
                assert list(found.coords[dim]) == list(labels)
        z, source, n_tokens = atlas.mean_reference()
        np.testing.assert_array_equal(z, contents.mean_z.z.astype(np.float32))
        assert (source, n_tokens) == ("invented", 1234)
        tokens, source, seed = atlas.resample_prompts()
        np.testing.assert_array_equal(tokens, contents.resample_prompts.tokens)
        assert (source, seed) == ("invented", 7)
        assert atlas.token_strings == contents.token_strings


def test_effects_are_labelled_by_mode_and_summaries_by_family(path, contents):
    with open_atlas(path) as atlas:
        zero = atlas.effects["kl"].sel(mode="zero")
        np.testing.assert_array_equal(zero.values, atlas.effects["kl"].values[0])
        facts = atlas.summary["kl_mean"].sel(mode="mean", family="fact")
        np.testing.assert_array_equal(
            facts.values, contents.arrays["summary/kl_mean"].values[1, :, :, 7].astype(np.float32)
        )


def test_every_prompt_comes_back(path, contents):
    with open_atlas(path) as atlas:
        assert len(atlas.prompts) == len(contents.prompts)
        for index, (found, prompt) in enumerate(zip(atlas.prompts, contents.prompts, strict=True)):
            assert found.index == index
            for name in prompt.__dataclass_fields__:
                assert getattr(found, name) == getattr(prompt, name), name
            assert found.strings == tuple(contents.token_strings[t] for t in prompt.tokens)
            assert len(found.contrast_strings) == len(prompt.contrasts)


def test_header(path, contents):
    with open_atlas(path) as atlas:
        assert atlas.model_id == "synthetic"
        assert atlas.provenance == dict(contents.provenance)
        assert atlas.left_out == contents.left_out
        assert atlas.notes == contents.notes != {}
        assert atlas.checks == contents.checks


def test_what_was_read_outlives_the_file(path):
    atlas = open_atlas(path)
    values = atlas.scores["induction"].values.copy()
    prompts = atlas.prompts
    atlas.close()
    np.testing.assert_array_equal(atlas.scores["induction"].values, values)
    assert atlas.prompts is prompts
    assert "4 layers x 6 heads" in repr(atlas)


def test_an_unknown_name_is_a_key_error_that_lists_the_known_ones(path):
    with open_atlas(path) as atlas, pytest.raises(KeyError, match=r"no 'nosuch' in /scores; .*induction"):
        atlas.scores["nosuch"]


def test_two_writes_are_equal_byte_for_byte(path, contents, tmp_path):
    time.sleep(1.1)  # HDF5 stamps whole seconds
    write_atlas(tmp_path / "again.h5", contents)
    assert (tmp_path / "again.h5").read_bytes() == path.read_bytes()


def test_xarray_sees_named_dimensions(path):
    dims = {
        "scores": ("layer", "head", "prompt"),
        "effects": ("mode", "layer", "head", "prompt"),
    }
    for group, expected in dims.items():
        with xarray.open_dataset(path, engine="h5netcdf", group=group) as dataset:
            assert all(variable.dims == expected for variable in dataset.data_vars.values())
    with xarray.open_dataset(path, engine="h5netcdf", group="summary") as dataset:
        assert dataset["kl_mean"].dims == ("mode", "layer", "head", "family")
        assert dataset["induction_mean"].dims == ("layer", "head")
    with xarray.open_dataset(path, engine="h5netcdf") as dataset:
        assert dataset["mode"].values.tolist() == ["zero", "mean"]
    groups = [name for name, layout in LAYOUTS.items() if not layout.nested]
    for group in ("corpus", "references", "provenance", "exemplars/text", "exemplars/families", *groups):
        with xarray.open_dataset(path, engine="h5netcdf", group=group) as dataset:
            assert len(dataset.data_vars) > 0


def test_every_element_has_its_encoding_and_big_arrays_their_filters(path):
    elements = []
    with h5py.File(path) as file:
        file.visititems(lambda name, element: elements.append((name, dict(element.attrs))))
        assert all(attrs.get("encoding-version") == VERSION and "encoding-type" in attrs for _, attrs in elements)
        dataset = file["effects/kl"]
        assert (dataset.compression, dataset.shuffle, dataset.fletcher32) == ("gzip", True, True)
        assert dataset.chunks == (1, 4, 6, 128)
    assert len(elements) > 80


@pytest.mark.parametrize("value", [1.0, 1 / 3, -1e-7, 6.5e4, 3e38, 1e-41])
def test_rounding_is_to_the_nearest_of_ten_bits(value):
    found = float(round_mantissa(np.array([value]))[0])
    exponent = max(np.floor(np.log2(abs(value))), -126)  # subnormals share the smallest exponent
    step = 2.0 ** (exponent - 10)
    assert found == round(value / step) * step


def test_rounding_keeps_nan_and_infinity():
    found = round_mantissa(np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0]))
    assert np.isnan(found[:2]).all()
    assert found[:2].tobytes() == np.full(2, np.nan, np.float32).tobytes()
    assert found[2:4].tolist() == [np.inf, -np.inf]
    assert np.signbit(found[4:]).tolist() == [False, True]


def test_a_failed_write_leaves_the_old_file_whole(path, contents, tmp_path):
    target = tmp_path / "atlas.h5"
    target.write_bytes(path.read_bytes())
    wrong = AtlasContents(
        **{**contents.__dict__, "arrays": {"scores/induction": NamedArray(np.zeros((4, 6, 1)), SCORE_DIMS)}}
    )
    with pytest.raises(ValueError, match="axis 'prompt' is 200 long, found 1"):
        write_atlas(target, wrong)
    assert target.read_bytes() == path.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["atlas.h5"]


def test_a_file_does_not_take_the_place_of_a_folder_or_a_pipe(contents, tmp_path):
    (tmp_path / "folder.h5").mkdir()
    os.mkfifo(tmp_path / "pipe.h5")
    with pytest.raises(OSError, match=r"there is a folder in the file's place.*folder\.h5"):
        write_atlas(tmp_path / "folder.h5", contents)
    with pytest.raises(OSError, match=r"there is a device or a pipe in the file's place.*pipe\.h5"):
        write_atlas(tmp_path / "pipe.h5", contents)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.h5", "pipe.h5"]
    assert (tmp_path / "pipe.h5").is_fifo()


def test_replacing_the_file_does_not_break_an_open_reader(contents, tmp_path):
    target = tmp_path / "atlas.h5"
    write_atlas(target, contents)
    with open_atlas(target) as atlas:
        write_atlas(target, synthetic_contents(n_layers=2))
        assert atlas.scores["induction"].shape == (4, 6, 200)
    with open_atlas(target) as atlas:
        assert atlas.scores["induction"].shape == (2, 6, 200)


def test_an_atlas_without_optional_parts(contents, tmp_path):
    kept = {key: contents.__dict__[key] for key in ("n_layers", "n_heads", "families", "token_strings")}
    prompts = [p for p in contents.prompts if not p.corrupted]
    write_atlas(tmp_path / "small.h5", AtlasContents(**kept, modes=(), prompts=prompts))
    with open_atlas(tmp_path / "small.h5") as atlas:
        assert atlas.mean_reference() is None
        assert atlas.offsets is None
        assert dict(atlas.scores) == {}
        assert all(p.corrupted == () for p in atlas.prompts)
    with xarray.open_dataset(tmp_path / "small.h5", engine="h5netcdf", group="corpus") as dataset:
        assert dataset["token_id"].dims == ("token_row",)


def test_every_axis_of_every_dataset_has_its_scale(path):
    datasets = []
    with h5py.File(path) as file:
        file.visititems(lambda _, element: datasets.append(element))
        for dataset in datasets:
            if dataset.attrs["encoding-type"] in ("array", "string-array"):
                assert all(len(dataset.dims[axis]) == 1 for axis in range(dataset.ndim)), dataset.name
    assert len(datasets) > 80


def test_threads_may_share_an_atlas(path, contents):
    with open_atlas(path) as atlas, ThreadPoolExecutor(8) as pool:
        names = [*atlas.summary] * 4
        for name, found in zip(names, pool.map(lambda name: atlas.summary[name], names), strict=True):
            np.testing.assert_array_equal(found.values, contents.arrays[f"summary/{name}"].values.astype(np.float32))


def written(contents, path, **arrays):
    """Write an atlas that also has some arrays, given by their names in /weights."""
    more = {f"weights/{name}": array for name, array in arrays.items()}
    write_atlas(path, AtlasContents(**{**contents.__dict__, "arrays": {**contents.arrays, **more}}))


@pytest.mark.parametrize(
    ("place", "array", "words"),
    [
        ("exemplars/x", NamedArray(np.zeros((4, 6)), HEADS), "there is no group /exemplars in an atlas"),
        ("weights/deep/x", NamedArray(np.zeros((4, 6)), HEADS), "there is no group /weights/deep in an atlas"),
        ("colours/x", NamedArray(np.zeros((4, 6)), HEADS), "/colours/x: there is no group /colours"),
        ("weights/Bad name", NamedArray(np.zeros((4, 6)), HEADS), "names are small letters"),
        ("weights/rank", NamedArray(np.zeros((4, 6)), HEADS), "'rank' is the name of an axis"),
        ("weights/mode", NamedArray(np.zeros((4, 6)), HEADS), "'mode' is the name of an axis"),
        ("weights/x", NamedArray(np.zeros((4, 6)), ("layer", "wing")), "no axis 'wing'"),
        ("weights/x", NamedArray(np.zeros((4, 4)), ("layer", "layer")), "one axis twice"),
        ("weights/x", NamedArray(np.zeros((4, 9)), ("layer", "rank")), "axis 'rank' differs from that of another"),
        ("weights/x", NamedArray(np.zeros((4, 5)), ("layer", "head_from")), "'head_from' is 5 long, 'head' 6"),
        ("weights/x", NamedArray(np.zeros(2), ("mode",), {"mode": ["mean", "zero"]}), "'mode' has other labels"),
        ("weights/x", NamedArray(np.array([1 << 40]), ("offset",)), "integers over 32 bits"),
        ("weights/x", NamedArray(np.zeros(1, complex), ("offset",)), "are stored, not complex128"),
        ("scores/x", NamedArray(np.zeros((4, 6)), HEADS), "axes are layer, head; expected layer, head, prompt"),
    ],
)
def test_what_has_no_place_in_an_atlas_is_not_written(contents, tmp_path, place, array, words):
    changed = AtlasContents(**{**contents.__dict__, "arrays": {**contents.arrays, place: array}})
    with pytest.raises(ValueError, match=words):
        write_atlas(tmp_path / "x.h5", changed)
    assert list(tmp_path.iterdir()) == []


def test_an_axis_of_a_group_has_labels_of_any_kind(contents, tmp_path):
    labels = {"offset": [-2, 0, 5], "draw": ["one", "two"], "band": [0.25, 0.5]}
    array = NamedArray(np.arange(12.0).reshape(3, 2, 2), ("offset", "draw", "band"), labels)
    written(contents, tmp_path / "x.h5", x=array)
    with open_atlas(tmp_path / "x.h5") as atlas:
        found = atlas.weights["x"]
        assert found.coords == labels
        assert found.sel(offset=5, draw="two", band=0.25).values == 10.0


def test_chunks_are_those_of_the_specification():
    assert chunk_of(SCORE_DIMS, (12, 12, 4000)) == (4, 8, 128)
    assert chunk_of(("mode", *SCORE_DIMS), (4, 2, 3, 50)) == (1, 2, 3, 50)
    assert chunk_of(("layer_from", "head_from", *HEADS), (32, 32, 32, 32)) == (4, 8, 4, 8)
    assert chunk_of((*HEADS, "rank", "token"), (32, 32, 5000, 5000)) == (4, 8, 4096, 2)


@pytest.mark.parametrize("version", ["1.0"])
def test_files_of_released_versions_still_open(version):
    with open_atlas(RELEASED / f"{version}.h5") as atlas:
        assert atlas.provenance["model_id"] == "synthetic"
        assert (atlas.n_layers, atlas.n_heads, len(atlas.prompts)) == (2, 3, 20)
        assert atlas.scores["induction"].shape == (2, 3, 20)
        assert atlas.effects["kl"].sel(mode="mean").shape == (2, 3, 20)
        assert atlas.summary["kl_mean"].coords["family"] == atlas.families
        assert atlas.offsets.coords["bin"][-1] == "sink"
        assert atlas.mean_reference().n_tokens == 1234
        assert atlas.resample_prompts() is None
        for new in (atlas.weights, atlas.roles, atlas.exemplars, atlas.neurons, atlas.model):
            assert dict(new) == {}


@pytest.mark.parametrize("fate", ["stays", "replaced", "gone"])
def test_the_hash_is_of_the_file_that_is_open_or_there_is_none(tmp_path, fate):
    """A server's file may be replaced while it is open: its numbers are then not those of what lies there."""
    path = tmp_path / "atlas.h5"
    write_atlas(path, synthetic_contents(n_layers=2, n_heads=2, n_prompts=4))
    own = hashlib.sha256(path.read_bytes()).hexdigest()
    with open_atlas(path) as atlas:
        if fate == "replaced":
            write_atlas(path, synthetic_contents(n_layers=2, n_heads=3, n_prompts=4))
        elif fate == "gone":
            path.unlink()
        assert atlas.sha256 == (own if fate == "stays" else "")
