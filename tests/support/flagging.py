"""A service with one degradation flag in virtual time: results of checks go through the real fold and decision."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from resilience.api.status import Status
from resilience.api.status_flags import FlagStatus
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.degradation import flags
from resilience.core.health import thresholds
from resilience.core.health.thresholds import CheckResult, Fold, Outcome
from resilience.core.model.decision import Event
from resilience.core.model.observation import Observation
from resilience.core.model.probes import CheckTarget
from tests.support.factories import NOW, make_context, make_resource, make_spec

CACHE: Final = {"name": "cache", "scope": "Dependency", "redis": {"address": "redis:6379"}}
FLAG: Final = {"name": "redis-degraded", "check": "cache", "mode": "memory"}
NAME: Final = flags.PREFIX + FLAG["name"]
RESULTS: Final = {
    Outcome.PASS: CheckResult(Outcome.PASS, "Answers", "answers"),
    Outcome.WARN: CheckResult(Outcome.WARN, "Short", "answers, and something is short"),
    Outcome.FAIL: CheckResult(Outcome.FAIL, "Refused", "connection refused"),
    Outcome.INCONCLUSIVE: CheckResult(Outcome.INCONCLUSIVE, "SecretMissing", "no Secret cache"),
}


def flag_spec(**fields: Any) -> ResilientServiceSpec:
    """One flag with these fields, on a check of a Redis once a second."""
    return make_spec(
        health={"checks": [CACHE], "interval": "1s", "timeout": "500ms"}, degradation={"flags": [FLAG | fields]}
    )


@dataclass(slots=True)
class Flagged:
    """`second()` is one run of the check and the passes that follow from it."""

    spec: ResilientServiceSpec = field(default_factory=flag_spec)
    now: datetime = NOW
    status: Status = field(default_factory=Status)
    annotations: dict[str, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    # Time of each switch of the flag, and its new state.
    switches: list[tuple[datetime, bool]] = field(default_factory=list)
    _fold: Fold = field(init=False)
    _due: datetime | None = None

    def __post_init__(self) -> None:
        self.restart()

    @property
    def flag(self) -> FlagStatus:
        return self.status.degradation[0]

    @property
    def target(self) -> CheckTarget:
        resource = make_resource(self.spec, status=self.status)
        (target,) = flags.targets(make_context(resource, Observation(workload=None)))
        return target

    def restart(self) -> None:
        """Another leader takes over: the rows of results are lost, status is not."""
        self._fold = thresholds.initial(now=self.now, assumed=self.target.assumed)
        self.look()

    def second(self, outcome: Outcome) -> None:
        """Lets a second pass, then runs the check."""
        end = self.now + timedelta(seconds=1)
        while self._due is not None and self._due <= end:
            # The pass that is due.
            self.now = max(self._due, self.now)
            self.look()
        self.now = end
        before, target = self._fold, self.target
        self._fold = thresholds.fold(
            before,
            RESULTS[outcome],
            failure_threshold=target.failure_threshold,
            success_threshold=target.success_threshold,
            now=self.now,
        )
        if self._fold.differs(before, rows=target.rows):
            self.look()

    def run(self, outcome: Outcome, *, seconds: int) -> None:
        for _ in range(seconds):
            self.second(outcome)

    def strike(self) -> None:
        """Sentinel reports that the dependency is lost."""
        self._fold = thresholds.mark_lost(self._fold, reason="MasterDown", message="Sentinel says so", now=self.now)
        self.look()

    def look(self) -> None:
        was_on = self.status.degradation[0].on if self.status.degradation else False
        resource = make_resource(self.spec, status=self.status, annotations=self.annotations)
        observation = Observation(workload=None, checks={NAME: thresholds.of_service(NAME, self._fold)})
        result = flags.update(make_context(resource, observation, now=self.now))
        self.status = result.status
        self.events.extend(result.events)
        wait = result.requeue_after
        self._due = self.now + max(wait, timedelta(milliseconds=1)) if wait is not None else None
        if self.status.degradation and self.flag.on != was_on:
            self.switches.append((self.now, self.flag.on))
