"""The board that HTTP reads, telling pods, and what a Sentinel's word does to checks."""

import asyncio
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from datetime import timedelta
from typing import cast

import pytest

from resilience.api.dependency_checks import RedisVerify
from resilience.api.reasons import HealthState
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.decision import PublishFlags, RemoveFlags, TellPods
from resilience.core.model.flags import FlagsMap, Publication, PublishedFlag
from resilience.core.model.observation import Key, Pod, Resource
from resilience.core.model.probes import CheckTarget, Probe, RedisKind, RedisPlace, RedisProbe
from resilience.ports import Metrics, Unavailable
from resilience.runtime.checking.check_runner import CheckRunner
from resilience.runtime.flag_cache import STALE_AFTER, FlagCache
from resilience.runtime.flag_publisher import FlagPublisher
from tests.support.factories import KEY, NOW, make_pod, make_resource
from tests.support.virtual_time import VirtualClock, run_virtual


def said(version: int = 1, *, on: bool = False) -> Publication:
    return Publication("shop", "checkout", version, NOW, (PublishedFlag("f", on, "memory", "", NOW),))


async def test_readers_are_woken_and_get_the_newest() -> None:
    shown: list[Publication] = []
    board = FlagCache(now=lambda: NOW, on_shown=shown.append)
    board.put(said())
    with board.reading(KEY) as news:
        assert not await news.wait(seconds=0.01)
        board.put(said())
        assert not await news.wait(seconds=0.01)
        board.put(said(2, on=True))
        board.put(said(3))
        assert await news.wait(seconds=1)
        assert not await news.wait(seconds=0.01)
        board.drop(KEY)
        assert await news.wait(seconds=1)
    assert board.get(KEY) is None
    # What was there at the start is no change, and says nothing of how fast one is.
    assert [each.version for each in shown] == [2, 3]


async def test_what_is_gone_unseen_is_pruned_and_the_end_wakes_everybody() -> None:
    board = FlagCache(now=lambda: NOW)
    board.put(said())
    board.keep([Key("shop", "other")])
    assert board.get(KEY) is None
    with board.reading(KEY) as news:
        board.close()
        assert await news.wait(seconds=1)


def test_it_is_stale_when_nobody_could_have_told() -> None:
    now = [NOW]
    board = FlagCache(now=lambda: now[0])
    assert board.stale
    board.confirm()
    assert not board.stale
    now[0] += STALE_AFTER + timedelta(seconds=1)
    assert board.stale


@dataclass
class FakeFlags:
    """The cluster, as far as flags are written; some pods cannot be told."""

    unheard: frozenset[str] = frozenset()
    told: list[str] = field(default_factory=list)

    async def flags_map(self, key: Key) -> FlagsMap | None:
        return None

    async def publish_flags(self, resource: Resource, publication: Publication) -> None:
        self.told.append(f"version {publication.version}")

    async def remove_flags(self, key: Key) -> None:
        self.told.append("removed")

    async def tell_pod(self, pod: Pod, *, namespace: str, value: str | None) -> None:
        if pod.name in self.unheard:
            raise Unavailable("no answer")
        self.told.append(f"{pod.name}: {value}")


@dataclass
class Counted:
    channels: list[tuple[str, float]] = field(default_factory=list)

    def flag_published(self, *, channel: str, seconds: float) -> None:
        self.channels.append((channel, seconds))

    def checked(self, **_: object) -> None:
        return


def test_each_pod_is_told_though_one_cannot_be() -> None:
    async def main() -> None:
        cluster, counted = FakeFlags(frozenset({"b"})), Counted()
        publisher = FlagPublisher(cluster=cluster, metrics=cast(Metrics, counted), clock=VirtualClock())
        await publisher.run(make_resource(), PublishFlags(said(2)))
        await publisher.run(make_resource(), RemoveFlags())
        pods = tuple(make_pod(name) for name in "abc")
        with pytest.raises(Unavailable):
            await publisher.run(make_resource(), TellPods(pods, "x", NOW - timedelta(seconds=1)))
        assert cluster.told == ["version 2", "removed", "a: x", "c: x"]
        assert counted.channels == [("configmap", 0.0), ("annotation", 1.0), ("annotation", 1.0)]

    run_virtual(main())


PLACE = RedisPlace(RedisKind.SENTINEL, (("sentinel", 26379),), master_name="mymaster")
PROBE = RedisProbe(PLACE, frozenset({RedisVerify.ROLE}), timedelta(seconds=10))


@dataclass
class Answers:
    """A Redis as the checks find it."""

    well: bool = True
    asked: int = 0

    async def check(self, probe: Probe, *, timeout: timedelta) -> CheckResult:
        self.asked += 1
        return CheckResult(Outcome.PASS if self.well else Outcome.FAIL, "Said", "said")


def target(name: str, *, rows: bool) -> CheckTarget:
    return CheckTarget(name, PROBE, "", timedelta(seconds=60), timedelta(seconds=1), 3, 2, rows=rows)


def test_a_sentinels_word_strikes_the_flag_and_asks_again_at_once() -> None:
    async def main() -> None:
        answers, woken, places = Answers(), list[Key](), list[Mapping[str, Set[RedisPlace]]]()
        runner = CheckRunner(answers, cast(Metrics, Counted()), VirtualClock(), woken.append, 1)
        runner.on_places = places.append
        runner.sync(KEY, (target("cache", rows=False), target("flag/lost", rows=True)))
        assert places == [{KEY.namespace: {PLACE}}]
        running = asyncio.create_task(runner.run())
        try:
            await asyncio.sleep(1)
            assert states(runner) == {"cache": HealthState.HEALTHY, "flag/lost": HealthState.HEALTHY}
            runner.lost(RedisPlace(RedisKind.SENTINEL, (), master_name="other"), "MasterDown", "x")
            assert states(runner)["flag/lost"] is HealthState.HEALTHY
            woken.clear()
            runner.lost(PLACE, "MasterDown", "Sentinels agree")
            assert states(runner) == {"cache": HealthState.HEALTHY, "flag/lost": HealthState.UNHEALTHY}
            assert runner.states(KEY)["flag/lost"].message == "Sentinels agree"
            assert woken == [KEY]
            await asyncio.sleep(1)
            # Once more, though its minute was not over; one success is no proof yet.
            assert answers.asked == 2
            assert states(runner)["flag/lost"] is HealthState.UNHEALTHY
            await asyncio.sleep(70)
            assert states(runner)["flag/lost"] is HealthState.HEALTHY
        finally:
            running.cancel()
        runner.sync(KEY, ())
        assert places[-1] == {}

    run_virtual(main())


def states(runner: CheckRunner) -> Mapping[str, HealthState]:
    return {name: each.state for name, each in runner.states(KEY).items()}
