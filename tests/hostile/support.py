"""Loopback peers that mean harm, and measures of what they cost. Must not judge.

A test of this folder is expected to fail by an AssertionError of its own. So what goes wrong on the way there raises
RuntimeError, which no such test takes for the fault that it shows.
"""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final

from aiohttp import web
from kubernetes.aio import client

from resilience.adapters.clock import SystemClock
from resilience.adapters.kube.transport import Transport
from resilience.adapters.net.address import AddressGuard
from resilience.ports import PortError
from tests.support.preconditions import require

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Connection = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
MIB: Final = 1 << 20


def loopback_guard() -> AddressGuard:
    """Lets the operator speak to the peers of these tests."""
    return AddressGuard(allowed=[ip_network("127.0.0.0/8")])


async def in_words(asked: Awaitable[object]) -> str:
    """The answer, or the error of a port, as text: both are answers that an operator lives with."""
    try:
        return str(await asked)
    except PortError as error:
        return f"{type(error).__name__}: {error}"


async def until(condition: Callable[[], bool], *, seconds: float) -> None:
    """Waits for it to come true, at most about so long."""
    for _ in range(round(seconds * 100)):
        if condition():
            return
        await asyncio.sleep(0.01)


@dataclass(slots=True)
class OneSecret:
    """`ports.Secrets` with one value for all keys; counts its reads."""

    value: str
    reads: int = 0

    async def read(self, *, namespace: str, name: str, key: str) -> str:
        self.reads += 1
        return self.value


@asynccontextmanager
async def http_server(handler: Handler) -> AsyncIterator[int]:
    """An HTTP server on a free loopback port that answers everything by `handler`; yields the port."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


@asynccontextmanager
async def tcp_server(serve: Connection) -> AsyncIterator[int]:
    """A server on a free loopback port; yields the port. A client that goes ends its connection."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # to hang up is what a client should do
        finally:
            writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", 0)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


@asynccontextmanager
async def api_server(handler: Handler) -> AsyncIterator[Transport]:
    """The operator's transport to an API server that answers everything by `handler`."""
    settings = client.Configuration()
    async with http_server(handler) as port:
        settings.host = f"http://127.0.0.1:{port}"
        async with client.ApiClient(settings) as api:
            yield Transport(api=api, timeout=20, observer=lambda *_: None, clock=SystemClock())


@contextmanager
def memory() -> Iterator[Callable[[], int]]:
    """Counts what Python allocates meanwhile; yields a function that says how many bytes it was at most."""
    require(not tracemalloc.is_tracing(), "somebody else traces memory")
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    try:
        yield lambda: tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
