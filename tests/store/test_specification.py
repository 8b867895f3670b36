"""Every clause of `atlas/README.md` that can be checked has a test, and other programs read what is specified."""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray
from synthetic_atlas import synthetic_contents

from head_atlas.catalogue import EFFECTS, SCORES
from head_atlas.errors import AtlasError
from head_atlas.store import open_atlas, write_atlas
from head_atlas.store.schema import LAYOUTS
from head_atlas.store.units import unit_of

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
DEMO = ROOT / "atlas" / "demo" / "atlas.h5"

CLAUSES = {
    "V1": ["test_refusals.py::test_a_foreign_hdf5_file"],
    "V2": ["test_refusals.py::test_an_element_of_an_unknown_encoding"],
    "V3": [
        "test_refusals.py::test_a_newer_major_version_by_name",
        "test_refusals.py::test_a_newer_minor_version_is_read",
        "test_refusals.py::test_what_a_newer_minor_version_adds_is_passed_over",
        "test_specification.py::test_files_of_every_released_version_are_read",
    ],
    "V4": ["test_refusals.py::test_a_group_and_an_axis_that_no_version_has_are_refused_by_name"],
    "V5": ["test_refusals.py::test_a_build_that_did_not_finish"],
    "V6": ["test_round_trip.py::test_two_writes_are_equal_byte_for_byte"],
    "B1": ["test_refusals.py::test_other_content", "test_specification.py::test_old_programs_can_open_it"],
    "B2": [
        "test_hostile_files.py::test_filters_that_are_not_on_the_list",
        "test_hostile_files.py::test_a_filter_that_is_looked_for_in_plug_in_folders",
        "test_hostile_files.py::test_a_chunk_that_passes_its_checksum_by",
    ],
    "B3": [
        "test_refusals.py::test_a_huge_chunk",
        "test_hostile_files.py::test_a_stream_that_inflates_to_gigabytes",
    ],
    "B4": [
        "test_refusals.py::test_numbers_that_were_never_written_are_no_zeros",
        "test_refusals.py::test_one_missing_chunk_of_several",
    ],
    "B5": ["test_hostile_files.py::test_a_huge_declaration"],
    "B6": [
        "test_hostile_files.py::test_loops_of_links",
        "test_hostile_files.py::test_external_links_read_no_other_file",
    ],
    "B7": [
        "test_hostile_files.py::test_virtual_datasets_read_no_other_file",
        "test_hostile_files.py::test_external_storage_reads_no_text_file",
        "test_hostile_files.py::test_references_in_values_and_attributes",
    ],
    "B8": [
        "test_hostile_files.py::test_an_array_of_no_shape_and_one_of_many_axes",
        "test_hostile_files.py::test_one_long_text_that_many_elements_point_at",
        "test_hostile_files.py::test_a_committed_type_is_no_array",
    ],
    "B9": ["test_hostile_files.py::test_many_objects", "test_hostile_files.py::test_groups_nested_deeply"],
    "B10": ["test_hostile_files.py::test_attributes_that_an_atlas_does_not_have"],
    "B11": ["test_hostile_files.py::test_names_that_an_atlas_does_not_have"],
    "A1": [
        "test_refusals.py::test_an_axis_that_is_not_as_long_as_its_scale",
        "test_refusals.py::test_an_axis_without_a_scale_or_with_a_false_one",
    ],
    "A2": ["test_refusals.py::test_known_arrays_have_the_axes_of_the_specification"],
    "A3": ["test_refusals.py::test_heads_that_write_are_as_many_as_heads_that_read"],
    "A4": ["test_round_trip.py::test_what_has_no_place_in_an_atlas_is_not_written"],
    "A5": ["test_specification.py::test_layers_and_heads_count_from_0"],
    "N1": ["test_round_trip.py::test_every_number_comes_back"],
    "N2": ["test_round_trip.py::test_every_number_comes_back"],
    "N3": ["test_refusals.py::test_flipped_bits_in_a_score_never_become_numbers"],
    "N5": ["test_specification.py::test_xarray_gives_names_and_units"],
    "N6": ["test_refusals.py::test_prompts_that_point_outside_of_the_file"],
    "C1": ["test_refusals.py::test_a_missing_group"],
    "C2": [
        "test_views.py::test_only_large_arrays_are_stored_as_views",
        "test_views.py::test_what_is_read_is_the_same",
        "test_views.py::test_views_come_in_pairs_and_alone",
    ],
    "P1": ["test_hub_atlases.py::test_what_was_published_is_what_is_opened"],
    "P2": [
        "test_hub_atlases.py::test_what_was_published_is_what_is_opened",
        "test_hub_atlases.py::test_bytes_that_arrive_wrong_are_refused_and_not_kept",
        "test_hub_atlases.py::test_bytes_that_rot_in_the_cache_are_fetched_anew",
    ],
    "P3": ["test_hub_atlases.py::test_the_card_states_what_the_file_is"],
    "P4": ["test_hub_atlases.py::test_a_damaged_atlas_is_not_published"],
    "P5": [
        "test_hub_atlases.py::test_what_is_there_is_not_overwritten",
        "test_hub_atlases.py::test_a_tag_that_moved_is_refused",
    ],
    "P6": ["test_hub_atlases.py::test_a_commit_stays_what_it_is_when_the_branch_moves"],
    "P7": ["test_hub_atlases.py::test_a_file_that_is_no_atlas_is_refused_whatever_its_checksum"],
    "P8": ["test_hub_atlases.py::test_without_a_network_what_is_cached_still_opens"],
}
NOT_OF_A_FILE = {
    "N4": "the sign of an effect is that of the sweep, which tests/measures holds against plain runs",
    "N7": "nobody can see from a file alone what could have been in it",
    "N8": "leave, not a duty",
}


