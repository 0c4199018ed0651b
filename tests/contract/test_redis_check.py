"""The redis check against real servers, Sentinels and a real cluster, and against servers that misbehave."""

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from resilience.adapters.checks.redis.redis_check import describe
from resilience.api.dependency_checks import RedisVerify
from resilience.core.health.thresholds import Outcome
from resilience.core.model.probes import RedisKind, RedisProbe
from tests.support import redis
from tests.support.host import needs
from tests.support.redis import HOST, Server
from tests.support.redis_checks import asking, probe, secret, told

pytestmark = needs(redis.PROGRAM)
FAIL, PASS, WARN, UNKNOWN = Outcome.FAIL, Outcome.PASS, Outcome.WARN, Outcome.INCONCLUSIVE
ROLE, WRITE, LAG, QUORUM = RedisVerify.ROLE, RedisVerify.WRITE, RedisVerify.LAG, RedisVerify.QUORUM
PASSWORD = "hunter2-is-the-password"


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with redis.running(tmp_path_factory.mktemp("master"), "--enable-debug-command", "yes") as server:
        yield server


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory, master: Server) -> Iterator[Server]:
    with redis.replica(tmp_path_factory.mktemp("replica"), master) as server:
        yield server


@contextmanager
def configured(server: Server, name: str, value: str) -> Iterator[None]:
    before = server.command("CONFIG", "GET", name)[1]
    server.command("CONFIG", "SET", name, value)
    try:
        yield
    finally:
        server.command("CONFIG", "SET", name, before)


async def test_a_master_passes(master: Server, replica: Server) -> None:
    async with asking() as asker:
        asked = probe(master, ROLE, WRITE, LAG)
        first = await asker.check(asked)
        assert told(first) == (PASS, "Answered"), first
        address = f"127.0.0.1:{master.port}"
        assert first.message == f"Redis: {address} answers, is a master, takes writes, has no replica that lags"
        assert first.latency_seconds is not None and 0 < first.latency_seconds < 1
        assert not first.reconnected
        assert 0 < master.command("PTTL", "resilience.dev:probe") <= 60_000
        again = await asker.check(asked)
        assert again == replace(first, latency_seconds=again.latency_seconds)
        assert describe(asked) == "Redis"


async def test_a_replica_is_no_master(master: Server, replica: Server) -> None:
    async with asking() as asker:
        found = await asker.check(probe(replica))
        assert told(found) == (FAIL, "NotMaster")
        where = f"127.0.0.1:{replica.port} is not a master, but a replica of 127.0.0.1:{master.port}"
        assert found.message == f"Redis: {where}"
        assert told(await asker.check(probe(replica, WRITE))) == (FAIL, "ReadOnly")


@pytest.mark.parametrize(
    ("name", "value", "reason", "words"),
    [
        ("min-replicas-to-write", "3", "NotEnoughReplicas", "accepts no writes: it has fewer replicas than"),
        ("maxmemory", "1", "OutOfMemory", "accepts no writes: it uses all the memory that maxmemory allows"),
    ],
)
async def test_writes_that_are_refused(
    tmp_path: Path, master: Server, name: str, value: str, reason: str, words: str
) -> None:
    async with asking() as asker:
        with configured(master, name, value):
            refused = await asker.check(probe(master, ROLE, WRITE))
            assert told(refused) == (FAIL, reason)
            assert words in refused.message
            assert told(await asker.check(probe(master, ROLE))) == (PASS, "Answered")
        assert told(await asker.check(probe(master, ROLE, WRITE))) == (PASS, "Answered")


