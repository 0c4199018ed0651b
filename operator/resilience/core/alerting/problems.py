"""The problems of a service, derived from its status.

What is suppressed, and since when a problem lasts, is for `rules`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from resilience.api.checks import Check, Scope
from resilience.api.reasons import (
    AlertName,
    BlockReason,
    ConditionType,
    HealthState,
    Phase,
    Reason,
    RestartOutcome,
    Severity,
)
from resilience.api.scalars import format_duration
from resilience.api.slo import Slo
from resilience.api.status import CheckStatus, Condition, Status
from resilience.api.status_restarts import Attention
from resilience.api.status_slo import SloStatus
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.alerting import shared_causes
from resilience.core.failures import attention
from resilience.core.health.thresholds import NOT_RUN_YET
from resilience.core.model import conditions
from resilience.core.model.observation import Resource
from resilience.core.model.workload import Workload
from resilience.core.report import phase, slo
from resilience.core.report.prerequisites import BLIND

# A failed restart is worth an alert for this long.
_FAILED_RESTART: Final = timedelta(hours=1)
# Reasons of a redisStream check that are about the stream itself; all others are about its Redis.
_QUEUE: Final = ("StreamTooLong", "GroupLags", "TooManyPending", "DeadLetters")
# A stream that nobody has written to yet is not there either: no reason to wake anybody.
_NO_QUEUE: Final = ("NoSuchStream", "NoSuchGroup", "NotAStream")
# The reason of a figure that is out of bounds: the dependency works, and is not lost.
_OUT_OF_BOUNDS: Final = "OutOfBounds"
# Reasons for which a policy waits as planned.
_PLANNED_WAITS: Final = (
    BlockReason.OUTSIDE_WINDOW,
    BlockReason.QUEUED,
    BlockReason.SUSPENDED,
    BlockReason.DEPENDENCY_DOWN,
)


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem, without its history."""

    name: AlertName
    message: str
    subject: str = ""
    severity: Severity | None = None
    cause: str = ""
    # The start, if it is known better than from the first observation.
    since: datetime | None = None


def problems_of(resource: Resource, status: Status, workload: Workload | None, now: datetime) -> list[Problem]:
    """Everything that is wrong now."""
    spec = resource.spec
    problems = [*_of_service(resource, status, workload), *_of_operations(status, workload, now)]
    if spec is not None and not _is_unobservable(resource, status):
        problems.extend(_of_checks(spec, status, resource.key.namespace))
    if spec is not None and spec.slo is not None and status.slo is not None:
        problems.extend(_of_slo(spec.slo, status.slo, now))
    return problems


def failed_restart_expiry(status: Status) -> datetime:
    """Time until which the last restart's failure is worth an alert."""
    last = status.last_restart
    assert last is not None
    return last.started_at + last.duration + _FAILED_RESTART


def _of_service(resource: Resource, status: Status, workload: Workload | None) -> Iterator[Problem]:
    stalled, healthy = _stalled_condition(status), conditions.find(status.conditions, ConditionType.HEALTHY)
    if stalled is not None:
        yield Problem(AlertName.STALLED, stalled.message, since=stalled.last_transition_time)
    if _is_unobservable(resource, status):
        return
    if workload is not None and _is_down(status, workload):
        words = "; ".join(f"{pod.pod}: {pod.reason}" for pod in status.attention[:3])
        yield Problem(AlertName.SERVICE_DOWN, f"0 of {workload.replicas} pods serve" + (f"; {words}" if words else ""))
    elif known := _needing_attention(status):
        words = "; ".join(f"{pod.pod}: {pod.reason}, {pod.message}" for pod in known[:3])
        more = f" and {len(known) - 3} more" if len(known) > 3 else ""
        yield Problem(AlertName.PODS_NEED_ATTENTION, words + more)
    has_run = any(check.state is HealthState.UNKNOWN and check.reason != NOT_RUN_YET for check in status.health.checks)
    if healthy is not None and healthy.status == "Unknown" and has_run:
        yield Problem(AlertName.HEALTH_UNKNOWN, healthy.message, since=healthy.last_transition_time)


def _needing_attention(status: Status) -> list[Attention]:
    """Pods to alert about. A rollout reports its own failures, but not every wait for a gate has a deadline."""
    if status.rollout.candidate is None:
        return status.attention
    return attention.waits_for_gates(status.attention)


def _is_unobservable(resource: Resource, status: Status) -> bool:
    """Nothing is known of the service, or it is incomplete and so has never served."""
    stalled = _stalled_condition(status)
    if stalled is not None and stalled.reason == Reason.INVALID_SPEC and resource.spec is not None:
        # Only a part of the specification cannot be read.
        return False
    return stalled is not None and (stalled.reason in BLIND or status.first_healthy_at is None)


def _stalled_condition(status: Status) -> Condition | None:
    """The condition Stalled while it is True; a failed rollout has an alert of its own."""
    stalled = conditions.find(status.conditions, ConditionType.STALLED)
    if stalled is None or stalled.status != "True" or stalled.reason == Reason.ROLLOUT_FAILED:
        return None
    return stalled


def _is_down(status: Status, workload: Workload) -> bool:
    """No pod serves, though the service has served or its pods end by themselves: one that only starts is not down."""
    return phase.is_down(workload) and status.phase in (Phase.FAILED, Phase.CRASHED)


