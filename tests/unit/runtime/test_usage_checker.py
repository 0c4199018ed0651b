"""Checks that measure and read: against their lines, over time, and never a failure for what is not known."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import cast

import pytest

from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.check_state import NOT_LABELLED
from resilience.core.model.probes import (
    ContentProbe,
    Measure,
    NetworkProbe,
    Probe,
    SlopeProbe,
    TcpProbe,
    UsageLine,
    UsageProbe,
)
from resilience.core.model.usage import ContainerUsage, PodUsage
from resilience.ports import Network, NotLabelled, PortError, Refused, Unavailable
from resilience.runtime.checking.usage_checker import MeasuringChecker
from tests.support.factories import NOW

MEBI = 2**20
LIMIT = 512.0 * MEBI
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
SLOPE = SlopeProbe("shop", "a", "uid-a", "app", LIMIT, HOUR)


@dataclass(slots=True)
class Bench:
    """Ports whose answers are set; the pod is `a`, its container `app`."""

    now: datetime = NOW
    usage: dict[str, PodUsage] = field(default_factory=dict)
    contents: dict[tuple[str, str, str], str] = field(default_factory=dict)
    fails: PortError | None = None
    checker: MeasuringChecker = field(init=False)

    def __post_init__(self) -> None:
        self.checker = MeasuringChecker(network=cast(Network, self), usage=self, contents=self, now=lambda: self.now)

    async def pods(self, namespace: str) -> Mapping[str, PodUsage]:
        if self.fails is not None:
            raise self.fails
        return self.usage if namespace == "shop" else {}

    async def epoch(self) -> str:
        return "e"

    async def fingerprint(self, *, namespace: str, kind: str, name: str) -> str | None:
        if self.fails is not None:
            raise self.fails
        return self.contents.get((namespace, kind, name))

    async def check(self, probe: NetworkProbe, *, timeout: timedelta) -> CheckResult:
        return CheckResult(Outcome.PASS, "Network", f"{timeout}")

    def uses(self, mebi: float = 0, cpu: float = 0.0, *, age: timedelta = timedelta(), name: str = "app") -> None:
        container = ContainerUsage(cpu_cores=cpu, memory_bytes=int(mebi * MEBI))
        self.usage["a"] = PodUsage(timestamp=self.now - age, window=SECOND, containers={name: container})

    def ask(self, probe: Probe) -> CheckResult:
        return asyncio.run(self.checker.check(probe, timeout=SECOND))


def lines(*found: UsageLine) -> UsageProbe:
    return UsageProbe("shop", "a", "app", found)


MEMORY = UsageLine(Measure.MEMORY, 0.8 * LIMIT, 0.95 * LIMIT, LIMIT)
CPU = UsageLine(Measure.CPU, 0.8, 0.95, 1.0)


@pytest.mark.parametrize(
    ("mebi", "cpu", "found", "outcome", "words"),
    [
        (400, 0, (MEMORY,), Outcome.PASS, "memory 400 MiB is 78 % of 512 MiB"),
        (0.8 * 512, 0, (MEMORY,), Outcome.PASS, "80 %"),
        (420, 0, (MEMORY,), Outcome.WARN, "82 %"),
        (500, 0, (MEMORY,), Outcome.FAIL, "98 %"),
        (
            400,
            0.9,
            (MEMORY, CPU),
            Outcome.WARN,
            "memory 400 MiB is 78 % of 512 MiB; cpu 0.90 cores is 90 % of 1.00 cores",
        ),
        (500, 0.9, (MEMORY, CPU), Outcome.FAIL, "98 % of 512 MiB; cpu 0.90"),
        (500, 0.9, (CPU, MEMORY), Outcome.FAIL, "98 %"),
        # The line of a policy is an amount, and there is no warning.
        (65, 0, (UsageLine(Measure.MEMORY, None, 64.0 * MEBI),), Outcome.FAIL, "memory 65 MiB"),
        (64, 0, (UsageLine(Measure.MEMORY, None, 64.0 * MEBI),), Outcome.PASS, "memory 64 MiB"),
        (64, 0, (UsageLine(Measure.MEMORY, 1.0, None),), Outcome.WARN, "memory 64 MiB"),
    ],
)
def test_usage_is_compared_with_its_lines_and_the_worst_counts(
    mebi: float, cpu: float, found: tuple[UsageLine, ...], outcome: Outcome, words: str
) -> None:
    bench = Bench()
    bench.uses(mebi, cpu)

    result = bench.ask(lines(*found))

    assert result.outcome is outcome and words in result.message
    assert result.reason == {"Pass": "WithinLines", "Warn": "UsageHigh", "Fail": "UsageCritical"}[outcome]


@pytest.mark.parametrize("probe", [lines(MEMORY), SLOPE], ids=["usage", "slope"])
@pytest.mark.parametrize(
    ("age", "name", "known"),
    [(timedelta(), "app", True), (3 * MINUTE, "app", True), (3 * MINUTE + SECOND, "app", False), (SECOND, "x", False)],
)
def test_figures_that_are_old_or_of_others_say_nothing(probe: Probe, age: timedelta, name: str, known: bool) -> None:
    bench = Bench()
    assert bench.ask(probe).outcome is Outcome.INCONCLUSIVE
    bench.uses(100, age=age, name=name)

    result = bench.ask(probe)

    assert (result.outcome, result.reason == "NoFigures") == (
        Outcome.PASS if known else Outcome.INCONCLUSIVE,
        not known,
    )


@pytest.mark.parametrize("error", [Unavailable("metrics-server is not installed"), Refused("label the Secret")])
@pytest.mark.parametrize("probe", [lines(MEMORY), SLOPE, ContentProbe("shop", "Secret", "s")])
def test_what_cannot_be_read_is_inconclusive_and_says_why(probe: Probe, error: PortError) -> None:
    bench = Bench(fails=error)
    bench.uses(511)

    assert bench.ask(probe) == CheckResult(Outcome.INCONCLUSIVE, "NotReadable", str(error))


def grown(
    bench: Bench, *, per_minute: float, minutes: int, start: float = 100, probe: SlopeProbe = SLOPE
) -> CheckResult:
    """Asked every five seconds, measured every fifteen."""
    for number in range(minutes * 12):
        if number % 3 == 0:
            bench.uses(start + per_minute * number / 12)
        result = bench.ask(probe)
        bench.now += 5 * SECOND
    return result


@pytest.mark.parametrize(
    ("per_minute", "minutes", "outcome", "reason"),
    [
        (10, 1, Outcome.PASS, "NotGrowing"),
        (10, 10, Outcome.FAIL, "LimitNear"),
        (5, 10, Outcome.PASS, "LimitFar"),
        # It takes longer than can be foreseen.
        (3, 10, Outcome.PASS, "NotGrowing"),
        (0, 10, Outcome.PASS, "NotGrowing"),
        (-5, 10, Outcome.PASS, "NotGrowing"),
    ],
)
def test_memory_that_will_reach_its_limit_in_time_fails(
    per_minute: float, minutes: int, outcome: Outcome, reason: str
) -> None:
    found = grown(Bench(), per_minute=per_minute, minutes=minutes)

    assert (found.outcome, found.reason) == (outcome, reason)


def test_a_figure_that_is_asked_for_twice_is_one_measurement() -> None:
    bench = Bench()
    for number in range(20):
        if number % 5 == 0:
            bench.uses(100 + number)
        found = bench.ask(SLOPE)
        bench.now += 5 * SECOND

    # Four figures in more than a minute are too few.
    assert found.reason == "NotGrowing"


def test_the_words_say_when_the_limit_is_reached() -> None:
    found = grown(Bench(), per_minute=10, minutes=10)

    # 197.5 MiB at the last of the measurements, 15 s apart.
    assert found.message == "memory 198 MiB grows and reaches its limit of 512 MiB in 31m27s (within 1h)"


def test_a_pod_that_was_made_again_begins_anew() -> None:
    bench = Bench()
    assert grown(bench, per_minute=10, minutes=10).reason == "LimitNear"

    again = SlopeProbe("shop", "a", "uid-again", "app", LIMIT, HOUR)

    assert grown(bench, per_minute=10, minutes=1, start=100, probe=again).reason == "NotGrowing"
    assert grown(bench, per_minute=10, minutes=8, start=110, probe=again).reason == "LimitNear"


def test_a_container_that_began_again_begins_anew() -> None:
    bench = Bench()
    assert grown(bench, per_minute=10, minutes=10).reason == "LimitNear"

    assert grown(bench, per_minute=10, minutes=1, start=50).reason == "NotGrowing"
    assert grown(bench, per_minute=20, minutes=8, start=60).reason == "LimitNear"


def test_measurements_that_nobody_asks_for_are_forgotten() -> None:
    bench = Bench()
    grown(bench, per_minute=10, minutes=10)
    bench.now += 11 * MINUTE

    assert grown(bench, per_minute=10, minutes=1, start=300).reason == "NotGrowing"


def content(found: str | None, *, optional: bool = False, fails: PortError | None = None) -> CheckResult:
    held = {} if found is None else {("shop", "ConfigMap", "settings"): found}
    return Bench(contents=held, fails=fails).ask(ContentProbe("shop", "ConfigMap", "settings", optional))


def test_content_is_a_fingerprint_with_the_epoch_of_its_key() -> None:
    assert (content("1").outcome, content("1").fingerprint) == (Outcome.PASS, "e-1")
    assert content("a" * 64).fingerprint == f"e-{'a' * 16}"


def test_an_object_that_is_not_there_has_no_content_unless_it_is_optional() -> None:
    missing = content(None)

    assert (missing.outcome, missing.message, missing.fingerprint) == (
        Outcome.INCONCLUSIVE,
        "there is no ConfigMap settings",
        "",
    )
    assert (content(None, optional=True).outcome, content(None, optional=True).fingerprint) == (
        Outcome.PASS,
        "e-absent",
    )


@pytest.mark.parametrize("optional", [False, True])
@pytest.mark.parametrize(
    ("error", "reason"),
    [(NotLabelled("label it"), NOT_LABELLED), (Refused("no right"), "NotReadable"), (Unavailable("x"), "NotReadable")],
)
def test_an_object_that_cannot_be_read_is_neither_absent_nor_changed(
    error: PortError, reason: str, optional: bool
) -> None:
    found = content("1", optional=optional, fails=error)

    assert (found.outcome, found.reason, found.fingerprint) == (Outcome.INCONCLUSIVE, reason, "")


def test_everything_else_is_asked_over_the_network() -> None:
    assert Bench().ask(TcpProbe("db", 5432)) == CheckResult(Outcome.PASS, "Network", "0:00:01")
