"""Records about templates that do not fit any more, a target that others take in hand, and zero in between."""

from dataclasses import replace
from typing import Any

import pytest

from resilience.api.names import ANNOTATION_FAILED, ANNOTATION_LEFT, ANNOTATION_PAUSED_FOR, ANNOTATION_SERVING
from resilience.api.reasons import Colour, Reason, ReleaseStep
from resilience.api.status import Status
from resilience.api.status_rollout import FailureStatus, RolloutStatus, Version
from resilience.core.model import held
from resilience.core.model.actions import (
    DeleteGreen,
    Hold,
    MarkFailed,
    PauseFailed,
    Resume,
    Route,
    ScaleGreen,
    SignalPod,
)
from resilience.core.model.decision import StepResult
from resilience.core.model.workload import ReplicaSet
from resilience.core.rollouts import bluegreen, rolling, rollout
from tests.support.factories import NOW
from tests.support.stages import HASHES, LATER, NEW, OLD, SIZE, green_pods, make_stage, own_pods, running, to, version

PREPARING, WARM, DRAINING = ReleaseStep.PREPARING, ReleaseStep.WARM, ReleaseStep.DRAINING
STALE = "t-stale"
# A record of what serves that is of no template any more.
DRIFTED: dict[str, Any] = {"workload": {"paused": True, "annotations": {ANNOTATION_SERVING: STALE}}, "own": own_pods()}
SIGNAL = {"drain": {"signal": {"http": {"path": "/drain", "port": "http"}}, "maxWait": "20s"}}
ROLLING = {"strategy": "RollingUpdate"}


def replica_sets(**counts: int) -> tuple[ReplicaSet, ...]:
    """ReplicaSets of t-old, t-new and t-later with so many pods."""
    hashes = {"old": OLD, "new": NEW, "later": LATER}
    return tuple(
        ReplicaSet(f"rs-{name}", f"uid-{name}", HASHES[hashes[name]], count, False, hashes[name], {"app": hashes[name]})
        for name, count in counts.items()
    )


def failed_status(template: str, *, image: str, serving: str = OLD) -> Status:
    """Status at rest after a release that failed."""
    failure = FailureStatus(class_="Unknown", reason="CrashLoop", version=Version(hash=template, image=image), at=NOW)
    return Status(
        observed_generation=1, rollout=RolloutStatus(serving=Version(hash=serving, image=serving), failure=failure)
    )


def step_of(context: Any) -> StepResult:
    return rollout.reconcile(context.base, writing=False).step


@pytest.mark.parametrize(
    ("counts", "notes", "known", "serving"),
    [
        ({"old": 2, "new": 0}, {ANNOTATION_SERVING: OLD}, "", OLD),
        # At zero nothing contradicts the record.
        ({"old": 0, "new": 0}, {ANNOTATION_SERVING: OLD}, "", OLD),
        ({"old": 0, "new": 0}, {ANNOTATION_SERVING: STALE}, "", STALE),
        ({"old": 2}, {ANNOTATION_SERVING: STALE}, "", OLD),
        # Restored by `rollout undo`.
        ({"old": 0, "later": 2}, {ANNOTATION_SERVING: OLD}, "", LATER),
        ({"old": 2, "new": 1}, {ANNOTATION_SERVING: STALE}, "", OLD),
        ({"old": 1, "new": 1}, {ANNOTATION_SERVING: STALE}, "", OLD),
        # What failed does not serve, unless it is known to: then the mark is the old one.
        ({"old": 0, "later": 2}, {ANNOTATION_SERVING: OLD, ANNOTATION_FAILED: LATER}, "", OLD),
        ({"old": 0, "later": 2}, {ANNOTATION_SERVING: OLD, ANNOTATION_FAILED: LATER}, LATER, LATER),
        # Marked by an operator that took a stale record for the truth.
        ({"old": 2}, {ANNOTATION_SERVING: STALE, ANNOTATION_FAILED: OLD}, "", OLD),
        # The record is lost, the pause is ours.
        ({"old": 2}, {}, "", OLD),
        ({"old": 2}, {ANNOTATION_PAUSED_FOR: NEW}, "", ""),
        ({"old": 2}, {ANNOTATION_LEFT: "paused: it failed"}, "", ""),
        ({"old": 2}, {ANNOTATION_FAILED: NEW}, "", ""),
    ],
)
def test_what_has_pods_serves(counts: dict[str, int], notes: dict[str, str], known: str, serving: str) -> None:
    stage = make_stage(workload={"paused": True, "paused_by_operator": True, "annotations": notes})

    assert held.serving_template(stage.workload, replica_sets(**counts), known=known) == serving


