"""Metrics of everything that ended, changed or began between two states of status."""

from datetime import datetime

from resilience.api.status import Status
from resilience.core.degradation import flags
from resilience.core.model.observation import Key, Observation
from resilience.ports import Metrics


def publish(
    metrics: Metrics, key: Key, *, before: Status, after: Status, observation: Observation, now: datetime
) -> None:
    """Counts restarts and releases that ended, flags that switched, and alerts that fired."""
    _ended(metrics, key, before, after)
    _switched(metrics, key, before, after, observation, now)
    fired = {(alert.name, alert.subject) for alert in before.alerts.firing if not alert.held}
    for alert in after.alerts.firing:
        if not alert.held and (alert.name, alert.subject) not in fired:
            metrics.fired(key=key, severity=alert.severity)


def _ended(metrics: Metrics, key: Key, before: Status, after: Status) -> None:
    restart, rollout = after.last_restart, after.last_rollout
    if restart is not None and restart != before.last_restart:
        metrics.restarted(key=key, result=restart.result, seconds=restart.duration.total_seconds())
    if rollout is not None and rollout != before.last_rollout:
        metrics.released(key=key, result=rollout.result, seconds=rollout.duration.total_seconds())
    for ended, previous in ((restart, before.last_restart), (rollout, before.last_rollout)):
        if ended is not None and ended != previous and ended.requests is not None:
            metrics.measured(key=key, sent=ended.requests.sent, failed=ended.requests.failed)


def _switched(
    metrics: Metrics, key: Key, before: Status, after: Status, observation: Observation, now: datetime
) -> None:
    was_on = {flag.name: flag.on for flag in before.degradation}
    for flag in after.degradation:
        if flag.on == was_on.get(flag.name, False):
            continue
        metrics.switched(key=key, flag=flag.name, on=flag.on)
        dependency = observation.checks.get(flags.PREFIX + flag.name)
        if flag.on and dependency is not None and dependency.failing_since is not None:
            metrics.detected(seconds=(now - dependency.failing_since).total_seconds())
