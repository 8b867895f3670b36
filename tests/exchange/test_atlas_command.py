"""`python scripts/atlas.py`, as people run it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
from small_atlases import SEEN, contents, exemplars

from head_atlas.store import open_atlas, write_atlas

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "atlas.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("atlas_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.h5"
    write_atlas(path, contents({"natural": (0, 0)}, families=("natural",), prompts=SEEN, further=exemplars()))
    return path


def test_info_in_words_and_as_json(script, path, capsys):
    assert script.main(["info", str(path)]) == 0
    assert "1 layers x 2 heads" in capsys.readouterr().out
    assert script.main(["info", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_heads"] == 2


def test_what_a_terminal_would_obey_is_not_printed(script, tmp_path, capsys):
    write_atlas(tmp_path / "a.h5", contents({"ioi": (0, 0)}, provenance={"model_id": "\x1b[31mred\u202e"}))
    assert script.main(["info", str(tmp_path / "a.h5")]) == 0
    out = capsys.readouterr().out
    assert "red" in out
    assert "\x1b" not in out
    assert "\u202e" not in out


def test_a_refusal_is_one_line_and_a_status(path):
    with h5py.File(path, "r+") as file:
        file["scores/x"] = h5py.ExternalLink("other.h5", "/x")
    for command in ("validate", "info"):
        run = subprocess.run([sys.executable, SCRIPT, command, path], capture_output=True, text=True, check=False)
        assert run.returncode == 1
        lines = (run.stdout + run.stderr).splitlines()
        assert len(lines) == 1
        assert "/scores/x: a link that points elsewhere is not allowed in an atlas" in lines[0]


def test_validate_goes_through_all_files(script, path, tmp_path, capsys):
    (tmp_path / "b.h5").write_bytes(b"no")
    assert script.main(["validate", str(tmp_path / "b.h5"), str(path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "b.h5: refused: " in lines[0]
    assert lines[1] == f"{path}: valid"
    assert script.main(["validate", str(path)]) == 0


def test_diff(script, tmp_path, capsys):
    write_atlas(tmp_path / "one.h5", contents({"ioi": (0, 0)}))
    write_atlas(tmp_path / "two.h5", contents({"ioi": (0, 2)}))
    assert script.main(["diff", str(tmp_path / "one.h5"), str(tmp_path / "two.h5"), "--json"]) == 0
    (change,) = json.loads(capsys.readouterr().out)["changes"]
    assert (change["head"], change["change"]) == (1, 2)
    assert script.main(["diff", str(tmp_path / "one.h5"), str(tmp_path / "two.h5"), "--measures", "kl"]) == 1
    assert "error: " in capsys.readouterr().err


def test_extract_and_merge(script, tmp_path):
    families = {"ioi": (0, 0), "fact": (1, 1)}
    write_atlas(tmp_path / "a.h5", contents(families, families=tuple(families)))
    for family in families:
        out = ["--out", str(tmp_path / f"{family}.h5")]
        assert script.main(["extract", str(tmp_path / "a.h5"), "--families", family, "--heads", "L0H1", *out]) == 0
    parts = [str(tmp_path / f"{family}.h5") for family in families]
    assert script.main(["merge", *parts, "--out", str(tmp_path / "b.h5")]) == 0
    with open_atlas(tmp_path / "a.h5") as whole, open_atlas(tmp_path / "b.h5") as merged:
        assert merged.families == whole.families
        one, two = (atlas.effects["logit_difference"].values[:, :, 1] for atlas in (whole, merged))
        assert (one == two).all()
    assert script.main(["extract", str(tmp_path / "a.h5"), "--families", "no", "--out", str(tmp_path / "c.h5")]) == 1
    assert not (tmp_path / "c.h5").exists()


def test_export_and_import(script, path, tmp_path, capsys):
    for kind, out in (("csv", "a.csv"), ("json", "a.json"), ("headvis", "tree")):
        assert script.main(["export", str(path), "--format", kind, "--out", str(tmp_path / out)]) == 0
        assert (tmp_path / out).exists()
    assert script.main(["import", str(tmp_path / "tree"), "--out", str(tmp_path / "back.h5")]) == 0
    assert script.main(["validate", str(tmp_path / "back.h5")]) == 0
    assert script.main(["import", str(tmp_path / "none"), "--out", str(tmp_path / "x.h5")]) == 1
    assert "there is no folder" in capsys.readouterr().err


def test_a_file_that_is_there_is_replaced_only_when_that_is_said(script, path, tmp_path, capsys):
    families = {"ioi": (0, 0), "fact": (1, 1)}
    write_atlas(tmp_path / "two.h5", contents(families, families=tuple(families)))
    out = tmp_path / "out.h5"
    out.write_bytes(b"precious")
    commands = (
        ["extract", str(tmp_path / "two.h5"), "--families", "ioi"],
        ["merge", str(tmp_path / "two.h5"), str(tmp_path / "two.h5")],
        ["export", str(path), "--format", "csv"],
        ["import", str(tmp_path / "none")],
    )
    for command in commands:
        assert script.main([*command, "--out", str(out)]) == 1
        assert f"{out} is there already: give another --out, or --force to replace it" in capsys.readouterr().err
        assert out.read_bytes() == b"precious"
    assert script.main([*commands[0], "--out", str(out), "--force"]) == 0
    with open_atlas(out) as atlas:
        assert tuple(atlas.families) == ("ioi",)


def test_every_subcommand_and_its_options_are_in_the_reference(script):
    section = (ROOT / "docs" / "commands.md").read_text().split("## `scripts/atlas.py`")[1].split("\n## ")[0]
    (commands,) = (action.choices for action in script.parser()._actions if action.choices)
    for name, command in commands.items():
        assert f"`{name}" in section, name
        for option in command._option_string_actions:
            assert option in ("-h", "--help") or f"`{option}" in section, (name, option)