def _of_operations(status: Status, workload: Workload | None, now: datetime) -> Iterator[Problem]:
    failure, last, restarts = status.rollout.failure, status.last_restart, status.restarts
    if failure is not None:
        is_complete = workload is not None and workload.available >= workload.replicas
        words = f"{failure.version.image} failed ({failure.class_}): {failure.message}. {failure.advice}"
        severity = Severity.WARNING if is_complete else Severity.CRITICAL
        yield Problem(AlertName.RELEASE_FAILED, words, severity=severity, since=failure.at)
    ready = conditions.find(status.conditions, ConditionType.READY)
    if ready is not None and ready.reason == Reason.AWAITING_PROMOTION:
        yield Problem(AlertName.PROMOTION_AWAITED, ready.message)
    if last is not None and last.result is RestartOutcome.FAILED and now < failed_restart_expiry(status):
        yield Problem(AlertName.RESTART_FAILED, last.message, since=last.started_at + last.duration)
    progressing = conditions.find(status.conditions, ConditionType.PROGRESSING)
    if progressing is not None and progressing.reason == Reason.OVERDUE:
        yield Problem(AlertName.NOT_PROGRESSING, progressing.message)
    # Without a policy that fires, the content of restart.onChange has changed and waits.
    fires = any(not policy.dry_run for policy in restarts.firing)
    match restarts.blocked_by:
        case BlockReason.RESTART_LOOP | BlockReason.BUDGET_SPENT if not fires:
            pass
        case BlockReason.RESTART_LOOP:
            yield Problem(AlertName.RESTART_LOOP, restarts.message)
        case BlockReason.BUDGET_SPENT:
            yield Problem(AlertName.RESTART_BUDGET_SPENT, restarts.message)
        case reason if reason and reason not in _PLANNED_WAITS:
            yield Problem(AlertName.POLICY_BLOCKED, f"{reason}: {restarts.message}")
    for flag in status.degradation:
        if flag.override is not None:
            value = "on" if flag.override.on else "off"
            yield Problem(AlertName.FLAG_OVERRIDDEN, f"{flag.name} is {value} by hand", subject=flag.name)


def _of_checks(spec: ResilientServiceSpec, status: Status, namespace: str) -> Iterator[Problem]:
    results = {result.name: result for result in status.health.checks}
    flags = {flag.check: flag.name for flag in spec.degradation.flags}
    on = {flag.name for flag in status.degradation if flag.on}
    is_unhealthy = _has_status(status, ConditionType.HEALTHY, is_="False")
    for check in spec.health.checks:
        result, flag = results.get(check.name), flags.get(check.name, "")
        if result is None:
            continue
        if check.usage is not None:
            yield from _graded(AlertName.USAGE_HIGH, result)
        elif check.redis_stream is not None and result.reason in (*_QUEUE, *_NO_QUEUE):
            name = AlertName.DEAD_LETTERS if result.reason == "DeadLetters" else AlertName.QUEUE_BEHIND
            yield from _graded(name, result, Severity.WARNING if result.reason in _NO_QUEUE else Severity.CRITICAL)
        elif check.scope is Scope.DEPENDENCY and (result.reason != _OUT_OF_BOUNDS or flag in on):
            yield from _dependency(check, result, spec, namespace, flag_on=flag in on, is_unhealthy=is_unhealthy)
        elif result.state is HealthState.UNHEALTHY:
            yield Problem(AlertName.SERVICE_UNHEALTHY, result.message, result.name)
        elif result.state is HealthState.WARNING:
            yield Problem(AlertName.CHECK_WARNING, result.message, result.name)


def _of_slo(wanted: Slo, known: SloStatus, now: datetime) -> Iterator[Problem]:
    burns = slo.burning(wanted, known, now)
    if burns is not None:
        yield Problem(AlertName.BUDGET_BURNS, burns.message, severity=burns.severity)
    last = known.outages[-1] if known.outages else None
    late = last.began + wanted.recovery_time if last is not None and wanted.recovery_time is not None else None
    if last is not None and last.ended is None and late is not None and late <= now:
        assert wanted.recovery_time is not None
        words = f"out for longer than {format_duration(wanted.recovery_time)}: {last.reason}"
        yield Problem(AlertName.RECOVERY_SLOW, words, since=late)


def _dependency(
    check: Check, result: CheckStatus, spec: ResilientServiceSpec, namespace: str, *, flag_on: bool, is_unhealthy: bool
) -> Iterator[Problem]:
    """The loss of a dependency, from the first failure that counts until its flag is off again.

    A dependency that comes and goes meanwhile is lost once.
    """
    if result.state is HealthState.WARNING:
        yield Problem(AlertName.CHECK_WARNING, result.message, result.name)
    if result.state is not HealthState.UNHEALTHY and not flag_on:
        return
    cause = shared_causes.of_check(check, spec, namespace=namespace)
    # Applications that know of the loss work without it: nobody has to be woken, unless they are unhealthy.
    severity = Severity.WARNING if flag_on and not is_unhealthy else Severity.CRITICAL
    words = (
        result.message
        if result.state is HealthState.UNHEALTHY
        else f"it answers again and has to stay healthy; {check.name}"
    )
    yield Problem(AlertName.DEPENDENCY_LOST, words, check.name, severity, cause)


def _graded(name: AlertName, result: CheckStatus, at_most: Severity = Severity.CRITICAL) -> Iterator[Problem]:
    if result.state is HealthState.UNHEALTHY:
        yield Problem(name, result.message, result.name, at_most)
    elif result.state is HealthState.WARNING:
        yield Problem(name, result.message, result.name, Severity.WARNING)


def _has_status(status: Status, kind: ConditionType, *, is_: str = "True") -> bool:
    condition = conditions.find(status.conditions, kind)
    return condition is not None and condition.status == is_
