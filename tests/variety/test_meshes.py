"""An operator outside a STRICT mesh (Istio, Linkerd): every port resets whoever does not speak the mesh's TLS.

A check that has never passed, at all pods alike, says nothing about the pods. It is told with what to do, and it
restarts nobody. And no policy takes the next pod while the last replacement lacks what it was made for.
"""

from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network
from typing import Final

import pytest

from resilience.adapters.checks.checker import NetworkChecker
from resilience.adapters.net.address import AddressGuard
from resilience.adapters.net.http import HttpClient
from resilience.api.reasons import HealthState, Severity
from resilience.api.status import Status
from resilience.core.health.thresholds import CheckResult, Fold, Outcome, fold, initial, of_service, over_pods
from resilience.core.model.check_state import CheckState
from resilience.core.model.observation import Pod, Turn
from resilience.core.model.probes import HttpProbe, HttpTarget
from tests.support.factories import LONG_AGO, NOW, READY_CHECK, make_pod, make_resource, make_seen, make_workload
from tests.support.faulty import faulty_server
from tests.support.firing import HUNG, fires, past, policy_spec
from tests.support.preconditions import require
from tests.support.secrets import no_secrets
from tests.variety.claims import decided, status_of

A, B = make_pod("a"), make_pod("b", created=LONG_AGO + timedelta(minutes=1))
SECOND: Final = timedelta(seconds=1)
PASSED: Final = CheckResult(Outcome.PASS, "HTTP200", "GET /readyz answered 200")


async def reset() -> CheckResult:
    """One http check of a port that resets what it does not understand."""
    async with faulty_server() as server:
        checker = NetworkChecker(
            client=HttpClient(guard=AddressGuard(allowed=[ip_network("127.0.0.0/8")]), version="1.2.3"),
            loop_lag=lambda since: 0.0,
            credentials=no_secrets(),
        )
        probe = HttpProbe(HttpTarget("127.0.0.1", server.port, "/reset"))
        result = await checker.check(probe, timeout=timedelta(seconds=5))
    require(result.reason == "ConnectionReset", f"no reset: {result}")
    return result


def folded(*results: CheckResult) -> Fold:
    """These results, one a second until now."""
    state = initial(now=NOW - len(results) * SECOND)
    for number, result in enumerate(results, start=1 - len(results)):
        at = NOW + number * SECOND
        state = fold(state, result, failure_threshold=3, success_threshold=2, now=at)
    return state


def at_every_pod(name: str, *results: CheckResult) -> CheckState:
    return over_pods(name, {pod.uid: folded(*results) for pod in (A, B)}, now=NOW)


def looked(*pods: Pod, checks: dict[str, CheckState], status: Status | None = None) -> Status:
    """The status after a pass over a service with a policy that restarts pods whose check fails."""
    spec = policy_spec(HUNG, checks=(READY_CHECK, {"name": "live", "scope": "Pod", "http": {"path": "/", "port": 80}}))
    workload = make_workload(replicas=len(pods))
    seen = make_seen(*pods, workload=workload, checks=checks, turn=Turn(granted=True))
    return status_of(decided(make_resource(spec, status=status), seen))


def everything(*results: CheckResult) -> dict[str, CheckState]:
    """The same results of the Service's check, of every pod's, and of the policy's."""
    pods = {name: at_every_pod(name, *results) for name in ("live", "policy/stuck")}
    return {"ready": of_service("ready", folded(*results)), **pods}


async def test_a_check_that_never_passed_at_any_pod_is_not_unhealthy() -> None:
    answer = await reset()

    assert at_every_pod("live", *[answer] * 5).state is not HealthState.UNHEALTHY


async def test_a_check_that_passed_before_is() -> None:
    answer = await reset()

    assert at_every_pod("live", PASSED, *[answer] * 5).state is HealthState.UNHEALTHY


def serving() -> Status:
    """A service that has been well."""
    return Status(observed_generation=1, first_healthy_at=LONG_AGO)


def paged(status: Status) -> list[str]:
    return [item.name for item in status.alerts.firing if item.severity is Severity.CRITICAL]


async def test_it_restarts_no_pod_and_pages_nobody() -> None:
    answer = await reset()

    status = looked(A, B, checks=everything(*[answer] * 5), status=serving())

    assert status.restart is None
    assert paged(status) == []


async def test_what_passed_before_and_fails_now_does_both() -> None:
    answer = await reset()

    status = looked(A, B, checks=everything(PASSED, *[answer] * 5), status=serving())

    assert status.restart is not None
    assert paged(status)


async def test_a_reset_is_told_with_what_may_be_behind_it() -> None:
    answer = await reset()

    status = looked(A, B, checks=everything(*[answer] * 5), status=serving())

    words = [answer.message, status.explanation, *(item.message for item in status.health.checks)]
    assert any("TLS" in text for text in words)


@pytest.mark.parametrize(
    ("replacement", "goes_on"),
    [
        (HealthState.HEALTHY, True),
        (HealthState.UNKNOWN, False),
        (HealthState.UNHEALTHY, False),
    ],
    ids=str,
)
def test_the_next_pod_goes_when_the_last_replacement_has_passed(replacement: HealthState, goes_on: bool) -> None:
    """Pod a was replaced ten seconds ago, after the cool-down of a second; pod b fails as a did."""
    new = make_pod("c", created=NOW - 10 * SECOND)
    by_pod = {B.uid: HealthState.UNHEALTHY, new.uid: replacement}
    passes = {new.uid: 9 if replacement is HealthState.HEALTHY else 0}
    states = {name: replace(state, by_pod=by_pod, passes_by_pod=passes) for name, state in fires(HUNG, B).items()}

    status = looked(B, new, checks=states, status=past(HUNG, NOW - 12 * SECOND))

    assert (status.restart is not None) is goes_on
