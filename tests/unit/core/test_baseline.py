"""Failures that were there before a release got traffic do not roll it back; others do, also after a kill."""

from datetime import timedelta
from typing import Any

import pytest

from resilience.api.names import ANNOTATION_CLAIM, ANNOTATION_SERVING
from resilience.api.reasons import Colour, HealthState, ReleaseStep
from resilience.api.status import Status
from resilience.api.status_rollout import FailedBefore, FailingCheck
from resilience.core.model.actions import AdvanceGreen, MarkFailed
from resilience.core.model.check_state import CheckState, Component
from resilience.core.model.traffic import Traffic
from resilience.core.reconcile import decide
from resilience.core.rollouts import bluegreen, rollout
from tests.support.factories import NOW, READY_CHECK, make_check
from tests.support.stages import (
    NEW,
    OLD,
    Scenario,
    checked,
    green_pods,
    look,
    make_stage,
    own_pods,
    running,
)

PREPARING, SCALING, SWITCHING, WARM = (
    ReleaseStep.PREPARING,
    ReleaseStep.SCALING,
    ReleaseStep.SWITCHING,
    ReleaseStep.WARM,
)
UNHEALTHY, UNKNOWN, HEALTHY = HealthState.UNHEALTHY, HealthState.UNKNOWN, HealthState.HEALTHY
AFTER = {"after": {"checks": ["ready"], "for": "10s"}}
VERIFY = {"path": "/", "requestsPerSecond": 10}
ERRORS = {"name": "errors", "prometheus": {"query": "up", "above": "0.05"}}
WORK = {"name": "work", "prometheus": {"query": "up", "below": "3", "above": "9"}}
ALL_BAD = Traffic(50, 50, None, failed_in_row=50, failure="answered 400")
GOOD = Traffic(50, 2, 0.01)


def failing(state: HealthState = UNHEALTHY, reason: str = "HTTP400", **fields: Any) -> CheckState:
    """The health check, as it was before the release."""
    return make_check(state=state, reason=reason, **fields)


def recorded(*, known: FailedBefore | None = None, step: ReleaseStep | None = SCALING, **seen: Any) -> Any:
    """The record after a pass."""
    resource, observation = look(
        Scenario(
            step,
            rollout=AFTER | {"blueGreen": {"warmPeriod": "10m"}},
            spec={"health": {"checks": [READY_CHECK]}, "verify": VERIFY},
            workload={"annotations": {ANNOTATION_SERVING: OLD, ANNOTATION_CLAIM: "checkout/resource-uid"}},
            status=running(failed_before=known),
            seen=seen,
        )
    )
    status = decide(resource, observation, NOW).status
    assert isinstance(status, Status)
    return status.rollout.failed_before


def before(requests: str = "", *checks: FailingCheck) -> FailedBefore:
    return FailedBefore(requests=requests, checks=list(checks))


READY_400 = FailingCheck(name="ready", reason="HTTP400")
KNOWN = before("answered 400", READY_400)


@pytest.mark.parametrize("step", [None, PREPARING, SCALING])
@pytest.mark.parametrize(
    ("seen", "known", "wanted"),
    [
        ({"traffic": GOOD, "checks": {"ready": failing(HEALTHY)}}, None, None),
        ({"traffic": GOOD, "checks": {"ready": failing(HEALTHY)}}, KNOWN, None),
        ({"traffic": ALL_BAD, "checks": {"ready": failing()}}, None, KNOWN),
        # A row that has just begun, and one of fewer requests than make a verdict.
        ({"traffic": Traffic(50, 2, 0.01, failed_in_row=2, failure="x")}, None, None),
        ({"traffic": Traffic(1, 1, None, failed_in_row=1, failure="x")}, None, before("x")),
        # A process that has just begun knows nothing yet; what the one before recorded stays.
        ({}, KNOWN, KNOWN),
        ({"traffic": Traffic(50, 50, None), "checks": {"ready": failing(UNKNOWN)}}, KNOWN, KNOWN),
        # The check of the gate itself, at the candidate, is no measure.
        ({"checks": {"gate/ready": failing()}}, None, None),
    ],
)
def test_without_traffic_for_the_candidate_the_failures_are_recorded(
    step: Any, seen: Any, known: Any, wanted: Any
) -> None:
    assert recorded(known=known, step=step, **seen) == wanted


