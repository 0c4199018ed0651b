"""Counts of the load client, and their report. It knows nothing about sockets and judges nothing."""

import json
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

MAX_FAILURES_KEPT: Final = 20


class Kind(StrEnum):
    """Kind of a failed request."""

    CONNECT = "Connect"
    CLOSED = "ClosedUnannounced"  # closed while idle though no answer had said so
    RESET = "Reset"
    EOF = "Eof"
    TIMEOUT = "Timeout"
    PROTOCOL = "Protocol"
    STATUS = "Status"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failed request; `at` is in seconds since the start."""

    at: float
    side: str
    kind: Kind
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """First and last answer of a version or a pod, in seconds since the start, and the number of its answers."""

    first: float
    last: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Counts of the workers on kept or on new connections. Latencies include connecting.

    `reconnects` is the number of connections beyond the first of each worker.
    """

    sent: int
    failed: int
    connections: int
    reconnects: int
    kinds: dict[str, int]
    statuses: dict[int, int]
    p50_ms: float
    p99_ms: float
    versions: dict[str, Seen]
    pods: dict[str, Seen]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Everything that happened since the start; `failures` are the first 20, in order of time."""

    started_at: datetime
    seconds: float
    kept: Side
    new: Side
    failures: tuple[Failure, ...]

    @property
    def sent(self) -> int:
        """Requests on both sides, including those that had no connection."""
        return self.kept.sent + self.new.sent

    @property
    def failed(self) -> int:
        """Requests without a 2xx answer."""
        return self.kept.failed + self.new.failed

    @property
    def versions(self) -> set[str]:
        """Every version that answered."""
        return {*self.kept.versions, *self.new.versions}

    @property
    def pods(self) -> set[str]:
        """Every pod that answered."""
        return {*self.kept.pods, *self.new.pods}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP answer; `close`: the server announced that it closes the connection."""

    status: int
    close: bool
    body: bytes


@dataclass(slots=True, kw_only=True)
class Tally:
    """The running count of one side. `start` is a time.monotonic()."""

    side: str
    workers: int
    start: float
    sent: int = 0
    failed: int = 0
    connections: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    versions: dict[str, Seen] = field(default_factory=dict)
    pods: dict[str, Seen] = field(default_factory=dict)

    def fail(self, *, kind: Kind, error: str) -> None:
        """Counts a failed request."""
        self.failed += 1
        self.kinds[kind.value] += 1
        if len(self.failures) < MAX_FAILURES_KEPT:
            at = round(time.monotonic() - self.start, 3)
            self.failures.append(Failure(at=at, side=self.side, kind=kind, error=error))

    def answered(self, *, answer: Answer, since: float) -> None:
        """Counts an answer to a request that was begun at the time.monotonic() `since`."""
        now = time.monotonic()
        self.latencies.append(now - since)
        self.statuses[answer.status] += 1
        if not 200 <= answer.status < 300:
            self.fail(kind=Kind.STATUS, error=f"{answer.status} {answer.body[:100]!r}")
        with suppress(ValueError):
            body = json.loads(answer.body)
            if isinstance(body, dict):
                _record(self.versions, name=body.get("version"), at=now - self.start)
                _record(self.pods, name=body.get("pod"), at=now - self.start)

    def report(self) -> Side:
        """The count so far."""
        latencies = sorted(self.latencies)
        return Side(
            sent=self.sent,
            failed=self.failed,
            connections=self.connections,
            reconnects=max(self.connections - self.workers, 0),
            kinds=dict(self.kinds),
            statuses=dict(self.statuses),
            p50_ms=_quantile(latencies, quantile=0.50),
            p99_ms=_quantile(latencies, quantile=0.99),
            versions=dict(self.versions),
            pods=dict(self.pods),
        )


def _record(answers: dict[str, Seen], *, name: object, at: float) -> None:
    if isinstance(name, str):
        before = answers.get(name)
        at = round(at, 3)
        answers[name] = Seen(first=before.first if before else at, last=at, count=before.count + 1 if before else 1)


def _quantile(latencies: list[float], *, quantile: float) -> float:
    return round(latencies[int(len(latencies) * quantile)] * 1000, 2) if latencies else 0.0
