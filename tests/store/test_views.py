"""Large arrays lie twice in the file, cut for reading by head and by prompt; what is read is the same."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
from synthetic_atlas import flip_bits, synthetic_contents

import head_atlas.store.writer as writer
from head_atlas.errors import AtlasError
from head_atlas.heads import HeadId
from head_atlas.store import contents_of, open_atlas, walk, write_atlas
from head_atlas.store.elements import write_rounded
from head_atlas.store.schema import VIEW_BYTES, VIEWS

CONTENTS = synthetic_contents(n_layers=3, n_heads=5, n_prompts=20)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "atlas.h5"
    write_atlas(path, CONTENTS)
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("views") / "atlas.h5"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "VIEW_BYTES", 1000)
        write_atlas(path, CONTENTS)
    return path


def test_only_large_arrays_are_stored_as_views(path, plain):
    assert VIEW_BYTES == 256 * 2**20
    with h5py.File(plain) as file:
        assert not {"by_head", "by_prompt"} & set(file)
    n_prompts = len(CONTENTS.prompts)
    with h5py.File(path) as file:
        assert not len(file["effects"])
        assert "sink" in file["baselines"]  # [layer, prompt]: no heads
        assert file["by_head/effects/kl"].chunks == (1, 1, 1, n_prompts)
        assert file["by_prompt/effects/kl"].chunks == (1, 3, 5, 32)
        assert file["by_head/scores/sink"].chunks == (1, 1, n_prompts)
        assert file["by_prompt/scores/sink"].chunks == (3, 5, 32)


def test_what_is_read_is_the_same(path, plain):
    with open_atlas(path) as large, open_atlas(plain) as small:
        assert list(large.scores) == list(small.scores)
        assert list(large.effects) == list(small.effects)
        for group in ("scores", "effects"):
            for name, whole in getattr(small, group).items():
                found = getattr(large, group)[name]
                np.testing.assert_array_equal(found.values, whole.values)
                assert (found.dims, found.coords) == (whole.dims, whole.coords)
                place = f"{group}/{name}"
                for atlas in (large, small):
                    of_head, of_prompt = atlas.of_head(place, HeadId(2, 3)), atlas.of_prompt(place, 41)
                    np.testing.assert_array_equal(of_head.values, whole.values[..., 2, 3, :])
                    np.testing.assert_array_equal(of_prompt.values, whole.values[..., 41])
                    assert of_head.dims == (*whole.dims[:-3], "prompt")
                    assert of_prompt.dims == whole.dims[:-1]
                    assert of_head.coords == whole.coords


def test_an_array_has_one_place_and_its_unit_however_it_lies_in_the_file(path, plain):
    with open_atlas(path) as large, open_atlas(plain) as small:
        assert large.places() == small.places()
        contents = contents_of(large)
    assert set(contents.arrays) == set(CONTENTS.arrays)
    with h5py.File(path) as file, h5py.File(plain) as other:
        assert other["effects/kl"].attrs["units"] == "nats"
        assert {file[f"{view}/effects/kl"].attrs["units"] for view in VIEWS} == {"nats"}


@pytest.mark.parametrize("view", VIEWS)
def test_where_all_numbers_are_read_both_views_are(path, tmp_path, view):
    copy = tmp_path / "atlas.h5"
    shutil.copy(path, copy)
    flip_bits(copy, f"{view}/scores/sink")
    assert not walk.refusal(path, numbers=True)
    assert "/scores/sink cannot be read" in walk.refusal(copy, numbers=True)


def test_many_threads_read_at_once(path, plain):
    with open_atlas(plain) as small:
        whole = small.effects["kl"].values
    with open_atlas(path) as atlas, ThreadPoolExecutor(8) as pool:
        heads = [HeadId(layer, head) for layer in range(3) for head in range(5)] * 8
        found = list(pool.map(lambda head: atlas.of_head("effects/kl", head).values, heads))
    for head, values in zip(heads, found, strict=True):
        np.testing.assert_array_equal(values, whole[:, head.layer, head.head])


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (lambda atlas: atlas.of_head("scores/nosuch", HeadId(0, 0)), "/scores/nosuch cannot be read"),
        (lambda atlas: atlas.of_head("scores/sink", HeadId(3, 0)), "/scores/sink cannot be read"),
        (lambda atlas: atlas.of_prompt("scores/sink", 10_000), "/scores/sink cannot be read"),
        (lambda atlas: atlas.of_head("baselines/sink", HeadId(0, 0)), "it has no axis 'head'"),
    ],
)
def test_what_is_not_there_is_an_error(path, plain, read, words):
    for place in (path, plain):
        with open_atlas(place) as atlas, pytest.raises(AtlasError, match=words):
            read(atlas)


def test_a_view_of_what_has_none_is_refused(plain, tmp_path):
    path = tmp_path / "atlas.h5"
    path.write_bytes(plain.read_bytes())
    with h5py.File(path, "r+") as file:
        file.move("baselines", "elsewhere")
        file.create_group("baselines").attrs.update(file["elsewhere"].attrs)
        file.create_group("by_head").attrs.update(file["elsewhere"].attrs)
        file.move("elsewhere", "by_head/baselines")
    with pytest.raises(AtlasError, match="/by_head/baselines/"):
        open_atlas(path)


def test_views_come_in_pairs_and_alone(path, tmp_path):
    copy = tmp_path / "atlas.h5"
    for change, words in (
        (
            lambda file: file.move("by_prompt/scores/sink", "scores/sink"),
            "/scores/sink: its views by head and by prompt",
        ),
        (lambda file: file.copy("by_prompt/scores/sink", "scores/sink"), "/scores/sink: it is in the file both as"),
    ):
        copy.write_bytes(path.read_bytes())
        with h5py.File(copy, "r+") as file:
            change(file)
        with pytest.raises(AtlasError, match=words):
            open_atlas(copy)


@pytest.mark.parametrize("shape", [(7, 9, 300), (1, 1, 5), (20, 3, 64)])
def test_writing_block_by_block_is_writing_at_once(tmp_path, monkeypatch, shape):
    values = np.random.default_rng(0).random(shape, dtype=np.float32)
    contents = []
    for numbers in (2**22, 700):
        monkeypatch.setattr("head_atlas.store.elements._NUMBERS_AT_ONCE", numbers)
        path = tmp_path / f"{numbers}.h5"
        with h5py.File(path, "w") as file:
            for dim, n in zip("abc", shape, strict=True):
                file.create_dataset(dim, data=np.arange(n), track_times=False).make_scale(dim)
            write_rounded(file, "x", values, tuple("abc"), chunk=[min(n, 4) for n in shape], rounded=False)
            np.testing.assert_array_equal(file["x"][()], values)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
