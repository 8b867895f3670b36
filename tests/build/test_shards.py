from __future__ import annotations

import numpy as np
import pytest

from head_atlas.build.shards import is_valid, read_shard, shard_path, write_shard
from head_atlas.errors import BuildError
from head_atlas.named_array import NamedArray
from head_atlas.store.checksum import sha256_of

CONFIG = "c" * 64
ARRAYS = {
    "effects/kl": NamedArray(np.arange(24, dtype=np.float32).reshape(2, 3, 4), ("mode", "layer", "prompt")),
    "clean/logprob": NamedArray(np.array([1.0, np.nan]), ("prompt",)),
    "nulls/x": NamedArray(np.zeros((2, 0)), ("band", "draw"), {"band": ["a", "é"]}),
    "roles/names": NamedArray(np.array(["one", "két"]), ("role",), {"role": [3, 1]}),
    "references/n_tokens": NamedArray(np.array(7), ()),
}


@pytest.fixture
def path(tmp_path):
    path = shard_path(tmp_path, CONFIG, "zero-ioi-000000-000004")
    write_shard(path, ARRAYS, key=CONFIG, unit="zero-ioi-000000-000004")
    return path


def valid(path, unit="zero-ioi-000000-000004", config=CONFIG):
    return is_valid(path, key=config, unit=unit)


def test_round_trip_and_equal_bytes(path, tmp_path):
    found = read_shard(path, key=CONFIG, unit="zero-ioi-000000-000004")
    assert set(found) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name].values, array.values)
        assert (found[name].dims, found[name].coords) == (array.dims, array.coords)
    again = tmp_path / "again.h5"
    write_shard(again, ARRAYS, key=CONFIG, unit="zero-ioi-000000-000004")
    assert sha256_of(again) == sha256_of(path)
    assert CONFIG[:16] in path.name


def test_a_shard_of_something_else_is_not_valid(path):
    assert valid(path)
    assert not valid(path, unit="zero-ioi-000004-000008")
    assert not valid(path, config="d" * 64)
    assert not valid(path.with_name("missing.h5"))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_shard_is_not_valid(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert not valid(path)
    with pytest.raises(BuildError, match="missing or damaged"):
        read_shard(path, key=CONFIG, unit="zero-ioi-000000-000004")


def test_a_flipped_bit_in_the_numbers_is_not_valid(path):
    content = bytearray(path.read_bytes())
    at = bytes(content).index(ARRAYS["effects/kl"].values.tobytes())
    content[at + 5] ^= 1
    path.write_bytes(bytes(content))
    assert not valid(path)
