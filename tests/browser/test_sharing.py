from __future__ import annotations

import csv
import json
import re
import xml.etree.ElementTree as ET
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

SVG = "{http://www.w3.org/2000/svg}"


def saved(page, panel, kind: str) -> bytes:
    """The file that a panel's first "Save" menu gives, taken by keyboard alone."""
    opener = panel.get_by_role("button", name=re.compile("^Save: ")).first
    opener.focus()
    page.keyboard.press("Enter")
    choice = page.locator(".ha-save-list").get_by_role("button", name=kind, exact=True)
    expect(choice).to_be_visible()
    choice.focus()
    with page.expect_download() as waiting:
        page.keyboard.press("Enter")
    expect(opener).to_be_focused()
    assert re.fullmatch(rf"head-atlas-[a-z0-9.-]+\.{kind.lower()}", waiting.value.suggested_filename)
    return waiting.value.path().read_bytes()


def read_csv(content: bytes) -> tuple[dict, list[dict]]:
    lines = content.decode().splitlines()
    about = dict(line[2:].split(": ", 1) for line in lines if line.startswith("# "))
    return {k: json.loads(v) for k, v in about.items()}, list(
        csv.DictReader(x for x in lines if not x.startswith("# "))
    )


def test_a_map_is_saved_as_picture_and_numbers(open_page, full_server):
    page = open_page(full_server + "?tab=atlas&measure=logit_difference&family=ioi&head=1.2", dark=True)
    panel = page.locator("#atlas-grid")
    expect(panel.locator(".ha-cell")).to_have_count(6)
    root = ET.fromstring(saved(page, panel, "SVG"))
    words = [node.text for node in root.iter(f"{SVG}text")]
    assert {"L0", "H2", "logits"} <= set(words)
    assert "logit_difference" in root.find(f"{SVG}desc").text
    # Light paper, whatever the page is: as many coloured cells as heads.
    assert root.find(f"{SVG}rect").get("fill") == "#ffffff"
    cells = [
        r for r in root.iter(f"{SVG}rect") if r.get("rx") and float(r.get("height")) > 40 and r.get("fill") != "none"
    ]
    assert len(cells) == 6
    assert page.evaluate("document.body.classList.contains('dark')")
    assert saved(page, panel, "PNG").startswith(b"\x89PNG")
    about, rows = read_csv(saved(page, panel, "CSV"))
    assert [row["head"] for row in rows] == ["0.0", "0.1", "0.2", "1.0", "1.1", "1.2"]
    assert (about["measure"], about["family"], about["mode"]) == ("logit_difference", "ioi", "zero")
    assert len(about["atlas_sha256"]) == 64
    whole = json.loads(saved(page, panel, "JSON"))
    assert [row["value"] for row in whole["rows"]] == [float(row["value"]) if row["value"] else None for row in rows]


def test_a_picture_of_a_run_has_its_legend_and_says_its_headline_once(open_page, server):
    page = open_page(server + "?tab=lab&prompt=The+cat+sat+on+the&removed=1.2", dark=True)
    expect(page.locator("#lab-bars .key-ablated")).to_be_visible(timeout=90_000)
    headline = page.locator("#lab-bars .ha-headline").inner_text()
    root = ET.fromstring(saved(page, page.locator("#lab-bars"), "SVG"))
    assert "".join(root.find(f"{SVG}title").text.split()) == "".join(headline.split())
    said = "".join("".join(node.itertext()) for node in root.iter(f"{SVG}text"))
    assert "".join(said.split()).count("".join(headline.split())[:12]) == 1
    swatches = [(r.get("width"), r.get("height"), r.get("fill")) for r in root.iter(f"{SVG}rect")]
    assert len({fill for width, height, fill in swatches if (width, height) == ("12", "8")}) == 2
    # Two attributions stand below each other: each has its own name, and so its own file.
    names = [
        page.locator(f"#{panel} .ha-chips").get_attribute("aria-label") for panel in ("lab-chips", "lab-chips-without")
    ]
    assert names == ["Attribution per token, with all heads", "Attribution per token, without L1H2"]


