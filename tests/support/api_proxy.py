"""A proxy between the operator and the API server, which fails some requests and can hold one write.

Operators see such failures whenever an API server is overloaded, restarts, or loses a connection. Must not change what
it passes on, and must not know what the operator does.
"""

import asyncio
import json
import random
import ssl
import threading
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, TCPConnector, web
from multidict import CIMultiDict
from yarl import URL

# Of one connection only, or made anew by whoever sends (RFC 9110, 7.6.1).
_OWN_HEADERS: Final = frozenset(
    ("connection", "keep-alive", "transfer-encoding", "content-length", "host", "te", "trailer", "upgrade")
)
# A lease is what keeps two leaders apart: a write of it says nothing about what a leader does.
_LEASES: Final = "leases"
_RETRY_AFTER: Final = 1
_LONGEST_WATCH: Final = 15.0
_START_SECONDS: Final = 10.0
_HOLD_SECONDS: Final = 90.0
_END_SECONDS: Final = 0.1


class Fault(StrEnum):
    """Harm that the proxy does to a request."""

    BUSY = "429"
    BROKEN = "500"
    CONFLICT = "409"
    # The API server has done the write, and its answer never arrives.
    LOST = "answer lost"
    CUT = "watch cut"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Share of requests that fail, from 0 to 1: of all (`busy`, `broken`), of writes, and of watches (`cut`)."""

    busy: float = 0.0
    broken: float = 0.0
    conflict: float = 0.0
    lost: float = 0.0
    cut: float = 0.0

    def choose(self, chance: float, *, write: bool, watch: bool) -> Fault | None:
        """The fault for a request, for a `chance` between 0 and 1."""
        odds = [(Fault.BUSY, self.busy), (Fault.BROKEN, self.broken)]
        if write:
            odds += [(Fault.CONFLICT, self.conflict), (Fault.LOST, self.lost)]
        if watch:
            odds.append((Fault.CUT, self.cut))
        for fault, share in odds:
            if chance < share:
                return fault
            chance -= share
        return None


@dataclass(slots=True)
class Trap:
    """Holds the next write of this method and resource ("PATCH pods"; empty: any but of leases) until it is let go.

    `before`: the API server gets the write only then; otherwise it has done it, and only the answer waits.
    """

    write: str
    before: bool
    caught: threading.Event = field(default_factory=threading.Event)
    # The write that was caught.
    what: str = ""
    go: asyncio.Event = field(default_factory=asyncio.Event)

    def fits(self, write: str) -> bool:
        """True for a write that it waits for."""
        return not write.endswith(f" {_LEASES}") and self.write in ("", write)


class ApiProxy:
    """Serves TLS on all addresses at a port while its context is open; passes everything on until `shares` are set."""

    def __init__(self, *, upstream: str, authority: Path, certificate: Path, key: Path, port: int, seed: int) -> None:
        self.shares = Shares()
        self.counts: Counter[Fault] = Counter()
        self.requests = 0
        self._upstream, self._authority, self._port = upstream.rstrip("/"), authority, port
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(certificate, key)
        self._random = random.Random(seed)
        self._trap: Trap | None = None
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="API proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.result(timeout=_START_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout=_START_SECONDS)

    def set(self, write: str = "", *, before: bool) -> Trap:
        """Sets a trap in the place of the last one. Whoever sets it lets go, or the write waits for 90 s."""
        self._trap = Trap(write, before)
        return self._trap

    def let_go(self, trap: Trap) -> None:
        """Lets a caught write go on; a trap that has caught nothing catches nothing any more."""
        self._trap = None
        self._loop.call_soon_threadsafe(trap.go.set)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except Exception as error:
            if self._started.done():
                raise
            self._started.set_exception(error)
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        connector = TCPConnector(limit=0, ssl=ssl.create_default_context(cafile=str(self._authority)))
        timeout = ClientTimeout(total=None, sock_connect=5)
        async with ClientSession(connector=connector, auto_decompress=False, timeout=timeout) as self._session:
            # A client that has gone does not undo what it asked for: handlers are not cancelled.
            server = web.Server(self._handle, access_log=None, auto_decompress=False)
            runner = web.ServerRunner(server, shutdown_timeout=_END_SECONDS)
            await runner.setup()
            await web.TCPSite(runner, "0.0.0.0", self._port, ssl_context=self._tls).start()
            self._started.set_result(None)
            await self._stop.wait()
            await runner.cleanup()
            # Handlers of connections whose client is gone: the server does not wait for them.
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests += 1
        body = await request.read()
        write = "" if request.method == "GET" else f"{request.method} {resource(request.path)}"
        watch = request.query.get("watch", "") in ("true", "1")
        fault = self.shares.choose(self._random.random(), write=bool(write), watch=watch)
        if fault is not None:
            self.counts[fault] += 1
        if fault in (Fault.BUSY, Fault.BROKEN, Fault.CONFLICT):
            return _refusal(fault)
        trap = self._caught(write)
        try:
            if trap is not None and trap.before:
                await _released(trap)
            async with self._pass_on(request, body) as answer:
                if watch:
                    seconds = self._random.uniform(0, _LONGEST_WATCH) if fault is Fault.CUT else None
                    return await _stream(request, answer, seconds)
                made = web.Response(status=answer.status, body=await answer.read(), headers=_passed(answer.headers))
            if trap is not None and not trap.before:
                await _released(trap)
        except (ClientError, TimeoutError, OSError):
            # As without a proxy: the connection breaks.
            return _broken_off(request)
        return _broken_off(request) if fault is Fault.LOST else made

    def _caught(self, write: str) -> Trap | None:
        trap = self._trap
        if trap is None or not write or not trap.fits(write):
            return None
        self._trap, trap.what = None, write
        trap.caught.set()
        return trap

    def _pass_on(self, request: web.BaseRequest, body: bytes) -> AbstractAsyncContextManager[ClientResponse]:
        return self._session.request(
            request.method,
            URL(self._upstream + request.raw_path, encoded=True),
            data=body or None,
            headers=_passed(request.headers),
            skip_auto_headers=("User-Agent", "Accept-Encoding", "Content-Type"),
            allow_redirects=False,
        )


def resource(path: str) -> str:
    """The resource that a path of the API names, with its subresource: "pods", "resilientservices/status"."""
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    if parts[:1] == ["namespaces"] and len(parts) > 2:
        parts = parts[2:]
    return "/".join(part for index, part in enumerate(parts) if index != 1)


def _passed(headers: Mapping[str, str]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _OWN_HEADERS)


def _refusal(fault: Fault) -> web.Response:
    """In the words of the API server."""
    reasons = {Fault.BUSY: "TooManyRequests", Fault.BROKEN: "InternalError", Fault.CONFLICT: "Conflict"}
    status: dict[str, object] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f"refused by the proxy of a test: {fault}",
        "reason": reasons[fault],
        "code": int(fault),
    }
    headers = {"Retry-After": str(_RETRY_AFTER)} if fault is Fault.BUSY else {}
    if fault is Fault.BUSY:
        status["details"] = {"retryAfterSeconds": _RETRY_AFTER}
    body = json.dumps(status).encode()
    return web.Response(status=int(fault), body=body, content_type="application/json", headers=headers)


async def _released(trap: Trap) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(trap.go.wait(), _HOLD_SECONDS)


async def _stream(request: web.BaseRequest, answer: ClientResponse, seconds: float | None) -> web.StreamResponse:
    """Passes on a watch, piece by piece; breaks it off after so many seconds, or when the other side does."""
    response = web.StreamResponse(status=answer.status, headers=_passed(answer.headers))
    await response.prepare(request)
    try:
        async with asyncio.timeout(seconds):
            async for piece in answer.content.iter_any():
                await response.write(piece)
    except (ClientError, TimeoutError, OSError):
        return _broken_off(request, response)
    await response.write_eof()
    return response


def _broken_off(request: web.BaseRequest, response: web.StreamResponse | None = None) -> web.StreamResponse:
    """Ends the connection without a further byte."""
    if request.transport is not None:
        request.transport.abort()
    return response or web.Response(status=502)
