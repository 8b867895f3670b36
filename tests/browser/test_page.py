from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import gradio
import pytest
from playwright.sync_api import expect

from conftest import DESKTOP, HOSTILE, PHONE

PATIENT = 60_000


def cell(page, where: str, layer: int, head: int):
    return page.locator(f"{where} [data-l='{layer}'][data-h='{head}']")


def query(page) -> dict[str, str]:
    return {key: values[0] for key, values in parse_qs(urlsplit(page.url).query).items()}


def no_overflow(page) -> None:
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0, f"{wide} px too wide"


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE])
def test_every_tab_fits_and_paints(open_page, server, viewport, dark):
    page = open_page(server, viewport=viewport, dark=dark)
    expect(page.locator("#start-grid .ha-cell")).to_have_count(24)
    assert page.evaluate("document.body.classList.contains('dark')") is dark
    no_overflow(page)
    for tab, landmark in (
        ("Atlas", "#atlas-grid .ha-cell"),
        ("Lab", "#lab-grid .ha-cell"),
        ("Learn", "#learn-setup dd"),
        ("About", "#about-card dd"),
    ):
        page.get_by_role("tab", name=tab).click()
        expect(page.locator(landmark).first).to_be_visible()
        no_overflow(page)
    page.get_by_role("tab", name="Atlas").click()
    cell(page, "#atlas-grid", 1, 1).click()
    expect(page.locator("#atlas-card h2")).to_have_text("L1H1")
    no_overflow(page)


def test_a_click_opens_a_head_and_the_address_follows(open_page, server):
    page = open_page(server + "?tab=atlas")
    cell(page, "#atlas-grid", 2, 5).click()
    expect(page.locator("#atlas-card h2")).to_have_text("L2H5")
    expect(page.locator("#atlas-head input, #atlas-head textarea")).to_have_value("2.5")
    expect(cell(page, "#atlas-grid", 2, 5)).to_have_attribute("aria-selected", "true")
    page.wait_for_url(re.compile("head=2.5"))
    cell(page, "#atlas-grid", 0, 1).click()
    page.wait_for_url(re.compile("head=0.1"))
    page.go_back()
    expect(page.locator("#atlas-card h2")).to_have_text("L2H5")
    expect(cell(page, "#atlas-grid", 2, 5)).to_have_attribute("aria-selected", "true")


def test_a_grid_is_reached_by_keyboard_alone(open_page, server):
    page = open_page(server + "?tab=atlas")
    cells = page.locator("#atlas-grid .ha-cell")
    expect(cells).to_have_count(24)
    assert page.locator("#atlas-grid .ha-cell[tabindex='0']").count() == 1
    cell(page, "#atlas-grid", 0, 0).focus()
    for key in ("ArrowDown", "ArrowDown", "End", "ArrowLeft"):
        page.keyboard.press(key)
    expect(page.locator("#atlas-grid .ha-grid-info")).to_contain_text("L2H4")
    page.keyboard.press("Enter")
    expect(page.locator("#atlas-card h2")).to_have_text("L2H4")
    assert page.evaluate("document.activeElement.dataset.l + '.' + document.activeElement.dataset.h") == "2.4"
    assert page.locator("#atlas-grid .ha-cell[tabindex='0']").count() == 1
    page.keyboard.press("Control+Home")
    expect(page.locator("#atlas-grid .ha-grid-info")).to_contain_text("L0H0")
    page.keyboard.press("ArrowUp")
    expect(page.locator("#atlas-grid .ha-grid-info")).to_contain_text("L0H0")


