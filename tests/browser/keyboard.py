"""A walk over a page by the Tab key alone: what it reaches, what shows that it is there, and what it passes by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page

MOST = 600
"""Presses of the Tab key on one screen; a page that wants more has a trap."""

_READY = (Path(__file__).parent / "tab_walk.js").read_text(encoding="utf-8")
AT_ONCE = 6
"""Presses between two looks at where the focus is."""


@dataclass(frozen=True)
class Walked:
    """What the Tab key did on a screen.

    Attributes:
        reached: names of the stops, in order.
        missed: what looks as if it could be clicked, and is no stop, nor part of one.
        unseen: stops that look the same with the focus as without.
        trapped: the focus did not come back to the page's beginning.
    """

    reached: list[str]
    missed: list[str]
    unseen: list[str]
    trapped: bool

    @property
    def faults(self) -> list[str]:
        """One sentence per fault."""
        found = [f"the Tab key does not reach {name}" for name in self.missed]
        found += [f"the focus cannot be seen on {name}" for name in self.unseen]
        return [*found, *(["the Tab key never comes back to the beginning"] if self.trapped else [])]


def walk(page: Page) -> Walked:
    """Press Tab from the page's beginning until the focus is back there."""
    page.evaluate(_READY)
    stops = 0
    for _ in range(MOST // AT_ONCE):
        for _ in range(AT_ONCE):
            page.keyboard.press("Tab")
        state = page.evaluate("tabWalk.state()")
        if state["over"]:
            return Walked(**page.evaluate("tabWalk.end()"))
        if state["stops"] == stops:
            break
        stops = state["stops"]
    return Walked(**page.evaluate("tabWalk.end()") | {"trapped": True})
