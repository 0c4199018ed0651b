"""Rules by which the alerts of a service fire, are withheld, and end, derived from its status.

Every pass derives everything afresh; only the start of an alert is taken from the previous status.
"""

from collections.abc import Iterable, Iterator, Sequence
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
from resilience.api.status_alerts import FiringAlert
from resilience.api.status_slo import SloStatus
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.alerting import shared_causes
from resilience.core.alerting.alert import worse
from resilience.core.alerting.catalogue import CATALOGUE
from resilience.core.health.thresholds import NOT_RUN_YET
from resilience.core.model import conditions, trace_ids
from resilience.core.model.observation import Resource
from resilience.core.model.workload import Workload
from resilience.core.report import phase, slo
from resilience.core.report.prerequisites import BLIND

MOST: Final = 64
# A failed restart is worth an alert for this long.
_FAILED_RESTART: Final = timedelta(hours=1)
# Reasons of a redisStream check that are about the stream itself; all others are about its Redis.
_QUEUE: Final = ("StreamTooLong", "GroupLags", "TooManyPending", "NoSuchStream", "NoSuchGroup", "NotAStream")
# Reasons for which a policy waits as planned.
_PLANNED_WAITS: Final = (
    BlockReason.OUTSIDE_WINDOW,
    BlockReason.QUEUED,
    BlockReason.SUSPENDED,
    BlockReason.DEPENDENCY_DOWN,
)
# Alerts that are no news while a service is only starting.
_FROM_START: Final = frozenset({AlertName.SERVICE_UNHEALTHY, AlertName.CHECK_WARNING, AlertName.HEALTH_UNKNOWN})
# Alerts that may follow from replacing pods (for a while), from a lost dependency, and from a service that is down.
_FROM_REPLACEMENT: Final = frozenset(
    {AlertName.CHECK_WARNING, AlertName.USAGE_HIGH, AlertName.PODS_NEED_ATTENTION, AlertName.HEALTH_UNKNOWN}
)
_FROM_DEPENDENCY: Final = _FROM_START | frozenset(
    {AlertName.QUEUE_BEHIND, AlertName.DEAD_LETTERS, AlertName.POLICY_BLOCKED, AlertName.RESTART_LOOP}
)
_FROM_DOWN: Final = _FROM_START | frozenset({AlertName.PODS_NEED_ATTENTION, AlertName.POLICY_BLOCKED})


@dataclass(frozen=True, slots=True)
class _Problem:
    """A problem, without its history."""

    name: AlertName
    message: str
    subject: str = ""
    severity: Severity | None = None
    cause: str = ""
    # The start, if it is known better than from the first observation.
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class FiringAlerts:
    """The alerts that fire, and the wait after which time alone changes them."""

    firing: tuple[FiringAlert, ...]
    wait: timedelta | None = None


def evaluate(resource: Resource, status: Status, workload: Workload | None, now: datetime) -> FiringAlerts:
    """The alerts that fire now. `status` has what this pass is about to report of everything else."""
    spec = resource.spec
    problems = [*_of_service(status, workload), *_of_operations(status, workload, now)]
    if spec is not None and not _is_unobservable(status):
        problems.extend(_of_checks(spec, status, resource.key.namespace))
    if spec is not None and spec.slo is not None and status.slo is not None:
        problems.extend(_of_slo(spec.slo, status.slo, now))
    before = {(alert.name, alert.subject): alert for alert in status.alerts.firing}
    dated = [(problem, _since(problem, before.get((problem.name, problem.subject)), now)) for problem in problems]
    lasting = {problem.name for problem, since in dated if since + CATALOGUE[problem.name].lasts <= now}
    patience = _start_patience(spec, status)
    firing = []
    for problem, since in dated:
        withheld = _withheld_reason(problem, since, lasting, status, patience, now)
        firing.append(_firing(problem, since, withheld, trace=trace_ids.new(resource.uid, since)))
    waits = [at - now for problem, since in dated for at in _notify_times(problem.name, since, patience) if at > now]
    return FiringAlerts(tuple(firing[:MOST]), min([*waits, *_failed_restart_waits(status, now)], default=None))


