"""What the page shows while answers are under way, or come late."""

from __future__ import annotations

import re

from playwright.sync_api import expect


def test_steps_back_in_a_row_end_at_the_head_of_the_address(open_page, full_server):
    page = open_page(full_server + "?tab=atlas&head=0.0")
    for head in ("0.1", "0.2", "1.0", "1.1", "1.2"):
        layer, number = head.split(".")
        page.locator(f"#atlas-grid .ha-cell[data-l='{layer}'][data-h='{number}']").click()
        page.wait_for_url(re.compile(f"head={re.escape(head)}"))
    # Faster than the server answers.
    for _ in range(4):
        page.evaluate("history.back()")
        page.wait_for_timeout(20)
    page.wait_for_url(re.compile("head=0.1"))
    expect(page.locator("#atlas-card h2")).to_have_text("L0H1")
    # And to go where one came from writes the address again.
    page.locator("#atlas-grid .ha-cell[data-l='1'][data-h='2']").click()
    page.wait_for_url(re.compile("head=1.2"))


def test_undo_brings_back_what_ran_and_not_what_was_typed_meanwhile(open_page, server):
    page = open_page(server + "?tab=lab&prompt=The+cat+sat&removed=1.1")
    said = page.locator("#lab-bars .ha-headline")
    expect(said).to_contain_text("L1H1")
    prompt = page.locator("#lab-prompt textarea")
    prompt.fill("The dog sat on the")
    page.locator("#lab-run").click()
    prompt.fill("never run")
    expect(page.locator("#lab-undo")).to_be_enabled()
    page.locator("#lab-clear").click()
    expect(said).to_contain_text("With all its heads")
    page.locator("#lab-undo").click()
    expect(said).to_contain_text("L1H1")
    expect(prompt).to_have_value("The dog sat on the")


def test_nothing_is_saved_of_a_figure_that_was_drawn_again(open_page, server):
    page = open_page(server + "?tab=lab&prompt=The+cat+sat&removed=1.1")
    expect(page.locator("#lab-bars .ha-headline")).to_contain_text("L1H1")
    page.locator("#lab-bars").get_by_role("button", name=re.compile("^Save: ")).click()
    # Another result arrives while the menu is open.
    page.evaluate("document.querySelector('#lab-clear').click()")
    expect(page.locator("#lab-bars .ha-headline")).to_contain_text("With all its heads")
    taken = []
    page.on("download", lambda download: taken.append(download))
    page.locator(".ha-save-list").get_by_role("button", name="SVG").click()
    expect(page.locator("#header .ha-sr[role=status]")).to_contain_text("Press Save again")
    assert taken == []


def test_what_a_row_means_goes_away_with_the_row(open_page, server):
    page = open_page(server + "?tab=lab&prompt=The+cat+sat&removed=1.1")
    expect(page.locator("#lab-bars .ha-headline")).to_contain_text("L1H1")
    page.keyboard.press("Tab")
    page.locator("#lab-bars .ha-dist-row[tabindex='0']").focus()
    expect(page.locator("p.ha-meaning")).to_be_visible()
    # Chromium sends a blur for what is taken out; others leave that to the page.
    assert page.evaluate("document.querySelector('.ha-dist-panel').contains(document.querySelector('p.ha-meaning'))")


def test_a_filter_that_was_being_typed_is_forgotten_with_its_table(open_page, two_server):
    page = open_page(two_server + "?tab=atlas&view=find")
    table = page.locator("#atlas-finder")
    table.locator("thead button").nth(2).click()
    page.wait_for_url("**/*sort=*")
    # The pause after typing ends once the other model is there; the page of the test notices every error.
    page.evaluate(
        """() => {
          const wait = window.setTimeout;
          window.setTimeout = (act, ms, ...rest) => wait(act, ms === 700 ? 5000 : ms, ...rest);
        }"""
    )
    table.get_by_label("Search").fill("L1")
    page.locator("#model input").click()
    page.get_by_role("option", name="other").click()
    page.wait_for_url("**/*model=other*")
    page.wait_for_timeout(5000)
    assert "find=" not in page.url
