"""The redisStream check against a real server."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from resilience.adapters.checks.redis.link import ANSWER_LIMIT
from resilience.api.dependency_checks import RedisVerify
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.bounds import NO_LEVELS, Levels
from resilience.core.model.probes import RedisKind, RedisPlace, RedisProbe, RedisStreamProbe
from tests.support import redis
from tests.support.host import needs
from tests.support.redis import HOST, Server
from tests.support.redis_checks import asking, secret, told

pytestmark = needs(redis.PROGRAM)
FAIL, PASS, WARN, UNKNOWN = Outcome.FAIL, Outcome.PASS, Outcome.WARN, Outcome.INCONCLUSIVE
# What the group of the tests is called, and its stream; names that need care on the wire.
LAG = Levels.most(critical=300)
STREAM, GROUP = "shop orders\r\n{1} ü", "the workers"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with redis.running(tmp_path_factory.mktemp("stream")) as server:
        yield server


@pytest.fixture
def server(running: Server) -> Server:
    running.command("FLUSHALL")
    return running


def probe(server: Server, *, group: str = GROUP, stream: str = STREAM, **more: Any) -> RedisStreamProbe:
    place = RedisPlace(RedisKind.STANDALONE, ((HOST, server.port),))
    limits: dict[str, Any] = {"length": Levels.most(warning=10), "pending": Levels.most(warning=3), "lag": LAG}
    found = RedisStreamProbe(place=place, stream=stream, group=group, **limits)
    return replace(found, **more)


def add(server: Server, *, seconds_ago: float = 0.0, count: int = 1, stream: str = STREAM, value: str = "x") -> None:
    milliseconds = int((time.time() - seconds_ago) * 1000)
    for number in range(count):
        server.command("XADD", stream, f"{milliseconds}-{number}", "key", value)


def group(server: Server) -> None:
    server.command("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")


def deliver(server: Server, count: int) -> list[str]:
    told = server.command("XREADGROUP", "GROUP", GROUP, "consumer", "COUNT", count, "STREAMS", STREAM, ">")
    return [entry[0] for entry in told[0][1]]


async def check(asked: RedisStreamProbe, password: str = "") -> CheckResult:
    async with asking(password=password) as asker:
        return await asker.check(asked)


def words(result: CheckResult) -> str:
    return result.message.removeprefix(f"Redis stream {STREAM!r}, group {GROUP!r}: ")


async def test_a_group_that_keeps_up(server: Server) -> None:
    group(server)
    empty = await check(probe(server))
    assert told(empty) == (PASS, "KeepsUp")
    assert words(empty) == "0 entries, 0 not acknowledged, 0 not delivered"
    assert empty.latency_seconds is not None and 0 < empty.latency_seconds < 1
    add(server, count=5, seconds_ago=95)
    waiting = await check(probe(server))
    assert told(waiting) == (PASS, "KeepsUp")
    expected = "5 entries, 0 not acknowledged, 5 not delivered, the oldest of these about 1m old"
    assert words(waiting) == expected
    first, second = deliver(server, 2)
    assert words(await check(probe(server))) == expected.replace("0 not ack", "2 not ack").replace("5 not d", "3 not d")
    server.command("XACK", STREAM, GROUP, first, second, *deliver(server, 3))
    assert words(await check(probe(server))) == "5 entries, 0 not acknowledged, 0 not delivered"


async def test_without_a_group_only_the_length_counts(server: Server) -> None:
    add(server, count=10, seconds_ago=10_000)
    found = await check(probe(server, group=""))
    assert told(found) == (PASS, "Answered")
    assert found.message == f"Redis stream {STREAM!r}: 10 entries"
    add(server, count=225)
    long = await check(probe(server, group=""))
    assert told(long) == (WARN, "StreamTooLong")
    assert long.message == f"Redis stream {STREAM!r}: about 240 entries, more than 10"


async def test_what_is_not_there(server: Server) -> None:
    missing = await check(probe(server))
    assert told(missing) == (FAIL, "NoSuchStream")
    assert words(missing) == f"127.0.0.1:{server.port} has no such key"
    server.command("SET", STREAM, "no stream")
    for asked in (probe(server), probe(server, group="")):
        assert told(await check(asked)) == (FAIL, "NotAStream")
    server.command("DEL", STREAM)
    add(server)
    assert told(await check(probe(server))) == (FAIL, "NoSuchGroup")
    group(server)
    server.command("XGROUP", "CREATE", STREAM, "another", "0")
    assert told(await check(probe(server))) == (PASS, "KeepsUp")


async def test_too_many_pending(server: Server) -> None:
    group(server)
    add(server, count=12)
    deliver(server, 4)
    pending = await check(probe(server))
    # Both are so; the longest is said first.
    assert told(pending) == (WARN, "StreamTooLong")
    assert words(pending) == "12 entries, more than 10; 4 entries are not acknowledged, more than 3"
    roomy = Levels.most(warning=100)
    assert told(await check(probe(server, length=roomy))) == (WARN, "TooManyPending")
    assert told(await check(probe(server, length=roomy, pending=Levels.most(warning=4)))) == (PASS, "KeepsUp")


async def test_a_group_that_is_behind(server: Server) -> None:
    group(server)
    add(server, seconds_ago=905, count=2)
    add(server, count=20)
    undelivered = await check(probe(server))
    # Worse than that it is long.
    assert told(undelivered) == (FAIL, "GroupLags")
    expected = "behind by more than 5m: 0 not acknowledged, 22 not delivered, the oldest of these about 15m old"
    assert words(undelivered) == expected
    old = deliver(server, 2)
    pending = await check(probe(server))
    assert told(pending) == (FAIL, "GroupLags")
    assert words(pending) == expected.replace("0 not ack", "2 not ack").replace("22 not", "20 not")
    server.command("XACK", STREAM, GROUP, *old)
    assert told(await check(probe(server))) == (WARN, "StreamTooLong")
    assert told(await check(probe(server, length=Levels.most(warning=100)))) == (PASS, "KeepsUp")


async def test_a_pending_entry_that_is_gone_still_waits(server: Server) -> None:
    group(server)
    add(server, seconds_ago=7300)
    add(server)
    server.command("XDEL", STREAM, *deliver(server, 1))
    behind = await check(probe(server))
    assert told(behind) == (FAIL, "GroupLags")
    assert words(behind).endswith("the oldest of these about 2h old")


async def test_what_the_server_cannot_count_is_left_out(server: Server) -> None:
    group(server)
    add(server, count=4)
    deliver(server, 1)
    second = server.command("XRANGE", STREAM, "-", "+", "COUNT", 3)[2][0]
    server.command("XDEL", STREAM, second)
    found = await check(probe(server))
    assert told(found) == (PASS, "KeepsUp")
    assert words(found) == "3 entries, 1 not acknowledged, the oldest of these less than 10s old"


async def test_ids_that_are_no_times(server: Server) -> None:
    group(server)
    for identity in ("1-1", "2-1"):
        server.command("XADD", STREAM, identity, "key", "x")
    ageless = await check(probe(server))
    assert told(ageless) == (PASS, "KeepsUp")
    said = "2 entries, 0 not acknowledged, 2 not delivered, ids are not times, so that the age of some is not known"
    assert words(ageless) == said
    deliver(server, 1)
    assert told(await check(probe(server))) == (PASS, "KeepsUp")
    add(server, seconds_ago=-30)
    deliver(server, 1)
    # A clock that is ahead makes no age that is negative.
    assert "the oldest of these less than 10s old, ids are not times" in words(await check(probe(server)))
    server.command("XADD", STREAM, "18446744073709551615-18446744073709551615", "key", "x")
    assert told(await check(probe(server))) == (PASS, "KeepsUp")
    deliver(server, 10)
    assert told(await check(probe(server, pending=Levels.most(warning=10)))) == (PASS, "KeepsUp")


async def test_a_big_entry_says_nothing_of_the_queue(server: Server) -> None:
    group(server)
    add(server, value="x" * ANSWER_LIMIT)
    async with asking() as asker:
        found = await asker.check(probe(server))
        assert told(found) == (UNKNOWN, "AnswerTooLong")
        assert "the answer is longer than 4096 KiB" in found.message
        deliver(server, 1)
        after = await asker.check(probe(server))
        assert told(after) == (PASS, "KeepsUp") and after.reconnected


async def test_it_shares_the_connection_with_the_redis_check(server: Server) -> None:
    group(server)
    before = server.clients()
    async with asking() as asker:
        asked = [probe(server, length=Levels.most(warning=each)) for each in range(1, 50)]
        results = await asyncio.gather(*map(asker.check, asked))
        assert {told(each) for each in results} == {(PASS, "KeepsUp")}
        plain = RedisProbe(asked[0].place, frozenset({RedisVerify.ROLE}), timedelta(seconds=10))
        assert told(await asker.check(plain)) == (PASS, "Answered")
        assert server.clients() == before + 1


async def test_a_user_who_may_not_look(tmp_path: Path) -> None:
    users = ("--user", "default", "on", ">the-password", "~*", "&*", "+@all", "-xinfo")
    client = {"password": "the-password"}
    with redis.running(tmp_path, *users, client=client) as server:
        group(server)
        place = RedisPlace(RedisKind.STANDALONE, ((HOST, server.port),), password=secret("password"))
        found = await check(probe(server, place=place), password="the-password")
        assert told(found) == (UNKNOWN, "NotPermitted")
        assert "does not let the check's user run XINFO" in found.message
        unchecked = await check(probe(server, place=place, group=""), password="the-password")
        assert told(unchecked) == (PASS, "Answered")


async def test_the_master_that_sentinels_know(tmp_path: Path, server: Server) -> None:
    group(server)
    with redis.sentinels(tmp_path, server, name="shop", count=1, quorum=1) as found:
        addresses = tuple((HOST, each.port) for each in found)
        place = RedisPlace(RedisKind.SENTINEL, addresses, master_name="shop")
        assert told(await check(probe(server, place=place))) == (PASS, "KeepsUp")
        found[0].kill()
        assert told(await check(probe(server, place=place))) == (FAIL, "SentinelsDown")


async def test_where_it_cannot_be(server: Server) -> None:
    cluster = RedisPlace(RedisKind.CLUSTER, ((HOST, server.port),))
    assert told(await check(probe(server, place=cluster))) == (UNKNOWN, "AddressRefused")


async def test_a_server_that_hangs_or_is_gone(tmp_path: Path) -> None:
    with redis.running(tmp_path) as server:
        group(server)
        async with asking() as asker:
            assert told(await asker.check(probe(server))) == (PASS, "KeepsUp")
            with server.stopped():
                assert told(await asker.check(probe(server), seconds=0.3)) == (FAIL, "Timeout")
            back = await asker.check(probe(server))
            assert told(back) == (PASS, "KeepsUp") and back.reconnected
            server.kill()
            assert told(await asker.check(probe(server))) == (FAIL, "ConnectionRefused")


@pytest.mark.parametrize(
    ("bounds", "outcome", "reason"),
    [
        ({"lag": Levels.most(warning=60)}, WARN, "GroupLags"),
        ({"lag": Levels.most(warning=60, critical=120)}, FAIL, "GroupLags"),
        ({"length": Levels.most(warning=2, critical=10)}, WARN, "StreamTooLong"),
        ({"length": Levels.most(warning=2, critical=5)}, FAIL, "StreamTooLong"),
        ({"pending": Levels.most(critical=3)}, FAIL, "TooManyPending"),
        # The worst decides, and it alone is told.
        ({"length": Levels.most(warning=2), "pending": Levels.most(critical=3)}, FAIL, "TooManyPending"),
        ({"lag": Levels.most(critical=60), "pending": Levels.most(critical=3)}, FAIL, "GroupLags"),
        ({}, PASS, "KeepsUp"),
    ],
)
async def test_bounds_by_severity(server: Server, bounds: dict[str, Any], outcome: Outcome, reason: str) -> None:
    group(server)
    add(server, seconds_ago=150, count=6)
    deliver(server, 4)
    roomy = probe(server, length=NO_LEVELS, lag=NO_LEVELS, pending=NO_LEVELS)

    result = await check(replace(roomy, **bounds))

    assert told(result) == (outcome, reason), result


async def test_deleted_entries_make_no_lag(server: Server) -> None:
    # Servers cannot count a lag behind deleted entries, and some count a wrong one (redis/redis#13337, #13957).
    group(server)
    add(server, seconds_ago=900, count=4)
    for entry in deliver(server, 1):
        server.command("XACK", STREAM, GROUP, entry)
    server.command("XTRIM", STREAM, "MAXLEN", 0)
    assert told(await check(probe(server))) == (PASS, "KeepsUp")
    add(server, count=1)
    for entry in deliver(server, 1):
        server.command("XACK", STREAM, GROUP, entry)
    caught_up = await check(probe(server))
    assert told(caught_up) == (PASS, "KeepsUp") and "old" not in caught_up.message, caught_up
