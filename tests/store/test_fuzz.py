"""Five hundred damaged files: each is refused with an AtlasError, or every array of it can be read."""

from __future__ import annotations

import contextlib
import json
import random
import re
import select
import subprocess
from pathlib import Path

import numpy as np
import pytest
from synthetic_atlas import synthetic_contents

from head_atlas.errors import AtlasError
from head_atlas.store import inspection, write_atlas
from head_atlas.store.reader import Atlas

N_MUTANTS = 500
RELEASED = Path(__file__).parent / "released"
_MARKS = re.compile(rb"OHDR|OCHK|TREE|SNOD|HEAP|GCOL|FRHP|FHDB|BTHD|BTLF|FADB|\x89HDF")
"""Where the structures of HDF5 begin: most bytes of a file are numbers, and damage there is soon found."""


class Walker:
    """One limited process that walks many files, and is started again when it dies."""

    def __init__(self) -> None:
        self.deaths = 0
        self._start()

    def _start(self) -> None:
        self.process = subprocess.Popen(
            inspection.command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=inspection.environment(),
        )

    def refusal(self, path: Path) -> str:
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(str(path)) + "\n")
            self.process.stdin.flush()
        answered, _, _ = select.select([self.process.stdout], [], [], 120)
        line = self.process.stdout.readline() if answered else ""
        if not line:
            self.close()
            self.deaths += 1
            self._start()
            return "the process did not survive it"
        return inspection.answer_in(line)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def mutant(rng: random.Random, whole: bytes) -> bytes:
    """Damage a file in one to four places."""
    damaged = bytearray(whole)
    marks = [match.start() for match in _MARKS.finditer(whole)]
    for _ in range(rng.randint(1, 4)):
        anywhere = rng.random() < 0.3
        at = rng.randrange(len(damaged)) if anywhere else min(rng.choice(marks) + rng.randrange(96), len(damaged) - 1)
        size = rng.choice((1, 2, 4, 8, 64))
        how = rng.randrange(7)
        if how == 0:
            damaged[at] ^= 1 << rng.randrange(8)
        elif how == 1:
            damaged[at : at + size] = rng.randbytes(len(damaged[at : at + size]))
        elif how == 2:
            damaged[at : at + size] = bytes([rng.choice((0, 0xFF, 0x7F, 0x80))]) * len(damaged[at : at + size])
        elif how == 3:
            source = rng.choice(marks)
            damaged[at : at + size] = whole[source : source + len(damaged[at : at + size])]
        elif how == 4:
            del damaged[at : at + size]
        elif how == 5:
            damaged[at:at] = rng.randbytes(size)
        elif rng.random() < 0.2:
            del damaged[max(at, 16) :]
        else:
            number = rng.choice((1, 2**31 - 1, 2**32 - 1, 2**63, rng.randrange(len(damaged))))
            damaged[at : at + 8] = number.to_bytes(8, "little")[: len(damaged[at : at + 8])]
    return bytes(damaged)


def read_all(path: Path) -> int:
    """Read all there is as the app would, after the walk; returns how many parts were damaged."""
    damaged = 0
    with Atlas(path, walked=True) as atlas:
        for read in [
            *(lambda place=place: atlas.read(place) for place in atlas.places()),
            lambda: atlas.prompts,
            atlas.mean_reference,
            atlas.resample_prompts,
            lambda: atlas.token_strings,
        ]:
            try:
                read()
            except AtlasError:
                damaged += 1
    return damaged


@pytest.mark.slow
def test_mutants_are_refused_or_readable(tmp_path):
    write_atlas(tmp_path / "new.h5", synthetic_contents(n_layers=1, n_heads=2, n_prompts=1))
    bases = [(tmp_path / "new.h5").read_bytes(), *(path.read_bytes() for path in sorted(RELEASED.glob("*.h5")))]
    rng = random.Random(5)
    found = {"refused": 0, "whole": 0, "parts damaged": 0}
    walker = Walker()
    path = tmp_path / "mutant.h5"
    try:
        for whole in bases:
            path.write_bytes(whole)
            assert walker.refusal(path) == ""
        for number in range(N_MUTANTS):
            path.write_bytes(mutant(rng, bases[number % len(bases)]))
            refusal = walker.refusal(path)
            assert "\n" not in refusal
            if not refusal:
                try:
                    found["parts damaged" if read_all(path) else "whole"] += 1
                    continue
                except AtlasError:
                    pass
            found["refused"] += 1
    finally:
        walker.close()
    print(found, "deaths", walker.deaths)
    # the damage is real, and the walk is no wall
    assert found["refused"] > N_MUTANTS / 4
    assert found["whole"] > 0
    assert np.sum(list(found.values())) == N_MUTANTS