@pytest.mark.parametrize("step", [SWITCHING, ReleaseStep.OVERLAPPING, WARM])
@pytest.mark.parametrize("known", [None, KNOWN])
def test_once_it_has_traffic_the_record_stays(step: ReleaseStep, known: Any) -> None:
    traffic = Traffic(90, 50, 0.1, failed_in_row=1, failure="x")
    assert recorded(known=known, step=step, traffic=traffic, checks={"ready": failing(reason="HTTP500")}) == known


def test_a_check_that_fails_at_candidates_alone_did_not_fail_before() -> None:
    at_green = {pod.uid: UNHEALTHY for pod in green_pods()}
    healthy = {pod.uid: HEALTHY for pod in own_pods()}

    assert recorded(checks={"ready": failing(by_pod=at_green | healthy)}) is None
    assert recorded(checks={"ready": failing(by_pod={pod.uid: UNHEALTHY for pod in own_pods()})}) == before(
        "", READY_400
    )


def test_the_record_is_written_before_the_switch() -> None:
    """The pass that switches writes the status first, and its writes come after it."""
    resource, observation = look(
        Scenario(
            SCALING,
            workload={"annotations": {ANNOTATION_SERVING: OLD, ANNOTATION_CLAIM: "checkout/resource-uid"}},
            spec={"health": {"checks": [READY_CHECK]}, "verify": VERIFY},
            seen={"traffic": ALL_BAD},
        )
    )
    decision = decide(resource, observation, NOW)

    assert any(isinstance(action, AdvanceGreen) and action.step is SWITCHING for action in decision.actions)
    assert decision.status is not None and decision.status.rollout.failed_before == before("answered 400")


def rolls_back(known: FailedBefore | None, *, spec: Any = (READY_CHECK,), gate: Any = AFTER, **seen: Any) -> bool:
    """The candidate, which serves alone, is given up."""
    stage = make_stage(
        WARM,
        rollout=gate | {"blueGreen": {"warmPeriod": "10s"}},
        spec={"health": {"checks": list(spec)}, "verify": VERIFY},
        status=running(failed_before=known),
        seen=seen,
    )
    return MarkFailed(NEW) in bluegreen.plan(stage).actions


@pytest.mark.parametrize(
    ("known", "traffic", "back"),
    [
        (None, Traffic(90, 9, 0.1, failed_in_row=9, failure="answered 400"), True),
        (before("answered 400"), Traffic(90, 90, None, failed_in_row=90, failure="answered 400"), False),
        # Also after a restart of the operator, which counts rows from then on, and if some passed long before.
        (before("answered 400"), Traffic(90, 60, 0.1, failed_in_row=3, failure="answered 400"), False),
        (before("answered 400"), Traffic(90, 90, None, failed_in_row=90, failure="answered 500"), True),
        (before("answered 400"), Traffic(90, 90, None, failed_in_row=9, failure="the connection was refused"), True),
        # No record, from an older operator, and none has ever passed.
        (None, Traffic(90, 90, None, failed_in_row=90, failure="answered 400"), False),
    ],
)
def test_measured_requests(known: Any, traffic: Traffic, back: bool) -> None:
    assert rolls_back(known, gate={}, traffic=traffic) is back


def components(*names: str) -> dict[str, Any]:
    return {
        "reason": "ComponentUnhealthy",
        "components": (Component("web", HEALTHY), *(Component(name, UNHEALTHY) for name in names)),
    }


PARTS = before("", FailingCheck(name="ready", reason="ComponentUnhealthy", components=["cache", "db"]))


@pytest.mark.parametrize(
    ("known", "state", "back"),
    [
        (None, checked(UNHEALTHY, reason="HTTP400"), True),
        (before("", READY_400), checked(UNHEALTHY, reason="HTTP400"), False),
        (before("", READY_400), checked(UNHEALTHY, reason="HTTP500"), True),
        (before("", FailingCheck(name="other", reason="HTTP400")), checked(UNHEALTHY, reason="HTTP400"), True),
        (PARTS, checked(UNHEALTHY, **components("cache")), False),
        (PARTS, checked(UNHEALTHY, **components("cache", "mail")), True),
    ],
)
def test_checks_of_the_gate(known: Any, state: Any, back: bool) -> None:
    assert rolls_back(known, **state) is back


