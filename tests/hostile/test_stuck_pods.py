"""A pod that never ends (its node is dead, or somebody put a finalizer on it) must hold nothing for ever.

Pods are read from raw objects, as the API server has them: whatever is known of an ending pod is in there.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, cast

import pytest

from resilience.adapters.kube import parse
from resilience.api.names import ANNOTATION_STEP_SINCE, ANNOTATION_TAKEN_AT, LABEL_RETIRING
from resilience.api.reasons import Colour, Reason, ReleaseStep, ReplaceStep, RestartOutcome
from resilience.api.status import Status
from resilience.api.status_restarts import RestartStatus
from resilience.api.v1alpha1 import TargetKind
from resilience.core.failures import stuck_pods
from resilience.core.model.actions import DeleteGreen, MarkLeft, Resume, Route
from resilience.core.model.decision import Action, SetFinalizer
from resilience.core.model.observation import Pod
from resilience.core.ownership import handback
from resilience.core.read_depth import Depth, read_depth
from resilience.core.reconcile import decide
from resilience.core.replacement import availability
from resilience.core.rollouts import bluegreen
from resilience.core.rollouts.context import RolloutContext
from tests.support.factories import (
    LONG_AGO,
    NOW,
    make_endpoint,
    make_pod,
    make_resource,
    make_seen,
    make_spec,
    make_workload,
)
from tests.support.preconditions import require
from tests.support.stages import (
    GREEN_HASH,
    GREEN_LABELS,
    HASHES,
    LATER,
    NEW,
    Scenario,
    green_pods,
    look,
    make_stage,
    own_pods,
)

DAY: Final = timedelta(days=1)
TARGET: Final = {"name": "checkout"}
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


def days_later(*, kind: TargetKind = TargetKind.DEPLOYMENT, **annotations: str) -> Status:
    """The status after a week in which a restart waits for its pod, beside three that serve, or would."""
    restart = RestartStatus(
        request="1", trace_id="t", started_at=NOW - timedelta(seconds=5), born_before=LONG_AGO, total=3
    )
    status = Status(observed_generation=1, restart=restart)
    notes = {f"resilience.dev/{name.replace('_', '-')}-requested-at": value for name, value in annotations.items()}
    fresh = [make_pod(name, created=NOW) for name in ("new-1", "new-2", "new-3")]
    if kind is not TargetKind.DEPLOYMENT:
        # The next pod is made when this one is gone.
        fresh.pop()
    seen = make_seen(replaced_pod(), *fresh, workload=make_workload(replicas=3, kind=kind))
    for after in (timedelta(minutes=1), timedelta(hours=1), DAY, 7 * DAY, 7 * DAY + timedelta(minutes=1)):
        resource = make_resource(make_spec(targetRef=TARGET | {"kind": kind}), status=status, annotations=notes)
        status = decide(resource, seen, NOW + after).status or status
    return status


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


OTHERS: Final = [kind for kind in TargetKind if kind is not TargetKind.DEPLOYMENT]


@pytest.mark.parametrize("kind", OTHERS, ids=str)
def test_a_restart_without_surge_fails_when_a_pod_does_not_end(kind: TargetKind) -> None:
    status = days_later(kind=kind)
    assert status.restart is None and status.last_restart is not None
    assert status.last_restart.result is RestartOutcome.FAILED
    assert "pod stuck on node dead does not end" in status.last_restart.message


@pytest.mark.parametrize("kind", OTHERS, ids=str)
def test_an_abort_ends_a_restart_without_surge_although_a_pod_does_not_end(kind: TargetKind) -> None:
    last = days_later(kind=kind, abort="2").last_restart
    assert last is not None and last.result in (RestartOutcome.ABORTED, RestartOutcome.SUCCEEDED)


@pytest.mark.parametrize("kind", OTHERS, ids=str)
def test_a_later_restart_without_surge_is_answered(kind: TargetKind) -> None:
    status = days_later(kind=kind, restart="2")
    assert status.restart is None and status.last_restart is not None
    assert (status.last_restart.request, status.last_restart.result) == ("2", RestartOutcome.FAILED)


@pytest.mark.parametrize(
    ("after", "since"), [(timedelta(seconds=-20), False), (timedelta(seconds=59), False), (timedelta(minutes=1), True)]
)
def test_a_pod_has_its_grace_and_a_margin(after: timedelta, since: bool) -> None:
    assert stuck_pods.is_stuck(replaced_pod(), NOW + after) is since
    assert not stuck_pods.is_stuck(make_pod(), NOW + after)


def attention_of(*pods: Pod, before: Status | None = None) -> Status:
    seen = make_seen(*pods, workload=make_workload(replicas=1))
    status = decide(make_resource(status=before or Status(observed_generation=1)), seen, NOW + DAY).status
    require(status is not None, "there is no status")
    return cast(Status, status)


def test_status_says_what_to_do_until_the_pod_is_gone() -> None:
    status = attention_of(replaced_pod(), make_pod())
    (entry,) = status.attention
    assert (entry.pod, entry.reason) == ("stuck", Reason.POD_STUCK)
    assert "node dead" in entry.message and "2026-03-01 12:00 UTC" in entry.message
    assert "kubectl describe node dead" in entry.advice and "delete pod stuck --force" in entry.advice
    # Enough others are available, and yet the pods are read until it is gone.
    resting = make_workload(replicas=1)
    assert read_depth(make_resource(status=status), resting) is Depth.PODS
    gone = attention_of(make_pod(), before=status)
    assert gone.attention == []
    assert read_depth(make_resource(status=gone), resting) is Depth.WATCHES


def test_status_names_the_finalizer_that_keeps_the_pod() -> None:
    owner = ("ReplicaSet", "rs-uid")
    kept = stuck_pod("kept", since=NOW, owner=owner, labels={"app": "left"}, finalizers=["example.com/hold"])
    (entry,) = attention_of(kept, make_pod()).attention
    assert "has the finalizer example.com/hold" in entry.message
    # By force it would still be there.
    assert "example.com/hold" in entry.advice and "--force" not in entry.advice


def test_a_stuck_pod_that_a_slice_still_lists_holds_nothing() -> None:
    pod = replaced_pod()
    listed = (make_endpoint(pod, serving=True, terminating=False), make_endpoint(make_pod("new", created=NOW)))
    begun = RestartStatus(request="1", trace_id="t", started_at=NOW, born_before=LONG_AGO, total=1)
    status = Status(observed_generation=1, restart=begun)
    new = make_pod("new", created=NOW)
    seen = make_seen(pod, new, workload=make_workload(replicas=1), endpoints=listed)
    require(not availability.is_out(seen, pod), "no Service lists the pod")
    after = decide(make_resource(status=status), seen, NOW + DAY).status
    assert after is not None and after.restart is None


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


def given_back(*, pin: str, after: timedelta = timedelta(minutes=11), **fields: Any) -> tuple[Action, ...]:
    """The actions eleven minutes after the resource was deleted, while green does not end."""
    made = replace(ending_green(wanted=NEW, paused=True), pin=pin, **fields)
    resource, seen = look(made)
    require(seen.workload is not None and seen.workload.paused, "the target is not paused")
    resource = replace(resource, deleting_since=NOW - after)
    return handback.hand_back(resource, seen, NOW).actions


def test_a_late_give_back_takes_the_pins_off() -> None:
    actions = given_back(pin=HASHES[NEW])
    assert UNPIN in actions, f"it does {[type(action).__name__ for action in actions]}"


def test_a_late_give_back_resumes_the_target() -> None:
    actions = given_back(pin="")
    require(bool(actions), "nothing is done")
    assert Resume(give_back=True) in actions, f"it does {[type(action).__name__ for action in actions]}"


def test_a_late_give_back_does_not_say_that_green_serves() -> None:
    reasons = [action.reason for action in given_back(pin=HASHES[NEW]) if isinstance(action, MarkLeft)]
    assert not [reason for reason in reasons if "green still serves" in reason], reasons


MINUTE: Final = timedelta(minutes=1)
ALIVE: Final[dict[str, Any]] = {"of_green": {}, "green": green_pods()}


def test_a_give_back_does_not_wait_for_a_pod_of_green_that_does_not_end() -> None:
    assert UNPIN in given_back(pin=HASHES[NEW], after=MINUTE)
    assert Resume(give_back=True) in given_back(pin="", after=MINUTE)


def test_a_give_back_waits_for_green_that_ends_in_time() -> None:
    labels = GREEN_LABELS | {"pod-template-hash": GREEN_HASH}
    last = stuck_pod("green-0", since=NOW, owner=("ReplicaSet", "green-set"), labels=labels)
    made = replace(ending_green(wanted=NEW, paused=False), pin="", serving="", green=[last])
    resource, seen = look(made)
    decision = handback.hand_back(replace(resource, deleting_since=NOW - MINUTE), seen, NOW)
    assert not decision.actions and decision.requeue_after is not None


@pytest.mark.parametrize("after", [MINUTE, 11 * MINUTE], ids=str)
def test_a_give_back_ends_although_green_does_not(after: timedelta) -> None:
    made = replace(ending_green(wanted=NEW, paused=False), pin="", serving="")
    resource, seen = look(made)
    resource = replace(resource, deleting_since=NOW - after)
    decision = handback.hand_back(resource, seen, NOW)
    assert SetFinalizer(present=False) in decision.actions
    assert not [action for action in decision.actions if isinstance(action, MarkLeft)]


def test_a_late_give_back_takes_pins_and_pause_off_a_target_at_rest() -> None:
    """Pods in flight took too long, and no release is in progress."""
    at_rest: dict[str, Any] = {"step": None, "green": [], "of_green": {}}
    assert given_back(pin=HASHES[NEW], **at_rest) == (UNPIN,)
    assert given_back(pin="", **at_rest) == (Resume(give_back=True),)


def test_a_late_give_back_removes_green_that_no_client_is_led_to() -> None:
    assert given_back(pin=HASHES[NEW], **ALIVE) == (DeleteGreen(),)


def test_a_late_give_back_leaves_green_that_serves() -> None:
    actions = given_back(pin=GREEN_HASH, step=ReleaseStep.WARM, towards=Colour.GREEN, **ALIVE)
    (left,) = [action for action in actions if isinstance(action, MarkLeft)]
    assert "green still serves" in left.reason
    assert SetFinalizer(present=False) in actions and DeleteGreen() not in actions


def test_a_give_back_that_nothing_helps_ends_and_says_what_is_left() -> None:
    actions = given_back(pin=HASHES[NEW], after=21 * MINUTE)
    (left,) = [action for action in actions if isinstance(action, MarkLeft)]
    assert "take pod-template-hash out" in left.reason and "kubectl rollout resume" in left.reason
    assert "serves" not in left.reason
    assert SetFinalizer(present=False) in actions
