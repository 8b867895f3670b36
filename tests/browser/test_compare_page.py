from __future__ import annotations

import re

from playwright.sync_api import expect

from conftest import PHONE


def test_two_models_are_compared_and_a_match_leads_to_its_page(open_page, two_server):
    page = open_page(two_server + "?tab=compare")
    expect(page.locator("#compare-summary")).to_contain_text("heads of other match")
    expect(page.locator("#compare-changes")).to_contain_text("other shapes")
    rows = page.locator("#compare-matches tbody tr")
    expect(rows.first).to_be_visible()
    page.locator("#compare-matches").get_by_role("button", name="head of other").click()
    expect(page.locator("#compare-matches th[aria-sort=descending]")).to_have_text("head of other")
    link = page.locator("#compare-matches tbody th a").first
    name = link.inner_text()
    link.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#atlas-card h2")).to_have_text(name)
    expect(page).to_have_url(re.compile("tab=atlas&model=other&head="))
    page.go_back()
    expect(page.get_by_role("tab", name="Compare")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#compare-summary")).to_contain_text("heads of other match")


def test_the_address_opens_the_comparison_the_other_way_round(open_page, two_server):
    page = open_page(two_server + "?tab=compare&model=other&with=small", viewport=PHONE)
    expect(page.locator("#compare-summary")).to_contain_text("of the 6 heads of other")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_one_atlas_alone_says_how_to_serve_two(open_page, full_server):
    page = open_page(full_server + "?tab=compare")
    expect(page.locator("#compare-summary")).to_contain_text("MODEL=atlas/demo,path/to/other")