async def test_a_server_that_cannot_save(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    with redis.running(folder, "--save", "3600 1") as server:
        shutil.rmtree(folder)
        server.command("BGSAVE")
        failed = "rdb_last_bgsave_status:err"
        redis.until(lambda: failed in server.command("INFO", "persistence"), what="a failed save")
        async with asking() as asker:
            assert told(await asker.check(probe(server, WRITE))) == (FAIL, "CannotPersist")


async def test_a_replica_that_lags(tmp_path: Path, master: Server) -> None:
    async with asking() as asker:
        with redis.replica(tmp_path, master) as slow:
            assert told(await asker.check(probe(master, LAG, max_lag=1))) == (PASS, "Answered")
            with slow.stopped():
                lagging = await asker.until(probe(master, LAG, max_lag=1), outcome=WARN)
                assert told(lagging) == (WARN, "ReplicaLags")
                assert f"lag: 127.0.0.1:{slow.port} is more than 1s behind" in lagging.message
                assert told(await asker.check(probe(master, LAG))) == (PASS, "Answered")


async def test_databases(master: Server) -> None:
    async with asking() as asker:
        assert told(await asker.check(probe(master, WRITE, database=7))) == (PASS, "Answered")
        assert master.command("EXISTS", "resilience.dev:probe", db=7) == 1
        missing = await asker.check(probe(master, database=99))
        assert told(missing) == (FAIL, "NoSuchDatabase")
        assert missing.message.endswith("has no database 99")


async def test_too_many_clients(tmp_path: Path) -> None:
    with (
        redis.running(tmp_path, "--maxclients", "1") as server,
        Redis(HOST, server.port) as taken,
    ):
        taken.ping()
        async with asking() as asker:
            assert told(await asker.check(probe(server))) == (FAIL, "TooManyClients")


async def test_a_script_that_does_not_end(master: Server) -> None:
    async with asking() as asker:
        with configured(master, "busy-reply-threshold", "100"):
            endless = "while true do end"
            running = asyncio.create_task(asyncio.to_thread(master.command, "EVAL", endless, 0, socket_timeout=0.5))
            await asyncio.sleep(0.4)
            assert told(await asker.check(probe(master))) == (FAIL, "Busy")
            master.command("SCRIPT", "KILL")
            with pytest.raises(Exception, match=r"."):
                await running


async def test_the_service_that_should_lead_to_the_master(tmp_path: Path, master: Server, replica: Server) -> None:
    async with asking() as asker:
        assert told(await asker.check(probe(master, service=master))) == (PASS, "Answered")
        wrong = await asker.check(probe(master, service=replica))
        assert told(wrong) == (FAIL, "ServiceLeadsElsewhere")
        service = f"Redis: masterService 127.0.0.1:{replica.port} leads elsewhere"
        assert wrong.message.startswith(f"{service}: what it leads to is not a master, but a replica of")
        with redis.running(tmp_path) as other:
            elsewhere = await asker.check(probe(master, service=other))
            assert told(elsewhere) == (FAIL, "ServiceLeadsElsewhere")
            words = f"leads to another server than the master 127.0.0.1:{master.port}"
            assert elsewhere.message == f"Redis: masterService 127.0.0.1:{other.port} {words}"
            other.kill()
            assert told(await asker.check(probe(master, service=other))) == (FAIL, "ConnectionRefused")


def by_sentinels(found: list[Server], *verify: RedisVerify, name: str = "shop", **more: Any) -> RedisProbe:
    return probe(None, *(verify or (ROLE, QUORUM)), at=found, kind=RedisKind.SENTINEL, master_name=name, **more)


async def test_a_failover_is_followed(tmp_path: Path) -> None:
    with (
        redis.running(tmp_path) as old,
        redis.replica(tmp_path, old) as new,
        redis.sentinels(tmp_path, old, name="shop", count=2, quorum=1) as found,
    ):
        asked = by_sentinels(found, ROLE, WRITE, QUORUM)
        async with asking() as asker:
            first = await asker.check(asked)
            assert told(first) == (PASS, "Answered"), first
            assert first.message.startswith(f"Redis 'shop': 127.0.0.1:{old.port} answers, is a master")
            assert not (await asker.check(asked)).reconnected
            assert old.clients() == 3  # one of each Sentinel, and ours
            old.kill()
            down = await asker.check(asked)
            assert told(down) == (FAIL, "ConnectionRefused")
            assert down.message == f"127.0.0.1:{old.port}: the connection was refused"
            result = await asker.until(asked, outcome=PASS)
            assert f"127.0.0.1:{new.port} answers, is a master" in result.message


async def test_sentinels_that_are_short(tmp_path: Path, master: Server) -> None:
    with redis.sentinels(tmp_path, master, name="shop", count=2, quorum=2) as found:
        asked = by_sentinels(found)
        async with asking() as asker:
            assert told(await asker.check(asked)) == (PASS, "Answered")
            unknown = await asker.check(by_sentinels(found, name="other"))
            assert told(unknown) == (FAIL, "MasterUnknown")
            assert unknown.message == "Redis 'other': no Sentinel that answers knows a master called 'other'"
            with found[0].stopped():
                # The first says nothing, the second has time enough left.
                assert told(await asker.check(by_sentinels(found, ROLE), seconds=1.5)) == (PASS, "Answered")
            found[0].kill()
            short = await asker.until(asked, outcome=WARN)
            assert told(short) == (WARN, "NoQuorum")
            words = "sees too few others to agree on another master"
            assert short.message == f"Redis 'shop': the Sentinel 127.0.0.1:{found[1].port} {words}"
            assert told(await asker.check(by_sentinels(found, ROLE))) == (PASS, "Answered")
            found[1].command("SENTINEL", "REMOVE", "shop")
            found[1].command("SENTINEL", "MONITOR", "shop", "169.254.1.1", 6379, 1)
            assert told(await asker.check(by_sentinels(found, ROLE))) == (UNKNOWN, "AddressRefused")
            found[1].kill()
            down = await asker.check(asked)
            assert told(down) == (FAIL, "SentinelsDown")
            assert down.message.startswith("Redis 'shop': none of 2 answers: 127.0.0.1:")


async def test_sentinels_with_a_password(tmp_path: Path, master: Server) -> None:
    # Sentinels use it among each other too; with one there is nobody to know.
    options = (f"requirepass {PASSWORD}",)
    client = {"password": PASSWORD}
    with redis.sentinels(tmp_path, master, name="shop", count=1, quorum=1, options=options, client=client) as found:
        async with asking(sentinels=PASSWORD, wrong="not-the-password") as asker:
            right = await asker.check(by_sentinels(found, sentinel_password=secret("sentinels")))
            assert told(right) == (PASS, "Answered")
            wrong = await asker.check(by_sentinels(found, sentinel_password=secret("wrong")))
            assert told(wrong) == (FAIL, "AuthenticationFailed")
            assert "refused the password in key 'wrong' of Secret 'redis-login'" in wrong.message


def of_cluster(nodes: list[Server], *verify: RedisVerify) -> RedisProbe:
    return probe(None, *verify, at=nodes, kind=RedisKind.CLUSTER)


async def test_a_cluster(tmp_path: Path) -> None:
    with redis.cluster(tmp_path) as nodes:
        async with asking() as asker:
            for first in nodes:
                # Wherever the key is, it is found.
                written = await asker.check(of_cluster([first], ROLE, WRITE, LAG))
                assert told(written) == (PASS, "Answered"), written
                assert written.message.startswith(f"Redis Cluster: 127.0.0.1:{first.port} answers, is a master")
            assert [each.clients() for each in nodes] == [1, 1, 1]
            assert written.latency_seconds is not None
            nodes[0].kill()
            down = await asker.check(of_cluster(nodes, ROLE))
            assert told(down) == (FAIL, "MasterDown")
            words = f"a master does not answer: 127.0.0.1:{nodes[0].port}: the connection was refused"
            assert down.message == f"Redis Cluster: {words}"
            state = "cluster_state:fail"
            redis.until(lambda: state in nodes[1].command("CLUSTER", "INFO"), what="the cluster's own verdict")
            failed = await asker.check(of_cluster(nodes, ROLE))
            assert told(failed) == (FAIL, "ClusterDown")
            words = "16384 of 16384 slots have a master, and those of 5461 have failed"
            assert failed.message.endswith(f"reports that the cluster is down: {words}")
            for node in nodes[1:]:
                node.kill()
            gone = await asker.check(of_cluster(nodes, ROLE))
            assert told(gone) == (FAIL, "ClusterDown")
            assert "none of 3 answers" in gone.message


async def test_a_cluster_without_some_slots(tmp_path: Path) -> None:
    with redis.cluster(tmp_path, "--cluster-require-full-coverage", "no", count=1) as nodes:
        async with asking() as asker:
            assert told(await asker.check(of_cluster(nodes, WRITE))) == (PASS, "Answered")
            nodes[0].command("CLUSTER", "DELSLOTS", 1, 2, 3)
            missing = await asker.check(of_cluster(nodes, ROLE))
            assert told(missing) == (FAIL, "SlotsMissing")
            assert "3 of 16384 slots have no master" in missing.message
