"""Rules by which the alerts of a service fire, are withheld, and end, derived from its status.

Every pass derives everything afresh; only the start of an alert is taken from the previous status.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from resilience.api.reasons import (
    AlertName,
    Phase,
    RestartOutcome,
    Severity,
)
from resilience.api.scalars import format_duration
from resilience.api.status import Status
from resilience.api.status_alerts import FiringAlert
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.alerting import silences
from resilience.core.alerting.alert import of_status, worse
from resilience.core.alerting.catalogue import CATALOGUE
from resilience.core.alerting.problems import Problem, failed_restart_expiry, problems_of
from resilience.core.model import trace_ids
from resilience.core.model.observation import Resource
from resilience.core.model.workload import Workload

MOST: Final = 64
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
class FiringAlerts:
    """The alerts that fire, and the wait after which time alone changes them."""

    firing: tuple[FiringAlert, ...]
    wait: timedelta | None = None


def evaluate(resource: Resource, status: Status, workload: Workload | None, now: datetime) -> FiringAlerts:
    """The alerts that fire now. `status` has what this pass is about to report of everything else."""
    spec = resource.spec
    problems = problems_of(resource, status, workload, now)
    before = {(alert.name, alert.subject): alert for alert in status.alerts.firing}
    dated = [(problem, _since(problem, before.get((problem.name, problem.subject)), now)) for problem in problems]
    lasting = {problem.name for problem, since in dated if since + CATALOGUE[problem.name].lasts <= now}
    patience = _start_patience(spec, status)
    firing = []
    ends = []
    for problem, since in dated:
        alert = _firing(problem, since, trace=trace_ids.new(resource.uid, since))
        silence = silences.silence_of(of_status(resource.key, alert), spec.alerts, now) if spec is not None else None
        if silence is not None:
            withheld = silences.words(silence)
            ends.append(silence.until - now)
        else:
            withheld = _withheld_reason(problem, since, lasting, status, patience, now)
        firing.append(alert.model_copy(update={"held": withheld}))
    waits = [at - now for problem, since in dated for at in _notify_times(problem.name, since, patience) if at > now]
    return FiringAlerts(tuple(firing[:MOST]), min([*waits, *ends, *_failed_restart_waits(status, now)], default=None))


def _since(problem: Problem, before: FiringAlert | None, now: datetime) -> datetime:
    if before is not None:
        return before.since
    # After a clock was set back, no alert may start in the future.
    return min(problem.since or now, now)


def _firing(problem: Problem, since: datetime, *, trace: str) -> FiringAlert:
    return FiringAlert(
        name=problem.name,
        subject=problem.subject,
        severity=problem.severity or CATALOGUE[problem.name].severity,
        since=since,
        message=problem.message[:1024],
        cause=problem.cause[:253],
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
    problem: Problem, since: datetime, lasting: Iterable[AlertName], status: Status, patience: timedelta, now: datetime
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


def _failed_restart_waits(status: Status, now: datetime) -> Sequence[timedelta]:
    last = status.last_restart
    if last is None or last.result is not RestartOutcome.FAILED or failed_restart_expiry(status) <= now:
        return ()
    return (failed_restart_expiry(status) - now,)
