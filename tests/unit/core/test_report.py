"""What people and machines are told: stalls, conditions as kstatus reads them, phases, and what is worth a write."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from resilience.api.parts import Problem
from resilience.api.reasons import ConditionType, HealthState, Phase, Reason
from resilience.api.status import Status
from resilience.api.status_restarts import RestartStatus
from resilience.core.model.decision import Decision
from resilience.core.model.observation import Observation
from resilience.core.reconcile import decide
from resilience.core.report import prerequisites
from resilience.core.report.diff import is_worth_writing
from resilience.core.report.events import condition_events
from resilience.core.report.status import uninstalled_status
from tests.support.factories import (
    LONG_AGO,
    NOW,
    READY_CHECK,
    make_check,
    make_container,
    make_pod,
    make_resource,
    make_seen,
    make_service,
    make_spec,
    make_workload,
)
from tests.support.model import stored

MISSING = (Problem("targetRef", "", "targetRef: missing"),)


@pytest.mark.parametrize(
    ("resource", "seen", "reason", "words"),
    [
        ({}, {}, Reason.NOT_STALLED, ""),
        ({}, {"namespace_refused": True}, Reason.NAMESPACE_REFUSED, "administrators"),
        ({}, {"too_many": 500}, Reason.TOO_MANY, "more than 500"),
        ({"spec": None, "problems": MISSING}, {}, Reason.INVALID_SPEC, "targetRef: missing"),
        ({}, {"workload": None}, Reason.TARGET_NOT_FOUND, "no Deployment checkout in namespace shop"),
        ({}, {"taken_by": "elder"}, Reason.TARGET_TAKEN, "older ResilientService elder"),
        ({"spec": make_spec(container="web")}, {}, Reason.CONTAINER_NOT_FOUND, "no container web; they have app"),
        ({}, {"services": ()}, Reason.SERVICE_NOT_FOUND, "no Service checkout"),
        ({}, {"services": (make_service(selector={"a": "b"}),)}, Reason.SERVICE_MISMATCH, "does not select"),
        (
            {"spec": make_spec(service={"name": "checkout", "port": 81})},
            {},
            Reason.PORT_NOT_FOUND,
            "no port 81; it has http",
        ),
        ({"spec": make_spec(service=None)}, {"services": ()}, Reason.NOT_STALLED, ""),
    ],
)
def test_what_a_person_has_to_mend(resource: Any, seen: Any, reason: Reason, words: str) -> None:
    made = replace(make_resource(), **resource)

    verdict = prerequisites.find(made, make_seen(make_pod(), **seen))

    assert (verdict.reason, verdict.status) == (reason, reason is not Reason.NOT_STALLED)
    assert words in verdict.message
    decision = decide(made, make_seen(make_pod(), **seen), NOW)
    assert decision.status is not None
    assert (decision.status.phase is Phase.FAILED) is (verdict.status is True)


def told(seen: Observation, *, status: Status | None = None, **spec: Any) -> Status:
    found: Decision = decide(make_resource(make_spec(**spec), status=status), seen, NOW)
    assert found.status is not None
    return found.status


def restarting() -> Status:
    begun = RestartStatus(request="r", trace_id="t", started_at=NOW, born_before=LONG_AGO, total=1)
    return Status(observed_generation=1, restart=begun)


@pytest.mark.parametrize(
    ("workload", "status", "ready", "reconciling", "phase"),
    [
        ({}, None, "True", "False", Phase.RUNNING),
        ({"replicas": 0}, None, "True", "False", Phase.RUNNING),
        ({"updated": 1}, None, "False", "True", Phase.DEPLOYING),
        ({"generation": 2}, None, "False", "True", Phase.DEPLOYING),
        ({"available": 2}, None, "False", "False", Phase.DEPLOYING),
        ({"available": 0}, None, "False", "False", Phase.INITIALIZING),
        ({"available": 0}, Status(observed_generation=1, phase=Phase.RUNNING), "False", "False", Phase.FAILED),
        ({}, restarting(), "False", "True", Phase.RUNNING),
    ],
)
def test_conditions_mean_what_kstatus_means(
    workload: Any, status: Status | None, ready: str, reconciling: str, phase: Phase
) -> None:
    found = told(make_seen(make_pod(), workload=make_workload(**workload)), status=status)

    conditions = {each.type: each.status for each in found.conditions}
    assert (conditions[ConditionType.READY], conditions[ConditionType.RECONCILING]) == (ready, reconciling)
    assert conditions[ConditionType.STALLED] == "False"
    assert found.phase is phase


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (HealthState.HEALTHY, "True"),
        (HealthState.WARNING, "True"),
        (HealthState.UNHEALTHY, "False"),
        (HealthState.UNKNOWN, "Unknown"),
    ],
)
def test_health_is_a_condition(state: HealthState, status: str) -> None:
    seen = make_seen(make_pod(), checks={"ready": make_check(state=state)})

    found = told(seen, health={"checks": [READY_CHECK]})

    assert next(each.status for each in found.conditions if each.type == ConditionType.HEALTHY) == status
    assert ("GET /readyz answered 200" in found.explanation) is (status in ("False", "Unknown"))


def test_a_suspended_service_is_only_observed() -> None:
    seen = make_seen(make_pod(), workload=make_workload(labels={}))

    decision = decide(make_resource(make_spec(suspend=True)), seen, NOW)

    assert decision.actions == ()
    assert decision.status is not None and decision.status.phase is Phase.SUSPENDED
    assert "Suspended" in decision.status.explanation


def test_only_what_a_person_would_act_on_is_worth_a_write() -> None:
    checks: dict[str, Any] = {"health": {"checks": [READY_CHECK]}}
    precise = make_check(since=NOW + timedelta(microseconds=123456))

    before = told(make_seen(make_pod(), checks={"ready": precise}), **checks)
    slower = told(make_seen(make_pod(), checks={"ready": make_check(since=precise.since, latency_seconds=2)}), **checks)
    worse = told(
        make_seen(make_pod(), checks={"ready": make_check(state=HealthState.UNHEALTHY, since=precise.since)}), **checks
    )

    assert not is_worth_writing(stored(before), before)
    assert not is_worth_writing(before, slower)
    assert is_worth_writing(before, worse)


def test_events_tell_transitions_only() -> None:
    checks: dict[str, Any] = {"health": {"checks": [READY_CHECK]}}
    well = told(make_seen(make_pod(), checks={"ready": make_check()}), **checks)
    ill = told(make_seen(make_pod(), checks={"ready": make_check(state=HealthState.UNHEALTHY)}), **checks)

    assert condition_events(Status(), well) == ()
    assert [(each.reason, each.warning) for each in condition_events(well, ill)] == [(Reason.HEALTH_CHANGED, True)]
    assert condition_events(ill, ill) == ()


def test_a_conflict_names_the_owner_and_what_to_do() -> None:
    theirs = make_container(
        fields={"readinessProbe": {"periodSeconds": 9}}, owners={"readinessProbe": frozenset({"helm"})}
    )

    found = told(
        make_seen(make_pod(), workload=make_workload(containers=[theirs])),
        probes={"readiness": {"check": "ready"}},
        health={"checks": [READY_CHECK]},
    )

    assert "readinessProbe of container app belongs to helm; take it out" in found.explanation


def test_an_uninstalled_operator_leaves_a_word() -> None:
    found = uninstalled_status(make_resource(status=restarting()), NOW)

    assert found.restart is None and "uninstalled" in found.explanation
