"""Dead letters of a real Redis: each goes back once, whatever happens in between."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from resilience.adapters.checks.redis.dead_letters import RedisDeadLetters
from resilience.core.health.thresholds import Outcome
from resilience.core.model.bounds import NO_LEVELS
from resilience.core.model.destinations import DeadLetters
from resilience.core.model.probes import RedisKind, RedisPlace, RedisStreamProbe
from resilience.ports import Refused, Unavailable
from tests.support import redis
from tests.support.host import needs
from tests.support.redis import HOST, Server
from tests.support.redis_checks import asking, secret

pytestmark = needs(redis.PROGRAM)

HOUR = timedelta(hours=1)
LETTERS = DeadLetters(
    RedisPlace(RedisKind.STANDALONE, ((HOST, 1),)), stream="jobs", dead_letter="dlq", max_age=24 * HOUR, batch=10
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with redis.running(tmp_path) as running:
        yield running


def letters(server: Server, **place: object) -> DeadLetters:
    where = RedisPlace(RedisKind.STANDALONE, ((HOST, server.port),), **place)  # type: ignore[arg-type]
    return replace(LETTERS, place=where)


def bury(server: Server, count: int, *, hours_ago: float = 0) -> None:
    now = int(server.command("TIME")[0]) * 1000
    for number in range(count):
        server.command("XADD", "dlq", f"{round(now - hours_ago * 3_600_000)}-{number + 1}", "job", str(number))


async def test_in_batches_oldest_first_and_the_too_old_stay(server: Server) -> None:
    bury(server, 3, hours_ago=25)
    bury(server, 25)
    async with asking() as asker:
        office = RedisDeadLetters(connections=asker.connections)
        found = [await office.replay(letters(server)) for _ in range(4)]
    assert [(each.moved, each.left, each.more) for each in found] == [
        (10, 18, True),
        (10, 8, True),
        (5, 3, False),
        (0, 3, False),
    ]
    jobs = [entry[1][1] for entry in server.command("XRANGE", "jobs", "-", "+")]
    assert jobs == [str(number) for number in range(25)]


async def test_a_group_gets_each_once_though_many_replay_at_once(server: Server) -> None:
    server.command("XGROUP", "CREATE", "jobs", "workers", "$", "MKSTREAM")
    bury(server, 60)
    async with asking() as one, asking() as other:
        offices = [RedisDeadLetters(connections=each.connections) for each in (one, other)]
        await asyncio.gather(*(office.replay(letters(server)) for office in offices * 4))
    got = server.command("XREADGROUP", "GROUP", "workers", "w", "COUNT", 100, "STREAMS", "jobs", ">")
    assert sorted(int(entry[1][1]) for entry in got[0][1]) == list(range(60))


async def test_nothing_to_replay(server: Server) -> None:
    async with asking() as asker:
        batch = await RedisDeadLetters(connections=asker.connections).replay(letters(server))
    assert (batch.moved, batch.left, batch.more) == (0, 0, False)
    assert server.command("EXISTS", "jobs") == 0


async def test_a_server_that_is_gone_or_will_not_says_so(server: Server) -> None:
    server.command("ACL", "SETUSER", "checker", "on", ">open", "~*", "+@read", "+ping", "+time")
    bury(server, 3)
    async with asking(user="checker", password="open") as asker:
        office = RedisDeadLetters(connections=asker.connections)
        with pytest.raises(Refused, match="EVAL"):
            await office.replay(letters(server, username=secret("user"), password=secret("password")))
        server.kill()
        with pytest.raises(Unavailable):
            await office.replay(letters(server))


async def test_the_rights_that_the_documentation_asks_for_are_enough(server: Server) -> None:
    # docs/concepts/dependencies.md, "Dead letters"
    rights = ("~jobs", "~dlq", "+ping", "+eval", "+time", "+xrange", "+xadd", "+xdel", "+xlen")
    server.command("ACL", "SETUSER", "replayer", "on", ">open", "resetkeys", *rights)
    bury(server, 3)
    async with asking(user="replayer", password="open") as asker:
        office = RedisDeadLetters(connections=asker.connections)
        batch = await office.replay(letters(server, username=secret("user"), password=secret("password")))
    assert batch.moved == 3


async def test_the_check_counts_them(server: Server) -> None:
    server.command("XADD", "jobs", "*", "job", "0")
    async with asking() as asker:
        probe = RedisStreamProbe(letters(server).place, "jobs", "", NO_LEVELS, NO_LEVELS, NO_LEVELS, dead_letter="dlq")
        result = await asker.check(probe)
        assert (result.outcome, result.dead_letters) == (Outcome.PASS, 0)
        bury(server, 12)
        result = await asker.check(probe)
    assert (result.outcome, result.reason, result.dead_letters) == (Outcome.WARN, "DeadLetters", 12)
    assert "12 dead letters" in result.message
