"""Pods that take long to end, as with a grace period of ten minutes and an application that ignores SIGTERM."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from resilience.api.names import ANNOTATION_CLAIM
from resilience.api.reasons import Colour, Reason, ReleaseStep, ReplaceStep, RestartOutcome
from resilience.api.status import Status
from resilience.api.status_restarts import ReplacementStatus, RestartStatus
from resilience.core.model.actions import DeleteGreen, Hold, Route
from resilience.core.model.decision import Decision
from resilience.core.model.observation import Node, Observation, Pod
from resilience.core.reconcile import decide
from resilience.core.rollouts import bluegreen, guard, preflight
from tests.support.factories import (
    LONG_AGO,
    NOW,
    make_endpoint,
    make_pod,
    make_resource,
    make_retiring,
    make_seen,
    make_workload,
)
from tests.support.stages import NEW, Scenario, green_pods, look, make_stage, own_pods

DRAINING: Final = ReleaseStep.DRAINING
HOME: Final[dict[str, Any]] = {"serving": NEW, "own": own_pods(NEW), "of_green": {"deleting": True}}
OLD_POD: Final = make_retiring("old", ReplaceStep.DELETING, labels={"app": "left"}, deleting=True)
FRESH: Final = tuple(make_pod(name, created=NOW) for name in ("x", "y", "z"))


def restarting(*pods: Pod, connections: int | None = None, **seen: Any) -> Decision:
    known = [ReplacementStatus(name="old", step=ReplaceStep.DRAINING, since=NOW, connections=connections)]
    begun = RestartStatus(request="now", trace_id="t", started_at=NOW, born_before=LONG_AGO, total=3, pods=known)
    observed = make_seen(*pods, workload=make_workload(replicas=3), **seen)
    return decide(make_resource(status=Status(observed_generation=1, restart=begun)), observed, NOW)


def test_a_restart_is_over_when_its_last_pod_is_ending() -> None:
    found = restarting(OLD_POD, *FRESH, connections=4)

    assert found.status is not None and found.status.last_restart is not None
    last = found.status.last_restart
    assert (last.result, last.pods, last.kept_connections_cut) == (RestartOutcome.SUCCEEDED, 3, 4)
    assert "pod old was replaced and is ending" in [event.message for event in found.events]


def test_it_is_not_over_while_a_service_leads_to_the_pod() -> None:
    """A finalizer, or a slice that is late: the pod still gets new connections."""
    listed = (make_endpoint(OLD_POD, terminating=False), *(make_endpoint(pod) for pod in FRESH))

    found = restarting(OLD_POD, *FRESH, endpoints=listed)

    assert found.status is not None and found.status.restart is not None
    assert found.status.restart.message == "pod old is ending"


def test_the_next_pod_must_still_have_room() -> None:
    found = restarting(OLD_POD, *FRESH[:2])

    assert found.status is not None and found.status.restart is not None
    assert "1 pod not created yet" in found.status.restart.message
    assert [event.reason for event in found.events if event.reason is Reason.RESTART_SUCCEEDED] == []


@pytest.mark.parametrize(("deleting", "waits"), [(True, ""), (False, "pod old is being replaced")])
def test_a_release_begins_beside_pods_that_end(deleting: bool, waits: str) -> None:
    old = replace(OLD_POD, deleting=deleting)

    assert preflight.blocker(make_stage(own=(*own_pods(), old), listed=own_pods())) == waits


@pytest.mark.parametrize("deleting", [True, False])
def test_a_target_is_adopted_beside_pods_that_end(deleting: bool) -> None:
    old = replace(OLD_POD, deleting=deleting)
    notes = {"annotations": {ANNOTATION_CLAIM: "checkout/resource-uid"}, "current": 2, "updated": 2}

    found = bluegreen.plan(make_stage(serving="", own=(*own_pods(NEW), old), listed=own_pods(NEW), workload=notes))

    assert any(isinstance(action, Hold) for action in found.actions) is deleting


ENDING: Final = green_pods(deleting=True)


@pytest.mark.parametrize(
    ("green", "listed", "goes"),
    [
        (ENDING, own_pods(NEW), True),
        ((ENDING[0], green_pods()[1]), own_pods(NEW), False),
        (ENDING, (*own_pods(NEW), *green_pods()), False),
        ((), own_pods(NEW), False),
    ],
    ids=["all end", "one does not", "still listed", "none yet"],
)
def test_the_second_deployment_goes_when_all_of_its_pods_end(green: Any, listed: Any, goes: bool) -> None:
    found = bluegreen.plan(make_stage(DRAINING, Colour.BLUE, **HOME, green=green, listed=listed))

    # The pin goes after green: until then the guard would see a Service that leads to its pods.
    assert found.actions == ((DeleteGreen(), Route("checkout", "")) if goes else ())
    assert found.waiting == "the last pods of the second Deployment end"


def observed(**fields: Any) -> Observation:
    return look(Scenario(DRAINING, Colour.BLUE, **HOME | fields))[1]


def test_the_guard_sees_a_pod_that_does_not_end_after_all() -> None:
    before, fresh = observed(green=ENDING), observed(green=(ENDING[0], green_pods()[1]))

    refusal = guard.refusal(before, fresh, DeleteGreen())

    assert guard.refusal(before, before, DeleteGreen()) is None
    assert refusal is not None and refusal.reason == "StillServing"


def test_a_pod_that_ends_keeps_its_node() -> None:
    nodes = tuple(Node(name, unschedulable=False) for name in "abcd")
    apart = {"template": {"needs_separate_nodes": True}}
    old = replace(OLD_POD, node="d", step=None)

    def blocked(*pods: Pod) -> str:
        return preflight.blocker(make_stage(own=pods, listed=own_pods(), workload=apart, view={"nodes": nodes}))

    assert blocked(*own_pods(node="a")) == ""
    assert "there are 3" in blocked(*own_pods(node="a"), old)


def test_nothing_is_read_again_and_again_for_a_pod_that_ends() -> None:
    found = restarting(OLD_POD, *FRESH)
    assert found.status is not None
    after = decide(make_resource(status=found.status), make_seen(OLD_POD, *FRESH), NOW)

    assert after.actions == ()
    assert after.requeue_after is None or after.requeue_after > timedelta(seconds=5)
