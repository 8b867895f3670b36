"""scripts/build_atlas.py as a person runs it."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from head_atlas.errors import ModelError
from head_atlas.store import open_atlas

SCRIPT = Path(__file__).parents[2] / "scripts" / "build_atlas.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("build_atlas_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    threads = torch.get_num_threads()
    yield module
    torch.set_num_threads(threads)


def test_dry_run_says_what_would_be_done_and_does_nothing(script, model_folder, tmp_path, capsys):
    out = tmp_path / "atlas.h5"
    assert script.main(["--model", str(model_folder), "--out", str(out), "--quick", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "rand_repeat: 8 prompts" in printed
    assert "modes zero;" in printed
    assert list(tmp_path.iterdir()) == []


def test_dry_run_as_json_has_the_cost_at_a_given_rate(script, model_folder, tmp_path, capsys):
    arguments = ["--model", str(model_folder), "--out", str(tmp_path / "x.h5"), "--quick", "--dry-run", "--json"]
    assert script.main([*arguments, "--families", "ioi", "--rate", "1e9"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["families"] == {"ioi": {"prompts": 8, "tokens": found["tokens"]}}
    assert found["rate"] == 1e9
    kinds = {cost["kind"]: cost for cost in found["kinds"]}
    assert {"reference", "zero", "direct_logit"} <= set(kinds)
    assert sum(cost["units"] for cost in found["kinds"]) == found["units"]
    assert found["total"]["flops"] == sum(cost["flops"] for cost in found["kinds"]) > 0
    assert found["total"]["atlas_bytes"] > 0
    assert list(tmp_path.iterdir()) == []


def test_shares_and_their_merge(script, model_folder, tmp_path, capsys):
    out = tmp_path / "atlas.h5"
    arguments = ["--model", str(model_folder), "--out", str(out), "--quick", "--families", "ioi", "--prompts", "4"]
    arguments += ["--threads", "1", "--measures", "direct_logit", "exemplars_families"]
    assert script.main([*arguments, "--shard", "1/2"]) == 0
    assert script.main([*arguments, "--merge"]) == 1
    assert "run the shares that did not finish again" in capsys.readouterr().err
    assert script.main([*arguments, "--shard", "0/2"]) == 0
    assert not out.exists()
    assert script.main([*arguments, "--merge", "--discard-shards"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["atlas.h5"]


@pytest.mark.parametrize("share", ["2/2", "0/0", "-1/2", "1", "a/b"])
def test_a_share_that_is_none_is_refused(script, capsys, share):
    with pytest.raises(SystemExit):
        script.main(["--model", "m", "--out", "x.h5", f"--shard={share}"])
    assert "argument --shard: must be I/N" in capsys.readouterr().err


def test_quick_with_a_corpus_and_chosen_families(script, model_folder, tmp_path, capsys):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n\n".join(f"Day {i}. " + "The cat sat on the mat near the door. " * 12 for i in range(9)))
    out = tmp_path / "atlas.h5"
    arguments = ["--model", str(model_folder), "--out", str(out), "--quick", "--corpus", str(corpus)]
    assert script.main([*arguments, "--families", "natural", "pronoun", "--prompts", "4", "--threads", "1"]) == 0
    assert "MB" in capsys.readouterr().err
    with open_atlas(out) as atlas:
        assert atlas.families == ["natural", "pronoun"]
        assert atlas.modes == ["zero"]
        assert all(p.text.startswith("Day ") for p in atlas.prompts if p.family == "natural")
        assert atlas.mean_reference().source == "natural family: 9 prompts, a corpus of the user's, seed 0"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "no/such/folder/here"], "error: "),
        (["--device", "gpu"], "error: there is no device 'gpu'"),
        (["--families", "nosuch"], "error: unknown family 'nosuch'"),
        (["--corpus", "no-such-file.txt"], "error: .*no-such-file.txt"),
    ],
)
def test_expected_errors_are_one_line_and_status_1(script, model_folder, tmp_path, capsys, arguments, words):
    import re

    base = ["--model", str(model_folder), "--out", str(tmp_path / "x.h5")]
    assert script.main([*base, *arguments]) == 1
    error = capsys.readouterr().err
    assert re.search(words, error)
    assert "Traceback" not in error


def test_the_number_of_threads_holds_when_the_model_is_checked(script, tmp_path, monkeypatch):
    seen = []

    def load(*_):
        seen.append(torch.get_num_threads())
        raise ModelError("enough")

    monkeypatch.setattr("head_atlas.models.load_model", load)
    for n in (3, 1):
        assert script.main(["--model", "m", "--out", str(tmp_path / "x.h5"), "--threads", str(n)]) == 1
    assert seen == [3, 1]


@pytest.mark.parametrize("threads", ["0", "-2", "many"])
def test_a_number_of_threads_that_is_none_is_refused(script, capsys, threads):
    with pytest.raises(SystemExit):
        script.main(["--model", "m", "--out", "x.h5", "--threads", threads])
    assert "argument --threads" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--engine", "ray", "--shard", "0/2"], "not with --shard"),
        (["--engine", "ray", "--merge"], "not with --merge"),
        (["--shard", "0/2", "--merge"], "one after the other"),
        (["--shard", "0/2", "--discard-shards"], "not with --shard"),
        (["--engine", "ray", "--discard-shards"], "shards stay in OUT.parts"),
        (["--workers", "2"], "--workers needs --engine ray"),
        (["--gpus", "0.5"], "--gpus needs --engine ray"),
        (["--json"], "--json needs --dry-run"),
        (["--rate", "1e9"], "--rate needs --dry-run"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(script, capsys, arguments, words):
    with pytest.raises(SystemExit) as stopped:
        script.main(["--model", "m", "--out", "x.h5", *arguments])
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.slow
def test_killed_with_minus_nine_and_run_again_it_is_equal_byte_for_byte(model_folder, tmp_path):
    def command(out):
        families = ["rand_repeat", "rand_flat", "natural", "ioi", "pronoun", "completion", "opposite", "reflexive"]
        options = ["--prompts", "30", "--threads", "1", "--device", "cpu", "--families", *families]
        return [sys.executable, str(SCRIPT), "--model", str(model_folder), "--out", str(out), *options]

    undisturbed, killed = tmp_path / "one.h5", tmp_path / "two.h5"
    subprocess.run(command(undisturbed), check=True, capture_output=True)

    process = subprocess.Popen(command(killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder = tmp_path / "two.h5.parts"
    deadline = time.monotonic() + 120
    while len(list(folder.glob("[!.]*.h5"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the build ended before it could be killed"
    survivors = {path.name: path.stat().st_mtime_ns for path in folder.glob("[!.]*.h5")}
    assert 3 <= len(survivors) < 15
    assert not killed.exists()

    again = subprocess.run(command(killed), check=True, capture_output=True, text=True)
    assert f"going on: {len(survivors)} of " in again.stderr
    assert killed.read_bytes() == undisturbed.read_bytes()
