"""What the keyboard alone can do; that it reaches every screen's parts is tested with the screens."""

from __future__ import annotations

import re

from playwright.sync_api import expect

MENU = "ul[role=listbox]"
"""The open list of one of Gradio's menus."""


def test_the_first_stop_leads_past_the_menus(open_page, every_server):
    page = open_page(every_server + "?tab=atlas&model=full&head=1.2")
    expect(page.locator("#atlas-card h2").first).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    address = page.url
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("!!document.activeElement.closest('#tabs [role=tabpanel]')")
    assert page.url == address


def test_tabs_menus_and_answers_are_worked_by_keys(open_page, every_server):
    page = open_page(every_server + "?tab=atlas&model=full")
    expect(page.locator("#atlas-grid .ha-cell")).to_have_count(6)
    page.get_by_role("tab", name="Atlas").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("tab", name="Atlas")).not_to_have_attribute("aria-selected", "true")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("tab", name="Atlas")).to_have_attribute("aria-selected", "true")
    menu = page.locator("#atlas-measure input")
    before = menu.input_value()
    menu.focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator(MENU).first).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(MENU)).to_have_count(0)
    expect(menu).to_have_value(before)
    menu.focus()
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    expect(menu).not_to_have_value(before)
    page.wait_for_url(re.compile("measure="))


def test_what_is_said_on_hover_is_said_on_focus(open_page, every_server):
    page = open_page(every_server + "?tab=atlas&model=full&head=1.2&view=scatter")
    info = page.locator("#atlas-scatter .ha-grid-info")
    page.locator("#atlas-scatter .ha-point").first.focus()
    page.keyboard.press("Home")
    first = info.text_content()
    page.keyboard.press("ArrowRight")
    expect(info).not_to_have_text(first)
    row = page.locator("#atlas-page .kind-bars .ha-bar-row[tabindex='0']").first
    row.focus()
    page.keyboard.press("ArrowDown")
    note = page.locator("#atlas-page .ha-meaning")
    expect(note).to_be_visible()
    at = page.evaluate("document.activeElement.title")
    assert len(at) > 10
    assert note.text_content() == at
    page.keyboard.press("Escape")
    expect(note).to_have_count(0)


def test_passing_a_menu_chooses_nothing(open_page, every_server):
    page = open_page(every_server + "?tab=atlas&model=full&head=1.2")
    expect(page.locator("#atlas-card h2")).to_have_text("L1H2")
    page.locator("#model input").focus()
    expect(page.locator(MENU)).to_have_count(1)
    page.keyboard.press("Tab")
    expect(page.locator(MENU)).to_have_count(0)
    page.locator("#atlas-measure input").focus()
    page.keyboard.press("Tab")
    expect(page.locator(MENU)).to_have_count(1)
    expect(page.locator("#atlas-mode input")).to_be_focused()
    # The answers to both, if any were asked for, have come when a later question is answered.
    page.locator("#atlas-previous").click()
    expect(page.locator("#atlas-card h2")).to_have_text("L1H1")
    page.wait_for_url(re.compile("head=1.1"))
    expect(page.locator("#atlas-card h2")).to_have_text("L1H1")
    expect(page.locator("#model input")).to_have_value("full")