def test_a_pause_of_somebody_else_is_not_taken_for_ours() -> None:
    stage = make_stage(serving="", workload={"paused": True})

    assert not stage.is_adopted and bluegreen.plan(stage).actions == ()


def test_of_two_replica_sets_whose_templates_became_equal_the_one_with_pods_counts() -> None:
    idle, busy = replica_sets(old=0)[0], replace(replica_sets(old=2)[0], template_hash="h-busy")
    stage = make_stage(view={"replica_sets": (idle, busy)})

    assert stage.hash_of(Colour.BLUE) == "h-busy"


@pytest.mark.parametrize("wanted", [OLD, NEW])
def test_a_stale_record_is_renewed_before_anything_else(wanted: str) -> None:
    assert bluegreen.plan(make_stage(wanted=wanted, **DRIFTED)).actions == (Hold(OLD),)


@pytest.mark.parametrize(("image", "is_same"), [(f"shop:{NEW}", True), ("shop:corrected", False)])
def test_a_template_that_failed_is_known_again_under_another_hash(image: str, is_same: bool) -> None:
    notes = {ANNOTATION_SERVING: STALE, ANNOTATION_FAILED: "t-failed"}
    fields = DRIFTED | {"workload": {"paused": True, "annotations": notes}}

    stage = make_stage(status=failed_status("t-failed", image=image, serving=STALE), **fields)

    assert bluegreen.plan(stage).actions == ((MarkFailed(NEW), Hold(OLD)) if is_same else (Hold(OLD),))
    kept = step_of(stage).status.rollout.failure
    assert (kept is not None and kept.version.hash == NEW) is is_same


def test_what_serves_well_and_was_marked_because_of_a_stale_record_is_cleared() -> None:
    notes = {ANNOTATION_SERVING: STALE, ANNOTATION_FAILED: OLD}

    stage = make_stage(wanted=OLD, own=own_pods(), workload={"paused": True, "annotations": notes})

    assert bluegreen.plan(stage).actions == (MarkFailed(""), Hold(OLD))


def test_an_old_mark_that_an_undo_restores_does_not_block_what_serves() -> None:
    notes = {ANNOTATION_SERVING: OLD, ANNOTATION_FAILED: LATER}
    status = Status(observed_generation=1, rollout=RolloutStatus(serving=version(LATER)))

    stage = make_stage(wanted=OLD, own=own_pods(LATER), status=status, workload={"annotations": notes})

    assert bluegreen.plan(stage).actions == (MarkFailed(""), Hold(LATER))


def test_a_release_in_flight_goes_on_under_another_hash() -> None:
    status = running("t-new-before", candidate=Version(hash="t-new-before", image=f"shop:{NEW}"))

    result = step_of(make_stage(PREPARING, status=status, **DRIFTED))

    assert result.status.rollout.candidate == version(NEW)
    assert result.status.rollout.started_at == status.rollout.started_at
    assert not {event.reason for event in result.events} & {Reason.RELEASE_SUPERSEDED, Reason.RELEASE_STARTED}


@pytest.mark.parametrize(("image", "action"), [(f"shop:{NEW}", PauseFailed(NEW)), ("shop:corrected", Resume())])
def test_a_rolling_update_that_failed_stays_paused_under_another_hash(image: str, action: Any) -> None:
    notes = {ANNOTATION_PAUSED_FOR: "t-failed", ANNOTATION_FAILED: "t-failed"}
    status = failed_status("t-failed", image=image, serving=STALE)

    stage = make_stage(
        rollout=ROLLING, serving="", own=own_pods(), status=status, workload={"paused": True, "annotations": notes}
    )

    assert rolling.plan(stage).actions == (action,)


def test_without_drift_another_template_resumes_a_rolling_update() -> None:
    notes = {ANNOTATION_PAUSED_FOR: LATER, ANNOTATION_FAILED: LATER}

    stage = make_stage(
        rollout=ROLLING,
        serving="",
        own=own_pods(),
        status=failed_status(LATER, image=f"shop:{NEW}"),
        workload={"paused": True, "annotations": notes},
    )

    assert rolling.plan(stage).actions == (Resume(),)


def test_a_rolling_update_is_not_paused_for_ever_when_an_undo_took_its_record() -> None:
    stage = make_stage(
        rollout=ROLLING, serving="", own=own_pods(), wanted=OLD, workload={"paused": True, "paused_by_operator": True}
    )

    assert step_of(stage).actions == (Resume(give_back=True),)


HELD_BACK: dict[str, Any] = {"wanted": LATER, "serving": NEW, "failed": LATER, "own": ()}


