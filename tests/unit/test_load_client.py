"""The load client must see every lost request and invent none: each way to lose one, made on purpose."""

import asyncio
import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.load import BackgroundLoad, Load
from tests.support.load_report import Kind, Result
from tests.support.vegeta import attack

BODY = b'{"version": "1", "pod": "a"}'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
OK_CLOSE = b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
OK_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n" + BODY[:7] + b"\r\n15;x=y\r\n" + BODY[7:]
OK_CHUNKED += b"\r\n0\r\n\r\n"

HARD_EXIT = """
import os, socket
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
connection, _ = listener.accept()
for _ in range(5):
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
connection.recv(65536)
os._exit(0)
"""


@dataclass(slots=True)
class Counter:
    url: str = ""
    requests: int = 0
    connections: int = 0


Behaviour = Callable[[int, asyncio.StreamWriter], Awaitable[bool]]


@asynccontextmanager
async def serving(answer: Behaviour) -> AsyncIterator[Counter]:
    """A server that calls `answer(n, writer)` for the n-th request, and keeps the connection if that returns True."""
    counter = Counter()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        counter.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                assert head.startswith(b"POST /x?y=1 HTTP/1.1\r\n")
                await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
                counter.requests += 1
                if not await answer(counter.requests, writer) or b"Connection: close" in head:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    counter.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x?y=1"
    async with server:
        yield counter


async def loaded(*, url: str, kept: int = 1, new: int = 0, requests: int = 12, timeout: float = 5.0) -> Result:
    """The result of at least so many requests, however long this machine takes for them."""
    async with Load(url=url, kept=kept, new=new, rate_per_worker=300, timeout=timeout) as load:
        await have_sent(load, requests)
    return load.result()


async def have_sent(load: Load, requests: int) -> None:
    async with asyncio.timeout(20):
        while load.result().sent < requests:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def saying(data: bytes) -> Behaviour:
    async def answer(_: int, writer: asyncio.StreamWriter) -> bool:
        writer.write(data)
        return True

    return answer


def every(number: int, special: Behaviour) -> Behaviour:
    async def answer(request: int, writer: asyncio.StreamWriter) -> bool:
        return await (saying(OK) if request % number else special)(request, writer)

    return answer


async def announced(_: int, writer: asyncio.StreamWriter) -> bool:
    writer.write(OK_CLOSE)
    return False


async def unannounced(_: int, writer: asyncio.StreamWriter) -> bool:
    writer.write(OK)
    return False


async def reset(_: int, writer: asyncio.StreamWriter) -> bool:
    writer.write(OK[:-5])
    await writer.drain()
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False


async def cut(_: int, writer: asyncio.StreamWriter) -> bool:
    writer.write(OK[:-5])
    return False


async def silent(_: int, __: asyncio.StreamWriter) -> bool:
    await asyncio.sleep(10)
    return False


async def test_a_faithful_server_fails_nothing() -> None:
    async with serving(saying(OK)) as server:
        result = await loaded(url=server.url, kept=3, new=2)
    assert (result.failed, result.failures) == (0, ())
    assert result.sent == server.requests == result.kept.statuses[200] + result.new.statuses[200]
    assert (result.kept.connections, result.kept.reconnects) == (3, 0)
    assert result.new.connections == result.new.sent > 4
    assert (result.versions, result.pods) == ({"1"}, {"a"})
    seen = result.kept.versions["1"]
    assert 0 <= seen.first < seen.last < result.seconds + 0.1
    assert seen.count == result.kept.sent
    assert 0 < result.kept.p50_ms <= result.kept.p99_ms


async def test_the_rate_is_kept() -> None:
    async with serving(saying(OK)) as server, Load(url=server.url, kept=2, new=0, rate_per_worker=50) as load:
        await have_sent(load, 10)
    result = load.result()
    # Each worker begins with one at once.
    assert result.sent <= 2 * (50 * result.seconds + 1) + 1


async def test_no_rate_is_as_fast_as_it_goes() -> None:
    async with serving(saying(OK)) as server, Load(url=server.url, kept=2, new=0, rate_per_worker=None) as load:
        await have_sent(load, 40)
    assert load.result().failed == 0


async def test_chunked_answers_are_read() -> None:
    async with serving(saying(OK_CHUNKED)) as server:
        result = await loaded(url=server.url)
    assert result.failed == 0
    assert result.kept.connections == 1
    assert result.versions == {"1"}


async def test_an_announced_close_is_followed() -> None:
    async with serving(every(3, announced)) as server:
        result = await loaded(url=server.url)
    assert result.failed == 0
    assert result.kept.reconnects >= 2
    assert result.kept.connections == server.connections


