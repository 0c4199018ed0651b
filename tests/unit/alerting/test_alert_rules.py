"""What fires, read off a status: each alert by its own fact, what is held back, and since when."""

from datetime import timedelta
from typing import Any

import pytest

from resilience.api.reasons import (
    AlertName,
    ConditionType,
    FailureClass,
    FlagState,
    HealthState,
    Phase,
    Reason,
    RestartOutcome,
    Severity,
)
from resilience.api.status import CheckStatus, Condition, HealthStatus, Status
from resilience.api.status_alerts import AlertsStatus, FiringAlert
from resilience.api.status_flags import FlagStatus, OverrideStatus
from resilience.api.status_restarts import Attention, FiringPolicy, RestartResult, RestartsStatus, RestartStatus
from resilience.api.status_rollout import FailureStatus, RolloutStatus, Version
from resilience.core.alerting import catalogue, rules
from resilience.core.report import slo
from tests.support.factories import NOW, make_resource, make_spec, make_workload

MINUTE = timedelta(minutes=1)
CHECKS: list[dict[str, Any]] = [
    {"name": "ready", "http": {"path": "/readyz"}},
    {"name": "cache", "scope": "Dependency", "redis": {"address": "redis:6379"}},
    {"name": "jobs", "scope": "Dependency", "redisStream": {"redis": "cache", "stream": "jobs"}},
    {"name": "memory", "scope": "Pod", "usage": {"memory": {}}},
]
FLAGS = {"flags": [{"name": "degraded", "check": "cache", "mode": "memory"}]}
SPEC = make_spec(health={"checks": CHECKS}, degradation=FLAGS)


def condition(kind: ConditionType, status: str, reason: Reason, at: timedelta = timedelta()) -> Condition:
    return Condition(type=kind, status=status, reason=reason, message="why", last_transition_time=NOW - at)


def check(name: str, state: HealthState, reason: str = "Seen") -> CheckStatus:
    return CheckStatus(name=name, state=state, reason=reason, message=f"{name} was seen")


def health(*checks: CheckStatus, unhealthy: bool = False) -> dict[str, Any]:
    said = condition(ConditionType.HEALTHY, "False" if unhealthy else "True", Reason.CHECKS_FAIL)
    return {"health": HealthStatus(state=HealthState.WARNING, checks=list(checks)), "conditions": [said]}


def fires(workload: Any = None, **status: Any) -> list[FiringAlert]:
    found = rules.evaluate(
        make_resource(SPEC), Status(**{"phase": Phase.RUNNING, **status}), workload or make_workload(), NOW
    )
    return list(found.firing)


def names(found: list[FiringAlert]) -> list[str]:
    return [f"{each.name} {each.subject} {each.severity}".replace("  ", " ") for each in found]


VERSION = Version(hash="x", image="shop:2")
FAILED_RELEASE = RolloutStatus(
    failure=FailureStatus(class_=FailureClass.TIMEOUT, reason="Deadline", version=VERSION, at=NOW - MINUTE)
)
FAILED_RESTART = RestartResult(
    trace_id="t", result=RestartOutcome.FAILED, message="no room", started_at=NOW - 10 * MINUTE, duration=MINUTE
)
IN_FLIGHT = RestartStatus(trace_id="t", started_at=NOW - MINUTE, born_before=NOW, total=3)
CRASHING = Attention(pod="a", class_=FailureClass.UNKNOWN, reason="CrashLoop", message="it ends")


