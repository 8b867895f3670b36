from __future__ import annotations

import h5py
import numpy as np
import pytest
from synthetic_atlas import flip_bits, synthetic_contents

from head_atlas.errors import AtlasError
from head_atlas.store import open_atlas, write_atlas


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("atlas") / "atlas.h5"
    write_atlas(path, synthetic_contents(n_layers=2, n_heads=2, n_prompts=4))
    return path.read_bytes()


@pytest.fixture
def path(whole, tmp_path):
    path = tmp_path / "atlas.h5"
    path.write_bytes(whole)
    return path


def labelled(element, kind="array"):
    element.attrs["encoding-type"] = kind
    element.attrs["encoding-version"] = "1.0"


def refused(path, words):
    with pytest.raises(AtlasError, match=words):
        open_atlas(path)


def test_a_missing_file(tmp_path):
    refused(tmp_path / "no.h5", r"there is no atlas at .*no\.h5")


def test_a_folder(tmp_path):
    refused(tmp_path, "is not a file")


@pytest.mark.parametrize(("content", "words"), [(b"", "is empty"), (b"PK\x03\x04 zip", "is not an HDF5 file")])
def test_other_content(tmp_path, content, words):
    (tmp_path / "x.h5").write_bytes(content)
    refused(tmp_path / "x.h5", words)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_a_truncated_file(path, whole, share):
    path.write_bytes(whole[: int(len(whole) * share)])
    refused(path, "is truncated")


