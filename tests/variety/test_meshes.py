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
from resilience.api.reasons import HealthState, ReplaceStep, Severity
from resilience.api.status import CheckStatus, HealthStatus, Status
from resilience.api.v1alpha1 import Gate
from resilience.core.health.thresholds import CheckResult, Fold, Outcome, fold, initial, of_service, over_pods
from resilience.core.model.check_state import CheckState
from resilience.core.model.decision import Advance
from resilience.core.model.observation import Pod, Turn
from resilience.core.model.probes import CheckTarget, HttpProbe, HttpTarget
from resilience.core.rollouts.gates import GateVerdict, evaluate
from tests.support.factories import (
    LONG_AGO,
    NOW,
    READY_CHECK,
    make_pod,
    make_resource,
    make_retiring,
    make_seen,
    make_spec,
    make_workload,
)
from tests.support.faulty import faulty_server
from tests.support.firing import DATABASE, HUNG, LEAKS, fires, past, policy_spec
from tests.support.preconditions import require
from tests.support.secrets import no_secrets
from tests.variety.claims import decided, status_of

A, B = make_pod("a"), make_pod("b", created=LONG_AGO + timedelta(minutes=1))
SECOND: Final = timedelta(seconds=1)
PASSED: Final = CheckResult(Outcome.PASS, "HTTP200", "GET /readyz answered 200")


async def reset() -> CheckResult:
    """One http check of a port that resets what it does not understand."""
    result = await checked("/reset")
    require(result.reason == "ConnectionReset", f"no reset: {result}")
    return result


async def checked(path: str, *, timeout: timedelta = timedelta(seconds=5)) -> CheckResult:
    """One http check of a server that misbehaves as the path says."""
    async with faulty_server() as server:
        checker = NetworkChecker(
            client=HttpClient(guard=AddressGuard(allowed=[ip_network("127.0.0.0/8")]), version="1.2.3"),
            loop_lag=lambda since: 0.0,
            credentials=no_secrets(),
        )
        return await checker.check(HttpProbe(HttpTarget("127.0.0.1", server.port, path)), timeout=timeout)


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


PODS_CHECK: Final = {"name": "live", "scope": "Pod", "http": {"path": "/", "port": 80}}


def asked(*, health: HealthStatus, checks: dict[str, CheckState] | None = None) -> dict[str, CheckTarget]:
    """The check targets after a pass of an operator that has just started, by name."""
    spec = policy_spec(HUNG, checks=(READY_CHECK, PODS_CHECK, DATABASE))
    status = Status(observed_generation=1, first_healthy_at=LONG_AGO, health=health)
    seen = make_seen(A, B, workload=make_workload(replicas=2), checks=checks or {})
    return {target.check: target for target in decided(make_resource(spec, status=status), seen).checks}


def test_a_restarted_operator_knows_from_status_what_has_passed() -> None:
    new = asked(health=HealthStatus())
    known = asked(health=HealthStatus(passed=["live"]))
    # A status that an older operator wrote has the last state only.
    older = asked(health=HealthStatus(checks=[CheckStatus(name="live", state=HealthState.HEALTHY)]))

    for targets, live in ((new, False), (known, True), (older, True)):
        assert (targets["live"].proven, targets["policy/stuck"].proven) == (live, live)
        # Whether a dependency can be reached is the question itself.
        assert (targets["ready"].proven, targets["db"].proven) == (False, True)


async def test_what_passed_before_the_operator_restarted_counts_after_it() -> None:
    answer = await reset()
    state = initial(now=NOW - 9 * SECOND, answered=True)
    for _ in range(5):
        state = fold(state, answer, failure_threshold=3, success_threshold=2, now=NOW)

    assert over_pods("live", {A.uid: state, B.uid: state}, now=NOW).state is HealthState.UNHEALTHY


async def test_that_it_has_passed_is_written_once_and_stays_while_stalled() -> None:
    healthy = looked(A, B, checks=everything(PASSED), status=serving())
    down = looked(A, B, checks=everything(PASSED, *[await reset()] * 5), status=healthy)

    assert [entry.partition("@")[0] for entry in healthy.health.passed or ()] == ["live", "ready"]
    assert healthy.health.passed == down.health.passed
    assert looked(A, B, checks=everything(PASSED), status=healthy).health == healthy.health
    gone = status_of(decided(make_resource(status=down), replace(make_seen(), workload=None)))
    assert (gone.health.checks, gone.health.passed) == ([], healthy.health.passed)