def blocked(reason: str, *, dry_run: bool = False) -> RestartsStatus:
    policy = FiringPolicy(name="leak", pods=1, dry_run=dry_run)
    return RestartsStatus(firing=[policy], blocked_by=reason, message="held back")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, []),
        (health(check("ready", HealthState.HEALTHY)), []),
        (health(check("ready", HealthState.UNHEALTHY), unhealthy=True), ["ServiceUnhealthy ready critical"]),
        (health(check("ready", HealthState.WARNING)), ["CheckWarning ready warning"]),
        (health(check("ready", HealthState.UNKNOWN)), []),
        (health(check("cache", HealthState.UNHEALTHY)), ["DependencyLost cache critical"]),
        (health(check("memory", HealthState.WARNING)), ["UsageHigh memory warning"]),
        (health(check("memory", HealthState.UNHEALTHY), unhealthy=True), ["UsageHigh memory critical"]),
        (health(check("jobs", HealthState.UNHEALTHY, "GroupLags")), ["QueueBehind jobs critical"]),
        (health(check("jobs", HealthState.WARNING, "GroupLags")), ["QueueBehind jobs warning"]),
        (health(check("jobs", HealthState.WARNING, "StreamTooLong")), ["QueueBehind jobs warning"]),
        (health(check("jobs", HealthState.UNHEALTHY, "TooManyPending")), ["QueueBehind jobs critical"]),
        (health(check("jobs", HealthState.UNHEALTHY, "NoSuchStream")), ["QueueBehind jobs warning"]),
        # Its Redis is slow, which says nothing about the queue.
        (health(check("jobs", HealthState.WARNING, "Slow")), ["CheckWarning jobs warning"]),
        (health(check("cache", HealthState.UNHEALTHY, "OutOfBounds")), ["ServiceUnhealthy cache critical"]),
        (health(check("cache", HealthState.WARNING, "OutOfBounds")), ["CheckWarning cache warning"]),
        (health(check("jobs", HealthState.WARNING, "DeadLetters")), ["DeadLetters jobs warning"]),
        (health(check("jobs", HealthState.UNHEALTHY, "ConnectionRefused")), ["DependencyLost jobs critical"]),
        ({"rollout": FAILED_RELEASE}, ["ReleaseFailed warning"]),
        ({"last_restart": FAILED_RESTART}, ["RestartFailed warning"]),
        ({"restarts": blocked("RestartLoop")}, ["RestartLoop critical"]),
        ({"restarts": blocked("RestartLoop", dry_run=True)}, []),
        ({"restarts": blocked("BudgetSpent")}, ["RestartBudgetSpent warning"]),
        ({"restarts": blocked("OutsideWindow")}, []),
        ({"restarts": blocked("LastReplica")}, ["PolicyBlocked warning"]),
        ({"attention": [CRASHING]}, ["PodsNeedAttention warning"]),
        (
            {"conditions": [condition(ConditionType.STALLED, "True", Reason.TARGET_NOT_FOUND)]},
            ["ServiceStalled warning"],
        ),
        ({"conditions": [condition(ConditionType.STALLED, "True", Reason.ROLLOUT_FAILED)]}, []),
        (
            {"conditions": [condition(ConditionType.READY, "False", Reason.AWAITING_PROMOTION)]},
            ["PromotionAwaited info"],
        ),
    ],
)
def test_each_by_its_own_fact(status: dict[str, Any], expected: list[str]) -> None:
    assert names(fires(**status)) == expected


@pytest.mark.parametrize("subject", [each["name"] for each in CHECKS])
@pytest.mark.parametrize("reason", ["OutOfBounds", "Slow", "GroupLags", "StreamTooLong", "UsageHigh", "DeadLetters"])
def test_a_warning_pages_nobody_and_is_no_outage(subject: str, reason: str) -> None:
    said = Status(phase=Phase.RUNNING, **health(check(subject, HealthState.WARNING, reason)))

    assert {each.severity for each in fires(**health(check(subject, HealthState.WARNING, reason)))} == {
        Severity.WARNING
    }
    assert slo.outage(said, make_workload()) is False


def test_a_figure_out_of_bounds_is_as_mild_as_its_flag() -> None:
    on = FlagStatus(name="degraded", on=True, since=NOW)

    found = fires(**health(check("cache", HealthState.UNHEALTHY, "OutOfBounds")), degradation=[on])

    assert names(found) == ["DependencyLost cache warning"]


def test_a_service_that_served_and_has_no_pod_is_down() -> None:
    none = make_workload(available=0)
    assert names(fires(none, phase=Phase.FAILED)) == ["ServiceDown critical"]
    assert fires(none, phase=Phase.INITIALIZING) == [], "it is only starting"
    assert fires(make_workload(available=0, replicas=0), phase=Phase.FAILED) == []


def test_a_failed_release_is_worse_when_pods_are_missing() -> None:
    assert names(fires(make_workload(available=1), rollout=FAILED_RELEASE))[0] == "ReleaseFailed critical"


def test_a_dependency_is_lost_until_its_flag_is_off_and_nobody_has_to_get_up_for_it() -> None:
    on = FlagStatus(name="degraded", state=FlagState.RECOVERING, on=True, since=NOW)
    well = health(check("cache", HealthState.HEALTHY))
    assert names(fires(**well, degradation=[on])) == ["DependencyLost cache warning"]
    lost = health(check("cache", HealthState.UNHEALTHY), check("ready", HealthState.UNHEALTHY), unhealthy=True)
    found = fires(**lost, degradation=[on])
    assert names(found) == ["ServiceUnhealthy ready critical", "DependencyLost cache critical"]
    assert [each.held for each in found] == ["follows from DependencyLost", ""]
    assert found[1].cause == "redis redis.shop:6379"


def test_an_override_is_worth_knowing() -> None:
    override = OverrideStatus(on=False, until=NOW + MINUTE)
    flag = FlagStatus(name="degraded", since=NOW, override=override)
    assert names(fires(degradation=[flag])) == ["FlagOverridden degraded info"]


