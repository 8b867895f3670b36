"""The page's HTML is made once for each address that the server is reached by."""

from __future__ import annotations

import asyncio
import json

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from head_atlas.app.front_page import FrontPage
from head_atlas.app.library import Library
from head_atlas.app.limits import Limits
from head_atlas.app.look import launch_options
from head_atlas.app.page import build_page


@pytest.fixture
def made():
    """Addresses for which a page was made."""
    return []


@pytest.fixture
def client(made):
    async def page(request: Request) -> Response:
        made.append(str(request.url))
        await asyncio.sleep(0)
        found = HTMLResponse(f"<p>{request.url.netloc} {request.headers.get('x-forwarded-proto')} {len(made)}</p>")
        if "status" in request.headers:
            found.status_code = int(request.headers["status"])
        if "log-in" in request.headers:
            found.set_cookie("who", "me")
        return found

    inner = Starlette(routes=[Route("/", page), Route("/other", page)])
    return TestClient(FrontPage(inner, most_kept=3), base_url="http://atlas.org")


def test_the_page_is_made_once_whoever_asks_and_whatever_for(client, made):
    first = client.get("/", headers={"user-agent": "one", "x-forwarded-for": "1.1.1.1", "cookie": "a=b"})
    second = client.get("/?tab=atlas&head=2.5", headers={"user-agent": "two", "x-forwarded-for": "2.2.2.2"})
    assert first.text == second.text == "<p>atlas.org None 1</p>"
    assert first.headers == second.headers
    assert len(made) == 1


def test_each_address_of_the_server_has_a_page_of_its_own(client):
    assert client.get("/", headers={"host": "other.org"}).text.startswith("<p>other.org None")
    assert client.get("/").text.startswith("<p>atlas.org None")
    assert client.get("/", headers={"x-forwarded-proto": "https"}).text.startswith("<p>atlas.org https")
    assert client.get("/", headers={"unknown": "x"}).text.endswith("4</p>")


@pytest.mark.parametrize("path", ["/other", "/?embed=1&head=2.5", "/?deep_link=x", "/?a=b&page=", "/?%65mbed=1"])
def test_other_pages_are_made_each_time(client, made, path):
    client.get("/")
    assert [client.get(path).text[-6:] for _ in range(2)] == [" 2</p>", " 3</p>"]
    assert client.post("/").status_code == 405
    assert len(made) == 3


@pytest.mark.parametrize("headers", [{"status": "500"}, {"log-in": "1"}])
def test_an_error_and_a_page_of_one_visitor_are_not_kept(client, made, headers):
    for _ in range(2):
        client.get("/", headers=headers)
    assert len(made) == 2


def test_the_address_that_was_asked_for_the_longest_ago_is_forgotten(client, made):
    for host in ("a", "b", "c", "a", "d", "a", "b"):
        client.get("/", headers={"host": host})
    assert [url.removeprefix("http://").rstrip("/") for url in made] == ["a", "b", "c", "d", "b"]


def test_gradios_page_names_the_server_as_the_visitor_reaches_it(place):
    library = Library.of(str(place))
    page, _ = build_page(library, Limits())
    app, _, _ = page.launch(prevent_thread_lock=True, **launch_options(library))
    try:
        client = TestClient(app)
        mark = "window.gradio_config = "
        for headers, root in (
            ({"host": "atlas.org"}, "http://atlas.org"),
            ({"host": "inner", "x-forwarded-host": "atlas.org", "x-forwarded-proto": "https"}, "https://atlas.org"),
            ({"host": "atlas.org"}, "http://atlas.org"),
        ):
            text = client.get("/", headers=headers).text
            config, _ = json.JSONDecoder().raw_decode(text, text.index(mark) + len(mark))
            assert config["root"] == root
    finally:
        page.close()
