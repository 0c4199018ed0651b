"""Whether a candidate may go on: gates, promotion, and every way in which it is given up."""

from datetime import timedelta
from typing import Any

import pytest

from resilience.api.names import request_annotation
from resilience.api.reasons import Colour, FailureClass, HealthState, ReleaseStep, Request
from resilience.core.health.reach import UNREACHABLE
from resilience.core.model.actions import Hold, MarkFailed, RetryPull, Route
from resilience.core.model.traffic import Traffic
from resilience.core.rollouts import bluegreen
from resilience.core.rollouts.context import Move
from tests.support.factories import NOW
from tests.support.stages import (
    GREEN_HASH,
    LATER,
    NEW,
    OLD,
    checked,
    green_pods,
    make_stage,
    own_pods,
    running,
    to,
)

PREPARING, SCALING, SWITCHING = ReleaseStep.PREPARING, ReleaseStep.SCALING, ReleaseStep.SWITCHING
OVERLAPPING, WARM, DRAINING = ReleaseStep.OVERLAPPING, ReleaseStep.WARM, ReleaseStep.DRAINING
REVERTING, DISCARDING = ReleaseStep.REVERTING, ReleaseStep.DISCARDING
BLUE, GREEN = Colour.BLUE, Colour.GREEN
UNHEALTHY, UNKNOWN = HealthState.UNHEALTHY, HealthState.UNKNOWN
PROMOTE = {request_annotation(Request.PROMOTE): "now"}
BEFORE = {"before": {"checks": ["ready"], "for": "10s"}}
AFTER = {"after": {"checks": ["ready"], "for": "10s"}}
MANUAL = {"blueGreen": {"promotion": "Manual"}}
MANUAL_TIMED = {"blueGreen": {"promotion": "Manual", "promoteAfter": "20s"}}
TIMED = {"blueGreen": {"promoteAfter": "20s"}}
UNPIN = Route("checkout", "")
# A newer template than green's, on its way onto the target's own pods.
HOME: dict[str, Any] = {"wanted": LATER, "serving": LATER, "own": own_pods(LATER), "status": running(LATER)}
GONE_BAD = {"fault": "CrashLoopBackOff", "trouble": "CrashLoopBackOff: exit code 1", "restarts": 2}
NO_IMAGE = {"fault": "ErrImagePull", "trouble": "ErrImagePull: docker.io/shop:t-new: not found"}
NO_REGISTRY = {"fault": "ErrImagePull", "trouble": "ErrImagePull: dial tcp: lookup x: no such host"}
NO_ROOM = {"fault": "Unschedulable", "trouble": "Unschedulable: 0/1 nodes are available: 1 Insufficient cpu."}
NO_MEMORY = {"fault": "OOMKilled", "trouble": "OOMKilled: it ended"}


def plan(step: ReleaseStep, towards: Colour = GREEN, **fields: Any) -> Move:
    return bluegreen.plan(make_stage(step, towards, **fields))


def broken(fields: Any, *, ago: int = 5) -> dict[str, Any]:
    """Green with one good pod and one in trouble, made so many seconds ago."""
    bad = green_pods(2, ready=False, available=False, created=NOW - timedelta(seconds=ago), **fields)
    return {"green": (*green_pods(1), bad[1])}


@pytest.mark.parametrize(
    ("rollout", "ago", "goes", "left"),
    [
        (BEFORE, 5, False, 5),
        (BEFORE, 10, True, None),
        (BEFORE | TIMED, 15, False, 5),
        (BEFORE | TIMED, 20, True, None),
        (BEFORE | MANUAL, 60, False, None),
        (BEFORE | MANUAL_TIMED, 15, False, 5),
        (BEFORE | MANUAL_TIMED, 20, True, None),
    ],
)
def test_the_gate_then_the_time_or_a_person(rollout: Any, ago: int, goes: bool, left: int | None) -> None:
    found = plan(PREPARING, rollout=rollout, seen=checked(ago=ago))

    assert found.actions == ((to(SCALING, replicas=2),) if goes else ())
    assert found.wait == (None if left is None else timedelta(seconds=left))


@pytest.mark.parametrize(
    ("rollout", "ago", "goes"),
    [(TIMED, 15, False), (TIMED, 20, True), (MANUAL, 60, False), (MANUAL_TIMED, 15, False), (MANUAL_TIMED, 20, True)],
)
def test_without_a_gate_the_time_counts_from_the_step(rollout: Any, ago: int, goes: bool) -> None:
    found = plan(PREPARING, rollout=rollout, ago=timedelta(seconds=ago))

    assert found.actions == ((to(SCALING, replicas=2),) if goes else ())