def test_what_follows_from_an_outage_is_held_back() -> None:
    down = make_workload(available=0)
    said = health(check("ready", HealthState.UNHEALTHY), unhealthy=True)
    found = {each.name: each.held for each in fires(down, phase=Phase.FAILED, **said)}
    assert found == {AlertName.SERVICE_DOWN: "", AlertName.SERVICE_UNHEALTHY: "follows from ServiceDown"}


def test_a_service_that_is_only_starting_pages_nobody_yet() -> None:
    failing = health(check("ready", HealthState.UNHEALTHY), unhealthy=True)
    (young,) = fires(phase=Phase.INITIALIZING, **failing)
    assert young.held == "the service is only starting"
    long_ago = AlertsStatus(firing=[young.model_copy(update={"since": NOW - 11 * MINUTE})])
    assert [each.held for each in fires(phase=Phase.INITIALIZING, alerts=long_ago, **failing)] == [""]


def test_planned_work_silences_warnings_that_it_brings_about_and_nothing_else() -> None:
    said = health(check("ready", HealthState.WARNING), check("memory", HealthState.UNHEALTHY), unhealthy=True)
    found = {each.name: each.held for each in fires(restart=IN_FLIGHT, **said)}
    assert found[AlertName.CHECK_WARNING] == "pods are being replaced"
    assert found[AlertName.USAGE_HIGH] == "", "critical"
    failing = health(check("ready", HealthState.UNHEALTHY), unhealthy=True)
    assert [each.held for each in fires(restart=IN_FLIGHT, **failing)] == [""]
    before = FiringAlert(
        name=AlertName.CHECK_WARNING, subject="ready", severity=Severity.WARNING, since=NOW - 2 * MINUTE
    )
    known = AlertsStatus(firing=[before])
    warned = health(check("ready", HealthState.WARNING))
    assert [each.held for each in fires(restart=IN_FLIGHT, alerts=known, **warned)] == [""], "it was there before"


def test_what_a_service_that_starts_cannot_help_has_an_appointment() -> None:
    said = Status(phase=Phase.INITIALIZING, **health(check("ready", HealthState.UNHEALTHY)))
    look = rules.evaluate(make_resource(SPEC), said, make_workload(), NOW)
    assert [each.held for each in look.firing] == ["the service is only starting"]
    assert look.wait == SPEC.rollout.progress_deadline


@pytest.mark.parametrize(
    ("reason", "served", "expected"),
    [
        # All of it goes on but releases; without the Service pods are looked after still.
        (Reason.BLUE_GREEN_IMPOSSIBLE, True, ["ServiceDown critical", "ServiceStalled warning"]),
        (Reason.SERVICE_NOT_FOUND, True, ["ServiceDown critical", "ServiceStalled warning"]),
        # Its manifests have yet to come.
        (Reason.SERVICE_NOT_FOUND, False, ["ServiceStalled warning"]),
        # Nothing is known of it.
        (Reason.TARGET_TAKEN, True, ["ServiceStalled warning"]),
    ],
)
def test_what_is_looked_after_is_told_though_something_is_to_be_mended(
    reason: Reason, served: bool, expected: list[str]
) -> None:
    stalled = [condition(ConditionType.STALLED, "True", reason)]
    first = NOW - MINUTE if served else None

    found = fires(make_workload(available=0), phase=Phase.FAILED, conditions=stalled, first_healthy_at=first)

    assert sorted(names(found)) == expected


def test_since_when_is_remembered_and_what_is_young_waits() -> None:
    stalled = {"conditions": [condition(ConditionType.STALLED, "True", Reason.TARGET_NOT_FOUND, 2 * MINUTE)]}
    look = rules.evaluate(make_resource(SPEC), Status(**stalled), None, NOW)
    (young,) = look.firing
    assert young.held == "notified when it has lasted 5m"
    assert look.wait == 3 * MINUTE
    known = AlertsStatus(firing=[young.model_copy(update={"since": NOW - 6 * MINUTE})])
    look = rules.evaluate(make_resource(SPEC), Status(**stalled, alerts=known), None, NOW)
    assert [(each.held, each.since) for each in look.firing] == [("", NOW - 6 * MINUTE)]
    assert look.wait is None


def test_a_failed_restart_is_history_after_an_hour() -> None:
    assert rules.evaluate(make_resource(SPEC), Status(last_restart=FAILED_RESTART), None, NOW).wait == 51 * MINUTE
    old = FAILED_RESTART.model_copy(update={"started_at": NOW - 62 * MINUTE})
    assert fires(last_restart=old) == []


def test_every_alert_is_in_the_catalogue_with_what_to_do() -> None:
    assert set(catalogue.CATALOGUE) == set(AlertName)
    for name in AlertName:
        words = catalogue.action(name, namespace="shop", service="checkout")
        assert len(words) > 20
        assert "{" not in words
