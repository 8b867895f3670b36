"""Attacks by file. Each is made here, opened as any stranger's file is, and refused by name within 5 s and 512 MB."""

from __future__ import annotations

import json
import os
import subprocess
import zlib

import h5py
import numpy as np
import pytest
from synthetic_atlas import flip_bits, synthetic_contents

from head_atlas.errors import AtlasError
from head_atlas.store import inspection, open_atlas, write_atlas


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


@pytest.fixture
def refused(path, tmp_path):
    """Refuse the file in the limited process, and leave everything else alone."""

    def check(words):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(AtlasError, match=words):
            inspection.inspect(path)
        assert not inspection.is_known(path)
        assert sorted(tmp_path.rglob("*")) == before

    return check


def labelled(element, kind="array"):
    element.attrs["encoding-type"] = kind
    element.attrs["encoding-version"] = "1.0"
    return element


def array_on_heads(file, **how):
    """An array [layer, head] of the roles, with its axes."""
    made = labelled(file["roles"].create_dataset("x", (2, 2), "f4", **how))
    for axis, dim in enumerate(("layer", "head")):
        made.dims[axis].attach_scale(file[dim])
    return made


def test_a_whole_file_passes_and_is_known_until_it_changes(path):
    inspection.inspect(path)
    assert inspection.is_known(path)
    with h5py.File(path, "r+") as file:
        file["scores/soft"] = h5py.SoftLink("/scores/sink")
    assert not inspection.is_known(path)


def test_what_this_process_wrote_is_known(tmp_path):
    write_atlas(tmp_path / "own.h5", synthetic_contents(n_layers=1, n_heads=1, n_prompts=2))
    assert inspection.is_known(tmp_path / "own.h5")


def test_time_is_given_for_bytes_and_not_for_a_length(tmp_path):
    full, sparse = tmp_path / "full", tmp_path / "sparse"
    full.write_bytes(b"x" * 2**26)
    with sparse.open("wb") as file:
        file.truncate(2**40)
    assert inspection.seconds_for(full) == inspection.SECONDS + 2
    assert inspection.seconds_for(full, numbers=True) == inspection.SECONDS + 4
    assert inspection.seconds_for(sparse) == inspection.SECONDS


