"""Pods with readiness gates in a rollout: not waited for without traffic, waited for before the other colour leaves.

A load balancer's controller answers a gate only while a Service lists the pod.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilience.api.reasons import (
    AlertName,
    Colour,
    FailureClass,
    Reason,
    RefusalReason,
    ReleaseStep,
    ReplaceStep,
    RolloutOutcome,
)
from resilience.api.status import Status
from resilience.api.status_restarts import RestartStatus
from resilience.core.alerting.problems import problems_of
from resilience.core.failures import attention
from resilience.core.model.actions import AdvanceGreen, EmptyReplicaSet, MarkFailed, Route
from resilience.core.model.decision import Advance
from resilience.core.model.observation import Observation, Pod
from resilience.core.reconcile import decide
from resilience.core.report.events import condition_events
from resilience.core.rollouts import bluegreen_steps, guard
from tests.support.factories import (
    LONG_AGO,
    NOW,
    make_pod,
    make_resource,
    make_retiring,
    make_seen,
    make_spec,
    make_workload,
)
from tests.support.release_model import Kind, ReleaseModel
from tests.support.release_operator import blue_green
from tests.support.stages import MINUTE, NEW, OLD, Scenario, green_pods, look, make_stage, own_pods, running
from tests.unit.core.test_rollout_properties import THOROUGH, adopted, hold, rest, settle

GATE = "target-health.elbv2.k8s.aws/k8s-shop-checkout-1"
GATED: dict[str, Any] = {
    "ready": False,
    "open_gates": (GATE,),
    "awaits_gates": True,
    "containers_ready_since": NOW - timedelta(minutes=3),
    "fault": "ReadinessGatesNotReady",
    "trouble": f'ReadinessGatesNotReady: corresponding condition of pod readiness gate "{GATE}" does not exist.',
}


# Before it has traffic.


@pytest.mark.parametrize("step", [ReleaseStep.PREPARING, ReleaseStep.SCALING])
def test_a_candidate_without_traffic_does_not_wait_for_gates(step: ReleaseStep) -> None:
    # argo-rollouts#792: the gate of a pod that no Service lists is never answered
    move = bluegreen_steps.step(make_stage(step, green=green_pods(**GATED)))
    assert any(isinstance(action, AdvanceGreen) for action in move.actions), move


def test_a_candidate_that_is_not_ready_by_itself_is_waited_for() -> None:
    not_ready = GATED | {"awaits_gates": False}
    move = bluegreen_steps.step(make_stage(ReleaseStep.SCALING, green=green_pods(**not_ready)))
    assert not move.actions
    assert "0 of 2 candidate pods are ready" in move.waiting


# After the switch.


def test_after_the_switch_both_serve_until_the_gates_are_answered() -> None:
    move = bluegreen_steps.step(make_stage(ReleaseStep.SWITCHING, green=green_pods(**GATED)))
    assert not move.actions
    assert GATE in move.waiting


def test_one_answered_gate_is_not_enough() -> None:
    first, second = green_pods()
    move = bluegreen_steps.step(
        make_stage(ReleaseStep.SWITCHING, green=(first, replace(second, available=False, **GATED)))
    )
    assert not move.actions
    assert f"1 pods still wait for readiness gate {GATE}" in move.waiting


def test_answered_gates_let_the_old_colour_leave() -> None:
    move = bluegreen_steps.step(make_stage(ReleaseStep.SWITCHING))
    assert any(isinstance(action, AdvanceGreen) for action in move.actions)


def test_a_gate_that_is_never_answered_ends_the_rollout_at_the_deadline_and_is_named() -> None:
    stage = make_stage(ReleaseStep.SWITCHING, green=green_pods(**GATED), ago=timedelta(minutes=11))
    move = bluegreen_steps.step(stage)
    assert move.failure is not None
    assert (move.failure.kind, move.failure.reason) == (FailureClass.TIMEOUT, "ReadinessGateUnanswered")
    assert GATE in move.failure.message
    assert "AWS Load Balancer Controller" in move.failure.advice
    assert MarkFailed(NEW) in move.actions


# The way back.


def test_a_way_back_leads_to_a_colour_that_only_lacks_its_gates() -> None:
    # The load balancer took the gates away when the old pods left; they cannot have them without traffic.
    failed = make_stage(ReleaseStep.WARM, own=own_pods(OLD, **GATED), failed=NEW)
    move = bluegreen_steps.step(failed)
    assert any(isinstance(action, AdvanceGreen) and action.step is ReleaseStep.REVERTING for action in move.actions)
    assert any(isinstance(action, Route) and not action.template_hash for action in move.actions)


def test_a_way_back_waits_for_the_gates_of_the_old_pods() -> None:
    move = bluegreen_steps.step(make_stage(ReleaseStep.REVERTING, own=own_pods(OLD, **GATED)))
    assert not any(isinstance(action, Route) and action.template_hash for action in move.actions)
    assert GATE in move.waiting


def test_a_serving_colour_that_is_short_gets_help_from_one_that_only_lacks_its_gates() -> None:
    short = (green_pods()[0], replace(green_pods()[1], ready=False, available=False))
    fields: dict[str, Any] = {"own": own_pods(OLD, **GATED), "green": short}
    pinned = bluegreen_steps.step(make_stage(ReleaseStep.WARM, **fields))
    assert [action for action in pinned.actions if isinstance(action, Route)] == [Route("checkout", "")]
    # and does not go back and forth while the gates are open
    both = bluegreen_steps.step(make_stage(ReleaseStep.WARM, **fields, pin=""))
    assert not [action for action in both.actions if isinstance(action, Route)]


# The target's own pods without traffic.


def hopping(**fields: Any) -> dict[str, Any]:
    """The resumed Deployment has one new pod that lacks its gate, and its old ones."""
    mixed = (*own_pods(OLD), *own_pods(NEW, 1, **GATED))
    workload = {"paused": False, "current": 3, "updated": 1, "available": 2}
    return {"own": mixed, "workload": workload, "listed": green_pods()} | fields


def test_a_deployment_that_cannot_roll_without_gates_is_helped() -> None:
    move = bluegreen_steps.step(make_stage(ReleaseStep.PREPARING, Colour.BLUE, **hopping()))
    assert [action.replica_set.fingerprint for action in move.actions if isinstance(action, EmptyReplicaSet)] == [OLD]


@pytest.mark.parametrize(
    "fields",
    [
        {"own": (*own_pods(OLD), *own_pods(NEW, 1))},
        {"own": (*own_pods(OLD), *own_pods(NEW, 1, ready=False))},
        {"listed": (*green_pods(), *own_pods(OLD))},
    ],
    ids=["its new pod is ready", "its new pod is not ready by itself", "its old pods are listed"],
)
def test_a_deployment_is_left_alone_otherwise(fields: dict[str, Any]) -> None:
    move = bluegreen_steps.step(make_stage(ReleaseStep.PREPARING, Colour.BLUE, **hopping(**fields)))
    assert not [action for action in move.actions if isinstance(action, EmptyReplicaSet)]


def test_own_pods_that_only_lack_gates_are_enough_to_return() -> None:
    workload = {"paused": True, "current": 2, "updated": 2, "available": 0}
    stage = make_stage(ReleaseStep.PREPARING, Colour.BLUE, serving=NEW, own=own_pods(NEW, **GATED), workload=workload)
    move = bluegreen_steps.step(stage)
    assert Route("checkout", "") in move.actions


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"pin": ""}, RefusalReason.STILL_SERVING),
        ({"listed": own_pods(OLD)}, RefusalReason.STILL_SERVING),
        ({"workload": {"paused": True}}, RefusalReason.STILL_SERVING),
        ({"seen": {"unsettled": MINUTE}}, RefusalReason.UNSETTLED),
        ({}, None),
    ],
)
def test_the_guard_keeps_old_pods_that_may_have_clients(fields: dict[str, Any], reason: RefusalReason | None) -> None:
    _, seen = look(Scenario(ReleaseStep.PREPARING, Colour.BLUE, **hopping()))
    _, fresh = look(Scenario(ReleaseStep.PREPARING, Colour.BLUE, **hopping(**fields)))
    assert seen.pods is not None
    (old,) = [found for found in seen.pods.replica_sets if found.fingerprint == OLD]
    refusal = guard.refusal(seen, fresh, EmptyReplicaSet(old))
    assert (refusal.reason if refusal is not None else None) == reason


# A restart: the replacement is in its Services from the beginning.


@pytest.mark.parametrize(("fields", "leaves"), [(GATED, False), ({}, True)])
def test_an_old_pod_stays_until_the_gate_of_its_replacement_is_answered(fields: dict[str, Any], leaves: bool) -> None:
    old, new = make_retiring("old", ReplaceStep.REPLACING), make_pod("new", created=NOW, **fields)
    restart = RestartStatus(request="now", trace_id="t", started_at=NOW, born_before=LONG_AGO, total=1)
    status = Status(observed_generation=1, restart=restart)
    seen = make_seen(old, new, workload=make_workload(replicas=1))
    decision = decide(make_resource(status=status), seen, NOW)
    assert decision.status is not None
    assert any(isinstance(action, Advance) for action in decision.actions) is leaves
    assert leaves or GATE in decision.status.explanation


# Attention, Event and alert.


def attending(*pods: Pod, **fields: Any) -> list[Any]:
    seen: Observation = make_seen(*pods, **fields)
    assert seen.workload is not None
    return attention.pods(seen, seen.workload, make_spec(), [], now=NOW)


def test_a_gate_that_is_never_answered_needs_attention() -> None:
    (entry,) = attending(make_pod(**GATED))
    assert entry.reason == Reason.READINESS_GATE_UNANSWERED
    assert GATE in entry.message
    assert "kubectl -n shop describe pod a" in entry.advice


@pytest.mark.parametrize(
    "pod",
    [
        make_pod(**GATED | {"containers_ready_since": NOW - timedelta(seconds=60)}),
        make_pod(**GATED, labels={"app": "checkout-elsewhere"}),
        make_pod(**GATED, deleting=True),
    ],
    ids=["not long yet", "no Service selects it", "it is ending"],
)
def test_other_gates_need_none(pod: Pod) -> None:
    assert attending(pod) == []


def test_a_candidate_with_traffic_needs_attention_too() -> None:
    _, seen = look(Scenario(ReleaseStep.REVERTING, green=green_pods(1, **GATED)))
    assert seen.workload is not None
    (entry,) = attention.pods(seen, seen.workload, make_spec(), [], now=NOW)
    assert (entry.pod, entry.reason) == ("green-0", Reason.READINESS_GATE_UNANSWERED)


def test_one_event_tells_of_unanswered_gates() -> None:
    known = Status(attention=attending(make_pod("a", **GATED), make_pod("b", **GATED)))
    (event,) = condition_events(Status(), known)
    assert (event.reason, event.warning) == (Reason.READINESS_GATE_UNANSWERED, True)
    assert GATE in event.message
    assert condition_events(known, known) == ()


@pytest.mark.parametrize("in_flight", [True, False])
def test_unanswered_gates_are_alerted_on_in_a_release_too(in_flight: bool) -> None:
    entries = attending(make_pod(**GATED))
    crashed = entries[0].model_copy(update={"pod": "other", "reason": "CrashLoop"})
    status = (running() if in_flight else Status()).model_copy(update={"attention": [*entries, crashed]})
    named = [
        problem
        for problem in problems_of(make_resource(status=status), status, make_workload(), NOW)
        if problem.name is AlertName.PODS_NEED_ATTENTION
    ]
    assert len(named) == 1
    assert GATE in named[0].message
    # A rollout reports all other failures itself.
    assert ("CrashLoop" in named[0].message) is not in_flight


# Whole releases.


@settings(parent=THOROUGH, max_examples=THOROUGH.max_examples // 3)
@given(replicas=st.integers(1, 3), gate=st.integers(0, 4), dies=st.lists(st.integers(0, 3), max_size=12))
def test_a_gated_release_succeeds_and_never_serves_with_fewer(replicas: int, gate: int, dies: list[int]) -> None:
    model = ReleaseModel(blue_green(), replicas=replicas, kinds={"t0": Kind(gate=gate)})
    operator = adopted(model)
    model.change("t9", Kind(gate=gate))
    for after in dies:
        model.now += timedelta(seconds=1)
        model.tick()
        operator.reconcile(dies_after=after)
        hold(model)
    settle(operator, floor=True)
    rest(model)
    assert {pod.fingerprint for pod in model.pods.values()} == {"t9"}
    assert model.status.last_rollout is not None
    assert model.status.last_rollout.result is RolloutOutcome.SUCCEEDED
    assert model.resting


@pytest.mark.parametrize("replicas", [1, 3])
def test_a_gated_candidate_that_fails_under_traffic_is_rolled_back(replicas: int) -> None:
    model = ReleaseModel(blue_green(before=None), replicas=replicas, kinds={"t0": Kind(gate=2)})
    operator = adopted(model)
    model.change("t9", Kind(gate=2, bad=True))
    settle(operator, floor=True)
    rest(model)
    assert {pod.fingerprint for pod in model.pods.values()} == {"t0"}
    assert model.status.last_rollout is not None
    assert model.status.last_rollout.result is RolloutOutcome.ROLLED_BACK
    assert model.resting


def test_a_release_whose_gate_is_never_answered_is_rolled_back_and_the_old_version_serves_on() -> None:
    model = ReleaseModel(blue_green(), replicas=2)
    operator = adopted(model)
    model.change("t9", Kind(gate=10_000))
    settle(operator, floor=True)
    rest(model)
    last = model.status.last_rollout
    assert last is not None
    assert (last.result, last.reason) == (RolloutOutcome.ROLLED_BACK, "ReadinessGateUnanswered")
    assert model.serving() == 2