def test_every_clause_has_its_tests():
    text = (ROOT / "atlas" / "README.md").read_text()
    clauses = re.findall(r"^(?:- )?([VBANCP]\d+)\. ", text, re.MULTILINE)
    assert len(clauses) == len(set(clauses))
    assert set(clauses) == CLAUSES.keys() | NOT_OF_A_FILE.keys()
    for clause, tests in CLAUSES.items():
        for test in tests:
            file, name = test.split("::")
            assert f"\ndef {name}(" in (HERE / file).read_text(), f"{clause}: there is no {test}"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("atlas") / "atlas.h5"
    write_atlas(path, synthetic_contents(n_layers=2, n_heads=2, n_prompts=4))
    return path


def test_layers_and_heads_count_from_0(path, tmp_path):
    (tmp_path / "x.h5").write_bytes(path.read_bytes())
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        file["head"][...] = [1, 0]
    with pytest.raises(AtlasError, match="/head: must count from 0"):
        open_atlas(tmp_path / "x.h5")


def test_old_programs_can_open_it(path):
    """The superblock of `libver="latest"` has version 2 or 3; older libraries know version 0 alone."""
    assert path.read_bytes()[8] == 0


def test_files_of_every_released_version_are_read():
    released = sorted((HERE / "released").glob("*.h5"))
    assert "1.0" in [file.stem for file in released]
    for file in released:
        with open_atlas(file) as atlas:
            assert atlas.version == file.stem
            assert len(atlas.prompts) > 0
            for place in atlas.places():
                assert len(atlas.read(place).dims) == atlas.read(place).values.ndim


def test_xarray_gives_names_and_units(path):
    with xarray.open_dataset(path, engine="h5netcdf", group="effects") as dataset:
        assert dataset["kl"].dims == ("mode", "layer", "head", "prompt")
        assert dataset["kl"].attrs["units"] == "nats" == EFFECTS["kl"].unit
        assert dataset["kl"].isel(mode=1, layer=1, head=0).shape == (40,)
    with xarray.open_datatree(path, engine="h5netcdf") as tree:  # the labels of the root's axes are those of all groups
        assert tree["effects"]["kl"].sel(mode="mean", layer=1, head=0).shape == (40,)
    with xarray.open_dataset(path, engine="h5netcdf", group="scores") as dataset:
        for name, variable in dataset.data_vars.items():
            assert variable.attrs["units"] == SCORES[name].unit
    with xarray.open_dataset(path, engine="h5netcdf", group="summary") as dataset:
        units = {name: variable.attrs.get("units") for name, variable in dataset.data_vars.items()}
        assert units["kl_ci_low"] == units["kl_macro"] == units["clean_logprob_ci_high"] == "nats"
        assert units["clean_correct"] == "share of positions"
        assert units["kl_n"] == units["induction_excess"] == "1"
        assert units["diffuse_sink_free_mean"] == SCORES["diffuse_sink_free"].unit


def test_units_of_names_that_begin_alike():
    assert unit_of("summary/kl_percentile_model") == "percent"
    assert unit_of("summary/log2_rank_macro_ci_low") == EFFECTS["log2_rank"].unit
    assert unit_of("summary/nonsense_mean") == ""
    assert unit_of("corpus/token_id") == ""


def test_xarray_opens_the_demo_atlas_group_by_group():
    with h5py.File(DEMO) as file:
        groups = [name for name in file if isinstance(file[name], h5py.Group) and name != "exemplars"]
        groups += [f"exemplars/{name}" for name in file.get("exemplars", ())]
    assert {"scores", "effects", "summary"} <= set(groups)
    with open_atlas(DEMO) as atlas:
        for group in groups:
            with xarray.open_dataset(DEMO, engine="h5netcdf", group=group) as dataset:
                for name, variable in dataset.data_vars.items():
                    if group.split("/")[0] in LAYOUTS:
                        found = atlas.read(f"{group}/{name}")
                        assert variable.dims == found.dims
                        np.testing.assert_array_equal(variable.values, found.values)
