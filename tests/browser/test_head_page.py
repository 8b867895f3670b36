from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import expect

from conftest import PHONE


def opened(open_page, server, query, **more):
    page = open_page(server + query, **more)
    expect(page.locator("#atlas-card h2").first).to_be_visible()
    return page


def test_one_head_is_selected_in_every_view(open_page, full_server):
    page = opened(open_page, full_server, "?tab=atlas&head=1.2")
    page.get_by_role("tab", name="Scatter").click()
    selected = page.locator("#atlas-scatter [aria-selected='true']")
    expect(selected).to_have_count(1)
    expect(selected).to_have_attribute("aria-label", re.compile("^L1H2"))
    other = page.locator("#atlas-scatter .ha-point[aria-label^='L0H1']")
    other.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#atlas-card h2")).to_have_text("L0H1")
    page.get_by_role("tab", name="Find heads").click()
    expect(page.locator("#atlas-finder tr.is-selected th")).to_have_text("L0H1")
    page.locator("#atlas-finder").get_by_role("button", name="L1H0").click()
    expect(page.locator("#atlas-card h2")).to_have_text("L1H0")
    page.get_by_role("tab", name="Heat map").click()
    expect(page.locator("#atlas-grid [data-l='1'][data-h='0']")).to_have_attribute("aria-selected", "true")
    expect(page).to_have_url(re.compile("head=1.0"))


def saved(page, panel, kind: str) -> str:
    """The text of the file that a panel's first "Save" menu gives."""
    panel.get_by_role("button", name=re.compile("^Save: ")).first.click()
    with page.expect_download() as waiting:
        page.locator(".ha-save-list").get_by_role("button", name=kind, exact=True).click()
    return waiting.value.path().read_text(encoding="utf-8")


def test_example_prompts_are_chosen_once_there_is_a_head(open_page, full_server):
    page = open_page(full_server + "?tab=atlas")
    cell = page.locator("#atlas-grid .ha-cell").first
    expect(cell).to_be_visible()
    expect(page.locator("#atlas-prompts")).to_be_hidden()
    cell.click()
    expect(page.locator("#atlas-prompts")).to_be_visible()


def test_the_address_opens_the_view_and_both_heads(open_page, full_server):
    page = opened(open_page, full_server, "?tab=atlas&head=1.2&other=0.1&view=find")
    expect(page.locator("#atlas-card h2")).to_have_text(["L1H2", "L0H1"])
    expect(page.locator("#atlas-finder tbody tr")).to_have_count(6)
    expect(page.locator("#atlas-page .ha-group").first.locator(".ha-sections")).to_have_count(2)


def test_heads_are_found_by_role_value_and_words_and_ranked(open_page, full_server):
    page = opened(open_page, full_server, "?tab=atlas&head=1.2&view=find")
    table = page.locator("#atlas-finder")
    expect(table.locator("tbody tr")).to_have_count(6)
    table.get_by_label("Role or state").select_option("induction")
    expect(table.locator("tbody tr")).to_have_count(1)
    table.get_by_label("Role or state").select_option("")
    table.get_by_label("Search").fill("L0")
    expect(table.locator("tbody tr")).to_have_count(3)
    table.get_by_role("button", name="head", exact=True).click()
    table.get_by_role("button", name="head", exact=True).click()
    expect(table.locator("tbody th")).to_have_text(["L0H0", "L0H1", "L0H2"])
    rows = json.loads(saved(page, table, "JSON"))["rows"]
    assert [row["head"] for row in rows] == ["L0H0", "L0H1", "L0H2"]


def test_pointing_at_a_token_shows_where_the_head_looks(open_page, full_server):
    page = opened(open_page, full_server, "?tab=atlas&head=1.2")
    tokens = page.locator("#atlas-examples [role='option']")
    tokens.nth(0).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    info = page.locator("#atlas-examples .ha-grid-info")
    expect(info).to_contain_text("0.75 · elsewhere 0.25")
    expect(tokens.nth(1)).to_have_class(re.compile("paint-high"))
    tokens.nth(0).hover()
    expect(info).to_contain_text("0.20")


def test_partners_and_steps_lead_to_other_heads(open_page, full_server):
    page = opened(open_page, full_server, "?tab=atlas&head=1.2")
    page.locator("#atlas-page .kind-partners").get_by_role("button", name="L0H1").first.click()
    expect(page.locator("#atlas-card h2")).to_have_text("L0H1")
    expect(page.locator("#atlas-grid [data-l='0'][data-h='1']")).to_have_attribute("aria-selected", "true")
    page.locator("#atlas-next").click()
    expect(page.locator("#atlas-card h2")).to_have_text("L0H2")
    expect(page.locator("#atlas-head input, #atlas-head textarea")).to_have_value("0.2")


def test_hostile_tokens_are_text(open_page, full_server):
    page = opened(open_page, full_server, "?tab=atlas&head=1.2")
    expect(page.locator("#atlas-page .kind-tokens").first).to_contain_text("<img src=x onerror=alert(1)> ${alert(2)}")
    assert page.locator("#atlas-page img, #atlas-examples img, #learn-superposition img").count() == 0


def test_an_exemplar_is_tested_live_with_its_head_removed(open_page, full_server):
    page = opened(open_page, full_server, "?tab=atlas&head=1.2")
    page.get_by_role("button", name="Test it live").first.click()
    expect(page.locator("#lab-removed input, #lab-removed textarea")).to_have_value("1.2")
    expect(page.get_by_role("tab", name="Lab")).to_have_attribute("aria-selected", "true")


@pytest.mark.parametrize("view", ["map", "scatter", "find"])
def test_a_phone_shows_the_page_without_scrolling_sideways(open_page, full_server, view):
    page = opened(open_page, full_server, f"?tab=atlas&head=1.2&other=0.1&view={view}", viewport=PHONE)
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_the_learn_tab_shows_superposition(open_page, full_server):
    page = open_page(full_server + "?tab=learn&chapter=superposition")
    expect(page.locator("#learn-atlas h2")).to_have_text("Superposition in this model")
    expect(page.locator("#learn-atlas .ha-neurons h4").first).to_contain_text("Layer 1, neuron 0")
