from __future__ import annotations

from pathlib import Path

import numpy as np
from synthetic_atlas import synthetic_contents

from head_atlas.store import contents_of, open_atlas, write_atlas

DEMO = Path(__file__).parents[2] / "atlas" / "demo" / "atlas.h5"


def test_what_is_loaded_and_written_again_is_the_same_file(tmp_path):
    write_atlas(tmp_path / "one.h5", synthetic_contents(n_layers=3, n_heads=2, n_prompts=4))
    with open_atlas(tmp_path / "one.h5") as atlas:
        write_atlas(tmp_path / "two.h5", contents_of(atlas))
    assert (tmp_path / "two.h5").read_bytes() == (tmp_path / "one.h5").read_bytes()


def test_the_demo_atlas_comes_back_whole(tmp_path):
    with open_atlas(DEMO) as atlas:
        write_atlas(tmp_path / "again.h5", contents_of(atlas))
        with open_atlas(tmp_path / "again.h5") as again:
            assert again.places() == atlas.places()
            assert again.prompts == atlas.prompts
            for place in atlas.places():
                one, two = atlas.read(place), again.read(place)
                assert (one.dims, one.coords) == (two.dims, two.coords)
                np.testing.assert_array_equal(one.values, two.values)
