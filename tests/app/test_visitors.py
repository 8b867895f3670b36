"""How much of the model's time one visitor may have, and who counts as one."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from types import SimpleNamespace

import httpx
import pytest
from gradio.context import LocalContext
from gradio_client import Client
from gradio_client.exceptions import AppError

from head_atlas.app.engine import Engine
from head_atlas.app.limits import Limits
from head_atlas.app.look import launch_options
from head_atlas.app.page import build_page
from head_atlas.app.visitors import Refused, Visitors, current_visitor

FREE = {"runs_per_minute": 0, "runs_at_once": 0, "reads_per_minute": 0}


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def visitors(clock=None, most_kept=100, **limits):
    return Visitors(Limits(**(FREE | limits)), clock or Clock(), most_kept)


def runs(counted, visitor, n=1):
    for _ in range(n):
        with counted.admitted(visitor):
            pass


def test_a_minutes_runs_may_come_at_once_and_then_one_by_one():
    clock = Clock()
    counted = visitors(clock, runs_per_minute=6)
    runs(counted, "a", 6)
    with pytest.raises(Refused, match=r"At most 6 runs a minute are possible here.*try again in 10 s"):
        runs(counted, "a")
    clock.now += 9
    with pytest.raises(Refused, match="try again in 1 s"):
        runs(counted, "a")
    clock.now += 1
    runs(counted, "a")
    with pytest.raises(Refused, match="try again in 10 s"):
        runs(counted, "a")
    clock.now += 3600
    runs(counted, "a", 6)
    with pytest.raises(Refused):
        runs(counted, "a")


def test_being_refused_costs_nothing():
    clock = Clock()
    counted = visitors(clock, runs_per_minute=1)
    runs(counted, "a")
    for _ in range(20):
        with pytest.raises(Refused):
            runs(counted, "a")
    clock.now += 60
    runs(counted, "a")


def test_one_visitor_takes_nothing_from_another():
    counted = visitors(runs_per_minute=1)
    runs(counted, "a")
    runs(counted, "b")


def test_runs_at_once_are_counted_while_they_last_and_also_after_an_error():
    counted = visitors(runs_at_once=2)
    with counted.admitted("a"), counted.admitted("a"):
        with pytest.raises(Refused, match="You have 2 runs under way or waiting"):
            runs(counted, "a")
        runs(counted, "b")
    with pytest.raises(ZeroDivisionError), counted.admitted("a"):
        raise ZeroDivisionError
    with counted.admitted("a"), counted.admitted("a"):
        pass


def test_all_visitors_together_have_so_many_places():
    counted = visitors(queue_size=2)
    full = pytest.raises(Refused, match="2 runs are under way or waiting already")
    with counted.admitted("a"), counted.admitted("b"), full:
        runs(counted, "c")
    runs(counted, "c")


def test_what_the_server_does_of_itself_is_not_counted():
    counted = visitors(runs_per_minute=1, queue_size=1)
    runs(counted, "", 5)
    runs(counted, "a")
    assert len(counted) == 1


def test_zero_is_no_limit():
    runs(visitors(), "a", 1000)


def test_calls_that_read_are_counted_by_themselves():
    clock = Clock()
    counted = visitors(clock, runs_per_minute=1, reads_per_minute=60)
    for _ in range(60):
        counted.read("a")
    with pytest.raises(Refused, match=r"At most 60 calls that read atlases are answered here in a minute.*in 1 s"):
        counted.read("a")
    counted.read("b")
    runs(counted, "a")
    with pytest.raises(Refused, match="At most 1 runs a minute"):
        runs(counted, "a")
    clock.now += 2
    for _ in range(2):
        counted.read("a")
    with pytest.raises(Refused):
        counted.read("a")
    for _ in range(1000):
        counted.read("")
        visitors().read("a")


def test_few_visitors_are_kept_and_none_that_runs():
    counted = visitors(runs_per_minute=1, most_kept=3)
    with counted.admitted("runs long"):
        for n in range(50):
            runs(counted, f"visitor {n}")
        assert len(counted) <= 4
        with pytest.raises(Refused):
            runs(counted, "runs long")
    with pytest.raises(Refused):
        runs(counted, "visitor 49")


@pytest.mark.parametrize(
    ("host", "visitor"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("no address " + 100 * "x", ("no address " + 100 * "x")[:64]),
        ("", "unknown"),
    ],
)
def test_a_visitor_is_an_address_or_a_network(host, visitor):
    token = LocalContext.request.set(SimpleNamespace(client=SimpleNamespace(host=host)))
    try:
        assert current_visitor() == visitor
    finally:
        LocalContext.request.reset(token)
    assert current_visitor() == ""


def chooses_a_measure(url, visitor):
    """The status of the event that the page sends when another measure is chosen."""
    config = httpx.get(f"{url}config").json()
    props = {part["id"]: part["props"] for part in config["components"]}
    (menu,) = (number for number, one in props.items() if one.get("elem_id") == "atlas-measure")
    event = next(one for one in config["dependencies"] if [menu, "input"] in [list(to) for to in one["targets"]])
    data = [props[number].get("value") for number in event["inputs"]]
    body = {"data": data, "fn_index": event["id"], "trigger_id": menu, "session_hash": "somebody"}
    return httpx.post(f"{url}gradio_api/run/predict", json=body, headers={"x-forwarded-for": visitor}).status_code


def test_programs_are_counted_by_the_address_that_a_trusted_proxy_names(library):
    limits = Limits(runs_per_minute=2, reads_per_minute=3)
    engine = Engine(library, limits)
    page, _ = build_page(library, limits, engine)
    page.queue(max_size=4, api_open=False)
    _, url, _ = page.launch(prevent_thread_lock=True, server_name="127.0.0.1", **launch_options(library, limits))

    def ablate(forwarded):
        headers = {"x-forwarded-for": forwarded} if forwarded else {}
        return Client(url, verbose=False, headers=headers).predict("The cat sat", api_name="/ablate")["mode"]

    try:
        assert [ablate(""), ablate("")] == ["zero", "zero"]
        with pytest.raises(AppError, match="At most 2 runs a minute"):
            ablate("")
        # The last address before the trusted proxy's own counts; what stands before it anyone may have written.
        assert [ablate("192.0.2.1"), ablate("198.51.100.9, 192.0.2.1")] == ["zero", "zero"]
        with pytest.raises(AppError, match="At most 2 runs a minute"):
            ablate("203.0.113.5, 192.0.2.1")
        assert ablate("192.0.2.2") == "zero"
        reader = Client(url, verbose=False, headers={"x-forwarded-for": "192.0.2.2"})
        for _ in range(3):
            assert reader.predict("0.4", api_name="/head_summary")["head"] == "0.4"
        for name, arguments in (("/list_models", ()), ("/head_summary", ("0.4",)), ("/head_summary", ("nonsense",))):
            with pytest.raises(AppError, match="At most 3 calls that read atlases"):
                reader.predict(*arguments, api_name=name)
        assert ablate("192.0.2.2") == "zero"
        assert Client(url, verbose=False).predict("0.4", api_name="/head_summary")["head"] == "0.4"
        assert [chooses_a_measure(url, "192.0.2.2") for _ in range(5)] == [200] * 5  # the page's own are not counted
        assert len(engine.visitors) == 3
    finally:
        page.close()


@pytest.mark.skipif(find_spec("mcp") is None, reason="needs requirements-mcp.txt")
@pytest.mark.parametrize(("comes_from", "proxy_adds"), [("127.0.0.2", ""), ("127.0.0.1", ", 192.0.2.1")])
def test_a_caller_of_tools_cannot_pose_as_several_visitors(library, comes_from, proxy_adds):
    """Whoever comes directly is not believed; behind a trusted proxy, the last address before it counts."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    limits = Limits(runs_per_minute=2)
    engine = Engine(library, limits)
    page, _ = build_page(library, limits, engine)
    page.queue(max_size=4, api_open=False)
    # The proxy that is believed is 127.0.0.1; all of 127.0.0.0/8 is this machine.
    _, url, _ = page.launch(
        prevent_thread_lock=True, server_name="127.0.0.1", mcp_server=True, **launch_options(library, limits)
    )
    route = httpx.AsyncHTTPTransport(local_address=comes_from)

    def client(headers=None, timeout=None, auth=None):
        return httpx.AsyncClient(headers=headers, timeout=timeout, auth=auth, transport=route, follow_redirects=True)

    async def ablate(forwarded):
        async with (
            streamablehttp_client(
                f"{url}gradio_api/mcp/", {"x-forwarded-for": forwarded}, httpx_client_factory=client
            ) as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            return await session.call_tool("ablate", {"prompt": "The cat sat"})

    def refused(forwarded):
        return asyncio.run(ablate(forwarded)).isError

    try:
        assert [refused(f"198.51.100.{n}{proxy_adds}") for n in range(3)] == [False, False, True]
        assert len(engine.visitors) == 1
    finally:
        page.close()
