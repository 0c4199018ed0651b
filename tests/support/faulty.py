"""A small HTTP server that misbehaves on request, for tests of adapters.

The path selects the behaviour: `/status/503`, `/busy/7` (429 with Retry-After), `/hang`, `/reset`, `/big`, `/redirect`,
`/slow-headers`, `/close`, `/cut`, `/garbage`, `/gzip-lie`, `/echo`, or any path in `answers`. The server counts the
requests that reach it, so that a retry shows.
"""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

BIG = 10 * 1024 * 1024


@dataclass(slots=True)
class Request:
    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)


@dataclass(slots=True)
class Faulty:
    """The server's address, the requests that it got, and how much of a big answer the client took."""

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    written: int = 0
    answers: dict[str, bytes] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has gone, which is often the point
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ")
        pairs = [line.split(": ", 1) for line in head[1:] if line]
        request = Request(method, path, [(name, value) for name, value in pairs])
        request.body = await reader.readexactly(int(request.header("content-length") or 0))
        self.requests.append(request)
        match path.split("?")[0].strip("/").split("/"):
            case ["status", code]:
                writer.write(_answer(code.encode() + b" Whatever", b"" if code == "204" else b"hello"))
            case ["busy", seconds]:
                writer.write(_answer(b"429 Too Many Requests", b"", b"Retry-After: %b\r\n" % seconds.encode()))
            case ["hang"]:
                await reader.read()
            case ["reset"]:
                _reset(writer)
            case ["big"]:
                await self._big(writer)
            case ["redirect"]:
                location = f"Location: http://127.0.0.1:{self.port}/status/200\r\n".encode()
                writer.write(_answer(b"302 Found", b"", location + b"Set-Cookie: a=b\r\n"))
            case ["slow-headers"]:
                await _slowly(writer)
            case ["close"]:
                pass
            case ["cut"]:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
            case ["garbage"]:
                writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
            case ["gzip-lie"]:
                writer.write(_answer(b"200 OK", b"not gzip", b"Content-Encoding: gzip\r\n"))
            case _:
                writer.write(_answer(b"200 OK", self.answers.get(path, b"")))
        await writer.drain()

    async def _big(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG)
        chunk = b"x" * 65536
        while self.written < BIG:
            writer.write(chunk)
            await writer.drain()
            self.written += len(chunk)


def _answer(status: bytes, body: bytes, headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, headers, len(body), body)


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _slowly(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(1000):
        writer.write(b"X-%d: y\r\n" % number)
        await writer.drain()
        await asyncio.sleep(0.02)


@asynccontextmanager
async def faulty_server(*, tls: ssl.SSLContext | None = None) -> AsyncIterator[Faulty]:
    """Runs the server on a free loopback port."""
    faulty = Faulty()
    server = await asyncio.start_server(faulty.handle, "127.0.0.1", 0, ssl=tls)
    faulty.port = server.sockets[0].getsockname()[1]
    tasks_before = asyncio.all_tasks()
    try:
        yield faulty
    finally:
        server.close()
        for task in asyncio.all_tasks() - tasks_before - {asyncio.current_task()}:
            if "Faulty.handle" in repr(task):
                task.cancel()
        await asyncio.sleep(0)
