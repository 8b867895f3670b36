"""Exemplars in a file: what comes back, one at a time, and what a damaged or hostile file is refused for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from synthetic_atlas import synthetic_contents

from head_atlas.errors import AtlasError, HeadError
from head_atlas.named_array import NamedArray
from head_atlas.store import exemplars as stored_exemplars
from head_atlas.store import open_atlas, write_atlas
from head_atlas.store.exemplars import Exemplar, StoredExemplars

LENGTHS = [2, 3]


def arrays(**changed):
    """One layer of two heads: the first has two exemplars, the second one."""
    found = {
        "head_offset": (np.array([0, 2, 3]), "head_edge"),
        "prompt_index": (np.array([1, 0, 1], dtype=np.int32), "exemplar"),
        "band": (np.array([2, 1, 0], dtype=np.int8), "exemplar"),
        "rank": (np.array([0, 0, 0], dtype=np.int16), "exemplar"),
        "value": (np.array([0.75, 0.5, 0.25], dtype=np.float32), "exemplar"),
        "effect": (np.array([np.nan, 1, -2], dtype=np.float32), "exemplar"),
        "row_offset": (np.array([0, 3, 5, 8]), "exemplar_edge"),
        "row_count": (np.array([1, 2, 1, 1, 1, 1, 0, 1], dtype=np.uint8), "exemplar_row"),
        "row_dropped": (np.array([0, 0, 0.25, 0, 0.5, 0, 1, 0], dtype=np.float32), "exemplar_row"),
        "entry_offset": (np.array([0, 4, 6, 8]), "exemplar_edge"),
        "key": (np.array([0, 0, 1, 2, 0, 1, 0, 0], dtype=np.uint16), "exemplar_entry"),
        "weight": (np.array([1, 0.25, 0.75, 0.75, 1, 0.5, 1, 1], dtype=np.float32), "exemplar_entry"),
    }
    return {name: NamedArray(changed.get(name, values), (dim,)) for name, (values, dim) in found.items()}


def stored(lengths=LENGTHS, **changed):
    return StoredExemplars({name: a.values for name, a in arrays(**changed).items()}, 1, 2, lengths)


def check(found):
    first, second = found.of(0, 0)
    assert (first.prompt, first.band, first.rank, first.value) == (1, 2, 0, 0.75)
    assert np.isnan(first.effect)
    assert second == Exemplar(1, 0, 1, 0, 0.5, 1.0)
    assert [e.effect for e in found.of(0, 1)] == [-2]
    weights, dropped = found.pattern(first)
    assert weights.tolist() == [[1, 0, 0], [0.25, 0.75, 0], [0, 0, 0.75]]
    assert dropped.tolist() == [0, 0, 0.25]
    assert found.pattern(second).weights.tolist() == [[1, 0], [0, 0.5]]
    assert found.pattern(found.of(0, 1)[0]).weights.tolist() == [[1, 0, 0], [0, 0, 0], [1, 0, 0]]


def test_one_exemplar_at_a_time():
    check(stored())


def test_from_an_atlas(tmp_path):
    contents = synthetic_contents(n_layers=1, n_heads=2, n_prompts=2)
    kept = {place: array for place, array in contents.arrays.items() if not place.startswith("exemplars/")}
    kept |= {f"exemplars/text/{name}": array for name, array in arrays().items()}
    prompts = [
        replace(p, tokens=p.tokens[:n], corrupted=(), positions=(0,), targets=(1,), contrasts=(), annotations={})
        for p, n in zip(contents.prompts, [*LENGTHS, *[3] * 18], strict=True)
    ]
    write_atlas(tmp_path / "a.h5", replace(contents, arrays=kept, prompts=prompts))
    with open_atlas(tmp_path / "a.h5") as atlas:
        check(atlas.stored_exemplars("text"))
        assert {name: atlas.exemplars["text"][name].values.dtype for name in ("key", "row_count", "band")} == {
            "key": np.uint16, "row_count": np.uint8, "band": np.int8,
        }  # fmt: skip
        with pytest.raises(KeyError, match="no exemplars of 'families'; there are those of text"):
            atlas.stored_exemplars("families")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"head_offset": np.array([0, 3, 2])}, "head_offset: offsets must rise from 0 to 3"),
        ({"head_offset": np.array([0, 3])}, r"head_offset: expected 3 numbers, found the shape \(2,\)"),
        ({"head_offset": np.array([1, 2, 3])}, "head_offset: offsets must rise"),
        ({"head_offset": np.array([0, np.nan, 3])}, "head_offset: offsets must rise"),
        ({"row_offset": np.array([0, 3, 5, 9])}, "row_offset: offsets must rise from 0 to 8"),
        ({"entry_offset": np.array([0, 2**40, 6, 8])}, "entry_offset: offsets must rise from 0 to 8"),
        ({"band": np.array([1], dtype=np.int8)}, "band: expected 3 numbers"),
        ({"weight": np.zeros(3)}, "weight: expected 8 numbers"),
        ({"row_dropped": np.zeros(3)}, "row_dropped: expected 8 numbers"),
    ],
)
def test_arrays_that_do_not_fit_each_other(changed, message):
    with pytest.raises(AtlasError, match=message):
        stored(**changed)


def test_patterns_that_do_not_fit_their_prompt(monkeypatch):
    for index in (-1, 2):
        with pytest.raises(AtlasError, match=f"exemplar 0: no prompt {index}"):
            stored(prompt_index=np.array([index, 0, 1])).of(0, 0)
    for key in (2, -1):
        found = stored(key=np.array([0, 0, key, 2, 0, 1, 0, 0]))
        with pytest.raises(AtlasError, match="exemplar 0: a key that its query does not see"):
            found.pattern(found.of(0, 0)[0])
    found = stored(row_count=np.array([1, 1, 1, 1, 1, 1, 0, 1]))
    with pytest.raises(AtlasError, match="exemplar 0: its rows count 3 keys, found 4"):
        found.pattern(found.of(0, 0)[0])
    for weight in (np.nan, -0.5, 1.5):
        found = stored(weight=np.array([1, weight, 0, 0, 1, 1, 1, 1]))
        with pytest.raises(AtlasError, match="exemplar 0: expected weights between 0 and 1"):
            found.pattern(found.of(0, 0)[0])
    found = stored(lengths=[2, 10**9])
    with pytest.raises(AtlasError, match="expected 1000000000 rows, one per token of its prompt, found 3"):
        found.pattern(found.of(0, 0)[0])
    monkeypatch.setattr(stored_exemplars, "LONGEST_DENSE", 2)
    with pytest.raises(AtlasError, match="its prompt has 3 tokens; at most 2 are spread out"):
        stored().pattern(stored().of(0, 0)[0])


def test_a_head_that_is_not_there():
    with pytest.raises(HeadError, match=r"there is no head 0\.2"):
        stored().of(0, 2)
