"""The tour of a first visit in a real browser."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from conftest import PHONE


def cell(page, where: str, layer: int, head: int):
    return page.locator(f"{where} [data-l='{layer}'][data-h='{head}']")


def test_the_tour_shows_where_asked_can_be_left_and_stays_away(open_page, server):
    page = open_page(server)
    expect(page.locator("#start-grid .ha-cell")).to_have_count(24)
    expect(page.locator(".ha-tour")).to_have_count(0)
    page = open_page(server + "?tour=1")
    expect(page.locator(".ha-tour")).to_contain_text("1 of 5")
    expect(page.locator("#start-grid .ha-tour-mark")).to_have_count(1)
    # Nothing is blocked meanwhile.
    cell(page, "#start-grid", 0, 0).hover()
    page.locator(".ha-tour-next").focus()
    for n in (2, 3, 4, 5):
        page.keyboard.press("Enter")
        expect(page.locator(".ha-tour")).to_contain_text(f"{n} of 5")
    expect(page.get_by_role("tab", name="Learn")).to_have_class(re.compile("ha-tour-mark"))
    page.keyboard.press("Escape")
    expect(page.locator(".ha-tour")).to_have_count(0)
    expect(page.locator(".ha-tour-mark")).to_have_count(0)
    assert page.evaluate("localStorage.getItem('head-atlas-tour')") == "seen"


def test_the_tour_on_a_phone_brings_what_it_speaks_of_into_sight(open_page, server):
    page = open_page(server + "?tour=1", viewport=PHONE, still=True)
    expect(page.locator("#start-grid .ha-cell")).to_have_count(24)
    for n in (2, 3, 4, 5):
        page.locator(".ha-tour-next").click()
        expect(page.locator(".ha-tour")).to_contain_text(f"{n} of 5")
        page.wait_for_function(
            """() => { const at = document.querySelector('.ha-tour-mark').getBoundingClientRect();
            const card = document.querySelector('.ha-tour').getBoundingClientRect();
            return at.top >= 0 && (at.bottom <= card.top || at.top <= 20); }"""
        )


def test_the_tour_comes_once_to_a_person(open_page, server):
    page = open_page(server)
    # A person's browser does not say that it is driven.
    page.context.add_init_script("Object.defineProperty(navigator, 'webdriver', { get: () => false })")
    # Another page of the same person: one that is left while it asks the server complains on its console.
    page = page.context.new_page()
    page.goto(server)
    expect(page.locator(".ha-tour")).to_contain_text("1 of 5")
    page.get_by_role("button", name="Skip the tour").click()
    expect(page.locator(".ha-tour")).to_have_count(0)
    page = page.context.new_page()
    page.goto(server)
    expect(page.locator("#start-grid .ha-cell")).to_have_count(24)
    page.wait_for_timeout(500)
    expect(page.locator(".ha-tour")).to_have_count(0)
