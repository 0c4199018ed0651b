"""The phase: what a first start is, when pods that are missing have failed, and when time alone says so."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from resilience.api.reasons import AlertName, ConditionType, HealthState, Phase, Reason, ReleaseStep, ReplaceStep
from resilience.api.status import Condition, Status
from resilience.core.model.decision import Decision
from resilience.core.model.observation import Observation
from resilience.core.reconcile import decide
from tests.support.factories import (
    LONG_AGO,
    NOW,
    make_check,
    make_pod,
    make_resource,
    make_retiring,
    make_seen,
    make_spec,
    make_workload,
)
from tests.support.model import stored
from tests.support.stages import Scenario, look, running

MINUTE = timedelta(minutes=1)
# The progress deadline is ten minutes.
YOUNG, OLD = NOW - 9 * MINUTE, NOW - 10 * MINUTE
CHECKS: Any = {"health": {"checks": [{"name": "ready", "http": {"path": "/readyz"}}]}}
WELL, ILL = HealthState.HEALTHY, HealthState.UNHEALTHY


def looked(
    *,
    made: datetime = LONG_AGO,
    status: Status | None = None,
    state: HealthState = ILL,
    now: datetime = NOW,
    **workload: Any,
) -> Decision:
    """A pass over a service of three pods with one check and an objective."""
    seen = make_seen(make_pod(), workload=make_workload(**workload), checks={"ready": make_check(state=state)})
    spec = make_spec(**CHECKS, slo={"availability": "99.9%"})
    return decide(make_resource(spec, status=status, created=made), seen, now)


def before(
    phase: Phase, *, well: bool = True, ready: str = "True", since: datetime = LONG_AGO, reason: str = ""
) -> Status:
    condition = Condition(
        type=ConditionType.READY,
        status=ready,
        observed_generation=1,
        last_transition_time=since,
        reason=reason or Reason.SERVING,
        message="",
    )
    first = LONG_AGO if well else None
    return Status(observed_generation=1, phase=phase, first_healthy_at=first, conditions=[condition])


def after(decision: Decision) -> Status:
    assert decision.status is not None
    return stored(decision.status)


@pytest.mark.parametrize("workload", [{"available": 0}, {"available": 1}, {}, {"available": 0, "generation": 2}])
@pytest.mark.parametrize("phase", [Phase.INITIALIZING, Phase.FAILED, Phase.CRASHED])
def test_until_it_is_well_once_a_young_service_starts(workload: dict[str, Any], phase: Phase) -> None:
    # given: whatever was said before, for its manifests may have come in any order
    found = looked(made=YOUNG, status=before(phase, well=False), **workload)

    said = after(found)
    assert (said.phase, said.first_healthy_at, said.slo) == (Phase.INITIALIZING, None, None)
    assert [each for each in said.alerts.firing if not each.held] == []
    # and time alone ends that
    assert found.requeue_after is not None and found.requeue_after <= MINUTE


@pytest.mark.parametrize(("available", "phase"), [(0, Phase.FAILED), (3, Phase.RUNNING)])
def test_what_is_never_well_has_failed_after_its_deadline(available: int, phase: Phase) -> None:
    status = before(Phase.INITIALIZING, well=False, ready="False", since=OLD)

    said = after(looked(made=OLD, status=status, available=available))

    assert said.phase is phase
    assert said.slo is not None and len(said.slo.outages) == 1
    assert [each.name for each in said.alerts.firing if not each.held] == [
        AlertName.SERVICE_UNHEALTHY if available else AlertName.SERVICE_DOWN
    ]


def test_once_it_was_well_it_never_starts_again() -> None:
    first = after(looked(made=YOUNG, state=WELL))
    then = after(looked(made=YOUNG, status=first, now=NOW + MINUTE))

    assert (first.phase, first.first_healthy_at) == (Phase.RUNNING, NOW)
    assert (then.phase, then.first_healthy_at) == (Phase.RUNNING, NOW)
    assert then.slo is not None and len(then.slo.outages) == 1


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        # It has lost its pods.
        (before(Phase.RUNNING), Phase.FAILED),
        (before(Phase.FAILED), Phase.FAILED),
        (before(Phase.CRASHED), Phase.FAILED),
        # One after the other.
        (before(Phase.DEPLOYING, ready="False", since=NOW, reason=Reason.NOT_AVAILABLE), Phase.FAILED),
        # They are on their way: in a rollout, from zero, or nobody knows.
        (before(Phase.DEPLOYING, ready="False", since=YOUNG, reason=Reason.ROLLING), Phase.INITIALIZING),
        (before(Phase.INITIALIZING, ready="False", since=YOUNG, reason=Reason.NOT_AVAILABLE), Phase.INITIALIZING),
        (before(Phase.RUNNING, reason=Reason.SCALED_TO_ZERO), Phase.INITIALIZING),
        (before(Phase.SUSPENDED), Phase.INITIALIZING),
        # They should be there by now.
        (before(Phase.DEPLOYING, ready="False", since=OLD, reason=Reason.ROLLING), Phase.FAILED),
        (before(Phase.INITIALIZING, ready="False", since=OLD, reason=Reason.NOT_AVAILABLE), Phase.FAILED),
        (before(Phase.SUSPENDED, ready="False", since=OLD), Phase.FAILED),
    ],
)
@pytest.mark.parametrize("paused", [False, True])
def test_without_pods_it_has_failed_unless_they_are_on_their_way(status: Status, phase: Phase, paused: bool) -> None:
    found = looked(status=status, available=0, paused=paused)

    said = after(found)
    down = [each.name for each in said.alerts.firing if each.name == AlertName.SERVICE_DOWN and not each.held]
    assert said.phase is phase
    assert bool(down) is (phase is Phase.FAILED)
    assert phase is Phase.FAILED or found.requeue_after is not None


@pytest.mark.parametrize(("ready", "phase"), [(True, Phase.DEPLOYING), (False, Phase.FAILED)])
def test_the_only_pod_serves_while_it_is_replaced(ready: bool, phase: Phase) -> None:
    # given: the Deployment counts neither the pod that was taken over nor its replacement, which is not ready
    pods = make_retiring("a", ReplaceStep.REPLACING, ready=ready), make_pod("b", ready=False)
    seen = make_seen(*pods, workload=make_workload(replicas=1, available=0), checks={"ready": make_check(state=WELL)})
    spec = make_spec(**CHECKS, slo={"availability": "99.9%"})

    said = after(decide(make_resource(spec, status=before(Phase.RUNNING)), seen, NOW))

    assert said.phase is phase
    assert (AlertName.SERVICE_DOWN in [each.name for each in said.alerts.firing]) is not ready


def test_an_outage_goes_on_until_something_serves() -> None:
    # given
    lost = after(looked(status=before(Phase.RUNNING), available=0))
    # when: somebody changes the workload, and a mending template rolls
    changed = after(looked(status=lost, available=0, generation=2))
    rolling = after(looked(status=changed, available=0, updated=1))
    mended = after(looked(status=rolling, available=1, updated=1))

    assert [each.phase for each in (lost, changed, rolling, mended)] == [Phase.FAILED] * 3 + [Phase.DEPLOYING]
    assert [any(a.name == AlertName.SERVICE_DOWN for a in each.alerts.firing) for each in (rolling, mended)] == [
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("step", "phase"), [(ReleaseStep.PREPARING, Phase.FAILED), (ReleaseStep.WARM, Phase.DEPLOYING)]
)
def test_a_second_colour_counts_from_when_it_has_clients(step: ReleaseStep, phase: Phase) -> None:
    # given: the target has lost its pods while the second Deployment waits, or serves
    status = running().model_copy(update={"phase": Phase.DEPLOYING})
    by_hand = {"blueGreen": {"promotion": "Manual"}}
    resource, seen = look(Scenario(step, workload={"available": 0}, rollout=by_hand, status=status))

    assert after(decide(resource, seen, NOW)).phase is phase


def test_a_service_at_rest_needs_no_look_because_of_its_phase() -> None:
    status = after(looked(state=WELL))

    assert looked(status=status, state=WELL).requeue_after is None


def test_without_checks_pods_that_are_missing_are_no_outage_until_it_has_failed() -> None:
    def seen(available: int) -> Observation:
        return make_seen(make_pod(), workload=make_workload(available=available))

    spec = make_spec(slo={"availability": "99.9%"})
    first = after(decide(make_resource(spec, created=YOUNG), seen(0), NOW))
    then = after(decide(make_resource(spec, status=first, created=YOUNG), seen(3), NOW + MINUTE / 2))
    last = after(decide(make_resource(spec, status=then, created=YOUNG), seen(0), NOW + MINUTE))

    assert (first.phase, first.slo) == (Phase.INITIALIZING, None)
    assert then.phase is Phase.RUNNING and then.slo is not None and then.slo.outages == []
    assert last.phase is Phase.FAILED and last.slo is not None and len(last.slo.outages) == 1
