"""Work begins with the namespaces for which it is done, so that it takes from their share of something."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.observation import Key
from resilience.core.model.probes import CheckTarget, Probe, TcpProbe
from resilience.ports import Metrics
from resilience.ports.on_behalf import beneficiaries, on_behalf_of
from resilience.runtime.checking.check_runner import CheckRunner
from tests.support.virtual_time import VirtualClock, run_virtual


@dataclass(slots=True)
class Checker:
    """Notes for whom each host is checked."""

    noted: dict[str, frozenset[str]] = field(default_factory=dict)

    async def check(self, probe: Probe, *, timeout: timedelta) -> CheckResult:
        assert isinstance(probe, TcpProbe)
        self.noted[probe.host] = beneficiaries()
        return CheckResult(Outcome.PASS, "Answered", "it answered")


class Silent:
    def checked(self, **_: Any) -> None:
        return None


async def checks(checker: Checker) -> None:
    clock = VirtualClock()
    runner = CheckRunner(
        checker=checker, metrics=cast(Metrics, Silent()), clock=clock, on_transition=lambda _: None, concurrency=8
    )
    second = timedelta(seconds=1)
    for namespace, hosts in (("one", ["own", "shared"]), ("two", ["shared"])):
        runner.sync(
            Key(namespace, "app"),
            [CheckTarget(host, TcpProbe(host, 80), "", second, second, 3, 2) for host in hosts],
        )
    task = asyncio.create_task(runner.run())
    await asyncio.sleep(5)
    task.cancel()
    await asyncio.wait([task])


def test_a_check_runs_for_every_namespace_that_has_it() -> None:
    checker = Checker()
    run_virtual(checks(checker))
    assert checker.noted == {"own": frozenset({"one"}), "shared": frozenset({"one", "two"})}


def test_what_is_done_for_nobody_is_the_operators_own() -> None:
    assert beneficiaries() == {""}
    with on_behalf_of({"shop"}):
        assert beneficiaries() == {"shop"}
        with on_behalf_of(()):
            assert beneficiaries() == {""}
    assert beneficiaries() == {""}
