"""A pod that never ends (its node is dead, or somebody put a finalizer on it) must hold nothing for ever.

Pods are read from raw objects, as the API server has them: whatever is known of an ending pod is in there.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import pytest

from resilience.adapters.kube import parse
from resilience.api.names import ANNOTATION_STEP_SINCE, ANNOTATION_TAKEN_AT, LABEL_RETIRING
from resilience.api.reasons import Colour, ReleaseStep, ReplaceStep
from resilience.api.status import Status
from resilience.api.status_restarts import RestartStatus
from resilience.core.model.actions import MarkLeft, Resume, Route
from resilience.core.model.decision import Action
from resilience.core.model.observation import Pod
from resilience.core.ownership import handback
from resilience.core.reconcile import decide
from resilience.core.rollouts import bluegreen
from resilience.core.rollouts.context import RolloutContext
from tests.support.factories import LONG_AGO, NOW, make_pod, make_resource, make_seen, make_workload
from tests.support.preconditions import require
from tests.support.stages import GREEN_HASH, GREEN_LABELS, HASHES, LATER, NEW, Scenario, look, make_stage, own_pods

DAY: Final = timedelta(days=1)
UNPIN: Final = Route("checkout", "")


def stuck_pod(name: str, *, since: datetime, owner: tuple[str, str], **meta: Any) -> Pod:
    """A pod whose grace of 30 seconds ended at `since`, and which is still there."""
    kind, uid = owner
    raw = {
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "resourceVersion": "1",
            "creationTimestamp": LONG_AGO.isoformat(),
            "deletionTimestamp": since.isoformat(),
            "deletionGracePeriodSeconds": 30,
            "ownerReferences": [{"kind": kind, "uid": uid, "controller": True}],
            **meta,
        },
        "spec": {"containers": [{"name": "app"}], "nodeName": "dead", "terminationGracePeriodSeconds": 30},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]},
    }
    return parse.pod(raw, min_ready_seconds=0, now=NOW)


def replaced_pod() -> Pod:
    """A pod that a restart replaced and deleted."""
    begun = NOW.isoformat()
    return stuck_pod(
        "stuck",
        since=NOW,
        owner=("Deployment", "workload-uid"),
        labels={"app": "left", LABEL_RETIRING: ReplaceStep.DELETING.value},
        annotations={ANNOTATION_STEP_SINCE: begun, ANNOTATION_TAKEN_AT: begun},
    )


def days_later(**annotations: str) -> Status:
    """The status after a week in which a restart waits for its pod, beside three that serve."""
    restart = RestartStatus(
        request="1", trace_id="t", started_at=NOW - timedelta(seconds=5), born_before=LONG_AGO, total=3
    )
    status = Status(observed_generation=1, restart=restart)
    notes = {f"resilience.dev/{name.replace('_', '-')}-requested-at": value for name, value in annotations.items()}
    fresh = [make_pod(name, created=NOW) for name in ("new-1", "new-2", "new-3")]
    seen = make_seen(replaced_pod(), *fresh, workload=make_workload(replicas=3))
    for after in (timedelta(minutes=1), timedelta(hours=1), DAY, 7 * DAY, 7 * DAY + timedelta(minutes=1)):
        resource = make_resource(status=status, annotations=notes)
        status = decide(resource, seen, NOW + after).status or status
    return status


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="a restart waits for ever for a replaced pod that stays in Terminating"
)
def test_a_restart_ends_although_a_replaced_pod_does_not() -> None:
    status = days_later()
    assert status.restart is None, f"after a week it still waits: {status.restart.message}"
    assert "stuck" in status.model_dump_json(), "status says nothing of the pod"


def test_an_abort_ends_a_restart_although_a_replaced_pod_does_not() -> None:
    restart = days_later(abort="2").restart
    assert restart is None, f"a week after the abort it still waits: {restart.message}"


def test_a_later_restart_is_taken_up_although_a_replaced_pod_does_not_end() -> None:
    status = days_later(restart="2")
    current = status.restart.request if status.restart is not None else ""
    ended = status.last_restart.request if status.last_restart is not None else ""
    assert "2" in (current, ended), f"restart {current!r} is in flight, {ended!r} has ended"


def ending_green(*, wanted: str, paused: bool) -> Scenario:
    """The target's own pods serve, pinned; green is being deleted, and its last pod is on a dead node."""
    labels = GREEN_LABELS | {"pod-template-hash": GREEN_HASH}
    last = stuck_pod("green-0", since=NOW - DAY, owner=("ReplicaSet", "green-set"), labels=labels)
    return Scenario(
        ReleaseStep.DRAINING,
        Colour.BLUE,
        wanted=wanted,
        serving=NEW,
        own=own_pods(NEW),
        green=[last],
        pin=HASHES[NEW],
        ago=DAY,
        of_green={"deleting": True},
        workload={"paused": paused},
    )


def stage_of(made: Scenario) -> RolloutContext:
    stage = make_stage(**{name: getattr(made, name) for name in made.__dataclass_fields__})
    require([service.pin for service in stage.services] == [HASHES[NEW]], "the Service is not pinned")
    require(stage.green.deleting, "green is not being deleted")
    return stage


def test_a_resumed_deployment_gets_endpoints_while_green_ends() -> None:
    move = bluegreen.plan(stage_of(ending_green(wanted=LATER, paused=False)))
    assert UNPIN in move.actions, f"it does {move.actions} and waits: {move.waiting}"


def test_a_later_release_begins_although_a_pod_of_green_does_not_end() -> None:
    move = bluegreen.plan(stage_of(ending_green(wanted=LATER, paused=True)))
    assert move.actions or move.failure, f"a day after its grace it does nothing and waits: {move.waiting}"


def given_back(*, pin: str) -> tuple[Action, ...]:
    """The actions eleven minutes after the resource was deleted, while green does not end."""
    made = replace(ending_green(wanted=NEW, paused=True), pin=pin)
    resource, seen = look(made)
    require(seen.workload is not None and seen.workload.paused, "the target is not paused")
    resource = replace(resource, deleting_since=NOW - timedelta(minutes=11))
    return handback.hand_back(resource, seen, NOW).actions


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="a resource that is given back late leaves its Services pinned while a pod of green does not end",
)
def test_a_late_give_back_takes_the_pins_off() -> None:
    actions = given_back(pin=HASHES[NEW])
    assert UNPIN in actions, f"it does {[type(action).__name__ for action in actions]}"


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="a resource that is given back late leaves its target paused while a pod of green does not end",
)
def test_a_late_give_back_resumes_the_target() -> None:
    actions = given_back(pin="")
    require(bool(actions), "nothing is done")
    assert Resume(give_back=True) in actions, f"it does {[type(action).__name__ for action in actions]}"


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="a resource that is given back late says that green serves, although it is being deleted and has no traffic",
)
def test_a_late_give_back_does_not_say_that_green_serves() -> None:
    reasons = [action.reason for action in given_back(pin=HASHES[NEW]) if isinstance(action, MarkLeft)]
    assert not [reason for reason in reasons if "green still serves" in reason], reasons
