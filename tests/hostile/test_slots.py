"""One tenant must not stop the checks of another, nor fill the operator with connections that nobody counts.

In virtual time: what is asserted are runs and connections, never seconds of this machine.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, cast

from resilience.api.checks import Health
from resilience.api.scalars import parse_duration
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.observation import Key
from resilience.core.model.probes import CheckTarget, Probe, RedisKind, RedisPlace, TcpProbe
from resilience.core.model.profiles import resolve
from resilience.ports import MasterLost, Metrics
from resilience.runtime.checking.check_runner import CheckRunner
from resilience.runtime.checking.sentinels import SentinelWatch
from tests.support.factories import make_spec
from tests.support.preconditions import require
from tests.support.virtual_time import VirtualClock, run_virtual

VICTIM: Final = Key("shop", "checkout")
SECOND: Final = timedelta(seconds=1)
# The longest time-out that a tenant should get.
LONGEST: Final = timedelta(seconds=30)
# The usual limit of a process is 1024 open files, and all else needs some too.
MOST_LISTENERS: Final = 512


@dataclass(slots=True)
class Checker:
    """A tarpit never answers; everybody else does at once, and is counted."""

    runs: int = 0
    held: int = 0

    async def check(self, probe: Probe, *, timeout: timedelta) -> CheckResult:
        if not isinstance(probe, TcpProbe) or probe.host != "tarpit":
            self.runs += 1
            return CheckResult(Outcome.PASS, "Answered", "it answered")
        self.held += 1
        await asyncio.sleep(timeout.total_seconds())
        self.held -= 1
        return CheckResult(Outcome.FAIL, "Timeout", "no answer")


class Silent:
    """The one measure that the runner takes goes nowhere."""

    def checked(self, **_: object) -> None:
        return None


def target(number: int, host: str, *, every: timedelta, timeout: timedelta) -> CheckTarget:
    return CheckTarget(f"check-{number}", TcpProbe(host, 1000 + number), "", every, timeout, 3, 2)


@asynccontextmanager
async def running() -> AsyncIterator[tuple[CheckRunner, Checker]]:
    """A runner at work, and what it runs."""
    checker = Checker()
    runner = CheckRunner(
        checker=checker,
        metrics=cast(Metrics, Silent()),
        clock=VirtualClock(),
        on_transition=lambda _: None,
        concurrency=64,
    )
    task = asyncio.create_task(runner.run())
    yield runner, checker
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def attack(runner: CheckRunner, *more: CheckTarget) -> None:
    """Four resources of a namespace with 32 checks each that are never answered; the last one has these, too."""
    for number in range(4):
        slow = [target(32 * number + index, "tarpit", every=LONGEST, timeout=LONGEST) for index in range(32)]
        runner.sync(Key("evil", f"tarpit-{number}"), [*more, *slow] if number == 3 else slow)


async def runs_beside_a_tarpit(counts: list[int]) -> None:
    """Puts the neighbour's runs in a minute before the attack, and in a minute of it, into `counts`."""
    async with running() as (runner, checker):
        runner.sync(VICTIM, [target(0, "redis", every=SECOND, timeout=SECOND)])
        await asyncio.sleep(60)
        counts.append(checker.runs)
        attack(runner)
        await asyncio.sleep(5)
        require(checker.held > 0, "the tarpit was never asked")
        before = checker.runs
        await asyncio.sleep(60)
        counts.append(checker.runs - before)


def test_checks_that_never_end_leave_the_neighbours_checks_running() -> None:
    counts: list[int] = []
    run_virtual(runs_beside_a_tarpit(counts))
    undisturbed, beside = counts
    require(undisturbed >= 54, f"the neighbour ran {undisturbed} times in a minute without an attack")
    assert beside >= 54, f"the neighbour's check of every second ran {beside} times in a minute"


async def runs_of_a_shared_check(counts: list[int]) -> None:
    """The same as above, but the hostile namespace has the neighbour's check, too, and had it first."""
    async with running() as (runner, checker):
        redis = target(0, "redis", every=SECOND, timeout=SECOND)
        attack(runner, redis)
        await asyncio.sleep(10)
        runner.sync(VICTIM, [redis])
        await asyncio.sleep(5)
        before = checker.runs
        await asyncio.sleep(60)
        counts.append(checker.runs - before)
        # A namespace that goes takes nobody's place with it.
        for number in range(4):
            runner.forget(Key("evil", f"tarpit-{number}"))
        before = checker.runs
        await asyncio.sleep(60)
        counts.append(checker.runs - before)