@pytest.mark.parametrize(
    ("fields", "actions"),
    [
        ({}, (ScaleGreen(0),)),
        ({"of_green": {"replicas": 0}, "green": ()}, ()),
        ({"workload": {"replicas": 0, "paused": False}}, (Hold(NEW), ScaleGreen(0))),
        # Another template came, or the target is handed back: nothing is kept for it.
        ({"failed": OLD}, (Route("checkout", ""), DeleteGreen())),
        ({"leaving": True}, (Route("checkout", ""), DeleteGreen())),
    ],
)
def test_at_zero_the_only_copy_of_what_serves_is_kept(fields: dict[str, Any], actions: Any) -> None:
    chosen = {"workload": {"replicas": 0}} | HELD_BACK | fields

    assert bluegreen.plan(make_stage(PREPARING, Colour.BLUE, **chosen)).actions == actions


def test_after_zero_the_copy_grows_again() -> None:
    stage = make_stage(PREPARING, Colour.BLUE, **HELD_BACK | {"green": (), "of_green": {"replicas": 0}})

    assert bluegreen.plan(stage).actions == (ScaleGreen(SIZE),)


@pytest.mark.parametrize(("failed", "paused", "actions"), [(NEW, True, ()), (NEW, False, None), ("", True, None)])
def test_at_zero_only_a_failed_template_is_held_back(failed: str, paused: bool, actions: Any) -> None:
    stage = make_stage(failed=failed, own=(), workload={"replicas": 0, "paused": paused})

    assert bluegreen.plan(stage).actions == ((Resume(give_back=True),) if actions is None else actions)


@pytest.mark.parametrize(
    ("own", "held_again"),
    [
        (own_pods(), True),
        ((*own_pods(), *own_pods(NEW, 1)), True),
        # A pod is gone already, or the Deployment controller is about to take the new ReplicaSet for complete.
        ((*own_pods(count=1), *own_pods(NEW, 1)), False),
        ((*own_pods(), *own_pods(NEW)), False),
    ],
)
@pytest.mark.parametrize("step", [WARM, DRAINING], ids=str)
def test_while_green_serves_a_resumed_target_is_held_again_as_long_as_that_helps(
    step: ReleaseStep, own: Any, held_again: bool
) -> None:
    found = bluegreen.plan(make_stage(step, own=own, spec=SIGNAL, workload={"paused": False}))

    if held_again:
        assert found.actions == (Hold(OLD),)
    else:
        *signals, last = found.actions
        assert [type(action) for action in signals] == [SignalPod] * sum("old" in pod.name for pod in own)
        assert last == to(PREPARING, Colour.BLUE)


@pytest.mark.parametrize(("paused", "actions"), [(True, ()), (False, (Route("checkout", ""),))])
def test_a_target_that_is_resumed_while_green_ends_gets_endpoints_for_its_new_pods(paused: bool, actions: Any) -> None:
    fields: dict[str, Any] = {"green": (), "of_green": {"deleting": True}, "workload": {"paused": paused}}

    assert bluegreen.plan(make_stage(ReleaseStep.DISCARDING, **fields)).actions == actions


def test_who_resumed_is_named_once_and_what_was_ended_is_counted() -> None:
    fields: dict[str, Any] = {"workload": {"paused": False, "changed_by": "kubectl-rollout"}, "pin": ""}
    partly = (*own_pods(count=1), *own_pods(NEW, 1))

    first = step_of(make_stage(PREPARING, **fields))
    second = step_of(make_stage(PREPARING, own=partly, status=first.status, **fields))
    third = step_of(make_stage(PREPARING, status=second.status, **fields))

    (event,) = first.events
    assert (event.reason, event.warning) == (Reason.DEPLOYMENT_RESUMED, True)
    assert event.message.startswith("kubectl-rollout resumed the Deployment at step Preparing")
    assert second.events == third.events == ()
    assert [outcome.status.rollout.pods_ended for outcome in (first, second, third)] == [0, 1, 1]
    assert third.status.rollout.resumed_by == "kubectl-rollout"


def test_the_result_says_what_the_deployment_controller_ended() -> None:
    status = running(NEW, resumed_by="kubectl-rollout", pods_ended=2, step="Preparing")
    stage = make_stage(wanted=NEW, serving=NEW, own=own_pods(NEW), status=status)

    last = step_of(stage).status.last_rollout

    assert last is not None and last.pods_ended == 2
    assert "its controller ended 2 old pods by itself" in step_of(stage).events[0].message


def test_the_operators_own_resume_is_not_news() -> None:
    stage = make_stage(PREPARING, Colour.BLUE, own=own_pods(NEW), green=green_pods(), workload={"paused": False})

    assert Reason.DEPLOYMENT_RESUMED not in {event.reason for event in step_of(stage).events}
