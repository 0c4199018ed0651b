"""An alert. Its identity is what it is about, never what it says: a message that changes is no new alert."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from resilience.api.reasons import AlertName, Severity
from resilience.api.status_alerts import FiringAlert
from resilience.core.model.observation import Key

_RANKS: Final = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}
# What the subject of an alert is, as a label; the others are about the whole service.
_SUBJECTS: Final = {
    AlertName.SERVICE_UNHEALTHY: "check",
    AlertName.CHECK_WARNING: "check",
    AlertName.USAGE_HIGH: "check",
    AlertName.DEPENDENCY_LOST: "check",
    AlertName.QUEUE_BEHIND: "check",
    AlertName.DEAD_LETTERS: "check",
    AlertName.FLAG_OVERRIDDEN: "flag",
    AlertName.ALERTS_UNDELIVERED: "receiver",
}
# What can be grouped and matched by.
LABELS: Final = ("alertname", "namespace", "service", "severity", "check", "flag", "receiver", "cause")


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that is wrong now."""

    key: Key
    name: AlertName
    severity: Severity
    since: datetime
    message: str
    subject: str = ""
    # What it has in common with alerts of other services; empty when it is the service's own.
    cause: str = ""
    # Why nobody is to be told of it for now; empty when somebody is.
    held: str = ""
    trace: str = ""

    @property
    def identity(self) -> str:
        """The same for as long as it fires, whatever it says and however bad it gets."""
        return f"{self.key}/{self.name}/{self.subject}"

    def all_labels(self) -> dict[str, str]:
        """Labels by name, as routes see them and as Alertmanager is told."""
        found = {"alertname": str(self.name), "namespace": self.key.namespace, "service": self.key.name}
        found["severity"] = str(self.severity)
        if self.name in _SUBJECTS and self.subject:
            found[_SUBJECTS[self.name]] = self.subject
        if self.cause:
            found["cause"] = self.cause
        return found


def of_status(key: Key, firing: FiringAlert) -> Alert:
    """The alert that a service's status tells of."""
    return Alert(
        key=key,
        name=firing.name,
        severity=firing.severity,
        since=firing.since,
        message=firing.message,
        subject=firing.subject,
        cause=firing.cause,
        held=firing.held,
        trace=firing.trace_id,
    )


def is_identity(text: str) -> bool:
    """Whether this can be the identity of an alert that there is: what a hand has written into a status may not be."""
    parts = text.split("/", 3)
    return len(parts) == 4 and all(parts[:2]) and parts[2] in {str(each) for each in AlertName}


def service_of(identity: str) -> Key:
    """The service that an alert is about."""
    namespace, name, *_ = identity.split("/", 2)
    return Key(namespace, name)


def worse(one: Severity, other: Severity) -> bool:
    """Whether the first is worse than the other."""
    return _RANKS[one] > _RANKS[other]


def worst(severities: Sequence[Severity]) -> Severity:
    """The worst of them; info when there is none."""
    return max(severities, key=lambda each: _RANKS[each], default=Severity.INFO)


def by_weight(alert: Alert) -> tuple[int, datetime, str]:
    """Sorts the worst first, then the oldest."""
    return (-_RANKS[alert.severity], alert.since, alert.identity)
