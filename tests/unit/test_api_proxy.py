"""The proxy passes on what it does not fail, and fails what it is to fail: judged on a little API server."""

import asyncio
import random
import ssl
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from tests.cluster import pki
from tests.support.api_proxy import ApiProxy, Fault, Shares, resource
from tests.support.ports import server_port

POD = "/api/v1/namespaces/shop/pods/a"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/x/leases/l"
WATCH = "/api/v1/pods?watch=true&labelSelector=a%3Db%2Cc"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and what it signed for this machine."""
    folder = tmp_path_factory.mktemp("pki")
    pki.make_authority(folder, "ca")
    pki.sign_server(folder, name="server", address="127.0.0.1", authorities=folder)
    return folder


class Api:
    """Answers with what it was asked; a watch is a line each 10 ms, without end."""

    def __init__(self, keys: Path) -> None:
        self.seen: list[str] = []
        self.asked = asyncio.Event()
        self.headers: list[dict[str, str]] = []
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(keys / "server.crt", keys / "server.key")
        self.port = server_port()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        runner = web.ServerRunner(web.Server(self._handle, access_log=None), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=self._tls).start()
        try:
            yield
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.headers.append(dict(request.headers))
        body = (await request.read()).decode()
        self.seen.append(f"{request.method} {request.raw_path} {body}".strip())
        self.asked.set()
        if "watch" not in request.query:
            return web.json_response({"asked": self.seen[-1]}, status=201, headers={"Warning": "299 - old"})
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b'{"type": "BOOKMARK"}\n')
            await asyncio.sleep(0.01)


@contextmanager
def proxy_before(api: Api, keys: Path) -> Iterator[tuple[ApiProxy, str]]:
    port = server_port()
    upstream = f"https://127.0.0.1:{api.port}"
    server, key = keys / "server.crt", keys / "server.key"
    with ApiProxy(
        upstream=upstream, authority=keys / "ca.crt", certificate=server, key=key, port=port, seed=1
    ) as proxy:
        yield proxy, f"https://127.0.0.1:{port}"


@asynccontextmanager
async def client(keys: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """As strict as Python 3.13 is by default, which the operator's image runs."""
    context = ssl.create_default_context(cafile=str(keys / "ca.crt"))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        yield session


async def test_everything_is_passed_on_as_it_is(keys: Path) -> None:
    api = Api(keys)
    with proxy_before(api, keys) as (proxy, url):
        async with api.serving(), client(keys) as session:
            # when
            headers = {"Authorization": "Bearer t", "Content-Type": "application/merge-patch+json"}
            path = f"{POD}?fieldManager=a%2Fb"
            address = URL(url + path, encoded=True)
            async with session.patch(address, data=b'{"x": 1}', headers=headers) as answer:
                text = await answer.json()
            # then
            assert (answer.status, answer.headers["Warning"]) == (201, "299 - old")
            assert text == {"asked": f'PATCH {path} {{"x": 1}}'}
            assert api.headers[0].items() >= headers.items()
            # and: a watch arrives while it lasts
            async with session.get(URL(url + WATCH, encoded=True)) as stream:
                assert await stream.content.readline() == b'{"type": "BOOKMARK"}\n'
            assert api.seen[1] == f"GET {WATCH}"
    assert (proxy.requests, proxy.counts) == (2, {})


async def test_refusals_are_in_the_words_of_the_api_server(keys: Path) -> None:
    api = Api(keys)
    with proxy_before(api, keys) as (proxy, url):
        async with api.serving(), client(keys) as session:
            answers = []
            for shares in (Shares(busy=1), Shares(broken=1), Shares(conflict=1)):
                proxy.shares = shares
                async with session.delete(url + POD) as answer:
                    answers.append((answer.status, (await answer.json())["reason"], answer.headers.get("Retry-After")))
            # and: a read has no conflict
            async with session.get(url + POD) as answer:
                assert answer.status == 201
    assert answers == [(429, "TooManyRequests", "1"), (500, "InternalError", None), (409, "Conflict", None)]
    assert api.seen == [f"GET {POD}"]
    assert proxy.counts == {Fault.BUSY: 1, Fault.BROKEN: 1, Fault.CONFLICT: 1}


