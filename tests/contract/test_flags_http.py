"""Flags over HTTP, on a real socket, by a plain client and by the official OpenFeature SDK and providers."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.flag_evaluation import Reason
from openfeature.provider import FeatureProvider

from resilience.core.model import flags
from resilience.core.model.flags import Publication, PublishedFlag
from resilience.core.model.observation import Key
from resilience.ports import Unavailable
from resilience.runtime.flag_cache import STALE_AFTER, FlagCache
from resilience.web import flags as web_flags
from resilience.web.app import serve
from resilience.web.flags import Limits
from tests.support.factories import NOW

KEY = Key("shop", "checkout")
GOOD = {"Authorization": "Bearer shop-token"}
OFREP = "/flags/shop/checkout/ofrep/v1/evaluate/flags"


def said(*, on: bool, version: int = 1) -> Publication:
    flag = PublishedFlag("redis-degraded", on, "memory", "Refused" if on else "", NOW)
    return Publication(KEY.namespace, KEY.name, version, NOW, (flag,))


@dataclass
class FakeTokens:
    accounts: dict[str, str] = field(
        default_factory=lambda: {
            "shop-token": "system:serviceaccount:shop:default",
            "other-token": "system:serviceaccount:other:default",
            "gateway-token": "system:serviceaccount:gateway:proxy",
        }
    )
    away: bool = False

    async def account(self, token: str) -> str | None:
        if self.away:
            raise Unavailable("no answer")
        return self.accounts.get(token)


@dataclass
class Served:
    """The server with its parts, and a client."""

    board: FlagCache
    tokens: FakeTokens
    port: int
    session: aiohttp.ClientSession

    async def ask(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **more: Any
    ) -> tuple[int, Any, Mapping[str, str]]:
        url = f"http://127.0.0.1:{self.port}{path}"
        async with self.session.request(method, url, headers=GOOD if headers is None else headers, **more) as got:
            text = await got.text()
            return got.status, json.loads(text) if text else None, got.headers


@asynccontextmanager
async def served(limits: Limits | None = None) -> AsyncIterator[Served]:
    board, tokens = FlagCache(now=lambda: NOW), FakeTokens()
    board.put(said(on=False))
    board.confirm()
    app = web_flags.create_app(
        board=board, tokens=tokens, readers=["system:serviceaccount:gateway:proxy"], limits=limits
    )
    async with serve(app, 0) as port, aiohttp.ClientSession() as session:
        yield Served(board, tokens, port, session)


async def test_the_document() -> None:
    async with served() as server:
        status, body, headers = await server.ask("GET", "/flags/shop/checkout.json")
        assert (status, headers["ETag"]) == (200, '"1"')
        assert "Server" not in headers
        assert body["flags"]["redis-degraded"] == {
            "on": False,
            "mode": "memory",
            "reason": "",
            "since": "2026-03-01T12:00:00.000Z",
        }
        assert (body["version"], body["stale"], body["asOf"]) == (1, False, "2026-03-01T12:00:00.000Z")
        again = GOOD | {"If-None-Match": headers["ETag"]}
        assert (await server.ask("GET", "/flags/shop/checkout.json", headers=again))[0] == 304
        server.board.put(said(on=True, version=2))
        status, body, _ = await server.ask("GET", "/flags/shop/checkout.json", headers=again)
        assert (status, body["flags"]["redis-degraded"]["on"]) == (200, True)


async def test_a_reader_sees_that_it_may_be_old() -> None:
    async with served() as server:
        server.board.now = lambda: NOW + STALE_AFTER + timedelta(seconds=1)
        again = GOOD | {"If-None-Match": '"1"'}
        status, body, headers = await server.ask("GET", "/flags/shop/checkout.json", headers=again)
        assert (status, body["stale"], headers["ETag"]) == (200, True, '"1-stale"')
        _, body, _ = await server.ask("POST", f"{OFREP}/redis-degraded", json={"context": {}})
        assert body["reason"] == "STALE"


async def test_one_flag_and_all_of_them() -> None:
    async with served() as server:
        status, body, _ = await server.ask("POST", f"{OFREP}/redis-degraded", json={"context": {"targetingKey": "x"}})
        assert status == 200
        assert {key: body[key] for key in ("key", "value", "variant", "reason")} == {
            "key": "redis-degraded",
            "value": False,
            "variant": "off",
            "reason": "STATIC",
        }
        status, body, headers = await server.ask("POST", OFREP, json={"context": {}})
        assert (status, headers["ETag"]) == (200, '"1"')
        assert [each["key"] for each in body["flags"]] == ["redis-degraded"]
        assert body["eventStreams"] == [
            {"type": "sse", "endpoint": {"requestUri": "/flags/shop/checkout/events"}, "inactivityDelaySec": 120}
        ]
        again = GOOD | {"If-None-Match": '"1"'}
        assert (await server.ask("POST", OFREP, json={"context": {}}, headers=again))[0] == 304


@pytest.mark.parametrize(
    ("path", "more", "expected"),
    [
        (f"{OFREP}/nothing", {"json": {"context": {}}}, (404, "FLAG_NOT_FOUND")),
        ("/flags/shop/nobody/ofrep/v1/evaluate/flags/x", {"json": {"context": {}}}, (404, "FLAG_NOT_FOUND")),
        (f"{OFREP}/redis-degraded", {"data": "{"}, (400, "PARSE_ERROR")),
        (f"{OFREP}/redis-degraded", {"json": []}, (400, "INVALID_CONTEXT")),
        (OFREP, {"json": {"context": 1}}, (400, "INVALID_CONTEXT")),
        (OFREP, {"json": {"context": {}}, "headers": {}}, (401, "GENERAL")),
        (OFREP, {"json": {"context": {}}, "headers": {"Authorization": "Basic eDp5"}}, (401, "GENERAL")),
        (OFREP, {"json": {"context": {}}, "headers": {"Authorization": "Bearer forged"}}, (401, "GENERAL")),
        (OFREP, {"json": {"context": {}}, "headers": {"Authorization": "Bearer other-token"}}, (403, "GENERAL")),
    ],
)
async def test_what_is_refused_says_why(path: str, more: dict[str, Any], expected: tuple[int, str]) -> None:
    async with served() as server:
        status, body, headers = await server.ask("POST", path, **more)
        assert (status, body["errorCode"]) == expected
        assert body["errorDetails"]
        assert (status == 401) == ("WWW-Authenticate" in headers)


async def test_who_may_read_what() -> None:
    async with served() as server:
        path = "/flags/shop/checkout.json"
        for token, expected in (("shop-token", 200), ("other-token", 403), ("gateway-token", 200)):
            status, _, _ = await server.ask("GET", path, headers={"Authorization": f"Bearer {token}"})
            assert status == expected, token
        # what is not there looks the same to those who may not know
        path = "/flags/shop/nobody.json"
        assert (await server.ask("GET", path, headers={"Authorization": "Bearer other-token"}))[0] == 403
        assert (await server.ask("GET", path))[0] == 404
        server.tokens.away = True
        status, _, headers = await server.ask("GET", path)
        assert (status, headers["Retry-After"]) == (503, "5")


async def test_a_body_that_is_too_large() -> None:
    async with served() as server:
        context = {"context": {"a": "x" * web_flags.BODY_LIMIT}}
        assert (await server_status(server, OFREP, context)) == 413


async def server_status(server: Served, path: str, body: Any) -> int:
    url = f"http://127.0.0.1:{server.port}{path}"
    async with server.session.post(url, headers=GOOD, json=body) as got:
        return got.status


async def events(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Id and data of each event."""
    async for block in blocks(response):
        fields = dict(line.split(": ", 1) for line in block.strip().splitlines() if not line.startswith(":"))
        if "data" in fields:
            yield fields["id"], json.loads(fields["data"])