def test_hostile_tokens_are_text_in_every_file(open_page, full_server):
    page = open_page(full_server + "?tab=atlas&head=1.2")
    # The page's own tokens, made as bad as they can be.
    page.evaluate(
        """() => {
          const rows = [['=cmd()', -1], ['@x', 1], ['a"b, c', null]];
          const table = () => ({ columns: ['token', 'value'], rows });
          const node = document.createElement('div');
          node.id = 'bad';
          node.append('</svg><script>window.pwned = 1</script> ${1} \\u0000\\u0008 ]]>');
          const opener = document.createElement('button');
          opener.setAttribute('aria-label', 'Save: bad');
          const what = { figure: () => node, table, about: { model_id: '../..\\n=1' } };
          opener.onclick = () => window.haSave(opener, '</title><script>', what);
          node.append(opener);
          document.body.append(node);
        }"""
    )
    panel = page.locator("#bad")
    root = ET.fromstring(saved(page, panel, "SVG"))
    assert {node.tag.removeprefix(SVG) for node in root.iter()}.isdisjoint({"script", "foreignObject", "a", "style"})
    assert root.find(f"{SVG}title").text == "</title><script>"
    assert "</svg><script>window.pwned" in " ".join(node.text or "" for node in root.iter(f"{SVG}text"))
    about, rows = read_csv(saved(page, panel, "CSV"))
    assert about["model_id"] == "../..\n=1"
    assert [row["token"] for row in rows[:2]] == ["'=cmd()", "'@x"]
    assert rows[0]["value"] == "-1"
    assert json.loads(saved(page, panel, "JSON"))["rows"][0] == {"token": "=cmd()", "value": -1}
    assert page.evaluate("window.pwned") is None


def test_no_cell_of_a_saved_table_is_a_formula(open_page, full_server):
    page = open_page(full_server + "?tab=atlas&head=1.2")
    about = {
        "prompt": 'He said,=1+1, "x",@y; -2+3, a - b',
        "tokens": ["=cmd()", '"=a', "-5"],
        "numbers": [1, -2],
        "=k": None,
    }
    page.evaluate(
        """(about) => {
          const opener = document.createElement('button');
          opener.setAttribute('aria-label', 'Save: bad');
          const rows = [['a,=1', -1]];
          const table = () => ({ columns: ['x', '=y'], rows });
          opener.onclick = () => window.haSave(opener, '+1,=2', { table, about: { about } });
          const panel = document.createElement('div');
          panel.id = 'bad';
          panel.append(opener);
          document.body.append(panel);
        }""",
        about,
    )
    content = saved(page, page.locator("#bad"), "CSV")
    found, _ = read_csv(content)
    assert (found["title"], found["about"]) == ("+1,=2", about)
    cells = [cell.strip() for row in csv.reader(content.decode().splitlines()) for cell in row]
    cells += [cell.strip() for row in csv.reader(content.decode().splitlines(), delimiter=";") for cell in row]
    assert not [cell for cell in cells if re.match(r"[=+@\t]|-[^\d]|-\d[^\]},]", cell)]


def test_the_address_brings_the_table_back_as_it_was(open_page, full_server):
    page = open_page(full_server + "?tab=atlas&view=find&role=induction&sort=head:up&where=sink:1e9..")
    table = page.locator("#atlas-finder")
    expect(table.get_by_label("Role or state")).to_have_value("induction")
    expect(table.get_by_label("Where")).to_have_value("sink")
    expect(table.locator("tbody tr")).to_have_count(0)
    table.get_by_label("Where").select_option("")
    table.get_by_label("Role or state").select_option("")
    expect(table.locator("tbody th").first).to_have_text("L0H0")
    page.wait_for_url(lambda url: "where" not in url and "role" not in url)
    table.get_by_label("Search").fill("L1")
    page.wait_for_url(re.compile("find=L1"))
    assert parse_qs(urlsplit(page.url).query)["sort"] == ["head:up"]
    expect(table.locator("tbody tr")).to_have_count(3)
    page.go_back()
    expect(table.get_by_label("Search")).to_have_value("")
    expect(table.locator("tbody tr")).to_have_count(6)
    page.go_forward()
    expect(table.locator("tbody tr")).to_have_count(3)


def test_a_hostile_filter_is_refused_with_a_sentence(open_page, full_server):
    page = open_page(full_server + "?tab=atlas&view=find&role=%3Cimg%20src%3Dx%3E&where=sink:nan..")
    expect(page.locator("#notice")).to_contain_text("holds the role or state “<img src=x>”")
    expect(page.locator("#notice")).to_contain_text("cannot be filtered by “sink:nan..”")
    expect(page.locator("#atlas-finder tbody tr")).to_have_count(6)


