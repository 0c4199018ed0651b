"""The rights that docs/concepts/dependencies.md names are enough for every check, and less is said to be too little."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from resilience.api.dependency_checks import RedisVerify
from resilience.core.health.thresholds import Outcome
from resilience.core.model.bounds import Levels
from resilience.core.model.probes import RedisProbe, RedisStreamProbe
from tests.support import postgres, redis
from tests.support.host import needs
from tests.support.postgres_checks import operator
from tests.support.redis import Server
from tests.support.redis_checks import asking, probe, secret

pytestmark = [needs(redis.PROGRAM), pytest.mark.skipif(not postgres.available(), reason="needs PostgreSQL")]

PAGE = (Path(__file__).parents[2] / "docs/concepts/dependencies.md").read_text()


def documented(beginning: str) -> str:
    """The rest of the line on the page that begins so."""
    (found,) = re.findall(rf"^{re.escape(beginning)} (.*)$", PAGE, re.MULTILINE)
    return str(found)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with redis.running(tmp_path) as running:
        yield running


def as_documented(server: Server, verify: list[RedisVerify]) -> RedisProbe:
    return probe(server, *verify, database=1, username=secret("user"), password=secret("password"))


async def test_the_acl_of_redis_checks(server: Server) -> None:
    rights = documented("ACL SETUSER resilience on >change-me")
    server.command("ACL", "SETUSER", "resilience", "on", ">open", *rights.split())
    everything = [RedisVerify.ROLE, RedisVerify.WRITE, RedisVerify.LAG]
    async with asking(user="resilience", password="open") as asker:
        result = await asker.check(as_documented(server, everything))
        assert result.outcome is Outcome.PASS, result
        server.command("ACL", "SETUSER", "resilience", "-set")
        result = await asker.check(as_documented(server, everything))
    assert (result.outcome, result.reason) == (Outcome.INCONCLUSIVE, "NotPermitted")


async def test_the_acl_of_streams(server: Server) -> None:
    (row,) = re.findall(r"^\| a stream \| (.*?) \|", PAGE, re.MULTILINE)
    rights = [word.replace("\\", "") for each in re.findall(r"`([^`]+)`", row) for word in each.split()]
    # Of the table, with what every check needs.
    server.command("ACL", "SETUSER", "resilience", "on", ">open", "resetkeys", "~orders", "+ping", *rights)
    server.command("XGROUP", "CREATE", "orders", "workers", "$", "MKSTREAM")
    server.command("XADD", "orders", "*", "a", "1")
    asked = RedisStreamProbe(
        probe(server, username=secret("user"), password=secret("password")).place,
        "orders",
        "workers",
        Levels.most(warning=10_000),
        Levels.most(critical=300),
        Levels.most(warning=1000),
    )
    async with asking(user="resilience", password="open") as asker:
        result = await asker.check(asked)
    assert result.outcome is Outcome.PASS, result


async def test_the_grants_of_postgres_checks() -> None:
    grants = re.findall(r"^((?:CREATE ROLE resilience|GRANT) .*;)$", PAGE, re.MULTILINE)
    assert len(grants) == 3
    with postgres.running() as server:
        server.run("CREATE DATABASE checkout")
        server.run(*(each.rstrip(";") for each in grants))
        dsn = server.dsn(user="resilience", password="change-me") + "disable"
        async with operator() as asker:
            result = await asker.run(dsn, max_lag=timedelta(seconds=30))
    assert result.outcome is Outcome.PASS, result
    assert "cannot be seen" not in result.message