async def blocks(response: aiohttp.ClientResponse) -> AsyncIterator[str]:
    while block := await response.content.readuntil(b"\n\n"):
        yield block.decode()


async def test_changes_are_announced_and_a_slow_reader_gets_the_newest() -> None:
    async with served() as server:
        url = f"http://127.0.0.1:{server.port}/flags/shop/checkout/events"
        async with server.session.get(url, headers=GOOD) as stream, asyncio.timeout(5):
            assert stream.content_type == "text/event-stream"
            heard = events(stream)
            first, data = await anext(heard)
            assert (first, data["type"], data["etag"]) == ("1", "refetchEvaluation", "1")
            for version in range(2, 9):
                # no time to write in between
                server.board.put(said(on=True, version=version))
            assert (await anext(heard))[0] == "8"
            server.board.drop(KEY)
            with pytest.raises(StopAsyncIteration):
                await anext(heard)


async def test_whoever_comes_back_hears_only_what_it_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_flags, "HEARTBEAT_SECONDS", 0.1)
    async with served() as server:
        url = f"http://127.0.0.1:{server.port}/flags/shop/checkout/events"
        async with server.session.get(url, headers=GOOD | {"Last-Event-ID": "1"}) as stream, asyncio.timeout(5):
            assert await anext(blocks(stream)) == ": still here\n\n"
            server.board.put(said(on=True, version=2))
            assert (await anext(events(stream)))[0] == "2"