@pytest.mark.parametrize("clipboard", [True, False])
def test_the_link_is_copied_or_stands_selected(open_page, full_server, clipboard):
    page = open_page(full_server + "?tab=atlas&head=1.2&__theme=dark")
    expect(page.locator("#atlas-card h2")).to_have_text("L1H2")
    if clipboard:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    else:
        page.evaluate(
            "Object.defineProperty(navigator, 'clipboard', { value: undefined }); document.execCommand = () => false;"
        )
    page.get_by_role("tab", name="Learn").click()
    page.wait_for_url(re.compile("tab=learn"))
    page.get_by_role("tab", name="Atlas").click()
    page.wait_for_url(re.compile("tab=atlas"))
    page.get_by_role("button", name="Copy link").focus()
    page.keyboard.press("Enter")
    expected = re.sub("&?__theme=dark", "", page.url)
    if clipboard:
        expect(page.locator("#header .ha-copied")).to_have_text("Copied")
        assert page.evaluate("navigator.clipboard.readText()") == expected
    else:
        expect(page.locator("#header .ha-copied")).to_contain_text("Ctrl+C")
        field = page.get_by_label("Link to what is shown")
        expect(field).to_be_focused()
        assert page.evaluate("getSelection().toString() || document.activeElement.value") == expected
        page.keyboard.press("Escape")
        expect(page.get_by_role("button", name="Copy link")).to_be_focused()


@pytest.mark.parametrize("width", [320, 600])
def test_a_framed_card_shows_one_head_and_fits(chromium, full_server, width):
    context = chromium.new_context(viewport={"width": width + 40, "height": 700})
    page, trouble = context.new_page(), []
    page.on("console", lambda m: trouble.append(m.text) if m.type == "error" else None)
    page.set_content(
        f"<iframe src='{full_server}?embed=1&model=full&head=1.2&__theme=dark' width='{width}' height='620'></iframe>"
    )
    card = page.frame_locator("iframe")
    expect(card.locator("h1")).to_have_text("L1H2")
    expect(card.locator("article.ha-headline-panel")).to_have_count(1)
    expect(card.locator(".ha-forest .ha-bar-row").nth(1)).to_be_visible()
    expect(card.get_by_role("tab")).to_have_count(0)
    link = card.get_by_role("link", name="Open in Head Atlas")
    assert link.get_attribute("rel") == "noopener"
    assert link.get_attribute("target") == "_blank"
    frame = page.frames[1]
    assert frame.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    assert frame.evaluate("document.body.classList.contains('dark')")
    assert frame.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(24, 32, 35)"
    with context.expect_page() as waiting:
        link.click()
    expect(waiting.value.locator("#atlas-card h2")).to_have_text("L1H2")
    context.close()
    assert trouble == []


def test_the_page_gives_the_frame_to_copy(open_page, full_server):
    page = open_page(full_server + "?tab=atlas&head=1.2")
    page.get_by_text("Embed this card").click()
    code = page.get_by_label("HTML that embeds the card of L1H2").input_value()
    source = re.search('src="([^"]+)"', code)[1].replace("&#38;", "&")
    assert source == f"{full_server}?embed=1&model=full&head=1.2"
    assert 'title="Attention head L1H2"' in code


def test_a_chapters_file_says_what_stands_on_screen_and_calls_nothing_else_a_probability(open_page, server):
    page = open_page(server + "?tab=learn&chapter=attribution")
    page.locator("#learn-prediction input").first.click()
    page.locator("#learn-run").click()
    rows = page.locator("#learn-result .ha-condition")
    expect(rows.first).to_be_visible()
    _, found = read_csv(saved(page, page.locator("#learn-result"), "CSV"))
    # A sign in front has its apostrophe.
    assert [row["measured"].lstrip("'") for row in found] == rows.locator(".ha-num").all_inner_texts()
    assert "nats" in found[0]["measured"]
    assert "probability" not in found[0]


def test_the_save_menu_closes_by_its_own_button_and_the_tab_key_goes_on_from_there(open_page, full_server):
    page = open_page(full_server + "?tab=atlas&head=1.2")
    opener = page.locator("#atlas-grid .ha-save")
    menu = page.locator(".ha-save-list")
    opener.click()
    expect(menu).to_be_visible()
    opener.click()
    expect(menu).to_be_hidden()
    expect(opener).to_have_attribute("aria-expanded", "false")
    opener.click()
    expect(menu.get_by_role("button").first).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(opener).to_be_focused()
    page.keyboard.press("Enter")
    # Opening moves the focus into the menu, a moment later: what comes before that would be undone.
    expect(menu.get_by_role("button").first).to_be_focused()
    menu.get_by_role("button").last.focus()
    page.keyboard.press("Tab")
    expect(menu).to_be_hidden()
    assert page.evaluate(
        "!!(document.querySelector('#atlas-grid .ha-save').compareDocumentPosition(document.activeElement) & 4)"
    )


def test_the_frame_shows_the_ablation_mode_that_is_on_screen(open_page, full_server):
    page = open_page(full_server + "?tab=atlas&head=1.2&mode=mean")
    expect(page.locator("#atlas-card h2")).to_have_text("L1H2")
    page.get_by_text("Embed this card").click()
    code = page.get_by_label("HTML that embeds the card of L1H2").input_value()
    assert "&#38;mode=mean" in code