@pytest.mark.parametrize(
    ("check", "then", "now", "back"),
    [
        (ERRORS, "0.2", 0.2, False),
        (ERRORS, "0.2", 0.06, False),
        (ERRORS, "0.2", 0.3, True),
        (ERRORS, None, 0.2, True),
        (ERRORS, "0.2", None, True),
        (WORK, "1", 1.0, False),
        (WORK, "1", 0.0, True),
        # Out of bounds at the other end.
        (WORK, "1", 10.0, True),
        (WORK, "10", 1.0, True),
    ],
)
def test_a_number_must_not_be_worse(check: Any, then: Any, now: Any, back: bool) -> None:
    known = before("", FailingCheck(name=check["name"], reason="OutOfBounds", figure=then))
    state = make_check(state=UNHEALTHY, reason="OutOfBounds", figure=now, since=NOW - timedelta(minutes=1))

    gate = {"after": {"checks": [check["name"]]}}
    seen = {"checks": {f"gate/{check['name']}": state}}

    assert rolls_back(known, spec=(check,), gate=gate, **seen) is back


@pytest.mark.parametrize(("ago", "ends"), [(4, False), (10, True)])
def test_the_gate_ends_though_its_only_check_fails_as_before(ago: int, ends: bool) -> None:
    stage = make_stage(
        WARM,
        rollout=AFTER,
        status=running(failed_before=before("", READY_400)),
        seen=checked(UNHEALTHY, reason="HTTP400", ago=ago),
    )
    found = bluegreen.plan(stage)

    assert any(isinstance(action, AdvanceGreen) for action in found.actions) is ends
    assert ends or "check ready fails as before this release" in found.waiting


def test_people_read_that_requests_fail_as_before() -> None:
    stage = make_stage(
        WARM,
        rollout={"blueGreen": {"warmPeriod": "10m"}},
        spec={"verify": VERIFY},
        status=running(failed_before=before("answered 400")),
        seen={"traffic": ALL_BAD},
    )
    assert bluegreen.plan(stage).waiting.endswith("; measured requests fail as before this release: answered 400")


def rolling(known: Any, *, begun: bool = True, failed: bool = False, **seen: Any) -> Any:
    """The status of a rolling update that is complete but for its gate."""
    status = running(NEW, failed_before=known)
    if not begun:
        status = Status(rollout=status.rollout.model_copy(update={"candidate": None, "failed_before": None}))
    if failed:
        failure = {"class": "Unknown", "reason": "GateFailed", "version": {"hash": "t-bad", "image": "x"}, "at": NOW}
        kept = type(status.rollout).model_validate(status.rollout.model_dump(by_alias=True) | {"failure": failure})
        status = Status(rollout=kept)
    stage = make_stage(
        wanted=NEW,
        serving="",
        rollout={"strategy": "RollingUpdate", "onFailure": "Pause"} | AFTER,
        status=status,
        seen=seen,
    )
    return rollout.reconcile(stage.base, writing=False)


def test_a_rolling_update_records_what_fails_at_its_start_only() -> None:
    seen: Any = {"checks": {"ready": failing()}}

    assert rolling(None, begun=False, **seen).step.status.rollout.failed_before == before("", READY_400)
    assert rolling(None, **seen).step.status.rollout.failed_before is None
    # A version that failed itself is no measure for the next one.
    assert rolling(None, begun=False, failed=True, **seen).step.status.rollout.failed_before is None


@pytest.mark.parametrize(("known", "fails"), [(None, True), (before("", READY_400), False)])
def test_the_gate_of_a_rolling_update(known: Any, fails: bool) -> None:
    result = rolling(known, **checked(UNHEALTHY, reason="HTTP400", pods=own_pods(NEW)))

    assert (result.move.failure is not None) is fails
    assert (result.step.status.rollout.step == "Complete") is not fails


def test_a_newer_template_on_the_way_back_is_compared_with_what_serves() -> None:
    later = {"wanted": "t-later", "serving": NEW, "own": own_pods("t-later"), "status": running("t-later")}
    stage = make_stage(PREPARING, Colour.BLUE, **later, rollout=AFTER, seen={"checks": {"ready": failing()}})

    updated = rollout.reconcile(stage.base, writing=False).step.status

    assert updated.rollout.failed_before == before("", READY_400)
