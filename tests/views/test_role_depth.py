from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from synthetic_atlas import synthetic_contents

from head_atlas.named_array import NamedArray
from head_atlas.store import open_atlas, write_atlas
from head_atlas.views.role_depth import parts_of_depth, role_depth_matrix, roles_held


@pytest.fixture
def atlas(tmp_path):
    """Of 4 layers of 2 heads: induction heads in L2 and L3; one of L0 was not judged; no sink."""

    def made(n_layers=4):
        held = np.zeros((2, n_layers, 2))
        held[0, n_layers // 2 :, 1] = 1
        held[0, 0, 0] = np.nan
        contents = synthetic_contents(n_layers, 2, n_prompts=2)
        arrays = {place: x for place, x in contents.arrays.items() if not place.startswith("roles/")}
        arrays["roles/held"] = NamedArray(held, ("role", "layer", "head"), {"role": ["induction", "sink"]})
        write_atlas(tmp_path / f"{n_layers}.h5", dataclasses.replace(contents, arrays=arrays))
        return open_atlas(tmp_path / f"{n_layers}.h5")

    return made


def test_heads_are_counted_by_relative_depth(atlas):
    block = role_depth_matrix(atlas(), "t", ["induction", "sink"], 2)
    assert block["columns"] == ["0–50 %", "50–100 %", "all"]
    assert block["rows"][0] == "Induction head"
    assert block["short"] == [["·", "2", "2"], ["·", "·", "·"]]
    assert block["values"] == [[0, 0.5, pytest.approx(2 / 7)], [0, 0, 0]]
    assert block["text"][0] == [
        "0 of 3 heads; 1 could not be judged",
        "2 of 4 heads: L2H1, L3H1",
        "2 of 7 heads: L2H1, L3H1; 1 could not be judged",
    ]


def test_models_of_other_depth_have_the_same_columns_and_scale(atlas):
    small, large = atlas(2), atlas(6)
    parts = parts_of_depth(small, large)
    assert parts == 2
    one, other = (role_depth_matrix(some, "t", ["induction"], parts) for some in (small, large))
    assert one["columns"] == other["columns"]
    assert one["scale"] == other["scale"]
    assert [cells[1] for cells in (one["values"][0], other["values"][0])] == [0.5, 0.5]


def test_a_role_that_was_not_judged_is_no_zero(atlas):
    block = role_depth_matrix(atlas(), "t", ["successor"], 2)
    assert block["values"] == [[None, None, None]]
    assert set(block["text"][0]) == {"not judged here"}
    assert list(roles_held(atlas())) == ["induction"]