def test_a_person_is_told_how_to_promote() -> None:
    found = plan(PREPARING, rollout=MANUAL)
    timed = plan(PREPARING, rollout=TIMED, ago=timedelta(seconds=1))

    assert found.awaits_promotion and not timed.awaits_promotion
    assert found.waiting == (
        "the candidate is ready and waits for promotion: kubectl annotate -n shop rsvc checkout --overwrite "
        'resilience.dev/promote-requested-at="$(date)"'
    )
    assert timed.waiting == "the candidate is ready; it is promoted when its time has come"


@pytest.mark.parametrize(
    ("rollout", "seen", "goes"),
    [
        (MANUAL, {}, True),
        (TIMED, {}, True),
        (BEFORE, checked(UNKNOWN, reason="NoData"), True),
        (BEFORE, checked(UNKNOWN, silent=False), False),
        # Neither what has not been asked, nor what has not passed for long enough, nor what fails.
        (BEFORE, {}, False),
        (BEFORE | MANUAL, checked(ago=1), False),
        (BEFORE | MANUAL, checked(UNHEALTHY), False),
    ],
)
def test_what_a_promotion_overrules(rollout: Any, seen: Any, goes: bool) -> None:
    found = plan(PREPARING, rollout=rollout, seen=seen, annotations=PROMOTE, ago=timedelta(seconds=1))

    assert (to(SCALING, replicas=2) in found.actions) is goes


def test_if_nothing_serves_passing_once_is_enough() -> None:
    found = plan(PREPARING, rollout=BEFORE, seen=checked(ago=0), own=own_pods(ready=False))

    assert found.actions == (to(SCALING, replicas=2),)


@pytest.mark.parametrize(
    ("seen", "actions"),
    [
        (checked(ago=0), (to(SWITCHING), UNPIN)),
        (checked(pods=green_pods(1)), ()),
        (checked(UNHEALTHY), (MarkFailed(NEW), to(DISCARDING))),
    ],
)
def test_at_full_size_each_pod_has_to_pass_once(seen: Any, actions: Any) -> None:
    assert plan(SCALING, rollout=BEFORE, seen=seen).actions == actions


def test_if_nothing_serves_only_those_that_are_ready_have_to_pass() -> None:
    green = (*green_pods(1), green_pods(2, ready=False)[1])

    found = plan(SCALING, rollout=BEFORE, own=own_pods(ready=False), green=green, seen=checked(pods=green_pods(1)))

    assert to(SWITCHING) in found.actions


FAILING = Traffic(100, 9, 0.1, failed_in_row=3)


@pytest.mark.parametrize(
    ("fields", "actions", "words"),
    [
        ({"seen": checked()}, (to(DRAINING),), ""),
        ({"seen": checked(ago=4)}, (), "the new version serves; checks ready pass; they have to for"),
        ({"seen": {}}, (), "the new version serves; check ready has not run against the candidate yet"),
        ({"seen": checked(UNKNOWN, reason="NoData")}, (), "; promote or abort it if you know better"),
        ({"seen": checked(UNKNOWN, reason="NoData"), "annotations": PROMOTE}, (to(DRAINING),), ""),
        ({"seen": checked(), "ago": timedelta(seconds=5), "annotations": PROMOTE}, (to(DRAINING),), ""),
        ({"seen": checked(UNHEALTHY), "annotations": PROMOTE}, (MarkFailed(NEW), to(REVERTING), UNPIN), "failed"),
        ({"seen": checked() | {"traffic": FAILING}}, (MarkFailed(NEW), to(REVERTING), UNPIN), "3 measured requests"),
        ({"seen": checked() | {"traffic": Traffic(100, 99, 0.1, failed_in_row=2)}}, (to(DRAINING),), ""),
        # They may be the old version's.
        (
            {"seen": checked() | {"traffic": FAILING}, "ago": timedelta(seconds=1)},
            (),
            "the new version serves; the old one is kept ready",
        ),
    ],
)
def test_the_gate_after_the_switch(fields: Any, actions: Any, words: str) -> None:
    found = plan(WARM, rollout=AFTER, **fields)

    assert found.actions == actions
    assert words in found.waiting
    assert found.failure is None or found.failure.kind is FailureClass.VERIFICATION


