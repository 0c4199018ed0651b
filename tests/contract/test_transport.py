"""The Kubernetes transport against an API server that misbehaves: each fault becomes the one error that it means."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio import client

from resilience.adapters.kube.shapes import PodShape
from resilience.adapters.kube.transport import NotFound, TooLong, Transport
from resilience.ports import Conflict, Invalid, NamespaceEnding, PortError, Refused, Unavailable
from tests.support.factories import NOW
from tests.support.faulty import faulty_server

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Told:
    """A clock that keeps what it is told."""

    dates: list[str]

    def told(self, date: str) -> None:
        self.dates.append(date)

    def now(self) -> datetime:
        return NOW


@asynccontextmanager
async def transport_to(
    url: str, *, timeout: float = 1.0, dates: list[str] | None = None
) -> AsyncIterator[tuple[Transport, list[tuple[str, int]]]]:
    seen: list[tuple[str, int]] = []
    told = [] if dates is None else dates
    settings = client.Configuration()
    settings.host = url
    async with client.ApiClient(settings) as api:
        yield (
            Transport(
                api=api,
                timeout=timeout,
                observer=lambda verb, code, _: seen.append((verb, code)),
                clock=Told(told),
            ),
            seen,
        )


@asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def answers(status: int, body: dict[str, Any]) -> Handler:
    async def handle(_request: web.Request) -> web.Response:
        return web.json_response(body, status=status)

    return handle


BUDGET = {"reason": "TooManyRequests", "message": "budget", "details": {"causes": [{"reason": "DisruptionBudget"}]}}


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (404, {"message": "not there"}, NotFound),
        (409, {"message": "changed"}, Conflict),
        (403, {"message": "forbidden"}, Refused),
        (403, {"message": "ends", "details": {"causes": [{"reason": "NamespaceTerminating"}]}}, NamespaceEnding),
        (422, {"message": "invalid"}, Refused),
        (409, {"message": "owned", "details": {"causes": [{"reason": "FieldManagerConflict"}]}}, Refused),
        (410, {"message": "gone"}, Unavailable),
        (401, {"message": "who are you"}, Unavailable),
        (429, BUDGET, Refused),
        (429, {"reason": "TooManyRequests", "message": "slow down"}, Unavailable),
        (500, {"message": "broken"}, Unavailable),
        (503, {"message": "busy"}, Unavailable),
    ],
)
async def test_a_status_becomes_the_error_that_it_means(
    status: int, body: dict[str, Any], error: type[PortError]
) -> None:
    async with server(answers(status, body)) as url, transport_to(url) as (transport, seen):
        with pytest.raises(error, match=str(body["message"])):
            await transport.patch("/apis/x", {})
        assert seen == [("PATCH", status)]


@pytest.mark.parametrize("fault", ["hang", "reset", "close", "cut", "garbage"])
async def test_no_whole_answer_is_unavailable(fault: str) -> None:
    async with (
        faulty_server() as faulty,
        transport_to(faulty.url, timeout=0.3) as (transport, _),
    ):
        with pytest.raises(Unavailable, match="did not answer"):
            await transport.post(f"/{fault}", {})


async def test_a_write_is_never_sent_twice() -> None:
    async with faulty_server() as faulty, transport_to(faulty.url) as (transport, _):
        with pytest.raises(Unavailable):
            await transport.patch("/reset", {})
        assert len(faulty.requests) == 1


async def test_an_answer_that_is_not_json_is_invalid() -> None:
    async with faulty_server() as faulty, transport_to(faulty.url) as (transport, _):
        faulty.answers["/text"] = b"<html>"
        with pytest.raises(Invalid):
            await transport.get("/text")


async def test_a_list_is_read_page_by_page() -> None:
    asked: list[dict[str, str]] = []

    async def pages(request: web.Request) -> web.Response:
        asked.append(dict(request.query))
        if "continue" in request.query:
            return web.json_response({"items": [{"n": 2}], "metadata": {}})
        return web.json_response({"items": [{"n": 1}], "metadata": {"continue": "next"}})

    async with server(pages) as url, transport_to(url) as (transport, _):
        found = await transport.list("/api/v1/pods", labels="a=b")
    assert [each["n"] for each in found] == [1, 2]
    assert [each["labelSelector"] for each in asked] == ["a=b", "a=b"]
    assert asked[1]["continue"] == "next"


def called(raw: dict[str, Any]) -> str:
    return str(raw["metadata"]["name"])


async def test_an_item_that_cannot_be_read_takes_no_other_along() -> None:
    good, bad = {"metadata": {"name": "good"}}, {"metadata": {"name": "bad", "labels": 1}}
    async with server(answers(200, {"items": [good, bad, {"metadata": None}]})) as url, transport_to(url) as (api, _):
        found = await api.listed("/api/v1/pods", called, shape=PodShape)
    with pytest.raises(Unavailable, match="bad cannot be read"):
        found.all()
    assert found.views == ("good",)
    assert [item.raw for item in found.unread] == [bad, {"metadata": None}]


async def test_a_list_that_is_too_long_to_be_kept_whole_is_given_up() -> None:
    async with server(answers(200, {"items": [{"n": 1}]})) as url, transport_to(url) as (api, _):
        with pytest.raises(TooLong):
            await api.listed("/api/v1/pods", dict, most=10)


async def test_what_is_not_there_is_none_when_looked_for() -> None:
    async with server(answers(404, {})) as url, transport_to(url) as (transport, _):
        assert await transport.find("/api/v1/namespaces/a/pods/b") is None


async def test_a_refused_connection_is_counted_without_a_status() -> None:
    async with transport_to("http://127.0.0.1:9") as (transport, seen):
        with pytest.raises(Unavailable):
            await transport.get("/version")
    assert seen == [("GET", 0)]


async def test_requests_run_side_by_side() -> None:
    async def slow(_request: web.Request) -> web.Response:
        await asyncio.sleep(0.2)
        return web.json_response({})

    async with server(slow) as url, transport_to(url) as (transport, _):
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.gather(*(transport.get("/x") for _ in range(10)))
        assert loop.time() - began < 1.0


async def test_the_date_of_each_answer_is_told() -> None:
    dates: list[str] = []
    async with server(answers(503, {})) as url, transport_to(url, dates=dates) as (transport, _):
        with pytest.raises(Unavailable):
            await transport.within(seconds=1).get("/x")
    (date,) = dates
    assert abs(parsedate_to_datetime(date) - datetime.now(UTC)) < timedelta(minutes=1)
