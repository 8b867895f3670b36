"""The chapters, the glossary and the papers in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from conftest import DESKTOP, PHONE

PATIENT = 60_000


def no_overflow(page) -> None:
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0, f"{wide} px too wide"


def test_the_chapter_predicts_runs_and_judges(open_page, server):
    page = open_page(server + "?tab=learn&chapter=induction")
    page.locator("#learn-run").click()
    expect(page.locator("#learn-status")).to_contain_text("First make a prediction")
    page.get_by_text("It is no longer the model").click()
    page.locator("#learn-run").click()
    expect(page.locator("#learn-result .ha-condition")).to_have_count(3, timeout=PATIENT)
    expect(page.locator("#learn-result .ha-verdict")).to_be_visible()
    words = page.locator("#learn-setup dd").first.text_content()
    page.locator("#learn-another").click()
    expect(page.locator("#learn-setup dd").first).not_to_have_text(words)
    page.locator("#learn-to-lab").click()
    expect(page.locator("#lab-bars .ha-headline")).to_contain_text("Without", timeout=PATIENT)


def test_chapters_open_by_click_by_next_and_by_address(open_page, server):
    page = open_page(server + "?tab=learn&chapter=circuits")
    expect(page.locator("#learn-story h2")).to_contain_text("heads that need each other")
    expect(page.locator("#learn-contents [aria-current]")).to_have_text(re.compile("Circuits"))
    page.locator("#learn-contents [data-name='glossary']").press("Enter")
    expect(page.locator("#learn-story h2")).to_have_text("The words of the field")
    expect(page.locator("#learn-run")).to_be_hidden()
    page.wait_for_url(re.compile("chapter=glossary"))
    page.locator("#learn-contents [data-name='induction']").click()
    expect(page.locator("#learn-run")).to_be_visible()
    page.wait_for_url(re.compile("chapter=induction"))
    page.locator("#learn-next").click()
    page.wait_for_url(re.compile("chapter=circuits"))
    page.go_back()
    expect(page.locator("#learn-story h2")).to_contain_text("reading on from last time")


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE])
def test_a_word_of_the_glossary_explains_itself_by_mouse_and_keyboard(open_page, server, viewport):
    page = open_page(server + "?tab=learn&chapter=circuits", viewport=viewport)
    word = page.locator("#learn-story .ha-term").first
    note = page.locator("#learn-story .ha-meaning").first
    word.click()
    expect(note).to_be_visible()
    expect(note).to_contain_text("residual stream: The running sum")
    expect(word).to_have_attribute("aria-expanded", "true")
    box = note.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= viewport["width"]
    no_overflow(page)
    page.keyboard.press("Escape")
    expect(note).to_be_hidden()
    word.focus()
    page.keyboard.press("Enter")
    expect(note).to_be_visible()
    page.keyboard.press("Enter")
    expect(note).to_be_hidden()


def test_links_to_papers_open_elsewhere(open_page, server):
    page = open_page(server + "?tab=learn&chapter=reading")
    links = page.locator("#learn-story .ha-papers a")
    expect(links.first).to_be_visible()
    for link in links.all():
        assert link.get_attribute("href").startswith("https://")
        assert (link.get_attribute("target"), link.get_attribute("rel")) == ("_blank", "noopener noreferrer")
