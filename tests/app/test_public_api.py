"""The public calls from outside: by gradio_client, over plain HTTP and as MCP tools; and what they refuse."""

from __future__ import annotations

import asyncio
import inspect
import json
from pathlib import Path
from typing import get_args, get_type_hints

import gradio as gr
import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from head_atlas.app.engine import Engine
from head_atlas.app.limits import Limits
from head_atlas.app.look import launch_options
from head_atlas.app.page import build_page
from head_atlas.app.public_api import BrowsingCalls, ExperimentCalls, markdown, mcp_tools, published
from head_atlas.app.public_api.arguments import checked
from head_atlas.app.public_api.reference import documented
from head_atlas.errors import HeadAtlasError

PROMPT = "The cat sat on the"
NAMES = (*BrowsingCalls.NAMES, *ExperimentCalls.NAMES)
DOCS = Path(__file__).parents[2] / "docs" / "api.md"


@pytest.fixture(scope="module")
def url(library):
    limits = Limits(prompt_tokens=20)
    page, _ = build_page(library, limits, Engine(library, limits))
    page.queue(max_size=4, api_open=False)
    mcp = mcp_tools.offered({})
    _, address, _ = page.launch(
        prevent_thread_lock=True, server_name="127.0.0.1", mcp_server=mcp, **launch_options(library)
    )
    if mcp:
        mcp_tools.answer_in_json(page)
    yield address
    page.close()


@pytest.fixture(scope="module")
def client(url):
    return Client(url, verbose=False)


def posted(url: str, call: str, arguments: object) -> httpx.Response:
    return httpx.post(f"{url}gradio_api/call/v2/{call}", json=arguments, timeout=60)


def answered(url: str, call: str, arguments: object) -> tuple[str, object]:
    """The event and the data that a call by its two requests ends with."""
    event_id = posted(url, call, arguments).json()["event_id"]
    text = httpx.get(f"{url}gradio_api/call/v2/{call}/{event_id}", timeout=60).text
    *_, last = [part for part in text.split("\n\n") if part]
    event, data = last.split("\n")
    return event.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def test_programs_see_the_documented_calls_and_no_private_event(client, url):
    api = client.view_api(return_format="dict")
    assert set(api["named_endpoints"]) == {f"/{name}" for name in NAMES}
    assert not api["unnamed_endpoints"]
    told = httpx.get(f"{url}gradio_api/info").json()
    assert set(told["named_endpoints"]) == {f"/{name}" for name in NAMES}
    assert not told["unnamed_endpoints"]


def test_calls_take_no_place_on_the_page(library):
    page, _ = build_page(library, Limits())
    components = {one["id"]: one for one in page.config["components"]}
    own = [one["id"] for one in page.config["layout"]["children"]]
    assert "api" not in {components[i]["type"] for i in own}
    assert components[own[0]]["props"]["visible"] is False
    inside = page.config["layout"]["children"][0]["children"]
    assert {components[one["id"]]["type"] for one in inside} == {"api"}


def test_every_parameter_is_typed_and_described_to_programs(client):
    for name, endpoint in client.view_api(return_format="dict")["named_endpoints"].items():
        for parameter in endpoint["parameters"]:
            assert parameter["parameter_name"]
            assert parameter["python_type"]["type"] != "Any", (name, parameter)


def test_a_call_answers_to_python_and_to_plain_http(client, url):
    found = client.predict(PROMPT, heads="1.2, L2H5", contrast=" cat", api_name="/ablate")
    assert found["heads"] == ["1.2", "2.5"]
    event, (same,) = answered(url, "ablate", {"prompt": PROMPT, "heads": "1.2, L2H5", "contrast": " cat"})
    assert event == "complete"
    assert same["effects"] == pytest.approx(found["effects"], abs=1e-5)


