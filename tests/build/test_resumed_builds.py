"""Builds that go on: with more families and measures, with another model or text, on a full disk."""

from __future__ import annotations

import resource
import shutil
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from small_build import OPTIONS, SMALL, silent

import head_atlas.build.runner as runner
from head_atlas.build import build_atlas, measure_share, merge_shares, parts_folder, plan_atlas
from head_atlas.build.parts import Parts
from head_atlas.build.scratch import Scratch
from head_atlas.errors import BuildError

LESS = replace(OPTIONS, families=["natural", "syntax", "ioi"], modes=("zero",), measures=("scores", "exemplars_text"))


@pytest.fixture
def measured(monkeypatch):
    """Names of the units that are measured from now on."""
    names = []
    plain = runner.run_unit
    monkeypatch.setattr(runner, "run_unit", lambda unit, *args: names.append(unit.label) or plain(unit, *args))
    return names


def test_more_families_modes_and_measures_are_added_byte_for_byte(path, model, tmp_path, measured):
    out = tmp_path / "atlas.h5"
    said = []
    build_atlas(model, out, LESS, said.append)
    assert "of shards stay in" in said[-1]
    before = set(measured)
    assert {"zero-ioi", "scores-natural", "exemplars_text-model", "reference-natural"} <= before
    measured.clear()
    build_atlas(model, out, OPTIONS, silent)
    # rand_repeat comes before the others: their prompts have other numbers now, and the same shards; but roles are
    # judged by resample now, and so are the prompts that a head's removal harms
    assert before & set(measured) == {"exemplars_text-model"}
    assert out.read_bytes() == path.read_bytes()


def test_shares_are_put_together_byte_for_byte(path, model, tmp_path, measured):
    out = tmp_path / "atlas.h5"
    with pytest.raises(BuildError, match=r"units have no shard in .*, the first of them reference-natural"):
        merge_shares(model, out, OPTIONS, silent)
    waiting = [measure_share(model, out, OPTIONS, silent, index=index, of=3) for index in (1, 0, 2)]
    assert sum(waiting) <= 2  # exemplars need the effects, and the first two shares did not have them all
    n_measured = len(measured)
    merge_shares(model, out, OPTIONS, silent)
    assert all(name.startswith("exemplars_") for name in measured[n_measured:])
    assert len(measured) - n_measured == sum(waiting)
    assert out.read_bytes() == path.read_bytes()


def test_another_model_or_other_texts_are_refused_and_nothing_is_lost(model, tmp_path):
    plan = plan_atlas(model, SMALL)
    parts = Parts(tmp_path / "atlas.h5.parts", plan)
    parts.begin()
    parts.write(plan.units[0], {})
    before = {path.name: path.read_bytes() for path in parts.folder.iterdir()}
    other_model = replace(plan, config={**plan.config, "model_fingerprint": "f" * 64})
    with pytest.raises(BuildError, match=r"different: model_fingerprint \(then \w{16}\.\.\., now f{16}\.\.\.\)"):
        Parts(parts.folder, other_model).begin()
    with pytest.raises(BuildError, match=r"different: ioi \(then"):
        Parts(parts.folder, plan_atlas(model, replace(SMALL, n_prompts=3))).begin()
    with pytest.raises(BuildError, match=r"different: seed \(then 0, now 1\)"):
        build_atlas(model, tmp_path / "atlas.h5", replace(SMALL, seed=1), silent)
    assert {path.name: path.read_bytes() for path in parts.folder.iterdir()} == before
    (parts.folder / "build.json").unlink()
    with pytest.raises(BuildError, match="holds shards of an unknown build"):
        parts.begin()


def test_keys_of_units_know_what_they_depend_on(model):
    def keys(options):
        return {unit.label: unit.key for unit in plan_atlas(model, options).units}

    small, more = keys(SMALL), keys(replace(SMALL, families=["ioi", "pronoun"], modes=("zero", "mean")))
    assert small.items() <= more.items()
    other_threads = keys(replace(SMALL, threads=2))
    assert other_threads.keys() == small.keys()
    assert not other_threads.items() & small.items()
    exemplars = replace(SMALL, measures=("exemplars_families",))
    by_mode = {
        modes: keys(replace(exemplars, modes=modes))["exemplars_families-model"]
        for modes in [("zero",), ("zero", "pattern_freeze"), ("zero", "mean"), ("zero", "mean", "pattern_freeze")]
    }
    # harmed prompts are chosen by the mode of roles: other modes beside it change nothing
    assert by_mode["zero",] == by_mode["zero", "pattern_freeze"] != by_mode["zero", "mean"]
    assert by_mode["zero", "mean"] == by_mode["zero", "mean", "pattern_freeze"]
    more_prompts = keys(replace(SMALL, n_prompts=3))
    assert more_prompts["zero-ioi"] != small["zero-ioi"]
    assert more_prompts["reference-natural"] == small["reference-natural"]


@contextmanager
def largest_file(n_bytes):
    """As on a disk that is full: nothing is written beyond so many bytes of a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_on_a_full_disk_nothing_is_lost(model, tmp_path, measured):
    out, undisturbed = tmp_path / "atlas.h5", tmp_path / "other.h5"
    build_atlas(model, undisturbed, SMALL, silent)
    with largest_file(3000), pytest.raises(BuildError, match=r"the shard of .* cannot be written to .*parts: "):
        build_atlas(model, out, SMALL, silent)
    assert not out.exists()
    with largest_file(60_000), pytest.raises(BuildError, match=r"atlas\.h5 cannot be written: .*; all shards are kept"):
        build_atlas(model, out, SMALL, silent)
    assert not out.exists()
    assert not list(tmp_path.glob("**/.*.tmp"))
    sizes = [path.stat().st_size for path in parts_folder(out).glob("*.h5")]
    assert len(sizes) == len(plan_atlas(model, SMALL).units)
    assert max(sizes) < 60_000 < undisturbed.stat().st_size
    measured.clear()
    build_atlas(model, out, SMALL, silent)
    assert measured == []
    assert out.read_bytes() == undisturbed.read_bytes()


def test_arrays_that_lie_in_files_give_the_same_bytes(path, model, tmp_path, measured, monkeypatch):
    out = tmp_path / "atlas.h5"
    shutil.copytree(parts_folder(path), parts_folder(out))
    monkeypatch.setattr("head_atlas.build.scratch.IN_MEMORY", 0)
    made = []
    plain = Scratch.missing
    monkeypatch.setattr(Scratch, "missing", lambda *of: made.append(plain(*of)) or made[-1])
    build_atlas(model, out, OPTIONS, silent)
    assert measured == []
    assert made
    assert all(isinstance(array, np.memmap) for array in made)
    assert sorted(p.name for p in parts_folder(out).iterdir()) == sorted(p.name for p in parts_folder(path).iterdir())
    assert out.read_bytes() == path.read_bytes()
