"""The benchmark runs, compares equal work, and promises what it prints. Nothing here is timed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def bench(*arguments):
    command = [sys.executable, str(ROOT / "scripts" / "bench.py"), *arguments, "--tiny", "--repeats", "1"]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.slow
def test_sweep_has_a_row_for_every_engine_and_engines_agree(tmp_path):
    run = bench("sweep", "--only", "8 of 16", "--json", str(tmp_path / "table.json"))
    assert run.returncode == 0, run.stderr
    rows = {row["engine"]: row for row in json.loads((tmp_path / "table.json").read_text())["rows"]}
    assert list(rows) == [
        "Head Atlas",
        "transformers, batched hooks",
        "TransformerLens 2.18",
        "TransformerLens 4",
        "nnsight",
    ]
    for name, row in rows.items():
        assert f"| 8 of 16 | {name} |" in run.stdout
        # a peer that is not installed says so
        assert row["seconds"] is not None or "make bench-peers" in row["remark"]
    plain = rows["transformers, batched hooks"]
    assert plain["deviation"] < 1e-5
    assert plain["ratio"] == pytest.approx(plain["seconds"] / rows["Head Atlas"]["seconds"])
    assert rows["Head Atlas"]["heads"] == 12


@pytest.mark.slow
def test_patterns_agree_with_whole_ones(tmp_path):
    run = bench("patterns", "--json", str(tmp_path / "table.json"))
    assert run.returncode == 0, run.stderr
    rows = json.loads((tmp_path / "table.json").read_text())["rows"]
    cases = [(row["case"], row["engine"]) for row in rows]
    assert cases == [(case, engine) for case in ("2 of 20", "4 of 20") for engine in ("Head Atlas", "whole patterns")]
    assert all(0 < row["deviation"] < 1e-5 and row["seconds"] > 0 for row in rows)
    assert all(f"| {case} | {engine} |" in run.stdout for case, engine in cases)


@pytest.mark.slow
def test_attributions_agree_with_captum(tmp_path):
    run = bench("attribution", "--only", "gpt2, 20", "--json", str(tmp_path / "table.json"))
    assert run.returncode == 0, run.stderr
    rows = json.loads((tmp_path / "table.json").read_text())["rows"]
    assert [row["engine"] for row in rows] == ["Head Atlas", "Captum", "Captum, last logits, 8 nodes at once"]
    assert all(row["seconds"] > 0 and row["deviation"] < 1e-3 and not row["remark"] for row in rows)
    assert "| gpt2, 20 tokens, 32 nodes | Captum |" in run.stdout


@pytest.mark.slow
@pytest.mark.browser
def test_the_app_is_started_opened_and_visited(tmp_path):
    run = bench("app", "--json", str(tmp_path / "table.json"))
    assert run.returncode == 0, run.stdout + run.stderr
    rows = {row["what"]: row for row in json.loads((tmp_path / "table.json").read_text())["rows"]}
    promised = [name for name, row in rows.items() if row["bar_ms"]]
    assert len([name for name in promised if "is painted after" in name]) == 4
    assert "the page answers after the process started" in promised
    assert any(name.startswith(("heat map", "head page")) for name in promised)
    assert rows["page opened"]["n"] == 3
    for name, row in rows.items():
        assert 0 < row["median_ms"] <= row["max_ms"], name
        assert (row["met"] is None) == (row["bar_ms"] is None)
        assert f"| {name} | {row['n']} |" in run.stdout
