"""Several visitors at once: each sees how many runs are before theirs, and who leaves makes room."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from head_atlas.app.engine import Engine
from head_atlas.app.library import Library
from head_atlas.app.limits import Limits
from head_atlas.app.look import launch_options
from head_atlas.app.page import build_page


@pytest.fixture
def served(place):
    """A server in this process, so that the test can hold its model."""

    def serve(limits):
        library = Library.of(str(place))
        engine = Engine(library, limits)
        page, _ = build_page(library, limits, engine)
        page.queue(max_size=limits.queue_size, api_open=False)
        _, url, _ = page.launch(prevent_thread_lock=True, server_name="127.0.0.1", **launch_options(library, limits))
        pages.append(page)
        return engine, url

    pages = []
    yield serve
    for page in pages:
        page.close()


def test_visitors_see_their_place_and_who_leaves_makes_room(served, open_page):
    engine, url = served(Limits())
    visitors = [open_page(f"{url}?tab=lab") for _ in range(3)]
    statuses = [page.locator("#lab-status") for page in visitors]
    for page, status in zip(visitors, statuses, strict=True):
        # The Lab runs what its address asks for.
        expect(page.locator("#lab-run")).to_be_visible()
        expect(status).to_contain_text("Ran with")
    with engine.use("small"):
        for n, (page, status) in enumerate(zip(visitors, statuses, strict=True), start=1):
            page.click("#lab-run")
            expect(status).to_contain_text("one run is before yours" if n == 1 else f"{n} runs are before yours")
        visitors[0].context.close()
        expect(statuses[1]).to_contain_text("one run is before yours")
        expect(statuses[2]).to_contain_text("2 runs are before yours")
    for status in statuses[1:]:
        expect(status).to_contain_text("Ran with")


def test_a_visitor_who_asks_too_often_reads_when_to_come_back(served, open_page):
    _, url = served(Limits(runs_per_minute=2))
    page = open_page(f"{url}?tab=lab")
    expect(page.locator("#lab-status")).to_contain_text("Ran with")
    page.click("#lab-run")
    page.click("#lab-run")
    page.click("#lab-run")
    expect(page.locator("#lab-status")).to_contain_text("At most 2 runs a minute are possible here")
    expect(page.locator("#lab-status")).to_contain_text("try again in")
    page.click("button[role=tab]:has-text('Atlas')")
    expect(page.locator("#tabs")).to_contain_text("L")
