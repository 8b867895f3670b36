"""The table of published heads, on an invented atlas of the size of GPT-2 small whose answers are known."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from head_atlas.named_array import NamedArray
from head_atlas.store import write_atlas

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "store"))
sys.path.insert(0, str(ROOT / "scripts"))
from synthetic_atlas import synthetic_contents  # noqa: E402

from bench import main  # noqa: E402


@pytest.fixture
def bench(capsys):
    def run(*arguments):
        code = main(["published", *map(str, arguments)])
        return SimpleNamespace(returncode=code, **capsys.readouterr()._asdict())

    return run


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    contents = synthetic_contents(12, 12, n_prompts=6)
    contents.provenance["model_id"] = "openai-community/gpt2"
    arrays = contents.arrays
    ordinary = np.linspace(0, 0.2, 144).reshape(12, 12)
    # 2.2 leads, 4.11 is the very last
    ordinary[2, 2], ordinary[4, 11] = 0.93, -0.01
    arrays["summary/previous_token_excess"] = NamedArray(ordinary, ("layer", "head"))
    for part, shift in (("low", -0.01), ("high", 0.01)):
        arrays[f"summary/previous_token_excess_ci_{part}"] = NamedArray(ordinary + shift, ("layer", "head"))
    # on indirect objects, removing 9.9 with mean ablation hurts most and removing 10.7 helps most
    effect = arrays["summary/logit_difference_mean"]
    values = np.linspace(-0.1, 0.1, 144).reshape(12, 12)
    values[9, 9], values[10, 7] = -2.0, 1.5
    effect.values[1, :, :, list(contents.families).index("ioi")] = values
    path = tmp_path_factory.mktemp("published") / "atlas.h5"
    write_atlas(path, contents)
    return path


def row(run, head, number):
    (found,) = (line for line in run.out.splitlines() if f"| {head} |" in line and f"| {number}" in line)
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_known_heads_have_their_known_ranks(bench, atlas):
    run = bench("--model", "gpt2", "--atlas", atlas)
    assert run.returncode == 0, run.err
    previous = "previous_token_excess on rand_flat, high"
    assert row(run, "L2H2", previous)[3:8] == ["0.930", "0.920 to 0.940", "1 of 144", "100.0", "yes"]
    assert row(run, "L4H11", previous)[5:8] == ["144 of 144", "0.0", "no"]
    assert row(run, "L9H9", "logit_difference on ioi, low")[5:8] == ["1 of 144", "100.0", "yes"]
    # the head that helps when it is removed
    suppressing = [line for line in run.out.splitlines() if "| L10H7 |" in line and "logit_difference on ioi" in line]
    assert len(suppressing) == 2
    assert all("1 of 144" in line and "| yes |" in line for line in suppressing)
    assert "none can show it" in next(line for line in run.out.splitlines() if "| L10H10 |" in line)
    assert row(run, "L9H9", "direct_logit on ioi, high")[7] == "not measured"
    assert "Not in this atlas: direct_logit on ioi, direct_logit on successor, logit_difference on greater" in run.out
    assert "is your word" not in run.out


def test_the_mode_is_the_one_that_was_asked_for(bench, atlas):
    run = bench("--atlas", atlas, "--mode", "zero")
    assert row(run, "L9H9", "logit_difference on ioi, low")[5] != "1 of 144"
    refused = bench("--atlas", atlas, "--mode", "resample")
    assert refused.returncode == 2
    assert "has no effects of mode 'resample'; there are zero, mean" in refused.err


def test_what_cannot_be_looked_up_is_said(bench, atlas, tmp_path):
    assert "is your word" not in bench("--model", "gpt2-small", "--atlas", atlas).out
    unknown = bench("--model", "bert", "--atlas", atlas)
    assert unknown.returncode == 2
    assert "nothing published is written down of 'bert'" in unknown.err
    without = bench("--model", "gpt2")
    assert without.returncode == 2
    assert "give the atlas of gpt2 with --atlas FILE, or make one with --build" in without.err
    larger = bench("--model", "gpt2-medium", "--atlas", atlas)
    assert larger.returncode == 2
    assert "there is no head 15.14: this model has layers 0 to 11" in larger.err
    small = synthetic_contents(12, 12, n_prompts=3)
    write_atlas(tmp_path / "other.h5", small)
    assert (
        "The atlas calls its model 'synthetic': that it is gpt2 is your word."
        in bench("--atlas", tmp_path / "other.h5").out
    )