def test_a_check_that_a_hostile_namespace_shares_is_run_in_its_neighbours_turn() -> None:
    counts: list[int] = []
    run_virtual(runs_of_a_shared_check(counts))
    assert min(counts) >= 54, f"the neighbour's check of every second ran {counts} times in a minute"


def test_a_time_out_and_an_interval_that_are_stored_already_are_read_within_the_bounds() -> None:
    stored = make_spec(health={"interval": "10ms", "timeout": "1h"})
    assert stored.health.timeout == timedelta(hours=1)
    effective = resolve(stored)
    assert (effective.interval, effective.timeout) == (SECOND, LONGEST)
    alone = resolve(make_spec(health={"timeout": "1h"}))
    assert (alone.interval, alone.timeout) == (LONGEST, LONGEST)


def test_a_tenant_cannot_ask_for_a_time_out_of_hours() -> None:
    rules = [rule["rule"] for rule in Health.model_json_schema()["x-kubernetes-validations"]]
    require(any("duration(self.timeout) >=" in rule for rule in rules), "the rules of health.timeout look different")
    bounds = [
        bound for rule in rules for bound in re.findall(r"duration\(self\.timeout\) <= duration\('(\w+)'\)", rule)
    ]
    assert bounds, "no rule bounds health.timeout"
    assert min(map(parse_duration, bounds)) <= LONGEST


@dataclass(slots=True)
class Sentinels:
    """Sentinels that never say anything; knows who is listened to now, and how many were at most."""

    heard: set[tuple[str, int]] = field(default_factory=set)
    most: int = 0
    now: int = 0

    async def listen(self, place: RedisPlace, sentinel: tuple[str, int]) -> AsyncIterator[MasterLost | None]:
        self.now += 1
        self.most = max(self.most, self.now)
        self.heard.add(sentinel)
        try:
            yield None
            await asyncio.sleep(3600)
        finally:
            self.now -= 1


async def listen_late(sentinels: Sentinels) -> None:
    """The hostile Sentinels are listened to first."""
    watch = SentinelWatch(sentinels=sentinels, on_lost=lambda *_: None, monotonic=VirtualClock().monotonic)
    addresses = tuple(("127.0.0.1", port) for port in range(1, 17))
    hostile = {RedisPlace(RedisKind.SENTINEL, addresses, master_name=f"m{number}") for number in range(6 * 16)}
    watch.sync({"evil": hostile})
    await asyncio.sleep(60)
    require(len({port for _, port in sentinels.heard}) > 2, "the hostile Sentinels are not listened to")
    places = {
        f"shop-{number}": {RedisPlace(RedisKind.SENTINEL, ((f"neighbour-{number}", 1), (f"neighbour-{number}", 2)))}
        for number in range(40)
    }
    watch.sync({"evil": hostile, **places})
    await asyncio.sleep(60)
    await watch.close()


def test_sentinels_of_late_neighbours_are_listened_to_all_the_same() -> None:
    sentinels = Sentinels()
    run_virtual(listen_late(sentinels))
    assert sentinels.most <= MOST_LISTENERS
    heard = {(f"neighbour-{number}", port) for number in range(40) for port in (1, 2)}
    assert heard <= sentinels.heard


async def listen(sentinels: Sentinels) -> None:
    """A neighbour's three Sentinels are listened to, then those of six resources with 16 flags at 16 addresses."""
    watch = SentinelWatch(sentinels=sentinels, on_lost=lambda *_: None, monotonic=VirtualClock().monotonic)
    neighbour = RedisPlace(RedisKind.SENTINEL, tuple(("neighbour", port) for port in range(1, 4)), master_name="shop")
    watch.sync({"shop": {neighbour}})
    await asyncio.sleep(60)
    require(sentinels.now == 3, "the neighbour's Sentinels are not listened to")
    addresses = tuple(("127.0.0.1", port) for port in range(1, 17))
    hostile = {RedisPlace(RedisKind.SENTINEL, addresses, master_name=f"m{number}") for number in range(6 * 16)}
    watch.sync({"evil": hostile, "shop": {neighbour}})
    await asyncio.sleep(60)
    await watch.close()


def test_sentinels_of_flags_are_capped() -> None:
    sentinels = Sentinels()
    run_virtual(listen(sentinels))
    require(sentinels.now == 0, "listeners were left behind")
    assert sentinels.most <= MOST_LISTENERS, f"{sentinels.most} Sentinels were listened to at once"
    assert {("neighbour", 1), ("neighbour", 2), ("neighbour", 3)} <= sentinels.heard
