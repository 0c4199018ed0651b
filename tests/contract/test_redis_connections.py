"""Connections of the redis check: how many, and to servers that hang, go away or are none."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from resilience.adapters.checks.redis import connections
from resilience.adapters.checks.redis.link import ANSWER_LIMIT
from resilience.api.dependency_checks import RedisVerify
from resilience.core.health.thresholds import Outcome
from resilience.core.model.probes import RedisKind
from tests.support import redis
from tests.support.host import needs
from tests.support.redis import HOST, Server
from tests.support.redis_checks import asking, probe, told

pytestmark = needs(redis.PROGRAM)
FAIL, PASS, UNKNOWN = Outcome.FAIL, Outcome.PASS, Outcome.INCONCLUSIVE
ROLE, WRITE, LAG = RedisVerify.ROLE, RedisVerify.WRITE, RedisVerify.LAG


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with redis.running(tmp_path_factory.mktemp("master"), "--enable-debug-command", "yes") as server:
        yield server


async def test_one_connection_for_all_checks(master: Server) -> None:
    before = master.clients()
    async with asking() as asker:
        probes = [probe(master, ROLE, WRITE, max_lag=number) for number in range(200)]
        results = await asyncio.gather(*map(asker.check, probes))
        assert {told(each) for each in results} == {(PASS, "Answered")}
        assert master.clients() == before + 1
        assert told(await asker.check(probe(master, database=1))) == (PASS, "Answered")
        assert master.clients() == before + 2
    redis.until(lambda: master.clients() == before, what="closed connections")


async def test_what_nobody_uses_is_closed(master: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "KEPT", timedelta(milliseconds=200))
    before = master.clients()
    async with asking() as asker:
        for _ in range(3):
            assert told(await asker.check(probe(master))) == (PASS, "Answered")
            await asyncio.sleep(0.1)
        assert master.clients() == before + 1
        await asyncio.sleep(0.3)
        assert master.clients() == before
        again = await asker.check(probe(master))
        # That we closed it ourselves is nobody's reconnect.
        assert told(again) == (PASS, "Answered") and not again.reconnected


async def test_there_is_a_bound(master: Server) -> None:
    before = master.clients()
    async with asking(most=2) as asker:
        for database in range(5):
            assert told(await asker.check(probe(master, database=database))) == (PASS, "Answered")
        assert master.clients() == before + 2
        with master.stopped():
            busy = [asyncio.create_task(asker.check(probe(master, database=each), seconds=0.5)) for each in (0, 1)]
            await asyncio.sleep(0.1)
            assert told(await asker.check(probe(master, database=2))) == (UNKNOWN, "OwnResourcesExhausted")
            assert {told(await each) for each in busy} == {(FAIL, "Timeout")}


async def test_a_server_that_hangs_and_whose_late_answer_is_not_taken(tmp_path: Path) -> None:
    with redis.running(tmp_path) as server:
        async with asking() as asker:
            assert told(await asker.check(probe(server))) == (PASS, "Answered")
            with server.stopped():
                for words in ((ROLE,), (ROLE, WRITE)):
                    began = time.monotonic()
                    hanging = await asker.check(probe(server, *words), seconds=0.4)
                    assert told(hanging) == (FAIL, "Timeout")
                    assert hanging.message == f"127.0.0.1:{server.port}: no answer within 400ms"
                    assert time.monotonic() - began < 1
            back = await asker.check(probe(server, WRITE, ROLE, LAG))
            assert told(back) == (PASS, "Answered") and back.reconnected
            redis.until(lambda: server.clients() == 1, what="one connection")


async def test_all_that_wait_for_a_server_that_hangs_fail(tmp_path: Path) -> None:
    with redis.running(tmp_path) as server:
        async with asking() as asker:
            assert told(await asker.check(probe(server))) == (PASS, "Answered")
            with server.stopped():
                probes = [probe(server, max_lag=number) for number in range(1, 20)]
                results = await asyncio.gather(*(asker.check(each, seconds=0.4) for each in probes))
            assert {told(each) for each in results} == {(FAIL, "Timeout")}


async def test_a_slow_answer(master: Server) -> None:
    async with asking() as asker:
        assert told(await asker.check(probe(master))) == (PASS, "Answered")
        sleeping = asyncio.create_task(asyncio.to_thread(master.command, "DEBUG", "SLEEP", "0.6"))
        await asyncio.sleep(0.2)
        assert told(await asker.check(probe(master), seconds=0.2)) == (FAIL, "Timeout")
        slow = await asker.check(probe(master))
        assert told(slow) == (PASS, "Answered")
        await sleeping


async def test_gone_and_back(tmp_path: Path) -> None:
    with redis.running(tmp_path) as server:
        async with asking() as asker:
            assert not (await asker.check(probe(server))).reconnected
            # Nobody has noticed that it was away.
            server.kill()
            server.start()
            back = await asker.check(probe(server))
            assert told(back) == (PASS, "Answered") and back.reconnected
            assert not (await asker.check(probe(server))).reconnected
            server.kill()
            for _ in range(2):
                gone = await asker.check(probe(server))
                assert told(gone) == (FAIL, "ConnectionRefused")
                assert gone.message == f"127.0.0.1:{server.port}: the connection was refused"
            server.start()
            back = await asker.check(probe(server))
            assert told(back) == (PASS, "Answered") and back.reconnected


async def test_a_kept_connection_does_not_hide_who_answers_now(tmp_path: Path, master: Server) -> None:
    with redis.running(tmp_path) as old:
        names = {"redis.shop": [HOST]}
        forward = Forward(old.port)
        async with forward.serving() as port, asking(resolve=resolver(names)) as asker:
            asked = probe(port, host="redis.shop")
            assert told(await asker.check(asked)) == (PASS, "Answered")
            old.command("REPLICAOF", HOST, master.port)
            forward.port = master.port
            assert told(await asker.check(asked)) == (PASS, "Answered")


def resolver(names: dict[str, list[str]]) -> Callable[[str], Awaitable[list[str]]]:
    async def resolve(host: str) -> list[str]:
        return names[host]

    return resolve


class Forward:
    """A Service: new connections go to `port`, old ones stay where they are."""

    def __init__(self, port: int) -> None:
        self.port = port

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._forward, HOST, 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection(HOST, self.port)
        await asyncio.gather(_pump(reader, to_writer), _pump(to_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
    except OSError:
        pass
    finally:
        writer.close()


async def test_names_are_resolved_here_and_every_time(tmp_path: Path, master: Server) -> None:
    names = {"redis.shop": ["127.0.0.9", HOST]}
    async with asking(resolve=resolver(names)) as asker:
        asked = probe(master, host="redis.shop")
        # The first address refuses, the second answers.
        assert told(await asker.check(asked)) == (PASS, "Answered")
        names["redis.shop"] = ["127.0.0.9"]
        assert told(await asker.check(asked)) == (FAIL, "ConnectionRefused")
        names["redis.shop"] = ["169.254.169.254"]
        assert told(await asker.check(asked)) == (UNKNOWN, "AddressRefused")
    async with asking(networks=()) as stranger:
        assert told(await stranger.check(probe(master))) == (UNKNOWN, "AddressRefused")


@asynccontextmanager
async def saying(what: bytes, *, first: bool = False, every: float = 0.0) -> AsyncIterator[int]:
    """A server that says the same to everything, or before anything."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while first or await reader.read(65536):
                await asyncio.sleep(every)
                writer.write(what)
                await writer.drain()
                if not every:
                    break
            await reader.read()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"", "Timeout"),
        (b"+PO", "Timeout"),
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "NotRedis"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "Timeout"),
        (b"+OK\r\n+OK\r\n", "NotRedis"),
        (b":1\r\n:2\r\n", "NotRedis"),
        (b"*1\r\n" * 5000, "NotRedis"),
        (b"$abc\r\n", "NotRedis"),
        (b"$99999999999\r\n", "AnswerTooLong"),
        (b"*1000000000\r\n" + b":1\r\n" * (ANSWER_LIMIT // 4 + 1), "AnswerTooLong"),
        (b"+" + b"x" * 100_000, "NotRedis"),
        (b"-LOADING Redis is loading the dataset in memory\r\n", "Loading"),
        (b"-DENIED Redis is running in protected mode\r\n" * 2, "ProtectedMode"),
        (b"-MASTERDOWN Link with MASTER is down\r\n" * 2, "MasterLinkDown"),
        (b"-CLUSTERDOWN The cluster is down\r\n" * 2, "ClusterDown"),
        (b"-MOVED garbage\r\n" * 2, "NotRedis"),
        (b"-WRONGPASS " + b"x" * 100 + b"\r\n", "AuthenticationFailed"),
        (b"-ERR leaked <b>words</b>\r\n" * 2, "ErrorReply"),
        (b"-l33t words\r\n" * 2, "ErrorReply"),
        (b"+PONG\r\n*5\r\n$5\r\nslave\r\n$3\r\na\nb\r\n:1\r\n$1\r\nx\r\n:1\r\n", "NotRedis"),
        (b"+PONG\r\n*5\r\n$5\r\nslave\r\n$3\r\n::1\r\n:1\r\n$1\r\nx\r\n:1\r\n", "NotMaster"),
        (b"+PONG\r\n*2\r\n$8\r\nsentinel\r\n*0\r\n", "NotMaster"),
        (b"+PONG\r\n*0\r\n", "NotMaster"),
    ],
)
async def test_strangers(said: bytes, reason: str) -> None:
    async with saying(said) as port, asking() as asker:
        result = await asker.check(probe(port), seconds=0.5 if reason == "Timeout" else 3)
        assert told(result) == (FAIL, reason), result
        for theirs in ("leaked", "l33t", "a\nb", "garbage", "xxx", "Bad"):
            assert theirs not in result.message


