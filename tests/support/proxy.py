"""An HTTP proxy on loopback, for tests: tunnels (CONNECT) and plain requests, to the ports that `routes` names."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(slots=True)
class FakeProxy:
    """`asked` has the request lines; `answer` replaces the answer to CONNECT, `silent` gives none."""

    routes: dict[str, int] = field(default_factory=dict)
    port: int = 0
    asked: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    # The login that it wants; empty for none.
    wanted: str = ""
    answer: bytes = b""
    silent: bool = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._serve(reader, writer)
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, where, _ = head[0].split(" ")
        self.asked.append(f"{method} {where}")
        login = next((line.split(": ", 1)[1] for line in head if line.lower().startswith("proxy-auth")), "")
        self.logins.append(login)
        if self.silent:
            await reader.read()
            return
        if self.answer or login != self.wanted:
            writer.write(self.answer or b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        url = urlsplit(f"//{where}" if method == "CONNECT" else where)
        port = self.routes.get(f"{url.hostname}:{url.port or 80}")
        if port is None:
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        upstream, onward = await asyncio.open_connection("127.0.0.1", port)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            kept = [line for line in head[1:] if not line.lower().startswith("proxy-auth")]
            path = (url.path or "/") + (f"?{url.query}" if url.query else "")
            onward.write("\r\n".join([f"{method} {path} HTTP/1.1", *kept]).encode())
        await asyncio.gather(_pipe(reader, onward), _pipe(upstream, writer))


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def fake_proxy() -> AsyncIterator[FakeProxy]:
    """Runs the proxy on a free port."""
    proxy = FakeProxy()
    server = await asyncio.start_server(proxy.handle, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    before = asyncio.all_tasks()
    try:
        yield proxy
    finally:
        server.close()
        for task in asyncio.all_tasks() - before - {asyncio.current_task()}:
            if "FakeProxy.handle" in repr(task):
                task.cancel()
        await asyncio.sleep(0)
