"""Servers that send whatever Hypothesis makes of their protocol's own pieces: each check ends with a result of its own.

One answer for each thing that the client sends, and then the end of the connection. So a client that waits for more
than was promised to it is found as well.
"""

import asyncio
import struct
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Final

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from resilience.adapters.checks.grpc_check import check_grpc, library
from resilience.adapters.checks.http_check import check_http
from resilience.adapters.checks.postgres.connections import PostgresConnections
from resilience.adapters.checks.postgres.postgres_check import check_postgres
from resilience.adapters.checks.redis.connections import RedisConnections
from resilience.adapters.checks.redis.redis_check import check_redis
from resilience.adapters.checks.redis.stream_check import check_redis_stream
from resilience.adapters.lazy import Lazy
from resilience.adapters.net.credentials import Credentials
from resilience.adapters.net.http import HttpClient
from resilience.adapters.net.login import Logins
from resilience.api.dependency_checks import RedisVerify
from resilience.core.health.thresholds import CheckResult
from resilience.core.model.bounds import Levels
from resilience.core.model.probes import (
    GrpcProbe,
    HttpProbe,
    HttpTarget,
    PostgresProbe,
    RedisKind,
    RedisPlace,
    RedisProbe,
    RedisStreamProbe,
    SecretRef,
)
from tests.hostile.support import OneSecret, in_words, loopback_guard, tcp_server
from tests.support.counts import count

