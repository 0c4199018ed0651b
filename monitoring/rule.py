"""Rules in the form that Prometheus reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

# Of which installation a rule looks at series: of every one. The chart writes the name of its own in place of it.
INSTALLATION: Final = 'installation=~".*"'
_UNITS: Final = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))


@dataclass(frozen=True, slots=True)
class Record:
    """A recording rule."""

    name: str
    expression: str

    def to_prometheus(self) -> dict[str, Any]:
        """The rule as Prometheus reads it."""
        return {"record": self.name, "expr": self.expression}


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert; docs/runbooks has a page of its name. `keep`: time for which it has to hold before it fires."""

    name: str
    expression: str
    severity: str
    summary: str
    description: str
    action: str
    keep: timedelta = timedelta()
    labels: Mapping[str, str] = field(default_factory=dict)

    def to_prometheus(self) -> dict[str, Any]:
        """The alert as Prometheus reads it. The chart makes a URL of `runbook` when it knows where the pages are."""
        waits = {"for": prometheus_duration(self.keep)} if self.keep else {}
        return {
            "alert": self.name,
            "expr": self.expression,
            **waits,
            "labels": {"severity": self.severity, **self.labels},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "action": self.action,
                "runbook": f"docs/runbooks/{self.name}.md",
            },
        }


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated together, at an interval."""

    name: str
    every: timedelta
    rules: Sequence[Record | Alert]

    def to_prometheus(self) -> dict[str, Any]:
        """The group as Prometheus reads it."""
        return {
            "name": self.name,
            "interval": prometheus_duration(self.every),
            "rules": [rule.to_prometheus() for rule in self.rules],
        }


def of_installation(series: str, matcher: str = INSTALLATION) -> str:
    """The series, each with the label `installation` of the replica that was scraped, if that is one of those meant."""
    replicas = f"max by (cluster, job, instance, installation) (resilience_operator_build_info{{{matcher}}})"
    return f"{series} * on (cluster, job, instance) group_left (installation) {replicas}"


def prometheus_duration(span: timedelta) -> str:
    """The duration in its largest whole unit: 5m, 1h, 3d."""
    milliseconds = max(round(span / timedelta(milliseconds=1)), 1)
    unit, size = next((unit, size) for unit, size in _UNITS if milliseconds % size == 0)
    return f"{milliseconds // size}{unit}"
