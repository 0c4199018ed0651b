"""RollingUpdate: progress is read, a failed template is answered once, and nobody is fought."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from resilience.api.names import ANNOTATION_FAILED, ANNOTATION_PAUSED_FOR, request_annotation
from resilience.api.reasons import HealthState, Reason, Request, RolloutOutcome
from resilience.api.status import Status
from resilience.api.status_rollout import RolloutStatus, Version
from resilience.api.v1alpha1 import TargetKind
from resilience.core.health.reach import UNREACHABLE
from resilience.core.model.actions import MarkFailed, PauseFailed, RestoreTemplate, Resume
from resilience.core.model.decision import SOON, StepResult
from resilience.core.model.workload import ReplicaSet
from resilience.core.rollouts import rolling, rollout
from resilience.core.rollouts.context import RolloutContext
from resilience.core.rollouts.rollout import RolloutResult
from tests.support.factories import NOW, make_context
from tests.support.stages import (
    HASHES,
    LATER,
    NEW,
    OLD,
    Scenario,
    checked,
    look,
    make_stage,
    own_pods,
    running,
    version,
)

ROLLBACK = {"onFailure": "Rollback"}
AFTER = {"after": {"checks": ["ready"], "for": "10s"}}
SERVED = Status(observed_generation=1, rollout=RolloutStatus(serving=version(OLD)))
DONE = Status(observed_generation=1, rollout=RolloutStatus(serving=version(NEW)))
CRASHES: dict[str, Any] = {"fault": "CrashLoopBackOff", "trouble": "CrashLoopBackOff: exit code 1", "restarts": 2}
NO_REGISTRY: dict[str, Any] = {"fault": "ErrImagePull", "trouble": "ErrImagePull: dial tcp: lookup x: no such host"}
NO_ROOM: dict[str, Any] = {"fault": "Unschedulable", "trouble": "Unschedulable: 0/1 nodes are available"}
KEPT = ReplicaSet(f"rs-{OLD}", f"uid-{OLD}", HASHES[OLD], 1, False, OLD, {"app": OLD})
FRESH = ReplicaSet(f"rs-{NEW}", f"uid-{NEW}", HASHES[NEW], 1, True, NEW)


def scenario(*, notes: Any = None, **fields: Any) -> Scenario:
    """Nobody holds the Deployment; `notes` are its annotations."""
    workload = dict(fields.pop("workload", {})) | {"annotations": notes or {}}
    rollout = {"strategy": "RollingUpdate"} | dict(fields.pop("rollout", {}))
    own = fields.pop("own", own_pods(NEW))
    return Scenario(
        **{"serving": "", "status": running(), "workload": workload, "rollout": rollout, "own": own} | fields
    )


def stage(**fields: Any) -> RolloutContext:
    kind = fields.pop("kind", TargetKind.DEPLOYMENT)
    made = scenario(**fields)
    names = Scenario.__dataclass_fields__
    found = make_stage(**{name: getattr(made, name) for name in names})
    base = replace(found.base, workload=replace(found.workload, kind=kind))
    return replace(found, leaving=False, base=base)


def passed(**fields: Any) -> RolloutResult:
    return rollout.reconcile(make_context(*look(scenario(**fields))), writing=False)


def seen(**fields: Any) -> StepResult:
    return passed(**fields).step


def rolls(*, ago: int = 5, **trouble: Any) -> dict[str, Any]:
    """Half way: a new pod that is not ready, made so many seconds ago, and an old one."""
    new = own_pods(NEW, 1, ready=False, created=NOW - timedelta(seconds=ago), **trouble)
    return {"own": (*new, *own_pods(OLD, 1))}


@pytest.mark.parametrize(
    ("fields", "flies"),
    [
        # What is there at the first look is taken as good; what moves then has to prove itself.
        ({"status": Status()}, False),
        ({"status": Status()} | rolls(), True),
        ({"status": Status(), "workload": {"generation": 2}}, True),
        ({"status": DONE}, False),
        ({"status": SERVED}, True),
        ({"status": SERVED, "notes": {ANNOTATION_FAILED: NEW}}, False),
        ({"status": SERVED, "notes": {ANNOTATION_FAILED: LATER}}, True),
        ({"status": DONE} | rolls(), True),
    ],
)
def test_what_is_in_flight(fields: Any, flies: bool) -> None:
    assert rolling.in_flight(stage(**fields)) is flies


def test_the_first_look_begins_no_release() -> None:
    found = seen(status=Status(observed_generation=1))

    assert found.actions == () and found.events == ()
    assert (found.status.rollout.step, found.status.rollout.serving) == ("Complete", version(NEW))


def test_progress_is_told_and_nothing_is_done() -> None:
    found = seen(status=SERVED, **rolls(trouble="starts"))

    assert found.actions == ()
    assert [each.reason for each in found.events] == [Reason.RELEASE_STARTED]
    assert found.status.rollout.step == "RollingUpdate"
    words = "1 of 2 of the Deployment's own pods have the new template; pod t-new-0: starts"
    assert found.status.rollout.message == words


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (rolls(), ""),
        (rolls(**CRASHES), "CrashLoop"),
        # The kubelet tries by itself until nothing moves any more, or the controller gives up.
        (rolls(**NO_REGISTRY), ""),
        (rolls(**NO_ROOM), ""),
        (rolls(**NO_ROOM, ago=600), "Unschedulable"),
        (rolls(**NO_ROOM) | {"workload": {"deadline_exceeded": True}}, "Unschedulable"),
        (rolls() | {"workload": {"deadline_exceeded": True}}, "DeadlineExceeded"),
        (rolls(ago=599), ""),
        (rolls(ago=600), "DeadlineExceeded"),
        # It moves: a pod became ready a moment ago.
        (rolls(ago=9999, ready_changed=NOW - timedelta(seconds=599)), ""),
        (rolls(ago=9999, ready_changed=NOW - timedelta(seconds=600)), "DeadlineExceeded"),
        # No pod was made at all.
        ({"own": own_pods(OLD), "status": running(ago=timedelta(seconds=599))}, ""),
        ({"own": own_pods(OLD), "status": running(ago=timedelta(seconds=600))}, "DeadlineExceeded"),
        ({"own": own_pods(OLD), "status": SERVED}, ""),
        # The time of another one, or the controller has not looked yet: its pods are those of the one before.
        ({"own": own_pods(OLD), "status": running(LATER, ago=timedelta(seconds=600))}, ""),
        (rolls(**CRASHES) | {"workload": {"generation": 2}}, ""),
        (rolls() | {"status": running(aborted=True)}, "Aborted"),
        (rolls() | {"status": running(LATER, aborted=True)}, ""),
        ({"status": running(aborted=True)}, "Aborted"),
        # Rolled out: what crashes later is no release's affair.
        ({"own": (*own_pods(NEW), *own_pods(NEW, 3, ready=False, **CRASHES)[2:])}, ""),
        # Decided before, or nothing to decide.
        (rolls(**CRASHES) | {"notes": {ANNOTATION_FAILED: NEW}}, ""),
        (rolls(**CRASHES) | {"workload": {"replicas": 0}}, ""),
    ],
)
def test_what_is_a_failure_and_what_only_needs_time(fields: Any, reason: str) -> None:
    found = rolling.plan(stage(**fields))

    assert (found.failure.reason if found.failure is not None else "") == reason
    assert bool(found.actions) is bool(reason)


BAD = checked(HealthState.UNHEALTHY, pods=own_pods(NEW))


@pytest.mark.parametrize(
    ("fields", "action", "outcome"),
    [
        (rolls(**CRASHES), PauseFailed(NEW), RolloutOutcome.PAUSED),
        (rolls(**CRASHES) | {"rollout": ROLLBACK}, RestoreTemplate(KEPT, NEW), "RolledBack"),
        # The ReplicaSet of the good one is gone, or nothing is known to be good.
        (rolls(**CRASHES) | {"rollout": ROLLBACK, "view": {"replica_sets": (FRESH,)}}, PauseFailed(NEW), "Paused"),
        (rolls(**CRASHES) | {"rollout": ROLLBACK, "status": Status()}, PauseFailed(NEW), RolloutOutcome.PAUSED),
        # Everything is rolled out: there is nothing to pause.
        ({"rollout": AFTER, "seen": BAD}, MarkFailed(NEW), RolloutOutcome.FAILED),
        ({"status": running(aborted=True)}, MarkFailed(NEW), RolloutOutcome.FAILED),
        (
            {"rollout": AFTER | ROLLBACK, "seen": BAD, "view": {"replica_sets": (KEPT, FRESH)}},
            RestoreTemplate(KEPT, NEW),
            RolloutOutcome.ROLLED_BACK,
        ),
        # Their controllers cannot be paused.
        (rolls(**CRASHES) | {"kind": TargetKind.STATEFUL_SET}, MarkFailed(NEW), RolloutOutcome.PAUSED),
        (rolls(**CRASHES) | {"kind": TargetKind.DAEMON_SET, "rollout": ROLLBACK}, MarkFailed(NEW), "RolledBack"),
    ],
)
def test_how_a_failure_is_answered(fields: Any, action: Any, outcome: Any) -> None:
    found = stage(**fields)

    assert rolling.plan(found).actions == (action,)
    assert rolling.outcome(found) == outcome


@pytest.mark.parametrize(
    ("paused_for", "paused", "failed", "actions"),
    [
        # Paused once; nobody looks again until somebody decides.
        (NEW, True, NEW, ()),
        # Another template came, or a person resumed it: the note goes, and the pause with it.
        (OLD, True, OLD, (Resume(),)),
        (NEW, False, NEW, (Resume(),)),
        # Resumed, and the note is gone: it is not fought, whatever its pods do.
        ("", False, NEW, ()),
    ],
)
def test_a_failed_template_is_answered_once(paused_for: str, paused: bool, failed: str, actions: Any) -> None:
    notes = {ANNOTATION_PAUSED_FOR: paused_for, ANNOTATION_FAILED: failed}
    fields = rolls(**CRASHES) | {"workload": {"paused": paused}, "status": SERVED}

    found = rolling.plan(stage(notes={key: value for key, value in notes.items() if value}, **fields))

    assert found.actions == actions and found.failure is None


def test_a_pause_of_somebody_else_is_left_alone() -> None:
    assert rolling.plan(stage(workload={"paused": True}, status=SERVED, **rolls())).actions == ()


@pytest.mark.parametrize(
    ("seen_now", "complete", "words"),
    [
        (checked(pods=own_pods(NEW)), True, ""),
        (checked(pods=own_pods(NEW), ago=4), False, "checks ready pass; they have to for"),
        (checked(HealthState.UNKNOWN, pods=own_pods(NEW), ago=30), False, "check ready is inconclusive"),
        ({}, False, "check ready has not run against the candidate yet"),
        (BAD, False, "check ready failed on the candidate"),
    ],
)
def test_the_gate_is_asked_when_all_pods_are_there(seen_now: Any, complete: bool, words: str) -> None:
    made = stage(rollout=AFTER, seen=seen_now)
    result = passed(rollout=AFTER, seen=seen_now)
    found = result.step

    assert rolling.complete(made) is complete
    assert words in rolling.plan(made).waiting
    assert (found.status.rollout.candidate is None) is complete
    assert found.status.rollout.step == ("Complete" if complete else "Gate")
    assert {each.pod_uid for each in result.checks} == {pod.uid for pod in own_pods(NEW)}
    last = found.status.last_rollout
    assert (last.result if last is not None else None) == (RolloutOutcome.SUCCEEDED if complete else None)


@pytest.mark.parametrize("fields", [rolls(), {"status": DONE}, {"own": own_pods(NEW, ready=False)}])
def test_before_and_after_that_it_is_not_asked(fields: Any) -> None:
    assert passed(rollout=AFTER, **fields).checks == ()


def test_a_deployment_without_pods_is_complete() -> None:
    assert rolling.complete(stage(own=(), workload={"replicas": 0}))


NEWEST: dict[str, Any] = {"newest_labels": {"pod-template-hash": HASHES[NEW]}}


@pytest.mark.parametrize(
    ("kind", "workload", "names"),
    [
        (TargetKind.DEPLOYMENT, {}, ["t-new-0"]),
        (TargetKind.STATEFUL_SET, NEWEST, ["t-new-0"]),
        (TargetKind.DAEMON_SET, {}, ["t-new-0", "t-old-0"]),
    ],
)
def test_pods_of_the_template_that_rolls(kind: TargetKind, workload: Any, names: list[str]) -> None:
    ending = own_pods(NEW, 3, deleting=True)[2:]
    found = rolling.current_pods(stage(kind=kind, own=(*rolls()["own"], *ending), workload=workload))

    assert HASHES[NEW] == found[0].labels["pod-template-hash"]
    assert [pod.name for pod in found] == names


RETRY = {request_annotation(Request.RETRY): "again"}


@pytest.mark.parametrize(
    ("notes", "actions"),
    [
        ({ANNOTATION_FAILED: NEW, ANNOTATION_PAUSED_FOR: NEW}, (MarkFailed(""), Resume())),
        ({ANNOTATION_FAILED: NEW}, (MarkFailed(""),)),
    ],
)
def test_a_failed_template_is_tried_again_when_a_person_asks(notes: Any, actions: Any) -> None:
    asked = rolls(**CRASHES) | {"workload": {"paused": True}, "status": SERVED, "annotations": RETRY}

    found = seen(notes=notes, **asked)
    after = seen(notes={}, **asked | {"workload": {}, "status": found.status})

    assert found.actions == actions and found.status.handled == []
    assert [(each.request, each.note) for each in after.status.handled] == [("retry", "the template is tried again")]
    assert Reason.REQUEST_IGNORED not in [each.reason for each in after.events]


def test_a_retry_of_nothing_is_ignored() -> None:
    found = seen(status=DONE, annotations=RETRY)

    assert found.actions == () and [each.reason for each in found.events] == [Reason.REQUEST_IGNORED]
    assert found.status.handled[0].note == "no failed template to try again"


def test_a_failure_is_told_in_the_pass_that_answers_it_and_ends_in_the_next() -> None:
    fields = rolls(**CRASHES)
    first = seen(status=SERVED, **fields)
    notes = {ANNOTATION_FAILED: NEW, ANNOTATION_PAUSED_FOR: NEW}

    second = seen(status=first.status, notes=notes, **fields | {"workload": {"paused": True}})

    assert [each.reason for each in first.events] == [Reason.RELEASE_STARTED, Reason.RELEASE_FAILED]
    assert first.events[1].logs_of == "t-new-0"
    assert second.actions == () and [each.reason for each in second.events] == [Reason.RELEASE_FAILED]
    assert second.status.last_rollout is not None
    assert second.status.last_rollout.result is RolloutOutcome.PAUSED
    assert second.status.rollout.step == "Paused" and second.status.rollout.failure is not None


@pytest.mark.parametrize(("ago", "fails"), [(timedelta(minutes=9), False), (timedelta(minutes=11), True)])
def test_a_gate_that_was_never_answered_fails_at_the_deadline(ago: timedelta, fails: bool) -> None:
    """With a reason that names the check; until then it waits."""
    pods = own_pods(NEW, 2, created=NOW - ago, ready_changed=NOW - ago)
    never = checked(HealthState.UNKNOWN, reason=UNREACHABLE, pods=pods)

    found = seen(status=SERVED, rollout=AFTER, seen=never, own=pods)

    failure = found.status.rollout.failure
    assert (failure is not None) is fails
    assert failure is None or ("check ready was never answered" in failure.message and "mesh" in failure.advice)


@pytest.mark.parametrize(
    ("good", "replica_sets"),
    [(Version(hash=OLD, image="shop:t-new"), (FRESH, KEPT)), (version(OLD), (FRESH,))],
    ids=["its ReplicaSet is kept", "another image"],
)
def test_a_rolling_update_that_ended_while_nobody_looked_is_a_release(good: Version, replica_sets: Any) -> None:
    before = Status(observed_generation=1, rollout=RolloutStatus(serving=good))
    begun = seen(status=before, view={"replica_sets": replica_sets})
    ended = seen(status=begun.status, view={"replica_sets": replica_sets})

    assert [each.reason for each in begun.events] == [Reason.RELEASE_STARTED]
    assert begun.requeue_after == SOON
    assert [each.reason for each in ended.events] == [Reason.RELEASE_SUCCEEDED]
    assert ended.status.last_rollout is not None and ended.status.last_rollout.to == version(NEW)
    assert ended.status.rollout.serving == version(NEW)


def test_a_template_whose_hash_is_another_by_itself_is_no_release() -> None:
    """After an upgrade; the ReplicaSets have the hash of now."""
    before = Status(observed_generation=1, rollout=RolloutStatus(serving=Version(hash=LATER, image="shop:t-new")))
    found = seen(status=before, view={"replica_sets": (FRESH,)})

    assert found.events == ()
    assert found.status.rollout.serving == version(NEW)


@pytest.mark.parametrize(("ago", "fails"), [(timedelta(minutes=9), False), (timedelta(minutes=11), True)])
def test_a_gate_without_data_fails_at_the_deadline(ago: timedelta, fails: bool) -> None:
    pods = own_pods(NEW, 2, created=NOW - ago, ready_changed=NOW - ago)
    silent = checked(HealthState.UNKNOWN, reason="NoData", pods=pods, ago=500)

    found = seen(status=SERVED, rollout=AFTER, seen=silent, own=pods)

    failure = found.status.rollout.failure
    assert (failure is not None) is fails
    assert failure is None or "check ready was inconclusive" in failure.message
    # It is looked at again, for nothing wakes it at the deadline.
    assert fails or rolling.plan(stage(status=SERVED, rollout=AFTER, seen=silent, own=pods)).wait is not None
