"""What stands beside what: rows of inputs, panels with nothing to show, the foot of the page."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from conftest import DESKTOP, PHONE

ROWS = """() => [...document.querySelectorAll('.form')].filter((form) => form.checkVisibility()).flatMap((form) => {
  const inputs = [...form.children].map((block) => [block, block.querySelector('.wrap-inner, textarea, input')]);
  return inputs.filter(([, input]) => input && input.checkVisibility()).map(([block, input]) => {
    const at = input.getBoundingClientRect();
    // A tick box is lower than a field: what counts is its middle.
    const row = [...document.querySelectorAll('.form')].indexOf(form);
    const top = Math.round(block.getBoundingClientRect().top);
    return { row: `${row} ${top}`, id: block.id, middle: (at.top + at.bottom) / 2 };
  });
})"""
"""Every input that stands in a row with others: which row, by the top of its block, and where its middle is."""


def crooked(page) -> tuple[list[str], int]:
    """Inputs that do not stand on the line of their row, and how many rows have more than one."""
    rows: dict[str, list[dict]] = {}
    for each in page.evaluate(ROWS):
        rows.setdefault(each["row"], []).append(each)
    several = [row for row in rows.values() if len(row) > 1]
    faults = [
        f"{each['id']} is {each['middle'] - row[0]['middle']:.1f} px off the line of {row[0]['id']}"
        for row in several
        for each in row
        if abs(each["middle"] - row[0]["middle"]) > 2
    ]
    return faults, len(several)


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE])
def test_the_inputs_of_a_row_stand_on_one_line(open_page, server, viewport):
    page = open_page(server + "?tab=lab", viewport=viewport)
    expect(page.locator("#lab-bars .ha-headline")).to_be_visible(timeout=60_000)
    found, n_rows = crooked(page)
    for tab in page.locator("#lab-analyses").get_by_role("tab").all():
        tab.click()
        expect(
            page.locator(
                "#lab-analyses [role=tabpanel]:visible .ha-box, #lab-analyses [role=tabpanel]:visible .block"
            ).first
        ).to_be_visible()
        faults, n = crooked(page)
        found, n_rows = [*found, *faults], n_rows + n
    assert found == []
    assert n_rows > 4


def test_with_no_head_chosen_the_atlas_keeps_no_room_for_one(open_page, server):
    page = open_page(server + "?tab=atlas")
    expect(page.locator("#atlas-grid .ha-cell").first).to_be_visible()
    expect(page.locator("#atlas-card .ha-empty")).to_be_visible()
    for name in ("previous", "next", "live", "other", "prompts", "examples", "page", "note"):
        expect(page.locator(f"#atlas-{name}")).to_be_hidden()
    panel = page.locator("#tabs > [role=tabpanel]:visible")
    ends = "e => e.getBoundingClientRect().bottom - parseFloat(getComputedStyle(e).paddingBottom)"
    below = panel.evaluate(ends) - panel.locator(".ha-columns").evaluate("e => e.getBoundingClientRect().bottom")
    assert below <= 1
    page.locator("#atlas-grid [data-l='1'][data-h='1']").click()
    for name in ("previous", "next", "live", "other", "page"):
        expect(page.locator(f"#atlas-{name}")).to_be_visible()


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE])
def test_no_dot_stands_at_an_end_of_the_foot(open_page, server, viewport):
    page = open_page(server, viewport=viewport)
    expect(page.locator("#start-grid .ha-cell").first).to_be_visible()
    seen = page.locator("footer").evaluate(
        "foot => [...foot.children].filter((c) => c.checkVisibility()).map((c) => c.textContent.trim())"
    )
    assert "·" not in (*seen[:1], *seen[-1:])


def test_about_fills_its_width_from_top_to_bottom(open_page, server):
    page = open_page(server + "?tab=about")
    expect(page.locator("#about-card dd").first).to_be_visible()
    boxes = page.locator("#tabs [role=tabpanel]:visible .ha-box").evaluate_all(
        "boxes => boxes.map((b) => { const at = b.getBoundingClientRect(); return [at.left, at.right]; })"
    )
    assert len({(round(left), round(right)) for left, right in boxes}) == 1
    ends = page.locator("#about-card .ha-card-panel > section").evaluate_all(
        "all => all.map((s) => [s.getBoundingClientRect().left, s.getBoundingClientRect().bottom])"
    )
    columns = {round(left): max(bottom for at, bottom in ends if round(at) == round(left)) for left, _ in ends}
    top = page.locator("#about-card .ha-card-panel > section").first.bounding_box()["y"]
    assert len(columns) == 2
    assert min(columns.values()) - top > 0.5 * (max(columns.values()) - top)
