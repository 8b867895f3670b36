"""The Lab's analyses in a real browser."""

from __future__ import annotations

from urllib.parse import quote
from xml.etree import ElementTree

import pytest
from playwright.sync_api import expect

from conftest import DESKTOP, HOSTILE, PHONE

PATIENT = 90_000
LAB = "?tab=lab&prompt=The+cat+sat+on+the+mat.+The+cat+sat+on+the&removed=1.2,2.5"


def open_lab(open_page, server, address=LAB, **options):
    page = open_page(server + address, **options)
    expect(page.locator("#lab-bars .ha-headline")).to_be_visible(timeout=PATIENT)
    return page


def to_tab(page, name):
    page.locator("#lab-analyses").get_by_role("tab", name=name).click()


def measure(page, key):
    page.locator(f"#lab-{key}-run").click()
    expect(page.locator(f"#lab-{key}-status .is-done")).to_be_visible(timeout=PATIENT)


def no_overflow(page):
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0, f"{wide} px too wide"


@pytest.mark.parametrize(("viewport", "dark"), [(DESKTOP, False), (PHONE, True)])
def test_analyses_draw_and_fit(open_page, server, viewport, dark):
    page = open_lab(open_page, server, viewport=viewport, dark=dark)
    measure(page, "attribution")
    expect(page.locator("#lab-attribution .ha-chart")).to_be_visible()
    no_overflow(page)
    for tab, key, landmark in (
        ("All heads", "heads", ".ha-table tbody tr"),
        ("Layers", "lens", ".ha-mcell"),
        ("Generation", "generation", ".ha-chip"),
    ):
        to_tab(page, tab)
        measure(page, key)
        expect(page.locator(f"#lab-{key} {landmark}").first).to_be_visible()
        no_overflow(page)


def test_a_matrix_is_read_by_keyboard(open_page, server):
    page = open_lab(open_page, server)
    to_tab(page, "Layers")
    measure(page, "lens")
    page.locator("#lab-lens .ha-mcell[tabindex='0']").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    expect(page.locator("#lab-lens .ha-grid-info").first).to_contain_text("after L0")
    assert page.locator("#lab-lens .ha-mcell[tabindex='0']").count() == 1


def test_all_heads_of_a_role_are_removed_by_one_choice(open_page, server):
    page = open_lab(open_page, server)
    page.locator("#lab-role input").click()
    option = page.get_by_role("option").first
    n = int(option.inner_text().rsplit(": ", 1)[1])
    option.click()
    removed = page.locator("#lab-removed input, #lab-removed textarea")
    expect(removed).not_to_have_value("1.2,2.5")
    expect(page.locator("#lab-status")).to_contain_text("Ran with", timeout=PATIENT)
    assert len(removed.input_value().split(", ")) == n
    expect(page.locator("#lab-role input")).to_have_value("")  # heads may now be put back one by one
    page.locator("#lab-run").click()  # the same once more: the list keeps what was before
    expect(page.locator("#lab-undo")).to_be_enabled()
    page.locator("#lab-undo").click()
    expect(page.locator("#lab-bars .ha-headline")).to_contain_text("Without L1H2, L2H5", timeout=PATIENT)


def test_undo_the_list_and_the_pin_bring_experiments_back(open_page, server):
    page = open_lab(open_page, server)
    expect(page.locator("#lab-undo")).to_be_disabled()
    page.locator("#lab-pin").click()
    expect(page.locator("#lab-pinned .ha-headline")).to_contain_text("Without L1H2, L2H5")
    page.locator("#lab-grid [data-l='0'][data-h='0']").click()
    expect(page.locator("#lab-bars .ha-headline")).to_contain_text("Without L1H2, L2H5, L0H0")
    expect(page.locator("#lab-pinned .ha-headline")).not_to_contain_text("L0H0")
    page.locator("#lab-undo").click()
    expect(page.locator("#lab-bars .ha-headline")).not_to_contain_text("L0H0", timeout=PATIENT)
    expect(page.locator("#lab-removed input, #lab-removed textarea")).to_have_value("1.2, 2.5")


