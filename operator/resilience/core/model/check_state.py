"""States of a service's checks: the results of many runs, folded into one state."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from resilience.api.reasons import HealthState
from resilience.core.model.probes import Probe

# Reason of a state: a Secret lacks the label by which its owner permits the read.
NOT_LABELLED: Final = "NotLabelled"


@dataclass(frozen=True, slots=True)
class Component:
    """A part of the application, as the application's own health body reports it."""

    name: str
    state: HealthState
    message: str = ""


@dataclass(frozen=True, slots=True)
class CheckState:
    """A check's folded state, as the check runner keeps it."""

    name: str
    state: HealthState
    reason: str
    message: str
    since: datetime
    latency_seconds: float | None
    # For scope Pod: state by pod uid.
    by_pod: Mapping[str, HealthState] = field(default_factory=dict)
    # True when it is Unknown because as many runs in a row as a verdict takes were inconclusive.
    silent: bool = False
    # Time since which every pod has had its present state.
    settled_since: datetime | None = None
    # Consecutive runs until now that did not fail, regardless of the thresholds; for scope Pod by pod uid.
    passes: int = 0
    failures: int = 0
    passes_by_pod: Mapping[str, int] = field(default_factory=dict)
    # Messages that say why pods are Unhealthy, by pod uid.
    messages_by_pod: Mapping[str, str] = field(default_factory=dict)
    # The question that each pod's state answers, by pod uid.
    probes_by_pod: Mapping[str, Probe] = field(default_factory=dict)
    # For checks that detect changes: identity of the content that was read last, and the time it was first read.
    fingerprint: str = ""
    read_since: datetime | None = None
    components: tuple[Component, ...] = ()
    # Counts since this process has known the check.
    failed: int = 0
    reconnects: int = 0
    # Number of dead letters, for streams that have them.
    dead_letters: int | None = None
    # The number that the check compares with bounds, as it was last known.
    figure: float | None = None
    # Seconds that the replicas of a database are behind, as it was last known; None for all other checks.
    replication_lag: float | None = None
    # True when it has passed at least once since this process has known it, at any pod.
    ever_passed: bool = False
    # Identity of what the check asked for this state; empty when it is not known, or asks neither pods nor a Service.
    question: str = ""
    # When the first failure in the row was measured.
    failing_since: datetime | None = None
