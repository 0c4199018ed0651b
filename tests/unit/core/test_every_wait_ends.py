"""Every wait ends, has a deadline or an alert: each row of docs/reference/waits.md, long after the wait began."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from resilience.api.names import ANNOTATION_CLAIM, ANNOTATION_SERVING
from resilience.api.parts import Problem
from resilience.api.reasons import (
    BlockReason,
    Colour,
    ConditionType,
    HealthState,
    RefusalReason,
    ReleaseStep,
    ReplaceStep,
    RestartOutcome,
)
from resilience.api.status import CheckStatus, HealthStatus, Status
from resilience.api.status_restarts import FiringPolicy, RestartsStatus, RestartStatus
from resilience.api.status_rollout import StepTime
from resilience.api.v1alpha1 import TargetKind
from resilience.core.alerting import rules
from resilience.core.model import conditions
from resilience.core.model.actions import AdvanceGreen, DeleteGreen, MarkFailed, PauseFailed, Route
from resilience.core.model.api_refusal import ApiRefusal
from resilience.core.model.decision import Advance, Decision, DeletePod, GiveBack, SendSignal, SetFinalizer
from resilience.core.model.observation import Budget, Pod
from resilience.core.reconcile import decide
from tests.support.factories import (
    LONG_AGO,
    NOW,
    make_endpoint,
    make_pod,
    make_resource,
    make_retiring,
    make_seen,
    make_spec,
    make_view,
    make_workload,
)
from tests.support.stages import GREEN_HASH, NEW, OLD, Scenario, checked, green_pods, look, own_pods, running

PAGE: Final = Path(__file__).resolve().parents[3] / "docs/reference/waits.md"
DAY: Final = timedelta(days=1)
GREEN, BLUE = Colour.GREEN, Colour.BLUE
PREPARING, SWITCHING, OVERLAPPING = ReleaseStep.PREPARING, ReleaseStep.SWITCHING, ReleaseStep.OVERLAPPING
WARM, DRAINING = ReleaseStep.WARM, ReleaseStep.DRAINING
BOTH: Final = (*own_pods(), *green_pods())
HOME: Final[dict[str, Any]] = {"serving": NEW, "own": own_pods(NEW)}
HALF: Final = (*own_pods(NEW, 1), *own_pods(OLD, 1))
BEFORE: Final = {"before": {"checks": ["ready"], "for": "1m"}}
AFTER: Final = {"after": {"checks": ["ready"], "for": "1m"}}
QUIET: Final = {
    "signal": {"http": {"path": "/drain", "port": "http"}},
    "quiet": {"http": {"path": "/c", "port": "http", "json": "n"}},
}
ROLLING: Final[dict[str, Any]] = {"rollout": {"strategy": "RollingUpdate"} | AFTER}


def release(step: ReleaseStep | None, towards: Colour = GREEN, **fields: Any) -> Decision:
    """A pass a day after the step of a release began."""
    notes = {ANNOTATION_SERVING: fields.get("serving", OLD), ANNOTATION_CLAIM: "checkout/resource-uid"}
    workload = {"annotations": {key: value for key, value in notes.items() if value}} | fields.pop("workload", {})
    usual: dict[str, Any] = {"ago": DAY, "status": running(ago=DAY)}
    return decide(*look(Scenario(step, towards, **usual | fields, workload=workload)), NOW)


def unread() -> Decision:
    """A pass a day after spec.rollout became unreadable, before a release began."""
    notes = {ANNOTATION_SERVING: OLD, ANNOTATION_CLAIM: "checkout/resource-uid"}
    new = Status(observed_generation=1)
    resource, seen = look(Scenario(None, ago=DAY, status=new, workload={"annotations": notes}))
    resource = replace(resource, problems=(Problem("rollout", "", "spec.rollout.strategy: Input should be another"),))
    first = decide(resource, seen, NOW - DAY)
    assert first.status is not None
    return decide(replace(resource, status=first.status), seen, NOW)


def at(step: str) -> Status:
    """Status of a release that has been at this step for a day."""
    return running(ago=DAY, steps=[StepTime(name=step, since=NOW - DAY)])


def restart(*pods: Pod, workload: Any = None, view: Any = None, spec: Any = None, **seen: Any) -> Decision:
    """A pass a day after the last move of a restart of three pods."""
    begun = RestartStatus(request="now", trace_id="t", started_at=NOW, born_before=LONG_AGO, total=3)
    observed = make_seen(
        *pods, view=make_view(*pods, **view or {}), workload=make_workload(replicas=3, **workload or {}), **seen
    )
    spec = make_spec(targetRef={"kind": observed.workload.kind, "name": "checkout"}, **spec or {})  # type: ignore[union-attr]
    return decide(make_resource(spec, status=Status(observed_generation=1, restart=begun)), observed, NOW + DAY)


def left(step: ReplaceStep, **fields: Any) -> Pod:
    """A pod in the middle of its replacement that has left its Services."""
    return make_retiring("old", step, labels={"app": "left"}, **fields)


def blocked(reason: str, *, lost: bool = False, changed: bool = False) -> list[str]:
    """The alerts a day after this began to block a policy, or changed configuration."""
    firing = [] if changed else [FiringPolicy(name="leak", pods=1)]
    check = CheckStatus(name="cache", state=HealthState.UNHEALTHY, reason="ConnectionRefused", since=NOW)
    status = Status(
        observed_generation=1,
        first_healthy_at=LONG_AGO,
        restarts=RestartsStatus(firing=firing, blocked_by=reason, message="blocked"),
        health=HealthStatus(checks=[check] if lost else []),
    )
    checks = [{"name": "cache", "scope": "Dependency", "tcp": {"host": "cache", "port": 6379}}]
    resource = make_resource(make_spec(health={"checks": checks}))
    before = rules.evaluate(resource, status, None, NOW)
    alerts = status.alerts.model_copy(update={"firing": list(before.firing)})
    after = rules.evaluate(resource, status.model_copy(update={"alerts": alerts}), None, NOW + DAY)
    return [alert.name for alert in after.firing if not alert.held]


def deleted() -> Decision:
    """A pass over a resource that was deleted a day ago, with a pod whose replacement never serves."""
    pods = (left(ReplaceStep.LEAVING), make_pod("b"), make_pod("new", ready=False))
    return decide(make_resource(deleting_since=NOW - DAY), make_seen(*pods), NOW)


A, B, C = make_pod("a"), make_pod("b"), make_pod("c")
FRESH: Final = tuple(make_pod(name, created=NOW) for name in ("x", "y", "z"))
HUNG: Final = make_pod("hung", ready=False, created=NOW)
REPLACED: Final = make_retiring("old", ReplaceStep.REPLACING)
LISTED: Final = {"endpoints": tuple(make_endpoint(pod) for pod in (left(ReplaceStep.LEAVING), *FRESH))}
QUIET_PODS: Final[dict[str, Any]] = {"signalled_at": NOW - DAY}
BAD: Final = checked(HealthState.UNHEALTHY)
NO_DATA: Final = checked(HealthState.UNKNOWN, ago=600)

# An alert by its name, the action that ends the wait, the outcome of a restart, or a time until the next pass.
Ends = str | type | RestartOutcome | timedelta
RELEASES: Final[dict[str, tuple[Callable[[], Decision], Ends]]] = {
    "what must hold before a release begins": (lambda: release(None, view={"quota_short": "no room"}), MarkFailed),
    "settings of a release that can be read": (unread, "ServiceStalled"),
    "the second Deployment to be created": (
        lambda: release(None, status=at("Preflight")),
        "NotProgressing",
    ),
    "candidate pods to become ready": (lambda: release(PREPARING, green=green_pods(ready=False)), MarkFailed),
    "the gate before traffic to answer": (lambda: release(PREPARING, rollout=BEFORE), "NotProgressing"),
    "the gate before traffic to have data": (
        lambda: release(PREPARING, rollout=BEFORE, seen=NO_DATA),
        MarkFailed,
    ),
    "the gate before traffic to pass for its time": (
        lambda: release(PREPARING, rollout=BEFORE, seen=checked(ago=60)),
        AdvanceGreen,
    ),
    "a promotion by hand": (
        lambda: release(PREPARING, rollout={"blueGreen": {"promotion": "Manual"}}),
        "PromotionAwaited",
    ),
    "a promotion after a time": (
        lambda: release(PREPARING, rollout={"blueGreen": {"promoteAfter": "1h"}}),
        AdvanceGreen,
    ),
    "every pod to pass the gate once": (lambda: release(ReleaseStep.SCALING, rollout=BEFORE), "NotProgressing"),
    "Services to list the new pods": (lambda: release(SWITCHING, listed=own_pods()), "NotProgressing"),
    "every node to know the new pods": (lambda: release(OVERLAPPING), Route),
    "the old pods to leave their Services": (
        lambda: release(OVERLAPPING, pin=GREEN_HASH, listed=BOTH),
        "NotProgressing",
    ),
    "the warm period": (lambda: release(WARM), AdvanceGreen),
    "the gate after the switch to answer": (lambda: release(WARM, rollout=AFTER), "NotProgressing"),
    "the gate after the switch to have data": (lambda: release(WARM, rollout=AFTER, seen=NO_DATA), MarkFailed),
    "clients to leave the old pods": (
        lambda: release(DRAINING, own=own_pods(**QUIET_PODS), spec={"drain": QUIET}),
        AdvanceGreen,
    ),
    "the old pods to leave before they are replaced": (
        lambda: release(PREPARING, BLUE, own=own_pods(), listed=BOTH),
        "NotProgressing",
    ),
    "the Deployment's own pods to become ready": (
        lambda: release(PREPARING, BLUE, own=HALF, workload={"paused": False}),
        "NotProgressing",
    ),
    "Services to list the Deployment's own pods": (
        lambda: release(SWITCHING, BLUE, **HOME, listed=green_pods()),
        "NotProgressing",
    ),
    "clients to leave the second Deployment": (
        lambda: release(DRAINING, BLUE, **HOME, green=green_pods(**QUIET_PODS), spec={"drain": QUIET}),
        DeleteGreen,
    ),
    "pods of the second Deployment to be deleted": (
        lambda: release(DRAINING, BLUE, **HOME, of_green={"deleting": True}),
        "NotProgressing",
    ),
    "pods of the second Deployment to end": (
        lambda: release(DRAINING, BLUE, **HOME, of_green={"deleting": True}, green=green_pods(deleting=True)),
        DeleteGreen,
    ),
    "the old pods to carry everything again": (
        lambda: release(ReleaseStep.REVERTING, own=own_pods(ready=False)),
        "NotProgressing",
    ),
    "a discarded candidate to leave its Services": (
        lambda: release(ReleaseStep.DISCARDING, listed=BOTH),
        "NotProgressing",
    ),
    "a failed version that nothing can take over from": (
        lambda: release(WARM, rollout=AFTER, own=own_pods(ready=False), seen=BAD, failed=NEW),
        "ReleaseFailed",
    ),
    "pods of a rolling update to become ready": (
        lambda: release(None, serving="", own=own_pods(NEW, ready=False), **ROLLING),
        PauseFailed,
    ),
    "the gate after a rolling update to answer": (
        lambda: release(None, serving="", own=own_pods(NEW), status=at("Gate"), **ROLLING),
        "NotProgressing",
    ),
    "the gate after a rolling update to have data": (
        lambda: release(
            None,
            serving="",
            own=own_pods(NEW),
            status=at("Gate"),
            seen=checked(HealthState.UNKNOWN, ago=600, pods=own_pods(NEW)),
            **ROLLING,
        ),
        MarkFailed,
    ),
    "a rolling update to end before adoption": (
        lambda: release(None, serving="", own=HALF, status=at("RollingUpdate")),
        "NotProgressing",
    ),
}
RESTARTS: Final[dict[str, tuple[Callable[[], Decision], Ends]]] = {
    "the guard to allow the next pod": (
        lambda: restart(A, B, C, view={"budgets": (Budget("pdb", 4, 3),)}),
        "NotProgressing",
    ),
    "a replacement to serve": (lambda: restart(REPLACED, B, C, HUNG), GiveBack),
    "a replacement whose old pod cannot be given back": (
        lambda: restart(REPLACED, B, C, HUNG, view={"replica_sets": ()}),
        "NotProgressing",
    ),
    "a pod to leave its Services": (lambda: restart(left(ReplaceStep.LEAVING), *FRESH, **LISTED), "NotProgressing"),
    "every node to know that a pod has left": (lambda: restart(left(ReplaceStep.LEFT), *FRESH), Advance),
    "a pod to take the drain signal": (
        lambda: restart(left(ReplaceStep.LEFT), *FRESH, spec={"drain": QUIET}),
        SendSignal,
    ),
    "clients to leave a pod": (
        lambda: restart(left(ReplaceStep.DRAINING), *FRESH, spec={"drain": QUIET}),
        DeletePod,
    ),
    "the guard to allow a deletion": (lambda: restart(left(ReplaceStep.DRAINING), *FRESH, **LISTED), "NotProgressing"),
    "a replaced pod to end": (
        lambda: restart(left(ReplaceStep.DELETING, deleting=True, grace_period=2 * DAY), *FRESH),
        RestartOutcome.SUCCEEDED,
    ),
    "a pod of a StatefulSet or DaemonSet to end": (
        lambda: restart(
            make_pod("a", deleting=True, ends_by=NOW), *FRESH[:2], workload={"kind": TargetKind.STATEFUL_SET}
        ),
        RestartOutcome.FAILED,
    ),
    "the next pod to be created": (lambda: restart(*FRESH[:2]), "NotProgressing"),
    "the last new pod to serve": (lambda: restart(*FRESH[:2], HUNG), RestartOutcome.FAILED),
    "nodes to catch up after an outage of the API server": (
        lambda: restart(left(ReplaceStep.DRAINING), *FRESH, unsettled=timedelta(seconds=90)),
        timedelta(seconds=90),
    ),
    "pods in flight when the resource is deleted": (deleted, SetFinalizer),
}
POLICIES: Final[dict[str, tuple[Callable[[], list[str]], list[str]]]] = {
    "a window": (lambda: blocked(BlockReason.OUTSIDE_WINDOW), []),
    "a turn": (lambda: blocked(BlockReason.QUEUED), []),
    "the end of a suspension": (lambda: blocked(BlockReason.SUSPENDED), []),
    "a lost dependency": (lambda: blocked(BlockReason.DEPENDENCY_DOWN, lost=True), ["DependencyLost"]),
    "the cool-down": (lambda: blocked(BlockReason.COOL_DOWN), ["PolicyBlocked"]),
    "the next attempt of a loop": (lambda: blocked(BlockReason.RESTART_LOOP), ["RestartLoop"]),
    "the budget": (lambda: blocked(BlockReason.BUDGET_SPENT), ["RestartBudgetSpent"]),
    "anything that keeps a policy from restarting": (
        lambda: blocked(RefusalReason.PORT_NOT_FOUND),
        ["PolicyBlocked"],
    ),
    "anything that keeps changed configuration from the pods": (
        lambda: blocked(RefusalReason.ROLLOUT_MOVING, changed=True),
        ["PolicyBlocked"],
    ),
}


def alerts(decision: Decision) -> list[str]:
    assert decision.status is not None
    return [alert.name for alert in decision.status.alerts.firing if not alert.held]


@pytest.mark.parametrize("wait", RELEASES | RESTARTS)
def test_a_wait_ends_or_somebody_hears_of_it(wait: str) -> None:
    make, ends = (RELEASES | RESTARTS)[wait]

    found = make()

    match ends:
        case RestartOutcome.FAILED:
            assert found.status is not None and found.status.restart is not None and found.status.restart.failure
        case RestartOutcome():
            assert found.status is not None and found.status.last_restart is not None
            assert found.status.last_restart.result is ends
        case timedelta():
            assert found.requeue_after is not None and found.requeue_after <= ends
        case str():
            assert ends in alerts(found)
        case _:
            assert any(isinstance(action, ends) for action in found.actions), found.actions
            assert found.status is None or "NotProgressing" not in alerts(found)


@pytest.mark.parametrize("wait", POLICIES)
def test_what_blocks_policies_is_planned_or_somebody_hears_of_it(wait: str) -> None:
    make, expected = POLICIES[wait]

    assert make() == expected


def test_the_page_has_a_row_for_each_wait() -> None:
    rows = re.findall(r"^\| (?!wait for|---)([^|]+?) \|", PAGE.read_text(), re.MULTILINE)

    assert rows == [*RELEASES, *RESTARTS, *POLICIES]


def test_what_waits_in_time_is_no_news() -> None:
    found = release(
        PREPARING,
        rollout=BEFORE,
        ago=timedelta(minutes=1),
        status=running(),
        green=green_pods(created=NOW - timedelta(minutes=1)),
        own=own_pods(created=NOW - DAY),
    )

    assert found.status is not None and alerts(found) == []
    progressing = conditions.find(found.status.conditions, ConditionType.PROGRESSING)
    assert progressing is not None and progressing.status == "True"
    # The next pass comes when it is late, if nothing else happens before.
    assert found.requeue_after is not None and found.requeue_after <= timedelta(seconds=1)


def test_pods_that_become_ready_again_and_again_are_no_progress() -> None:
    """A rollout ran without end while its pods crashed now and then (argoproj/argo-rollouts#3765)."""
    flapping = tuple(replace(pod, ready_changed=NOW) for pod in HALF)

    assert "NotProgressing" in alerts(release(PREPARING, BLUE, own=flapping, workload={"paused": False}))


def test_an_alert_of_a_wait_fires_when_its_last_write_was_refused() -> None:
    """Each pass tries again, so there always are actions."""
    refused = {"refusal": ApiRefusal("an admission policy says no")}

    assert alerts(release(OVERLAPPING)) == []
    assert alerts(release(OVERLAPPING, seen=refused)) == ["NotProgressing"]


@pytest.mark.parametrize("step", [PREPARING, ReleaseStep.SCALING], ids=str)
@pytest.mark.parametrize(("ago", "goes_on"), [(timedelta(minutes=1), False), (DAY, True)], ids=["young", "late"])
def test_after_the_deadline_a_person_overrules_a_check_that_never_ran(
    step: ReleaseStep, ago: timedelta, goes_on: bool
) -> None:
    """`promote` had no effect while the gate could not be asked (argoproj/argo-rollouts#774 is its like)."""
    asked = {"resilience.dev/promote-requested-at": "now"}
    pods = green_pods(created=NOW - ago)

    found = release(step, rollout=BEFORE, ago=ago, status=running(ago=ago), green=pods, annotations=asked)

    assert any(isinstance(action, AdvanceGreen) for action in found.actions) is goes_on
