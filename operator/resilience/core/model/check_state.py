"""What the checks of a service have found, folded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from resilience.api.reasons import HealthState


@dataclass(frozen=True, slots=True)
class Component:
    """A part of the application as its own health body tells of it."""

    name: str
    state: HealthState
    message: str = ""


@dataclass(frozen=True, slots=True)
class CheckState:
    """A check's folded state, as the check runner holds it."""

    name: str
    state: HealthState
    reason: str
    message: str
    since: datetime
    latency_seconds: float | None
    # For scope Pod: state by pod uid.
    by_pod: Mapping[str, HealthState] = field(default_factory=dict)
    # Whether it is Unknown because as many runs as a verdict takes could not say anything.
    silent: bool = False
    # Since when every pod has had its state.
    settled_since: datetime | None = None
    # Runs in a row until now that did not fail, whatever the thresholds say; for scope Pod by pod uid.
    passes: int = 0
    failures: int = 0
    passes_by_pod: Mapping[str, int] = field(default_factory=dict)
    # Why a pod is Unhealthy, by pod uid.
    words_by_pod: Mapping[str, str] = field(default_factory=dict)
    # What was read last, for checks that look for changes, and since when it is that.
    fingerprint: str = ""
    read_since: datetime | None = None
    components: tuple[Component, ...] = ()
    # Since this process knows it.
    failed: int = 0
    reconnects: int = 0
    # For streams that have them: how many dead letters there are.
    dead_letters: int | None = None
    # The number that it is about, as it was last known.
    figure: float | None = None
    # When the first failure in the row was measured.
    failing_since: datetime | None = None