@pytest.mark.parametrize(
    ("step", "towards", "fields", "actions"),
    [
        (PREPARING, GREEN, {}, (MarkFailed(NEW), to(DISCARDING))),
        (SCALING, GREEN, {}, (MarkFailed(NEW), to(DISCARDING))),
        (SWITCHING, GREEN, {}, (MarkFailed(NEW), to(REVERTING))),
        (OVERLAPPING, GREEN, {"pin": GREEN_HASH}, (MarkFailed(NEW), to(REVERTING), UNPIN)),
        (WARM, GREEN, {}, (MarkFailed(NEW), to(REVERTING), UNPIN)),
        (DRAINING, GREEN, {}, (MarkFailed(NEW), to(REVERTING), UNPIN)),
        # Home again: green serves on.
        (PREPARING, BLUE, HOME | {"serving": NEW, "workload": {"paused": False}}, (MarkFailed(LATER), Hold(NEW))),
        (PREPARING, BLUE, HOME | {"serving": NEW}, (MarkFailed(LATER),)),
        (SWITCHING, BLUE, HOME, (MarkFailed(LATER), to(REVERTING, BLUE))),
        (WARM, BLUE, HOME, (MarkFailed(LATER), to(REVERTING, BLUE), UNPIN)),
    ],
)
@pytest.mark.parametrize("how", ["abort", "crash"])
def test_a_candidate_is_given_up_at_each_step(step: Any, towards: Colour, fields: Any, actions: Any, how: str) -> None:
    template = NEW if towards is GREEN else LATER
    if how == "abort":
        fields = fields | {"status": running(template, aborted=True)}
    elif towards is GREEN:
        fields = fields | broken(GONE_BAD)
    else:
        # One more of its own pods, that ends all the time.
        bad = own_pods(LATER, 3, ready=False, created=NOW, **GONE_BAD)
        fields = fields | {"own": (*own_pods(LATER), bad[2])}

    found = plan(step, towards, **fields)

    assert found.actions == actions
    assert found.failure is not None and found.waiting == found.failure.message
    kind, reason = (FailureClass.ABORTED, "Aborted") if how == "abort" else (FailureClass.UNKNOWN, "CrashLoop")
    assert (found.failure.kind, found.failure.reason) == (kind, reason)


def test_a_newer_template_that_failed_protects_no_candidate() -> None:
    # What is on its way home ends all the time; the user meanwhile wants one that is known to be bad.
    bad = own_pods(LATER, 3, ready=False, created=NOW, **GONE_BAD)

    found = plan(SWITCHING, BLUE, **HOME | {"wanted": OLD, "failed": OLD, "own": (*own_pods(LATER), bad[2])})

    assert found.actions == (MarkFailed(LATER), to(REVERTING, BLUE))


def test_an_abort_is_for_the_release_that_it_was_asked_for() -> None:
    assert plan(PREPARING, status=running(LATER, aborted=True)).failure is None


@pytest.mark.parametrize(("step", "turn"), [(PREPARING, DISCARDING), (SCALING, DISCARDING), (SWITCHING, REVERTING)])
def test_what_was_noted_as_failed_is_noted_once(step: ReleaseStep, turn: ReleaseStep) -> None:
    found = plan(step, failed=NEW, pin="")

    assert found.actions == (to(turn),) and found.failure is None


@pytest.mark.parametrize("step", [WARM, DRAINING])
def test_with_no_way_back_the_candidate_stays_and_people_are_told(step: ReleaseStep) -> None:
    found = plan(step, own=own_pods(ready=False), **broken(GONE_BAD))

    assert found.actions == () and found.failure is not None
    assert found.waiting.endswith("; the version before it has no pod that is ready, so this one stays")


@pytest.mark.parametrize(
    ("step", "fields", "ago", "reason"),
    [
        (PREPARING, NO_IMAGE, 5, "ImageNotFound"),
        (PREPARING, NO_ROOM, 5, ""),
        (PREPARING, NO_ROOM, 600, "Unschedulable"),
        (PREPARING, NO_MEMORY, 5, ""),
        (PREPARING, {}, 5, ""),
        (PREPARING, {}, 600, "DeadlineExceeded"),
        (SCALING, {}, 600, "DeadlineExceeded"),
        (SWITCHING, {}, 600, "DeadlineExceeded"),
        # Once it serves alone, memory is the version's own affair; a node that is full is not.
        (WARM, NO_MEMORY, 5, "OOMKilled"),
        (WARM, NO_MEMORY, 600, "OOMKilled"),
        (WARM, NO_ROOM, 5, ""),
        (WARM, NO_ROOM, 600, ""),
        (WARM, {}, 600, ""),
        (DRAINING, {}, 600, ""),
    ],
)
def test_what_a_pod_in_trouble_means(step: ReleaseStep, fields: Any, ago: int, reason: str) -> None:
    found = plan(step, ago=timedelta(seconds=ago), **broken(fields, ago=ago))

    assert (found.failure.reason if found.failure is not None else "") == reason


