"""Who asks, and how much one visitor may have: of the model's time, and of the calls that programs use.

A visitor is the address that a request came from. Behind a proxy that is the proxy's, unless the server is told to
believe what the proxy says: uvicorn reads `X-Forwarded-For` from the right, as far as the addresses in
`FORWARDED_ALLOW_IPS` reach, so that what a visitor writes into that header counts for nothing. The page's session id
would not do: whoever asks chooses it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from itertools import islice
from math import ceil
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING

from gradio.context import LocalContext

from head_atlas.errors import HeadAtlasError

if TYPE_CHECKING:
    from head_atlas.app.limits import Limits

MOST_KEPT = 10_000
"""Visitors that are remembered; about 2 MB."""
_MINUTE = 60.0


def current_visitor() -> str:
    """The visitor whose request is being answered in this thread; "" for what the server does of itself.

    An IPv6 address counts as its network of 64 bits, which one visitor usually has to themselves.
    """
    request = LocalContext.request.get(None)
    client = getattr(request, "client", None)
    if request is None:
        return ""
    text = str(getattr(client, "host", "") or "unknown")
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return text[:64]
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or IPv6Address(int(address) >> 64 << 64))
    return str(address)


class Refused(HeadAtlasError):
    """A run or a call that may not begin now, with words for the visitor."""


@dataclass
class _Bucket:
    """So many tokens a minute: it holds a minute's, refills steadily, and gives one for each run or call.

    Attributes:
        most: tokens that it holds; 0: it gives any number.
        tokens: those in it, as of `at`.
        at: seconds of the clock.
    """

    most: int
    tokens: float
    at: float

    def missing(self, now: float) -> int:
        """Seconds until there is a token to take, rounded up; 0 where there is one."""
        self.tokens = min(self.most, self.tokens + (now - self.at) * self.most / _MINUTE)
        self.at = now
        return ceil((1 - self.tokens) * _MINUTE / self.most) if self.most and self.tokens < 1 else 0

    def take(self) -> None:
        """Take a token, which has to be there."""
        self.tokens -= 1 if self.most else 0


@dataclass
class _Share:
    """What one visitor may still do.

    Attributes:
        runs: that may begin now.
        reads: calls that may.
        running: runs under way or waiting.
    """

    runs: _Bucket
    reads: _Bucket
    running: int = 0


class Visitors:
    """Counts what each visitor asks for: runs by the minute and at once, calls that read by the minute; and all runs.

    Args:
        limits: `runs_per_minute`, `runs_at_once`, `reads_per_minute`, `queue_size`.
        clock: seconds, growing.
        most_kept: visitors remembered; beyond it the one that has asked for nothing the longest is forgotten.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = monotonic, most_kept: int = MOST_KEPT) -> None:
        self._limits, self._clock, self._most_kept = limits, clock, most_kept
        self._shares: OrderedDict[str, _Share] = OrderedDict()
        self._running = 0
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._shares)

    @contextmanager
    def admitted(self, visitor: str) -> Iterator[None]:
        """Let one run of a visitor take place.

        Args:
            visitor: of `current_visitor`; "" is the server itself, which is not counted.

        Raises:
            Refused: they have too many under way, began too many in the last minute, or all places are taken.
        """
        if not visitor:
            yield
            return
        share = self._begin(visitor)
        try:
            yield
        finally:
            with self._lock:
                share.running -= 1
                self._running -= 1

    def read(self, visitor: str) -> None:
        """Let one call of a visitor take place that runs no model.

        Args:
            visitor: as in `admitted`.

        Raises:
            Refused: they made too many in the last minute.
        """
        if not visitor:
            return
        with self._lock:
            now = self._clock()
            reads = self._share(visitor, now).reads
            if wait := reads.missing(now):
                raise Refused(
                    f"At most {reads.most} calls that read atlases are answered here in a minute: "
                    f"try again in {wait} s."
                )
            reads.take()

    def _share(self, visitor: str, now: float) -> _Share:
        """The share of a visitor, who is now the last one that would be forgotten."""
        runs, reads = self._limits.runs_per_minute, self._limits.reads_per_minute
        share = self._shares.pop(visitor, None) or _Share(_Bucket(runs, runs, now), _Bucket(reads, reads, now))
        self._shares[visitor] = share
        self._forget()
        return share

    def _begin(self, visitor: str) -> _Share:
        at_once, all_places = self._limits.runs_at_once, self._limits.queue_size
        with self._lock:
            now = self._clock()
            share = self._share(visitor, now)
            if self._running >= all_places:
                raise Refused(
                    f"This server is busy: {all_places} runs are under way or waiting already. Try again in a minute; "
                    "the Atlas works meanwhile."
                )
            if at_once and share.running >= at_once:
                raise Refused(f"You have {share.running} runs under way or waiting: let one of them end, or stop it.")
            if wait := share.runs.missing(now):
                raise Refused(
                    f"At most {share.runs.most} runs a minute are possible here, so that everyone gets a turn: "
                    f"try again in {wait} s."
                )
            share.runs.take()
            share.running += 1
            self._running += 1
            return share

    def _forget(self) -> None:
        """Drop the visitors beyond the number that is kept, but none with a run under way."""
        beyond = len(self._shares) - self._most_kept
        for visitor in list(islice(self._shares, beyond)) if beyond > 0 else ():
            if self._shares[visitor].running == 0:
                del self._shares[visitor]