def test_a_typed_head_opens_and_an_unknown_one_is_a_message(open_page, server):
    page = open_page(server + "?tab=atlas")
    box = page.locator("#atlas-head input, #atlas-head textarea")
    box.fill("L3H2")
    box.press("Enter")
    expect(page.locator("#atlas-card h2")).to_have_text("L3H2")
    box.fill("9.9")
    box.press("Enter")
    expect(page.locator("#atlas-note")).to_contain_text("There is no head 9.9")
    # The card of another head would look like an answer.
    expect(page.locator("#atlas-card")).to_contain_text("There is no head 9.9")
    expect(page.locator("#atlas-card h2")).to_have_count(0)
    expect(page.locator("#atlas-grid [aria-selected='true']")).to_have_count(0)
    box.fill("L3H2")
    box.press("Enter")
    expect(page.locator("#atlas-card h2")).to_have_text("L3H2")


def test_choosing_an_effect_recolours_and_shows_families(open_page, server):
    page = open_page(server + "?tab=atlas&head=1.1")
    before = cell(page, "#atlas-grid", 1, 1).text_content()
    page.locator("#atlas-measure input").click()
    page.get_by_role("option", name="Effect · KL divergence").click()
    expect(page.locator("#atlas-family")).to_be_visible()
    expect(page.locator("#atlas-sentence")).to_contain_text("distribution changes without the head")
    expect(page.locator("#atlas-grid .ha-legend")).to_contain_text("nats")
    page.wait_for_url(re.compile("measure=kl"))
    assert cell(page, "#atlas-grid", 1, 1).text_content() != before
    page.locator("#atlas-family input").click()
    page.get_by_role("option", name="ioi").click()
    page.wait_for_url(re.compile("family=ioi"))
    # The head's page marks the row of what the map shows, before it is loaded again and after.
    row = page.locator("#atlas-page .ha-forest .is-current")
    expect(row).to_contain_text("ioi")
    page.reload()
    expect(page.locator("#atlas-card h2")).to_have_text("L1H1")
    expect(page.locator("#atlas-family input")).to_have_value("ioi")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("ioi")


def test_an_address_restores_the_lab_with_its_result(open_page, server):
    page = open_page(server + "?tab=lab&prompt=The+cat+sat+on+the&removed=1.2,2.5&__theme=dark")
    expect(page.locator("#lab-prompt textarea")).to_have_value("The cat sat on the")
    expect(page.locator("#lab-removed input, #lab-removed textarea")).to_have_value("1.2, 2.5")
    expect(page.locator("#lab-bars .ha-headline")).to_contain_text("Without L1H2, L2H5", timeout=PATIENT)
    expect(cell(page, "#lab-grid", 1, 2)).to_have_class(re.compile("is-removed"))
    cell(page, "#lab-grid", 0, 0).click()
    expect(page.locator("#lab-bars .ha-headline")).to_contain_text("Without L1H2, L2H5, L0H0")
    page.wait_for_url(re.compile("removed=1.2,2.5,0.0"))
    assert query(page)["__theme"] == "dark"