def test_a_foreign_hdf5_file(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["numbers"] = np.arange(3)
    refused(tmp_path / "x.h5", "is an HDF5 file, but not an atlas")


def test_a_newer_major_version_by_name(path):
    with h5py.File(path, "r+") as file:
        file.attrs["encoding-version"] = "2.0"
    refused(path, r"has atlas version 2\.0; this program reads up to 1\.x")


def test_a_newer_minor_version_is_read(path):
    with h5py.File(path, "r+") as file:
        file.attrs["encoding-version"] = "1.7"
    open_atlas(path).close()


@pytest.mark.parametrize("value", [None, 0])
def test_a_build_that_did_not_finish(path, value):
    with h5py.File(path, "r+") as file:
        del file.attrs["build_complete"]
        if value is not None:
            file.attrs["build_complete"] = value
    refused(path, "did not finish")


def test_an_element_of_an_unknown_encoding(path):
    with h5py.File(path, "r+") as file:
        file["scores/sink"].attrs["encoding-version"] = "9.0"
    refused(path, r"/scores/sink: encoding 'array' version '9\.0' is not known")


def test_soft_and_external_links(path, tmp_path):
    with h5py.File(path, "r+") as file:
        file["scores/soft"] = h5py.SoftLink("/scores/sink")
    refused(path, "/scores/soft: a link that points elsewhere")
    with h5py.File(path, "r+") as file:
        del file["scores/soft"]
        file["scores/outside"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/x")
    refused(path, "/scores/outside: a link that points elsewhere")


def test_an_object_reached_twice(path):
    with h5py.File(path, "r+") as file:
        file["scores/again"] = file["scores/sink"]
    refused(path, "is reached twice")


def test_external_storage(path, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_bytes(b"secret text")
    with h5py.File(path, "r+") as file:
        dataset = file["scores"].create_dataset("x", shape=(11,), dtype="u1", external=[(str(secret), 0, 11)])
        labelled(dataset)
    refused(path, "/scores/x: virtual datasets and external storage")


def test_a_virtual_dataset(path, tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = np.arange(4)
    layout = h5py.VirtualLayout(shape=(4,), dtype="i8")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", shape=(4,))
    with h5py.File(path, "r+") as file:
        labelled(file["scores"].create_virtual_dataset("x", layout))
    refused(path, "/scores/x: virtual datasets and external storage")


def test_a_filter_that_is_not_on_the_list(path):
    with h5py.File(path, "r+") as file:
        labelled(file["scores"].create_dataset("x", data=np.zeros(64), compression="lzf"))
    refused(path, "/scores/x: filter 32000 is not allowed")


def test_references_as_values(path):
    with h5py.File(path, "r+") as file:
        dataset = file["scores"].create_dataset("x", (1,), dtype=h5py.ref_dtype)
        labelled(dataset)
    refused(path, "/scores/x: type object is not allowed")


def test_a_small_file_that_declares_a_huge_array(path):
    with h5py.File(path, "r+") as file:
        labelled(file["scores"].create_dataset("x", (2**40,), dtype="f4", chunks=(1024,)))
    refused(path, "/scores/x: the file declares over")


def test_a_huge_chunk(path):
    with h5py.File(path, "r+") as file:
        labelled(file["scores"].create_dataset("x", (2**23,), dtype="f4", chunks=(2**23,)))
    refused(path, "/scores/x: a chunk of 33554432 bytes")


def without_numbers(file, place):
    """Put in place of an array one that is declared alike, and never written."""
    old = file[place]
    chunks, shape, attrs = old.chunks, old.shape, {k: old.attrs[k] for k in ("encoding-type", "encoding-version")}
    scales = [old.dims[axis][0] for axis in range(old.ndim)]
    group, name = old.parent, place.rsplit("/", 1)[-1]
    del group[name]
    new = group.create_dataset(name, shape, old.dtype, chunks=chunks)
    for axis, scale in enumerate(scales):
        new.dims[axis].attach_scale(scale)
    new.attrs.update(attrs)
    return new


@pytest.mark.parametrize(
    ("place", "words"),
    [("scores/sink", "/scores/sink: 0 of 1 chunks are"), ("summary/kl_mean", "/summary/kl_mean: its numbers are not")],
)
def test_numbers_that_were_never_written_are_no_zeros(path, place, words):
    with h5py.File(path, "r+") as file:
        without_numbers(file, place)
    refused(path, words)


def test_one_missing_chunk_of_several(tmp_path):
    write_atlas(tmp_path / "x.h5", synthetic_contents(n_layers=5, n_heads=2, n_prompts=4))
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        assert file["scores/sink"].id.get_num_chunks() == 2
        without_numbers(file, "scores/sink")[:4] = 1.0
    refused(tmp_path / "x.h5", "/scores/sink: 1 of 2 chunks are in the file")


def test_an_axis_that_is_not_as_long_as_its_scale(path):
    with h5py.File(path, "r+") as file:
        del file["summary/induction_excess"]
        short = file["summary"].create_dataset("induction_excess", data=np.zeros((1, 2), dtype=np.float32))
        labelled(short)
        short.dims[0].attach_scale(file["layer"])
        short.dims[1].attach_scale(file["head"])
    refused(path, r"/summary/induction_excess: axis 'layer' is \(2,\) long, found 1")


def test_an_axis_without_a_scale_or_with_a_false_one(path):
    with h5py.File(path, "r+") as file:
        labelled(file["summary"].create_dataset("x", data=np.zeros(3, dtype=np.float32)))
    refused(path, "/summary/x: axis 0 has no dimension scale of its own")
    with h5py.File(path, "r+") as file:
        false = file["summary"].create_dataset("layer", data=np.arange(3))
        false.make_scale("layer")
        labelled(false, "dimension")
        file["summary/x"].dims[0].attach_scale(false)
    refused(path, "/summary/x: axis 0 has no dimension scale of its own")


def test_known_arrays_have_the_axes_of_the_specification(path):
    with h5py.File(path, "r+") as file:
        swapped = file["scores"].create_dataset("x", data=np.zeros((2, 2), dtype=np.float32))
        labelled(swapped)
        swapped.dims[0].attach_scale(file["head"])
        swapped.dims[1].attach_scale(file["layer"])
    refused(path, "/scores/x: the axes are head, layer; expected layer, head, prompt")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("left_out_json", "[1, 2]", "left_out_json must be an object of texts"),
        ("left_out_json", '{"fact": 1}', "left_out_json must be an object of texts"),
        ("notes_json", "[]", "notes_json must be an object of texts"),
        ("checks_json", "5", "checks_json must be an array of objects"),
        ("checks_json", "[5]", "checks_json must be an array of objects"),
        ("windows_json", "[", "is damaged"),
    ],
)
def test_attributes_of_another_shape(path, key, value, words):
    with h5py.File(path, "r+") as file:
        file.attrs[key] = value
    refused(path, words)
    with h5py.File(path, "r+"):
        pass  # the refused file was closed


def test_an_axis_that_is_a_group_is_damage(path):
    with h5py.File(path, "r+") as file:
        del file["offsets"], file["bin"]
        labelled(file.create_group("bin"), "group")
    refused(path, "is damaged")
    with h5py.File(path, "r+"):
        pass  # the refused file was closed


def test_means_without_their_source(path):
    with h5py.File(path, "r+") as file:
        del file["references/mean_z"].attrs["source"]
    with open_atlas(path) as atlas, pytest.raises(AtlasError, match="/references/mean_z lacks its source"):
        atlas.mean_reference()


@pytest.mark.parametrize("text", ["[1]", '{"a":[1e999]}', '{"a":1}', '{"a":["x"]}'])
def test_annotations_that_are_not_positions(tmp_path, monkeypatch, text):
    monkeypatch.setattr("head_atlas.store.corpus._annotations_as_json", lambda _: text)
    write_atlas(tmp_path / "x.h5", synthetic_contents(n_layers=2, n_heads=2, n_prompts=4))
    with open_atlas(tmp_path / "x.h5") as atlas, pytest.raises(AtlasError, match="the prompts are damaged"):
        atlas.prompts  # noqa: B018


def test_a_missing_group(path):
    with h5py.File(path, "r+") as file:
        del file["effects"]
    refused(path, "the group /effects is missing")


def test_a_missing_axis_is_damage(path):
    with h5py.File(path, "r+") as file:
        del file["layer"]
    refused(path, "is damaged")


def test_flipped_bits_in_a_score_never_become_numbers(path):
    flip_bits(path, "scores/sink")
    with open_atlas(path) as atlas, pytest.raises(AtlasError, match=r"/scores/sink cannot be read"):
        atlas.scores["sink"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("token_offset", 10**6), ("family_index", 99), ("target_position", 10**6), ("split", -1)],
)
def test_prompts_that_point_outside_of_the_file(path, name, value):
    with h5py.File(path, "r+") as file:
        file["corpus"][name][1] = value
    with open_atlas(path) as atlas, pytest.raises(AtlasError, match="/corpus"):
        atlas.prompts  # noqa: B018


def test_a_text_that_is_not_utf8(path):
    with h5py.File(path, "r+") as file:
        file["corpus/text_blob"][0] = 0xFF
    with open_atlas(path) as atlas, pytest.raises(AtlasError, match="the prompts are damaged"):
        atlas.prompts  # noqa: B018


def added(file, group, name, shape, scales):
    """Add an array with scales of its own, as a careless writer would."""
    array = file[group].create_dataset(name, data=np.zeros(shape, dtype=np.float32))
    labelled(array)
    for axis, scale in enumerate(scales):
        if isinstance(scale, str):
            made = file[group].create_dataset(scale, data=np.arange(shape[axis]))
            made.make_scale(scale)
            labelled(made, "dimension")
            scale = made
        array.dims[axis].attach_scale(scale)


def test_a_group_and_an_axis_that_no_version_has_are_refused_by_name(path):
    with h5py.File(path, "r+") as file:
        labelled(file.create_group("colours"), "group")
    refused(path, r"/colours: version 1\.1 has no such group")
    with h5py.File(path, "r+") as file:
        del file["colours"]
        added(file, "weights", "x", (2, 3), (file["layer"], "wing"))
    refused(path, r"/weights/x: no axis 'wing' in version 1\.1")


def test_what_a_newer_minor_version_adds_is_passed_over(path):
    with h5py.File(path, "r+") as file:
        file.attrs["encoding-version"] = "1.2"
        labelled(file.create_group("colours"), "group")
        added(file, "weights", "x", (2, 3), (file["layer"], "wing"))
    with open_atlas(path) as atlas:
        assert atlas.weights["x"].dims == ("layer", "wing")


def test_heads_that_write_are_as_many_as_heads_that_read(path):
    with h5py.File(path, "r+") as file:
        added(file, "roles", "x", (2, 3), (file["layer"], "head_from"))
    refused(path, "/roles/head_from: 3 long; expected 2 as 'head'")


def test_resample_prompts_without_their_source(path):
    with h5py.File(path, "r+") as file:
        del file["references/resample_token"].attrs["seed"]
    with open_atlas(path) as atlas, pytest.raises(AtlasError, match="/references/resample_token lacks its source"):
        atlas.resample_prompts()
