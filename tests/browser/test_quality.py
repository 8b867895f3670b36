"""Every screen, in every look: nothing that axe-core calls serious, nothing too wide, no error, no other host.

And the Tab key reaches everything that a mouse could click, and shows where it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import keyboard
import pytest
from accessibility import Axe
from screens import WALKS

from conftest import DESKTOP, PHONE


@dataclass(frozen=True)
class Look:
    """How a screen is looked at, and which of axe's rules that can change; none for all of them."""

    name: str
    viewport: dict
    dark: bool = False
    rules: tuple[str, ...] = ()


OF_COLOUR = ("color-contrast", "link-in-text-block")
OF_LAYOUT = ("color-contrast", "scrollable-region-focusable", "target-size")
LOOKS = (
    Look("a phone", PHONE, rules=OF_LAYOUT),
    Look("zoomed to 200 %", {"width": 640, "height": 450}, rules=("scrollable-region-focusable",)),
    Look("dark", DESKTOP, dark=True, rules=OF_COLOUR),
    Look("light", DESKTOP),
)
"""The last is how a walk goes on."""
SETTLED = """(dark) => { document.body.classList.toggle('dark', dark);
  return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))); }"""
TOO_WIDE = "document.documentElement.scrollWidth - window.innerWidth"


@pytest.mark.parametrize("name", WALKS)
def test_a_screen_is_fit_for_everyone(open_page, every_server, name):
    address, walk = WALKS[name]
    page = open_page(every_server + address, still=True)
    axe = Axe(page)
    found: list[str] = []
    for screen in walk(page):
        for look in LOOKS:
            page.set_viewport_size(look.viewport)
            page.evaluate(SETTLED, look.dark)
            where = f"{name}, {screen}, {look.name}"
            if (wide := page.evaluate(TOO_WIDE)) > 0:
                found.append(f"{where}: {wide} px too wide")
            found += [f"{where}: {fault}" for fault in axe.faults(look.rules)]
        walked = keyboard.walk(page)
        assert len(walked.reached) > 8, f"{name}, {screen}: the Tab key goes nowhere"
        found += [f"{name}, {screen}, by keyboard: {fault}" for fault in walked.faults]
    assert not found, "\n".join(found)