def test_reading_and_null_cross_the_wire(client, library):
    found = client.predict("L2H5", measure="previous_token", api_name="/head_scores")["scores"]
    stored = float(library.atlas("small").summary["previous_token_natural_excess"][2, 5])
    (natural,) = [row for row in found if row["family"] == "natural"]
    assert natural["value"] == pytest.approx(stored)
    assert client.predict(PROMPT, api_name="/ablate")["effects"]["logit_difference"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"prompt": ""}, "The prompt is empty"),
        ({"prompt": "a " * 30}, "at most 20 are possible"),
        ({"prompt": PROMPT, "heads": "7.7"}, "There is no head 7.7"),
        ({"prompt": PROMPT, "mode": "magic"}, "mode must be one of"),
        ({"prompt": PROMPT, "heads": ["2.5"]}, "Heads must be a text, found list."),
    ],
)
def test_an_error_reaches_programs_as_a_sentence(client, url, arguments, words, capfd):
    with pytest.raises(AppError, match=words):
        client.predict(**arguments, api_name="/ablate")
    event, said = answered(url, "ablate", arguments)
    assert event == "error"
    assert words in said["error"]
    assert "Traceback" not in json.dumps(said) + "".join(capfd.readouterr())


def test_a_call_by_a_wrong_name_is_refused_in_a_sentence(url, capfd):
    assert posted(url, "nonsense", {}).json() == {"detail": "There is no call 'nonsense'; docs/api.md lists them."}
    assert posted(url, "nonsense", {}).status_code == 404
    missing, unknown = posted(url, "ablate", {}), posted(url, "ablate", {"prompt": PROMPT, "bogus": 1})
    assert (missing.status_code, unknown.status_code) == (422, 422)
    assert missing.json()["detail"] == "No value provided for required argument: prompt."
    assert unknown.json()["detail"] == "Parameter `bogus` is not a valid key-word argument."
    assert "Traceback" not in "".join(capfd.readouterr())


def test_other_failures_of_the_server_stay_failures():
    from head_atlas.app.public_api.refusals import exception_handlers

    for kind, handler in exception_handlers().items():
        for path in ("/gradio_api/queue/join", "/gradio_api/call/v2/ablate"):
            request = type("Request", (), {"url": httpx.URL(f"http://here{path}"), "method": "POST"})()
            with pytest.raises(kind, match="a bug"):
                asyncio.run(handler(request, kind("a bug")))


WRONG = {str: [None, 5, ["x"], {"x": 1}, True], int: [None, "5", 1.5, True, [1]], float: ["1", True, [1], {"x": 1}],
         bool: [None, 1, "true", [True]]}  # fmt: skip