def test_what_is_done_with_a_result_is_offered_once_there_is_one(open_page, server):
    page = open_page(server)
    page.get_by_role("tab", name="Lab").click()
    expect(page.locator("#lab-run")).to_be_visible()
    offered = [page.locator(f"#lab-{name}") for name in ("take", "pin", "attribution-take")]
    for button in offered:
        expect(button).to_be_hidden()
    page.locator("#lab-run").click()
    expect(page.locator("#lab-bars .ha-headline")).to_be_visible(timeout=PATIENT)
    measure(page, "attribution")
    for button in offered:
        expect(button).to_be_visible()


def test_menus_that_are_only_passed_leave_the_result_and_its_files(open_page, server):
    page = open_lab(open_page, server)
    page.locator("#lab-take").click()
    expect(page.locator("#lab-files .ha-file").first).to_be_visible(timeout=PATIENT)
    for menu in ("model", "lab-target", "lab-contrast", "lab-mode"):
        page.locator(f"#{menu} input").focus()
        page.keyboard.press("Tab")
    page.wait_for_timeout(1500)
    expect(page.locator("#lab-files .ha-file").first).to_be_visible()
    page.locator("#lab-grid [data-l='0'][data-h='0']").click()
    expect(page.locator("#lab-bars .ha-headline")).to_contain_text("L0H0", timeout=PATIENT)
    expect(page.locator("#lab-files .ha-file")).to_have_count(0)


def test_a_run_goes_on_when_the_model_menu_is_only_passed(open_page, server):
    page = open_lab(open_page, server)
    to_tab(page, "All heads")
    page.locator("#lab-heads-run").click()
    page.locator("#model input").focus()
    page.keyboard.press("Tab")
    expect(page.locator("#lab-heads-status .is-done")).to_be_visible(timeout=PATIENT)


def test_an_own_model_shows_nothing_of_the_one_before(open_page, server):
    page = open_lab(open_page, server)
    page.locator("#lab-take").click()
    expect(page.locator("#lab-files .ha-file").first).to_be_visible(timeout=PATIENT)
    page.get_by_text("Your own model").click()
    page.locator("#lab-place input, #lab-place textarea").fill("nobody/nothing")
    page.locator("#lab-open").click()
    expect(page.locator("#model input")).to_have_value("nothing")
    expect(page.locator("#lab-grid")).to_contain_text("once the model is loaded")
    expect(page.locator("#lab-bars .ha-headline")).to_have_count(0)
    expect(page.locator("#lab-files .ha-file")).to_have_count(0)
    page.wait_for_url("**model=nothing**")
    page.get_by_role("tab", name="Atlas", exact=True).click()
    expect(page.locator("#atlas-grid")).to_contain_text("without an atlas")
    page.locator("#model input").click()
    page.get_by_role("option").first.click()
    expect(page.locator("#atlas-grid .ha-cell").first).to_be_visible()


def test_a_figure_of_another_experiment_says_so(open_page, server):
    page = open_lab(open_page, server)
    to_tab(page, "Generation")
    measure(page, "generation")
    page.locator("#lab-grid [data-l='0'][data-h='0']").click()
    expect(page.locator("#lab-generation-status")).to_contain_text("Of an earlier experiment", timeout=PATIENT)


def test_a_hostile_prompt_stays_text_in_every_figure(open_page, server):
    page = open_lab(open_page, server, f"?tab=lab&removed=1.1&prompt={quote(HOSTILE)}")
    to_tab(page, "Layers")
    measure(page, "lens")
    to_tab(page, "Generation")
    measure(page, "generation")
    page.locator("#lab-generation-take").click()
    expect(page.locator("#lab-generation-files .ha-file").first).to_be_visible()
    to_tab(page, "Layers")
    page.locator("#lab-lens .ha-save").first.click()
    with page.expect_download() as download:
        page.locator(".ha-save-list").get_by_role("button", name="SVG").click()
    ElementTree.parse(download.value.path())
    assert page.evaluate("window.pwned") is None