def _of_service(status: Status, workload: Workload | None) -> Iterator[_Problem]:
    stalled, healthy = _stalled_condition(status), conditions.find(status.conditions, ConditionType.HEALTHY)
    if stalled is not None:
        yield _Problem(AlertName.STALLED, stalled.message, since=stalled.last_transition_time)
    if _is_unobservable(status):
        return
    if workload is not None and _is_down(status, workload):
        words = "; ".join(f"{pod.pod}: {pod.reason}" for pod in status.attention[:3])
        yield _Problem(AlertName.SERVICE_DOWN, f"0 of {workload.replicas} pods serve" + (f"; {words}" if words else ""))
    elif status.attention and status.rollout.candidate is None:
        words = "; ".join(f"{pod.pod}: {pod.reason}, {pod.message}" for pod in status.attention[:3])
        more = f" and {len(status.attention) - 3} more" if len(status.attention) > 3 else ""
        yield _Problem(AlertName.PODS_NEED_ATTENTION, words + more)
    has_run = any(check.state is HealthState.UNKNOWN and check.reason != NOT_RUN_YET for check in status.health.checks)
    if healthy is not None and healthy.status == "Unknown" and has_run:
        yield _Problem(AlertName.HEALTH_UNKNOWN, healthy.message, since=healthy.last_transition_time)


def _is_unobservable(status: Status) -> bool:
    """Nothing is known of the service, or it is incomplete and so has never served."""
    stalled = _stalled_condition(status)
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


def _of_operations(status: Status, workload: Workload | None, now: datetime) -> Iterator[_Problem]:
    failure, last, restarts = status.rollout.failure, status.last_restart, status.restarts
    if failure is not None:
        is_complete = workload is not None and workload.available >= workload.replicas
        words = f"{failure.version.image} failed ({failure.class_}): {failure.message}. {failure.advice}"
        severity = Severity.WARNING if is_complete else Severity.CRITICAL
        yield _Problem(AlertName.RELEASE_FAILED, words, severity=severity, since=failure.at)
    ready = conditions.find(status.conditions, ConditionType.READY)
    if ready is not None and ready.reason == Reason.AWAITING_PROMOTION:
        yield _Problem(AlertName.PROMOTION_AWAITED, ready.message)
    if last is not None and last.result is RestartOutcome.FAILED and now < _failed_restart_expiry(status):
        yield _Problem(AlertName.RESTART_FAILED, last.message, since=last.started_at + last.duration)
    fires = any(not policy.dry_run for policy in restarts.firing)
    match restarts.blocked_by if fires else "":
        case BlockReason.RESTART_LOOP:
            yield _Problem(AlertName.RESTART_LOOP, restarts.message)
        case BlockReason.BUDGET_SPENT:
            yield _Problem(AlertName.RESTART_BUDGET_SPENT, restarts.message)
        case reason if reason and reason not in _PLANNED_WAITS:
            yield _Problem(AlertName.POLICY_BLOCKED, f"{reason}: {restarts.message}")
    for flag in status.degradation:
        if flag.override is not None:
            value = "on" if flag.override.on else "off"
            yield _Problem(AlertName.FLAG_OVERRIDDEN, f"{flag.name} is {value} by hand", subject=flag.name)


def _of_checks(spec: ResilientServiceSpec, status: Status, namespace: str) -> Iterator[_Problem]:
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
        elif check.redis_stream is not None and _is_about_queue(result):
            name = AlertName.DEAD_LETTERS if result.reason == "DeadLetters" else AlertName.QUEUE_BEHIND
            yield from _graded(name, result, at_most=Severity.WARNING)
        elif check.scope is Scope.DEPENDENCY:
            yield from _dependency(check, result, spec, namespace, flag_on=flag in on, is_unhealthy=is_unhealthy)
        elif result.state is HealthState.UNHEALTHY:
            yield _Problem(AlertName.SERVICE_UNHEALTHY, result.message, result.name)
        elif result.state is HealthState.WARNING:
            yield _Problem(AlertName.CHECK_WARNING, result.message, result.name)


def _of_slo(wanted: Slo, known: SloStatus, now: datetime) -> Iterator[_Problem]:
    burns = slo.burning(wanted, known, now)
    if burns is not None:
        yield _Problem(AlertName.BUDGET_BURNS, burns.message, severity=burns.severity)
    last = known.outages[-1] if known.outages else None
    late = last.began + wanted.recovery_time if last is not None and wanted.recovery_time is not None else None
    if last is not None and last.ended is None and late is not None and late <= now:
        assert wanted.recovery_time is not None
        words = f"out for longer than {format_duration(wanted.recovery_time)}: {last.reason}"
        yield _Problem(AlertName.RECOVERY_SLOW, words, since=late)