@pytest.mark.parametrize(
    ("special", "kind"),
    [
        (unannounced, Kind.CLOSED),
        (cut, Kind.EOF),
        (silent, Kind.TIMEOUT),
        (saying(b"HTTP/1.1 what\r\n\r\n"), Kind.PROTOCOL),
    ],
)
async def test_every_other_end_of_a_connection_is_a_failure(special: Behaviour, kind: Kind) -> None:
    async with serving(every(4, special)) as server:
        result = await loaded(url=server.url, requests=5, timeout=0.5)
    assert result.failed >= 1
    assert result.kept.kinds == {kind: result.failed}
    assert result.kept.reconnects >= result.failed - 1
    failure = result.failures[0]
    assert (failure.side, failure.kind) == ("kept", kind)
    assert 0 < failure.at <= result.seconds + 0.5
    assert failure.error


async def test_nothing_is_ever_sent_again() -> None:
    async with serving(every(4, cut)) as server:
        result = await loaded(url=server.url, kept=2, new=2)
    assert result.kept.failed > 0
    assert result.new.failed > 0
    assert server.requests == result.sent


async def test_a_reset_in_the_middle_is_a_failure() -> None:
    async with serving(every(4, reset)) as server:
        result = await loaded(url=server.url)
    assert result.failed >= 1
    assert result.kept.kinds == {Kind.RESET: result.failed}


@pytest.mark.parametrize("status", [b"302 Found", b"503 Service Unavailable"])
async def test_all_but_2xx_is_a_failure_and_the_connection_goes_on(status: bytes) -> None:
    async with serving(saying(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\nno")) as server:
        result = await loaded(url=server.url, requests=25)
    assert result.sent == result.failed == result.kept.kinds[Kind.STATUS] > 20
    assert result.kept.connections == 1
    assert len(result.failures) == 20
    assert result.failures[0].error == f"{int(status[:3])} b'no'"


async def test_a_refused_connection_is_a_failure_but_not_a_thousand() -> None:
    async with serving(saying(OK)) as server:
        pass
    result = await loaded(url=server.url, kept=1, new=1, requests=2)
    assert 2 <= result.sent == result.failed < 15
    assert result.kept.kinds == {Kind.CONNECT: result.kept.failed}
    assert result.kept.connections == 0


async def test_requests_in_flight_at_the_end_are_counted() -> None:
    async def slow(_: int, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(0.5)
        writer.write(OK)
        return True

    async with serving(slow) as server:
        result = await loaded(url=server.url, kept=2, new=2, requests=4)
    assert (result.sent, result.failed, server.requests) == (4, 0, 4)


def test_a_hard_exit_fails_the_request_in_flight() -> None:
    with subprocess.Popen([sys.executable, "-c", HARD_EXIT], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        with BackgroundLoad(load=Load(url=url, kept=1, new=0, rate_per_worker=100)) as load:
            server.wait(timeout=5)
            time.sleep(0.1)
            before = load.result()
    after = load.stop()
    assert before.kept.statuses == after.kept.statuses == {200: 5}
    assert after.failures[0].kind in {Kind.EOF, Kind.RESET}
    assert {failure.kind for failure in after.failures[1:]} == {Kind.CONNECT}


async def test_the_command_prints_json() -> None:
    async with serving(saying(OK)) as server:
        command = [sys.executable, "-m", "tests.support.load", server.url, "--seconds", "0.2", "--kept=1", "--new=1"]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
    report = json.loads(output)
    assert report["sent"] == report["kept"]["sent"] + report["new"]["sent"] == server.requests > 0
    assert report["failed"] == 0


@pytest.mark.parametrize("url", ["https://shop", "shop:80", "http://"])
def test_only_plain_http_is_spoken(url: str) -> None:
    with pytest.raises(ValueError, match="not an http"):
        Load(url=url)


def test_a_vegeta_report_is_read(tmp_path: Path) -> None:
    report = {
        "requests": 10,
        "status_codes": {"200": 7, "0": 2, "302": 1},
        "latencies": {"50th": 5_000_000, "99th": 9_500_000},
        "errors": ["EOF"],
    }
    binary = tmp_path / "vegeta"
    binary.write_text(
        f'#!/bin/sh\nif [ $1 = attack ]; then echo "$@" > {tmp_path}/arguments; cat > {tmp_path}/target; exit; fi\n'
        f"echo '{json.dumps(report)}'\n"
    )
    binary.chmod(0o755)
    result = attack(binary=binary, url="http://shop/", rate=50, duration=timedelta(seconds=2))
    assert (result.sent, result.failed, result.p50_ms, result.p99_ms, result.errors) == (10, 3, 5.0, 9.5, ("EOF",))
    assert result.statuses == {200: 7, 0: 2, 302: 1}
    assert json.loads((tmp_path / "target").read_text())["method"] == "POST"
    assert "-rate=50/s -duration=2000ms -keepalive=false" in (tmp_path / "arguments").read_text()
