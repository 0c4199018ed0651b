"""Dead letters go back into their stream when a person asks, once what the service depends on works, and once each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import engine
from tests.support import redis
from tests.support.counts import Figures, count
from tests.support.killer import Killer, kill_leader
from tests.support.kube import Object, wait_until
from tests.support.redis import Server
from tests.support.release import Release
from tests.support.shop_manifests import READY_CHECK, shop
from tests.support.space import Space, stays

_BURY = "for n = 0, ARGV[1] - 1 do redis.call('XADD', KEYS[1], '*', 'job', string.format('%d', n)) end"


@pytest.fixture
def queue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with redis.running(tmp_path_factory.mktemp("queue"), *redis.REACHABLE) as server:
        server.command("XGROUP", "CREATE", "jobs", "workers", "$", "MKSTREAM")
        yield server


def address(server: Server) -> str:
    return f"{engine.current().host()}:{server.port}"


def checks(queue: Server, *, replay: str) -> Object:
    dead = {"stream": "dlq:jobs", "replay": replay}
    stream = {"redis": "cache", "stream": "jobs", "group": "workers", "deadLetter": dead}
    found: list[Object] = [
        READY_CHECK,
        {"name": "cache", "scope": "Dependency", "redis": {"address": address(queue)}},
        {"name": "jobs", "scope": "Dependency", "redisStream": stream},
    ]
    return {"interval": "1s", "timeout": "500ms", "checks": found}


def bury(queue: Server, letters: int) -> None:
    """All at once, so that no check sees a part of them."""
    queue.command("EVAL", _BURY, "1", "dlq:jobs", str(letters))


def report(space: Space) -> Object:
    found: list[Object] = space.status().get("replays") or [{}]
    return found[0]


def told(space: Space) -> list[str]:
    return [each for each in space.events() if "Replay" in each]


def jobs(queue: Server) -> list[int]:
    return [int(entry[1][1]) for entry in queue.command("XRANGE", "jobs", "-", "+")]


@pytest.mark.exclusive
def test_they_go_back_once_each_though_the_operator_dies_on_the_way(
    operator: Release, killer: Killer, space: Space, queue: Server, figures: Figures
) -> None:
    # given
    letters = count(400, proof=2000)
    bury(queue, letters)
    space.start(*shop(verify=None, probes=None, health=checks(queue, replay="OnRequest")))
    wait_until(lambda: "dead letters" in str(space.status()["health"]), what="a warning")
    assert space.condition("Healthy")["status"] == "True"
    # when
    space.request("replay")
    wait_until(lambda: len(jobs(queue)) >= 20, what="the first batches", every=0.05)
    hit = kill_leader(operator, killer)
    # then
    wait_until(lambda: "finishedAt" in report(space), what="the end", timeout=60 + letters / 10)
    assert jobs(queue) == list(range(letters))
    assert queue.command("XLEN", "dlq:jobs") == 0
    figures.write(letters=letters, reported=report(space)["replayed"])
    assert "at least" in report(space)["message"]
    assert "were put back" in report(space)["message"]
    wait_until(lambda: any("ReplayEnded" in each for each in told(space)), what="the Event of its end")
    assert len(told(space)) == 2, told(space)
    operator.renew(hit)


def test_by_themselves_and_not_while_something_is_lost(
    operator: Release, space: Space, queue: Server, tmp_path: Path
) -> None:
    with redis.running(tmp_path, *redis.REACHABLE) as other:
        # given
        health = checks(queue, replay="Automatic")
        health["checks"].append({"name": "other", "scope": "Dependency", "redis": {"address": address(other)}})
        space.start(*shop(verify=None, probes=None, health=health))
        assert report(space) == {}
        # when: letters come while something else that the shop needs is away
        with other.stopped():
            space.wait_for("Degraded", "True", timeout=15)
            bury(queue, 12)
            wait_until(lambda: "12 dead letters" in str(space.status()["health"]), what="a warning")
            stays(lambda: jobs(queue) == [], seconds=3, what="that they wait")
        # then
        wait_until(lambda: len(jobs(queue)) == 12, what="all of them back", timeout=60)
        wait_until(lambda: "finishedAt" in report(space), what="the report")
        assert report(space)["replayed"] == 12
        assert report(space)["message"] == "12 dead letters of jobs were put back"