async def test_let_in_at_last_it_is_healthy_at_once() -> None:
    """Not Unhealthy on the way, which would page somebody just as it gets well."""
    answer = await reset()
    states = [at_every_pod("live", *[answer] * 5, *[PASSED] * count).state for count in range(3)]

    assert states == [HealthState.UNKNOWN, HealthState.HEALTHY, HealthState.HEALTHY]


@pytest.mark.parametrize(
    ("answered", "state"),
    [
        # A mesh that knows no such client; anything else is the application's own word.
        (CheckResult(Outcome.FAIL, "HTTP403", "answered 403", answered=False), HealthState.UNKNOWN),
        (CheckResult(Outcome.FAIL, "HTTP503", "answered 503"), HealthState.UNHEALTHY),
    ],
    ids=["403", "503"],
)
def test_an_answer_is_a_word_of_the_application(answered: CheckResult, state: HealthState) -> None:
    assert at_every_pod("live", *[answered] * 5).state is state


async def test_one_pod_that_resets_beside_one_that_answers_is_unhealthy() -> None:
    well, ill = folded(PASSED), folded(*[await reset()] * 5)

    assert over_pods("live", {A.uid: well, B.uid: ill}, now=NOW).by_pod[B.uid] is HealthState.UNHEALTHY


def gate_over(state: CheckState) -> GateVerdict:
    seen = make_seen(A, B, checks={"gate/live": state})
    return evaluate(Gate(checks=["live"]), seen, (A, B), NOW)


async def test_a_gate_that_was_never_answered_waits_and_says_so_at_the_deadline() -> None:
    answer = await reset()

    never = gate_over(at_every_pod("gate/live", *[answer] * 5))
    broken = gate_over(at_every_pod("gate/live", PASSED, *[answer] * 5))

    assert (never.passed, never.failure, never.inconclusive) == (False, None, True)
    assert never.at_deadline is not None and "TLS" in never.at_deadline.message
    assert "PERMISSIVE" in never.at_deadline.advice
    assert broken.failure is not None and broken.at_deadline is None


def test_only_the_policy_that_made_a_replacement_waits_for_it() -> None:
    """Another one has its own reason; and a replacement itself is left to the loop breaker."""
    new = make_pod("c", created=NOW - 10 * SECOND)
    unknown = {name: replace(state, by_pod={new.uid: HealthState.UNKNOWN}) for name, state in fires(HUNG, B).items()}
    spec = policy_spec(HUNG, LEAKS, checks=(READY_CHECK, PODS_CHECK))
    seen = make_seen(
        B,
        new,
        workload=make_workload(replicas=2),
        checks=unknown | fires(LEAKS, B),
        turn=Turn(granted=True),
    )

    status = status_of(decided(make_resource(spec, status=past(HUNG, NOW - 12 * SECOND)), seen))

    assert status.restart is not None and status.restart.policies == ["leak"]


def test_the_wait_for_the_replacement_has_a_reason_in_status() -> None:
    new = make_pod("c", created=NOW - 10 * SECOND)
    states = {
        name: replace(state, by_pod={B.uid: HealthState.UNHEALTHY, new.uid: HealthState.UNKNOWN})
        for name, state in fires(HUNG, B).items()
    }

    status = looked(B, new, checks=states, status=past(HUNG, NOW - 12 * SECOND))

    assert status.restarts.blocked_by == "ReplacementUnproven"
    assert "pod c" in status.restarts.message


@pytest.mark.parametrize(
    ("path", "answered"),
    [
        ("/reset", False),
        ("/close", False),
        ("/status/401", False),
        ("/status/403", False),
        ("/status/404", True),
        ("/status/503", True),
        # It took the request: hanging is the application's own doing.
        ("/hang", True),
    ],
)
async def test_what_counts_as_an_answer(path: str, answered: bool) -> None:
    result = await checked(path, timeout=timedelta(milliseconds=300))

    assert (result.outcome, result.answered) == (Outcome.FAIL, answered)


@pytest.mark.parametrize(("results", "leaves"), [((), True), ((PASSED,), False)], ids=["never", "before"])
async def test_a_replacement_need_not_pass_what_no_pod_ever_answered(
    results: tuple[CheckResult, ...], leaves: bool
) -> None:
    """It is ready and in its Service; with the check required, no restart by hand could ever end well."""
    old, new = make_retiring("old", ReplaceStep.REPLACING), make_pod("new", created=NOW)
    state = folded(*results, *[await reset()] * 5)
    live = over_pods("live", {old.uid: state, new.uid: state}, now=NOW)
    spec = make_spec(health={"checks": [PODS_CHECK]})

    actions = decided(make_resource(spec), make_seen(old, new, checks={"live": live})).actions

    assert any(isinstance(action, Advance) for action in actions) is leaves