async def test_there_is_room_for_so_many_and_no_more() -> None:
    async with served(Limits(streams=2, streams_per_namespace=1, requests=1)) as server:
        url = f"http://127.0.0.1:{server.port}/flags/shop/checkout/events"
        async with server.session.get(url, headers=GOOD) as first:
            assert first.status == 200
            status, body, headers = await server.ask("GET", "/flags/shop/checkout/events")
            assert (status, headers["Retry-After"]) == (429, "5")
            assert "poll instead" in body["errorDetails"]
            assert (await server.ask("GET", "/flags/shop/checkout.json"))[0] == 200
        async with asyncio.timeout(5):
            await until(lambda: stream_status(server, url), 200)


async def stream_status(server: Served, url: str) -> int:
    async with server.session.get(url, headers=GOOD) as got:
        return got.status


async def until(ask: Callable[[], Awaitable[object]], wanted: object) -> None:
    for _ in range(200):
        if await ask() == wanted:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"never {wanted}")


async def test_the_end_of_the_operator_ends_the_streams() -> None:
    async with served() as server:
        url = f"http://127.0.0.1:{server.port}/flags/shop/checkout/events"
        async with server.session.get(url, headers=GOOD) as stream, asyncio.timeout(5):
            await anext(events(stream))
            server.board.close()
            with pytest.raises(StopAsyncIteration):
                await anext(events(stream))


def evaluate(provider: FeatureProvider) -> tuple[Any, str, Any]:
    """By the official SDK: value, variant and reason."""
    api.set_provider_and_wait(provider, "contract")
    details = api.get_client("contract").get_boolean_details("redis-degraded", True)
    return details.value, details.variant or "", details.reason


@pytest.fixture
def providers() -> Any:
    yield None
    api.shutdown()
    api.clear_providers()


async def test_the_official_ofrep_provider_reads_flags(providers: None) -> None:
    async with served() as server:
        provider = OFREPProvider(
            f"http://127.0.0.1:{server.port}/flags/shop/checkout", headers_factory=lambda: GOOD, timeout=5
        )
        assert await asyncio.to_thread(evaluate, provider) == (False, "off", Reason.STATIC)
        server.board.put(said(on=True, version=2))
        assert await asyncio.to_thread(evaluate, provider) == (True, "on", Reason.STATIC)
        provider.session.close()


async def test_the_official_flagd_provider_reads_the_file(
    tmp_path: Path, providers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / flags.FILE
    file.write_text(flags.config_map_data(said(on=False))[flags.FILE])
    monkeypatch.setenv("FLAGD_OFFLINE_POLL_MS", "50")
    provider = FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(file))
    assert (await asyncio.to_thread(evaluate, provider))[:2] == (False, "off")
    file.write_text(flags.config_map_data(said(on=True, version=2))[flags.FILE])
    client = api.get_client("contract")
    await until(lambda: asyncio.to_thread(client.get_boolean_value, "redis-degraded", False), True)
