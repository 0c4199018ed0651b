"""What is wrong with a service, read off its status: the rules by which alerts fire, are held back, and end.

Everything is derived afresh in each pass; only since when something fires is taken from the status before.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from resilience.api.checks import Check, Scope
from resilience.api.reasons import AlertName, ConditionType, HealthState, Phase, Reason, RestartOutcome, Severity
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
# How long a restart that failed is worth an alert; then it is history.
_FAILED_RESTART: Final = timedelta(hours=1)
# What a redisStream check says of the stream itself; anything else is about its Redis.
_QUEUE: Final = ("StreamTooLong", "GroupLags", "TooManyPending", "NoSuchStream", "NoSuchGroup", "NotAStream")
# Reasons for which a policy waits by plan.
_PLANNED_WAITS: Final = ("OutsideWindow", "Queued", "Suspended", "DependencyDown")
# What a service that is only starting cannot help.
_BY_START: Final = frozenset({AlertName.SERVICE_UNHEALTHY, AlertName.CHECK_WARNING, AlertName.HEALTH_UNKNOWN})
# What replacing pods may bring about for a while, and what a lost dependency does.
_BY_OUR_WORK: Final = frozenset(
    {AlertName.CHECK_WARNING, AlertName.USAGE_HIGH, AlertName.PODS_NEED_ATTENTION, AlertName.HEALTH_UNKNOWN}
)
_BY_DEPENDENCY: Final = frozenset(
    {
        AlertName.SERVICE_UNHEALTHY,
        AlertName.CHECK_WARNING,
        AlertName.HEALTH_UNKNOWN,
        AlertName.QUEUE_BEHIND,
        AlertName.DEAD_LETTERS,
        AlertName.POLICY_BLOCKED,
        AlertName.RESTART_LOOP,
    }
)
_BY_DOWN: Final = frozenset(
    {
        AlertName.SERVICE_UNHEALTHY,
        AlertName.CHECK_WARNING,
        AlertName.HEALTH_UNKNOWN,
        AlertName.PODS_NEED_ATTENTION,
        AlertName.POLICY_BLOCKED,
    }
)


@dataclass(frozen=True, slots=True)
class _Wrong:
    """Something that is wrong, without its history."""

    name: AlertName
    message: str
    subject: str = ""
    severity: Severity | None = None
    cause: str = ""
    # Since when, if that is known better than by the first look.
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What fires, and when to look again because time alone changes it."""

    firing: tuple[FiringAlert, ...]
    wait: timedelta | None = None


def look(resource: Resource, status: Status, workload: Workload | None, now: datetime) -> Look:
    """What fires now. `status` is what this pass is about to say of everything else."""
    spec = resource.spec
    found = [*_of_service(status, workload), *_of_work(status, workload, now)]
    if spec is not None and not _blind(status):
        found.extend(_of_checks(spec, status, resource.key.namespace))
    if spec is not None and spec.slo is not None and status.slo is not None:
        found.extend(_of_slo(spec.slo, status.slo, now))
    before = {(each.name, each.subject): each for each in status.alerts.firing}
    dated = [(each, _since(each, before.get((each.name, each.subject)), now)) for each in found]
    lasting = {each.name for each, since in dated if since + CATALOGUE[each.name].lasts <= now}
    young = _patience(spec, status)
    firing = []
    for each, since in dated:
        held = _held(each, since, lasting, status, young, now)
        firing.append(_firing(each, since, held, trace=trace_ids.new(resource.uid, since)))
    due = [at - now for each, since in dated for at in _patient_until(each.name, since, young) if at > now]
    return Look(tuple(firing[:MOST]), min([*due, *_ends(status, now)], default=None))


def _of_service(status: Status, workload: Workload | None) -> Iterator[_Wrong]:
    stalled, healthy = _to_mend(status), conditions.find(status.conditions, ConditionType.HEALTHY)
    if stalled is not None:
        yield _Wrong(AlertName.STALLED, stalled.message, since=stalled.last_transition_time)
    if _blind(status):
        return
    if workload is not None and _is_down(status, workload):
        words = "; ".join(f"{each.pod}: {each.reason}" for each in status.attention[:3])
        yield _Wrong(AlertName.SERVICE_DOWN, f"0 of {workload.replicas} pods serve" + (f"; {words}" if words else ""))
    elif status.attention and status.rollout.candidate is None:
        words = "; ".join(f"{each.pod}: {each.reason}, {each.message}" for each in status.attention[:3])
        more = f" and {len(status.attention) - 3} more" if len(status.attention) > 3 else ""
        yield _Wrong(AlertName.PODS_NEED_ATTENTION, words + more)
    tried = any(each.state is HealthState.UNKNOWN and each.reason != NOT_RUN_YET for each in status.health.checks)
    if healthy is not None and healthy.status == "Unknown" and tried:
        yield _Wrong(AlertName.HEALTH_UNKNOWN, healthy.message, since=healthy.last_transition_time)


