"""Traffic that cannot hide a lost request: POSTs without retries, on kept and on new connections, counted separately.

Ready-made clients resend a request when a kept connection turns out to be closed, which is the loss to be measured.
This one uses little more than sockets, because it shares the CPU with the cluster that it measures. It counts and never
judges.
"""

import argparse
import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final, Self
from urllib.parse import urlsplit

from tests.support.load_report import MAX_FAILURES_KEPT, Answer, Kind, Result, Tally

# A refused connection is refused in microseconds: without a pause one outage would be counted thousands of times.
PAUSE_AFTER_FAILURE: Final = 0.05
WAIT_FOR_CLOSE: Final = 1.0
# Linux: nf_conntrack_tcp_timeout_close, and a second to spare.
TRACKED_AFTER_RESET: Final = 11.0


class _ClosedError(ConnectionError):
    pass


@dataclass(frozen=True, slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def port(self) -> int:
        """The client's own port, which identifies the connection in the tables of the kernel."""
        return int(self.writer.get_extra_info("sockname")[1])

    async def post(self, request: bytes) -> Answer:
        if self.reader.at_eof() or self.writer.is_closing():
            raise _ClosedError("closed while idle though no answer had announced it")
        self.writer.write(request)
        await self.writer.drain()
        status_line, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        version, status = status_line.split(" ", 2)[:2]
        headers = {name.lower(): value.strip().lower() for name, _, value in (line.partition(":") for line in lines)}
        connection = headers.get("connection", "keep-alive" if version == "HTTP/1.1" else "close")
        if headers.get("transfer-encoding") == "chunked":
            body = await self._chunks()
        else:
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(status=int(status), close="close" in connection, body=body)

    async def _chunks(self) -> bytes:
        body = b""
        while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readuntil(b"\r\n")
        return body

    async def end(self) -> None:
        # The server should close first: the side that closes keeps the port for a minute, and a client has few ports.
        with suppress(OSError):
            async with asyncio.timeout(WAIT_FOR_CLOSE):
                await self.reader.read()
        self.writer.close()


class Load:
    """`kept` workers that each keep one connection, and `new` workers that open one per request.

    A kept connection is given up without a failure only when an answer says `Connection: close`. Anything else that
    ends it, including a server that closes it while it is idle, fails the request that was to use it. Anything but a
    2xx answer within `timeout` is a failure. `rate_per_worker` is in requests per second, None for as fast as possible.
    """

    def __init__(
        self,
        *,
        url: str,
        kept: int = 20,
        new: int = 20,
        rate_per_worker: float | None = 15.0,
        timeout: float = 10.0,
        host: str = "",
    ) -> None:
        """`host` is the Host header, by default the URL's. Raises ValueError if the URL is not a plain http:// one."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"not an http:// URL: {url}")
        self._host, self._port = parts.hostname, parts.port or 80
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._head = f"POST {target} HTTP/1.1\r\nHost: {host or parts.netloc}\r\nContent-Type: application/json\r\n"
        self._period = 1 / rate_per_worker if rate_per_worker else 0.0
        self._timeout = timeout
        self._started_at = datetime.now(UTC)
        self._start = time.monotonic()
        self._stopped: float | None = None
        self._stop = asyncio.Event()
        self._kept = Tally(side="kept", workers=kept, start=self._start)
        self._new = Tally(side="new", workers=new, start=self._start)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._started_at = datetime.now(UTC)
        self._start = self._kept.start = self._new.start = time.monotonic()
        for tally in (self._kept, self._new):
            self._tasks += [asyncio.create_task(self._work(tally=tally, number=n)) for n in range(tally.workers)]
        return self

    async def __aexit__(self, *_: object) -> None:
        # Waits for requests in flight: cancelled ones would be neither sent nor failed.
        self._stopped = time.monotonic()
        self._stop.set()
        await asyncio.gather(*self._tasks)

    def result(self) -> Result:
        """The result so far; may be read at any time."""
        failures = sorted(self._kept.failures + self._new.failures, key=lambda failure: failure.at)
        return Result(
            started_at=self._started_at,
            seconds=round((self._stopped or time.monotonic()) - self._start, 3),
            kept=self._kept.report(),
            new=self._new.report(),
            failures=tuple(failures[:MAX_FAILURES_KEPT]),
        )

    async def _work(self, *, tally: Tally, number: int) -> None:
        connection: _Connection | None = None
        async for turn in self._turns(offset=number / tally.workers):
            body = f'{{"order": "{tally.side}-{number}-{turn}"}}'
            keep = "keep-alive" if tally is self._kept else "close"
            request = f"{self._head}Connection: {keep}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
            connection = await self._send(tally=tally, connection=connection, request=request)
        if connection is not None:
            connection.writer.close()

    async def _turns(self, *, offset: float) -> AsyncIterator[int]:
        """Yields 0, 1, 2, … at the rate, until stopped. Missed turns are not caught up in a burst."""
        turn = 0
        due = self._start + self._period * offset
        while await self._runs_until(due):
            yield turn
            turn += 1
            due = max(due + self._period, time.monotonic())

    async def _runs_until(self, due: float) -> bool:
        try:
            async with asyncio.timeout_at(due):
                await self._stop.wait()
        except TimeoutError:
            return True
        return False

    def _keep_free(self, port: int) -> None:
        """Reserves the port for as long as a node's connection tracking remembers the connection cut on it.

        Linux sends a new connection from that port to the old destination, which may be gone, for 10 s after a reset by
        the server: one more effect of the cut, which was counted already.
        """
        reservation = socket.socket()
        try:
            reservation.bind(("", port))
        except OSError:
            # The port is already in use.
            reservation.close()
            return
        asyncio.get_running_loop().call_later(TRACKED_AFTER_RESET, reservation.close)

    async def _send(self, *, tally: Tally, connection: _Connection | None, request: bytes) -> _Connection | None:
        """Sends once; returns the connection if it may be used again."""
        since = time.monotonic()
        tally.sent += 1
        try:
            async with asyncio.timeout(self._timeout):
                if connection is None:
                    connection = _Connection(*await asyncio.open_connection(self._host, self._port))
                    tally.connections += 1
                answer = await connection.post(request)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            kind = _kind(error, connected=connection is not None)
            where = "while connecting" if connection is None else f"from port {connection.port}"
            tally.fail(kind=kind, error=f"{type(error).__name__}: {error} {where}")
            if connection is not None:
                connection.writer.close()
                self._keep_free(connection.port)
            await asyncio.sleep(PAUSE_AFTER_FAILURE)
            return None
        tally.answered(answer=answer, since=since)
        if tally is self._kept and not answer.close:
            return connection
        await connection.end()
        return None


def _kind(error: Exception, *, connected: bool) -> Kind:
    match error:
        case _ClosedError():
            return Kind.CLOSED
        case TimeoutError():
            return Kind.TIMEOUT
        case OSError():
            return Kind.RESET if connected else Kind.CONNECT
        case EOFError():
            return Kind.EOF
        case _:
            return Kind.PROTOCOL


class BackgroundLoad:
    """A load for synchronous tests: it runs in a thread of its own from `start()` to `stop()`."""

    def __init__(self, *, load: Load) -> None:
        self._load = load
        self._stop = asyncio.Event()
        self._loop: Future[asyncio.AbstractEventLoop] = Future()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="load")
        self._done: Future[None] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Returns once the load runs."""
        self._done = self._executor.submit(lambda: asyncio.run(self._run()))
        self._loop.result()

    def result(self) -> Result:
        """The result so far."""
        return self._load.result()

    def stop(self) -> Result:
        """Waits for the requests in flight and returns the result; harmless to repeat."""
        if self._done is not None:
            if not self._done.done():
                self._loop.result().call_soon_threadsafe(self._stop.set)
            self._done.result()
            self._executor.shutdown()
        return self._load.result()

    async def _run(self) -> None:
        async with self._load:
            self._loop.set_result(asyncio.get_running_loop())
            await self._stop.wait()


async def _main() -> None:
    parser = argparse.ArgumentParser(description="POST to a URL without ever retrying and print what happened as JSON")
    parser.add_argument("url")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--kept", type=int, default=20, help="workers that keep their connection")
    parser.add_argument("--new", type=int, default=20, help="workers that connect for each request")
    parser.add_argument("--rate", type=float, default=15.0, help="requests per second and worker, 0 for no limit")
    args = parser.parse_args()
    async with Load(url=args.url, kept=args.kept, new=args.new, rate_per_worker=args.rate or None) as load:
        await asyncio.sleep(args.seconds)
    result = load.result()
    print(json.dumps({"sent": result.sent, "failed": result.failed, **asdict(result)}, indent=2, default=str))


if __name__ == "__main__":
    asyncio.run(_main())