EXAMPLES: Final = settings(
    max_examples=count(12, proof=5_000), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TIMEOUT: Final = timedelta(milliseconds=400)
# Whoever promises more than it sends is waited for until here; a hundred times the time-out.
PATIENCE: Final = 40.0
SECONDS: Final = timedelta(seconds=30)
HUNDRED = Levels.most(critical=100)
Ask = Callable[[int], Awaitable[object]]


def against(answers: Sequence[bytes], ask: Ask) -> None:
    """Asks a server that sends these, and nothing else."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.read(65536)
            writer.write(answer)
            await writer.drain()

    async def run() -> None:
        async with tcp_server(serve) as port, asyncio.timeout(PATIENCE):
            await ask(port)

    asyncio.run(run())


def pieces(*words: bytes, most: int = 12) -> st.SearchStrategy[list[bytes]]:
    """Answers made of a protocol's own words, in any order, with other bytes between them."""
    part = st.sampled_from(words) | st.binary(max_size=8)
    return st.lists(st.lists(part, max_size=most).map(b"".join), min_size=1, max_size=5)


def judged(result: object) -> None:
    assert isinstance(result, CheckResult | str), result
    if isinstance(result, CheckResult):
        assert result.reason and len(result.message) < 2000


HTTP: Final = pieces(
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/0.9 999 \r\n",
    b"HTTP/1.1 101 \r\n",
    b"\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Content-Length: -1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"5\r\nhello\r\n",
    b"ffffffffffffffff\r\n",
    b"0\r\n\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Location: file:///etc/passwd\r\n",
    b"X: " + b"a" * 5000 + b"\r\n",
    b'{"components": {"db": "down"}}',
    b"\n" * 20,
)


@EXAMPLES
@given(HTTP)
@example([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"])
@example([b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000])
@example([b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 50_000])
def test_http(answers: list[bytes]) -> None:
    async def ask(port: int) -> None:
        client = HttpClient(guard=loopback_guard(), version="1")
        probe = HttpProbe(HttpTarget("127.0.0.1", port, "/"), components=True)
        known = Credentials(OneSecret(""), lambda: 0.0)
        judged(await results(check_http(probe, client=client, logins=Logins(client, known), timeout=TIMEOUT)))

    against(answers, ask)


FRAME: Final = struct.Struct("!I")


@EXAMPLES
@given(
    pieces(
        b"\0\0\0\4\0\0\0\0\0",
        b"\0\0\0\4\1\0\0\0\0",
        b"\0\0\5\0\0\0\0\0\1\0\0\0\0\0",
        b"\xff\xff\xff\0\0\0\0\0\1",
        b"\0\0\7\1\4\0\0\0\1",
        b"\0\0\x08\6\0\0\0\0\0ABCDEFGH",
        b"\0\0\x08\7\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"PRI * HTTP/2.0",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"\0\0\4\3\0\0\0\0\1\0\0\0\2",
        b"\0\0\1\x09\4\0\0\0\1\x88",
    )
)
def test_grpc(answers: list[bytes]) -> None:
    async def ask(port: int) -> None:
        probe = GrpcProbe("127.0.0.1", port, "")
        judged(
            await results(
                check_grpc(probe, library=Lazy(library), guard=loopback_guard(), user_agent="x", timeout=TIMEOUT)
            )
        )

    against(answers, ask)


async def results(asked: Awaitable[CheckResult]) -> CheckResult | str:
    """The result, or the error of a port in words; any other error fails the test."""
    kept: list[CheckResult] = []

    async def keep() -> None:
        kept.append(await asked)

    words = await in_words(keep())
    return kept[0] if kept else words


RESP: Final = pieces(
    b"+OK\r\n",
    b"-ERR no\r\n",
    b"-NOAUTH\r\n",
    b":1\r\n",
    b":99999999999999999999999\r\n",
    b"$5\r\nhello\r\n",
    b"$-1\r\n",
    b"$99999999999\r\n",
    b"*2\r\n",
    b"*-1\r\n",
    b"*1\r\n" * 50,
    b"%1\r\n",
    b"~1\r\n",
    b"_\r\n",
    b",inf\r\n",
    b"#t\r\n",
    b">2\r\n",
    b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n",
    b"$16\r\nrole:master\r\na:b\r\n\r\n",
    b"(123456789\r\n",
    b"=5\r\ntxt:x\r\n",
    b"\r\n",
)


@EXAMPLES
@given(RESP)
@example([b"*1\r\n" * 10_000])
@example([b"%1\r\n" * 10_000])
@example([b"*1000000\r\n" + b":1\r\n" * 20_000])
def test_redis(answers: list[bytes]) -> None:
    async def ask(port: int) -> None:
        connections = RedisConnections(guard=loopback_guard(), credentials=Credentials(OneSecret("x"), lambda: 0.0))
        place = RedisPlace(RedisKind.STANDALONE, (("127.0.0.1", port),))
        probe = RedisProbe(place, frozenset({RedisVerify.ROLE, RedisVerify.WRITE, RedisVerify.LAG}), SECONDS)
        judged(await results(check_redis(probe, connections=connections, timeout=TIMEOUT)))
        stream = RedisStreamProbe(place, "jobs", "workers", HUNDRED, HUNDRED, HUNDRED, "dead")
        judged(await results(check_redis_stream(stream, connections=connections, timeout=TIMEOUT)))
        await connections.close()

    against(answers, ask)


def message(kind: bytes, body: bytes) -> bytes:
    return kind + FRAME.pack(len(body) + 4) + body


POSTGRES: Final = pieces(
    b"N",
    b"S",
    message(b"R", b"\0\0\0\0"),
    message(b"R", b"\0\0\0\3"),
    message(b"R", b"\0\0\0\5abcd"),
    message(b"R", b"\0\0\0\x0aSCRAM-SHA-256\0\0"),
    message(b"R", b"\0\0\0\x0br=x,s=eA==,i=4096"),
    message(b"R", b"\0\0\0\x0c"),
    message(b"R", b""),
    message(b"Z", b"I"),
    message(b"Z", b""),
    message(b"K", b"\0\0\0\1\0\0\0\2"),
    message(b"S", b"server_version\x0016.0\0"),
    message(b"S", b"server_version\0many\0"),
    message(b"E", b"SFATAL\0C28P01\0Mno\0\0"),
    message(b"E", b"S"),
    message(b"T", b"\0\1a\0\0\0\0\0\0\0\0\0\0\x17\0\4\xff\xff\xff\xff\0\0"),
    message(b"D", b"\xff\xff"),
    message(b"C", b"SELECT 1\0"),
    message(b"1", b""),
    message(b"2", b""),
    message(b"t", b"\0\0"),
    message(b"n", b""),
    b"R" + FRAME.pack(3),
    b"D" + FRAME.pack(0x7FFFFFFF),
    b"R" + FRAME.pack(0xFFFFFFFF),
    message(b"v", b"\0\0\0\0\0\0\0\0"),
    message(b"N", b"SNOTICE\0\0"),
    message(b"A", b"\0\0\0\1a\0b\0"),
    message(b"G", b"\0\0\0"),
)


@EXAMPLES
@given(POSTGRES)
def test_postgresql(answers: list[bytes]) -> None:
    async def ask(port: int) -> None:
        secrets = OneSecret(f"postgres://app:secret@127.0.0.1:{port}/shop?sslmode=disable")
        connections = PostgresConnections(credentials=Credentials(secrets, lambda: 0.0), guard=loopback_guard())
        probe = PostgresProbe(SecretRef("shop", "login", "dsn"), "SELECT 1", 0.8, 5)
        judged(await results(check_postgres(probe, connections=connections, timeout=TIMEOUT)))
        await connections.close()

    against(answers, ask)