def _blind(status: Status) -> bool:
    """Whether nothing is known of the service, or it is not complete yet and so has never served."""
    stalled = _to_mend(status)
    return stalled is not None and (stalled.reason in BLIND or status.first_healthy_at is None)


def _to_mend(status: Status) -> Condition | None:
    """The condition Stalled while it is True; a failed release has an alert of its own."""
    stalled = conditions.find(status.conditions, ConditionType.STALLED)
    if stalled is None or stalled.status != "True" or stalled.reason == Reason.ROLLOUT_FAILED:
        return None
    return stalled


def _is_down(status: Status, workload: Workload) -> bool:
    """A service that has served, or whose pods end by themselves; one that is only starting is not down."""
    return phase.is_down(workload) and status.phase in (Phase.FAILED, Phase.CRASHED)


def _of_work(status: Status, workload: Workload | None, now: datetime) -> Iterator[_Wrong]:
    failure, last, restarts = status.rollout.failure, status.last_restart, status.restarts
    if failure is not None:
        whole = workload is not None and workload.available >= workload.replicas
        words = f"{failure.version.image} failed ({failure.class_}): {failure.message}. {failure.advice}"
        severity = Severity.WARNING if whole else Severity.CRITICAL
        yield _Wrong(AlertName.RELEASE_FAILED, words, severity=severity, since=failure.at)
    progressing = conditions.find(status.conditions, ConditionType.READY)
    if progressing is not None and progressing.reason == Reason.AWAITING_PROMOTION:
        yield _Wrong(AlertName.PROMOTION_AWAITED, progressing.message)
    if last is not None and last.result is RestartOutcome.FAILED and now < _over(status):
        yield _Wrong(AlertName.RESTART_FAILED, last.message, since=last.started_at + last.duration)
    fires = any(not each.dry_run for each in restarts.firing)
    match restarts.blocked_by if fires else "":
        case "RestartLoop":
            yield _Wrong(AlertName.RESTART_LOOP, restarts.message)
        case "BudgetSpent":
            yield _Wrong(AlertName.RESTART_BUDGET_SPENT, restarts.message)
        case reason if reason and reason not in _PLANNED_WAITS:
            yield _Wrong(AlertName.POLICY_BLOCKED, f"{reason}: {restarts.message}")
    for flag in status.degradation:
        if flag.override is not None:
            value = "on" if flag.override.on else "off"
            yield _Wrong(AlertName.FLAG_OVERRIDDEN, f"{flag.name} is {value} by hand", subject=flag.name)


def _of_checks(spec: ResilientServiceSpec, status: Status, namespace: str) -> Iterator[_Wrong]:
    known = {each.name: each for each in status.health.checks}
    flags = {each.check: each.name for each in spec.degradation.flags}
    on = {each.name for each in status.degradation if each.on}
    unhealthy = _is(status, ConditionType.HEALTHY, is_="False")
    for check in spec.health.checks:
        seen, flag = known.get(check.name), flags.get(check.name, "")
        if seen is None:
            continue
        if check.usage is not None:
            yield from _graded(AlertName.USAGE_HIGH, seen)
        elif check.redis_stream is not None and _about_queue(seen):
            name = AlertName.DEAD_LETTERS if seen.reason == "DeadLetters" else AlertName.QUEUE_BEHIND
            yield from _graded(name, seen, at_most=Severity.WARNING)
        elif check.scope is Scope.DEPENDENCY:
            yield from _dependency(check, seen, spec, namespace, told=flag in on, unhealthy=unhealthy)
        elif seen.state is HealthState.UNHEALTHY:
            yield _Wrong(AlertName.SERVICE_UNHEALTHY, seen.message, seen.name)
        elif seen.state is HealthState.WARNING:
            yield _Wrong(AlertName.CHECK_WARNING, seen.message, seen.name)


def _of_slo(wanted: Slo, known: SloStatus, now: datetime) -> Iterator[_Wrong]:
    burns = slo.burning(wanted, known, now)
    if burns is not None:
        yield _Wrong(AlertName.BUDGET_BURNS, burns.message, severity=burns.severity)
    last = known.outages[-1] if known.outages else None
    late = last.began + wanted.recovery_time if last is not None and wanted.recovery_time is not None else None
    if last is not None and last.ended is None and late is not None and late <= now:
        assert wanted.recovery_time is not None
        words = f"out for longer than {format_duration(wanted.recovery_time)}: {last.reason}"
        yield _Wrong(AlertName.RECOVERY_SLOW, words, since=late)


