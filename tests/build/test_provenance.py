"""What the file says about where its numbers come from."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch

import head_atlas.build.provenance as provenance
from head_atlas.build import BuildOptions, plan_atlas
from head_atlas.build.provenance import git_commit, model_facts, public_model_id, weights_sha256
from head_atlas.models import HeadModel, load_model

SMALL = BuildOptions(families=["ioi"], n_prompts=2, modes=("zero",), natural_length=40, threads=1)


def in_memory(model_folder, change=0.0):
    made = load_model(model_folder, device="cpu")
    with torch.no_grad():
        next(made.model.parameters())[0, 0] += change
    return HeadModel(made.model, made.tokenizer)


def test_weights_in_memory_have_a_fingerprint_of_their_own(model_folder, model):
    one, same, other = in_memory(model_folder), in_memory(model_folder), in_memory(model_folder, 1e-3)
    assert one.fingerprint == ""
    plans = [plan_atlas(m, SMALL).config_sha256 for m in (one, same, other)]
    assert plans[0] == plans[1] != plans[2]
    assert model_facts(one)["model_fingerprint"] == weights_sha256(one.model)
    assert model_facts(model)["model_fingerprint"] == model.fingerprint


def test_weights_of_any_type_and_shape_are_hashed():
    layer = torch.nn.Linear(2, 2, dtype=torch.bfloat16)
    layer.register_buffer("count", torch.tensor(3))
    found = weights_sha256(layer)
    layer.count += 1
    assert weights_sha256(layer) != found


def test_one_model_by_two_names_is_one_configuration(model_folder, monkeypatch):
    monkeypatch.chdir(model_folder.parent)
    names = ("tiny", "./tiny", "tiny/", str(model_folder))
    models = [load_model(name, device="cpu") for name in names]
    assert len({plan_atlas(m, SMALL).config_sha256 for m in models}) == 1


def test_a_models_name_holds_no_name_of_a_user_or_machine(tmp_path, monkeypatch):
    (tmp_path / "work/atlas/demo/model").mkdir(parents=True)
    (tmp_path / "elsewhere/mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    demo = str(tmp_path / "work/atlas/demo/model")
    for name in ("atlas/demo/model", "./atlas/demo/model", "atlas/demo/model/", "atlas/../atlas/demo/model", demo):
        assert public_model_id(name) == "atlas/demo/model"
    for name in ("../elsewhere/mine", str(tmp_path / "elsewhere/mine/")):
        assert public_model_id(name) == "mine"
    assert public_model_id(".") == "work"
    assert public_model_id(str(tmp_path / "gone")) == "gone"
    assert public_model_id("openai-community/gpt2") == "openai-community/gpt2"
    assert public_model_id("") == ""


@pytest.fixture
def repository(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=Someone", "-c", "user.email=someone@example.org"]
        command = ["git", *identity, *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    for place in ("src/head_atlas", "venv/lib/head_atlas"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "x.py").touch()
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    return tmp_path, git("rev-parse", "HEAD")


def test_the_commit_is_that_of_our_own_tree_only(repository, monkeypatch):
    place, commit = repository
    monkeypatch.setattr(provenance, "_PACKAGE", place / "src/head_atlas")
    assert git_commit() == commit
    (place / "src/head_atlas/x.py").write_text("changed")
    assert git_commit() == f"{commit}-dirty"
    monkeypatch.setattr(provenance, "_PACKAGE", place / "venv/lib/head_atlas")
    assert git_commit() == ""


def test_the_atlas_names_the_model_without_its_place(model, tmp_path):
    from head_atlas.build import build_atlas
    from head_atlas.store import open_atlas

    out = build_atlas(model, tmp_path / "atlas.h5", SMALL, lambda _: None)
    assert Path(model.model_id).is_absolute()
    with open_atlas(out) as atlas:
        assert atlas.model_id == "tiny"
        assert "left_out" not in atlas.provenance
    assert str(Path(model.model_id).parent).encode() not in out.read_bytes()
