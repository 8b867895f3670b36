"""Engines in processes of their own, each in its environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

WORKER = Path(__file__).with_name("worker.py")
ROOT = Path(__file__).parents[2]


class EngineError(Exception):
    """An engine that cannot be measured; the message says why."""


class Engine:
    """A running engine, idle until it is asked.

    Args:
        module: of `engines`.
        folder: of the model.
        threads: CPU threads; 0 for torch's choice.
        environment: folder of its virtual environment; None for ours.

    Raises:
        EngineError: it is not installed, or cannot read the model.
    """

    def __init__(self, module: str, folder: Path, threads: int, environment: Path | None = None) -> None:
        python = Path(sys.executable) if environment is None else environment / "bin" / "python"
        if not python.exists():
            raise EngineError("not installed: run make bench-peers")
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        own = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH"))))
        variables = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": own if environment is None else ""}
        self._process = subprocess.Popen(
            [str(python), str(WORKER), module, str(folder), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=variables,
        )
        started = self._answer()
        self.threads: int = started["threads"]
        self.torch: str = started["torch"]

    def run(self, save: Path | None = None, *, fresh: bool = True, **arguments: Any) -> dict[str, float]:
        """Measure one task; see `worker.measure`."""
        assert self._process.stdin is not None
        task = {"arguments": arguments, "save": None if save is None else str(save), "fresh": fresh}
        try:
            self._process.stdin.write(json.dumps(task) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise EngineError(self._last_words()) from error
        return self._answer()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._errors.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise EngineError(self._last_words())
        return dict(json.loads(line))

    def _last_words(self) -> str:
        self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return lines[-1] if lines else f"ended with status {self._process.returncode}"
