"""Who asks, and how much of the model's time one visitor may have.

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
    """A run that may not begin now, with words for the visitor."""


@dataclass
class _Share:
    """What one visitor may still do.

    Attributes:
        tokens: runs that may begin now, as of `at`.
        at: seconds of the clock.
        running: runs under way or waiting.
    """

    tokens: float
    at: float
    running: int = 0


class Visitors:
    """Counts runs: a token bucket and a number of runs at once for each visitor, and a number for all of them.

    A bucket holds `runs_per_minute` tokens, refills in a minute, and gives one for each run.

    Args:
        limits: `runs_per_minute`, `runs_at_once`, `queue_size`.
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

    def _begin(self, visitor: str) -> _Share:
        most, at_once, all_places = self._limits.runs_per_minute, self._limits.runs_at_once, self._limits.queue_size
        with self._lock:
            now = self._clock()
            share = self._shares.pop(visitor, None) or _Share(most, now)
            self._shares[visitor] = share
            share.tokens = min(most, share.tokens + (now - share.at) * most / _MINUTE)
            share.at = now
            self._forget()
            if self._running >= all_places:
                raise Refused(
                    f"This server is busy: {all_places} runs are under way or waiting already. Try again in a minute; "
                    "the Atlas works meanwhile."
                )
            if at_once and share.running >= at_once:
                raise Refused(f"You have {share.running} runs under way or waiting: let one of them end, or stop it.")
            if most and share.tokens < 1:
                wait = ceil((1 - share.tokens) * _MINUTE / most)
                raise Refused(
                    f"At most {most} runs a minute are possible here, so that everyone gets a turn: "
                    f"try again in {wait} s."
                )
            share.tokens -= 1 if most else 0
            share.running += 1
            self._running += 1
            return share

    def _forget(self) -> None:
        """Drop the visitors beyond the number that is kept, but none with a run under way."""
        beyond = len(self._shares) - self._most_kept
        for visitor in list(islice(self._shares, beyond)) if beyond > 0 else ():
            if self._shares[visitor].running == 0:
                del self._shares[visitor]
