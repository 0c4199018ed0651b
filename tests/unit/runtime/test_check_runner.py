"""The check runner and the traffic meter, in virtual time."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, cast

import pytest

from resilience.api.reasons import HealthState
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.bounds import Levels
from resilience.core.model.destinations import VerifyTarget
from resilience.core.model.observation import Key
from resilience.core.model.probes import (
    CheckTarget,
    ContentProbe,
    HttpTarget,
    Probe,
    RedisKind,
    RedisPlace,
    RedisProbe,
    TcpProbe,
)
from resilience.core.restarts.content import CONTENT_CHECK, check_name
from resilience.ports import Metrics, Unavailable
from resilience.runtime.checking.check_runner import CheckRunner
from resilience.runtime.checking.traffic_meter import TrafficMeter
from tests.support.factories import KEY
from tests.support.virtual_time import VirtualClock, run_virtual

TARGET = CheckTarget("ready", TcpProbe("10.0.0.1", 80), "", timedelta(seconds=10), timedelta(seconds=1), 3, 2)


@dataclass(slots=True)
class FakeChecker:
    outcome: Outcome = Outcome.PASS
    takes: float = 0.0
    ran: int = 0
    running: int = 0
    most: int = 0
    fingerprint: str = ""
    began: list[float] = field(default_factory=list)

    async def check(self, probe: Probe, *, timeout: timedelta) -> CheckResult:
        self.began.append(asyncio.get_running_loop().time())
        self.ran, self.running = self.ran + 1, self.running + 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(self.takes)
        self.running -= 1
        return CheckResult(self.outcome, "Reason", "message", fingerprint=self.fingerprint)


class Broken(FakeChecker):
    """Cannot make anything of what one server says."""

    async def check(self, probe: Probe, *, timeout: timedelta) -> CheckResult:
        if probe == TARGET.probe:
            raise ValueError("s3cret")
        return await FakeChecker.check(self, probe, timeout=timeout)


@dataclass(slots=True)
class Counted:
    keys: list[Key] = field(default_factory=list)
    checks: set[str] = field(default_factory=set)

    def checked(self, *, key: Key, check: str, outcome: str, seconds: float | None, at: float) -> None:
        self.keys.append(key)
        self.checks.add(check)


@dataclass(slots=True)
class Bench:
    checker: FakeChecker = field(default_factory=FakeChecker)
    counted: Counted = field(default_factory=Counted)
    woken: list[Key] = field(default_factory=list)
    # One namespace alone has two of them.
    concurrency: int = 3
    runner: CheckRunner = field(init=False)
    _task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Bench":
        self.runner = CheckRunner(
            checker=self.checker,
            metrics=cast(Metrics, self.counted),
            clock=VirtualClock(),
            on_transition=self.woken.append,
            concurrency=self.concurrency,
        )
        self._task = asyncio.create_task(self.runner.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])

    @property
    def state(self) -> HealthState:
        return self.runner.states(KEY)["ready"].state


def test_only_transitions_wake_and_each_wakes_once() -> None:
    async def main() -> None:
        async with Bench() as bench:
            bench.runner.sync(KEY, [TARGET])
            await asyncio.sleep(100)
            assert (bench.state, bench.woken) == (HealthState.HEALTHY, [KEY])
            assert 9 <= bench.checker.ran <= 12
            bench.checker.outcome = Outcome.FAIL
            await asyncio.sleep(100)
            assert (bench.state, bench.woken) == (HealthState.UNHEALTHY, [KEY, KEY])

    run_virtual(main())


def test_names_of_objects_that_come_and_go_are_no_series_of_metrics() -> None:
    async def main() -> None:
        async with Bench() as bench:
            for number in range(3):
                name = f"settings-{number}"
                probe = ContentProbe("shop", "ConfigMap", name)
                bench.runner.sync(KEY, [replace(TARGET, check=check_name("ConfigMap", name), probe=probe)])
                await asyncio.sleep(1)
            assert bench.checker.ran == 3 and bench.counted.checks == {CONTENT_CHECK}

    run_virtual(main())


def test_a_sync_keeps_the_state_of_what_stays_and_drops_the_rest() -> None:
    async def main() -> None:
        async with Bench() as bench:
            bench.runner.sync(KEY, [TARGET])
            await asyncio.sleep(1)
            bench.runner.sync(KEY, [replace(TARGET, success_threshold=1), replace(TARGET, check="second")])
            assert bench.state is HealthState.HEALTHY
            assert bench.runner.states(KEY)["second"].reason == "NotRunYet"
            bench.runner.sync(KEY, [])
            ran = bench.checker.ran
            await asyncio.sleep(100)
            assert bench.runner.states(KEY) == {}
            assert bench.checker.ran == ran

    run_virtual(main())


@pytest.mark.parametrize(
    "change",
    [
        {"failure_threshold": 9},
        {"sustained": timedelta(minutes=1)},
        {"probe": TcpProbe("10.0.0.1", 81)},
        {"question": "another"},
    ],
)
def test_another_question_has_no_answer_yet(change: Any) -> None:
    async def main() -> None:
        async with Bench(FakeChecker(Outcome.FAIL)) as bench:
            target = replace(TARGET, pod_uid="p")
            bench.runner.sync(KEY, [target])
            await asyncio.sleep(35)
            assert bench.state is HealthState.UNHEALTHY
            bench.runner.sync(KEY, [replace(target, **change)])
            assert bench.runner.states(KEY)["ready"].reason == "NotRunYet"

    run_virtual(main())


def test_a_check_that_breaks_is_inconclusive_and_stops_no_other() -> None:
    async def main() -> None:
        async with Bench(Broken()) as bench:
            bench.runner.sync(KEY, [TARGET, replace(TARGET, check="second", probe=TcpProbe("10.0.0.2", 80))])
            await asyncio.sleep(35)
            states = bench.runner.states(KEY)
            assert (states["ready"].state, states["ready"].reason) == (HealthState.UNKNOWN, "CheckError")
            assert "ValueError" in states["ready"].message and "s3cret" not in states["ready"].message
            assert states["second"].state is HealthState.HEALTHY

    run_virtual(main())


def test_what_is_gone_when_its_check_ends_is_not_counted() -> None:
    async def main() -> None:
        async with Bench(FakeChecker(takes=5)) as bench:
            bench.runner.sync(KEY, [TARGET])
            await asyncio.sleep(1)
            bench.runner.sync(KEY, [])
            await asyncio.sleep(10)
            assert (bench.counted.keys, bench.woken) == ([], [])

    run_virtual(main())


def test_no_more_run_at_once_than_allowed() -> None:
    async def main() -> None:
        async with Bench(FakeChecker(takes=3)) as bench:
            probes = [TcpProbe(f"10.0.0.{number}", 80) for number in range(10)]
            bench.runner.sync(KEY, [replace(TARGET, pod_uid=each.host, probe=each) for each in probes])
            await asyncio.sleep(60)
            assert bench.checker.most == 2
            assert {state.state for state in bench.runner.states(KEY).values()} == {HealthState.HEALTHY}

    run_virtual(main())


def test_equal_checks_of_many_services_are_one_run_with_each_service_s_thresholds() -> None:
    async def main() -> None:
        async with Bench(FakeChecker(Outcome.FAIL)) as bench:
            keys = [Key("shop", str(number)) for number in range(200)]
            for number, key in enumerate(keys):
                bench.runner.sync(key, [replace(TARGET, failure_threshold=2 if number else 1000)])
            await asyncio.sleep(1)
            assert bench.checker.ran == 1 and len(bench.counted.keys) == 200
            await asyncio.sleep(11)
            assert bench.checker.ran == 2
            assert sorted(bench.woken, key=str) == sorted(keys[1:], key=str)
            # Who goes takes nothing from the others, and the last one takes the run along.
            for key in keys[:199]:
                bench.runner.sync(key, [])
            await asyncio.sleep(10)
            assert bench.checker.ran == 3 and len(bench.counted.keys) == 401
            bench.runner.sync(keys[199], [])
            await asyncio.sleep(30)
            assert bench.checker.ran == 3

    run_virtual(main())


def test_the_same_check_asked_more_often_keeps_its_state() -> None:
    async def main() -> None:
        async with Bench() as bench:
            bench.runner.sync(KEY, [TARGET])
            await asyncio.sleep(1)
            bench.runner.sync(KEY, [replace(TARGET, interval=timedelta(seconds=1))])
            assert bench.runner.states(KEY)["ready"].state is HealthState.HEALTHY
            await asyncio.sleep(9)
            assert bench.checker.ran >= 9

    run_virtual(main())


def test_checks_go_out_together_and_are_spread_all_the_same() -> None:
    async def main() -> None:
        async with Bench(concurrency=200) as bench:
            for number in range(100):
                bench.runner.sync(Key("shop", str(number)), [replace(TARGET, probe=TcpProbe("10.0.0.1", number + 1))])
                await asyncio.sleep(0.013)
            await asyncio.sleep(50)
            ticks = [began / 0.05 for began in bench.checker.began if began > 15]
            assert all(abs(tick - round(tick)) < 0.02 for tick in ticks)
            # A second of beginnings, 5 % of 10 s to each side, and more with each round.
            assert len({round(tick) % 200 for tick in ticks}) > 20

    run_virtual(main())


REDIS = RedisProbe(RedisPlace(RedisKind.STANDALONE, (("redis", 6379),)), frozenset(), timedelta(seconds=10))


@pytest.mark.parametrize(
    ("probe", "interval", "seconds", "runs"),
    [
        # 3 failures that are needed, then after 2 and 4 times the interval, and no longer.
        (REDIS, 1, 20, range(6, 9)),
        (TARGET.probe, 1, 20, range(19, 22)),
        # Never beyond half a minute, and never more often than it is asked for.
        (REDIS, 10, 150, range(6, 9)),
        (REDIS, 60, 300, range(5, 7)),
    ],
)
def test_a_dependency_that_is_down_is_asked_less_often(probe: Probe, interval: int, seconds: int, runs: range) -> None:
    async def main() -> None:
        async with Bench(FakeChecker(Outcome.FAIL)) as bench:
            bench.runner.sync(KEY, [replace(TARGET, probe=probe, interval=timedelta(seconds=interval))])
            await asyncio.sleep(seconds)
            assert bench.checker.ran in runs
            # Back at once to its usual pace.
            bench.checker.outcome = Outcome.PASS
            await asyncio.sleep(31)
            before = bench.checker.ran
            await asyncio.sleep(interval * 5)
            assert bench.checker.ran - before >= 4

    run_virtual(main())


def test_an_interval_of_the_check_s_own_holds_while_the_dependency_is_down() -> None:
    async def main() -> None:
        async with Bench(FakeChecker(Outcome.FAIL)) as bench:
            usual = replace(TARGET, probe=REDIS, interval=timedelta(seconds=1))
            bench.runner.sync(KEY, [usual])
            bench.runner.sync(Key("other", "service"), [replace(usual, fixed=True)])
            await asyncio.sleep(20)
            assert bench.checker.ran in range(19, 22)

    run_virtual(main())


@pytest.mark.parametrize(
    ("seconds", "state"), [(0.5, HealthState.HEALTHY), (1.5, HealthState.WARNING), (2.5, HealthState.UNHEALTHY)]
)
def test_each_service_has_its_own_bounds_for_the_same_answer(seconds: float, state: HealthState) -> None:
    class Timed(FakeChecker):
        async def check(self, probe: Probe, *, timeout: timedelta) -> CheckResult:
            return replace(await FakeChecker.check(self, probe, timeout=timeout), latency_seconds=seconds)

    async def main() -> None:
        async with Bench(Timed()) as bench:
            strict = replace(TARGET, check="strict", latency=Levels.most(warning=1.0, critical=2.0))
            bench.runner.sync(KEY, [TARGET, strict])
            await asyncio.sleep(40)
            assert bench.state is HealthState.HEALTHY
            assert bench.runner.states(KEY)["strict"].state is state
            # One run answers both.
            assert bench.checker.ran in range(4, 6)

    run_virtual(main())


def test_content_that_changes_wakes_whoever_looks_for_it() -> None:
    async def main() -> None:
        async with Bench() as bench:
            bench.checker.fingerprint = "one"
            bench.runner.sync(KEY, [TARGET])
            await asyncio.sleep(12)
            assert bench.woken == [KEY] and bench.runner.states(KEY)["ready"].fingerprint == "one"
            bench.checker.fingerprint = "two"
            await asyncio.sleep(24)
            state = bench.runner.states(KEY)["ready"]
            assert bench.woken == [KEY, KEY] and state.fingerprint == "two"
            assert state.read_since is not None and state.read_since > state.since

    run_virtual(main())


@dataclass(slots=True)
class FakeProber:
    fails: bool = False

    async def request(self, target: HttpTarget) -> float:
        await asyncio.sleep(0.01)
        if self.fails:
            raise Unavailable("no")
        return 0.01


VERIFY = VerifyTarget(HttpTarget("10.96.0.1", 80, "/"), 20, already_sent=5, already_failed=1)


def test_the_meter_goes_on_from_what_was_counted_and_stops() -> None:
    async def main() -> None:
        prober = FakeProber()
        meter = TrafficMeter(prober=prober, cap=200)
        assert meter.result(KEY) is None
        meter.sync(KEY, VERIFY)
        await asyncio.sleep(10)
        prober.fails = True
        await asyncio.sleep(10)
        found = meter.result(KEY)
        assert found is not None and found.p99_seconds == 0.01
        assert abs(found.sent - 405) <= 3 and abs(found.failed - 201) <= 3
        assert found.failure == "no"
        prober.fails = False
        await asyncio.sleep(1)
        found = meter.result(KEY)
        assert found is not None and (found.failed_in_row, found.failure) == (0, "")
        meter.sync(KEY, None)
        assert meter.result(KEY) is None

    run_virtual(main())


def test_a_namespace_with_many_meters_leaves_the_others_their_share() -> None:
    async def main() -> None:
        meter, alone = TrafficMeter(prober=FakeProber(), cap=40), Key("alone", "checkout")
        for key in (*(Key("noisy", str(number)) for number in range(99)), alone):
            meter.sync(key, replace(VERIFY, already_sent=0))
        await asyncio.sleep(10)
        found = meter.result(alone)
        assert found is not None and 180 <= found.sent <= 220
        await meter.close()

    run_virtual(main())


@dataclass(slots=True)
class TarpitProber:
    """Never answers, and counts who waits."""

    hosts: list[str] = field(default_factory=list)

    async def request(self, target: HttpTarget) -> float:
        self.hosts.append(target.host)
        await asyncio.sleep(3600)
        raise AssertionError("nobody waits so long")


def test_requests_that_hang_leave_the_others_room() -> None:
    async def main() -> None:
        prober = TarpitProber()
        meter, alone = TrafficMeter(prober=prober, cap=1000), Key("alone", "checkout")
        for number in range(20):
            meter.sync(Key("noisy", str(number)), replace(VERIFY, target=HttpTarget("tarpit", 80, "/")))
        await asyncio.sleep(60)
        assert prober.hosts == ["tarpit"] * 100
        meter.sync(alone, VERIFY)
        await asyncio.sleep(60)
        assert prober.hosts.count(VERIFY.target.host) == 50
        await meter.close()

    run_virtual(main())


def test_the_cap_is_shared_by_all() -> None:
    async def main() -> None:
        meter, keys = TrafficMeter(prober=FakeProber(), cap=10), [Key("shop", str(number)) for number in range(2)]
        for key in keys:
            meter.sync(key, replace(VERIFY, already_sent=0))
        await asyncio.sleep(10)
        total = sum(found.sent for key in keys if (found := meter.result(key)))
        assert 95 <= total <= 115
        await meter.close()

    run_virtual(main())
