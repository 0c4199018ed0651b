"""A peer must not decide how much memory the operator takes: it is one process, with one limit, for all tenants.

Each peer here offers no more than 64 MiB, so a test that shows the fault endangers no machine.
"""

import asyncio
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import kopf
from aiohttp import web

from resilience.adapters.checks.postgres.connections import PostgresConnections
from resilience.adapters.checks.postgres.postgres_check import check_postgres
from resilience.adapters.kube.cluster import KubeCluster
from resilience.adapters.net.credentials import Credentials
from resilience.api.names import LABEL_FLAGS_OF, flags_config_map
from resilience.core.model.observation import Key
from resilience.core.model.probes import PostgresProbe, SecretRef
from resilience.handlers import flags as flag_watch
from resilience.handlers import lifecycle
from resilience.ports import DeliveryFailed
from resilience.runtime.flag_cache import FlagCache
from resilience.runtime.queue import KeyQueue
from resilience.runtime.store import Store
from tests.hostile.support import MIB, OneSecret, api_server, in_words, loopback_guard, memory, tcp_server, until
from tests.hostile.support import http_server as receiver
from tests.support.factories import NOW
from tests.support.messages import Post, from_secret, make_alert, make_message
from tests.support.preconditions import require

OFFERED: Final = 64 * MIB
# For what one peer sent.
ENOUGH: Final = 16 * MIB
MAP_SIZE: Final = 1_000_000
# What is kept of a ConfigMap that somebody else filled.
KEPT: Final = 128 * 1024