@pytest.mark.parametrize(
    "said", [b"*2\r\n$5\r\ne\nvil\r\n$1\r\n1\r\n", b"*2\r\n:1\r\n:1\r\n", b"*1\r\n$1\r\nx\r\n", b"$4\r\nevil\r\n"]
)
async def test_sentinels_that_tell_nonsense(said: bytes) -> None:
    async with saying(said) as port, asking() as asker:
        result = await asker.check(probe(port, kind=RedisKind.SENTINEL, master_name="shop"))
        assert told(result) == (FAIL, "NotRedis")
        assert "vil" not in result.message


async def test_a_server_that_closes_at_once() -> None:
    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(close, HOST, 0)
    async with server, asking() as asker:
        result = await asker.check(probe(int(server.sockets[0].getsockname()[1])))
        assert result.outcome is FAIL and result.reason in {"ConnectionClosed", "ConnectionReset"}, result


async def test_words_that_nobody_asked_for_are_no_answer() -> None:
    """What arrives between two runs must not be taken for the answer of the second."""
    async with saying(b"+PONG\r\n+PONG\r\n+PONG\r\n") as port, asking() as asker:
        asked = replace(probe(port), verify=frozenset())
        assert told(await asker.check(asked)) == (PASS, "Answered")
        await asyncio.sleep(0.05)
        again = await asker.check(asked)
        assert told(again) == (PASS, "Answered") and again.reconnected


async def test_waiting_for_others_is_not_the_servers_fault() -> None:
    async with saying(b"+PONG\r\n", every=0.1) as port, asking() as asker:
        probes = [replace(probe(port, max_lag=each), verify=frozenset()) for each in range(12)]
        results = [told(each) for each in await asyncio.gather(*(asker.check(each, seconds=0.45) for each in probes))]
        assert set(results) == {(PASS, "Answered"), (UNKNOWN, "Timeout")}
        assert results.count((PASS, "Answered")) >= 2
