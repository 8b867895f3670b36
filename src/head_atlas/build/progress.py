"""The line that says how far a build is, how fast it goes and how long it will take."""

from __future__ import annotations

import sys
import time
from typing import TextIO


class ProgressLine:
    """One line, rewritten in place on a terminal; elsewhere one for each unit, and one every half minute.

    Args:
        total: work of the whole build, in tokens run through the model.
        done: work of the units that are already there.
        stream: where it is written.
    """

    def __init__(self, total: float, done: float, stream: TextIO | None = None) -> None:
        self._total, self._before, self._finished = max(total, 1e-9), done, 0.0
        self._stream = stream if stream is not None else sys.stderr
        self._started = time.monotonic()
        self._shown = float("-inf")

    def update(self, unit: str, share: float, work: float) -> None:
        """Show that a unit of some work is partly done."""
        in_place = self._stream.isatty()
        now = time.monotonic()
        if now - self._shown < (0.2 if in_place else 30.0):
            return
        self._shown = now
        line = self.text(unit, self._finished + share * work, now - self._started)
        self._stream.write(f"\r\x1b[K{line}" if in_place else f"{line}\n")
        self._stream.flush()

    def finished(self, work: float) -> None:
        """Count a unit as done; the next one gets a line of its own at once."""
        self._finished += work
        self._shown = float("-inf")

    def text(self, unit: str, done_now: float, seconds: float) -> str:
        """The line itself."""
        share = (self._before + done_now) / self._total
        line = f"{share:6.1%}  {unit}"
        if done_now <= 0 or seconds <= 0:
            return line
        rate = done_now / seconds
        left = (self._total - self._before - done_now) / rate
        return f"{line}  {rate:,.0f} tokens/s  about {duration(left)} left"

    def close(self) -> None:
        """Leave the line."""
        if self._stream.isatty():
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    seconds = max(seconds, 0.0)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