def _dependency(
    check: Check, result: CheckStatus, spec: ResilientServiceSpec, namespace: str, *, flag_on: bool, is_unhealthy: bool
) -> Iterator[_Problem]:
    """The loss of a dependency, from the first failure that counts until its flag is off again.

    A dependency that comes and goes meanwhile is lost once.
    """
    if result.state is HealthState.WARNING:
        yield _Problem(AlertName.CHECK_WARNING, result.message, result.name)
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
    yield _Problem(AlertName.DEPENDENCY_LOST, words, check.name, severity, cause)


def _graded(name: AlertName, result: CheckStatus, at_most: Severity = Severity.CRITICAL) -> Iterator[_Problem]:
    if result.state is HealthState.UNHEALTHY:
        yield _Problem(name, result.message, result.name, at_most)
    elif result.state is HealthState.WARNING:
        yield _Problem(name, result.message, result.name, Severity.WARNING)


def _is_about_queue(result: CheckStatus) -> bool:
    return result.state is HealthState.WARNING or result.reason in _QUEUE


def _since(problem: _Problem, before: FiringAlert | None, now: datetime) -> datetime:
    if before is not None:
        return before.since
    # After a clock was set back, no alert may start in the future.
    return min(problem.since or now, now)


def _firing(problem: _Problem, since: datetime, withheld: str, *, trace: str) -> FiringAlert:
    return FiringAlert(
        name=problem.name,
        subject=problem.subject,
        severity=problem.severity or CATALOGUE[problem.name].severity,
        since=since,
        message=problem.message[:1024],
        cause=problem.cause[:253],
        held=withheld,
        trace_id=trace,
    )


def _start_patience(spec: ResilientServiceSpec | None, status: Status) -> timedelta:
    """Time that a service that has never served may take to start."""
    if spec is None or status.phase is not Phase.INITIALIZING:
        return timedelta()
    return spec.rollout.progress_deadline


def _notify_times(name: AlertName, since: datetime, patience: timedelta) -> list[datetime]:
    """Times at which time alone lets an alert be notified."""
    lasts = since + CATALOGUE[name].lasts
    return [lasts, since + patience] if name in _FROM_START else [lasts]


def _withheld_reason(
    problem: _Problem, since: datetime, lasting: Iterable[AlertName], status: Status, patience: timedelta, now: datetime
) -> str:
    """Reason for which nobody is notified: the alert is young, or follows from something that is notified."""
    lasts, named = CATALOGUE[problem.name].lasts, frozenset(lasting)
    if since + lasts > now:
        return f"notified when it has lasted {format_duration(lasts)}"
    if problem.name in _FROM_START and since + patience > now:
        return "the service is only starting"
    if problem.name in _FROM_DOWN and AlertName.SERVICE_DOWN in named:
        return "follows from ServiceDown"
    if problem.name in _FROM_DEPENDENCY and AlertName.DEPENDENCY_LOST in named:
        return "follows from DependencyLost"
    if problem.name is AlertName.PODS_NEED_ATTENTION and AlertName.RELEASE_FAILED in named:
        return "follows from ReleaseFailed"
    began = _replacement_began(status)
    is_mild = problem.severity is None or not worse(problem.severity, Severity.WARNING)
    if problem.name in _FROM_REPLACEMENT and is_mild and began is not None and since >= began:
        return "pods are being replaced"
    return ""


def _replacement_began(status: Status) -> datetime | None:
    """Start of the operator's replacement of pods; None when it replaces none."""
    starts = [status.restart.started_at] if status.restart is not None else []
    if status.rollout.candidate is not None and status.rollout.started_at is not None:
        starts.append(status.rollout.started_at)
    return min(starts, default=None)


def _failed_restart_expiry(status: Status) -> datetime:
    """Time until which the last restart's failure is worth an alert."""
    last = status.last_restart
    assert last is not None
    return last.started_at + last.duration + _FAILED_RESTART


def _failed_restart_waits(status: Status, now: datetime) -> Sequence[timedelta]:
    last = status.last_restart
    if last is None or last.result is not RestartOutcome.FAILED or _failed_restart_expiry(status) <= now:
        return ()
    return (_failed_restart_expiry(status) - now,)


def _has_status(status: Status, kind: ConditionType, *, is_: str = "True") -> bool:
    condition = conditions.find(status.conditions, kind)
    return condition is not None and condition.status == is_