def test_a_pod_that_was_lost_meanwhile_has_its_time_again() -> None:
    hour = timedelta(hours=1)

    assert plan(PREPARING, ago=hour, **broken({}, ago=599)).failure is None
    assert plan(PREPARING, ago=hour, **broken({}, ago=600)).failure is not None
    # All there: only a person is waited for, without a deadline.
    assert plan(PREPARING, ago=hour, rollout=MANUAL).failure is None


@pytest.mark.parametrize(
    ("tries", "ago", "wait"), [(0, 0, 1), (0, 1, None), (1, 1, 1), (1, 2, None), (2, 3, 1), (2, 4, None)]
)
def test_a_pull_that_failed_for_the_network_is_tried_again(tries: int, ago: int, wait: int | None) -> None:
    found = plan(PREPARING, of_green={"pull_retries": tries}, **broken(NO_REGISTRY, ago=ago))

    assert found.failure is None and f"try {tries + 2} of 4" in found.waiting
    if wait is None:
        (retry,) = found.actions
        assert isinstance(retry, RetryPull) and retry.tries == tries + 1
        assert [pod.name for pod in retry.pods] == ["green-1"]
    else:
        assert found.actions == () and found.wait == timedelta(seconds=wait)


@pytest.mark.parametrize(("step", "tries"), [(PREPARING, 3), (SCALING, 3), (SWITCHING, 0), (WARM, 0)])
def test_no_pull_is_tried_for_ever(step: ReleaseStep, tries: int) -> None:
    found = plan(step, of_green={"pull_retries": tries}, **broken(NO_REGISTRY))

    assert found.failure is not None and found.failure.kind is FailureClass.NETWORK
    assert MarkFailed(NEW) in found.actions


@pytest.mark.parametrize(
    ("step", "rollout", "actions"),
    [
        (PREPARING, BEFORE, (MarkFailed(NEW), to(DISCARDING))),
        (WARM, AFTER, (MarkFailed(NEW), to(REVERTING), UNPIN)),
    ],
)
def test_a_gate_that_was_never_answered_fails_at_the_deadline(step: ReleaseStep, rollout: Any, actions: Any) -> None:
    never = checked(UNKNOWN, reason=UNREACHABLE)

    early = plan(step, rollout=rollout, seen=never, ago=timedelta(minutes=9))
    late = plan(step, rollout=rollout, seen=never, ago=timedelta(minutes=11))
    overruled = plan(step, rollout=rollout, seen=never, ago=timedelta(minutes=11), annotations=PROMOTE)

    assert early.actions == () and early.failure is None and "check ready is inconclusive" in early.waiting
    assert late.actions == actions
    assert late.failure is not None and (late.failure.kind, late.failure.reason) == (
        FailureClass.TIMEOUT,
        "GateUnreachable",
    )
    assert overruled.failure is None


@pytest.mark.parametrize(
    ("step", "rollout", "actions"),
    [
        (PREPARING, BEFORE, (MarkFailed(NEW), to(DISCARDING))),
        (WARM, AFTER, (MarkFailed(NEW), to(REVERTING), UNPIN)),
    ],
)
def test_a_gate_without_data_ends_at_the_deadline_with_the_reason(
    step: ReleaseStep, rollout: Any, actions: Any
) -> None:
    silent = checked(UNKNOWN, reason="NoData", message="the query returns no series", ago=600)
    late_by = timedelta(minutes=11)

    early = plan(step, rollout=rollout, seen=silent, ago=timedelta(minutes=9))
    late = plan(step, rollout=rollout, seen=silent, ago=late_by)
    overruled = plan(step, rollout=rollout, seen=silent, ago=late_by, annotations=PROMOTE)
    # A leader that has just begun.
    fresh = plan(step, rollout=rollout, seen=checked(UNKNOWN, reason="NoData", ago=30), ago=late_by)

    assert early.actions == fresh.actions == () and early.failure is None and fresh.failure is None
    assert late.actions == actions and late.failure is not None
    assert (late.failure.kind, late.failure.reason) == (FailureClass.TIMEOUT, "GateInconclusive")
    assert late.failure.message == (
        "check ready was inconclusive up to progressDeadline: NoData: the query returns no series"
    )
    assert "resilience.dev/retry-requested-at" in late.failure.advice
    assert overruled.failure is None
