"""A build that is killed with -9 at twenty random moments and resumed each time ends as one that never was."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "build_atlas.py"
KILLS = 20

# Loads the libraries once, then runs the command in a child for each line that it reads: twenty starts take seconds.
STARTER = """
import os, runpy, sys
import torch, head_atlas.build, head_atlas.models, head_atlas.build.cluster, head_atlas.build.costs
script, arguments = sys.argv[1], sys.argv[2:]
for line in sys.stdin:
    child = os.fork()
    if not child:
        os.setsid()
        sys.argv = [script, *line.split()]
        sys.stdout = sys.stderr = open(os.devnull, "w")
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as end:
            os._exit(end.code or 0)
        os._exit(70)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.slow
def test_killed_at_twenty_random_moments_it_is_equal_byte_for_byte(model_folder, tmp_path):
    families = "rand_repeat rand_flat natural ioi pronoun completion opposite reflexive"  # 8 x 25 prompts
    options = f"--model {model_folder} --prompts 25 --threads 1 --device cpu --families {families} --modes zero mean"
    undisturbed, killed = tmp_path / "one.h5", tmp_path / "two.h5"
    folder = tmp_path / "two.h5.parts"
    rng = random.Random(0)
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as starter:

        def start(out):
            starter.stdin.write(f"{options} --out {out}\n")
            starter.stdin.flush()
            return int(starter.stdout.readline())

        def status():
            return int(starter.stdout.readline())

        began = time.monotonic()
        start(undisturbed)
        assert status() == 0
        seconds = time.monotonic() - began
        n_units = len(list(Path(f"{undisturbed}.parts").glob("[!.]*.h5")))
        # each kill waits for so many shards and then a random time: some hit the reading of the model, some a unit,
        # some the writing of a shard, and the last ones the writing of the atlas
        moments = sorted(rng.randint(0, n_units) for _ in range(KILLS - 4)) + [n_units] * 4
        survivors: dict[str, bytes] = {}
        for n_shards in moments:
            child = start(killed)
            while len(list(folder.glob("[!.]*.h5"))) < n_shards:
                time.sleep(0.002)
            time.sleep(rng.random() * seconds / n_units)
            os.kill(child, signal.SIGKILL)
            assert status() == -signal.SIGKILL, "it ended before it could be killed"
            found = {path.name: path.read_bytes() for path in folder.glob("[!.]*.h5")}
            assert survivors.items() <= found.items()  # no shard was lost or measured again with another result
            survivors = found
            assert not killed.exists()
        assert len(survivors) == n_units
        start(killed)
        assert status() == 0
        starter.stdin.close()
    assert killed.read_bytes() == undisturbed.read_bytes()
    assert not [path.name for path in tmp_path.glob("**/.*") if path.suffix == ".tmp"]
