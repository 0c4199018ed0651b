"""Dead letters go back into their stream when a person asks, once what the service depends on works, and once each."""

from collections.abc import Iterator

import pytest

from tests.cluster import engine
from tests.support import redis
from tests.support.counts import Figures, count
from tests.support.killer import Killer, kill_leader
from tests.support.kube import Object, wait_until
from tests.support.redis import Server
from tests.support.release import Release
from tests.support.shop_manifests import READY_CHECK, shop
from tests.support.space import Space


@pytest.fixture
def queue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    options = ("--bind", "0.0.0.0", "--protected-mode", "no")
    with redis.running(tmp_path_factory.mktemp("queue"), *options) as server:
        server.command("XGROUP", "CREATE", "jobs", "workers", "$", "MKSTREAM")
        yield server


def checks(queue: Server, *, replay: str) -> Object:
    address = f"{engine.current().host()}:{queue.port}"
    dead = {"stream": "dlq:jobs", "replay": replay}
    stream = {"redis": "cache", "stream": "jobs", "group": "workers", "deadLetter": dead}
    found: list[Object] = [
        READY_CHECK,
        {"name": "cache", "scope": "Dependency", "redis": {"address": address}},
        {"name": "jobs", "scope": "Dependency", "redisStream": stream},
    ]
    return {"interval": "1s", "timeout": "500ms", "checks": found}


def bury(queue: Server, letters: int) -> None:
    for number in range(letters):
        queue.command("XADD", "dlq:jobs", "*", "job", str(number))


def report(space: Space) -> Object:
    found: list[Object] = space.status().get("replays") or [{}]
    return found[0]


def jobs(queue: Server) -> list[int]:
    return [int(entry[1][1]) for entry in queue.command("XRANGE", "jobs", "-", "+")]


def test_they_go_back_once_each_though_the_operator_dies_on_the_way(
    operator: Release, killer: Killer, space: Space, queue: Server, figures: Figures
) -> None:
    # given
    letters = count(200, proof=2000)
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
    assert "were put back" in report(space)["message"]
    told = [each for each in space.events() if "Replay" in each]
    assert len(told) == 2, told
    operator.renew(hit)


def test_by_themselves_and_not_while_something_is_lost(operator: Release, space: Space, queue: Server) -> None:
    # given
    space.start(*shop(verify=None, probes=None, health=checks(queue, replay="Automatic")))
    assert report(space) == {}
    # when: letters come while what they need is away
    bury(queue, 12)
    with queue.stopped():
        space.wait_for("Degraded", "True", timeout=15)
    # then
    wait_until(lambda: len(jobs(queue)) == 12, what="all of them back", timeout=60)
    wait_until(lambda: report(space).get("replayed") == 12, what="the report")
