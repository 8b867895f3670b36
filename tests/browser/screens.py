"""Every screen of the app, as walks that the browser tests take: one page load, then one screen after another.

A walk goes to an address and yields the name of a screen each time that one stands. A tab of the page without a walk of
its own is opened, and its sub-tabs after it; so a new tab is tested before anyone writes a walk for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote_plus

from playwright.sync_api import Page, expect

from head_atlas.app.learn_tab import NAMES as CHAPTERS
from head_atlas.app.page_state import TABS

PATIENT = 90_000
PROMPT = "The cat sat on the mat. The cat sat on the"
CORRUPTED = "The cat sat on the cat. The cat sat on the"
FULL = "model=full"
"""The atlas with every part, which has no model; the other entry has one."""

Walk = Callable[[Page], Iterator[str]]


def start(page: Page) -> Iterator[str]:
    expect(page.locator("#start-experiment .ha-condition")).to_have_count(3, timeout=PATIENT)
    yield "experiment done"


def tour(page: Page) -> Iterator[str]:
    expect(page.locator(".ha-tour")).to_be_visible()
    yield "first step"


def atlas(page: Page) -> Iterator[str]:
    expect(page.locator("#atlas-card h2")).to_have_count(2)
    yield "heat map, two heads"
    page.evaluate("document.querySelectorAll('#tabs details').forEach((one) => { one.open = true; })")
    yield "everything unfolded"
    page.locator("#atlas-views").get_by_role("tab", name="Scatter").click()
    expect(page.locator("#atlas-scatter .ha-point").first).to_be_visible()
    yield "scatter"
    page.locator("#atlas-views").get_by_role("tab", name="Find heads").click()
    expect(page.locator("#atlas-finder tbody tr").first).to_be_visible()
    yield "finder"
    box = page.locator("#atlas-head input, #atlas-head textarea")
    box.fill("9.9")
    box.press("Enter")
    expect(page.locator("#atlas-note")).to_contain_text("no head 9.9")
    yield "no such head"
    page.locator("#atlas-measure input").click()
    expect(page.locator("ul[role=listbox]").first).to_be_visible()
    yield "open menu"
    page.keyboard.press("Escape")


def lab(page: Page) -> Iterator[str]:
    expect(page.locator("#lab-bars .ha-headline")).to_be_visible(timeout=PATIENT)
    yield "run"
    page.locator("#lab-pin").click()
    page.locator("#lab-take").click()
    expect(page.locator("#lab-files .ha-file").first).to_be_visible()
    page.get_by_role("button", name="A corrupted prompt").click()
    yield "pinned, files"
    for tab in page.locator("#lab-analyses").get_by_role("tab").all():
        tab.click()
        name = tab.inner_text()
        if (subject := page.locator("#lab-trace-subject input, #lab-trace-subject textarea")).is_visible():
            subject.fill("cat")
        runs = page.locator("#lab-analyses button[id^='lab-'][id$='-run']:visible")
        for key in [button.get_attribute("id").removesuffix("-run") for button in runs.all()]:
            page.locator(f"#{key}-run").click()
            # On invented weights some analyses find that there is nothing to find, and say so.
            done = page.locator(f"#{key}-status .is-done, #{key}-status .is-error")
            expect(done).to_be_visible(timeout=PATIENT)
        yield name


def learn(page: Page) -> Iterator[str]:
    for chapter in CHAPTERS:
        page.locator(f"#learn-contents [data-name='{chapter}']").click()
        expect(page.locator(f"#learn-contents [data-name='{chapter}'][aria-current]")).to_have_count(1)
        expect(page.locator("#learn-story h2")).to_be_visible()
        yield chapter
    page.locator("#learn-contents [data-name='induction']").click()
    page.get_by_text("It is no longer the model").click()
    page.locator("#learn-run").click()
    expect(page.locator("#learn-result .ha-verdict")).to_be_visible(timeout=PATIENT)
    page.locator("#learn-story .ha-term").first.click()
    yield "an answer, a word's meaning"


def about(page: Page) -> Iterator[str]:
    expect(page.locator("#about-card dd").first).to_be_visible()
    yield "card"


def another_tab(page: Page) -> Iterator[str]:
    """A tab that nothing is known of: as it opens, then its sub-tabs."""
    yield "opened"
    for tab in page.locator("#tabs [role=tabpanel]:visible [role=tab]").all():
        tab.click()
        yield tab.inner_text()


def address(**keys: Any) -> str:
    return "?" + "&".join(f"{key}={quote_plus(str(value), safe=',')}" for key, value in keys.items())


_OWN: dict[str, tuple[str, Walk]] = {
    "start": ("", start),
    "atlas": (address(tab="atlas", model="full", head="1.2", other="0.1"), atlas),
    "lab": (address(tab="lab", prompt=PROMPT, removed="1.2,2.5", corrupted=CORRUPTED), lab),
    "learn": (address(tab="learn"), learn),
    "about": (address(tab="about"), about),
}
WALKS: dict[str, tuple[str, Walk]] = {
    **{tab: _OWN.get(tab, (address(tab=tab), another_tab)) for tab in TABS},
    "tour": (address(tour=1), tour),
    "learn-full": (address(tab="learn", model="full"), another_tab),
}
"""By name: the address at which a walk begins, and the walk."""