def bomb() -> bytes:
    """Zeros, compressed: some ten kilobytes on the wire."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(bytes(MIB)) for _ in range(OFFERED // MIB)), packer.flush()])


async def test_a_compressed_answer_to_apprise_stays_small() -> None:
    async def answer(request: web.Request) -> web.Response:
        await request.read()
        requests.append(request.path)
        if len(requests) == 1:
            return web.Response()
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    async def send() -> None:
        await post.send(make_message(make_alert()), apprise={"urlFrom": from_secret("url")}, timeout="30s")

    packed, requests, post = bomb(), list[str](), Post()
    async with receiver(answer) as port:
        post.put(url=f"json://127.0.0.1:{port}/")
        # The library is large itself, and is read in now.
        await send()
        with memory() as peak:
            with suppress(DeliveryFailed):
                await send()
            require(len(requests) == 2, "the receiver was not asked once for each message")
            assert peak() < ENOUGH, f"{peak() // MIB} MiB for an answer of {len(packed) // 1024} KiB"


@dataclass(slots=True)
class LongWinded:
    """A PostgreSQL server whose first message is 700 MiB long, as it says; it hangs up after the first 64."""

    sent: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = struct.unpack("!I", await reader.readexactly(4))[0]
        await reader.readexactly(length - 4)
        notice = b"N"
        writer.write(notice + struct.pack("!I", 700 * MIB))
        chunk = bytes(MIB // 4)
        while self.sent < OFFERED:
            writer.write(chunk)
            await writer.drain()
            self.sent += len(chunk)


async def test_a_message_of_a_postgresql_server_has_a_size_limit() -> None:
    server, ref = LongWinded(), SecretRef("evil", "login", "dsn")
    async with tcp_server(server.serve) as port:
        secrets = OneSecret(f"postgres://app:secret@127.0.0.1:{port}/shop?sslmode=disable")
        connections = PostgresConnections(credentials=Credentials(secrets, lambda: 0.0), guard=loopback_guard())
        with memory() as peak:
            asked = check_postgres(
                PostgresProbe(ref, "SELECT 1", 0.8, 5), connections=connections, timeout=timedelta(seconds=30)
            )
            words = await in_words(asked)
            await connections.close()
            require(server.sent > 0, f"the server was never asked: {words}")
            assert peak() < ENOUGH, f"{peak() // MIB} MiB for one message"


async def test_a_reply_of_a_mail_server_has_a_size_limit() -> None:
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        lines = b"220-still greeting\r\n" * 10_000
        while sent < OFFERED:
            writer.write(lines)
            await writer.drain()
            sent += len(lines)

    mail = {"host": "127.0.0.1", "from": "operator@example.com", "to": ["team@example.com"], "startTls": "Never"}
    async with tcp_server(serve) as port:
        with memory() as peak:
            await Post().fails(make_message(make_alert()), email={**mail, "port": port}, timeout="30s")
            require(sent > 0, "the server was never asked")
            assert peak() < ENOUGH, f"{peak() // MIB} MiB for one reply"
    assert sent < OFFERED, "the server was read to its end"


@dataclass(slots=True)
class Flooded:
    """An API server with ConfigMaps of a megabyte that a tenant labelled as if they held flags."""

    count: int
    pages: int = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if "configmaps" not in request.path:
            return web.json_response({"items": [], "metadata": {}})
        self.pages += 1
        begin = int(request.query.get("continue", "0"))
        end = min(self.count, begin + int(request.query.get("limit", "500")))
        size = 0 if "PartialObjectMetadata" in request.headers.get("Accept", "") else MAP_SIZE
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        with suppress(ConnectionError):
            for piece in self._page(begin, end, size):
                await response.write(piece.encode())
            await response.write_eof()
        return response

    def _page(self, begin: int, end: int, size: int) -> Iterator[str]:
        going_on = f', "continue": "{end}"' if end < self.count else ""
        yield f'{{"metadata": {{"resourceVersion": "1"{going_on}}}, "items": ['
        for number in range(begin, end):
            meta = f'"name": "{flags_config_map(f"a{number}")}", "namespace": "evil", "uid": "u{number}"'
            labels = f'"resourceVersion": "1", "labels": {{"{LABEL_FLAGS_OF}": "a{number}"}}'
            yield f'{"," * (number > begin)}{{"metadata": {{{meta}, {labels}}}, "data": {{"k": "{"x" * size}"}}}}'
        yield "]}"


async def test_large_config_maps_are_listed_in_small_pages() -> None:
    server = Flooded(count=OFFERED // MAP_SIZE)
    async with api_server(server.answer) as transport:
        cluster = KubeCluster(transport=transport, namespaces=(), instance="x")
        with memory() as peak:
            await in_words(cluster.marked())
            require(server.pages > 0, "no ConfigMap was listed")
            assert peak() < OFFERED, f"{peak() // MIB} MiB for {server.count} ConfigMaps of a megabyte"


async def test_large_config_maps_are_not_kept() -> None:
    server, store = Flooded(count=3), Store()
    async with api_server(server.answer) as transport:
        marked = await KubeCluster(transport=transport, namespaces=(), instance="x").marked()
    with store.listing():
        store.keep(services=marked.services, slices=marked.slices, flags=marked.flags)
    require(server.pages > 0, "no ConfigMap was listed")
    kept = [store.flags_map(Key("evil", f"a{number}")) for number in range(server.count)]
    sizes = [sum(len(value) for value in flags.data.values()) for flags in kept if flags is not None]
    assert max(sizes, default=0) <= KEPT, f"of ConfigMaps with {MAP_SIZE} characters, {sizes} are kept"


KINDS: Final = {"configmaps": "ConfigMap", "namespaces": "Namespace"}
DISCOVERY: Final = {
    "/api": {"versions": ["v1"]},
    "/apis": {"groups": []},
    "/api/v1": {
        "resources": [
            {
                "name": plural,
                "kind": kind,
                "singularName": kind.lower(),
                "namespaced": kind != "Namespace",
                "verbs": ["list", "watch", "patch"],
            }
            for plural, kind in KINDS.items()
        ]
    },
}


@dataclass(slots=True)
class Watched(Flooded):
    """As kopf asks: it looks up kinds, lists, and then watches; nothing happens any more."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            await asyncio.sleep(60)
        if request.path in DISCOVERY:
            return web.json_response(DISCOVERY[request.path])
        return await Flooded.answer(self, request)


async def test_watched_config_maps_are_listed_in_small_pages_and_not_kept() -> None:
    server, store, registry, stop = (
        Watched(count=OFFERED // MAP_SIZE),
        Store(),
        kopf.OperatorRegistry(),
        asyncio.Event(),
    )
    keys = [Key("evil", f"a{number}") for number in range(server.count)]
    flag_watch.register(
        registry, queue=KeyQueue(monotonic=lambda: 0.0, workers=16), store=store, board=FlagCache(now=lambda: NOW)
    )
    async with api_server(server.answer) as transport:

        @kopf.on.login(registry=registry)
        def login(**_: object) -> kopf.ConnectionInfo:
            return kopf.ConnectionInfo(server=transport.server)

        with memory() as peak:
            watching = asyncio.create_task(
                kopf.operator(
                    registry=registry,
                    settings=lifecycle.settings(clusterwide=False),
                    stop_flag=stop,
                    namespaces=["evil"],
                )
            )
            await until(lambda: all(store.flags_map(key) is not None for key in keys), seconds=60)
            highest = peak()
            stop.set()
            await watching
    require(all(store.flags_map(key) is not None for key in keys), "not all ConfigMaps were seen")
    assert server.pages > 1
    assert highest < OFFERED, f"{highest // MIB} MiB for {server.count} ConfigMaps of a megabyte"