def script_of_the_timer() -> str:
    """The file of Gradio's front end that the page's clock is in."""
    files = Path(gradio.__file__).parent.glob("templates/frontend/assets/Index-*.js")
    (found,) = (file.name for file in files if "dispatch(`tick`)" in file.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("impatient", [False, True])
def test_an_address_restores_the_page_however_late_a_component_comes(open_page, server, impatient):
    held: list = []
    address = server + "?tab=lab&prompt=The+cat+sat+on+the&removed=1.2"
    page = open_page(address, hold=held, late=script_of_the_timer())
    expect(page.locator("#start-grid .ha-cell")).to_have_count(24)
    if impatient:
        # Gradio keeps the mouse away from a page that is not complete, but not the keyboard.
        page.get_by_role("tab", name="Atlas").press("Enter")
        expect(page.locator("#atlas-grid .ha-cell")).to_have_count(24)
    # Gradio fills the page once all of it is drawn. Until then there is time for everything else that the page does.
    page.wait_for_timeout(2000)
    assert held
    assert page.url == address
    for request in held:
        request.continue_()
    expect(page.get_by_role("tab", name="Lab")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#lab-prompt textarea")).to_have_value("The cat sat on the")
    expect(page.locator("#lab-bars .ha-headline")).to_contain_text("Without L1H2", timeout=PATIENT)
    assert page.url == address
    page.get_by_role("tab", name="Learn").click()
    page.wait_for_url(re.compile("tab=learn"))


def test_an_address_restores_what_the_lab_measures(open_page, server):
    page = open_page(
        server + "?tab=lab&prompt=The+cat+sat+on+the&removed=1.2&target=token+id+7&contrast=·cat&colour=kl"
    )
    expect(page.locator("#lab-bars .is-target").first).to_be_visible(timeout=PATIENT)
    expect(page.locator("#lab-contrast input")).to_have_value("·cat")
    expect(page.locator("#lab-colour input")).to_have_value("Here: KL divergence")
    expect(page.locator("#lab-chips")).to_contain_text("over “·cat”")
    expect(cell(page, "#lab-grid", 0, 0)).to_have_attribute("title", re.compile("Measure every head"))
    page.locator("#lab-colour input").click()
    page.get_by_role("option", name="Atlas: induction").click()
    page.wait_for_url(lambda url: "colour" not in url)
    assert (query(page)["target"], query(page)["contrast"]) == ("token id 7", "·cat")
    page.go_back()
    expect(page.locator("#lab-colour input")).to_have_value("Here: KL divergence")


def test_a_hostile_prompt_stays_text_everywhere(open_page, server):
    page = open_page(server + f"?tab=lab&removed=1.1&prompt={quote(HOSTILE)}")
    expect(page.locator("#lab-bars .ha-headline")).to_contain_text("Without L1H1", timeout=PATIENT)
    shown = "".join(page.locator("#lab-chips .ha-chip").all_text_contents()[1:]).replace("·", " ")
    assert shown == HOSTILE
    page.locator("#lab-analyses").get_by_role("tab", name="Attention").click()
    expect(page.locator("#lab-attention .ha-strip")).to_be_visible()
    page.locator("#lab-prompt textarea").fill(HOSTILE + " again")
    page.locator("#lab-run").click()
    expect(page.locator("#lab-status")).to_contain_text("Ran with L1H1 removed")
    page.wait_for_url(re.compile("again"))
    assert page.evaluate("window.pwned") is None
    assert page.locator("#tabs img[src='x'], #tabs script").count() == 0


@pytest.mark.parametrize(
    ("prompt", "words"), [("", "The prompt is empty"), ("word " * 300, "at most 128 are possible here")]
)
def test_a_prompt_that_cannot_be_run_is_a_sentence(open_page, server, prompt, words):
    page = open_page(server + "?tab=lab")
    expect(page.locator("#lab-status")).to_contain_text("Ran with all heads", timeout=PATIENT)
    page.locator("#lab-prompt textarea").fill(prompt)
    page.locator("#lab-run").click()
    expect(page.locator("#lab-status")).to_contain_text(words)
    expect(page.locator("#lab-bars .ha-dist-row")).to_have_count(0)
    page.locator("#lab-prompt textarea").fill("The cat sat")
    page.locator("#lab-run").click()
    expect(page.locator("#lab-bars .ha-dist-row").first).to_be_visible(timeout=PATIENT)


def test_measuring_every_head_paints_the_grid(open_page, server):
    page = open_page(server + "?tab=lab&prompt=The+cat+sat")
    expect(page.locator("#lab-status")).to_contain_text("Ran with", timeout=PATIENT)
    page.locator("#lab-sweep").click()
    expect(page.locator("#lab-status")).to_contain_text("Every head was removed alone", timeout=PATIENT)
    expect(page.locator("#lab-grid .paint-none")).to_have_count(0)
    expect(page.locator("#lab-grid .ha-legend")).to_contain_text("nats")
    page.locator("#lab-prompt textarea").fill("The cat sat on")
    page.locator("#lab-run").click()
    # Another prompt makes the sweep stale: hatched again, with the reason at hand.
    expect(page.locator("#lab-grid .paint-none")).to_have_count(24)
    expect(cell(page, "#lab-grid", 0, 0)).to_have_attribute("title", re.compile("Measure every head"))


QUICKLY = """async ([where, heads]) => {
  for (const [l, h] of heads) {
    document.querySelector(`${where} [data-l='${l}'][data-h='${h}']`).click();
    await new Promise((done) => setTimeout(done, 15));
  }
}"""


def click_quickly(page, where: str, *heads: tuple[int, int]) -> None:
    """Clicks that follow each other faster than answers come."""
    page.evaluate(QUICKLY, [where, heads])


def test_quick_clicks_in_the_lab_all_count(open_page, server):
    page = open_page(server + "?tab=lab&prompt=The+cat+sat+on+the&removed=0.5")
    expect(page.locator("#lab-bars .ha-headline")).to_contain_text("Without L0H5", timeout=PATIENT)
    click_quickly(page, "#lab-grid", (1, 2), (2, 5), (3, 1), (2, 5))
    expect(page.locator("#lab-bars .ha-headline")).to_contain_text(
        "Without L0H5, L1H2, L3H1, the model", timeout=PATIENT
    )
    click_quickly(page, "#lab-grid", (0, 5))
    # The next one comes while a run is under way.
    page.wait_for_timeout(60)
    click_quickly(page, "#lab-grid", (0, 1))
    expect(page.locator("#lab-bars .ha-headline")).to_contain_text(
        "Without L1H2, L3H1, L0H1, the model", timeout=PATIENT
    )
    expect(page.locator("#lab-removed input, #lab-removed textarea")).to_have_value("1.2, 3.1, 0.1")
    expect(page.locator("#lab-grid .is-removed")).to_have_count(3)
    page.wait_for_url(re.compile("removed=1.2,3.1,0.1"))
    box = page.locator("#lab-removed input, #lab-removed textarea")
    box.fill("2.2, 1.1")
    cell(page, "#lab-grid", 0, 0).click()
    expect(page.locator("#lab-bars .ha-headline")).to_contain_text(
        "Without L2H2, L1H1, L0H0, the model", timeout=PATIENT
    )
    expect(page.locator("#lab-grid .is-removed")).to_have_count(3)
    box.fill("2.2, 1.x")
    cell(page, "#lab-grid", 0, 3).click()
    expect(page.locator("#lab-status")).to_contain_text("1.x")
    expect(box).to_have_value("2.2, 1.x")
    expect(cell(page, "#lab-grid", 0, 3)).not_to_have_class(re.compile("is-removed"))


def test_quick_clicks_in_the_atlas_end_on_the_last(open_page, server):
    page = open_page(server + "?tab=atlas")
    expect(page.locator("#atlas-grid .ha-cell")).to_have_count(24)
    click_quickly(page, "#atlas-grid", (1, 2), (2, 5), (3, 1))
    expect(page.locator("#atlas-card h2")).to_have_text("L3H1")
    expect(cell(page, "#atlas-grid", 3, 1)).to_have_attribute("aria-selected", "true")
    expect(page.locator("#atlas-grid [aria-selected='true']")).to_have_count(1)
    page.wait_for_url(re.compile("head=3.1"))


def test_all_induction_heads_are_removed_with_one_click(open_page, server):
    page = open_page(server + "?tab=lab")
    expect(page.locator("#lab-status")).to_contain_text("Ran with", timeout=PATIENT)
    expect(page.get_by_text("induction excess of at least 0.3").first).to_be_visible()
    page.locator("#lab-induction").click()
    expect(page.locator("#lab-bars .ha-headline")).to_contain_text("Without")
    expect(page.locator("#lab-grid .is-removed")).not_to_have_count(0)
    page.locator("#lab-clear").click()
    expect(page.locator("#lab-bars .ha-headline")).to_contain_text("With all its heads")
    expect(page.locator("#lab-grid .is-removed")).to_have_count(0)


def test_attention_has_a_cross_hair_for_mouse_and_keys(open_page, server):
    page = open_page(server + "?tab=lab&prompt=The+cat+sat+on+the&removed=0.1&head=3.2")
    page.locator("#lab-analyses").get_by_role("tab", name="Attention").click()
    canvases = page.locator("#lab-attention canvas")
    expect(canvases).to_have_count(3, timeout=PATIENT)
    info = page.locator("#lab-attention .ha-grid-info")
    canvases.nth(0).focus()
    expect(info).to_contain_text("query 5 “·the” reads key 0")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    expect(info).to_contain_text("query 4 “·on” reads key 1 “The”")
    expect(info).to_contain_text(re.compile(r"clean 0\.\d{3} · ablated 0\.\d{3} · difference [+−]?0\.\d{3}"))
    canvases.nth(1).hover(position={"x": 110, "y": 8})
    expect(info).to_contain_text("query 0")
    page.locator("#lab-picker [data-l='2'][data-h='2']").click()
    expect(page.locator("#lab-head input, #lab-head textarea")).to_have_value("2.2")
    expect(canvases.nth(0)).to_have_attribute("aria-label", re.compile("L2H2"))


def test_the_landing_experiment_leads_to_the_lab(open_page, server):
    page = open_page(server)
    expect(page.locator("#start-experiment .ha-condition")).to_have_count(3, timeout=PATIENT)
    page.locator("#start-try").click()
    expect(page.locator("#lab-bars .ha-headline")).to_contain_text("Without", timeout=PATIENT)
    page.wait_for_url(re.compile("tab=lab"))
    assert query(page)["removed"]


def test_a_head_on_the_landing_page_opens_its_card(open_page, server):
    page = open_page(server)
    cell(page, "#start-grid", 1, 3).click()
    expect(page.locator("#atlas-card h2")).to_have_text("L1H3")
    page.wait_for_url(re.compile("tab=atlas"))


def test_light_and_dark_can_be_chosen_and_are_kept(open_page, server):
    page = open_page(server)
    paper = "getComputedStyle(document.querySelector('.ha-box')).backgroundColor"
    light = page.evaluate(paper)
    page.locator(".ha-theme").click()
    assert page.evaluate("document.body.classList.contains('dark')")
    assert page.evaluate(paper) != light
    # A page left in the middle of an answer logs that it was cut off.
    expect(page.locator("#start-experiment .ha-condition")).to_have_count(3, timeout=PATIENT)
    page.reload()
    page.wait_for_selector("#start-grid .ha-cell")
    expect(page.locator("#start-experiment .ha-condition")).to_have_count(3)
    assert page.evaluate("document.body.classList.contains('dark')")


CONTRASTS = (Path(__file__).parent / "contrasts.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("dark", [False, True])
def test_text_has_enough_contrast_on_every_colour(open_page, server, dark):
    page = open_page(server, dark=dark)
    page.wait_for_selector("#start-grid .ha-cell")
    worst = page.evaluate(CONTRASTS)
    assert {name: round(x, 2) for name, x in worst.items() if x < 4.5} == {}


def test_an_address_of_another_model_shows_that_model_on_every_tab(open_page, two_server):
    page = open_page(two_server + "?model=other&tab=about")
    expect(page.locator("#about-card")).to_contain_text("2 layers × 3 heads")
    expect(page.locator("#start-grid .ha-cell")).to_have_count(6)
    expect(page.locator("#start-experiment")).to_contain_text("cannot be run here", timeout=PATIENT)
    page.get_by_role("tab", name="Learn").click()
    expect(page.locator("#learn-setup dd").first).to_be_visible()
    chapter = page.locator("#learn-setup").text_content()
    page.locator("#model input").click()
    page.get_by_role("option", name="small").click()
    expect(page.locator("#learn-setup dd").first).to_be_visible()
    expect(page.locator("#learn-setup")).not_to_have_text(chapter)
    page.get_by_role("tab", name="Start").click()
    expect(page.locator("#start-grid .ha-cell")).to_have_count(24)
    expect(page.locator("#start-experiment .ha-condition")).to_have_count(3, timeout=PATIENT)
    page.get_by_role("tab", name="Lab").click()
    page.locator("#lab-run").click()
    expect(page.locator("#lab-bars .ha-headline")).to_be_visible(timeout=PATIENT)
    page.locator("#model input").click()
    page.get_by_role("option", name="other").click()
    expect(page.locator("#lab-grid .ha-cell")).to_have_count(6)
    expect(page.locator("#lab-bars")).to_contain_text("Press “Run”")
    # The address is written last; before that, Back would lead one step further.
    page.wait_for_url(re.compile("tab=lab&model=other"))
    page.go_back()
    expect(page.locator("#lab-grid .ha-cell")).to_have_count(24)
    expect(page.locator("#lab-bars .ha-headline")).to_be_visible(timeout=PATIENT)


def test_a_table_that_was_left_open_bears_a_change_of_the_model(open_page, two_server):
    page = open_page(two_server + "?model=small&tab=atlas&head=0.4&view=find")
    expect(page.locator("#atlas-finder tbody tr")).to_have_count(24)
    page.get_by_role("tab", name="Heat map").click()
    expect(page.locator("#atlas-grid .ha-cell").first).to_be_visible()
    page.locator("#model input").click()
    page.get_by_role("option", name="other").click()
    expect(page.locator("#atlas-grid .ha-cell")).to_have_count(6)
    page.get_by_role("tab", name="Find heads").click()
    expect(page.locator("#atlas-finder tbody tr")).to_have_count(6)


def test_a_damaged_atlas_a_hostile_one_and_none_at_all(open_page, troubled_server):
    page = open_page(troubled_server, viewport=PHONE)
    expect(page.locator("#notice")).to_contain_text("atlas.h5")
    expect(page.locator("#start-grid")).to_contain_text("The Lab does not need an atlas")
    no_overflow(page)
    page.locator("#model input").click()
    page.get_by_role("option", name="hostile").click()
    expect(page.locator("#start-grid .ha-cell")).to_have_count(24)
    expect(page.locator("#start-experiment")).to_contain_text("cannot be run here", timeout=PATIENT)
    for tab in ("Atlas", "Learn", "About", "Lab"):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(200)
        no_overflow(page)
    page.get_by_role("tab", name="About").click()
    expect(page.locator("#about-card h2")).to_have_text(HOSTILE)
    page.get_by_role("tab", name="Atlas").click()
    cell(page, "#atlas-grid", 1, 1).click()
    expect(page.locator("#atlas-card")).to_contain_text(HOSTILE)
    page.get_by_role("tab", name="Lab").click()
    page.locator("#lab-run").click()
    expect(page.locator("#lab-status")).to_contain_text("config.json", timeout=PATIENT)
    page.get_by_role("tab", name="Atlas").click()
    cell(page, "#atlas-grid", 1, 2).click()
    expect(page.locator("#atlas-card h2")).to_have_text("L1H2")
    assert page.evaluate("window.pwned") is None
    page.locator("#model input").click()
    page.get_by_role("option", name="gone").click()
    expect(page.locator("#notice")).to_contain_text("gone")


def test_an_address_that_asks_for_too_much_says_so(open_page, server):
    page = open_page(server + "?tab=atlas&head=9.9&measure=beauty&model=gpt9&mode=gentle&family=royal")
    for words in (
        *("There is no head 9.9", "no measure “beauty”", "No model “gpt9”"),
        *("no ablation mode “gentle”", "no prompt family “royal”"),
    ):
        expect(page.locator("#notice")).to_contain_text(words)
    expect(page.locator("#atlas-grid .ha-cell")).to_have_count(24)
