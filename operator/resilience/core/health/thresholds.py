"""Folding of check results with thresholds, and of many states into one.

Unknown is not Unhealthy: an inconclusive result changes nothing by itself, it only ends in Unknown when it persists.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from resilience.api.reasons import HealthState
from resilience.core.model.check_state import CheckState, Component

# Reason of a state before the first result.
NOT_RUN_YET = "NotRunYet"


class Outcome(StrEnum):
    """Result of one run of a check."""

    PASS = "Pass"
    # It works, and something is short: not a failure, and not well.
    WARN = "Warn"
    FAIL = "Fail"
    # We could not ask: our own fault or nobody's. Never counts against the target.
    INCONCLUSIVE = "Inconclusive"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One run of a check. `message` is for people and holds nothing that the target sent beyond a status."""

    outcome: Outcome
    reason: str
    message: str
    latency_seconds: float | None = None
    # What the application says of its own parts, for http checks that read them.
    components: tuple[Component, ...] = ()
    # Whether a new connection had to be made, for checks that keep one.
    reconnected: bool = False
    # Identity of what was read, for checks that look for changes.
    fingerprint: str = ""
    # When what it says was measured, for checks that are told figures; the same figure counts once.
    measured_at: datetime | None = None
    # For streams that have them: how many dead letters there are.
    dead_letters: int | None = None
    # The number that it is about: replication lag in seconds, or the one value of a query.
    figure: float | None = None


@dataclass(frozen=True, slots=True)
class Fold:
    """State of one check target with its counts of consecutive results."""

    state: HealthState
    since: datetime
    # In a row: results that are no failure, those among them that are no warning either, those that are no clean pass.
    passes: int = 0
    clean: int = 0
    unclean: int = 0
    failures: int = 0
    inconclusive: int = 0
    # Whether the last runs, as many as a verdict takes, could not say anything.
    silent: bool = False
    # Whether it has passed at least once since it is known.
    ever_passed: bool = False
    reason: str = ""
    message: str = ""
    latency_seconds: float | None = None
    components: tuple[Component, ...] = ()
    # When the first failure in the row was measured, and the last figure of all.
    failing_since: datetime | None = None
    measured_at: datetime | None = None
    # Since it is known: how often it failed, and how often a new connection was needed.
    failed: int = 0
    reconnects: int = 0
    # What was read last, for checks that look for changes, and since when it is that.
    fingerprint: str = ""
    read_since: datetime | None = None
    dead_letters: int | None = None
    # The last one that there was.
    figure: float | None = None

    @property
    def holding(self) -> int:
        """Passes in a row until now: while nothing can be said, there are none."""
        return 0 if self.inconclusive else self.passes

    def differs(self, other: "Fold", *, rows: bool = False) -> bool:
        """Whether there is news for whoever decides; with `rows` a row that begins or ends is news, too."""
        if rows and (bool(self.failures), bool(self.holding)) != (bool(other.failures), bool(other.holding)):
            return True
        read = (self.fingerprint, self.dead_letters) != (other.fingerprint, other.dead_letters)
        return self.state is not other.state or read


def initial(*, now: datetime, assumed: HealthState = HealthState.UNKNOWN) -> Fold:
    """Nothing is known yet, but what is assumed."""
    return Fold(state=assumed, since=now, reason=NOT_RUN_YET, message="has not run yet")


def struck(before: Fold, *, reason: str, message: str, now: datetime) -> Fold:
    """The state after somebody who knows said that it is lost: as if it had failed often enough."""
    lost = before.state is HealthState.UNHEALTHY
    return replace(
        before,
        state=HealthState.UNHEALTHY,
        since=before.since if lost else now,
        passes=0,
        clean=0,
        failures=max(before.failures, 1),
        inconclusive=0,
        silent=False,
        reason=reason,
        message=message,
        failing_since=before.failing_since or now,
    )


def fold(
    before: Fold,
    result: CheckResult,
    *,
    failure_threshold: int,
    success_threshold: int,
    now: datetime,
    sustained: timedelta = timedelta(),
) -> Fold:
    """The state after one more result; one that was counted before changes nothing.

    From Unknown one result is enough (as a kubelet probe's first success is), a failure excepted; back from Unhealthy
    it takes `success_threshold` results in a row that are no failure, from Warning as many clean ones. Failures,
    warnings and inconclusive results need `failure_threshold` in a row; an inconclusive result breaks no row of the
    others, as the kubelet's probes have it.
    """
    if result.measured_at is not None and result.measured_at == before.measured_at:
        return before
    at = result.measured_at or now
    after = _counted(before, result, failure_threshold=failure_threshold, at=at)
    if result.fingerprint and result.fingerprint != before.fingerprint:
        after = replace(after, fingerprint=result.fingerprint, read_since=now)
    since = after.failing_since
    if result.outcome is Outcome.FAIL and since is not None and at < since + sustained:
        # It has not failed for long enough, whatever the count.
        return replace(after, reason=before.reason, message=before.message)
    state = _state(after, result.outcome, failure_threshold=failure_threshold, success_threshold=success_threshold)
    changed = state is not before.state
    after = replace(after, state=state, since=now if changed else before.since)
    # Between transitions the words belong to the state that holds, not to a single odd result.
    if changed or result.outcome is _SPEAKS.get(state, result.outcome):
        return replace(after, reason=result.reason, message=result.message)
    return after


