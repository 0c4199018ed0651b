"""Destinations that are no checks: of measuring requests, of questions about a draining pod, and of dead letters."""

from dataclasses import dataclass
from datetime import timedelta

from resilience.core.model.probes import HttpTarget, RedisPlace


@dataclass(frozen=True, slots=True)
class VerifyTarget:
    """Requests to send through the Service while pods are replaced."""

    target: HttpTarget
    requests_per_second: int
    # Counts of an earlier process, from which this one continues.
    already_sent: int = 0
    already_failed: int = 0


@dataclass(frozen=True, slots=True)
class ConnectionsTarget:
    """Address at which a draining pod reports its connections; `field` is a path into its JSON, with dots."""

    target: HttpTarget
    field: str


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Dead letters that may go back to their stream, `batch` at a time, unless they are older than `max_age`."""

    place: RedisPlace
    stream: str
    dead_letter: str
    max_age: timedelta
    batch: int