async def test_an_answer_is_lost_after_the_write_was_done(keys: Path) -> None:
    api = Api(keys)
    with proxy_before(api, keys) as (proxy, url):
        async with api.serving(), client(keys) as session:
            proxy.shares = Shares(lost=1)
            # aiohttp would send a DELETE a second time by itself.
            with pytest.raises(aiohttp.ClientConnectionError):
                await session.patch(url + POD)
    assert api.seen == [f"PATCH {POD}"]


async def test_a_watch_is_cut(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.api_proxy._LONGEST_WATCH", 0.2)
    api = Api(keys)
    with proxy_before(api, keys) as (proxy, url):
        async with api.serving(), client(keys) as session:
            proxy.shares = Shares(cut=1)
            with pytest.raises(aiohttp.ClientError):
                async with asyncio.timeout(20), session.get(url + WATCH) as stream:
                    async for _ in stream.content:
                        pass
    assert proxy.counts == {Fault.CUT: 1}


async def test_an_api_server_that_is_away_breaks_connections_off(keys: Path) -> None:
    api = Api(keys)
    with proxy_before(api, keys) as (_, url):
        async with client(keys) as session:
            with pytest.raises(aiohttp.ClientConnectionError):
                await session.get(url + POD)
            # and: it is passed on again when it is back
            async with api.serving(), session.get(url + POD) as answer:
                assert answer.status == 201


@pytest.mark.parametrize("before", [True, False], ids=["before it is done", "before it is answered"])
async def test_a_write_waits_in_the_trap(keys: Path, before: bool) -> None:
    api = Api(keys)
    with proxy_before(api, keys) as (proxy, url):
        async with api.serving(), client(keys) as session:
            # given
            trap = proxy.set("PATCH pods", before=before)
            for path in (LEASE, POD.replace("pods", "services")):
                await session.patch(url + path)
            # when
            held = asyncio.create_task(session.patch(url + POD))
            await asyncio.to_thread(trap.caught.wait, 10)
            await asyncio.sleep(0.2)
            # then
            assert not held.done()
            assert (f"PATCH {POD}" in api.seen) is not before
            # when
            proxy.let_go(trap)
            # then
            assert (await held).status == 201
            assert api.seen.count(f"PATCH {POD}") == 1
            assert trap.what == "PATCH pods"


async def test_a_write_whose_sender_has_gone_is_done_all_the_same(keys: Path) -> None:
    api = Api(keys)
    with proxy_before(api, keys) as (proxy, url):
        async with api.serving():
            # given
            trap = proxy.set(before=True)
            async with client(keys) as session:
                held = asyncio.create_task(session.post(url + POD, data=b"{}"))
                await asyncio.to_thread(trap.caught.wait, 10)
                held.cancel()
            # when
            proxy.let_go(trap)
            # then
            await asyncio.wait_for(api.asked.wait(), 10)
    assert api.seen == [f"POST {POD} {{}}"]


def test_shares_are_shares() -> None:
    shares, chance = Shares(busy=0.1, broken=0.1, conflict=0.1, lost=0.1, cut=0.1), random.Random(1)
    writes = Counter(shares.choose(chance.random(), write=True, watch=False) for _ in range(10_000))
    watches = Counter(shares.choose(chance.random(), write=False, watch=True) for _ in range(10_000))
    assert set(writes) == {None, Fault.BUSY, Fault.BROKEN, Fault.CONFLICT, Fault.LOST}
    assert set(watches) == {None, Fault.BUSY, Fault.BROKEN, Fault.CUT}
    assert all(800 < count < 1200 for counts in (writes, watches) for fault, count in counts.items() if fault)


def test_the_resource_of_a_path() -> None:
    names = {
        POD: "pods",
        f"{POD}/eviction": "pods/eviction",
        LEASE: "leases",
        "/api/v1/pods": "pods",
        "/api/v1/namespaces/shop": "namespaces",
        "/apis/resilience.dev/v1alpha1/namespaces/s/resilientservices/a/status": "resilientservices/status",
        "/version": "",
    }
    assert {path: resource(path) for path in names} == names


def test_the_proxy_ends_with_its_context(keys: Path) -> None:
    with proxy_before(Api(keys), keys):
        assert any(thread.name == "API proxy" for thread in threading.enumerate())
    assert not any(thread.name == "API proxy" for thread in threading.enumerate())