@pytest.fixture(scope="module")
def calls(library, engine):
    both = (BrowsingCalls(library), ExperimentCalls(engine))
    return {name: published(getattr(one, name)) for one in both for name in one.NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_every_argument_of_a_wrong_type_is_refused(calls, name):
    call = calls[name]
    needed = {p: "x" for p, one in inspect.signature(call).parameters.items() if one.default is one.empty}
    for parameter, hint in get_type_hints(call).items():
        if parameter == "return":
            continue
        (kind,) = [one for one in get_args(hint) or (hint,) if one is not type(None)]
        for value in WRONG[kind]:
            with pytest.raises(gr.Error, match=f"{parameter[:1].upper()}{parameter[1:]} must be"):
                call(**(needed | {parameter: value}))


def words_of(call, arguments):
    """What a call refuses with; "" where it answers, which has to be JSON. Any other exception is a failure."""
    try:
        json.dumps(call(**arguments), allow_nan=False)
    except gr.Error as refusal:
        return refusal.message
    return ""


HOSTILE = ["", " ", "\0", "../../etc/passwd", "<img src=x onerror=alert(1)>", "{{x}} ${x} %s {0}", "9" * 5000,
           "L1H1," * 5000, "\ud800", "🦜" * 500, "x" * 200_000, "-1.-1", "nan"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_hostile_texts_are_answered_or_refused(calls, name):
    call = calls[name]
    usual = {"prompt": PROMPT, "corrupted": PROMPT, "head": "1.1"}
    types = {p: hint for p, hint in get_type_hints(call).items() if p != "return"}
    usual = {p: x for p, x in usual.items() if p in types and (p != "corrupted" or name == "patch")}
    for parameter in [p for p, hint in types.items() if hint is str]:
        for text in HOSTILE:
            assert len(words_of(call, usual | {parameter: text})) < 2500


@pytest.mark.parametrize("name", NAMES)
def test_enormous_numbers_are_refused_or_harmless(calls, name):
    call = calls[name]
    usual = {"prompt": PROMPT, "corrupted": PROMPT, "head": "1.1", "measure": "induction"}
    types = {p: hint for p, hint in get_type_hints(call).items() if p != "return"}
    usual = {p: x for p, x in usual.items() if p in types and (p != "corrupted" or name == "patch")}
    for parameter in [p for p, hint in types.items() if hint not in (str, bool)]:
        for number in (10**400, -(10**400), 1e308, float("inf"), float("nan"), 2**63):
            assert len(words_of(call, usual | {parameter: number})) < 2500


def test_numbers_are_read_as_json_writes_them():
    assert checked("n", 5.0, int) == 5
    assert checked("x", 5, float) == 5
    assert checked("x", None, float | None) is None
    for value, hint in ((5.5, int), (float("nan"), float), (True, int), (1, bool), ("\ud800", str)):
        with pytest.raises(HeadAtlasError):
            checked("it", value, hint)


@pytest.mark.parametrize("name", NAMES)
def test_every_call_is_documented(name):
    home = BrowsingCalls if name in BrowsingCalls.NAMES else ExperimentCalls
    words = documented(getattr(home, name))
    assert words.summary.endswith(".")
    assert words.returns
    assert f'api_name="/{name}"' in words.example


def test_a_docstring_that_leaves_an_argument_out_is_noticed():
    def call(one: str, other: str) -> dict:
        """Do something.

        Args:
            one: described.

        Returns:
            nothing.
        """

    with pytest.raises(ValueError, match="other"):
        documented(call)


def test_the_reference_is_what_the_docstrings_say():
    assert DOCS.read_text(encoding="utf-8") == markdown()


needs_mcp = pytest.mark.skipif(not mcp_tools.offered({}), reason="needs requirements-mcp.txt")


def with_mcp(url, work):
    """Run something with a session of a real MCP client."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    async def run():
        async with (
            streamablehttp_client(f"{url}gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            return await work(session)

    return asyncio.run(run())


@needs_mcp
def test_agents_see_the_same_calls(url):
    async def listed(session):
        return (await session.list_tools()).tools

    tools = {tool.name: tool for tool in with_mcp(url, listed)}
    assert set(tools) == set(NAMES)
    for name, tool in tools.items():
        home = BrowsingCalls if name in BrowsingCalls.NAMES else ExperimentCalls
        words = documented(getattr(home, name))
        assert tool.description == f"{words.summary} Returns: {words.returns}"
        described = {key: one["description"] for key, one in tool.inputSchema["properties"].items()}
        assert described == words.arguments
    assert tools["ablate"].inputSchema["required"] == ["prompt"]
    assert tools["find_heads"].inputSchema["properties"]["limit"]["type"] == "integer"


@needs_mcp
def test_agents_get_json(url, client):
    asked = {
        "find_heads": {"measure": "induction", "limit": 2},
        "head_summary": {"head": "1.2"},
        "ablate": {"prompt": PROMPT, "heads": "1.2"},
        "sweep": {"prompt": PROMPT},
    }

    async def called(session):
        return {name: await session.call_tool(name, arguments) for name, arguments in asked.items()}

    for name, result in with_mcp(url, called).items():
        assert not result.isError
        (content,) = result.content
        assert json.loads(content.text) == client.predict(**asked[name], api_name=f"/{name}")


@needs_mcp
@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("ablate", {"prompt": ""}, "The prompt is empty"),
        ("ablate", {"prompt": 5}, "not of type 'string'"),
        ("ablate", {}, "'prompt' is a required property"),
        ("ablate", {"prompt": PROMPT, "bogus": 1}, "bogus"),
        ("head_scores", {"head": "9.9"}, "There is no head 9.9"),
        ("nonsense", {}, "Unknown tool"),
        ("lambda", {}, "Unknown tool"),
    ],
)
def test_agents_are_told_what_was_wrong(url, tool, arguments, words):
    async def called(session):
        return await session.call_tool(tool, arguments)

    result = with_mcp(url, called)
    assert result.isError
    assert words in result.content[0].text
    assert "Traceback" not in result.content[0].text


def test_the_server_starts_without_mcp(monkeypatch, capsys):
    monkeypatch.setattr(mcp_tools, "find_spec", lambda _: None)
    assert not mcp_tools.offered({})
    assert "pip install -r requirements-mcp.txt" in capsys.readouterr().err
    monkeypatch.setattr(mcp_tools, "find_spec", lambda _: object())
    assert mcp_tools.offered({})
    assert not mcp_tools.offered({"MCP": "0"})