def _counted(before: Fold, result: CheckResult, *, failure_threshold: int, at: datetime) -> Fold:
    """One more result in the rows, and what it measured."""
    outcome, said = result.outcome, result.outcome is not Outcome.INCONCLUSIVE
    inconclusive = 0 if said else before.inconclusive + 1

    def row(count: int, goes_on: bool) -> int:
        return (count + 1 if goes_on else 0) if said else count

    return replace(
        before,
        passes=row(before.passes, outcome in _NO_FAILURE),
        clean=row(before.clean, outcome is Outcome.PASS),
        unclean=row(before.unclean, outcome is not Outcome.PASS),
        failures=row(before.failures, outcome is Outcome.FAIL),
        failing_since=(before.failing_since or at if outcome is Outcome.FAIL else None)
        if said
        else before.failing_since,
        measured_at=result.measured_at or before.measured_at,
        inconclusive=inconclusive,
        silent=inconclusive >= failure_threshold,
        ever_passed=before.ever_passed or outcome in _NO_FAILURE,
        latency_seconds=result.latency_seconds,
        components=result.components if said else before.components,
        dead_letters=result.dead_letters if said else before.dead_letters,
        figure=result.figure if result.figure is not None else before.figure,
        failed=before.failed + (outcome is Outcome.FAIL),
        reconnects=before.reconnects + result.reconnected,
    )


def _state(after: Fold, outcome: Outcome, *, failure_threshold: int, success_threshold: int) -> HealthState:
    state = after.state
    if outcome is Outcome.FAIL:
        return HealthState.UNHEALTHY if after.failures >= failure_threshold else state
    if outcome is Outcome.INCONCLUSIVE:
        return HealthState.UNKNOWN if after.silent else state
    if outcome is Outcome.WARN:
        due = {
            HealthState.UNHEALTHY: after.passes >= success_threshold,
            HealthState.HEALTHY: after.unclean >= failure_threshold,
        }
        return HealthState.WARNING if due.get(state, True) else state
    due = {
        HealthState.UNHEALTHY: after.passes >= success_threshold,
        HealthState.WARNING: after.clean >= success_threshold,
    }
    return HealthState.HEALTHY if due.get(state, True) else state


# States in which something works.
WELL = (HealthState.HEALTHY, HealthState.WARNING)
_NO_FAILURE = (Outcome.PASS, Outcome.WARN)
# Which result explains a state; Unknown is explained by whatever was seen last.
_SPEAKS = {
    HealthState.HEALTHY: Outcome.PASS,
    HealthState.WARNING: Outcome.WARN,
    HealthState.UNHEALTHY: Outcome.FAIL,
}


_BADNESS = {HealthState.HEALTHY: 0, HealthState.UNKNOWN: 1, HealthState.WARNING: 2, HealthState.UNHEALTHY: 3}


def worst(states: list[HealthState]) -> HealthState:
    """The state of the whole: Unhealthy over Warning over Unknown over Healthy; Unknown when there is nothing."""
    return max(states, key=_BADNESS.__getitem__, default=HealthState.UNKNOWN)


def over_pods(name: str, folds: dict[str, Fold], *, now: datetime) -> CheckState:
    """State of a pod-scope check: the worst pod speaks, and the message says how many agree."""
    if not folds:
        return CheckState(name, HealthState.UNKNOWN, "NoPods", "no pod to check", now, None)
    # A pod that has never passed is starting: it says nothing about the service while others do.
    heard = [each for each in folds.values() if each.ever_passed] or list(folds.values())
    state = worst([each.state for each in heard])
    speakers = [each for each in heard if each.state is state]
    first = min(speakers, key=lambda each: each.since)
    message = (
        first.message if state is HealthState.HEALTHY else f"{len(speakers)} of {len(folds)} pods: {first.message}"
    )
    latencies = [each.latency_seconds for each in folds.values() if each.latency_seconds is not None]
    return CheckState(
        name=name,
        state=state,
        reason=first.reason,
        message=message,
        since=first.since,
        latency_seconds=max(latencies, default=None),
        by_pod={uid: each.state for uid, each in folds.items()},
        passes_by_pod={uid: each.passes for uid, each in folds.items()},
        words_by_pod={uid: each.message for uid, each in folds.items() if each.state is HealthState.UNHEALTHY},
        failed=sum(each.failed for each in folds.values()),
        components=first.components,
        silent=all(each.silent for each in folds.values() if each.state is HealthState.UNKNOWN),
        settled_since=max(each.since for each in folds.values()),
    )


def of_service(name: str, folded: Fold) -> CheckState:
    """State of a check that has one target."""
    return CheckState(
        name,
        folded.state,
        folded.reason,
        folded.message,
        folded.since,
        folded.latency_seconds,
        silent=folded.silent,
        passes=folded.holding,
        failures=folded.failures,
        components=folded.components,
        fingerprint=folded.fingerprint,
        read_since=folded.read_since,
        failed=folded.failed,
        reconnects=folded.reconnects,
        dead_letters=folded.dead_letters,
        figure=folded.figure,
        failing_since=folded.failing_since,
    )