def test_external_links_read_no_other_file(path, tmp_path, refused):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = np.arange(4)
    with h5py.File(path, "r+") as file:
        file["scores/x"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/x")
    refused("/scores/x: a link that points elsewhere")


def test_external_storage_reads_no_text_file(path, tmp_path, refused):
    (tmp_path / "secret.txt").write_bytes(b"secret text")
    with h5py.File(path, "r+") as file:
        storage = [(str(tmp_path / "secret.txt"), 0, 16)]
        array_on_heads(file, external=storage)
    refused("/roles/x: virtual datasets and external storage")


def test_virtual_datasets_read_no_other_file(path, tmp_path, refused):
    layout = h5py.VirtualLayout(shape=(4,), dtype="f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", shape=(4,))
    with h5py.File(path, "r+") as file:
        labelled(file["scores"].create_virtual_dataset("x", layout))
    refused("/scores/x: virtual datasets and external storage")


def test_a_stream_that_inflates_to_gigabytes(path, refused):
    """The array declares 16 bytes; HDF5 would inflate whatever the stream holds."""
    zeros = zlib.compressobj(9)
    block = bytes(2**24)
    bomb = b"".join(zeros.compress(block) for _ in range(128)) + zeros.flush()
    assert len(bomb) < 4 * 2**20
    with h5py.File(path, "r+") as file:
        made = array_on_heads(file, chunks=(2, 2), compression="gzip")
        made.id.write_direct_chunk((0, 0), bomb)
    refused("/roles/x: a chunk inflates to more than the 16 bytes that it declares")


def test_an_honest_stream_of_many_zeros_passes(path):
    with h5py.File(path, "r+") as file:
        n = 2**20
        scale = labelled(
            file["roles"].create_dataset("criterion", data=np.arange(n, dtype="i4"), compression=9), "dimension"
        )
        scale.make_scale("criterion")
        made = labelled(file["roles"].create_dataset("x", data=np.zeros(n, "f4"), chunks=(n,), compression=9))
        made.dims[0].attach_scale(scale)
    inspection.inspect(path)


def test_a_chunk_that_passes_its_checksum_by(path, refused):
    with h5py.File(path, "r+") as file:
        made = array_on_heads(file, chunks=(2, 2), fletcher32=True)
        made.id.write_direct_chunk((0, 0), bytes(16), filter_mask=1)
    refused("/roles/x: a chunk passes filters by")


@pytest.mark.parametrize(("filters", "code"), [({"compression": "lzf"}, 32000), ({"scaleoffset": 2}, 6)])
def test_filters_that_are_not_on_the_list(path, refused, filters, code):
    with h5py.File(path, "r+") as file:
        array_on_heads(file, chunks=(2, 2), **filters)[...] = 1
    refused(f"/roles/x: filter {code} is not allowed")


def test_a_filter_that_is_looked_for_in_plug_in_folders(path, refused):
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_chunk((2, 2))
    creation.set_filter(305, h5py.h5z.FLAG_OPTIONAL, ())
    with h5py.File(path, "r+") as file:
        space = h5py.h5s.create_simple((2, 2))
        made = h5py.h5d.create(file["roles"].id, b"x", h5py.h5t.NATIVE_FLOAT, space, creation)
        labelled(h5py.Dataset(made))
    refused("/roles/x: filter 305 is not allowed")


def test_a_huge_declaration(path, refused):
    with h5py.File(path, "r+") as file:
        labelled(file["scores"].create_dataset("x", (2**43,), dtype="f4", chunks=(1024,)))
    assert path.stat().st_size < 2**20
    refused("/scores/x: the file declares over")


def test_a_huge_contiguous_declaration(path, refused):
    with h5py.File(path, "r+") as file:
        array_on_heads(file)
    refused("/roles/x: its numbers are not in the file")


@pytest.mark.parametrize("target", ["/", "/roles"])
def test_loops_of_links(path, refused, target):
    with h5py.File(path, "r+") as file:
        file["roles/again"] = file[target]
    refused("/roles/again: this object is reached twice")


def test_groups_nested_deeply(path, refused):
    with h5py.File(path, "r+") as file:
        group = file["roles"]
        for _ in range(60):
            group = labelled(group.create_group("deep"), "group")
    refused("nested over 4 deep")


def test_many_objects(path, refused):
    with h5py.File(path, "r+") as file:
        for number in range(2001):
            file["roles"].create_group(f"g{number}")
    refused("/roles: more than 2000 objects")


def test_references_in_values_and_attributes(path, refused):
    with h5py.File(path, "r+") as file:
        labelled(file["scores"].create_dataset("x", (1,), dtype=h5py.ref_dtype))
    refused("/scores/x: type object is not allowed")
    with h5py.File(path, "r+") as file:
        del file["scores/x"]
        file["scores"].attrs["to"] = file["effects"].ref
    refused("/scores: the attribute 'to' is neither numbers nor text")


def test_references_to_nothing_and_to_places_elsewhere(path, refused):
    """The list of an array's axes may hold anything that looks like an address."""
    with h5py.File(path, "r+") as file:
        array = array_on_heads(file)
        array[...] = 1
        del array.attrs["DIMENSION_LIST"]
        kind = h5py.vlen_dtype(h5py.ref_dtype)
        empty = np.empty(2, dtype=object)
        empty[:] = [np.array([h5py.Reference()], dtype=h5py.ref_dtype)] * 2
        array.attrs.create("DIMENSION_LIST", empty, dtype=kind)
    refused("damaged|has no dimension scale of its own")
    with h5py.File(path, "r+") as file:
        array = file["roles/x"]
        del array.attrs["DIMENSION_LIST"]
        empty[:] = [np.array([file["corpus/token_id"].ref], dtype=h5py.ref_dtype)] * 2
        array.attrs.create("DIMENSION_LIST", empty, dtype=kind)
    refused("/roles/x: axis 0 has no dimension scale of its own")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("x" * 300_000, "is over 262144 bytes"),
        (h5py.Empty("f4"), "has no value"),
        (np.zeros(3, dtype=[("a", "i4"), ("b", "f4")]), "is neither numbers nor text"),
        (["a", "b"], "is an array of texts"),
    ],
)
def test_attributes_that_an_atlas_does_not_have(path, refused, value, words):
    with h5py.File(path, "r+", libver="latest" if len(str(value)) > 60_000 else None) as file:
        file["scores"].attrs["x"] = value
    refused(f"/scores: the attribute 'x' {words}")


