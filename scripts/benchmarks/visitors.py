"""A visitor of the app without a browser: a session of its own that sends the events that the page sends."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

ACTIONS = ("page opened", "heat map: measure", "heat map: family", "head page", "next head", "finder", "scatter")
_SHARES = (0.0, 0.25, 0.2, 0.3, 0.1, 0.08, 0.07)
_API = "gradio_api/"
_MARK = "window.gradio_config = "


@dataclass(frozen=True)
class Answer:
    """One action, answered.

    Attributes:
        action: one of `ACTIONS`.
        milliseconds: until the whole answer was there.
        sent: bytes of the request.
        received: bytes of the answer, as they came over the line.
        failure: what went wrong, or "".
    """

    action: str
    milliseconds: float
    sent: int
    received: int
    failure: str = ""


@dataclass(frozen=True)
class Server:
    """A running app, as its page describes it.

    Attributes:
        url: of the page.
        page_ms: milliseconds that the page's HTML took.
        page_bytes: of that HTML.
        values: of every component, by its number.
        numbers: of the components, by their id in the page.
        events: of the page, as Gradio's configuration has them.
    """

    url: str
    page_ms: float
    page_bytes: int
    values: Mapping[int, Any]
    numbers: Mapping[str, int]
    choices: Mapping[str, list[str]]
    events: list[dict[str, Any]] = field(repr=False)

    @classmethod
    def of(cls, url: str) -> Server:
        """Read the page.

        Raises:
            ValueError: it is not a page of Gradio's.
        """
        began = time.perf_counter()
        with urllib.request.urlopen(url) as answer:
            content = answer.read()
        took = 1000 * (time.perf_counter() - began)
        text = content.decode()
        config, _ = json.JSONDecoder().raw_decode(text, text.index(_MARK) + len(_MARK))
        props = {part["id"]: part["props"] for part in config["components"]}
        return cls(
            url=url,
            page_ms=took,
            page_bytes=len(content),
            values={number: one.get("value") for number, one in props.items()},
            numbers={one["elem_id"]: number for number, one in props.items() if one.get("elem_id")},
            choices={
                one["elem_id"]: [value for _, value in one["choices"]]
                for one in props.values()
                if one.get("elem_id") and one.get("choices")
            },
            events=config["dependencies"],
        )

    def event(self, name: str, trigger: str) -> dict[str, Any]:
        """The event of a component."""
        wanted = [self.numbers[name], trigger]
        return next(event for event in self.events if wanted in [list(target) for target in event["targets"]])

    def after(self, event: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The events that follow one."""
        return [other for other in self.events if other.get("trigger_after") == event["id"]]


class Visitor:
    """One session: what its page holds, and what it does."""

    def __init__(self, server: Server, client: httpx.AsyncClient, seed: int) -> None:
        self.server, self.client = server, client
        self.session = uuid.UUID(int=seed + 1).hex[-11:]
        self.values = dict(server.values)
        self.rng = np.random.default_rng(seed)

    async def opened(self) -> Answer:
        """The page is opened: its HTML, and the events that fill it."""
        began = time.perf_counter()
        page = await self.client.get(self.server.url)
        received, sent, failure = len(page.content), 0, ""
        for event in self.server.events:
            if [trigger for _, trigger in event["targets"]] == ["load"]:
                answer = await self.send(event)
                received, sent, failure = received + answer[1], sent + answer[0], failure or answer[2]
        return Answer("page opened", 1000 * (time.perf_counter() - began), sent, received, failure)

    async def acts(self) -> Answer:
        """One action, by chance; what the page does after it is not in its time."""
        action = str(self.rng.choice(ACTIONS, p=_SHARES))
        name, trigger, event_data = _EVENTS[action](self)
        event = self.server.event(name, trigger)
        began = time.perf_counter()
        sent, received, failure = await self.send(event, event_data)
        took = 1000 * (time.perf_counter() - began)
        for following in self.server.after(event):
            _, _, trouble = await self.send(following)
            failure = failure or trouble
        return Answer(action, took, sent, received, failure)

    async def send(self, event: Mapping[str, Any], event_data: Any = None) -> tuple[int, int, str]:
        """Send an event with what the page holds, and keep what it fills; bytes sent and received, and a failure."""
        body = json.dumps(
            {
                "data": [self.values.get(number) for number in event["inputs"]],
                "event_data": event_data,
                "fn_index": event["id"],
                "trigger_id": event["targets"][0][0] if event["targets"] else None,
                "session_hash": self.session,
            }
        ).encode()
        try:
            answer = await self.client.post(
                f"{self.server.url}{_API}run/predict", content=body, headers={"Content-Type": "application/json"}
            )
        except httpx.HTTPError as error:
            return len(body), 0, f"{type(error).__name__} {error}"
        if answer.status_code != 200:
            return len(body), len(answer.content), f"event {event['id']}: {answer.status_code} {answer.text[:200]}"
        for number, value in zip(event["outputs"], answer.json()["data"], strict=True):
            if isinstance(value, dict) and value.get("__type__") == "update":
                if "value" in value:
                    self.values[number] = value["value"]
            else:
                self.values[number] = value
        return len(body), answer.num_bytes_downloaded, ""

    def hold(self, name: str, value: Any) -> None:
        """The visitor set a component."""
        self.values[self.server.numbers[name]] = value

    def choose(self, name: str) -> tuple[str, str, None]:
        """Another entry of a menu."""
        self.hold(name, str(self.rng.choice(self.server.choices[name])))
        return name, "input", None

    def click(self) -> tuple[str, str, dict[str, Any]]:
        """A cell of the heat map."""
        grid = self.values[self.server.numbers["atlas-grid"]]
        at = [int(self.rng.integers(grid[key])) for key in ("n_layers", "n_heads")]
        self.hold("atlas-grid", {**grid, "selected": at})
        return "atlas-grid", "select", {"index": at, "value": None}


_EVENTS: Mapping[str, Callable[[Visitor], tuple[str, str, Any]]] = {
    "heat map: measure": lambda visitor: visitor.choose("atlas-measure"),
    "heat map: family": lambda visitor: visitor.choose("atlas-family"),
    "head page": Visitor.click,
    "next head": lambda _: ("atlas-next", "click", None),
    "finder": lambda _: ("atlas-views", "select", {"id": "find", "value": "Find heads", "index": 2}),
    "scatter": lambda _: ("atlas-views", "select", {"id": "scatter", "value": "Scatter", "index": 1}),
}


async def visit(server: Server, seed: int, wait: float, seconds: float, every: float) -> list[Answer]:
    """Open the page after `wait` seconds, then act at random times until `seconds` have passed.

    The times from one action to the next are exponential with a mean of `every` seconds: they do not wait for answers,
    and no two visitors keep in step.
    """
    until = time.monotonic() + seconds
    await asyncio.sleep(wait)
    found, times = [], np.random.default_rng([seed, 1])
    headers = {"Accept-Encoding": "gzip, deflate, br"}
    async with httpx.AsyncClient(timeout=30, headers=headers) as client:
        visitor = Visitor(server, client, seed)
        alive = asyncio.create_task(_stay(client, f"{server.url}{_API}heartbeat/{visitor.session}"))
        found.append(await visitor.opened())
        due = time.monotonic()
        while (due := due + times.exponential(every)) < until:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            found.append(await visitor.acts())
        alive.cancel()
    return found


async def _stay(client: httpx.AsyncClient, url: str) -> None:
    """The connection by which a page says that it is open."""
    async with client.stream("GET", url, timeout=None) as answer:
        async for _ in answer.aiter_bytes():
            pass