def _dependency(
    check: Check, seen: CheckStatus, spec: ResilientServiceSpec, namespace: str, *, told: bool, unhealthy: bool
) -> Iterator[_Wrong]:
    """Lost from the first failure that counts until the flag is off again: what comes and goes is one loss."""
    if seen.state is HealthState.WARNING:
        yield _Wrong(AlertName.CHECK_WARNING, seen.message, seen.name)
    if seen.state is not HealthState.UNHEALTHY and not told:
        return
    cause = shared_causes.of_check(check, spec, namespace=namespace)
    # Applications that were told work without it: nobody has to get up, unless they do not.
    severity = Severity.WARNING if told and not unhealthy else Severity.CRITICAL
    words = seen.message if seen.state is HealthState.UNHEALTHY else f"it answers again and proves itself; {check.name}"
    yield _Wrong(AlertName.DEPENDENCY_LOST, words, check.name, severity, cause)


def _graded(name: AlertName, seen: CheckStatus, at_most: Severity = Severity.CRITICAL) -> Iterator[_Wrong]:
    if seen.state is HealthState.UNHEALTHY:
        yield _Wrong(name, seen.message, seen.name, at_most)
    elif seen.state is HealthState.WARNING:
        yield _Wrong(name, seen.message, seen.name, Severity.WARNING)


def _about_queue(seen: CheckStatus) -> bool:
    return seen.state is HealthState.WARNING or seen.reason in _QUEUE


def _since(wrong: _Wrong, before: FiringAlert | None, now: datetime) -> datetime:
    if before is not None:
        return before.since
    # A clock that was set back makes nothing begin in the future.
    return min(wrong.since or now, now)


def _firing(wrong: _Wrong, since: datetime, held: str, *, trace: str) -> FiringAlert:
    return FiringAlert(
        name=wrong.name,
        subject=wrong.subject,
        severity=wrong.severity or CATALOGUE[wrong.name].severity,
        since=since,
        message=wrong.message[:1024],
        cause=wrong.cause[:253],
        held=held,
        trace_id=trace,
    )


def _patience(spec: ResilientServiceSpec | None, status: Status) -> timedelta:
    """How long a service that has never served may take to start."""
    if spec is None or status.phase is not Phase.INITIALIZING:
        return timedelta()
    return spec.rollout.progress_deadline


def _patient_until(name: AlertName, since: datetime, patience: timedelta) -> list[datetime]:
    """When time alone lets an alert be told."""
    lasts = since + CATALOGUE[name].lasts
    return [lasts, since + patience] if name in _BY_START else [lasts]


def _held(
    wrong: _Wrong,
    since: datetime,
    lasting: Iterable[AlertName],
    status: Status,
    patience: timedelta,
    now: datetime,
) -> str:
    """Why nobody is told of it: it is young, or the consequence of something that people are told of."""
    lasts, named = CATALOGUE[wrong.name].lasts, frozenset(lasting)
    if since + lasts > now:
        return f"told when it has lasted {format_duration(lasts)}"
    if wrong.name in _BY_START and since + patience > now:
        return "the service is only starting"
    if wrong.name in _BY_DOWN and AlertName.SERVICE_DOWN in named:
        return "follows from ServiceDown"
    if wrong.name in _BY_DEPENDENCY and AlertName.DEPENDENCY_LOST in named:
        return "follows from DependencyLost"
    if wrong.name is AlertName.PODS_NEED_ATTENTION and AlertName.RELEASE_FAILED in named:
        return "follows from ReleaseFailed"
    began = _work_began(status)
    mild = wrong.severity is None or not worse(wrong.severity, Severity.WARNING)
    if wrong.name in _BY_OUR_WORK and mild and began is not None and since >= began:
        return "pods are being replaced"
    return ""


def _work_began(status: Status) -> datetime | None:
    """Since when the operator replaces pods; None when it does not."""
    begun = [status.restart.started_at] if status.restart is not None else []
    if status.rollout.candidate is not None and status.rollout.started_at is not None:
        begun.append(status.rollout.started_at)
    return min(begun, default=None)


def _over(status: Status) -> datetime:
    """Until when the last restart's failure is news."""
    last = status.last_restart
    assert last is not None
    return last.started_at + last.duration + _FAILED_RESTART


def _ends(status: Status, now: datetime) -> Sequence[timedelta]:
    last = status.last_restart
    if last is None or last.result is not RestartOutcome.FAILED or _over(status) <= now:
        return ()
    return (_over(status) - now,)


def _is(status: Status, kind: ConditionType, *, is_: str = "True") -> bool:
    found = conditions.find(status.conditions, kind)
    return found is not None and found.status == is_