@pytest.mark.parametrize("name", ["up\u2028per", "a b", "A", "x" * 300])
def test_names_that_an_atlas_does_not_have(path, refused, name):
    with h5py.File(path, "r+") as file:
        labelled(file["roles"].create_group(name), "group")
    refused("names are small letters, digits and underscores")


def test_one_long_text_that_many_elements_point_at(path, refused):
    """100,000 texts of 64 KB each, of which the file holds one."""
    n = 100_000
    with h5py.File(path, "r+") as file:
        made = file["neurons"].create_dataset("x", (n,), dtype=h5py.string_dtype())
        made[0] = "a" * 2**16
        made[1:] = ""
        place = made.id.get_offset()
    data = bytearray(path.read_bytes())
    first = data[place : place + 16]
    data[place : place + 16 * n] = bytes(first) * n
    path.write_bytes(bytes(data))
    with h5py.File(path, "r+") as file:
        made = labelled(file["neurons/x"], "string-array")
        assert made[n - 1] == b"a" * 2**16
    refused("needs more memory|bytes of texts|is damaged")


def test_a_committed_type_is_no_array(path, refused):
    with h5py.File(path, "r+") as file:
        file["roles/x"] = np.dtype("f4")
        labelled(file["roles/x"])
    refused("/roles/x: only groups and datasets are allowed")


def test_an_array_of_no_shape_and_one_of_many_axes(path, refused):
    with h5py.File(path, "r+") as file:
        labelled(file["roles"].create_dataset("x", data=h5py.Empty("f4")))
    refused("/roles/x: an array of 0 to 8 axes")
    with h5py.File(path, "r+") as file:
        del file["roles/x"]
        labelled(file["roles"].create_dataset("x", data=np.zeros((1,) * 20, "f4")))
    refused("/roles/x: an array of 0 to 8 axes")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.999])
def test_truncated_files(path, whole, refused, share):
    path.write_bytes(whole[: max(9, int(len(whole) * share))])
    refused("is truncated|is damaged")


def test_flipped_bits_in_compressed_numbers_are_found_when_all_is_read(path):
    flip_bits(path, "scores/sink")
    with pytest.raises(AtlasError, match=r"/scores/sink cannot be read"):
        inspection.inspect(path, numbers=True)


def answer_of(process_input, **limits):
    return subprocess.run(
        inspection.command(**limits),
        input=process_input,
        capture_output=True,
        text=True,
        env=inspection.environment(),
        check=False,
    )


def test_a_process_that_dies_or_runs_away_is_a_refusal(path, monkeypatch):
    """The process is told to end in each of these ways, in place of the walk."""
    code = "import os, signal, sys; sys.stdin.read(); "
    for how, words in (
        ("os.kill(os.getpid(), signal.SIGSEGV)", r"did not survive it \(SIGSEGV\)"),
        ("os.abort()", r"did not survive it \(SIGABRT\)"),
        ("sys.exit(3)", r"did not survive it \(status 3\)"),
        ("import resource; resource.setrlimit(resource.RLIMIT_CPU, (1, 9))\nwhile True: pass", "took over 5 s"),
    ):
        monkeypatch.setattr(inspection, "command", lambda how=how, **_: [os.sys.executable, "-c", code + "\n" + how])
        with pytest.raises(AtlasError, match=words) as refusal:
            open_atlas(path)
        assert "\n" not in str(refusal.value)


def test_the_process_has_little_memory_and_writes_nothing(path):
    found = answer_of(json.dumps(str(path)) + "\n", memory=2**20)
    assert found.returncode != 0 or json.loads(found.stdout)["refused"]
    limits = (
        "import resource; from head_atlas.store import walk; walk._limit_memory(400 * 2**20); "
        "print(resource.getrlimit(resource.RLIMIT_AS)[1] < 560 * 2**20, resource.getrlimit(resource.RLIMIT_FSIZE))"
    )
    command = [*inspection.command()[:2], "-c", limits]
    shown = subprocess.run(command, capture_output=True, text=True, env=inspection.environment(), check=True)
    assert shown.stdout.split("\n")[0] == "True (0, 0)"


def test_a_file_that_is_replaced_while_it_is_opened(path, whole, monkeypatch):
    ask = inspection._ask

    def replace_then_ask(*args, **how):
        path.write_bytes(whole + b"x")
        return ask(*args, **how)

    monkeypatch.setattr(inspection, "_ask", replace_then_ask)
    with pytest.raises(AtlasError, match="changed while it was checked"):
        open_atlas(path)
