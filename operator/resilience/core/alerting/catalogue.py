"""Catalogue of all alerts: severity, the time that the alert has to last, and the action for a person.

docs/runbooks has a page of the same name for every alert.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from resilience.api.reasons import AlertName, Severity


@dataclass(frozen=True, slots=True)
class Entry:
    """Properties of all alerts of one name. `lasts`: the time that an alert has to fire before anybody is notified."""

    severity: Severity
    title: str
    action: str
    lasts: timedelta = timedelta()


_MINUTE: Final = timedelta(minutes=1)
_DESCRIBE: Final = "kubectl describe -n {namespace} rsvc {service}"

CATALOGUE: Final[Mapping[AlertName, Entry]] = {
    AlertName.SERVICE_DOWN: Entry(
        Severity.CRITICAL,
        "No pod serves",
        f"{_DESCRIBE}: status.attention names the problem of the pods, and the remedy.",
    ),
    AlertName.SERVICE_UNHEALTHY: Entry(
        Severity.CRITICAL,
        "A health check fails",
        f"{_DESCRIBE}: status.health has what the check observed; repeat it from inside the cluster.",
    ),
    AlertName.HEALTH_UNKNOWN: Entry(
        Severity.WARNING,
        "The health of the service is unknown",
        f"{_DESCRIBE}: a check could not be run; most often a Secret cannot be read or DNS is down.",
        lasts=10 * _MINUTE,
    ),
    AlertName.CHECK_WARNING: Entry(
        Severity.WARNING, "A health check warns", f"{_DESCRIBE}: status.health has the value and the threshold."
    ),
    AlertName.USAGE_HIGH: Entry(
        Severity.WARNING,
        "Memory or CPU runs short",
        "Look for a leak or more load; raise the limit or let a restart policy recycle pods.",
    ),
    AlertName.DEPENDENCY_LOST: Entry(
        Severity.CRITICAL,
        "A dependency is lost",
        "Fix the dependency; the service's pods are not at fault and are left alone.",
    ),
    AlertName.FLAG_OVERRIDDEN: Entry(
        Severity.INFO,
        "A degradation flag is set by hand",
        "Remove the override annotation when it is no longer needed; it ends by itself at its time.",
    ),
    AlertName.QUEUE_BEHIND: Entry(
        Severity.WARNING,
        "A queue is too long or too slow",
        "Check that its consumers work; add consumers, or find the entry that blocks them.",
    ),
    AlertName.DEAD_LETTERS: Entry(
        Severity.WARNING,
        "There are dead letters",
        "Find out why they failed, then have them replayed: resilience.dev/replay-requested-at.",
    ),
    AlertName.RELEASE_FAILED: Entry(
        Severity.CRITICAL,
        "A release failed",
        f"{_DESCRIBE}: status.rollout.failure has class and advice; push a fixed template, or request a retry.",
    ),
    AlertName.PROMOTION_AWAITED: Entry(
        Severity.INFO,
        "A release waits for a person",
        "Check the candidate, then annotate resilience.dev/promote-requested-at or abort-requested-at.",
    ),
    AlertName.NOT_PROGRESSING: Entry(
        Severity.WARNING,
        "A release or a restart does not get on",
        f"{_DESCRIBE}: the condition Progressing says what it waits for; remove the cause, or abort it.",
    ),
    AlertName.PODS_NEED_ATTENTION: Entry(
        Severity.WARNING,
        "Pods cannot start or keep ending",
        f"{_DESCRIBE}: status.attention has the problem and the remedy of each pod.",
        lasts=_MINUTE,
    ),
    AlertName.RESTART_FAILED: Entry(
        Severity.WARNING,
        "A restart failed",
        "The pods that served still serve; status.lastRestart says why none could replace them.",
    ),
    AlertName.RESTART_LOOP: Entry(
        Severity.CRITICAL,
        "Restarting does not help",
        "Fresh pods fail the same way: find out why, or change the policy.",
    ),
    AlertName.RESTART_BUDGET_SPENT: Entry(
        Severity.WARNING,
        "The budget of restarts is spent",
        "Something makes policies fire again and again; find it, or raise restart.budget.",
    ),
    AlertName.POLICY_BLOCKED: Entry(
        Severity.WARNING,
        "A policy fires and nothing can be restarted",
        f"{_DESCRIBE}: status.restarts says what blocks it.",
        lasts=15 * _MINUTE,
    ),
    AlertName.STALLED: Entry(
        Severity.WARNING,
        "The operator cannot manage the service",
        f"{_DESCRIBE}: the condition Stalled says what to fix.",
        lasts=5 * _MINUTE,
    ),
    AlertName.BUDGET_BURNS: Entry(
        Severity.WARNING,
        "The error budget is used up too fast",
        f"{_DESCRIBE}: status.slo has the outages; postpone risky work, releases first, until the cause is fixed.",
    ),
    AlertName.RECOVERY_SLOW: Entry(
        Severity.CRITICAL,
        "An outage lasts too long",
        f"{_DESCRIBE}: status.slo has its start; restore the service first, and find the cause later.",
    ),
    AlertName.ALERTS_UNDELIVERED: Entry(
        Severity.CRITICAL,
        "A receiver cannot be reached",
        "kubectl describe the AlertReceiver: its failure says why; then annotate resilience.dev/replay-requested-at.",
    ),
    AlertName.HEARTBEAT: Entry(
        Severity.INFO, "The operator is alive", "Nothing: somebody has to be woken when this stops coming."
    ),
    AlertName.TEST: Entry(Severity.INFO, "A test", "Nothing: somebody tests whether this receiver can be reached."),
}


def action(name: AlertName, *, namespace: str, service: str) -> str:
    """The action that a person should take on an alert."""
    return CATALOGUE[name].action.format(namespace=namespace, service=service)
