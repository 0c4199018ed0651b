"""An alert. Its identity is its subject, never its message: a changed message does not make a new alert."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from resilience.api.reasons import AlertName, Severity
from resilience.api.status_alerts import FiringAlert
from resilience.core.model.observation import Key

_RANKS: Final = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}
# The label that holds the subject of an alert. Alerts that are not listed are about the whole service.
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
# Labels by which routes group and match.
LABELS: Final = ("alertname", "namespace", "service", "severity", "check", "flag", "receiver", "cause")


@dataclass(frozen=True, slots=True)
class Alert:
    """A problem that exists now."""

    key: Key
    name: AlertName
    severity: Severity
    since: datetime
    message: str
    subject: str = ""
    # The cause that it shares with alerts of other services; empty when it is the service's own.
    cause: str = ""
    # The reason for which nobody is notified for now; empty when somebody is.
    held: str = ""
    trace: str = ""

    @property
    def identity(self) -> str:
        """Identity that stays the same while the alert fires, whatever its message and severity."""
        return f"{self.key}/{self.name}/{self.subject}"

    def all_labels(self) -> dict[str, str]:
        """Labels by name, as routes match them and as Alertmanager gets them."""
        labels = {"alertname": str(self.name), "namespace": self.key.namespace, "service": self.key.name}
        labels["severity"] = str(self.severity)
        if self.name in _SUBJECTS and self.subject:
            labels[_SUBJECTS[self.name]] = self.subject
        if self.cause:
            labels["cause"] = self.cause
        return labels


def of_status(key: Key, firing: FiringAlert) -> Alert:
    """The alert that an entry of a service's status describes."""
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
    """The text has the form of an identity and names a known alert; a text from a status edited by hand may not."""
    parts = text.split("/", 3)
    return len(parts) == 4 and all(parts[:2]) and parts[2] in {str(name) for name in AlertName}


def service_of(identity: str) -> Key:
    """The service that an alert is about."""
    namespace, name, *_ = identity.split("/", 2)
    return Key(namespace, name)


def worse(one: Severity, other: Severity) -> bool:
    """The first severity is worse than the other."""
    return _RANKS[one] > _RANKS[other]


def worst(severities: Sequence[Severity]) -> Severity:
    """The worst of the severities; info when there is none."""
    return max(severities, key=lambda severity: _RANKS[severity], default=Severity.INFO)


def by_weight(alert: Alert) -> tuple[int, datetime, str]:
    """Sort key: the worst alert first, then the oldest."""
    return (-_RANKS[alert.severity], alert.since, alert.identity)
