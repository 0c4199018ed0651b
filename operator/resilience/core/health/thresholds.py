"""Folding of check results into states by thresholds, and of many states into one.

Unknown is not Unhealthy. One inconclusive result changes no state; the state only becomes Unknown when they persist.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from resilience.api.reasons import HealthState
from resilience.core.health import reach
from resilience.core.model.check_state import CheckState, Component

# Reason of a state before the first result.
NOT_RUN_YET = "NotRunYet"


class Outcome(StrEnum):
    """Result of one run of a check."""

    PASS = "Pass"
    # The target works, but something runs short: neither a failure nor a clean pass.
    WARN = "Warn"
    FAIL = "Fail"
    # The check could not be made, through the operator's own fault or nobody's. It never counts against the target.
    INCONCLUSIVE = "Inconclusive"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Result of one run of a check. `message` is for people; of the target's answer it contains the status at most."""

    outcome: Outcome
    reason: str
    message: str
    latency_seconds: float | None = None
    # States of the application's parts, from its own health body, for http checks that read them.
    components: tuple[Component, ...] = ()
    # False when the application never got the request, as far as is known: no connection, a reset, or not let in.
    answered: bool = True
    # True when a new connection had to be made, for checks that keep one.
    reconnected: bool = False
    # Identity of the content that was read, for checks that detect changes.
    fingerprint: str = ""
    # Time of the measurement, for checks that read figures; the same measurement counts once.
    measured_at: datetime | None = None
    # Number of dead letters, for streams that have them.
    dead_letters: int | None = None
    # The number that the check compares with bounds, if it is a single one.
    figure: float | None = None
    # Seconds that the replicas of a database are behind; only for checks that measure just that.
    replication_lag: float | None = None


@dataclass(frozen=True, slots=True)
class Fold:
    """State of one check target with its counts of consecutive results."""

    state: HealthState
    since: datetime
    # Consecutive results: `passes` are not failures, `clean` neither failures nor warnings, `unclean` not clean.
    passes: int = 0
    clean: int = 0
    unclean: int = 0
    failures: int = 0
    inconclusive: int = 0
    # True when as many runs in a row as a verdict takes were inconclusive.
    silent: bool = False
    # True when the target has passed at least once since it became known.
    ever_passed: bool = False
    # True when the application has answered since then, or is known to have done so before: a failure is a change.
    answered: bool = False
    reason: str = ""
    message: str = ""
    latency_seconds: float | None = None
    components: tuple[Component, ...] = ()
    # Time of measurement of the first failure in the row, and of the last figure of any result.
    failing_since: datetime | None = None
    measured_at: datetime | None = None
    # Number of failures, and of new connections, since the target became known.
    failed: int = 0
    reconnects: int = 0
    # For checks that detect changes: identity of the content that was read last, and the time it was first read.
    fingerprint: str = ""
    read_since: datetime | None = None
    dead_letters: int | None = None
    figure: float | None = None
    replication_lag: float | None = None

    @property
    def passes_in_row(self) -> int:
        """Consecutive passes until now; zero while results are inconclusive."""
        return 0 if self.inconclusive else self.passes

    def differs(self, other: "Fold", *, rows: bool = False) -> bool:
        """The difference from `other` requires a decision; with `rows`, also when a row begins or ends."""
        if rows and (bool(self.failures), bool(self.passes_in_row)) != (
            bool(other.failures),
            bool(other.passes_in_row),
        ):
            return True
        read = (self.fingerprint, self.dead_letters, self.answered) != (
            other.fingerprint,
            other.dead_letters,
            other.answered,
        )
        return self.state is not other.state or read


def initial(*, now: datetime, assumed: HealthState = HealthState.UNKNOWN, answered: bool = False) -> Fold:
    """The state before the first result, which is the assumed one. `answered`: the check is known to have worked."""
    answered = answered or assumed is not HealthState.UNKNOWN
    return Fold(state=assumed, since=now, answered=answered, reason=NOT_RUN_YET, message="has not run yet")


def mark_lost(before: Fold, *, reason: str, message: str, now: datetime) -> Fold:
    """The state after a reliable report that the target is lost: as if it had failed often enough."""
    was_unhealthy = before.state is HealthState.UNHEALTHY
    return replace(
        before,
        state=HealthState.UNHEALTHY,
        since=before.since if was_unhealthy else now,
        passes=0,
        clean=0,
        failures=max(before.failures, 1),
        inconclusive=0,
        silent=False,
        answered=True,
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
    """The state after one more result; a result that was counted before changes nothing.

    From Unknown one result is enough, except a failure, as a kubelet probe needs one first success. From Unhealthy,
    recovery takes `success_threshold` results in a row that are not failures; from Warning, as many clean passes.
    Failures, warnings and inconclusive results need `failure_threshold` in a row. An inconclusive result does not
    interrupt a row of other results, as with the kubelet's probes.
    """
    if result.measured_at is not None and result.measured_at == before.measured_at:
        return before
    at = result.measured_at or now
    after = _counted(before, result, failure_threshold=failure_threshold, at=at)
    if result.fingerprint and result.fingerprint != before.fingerprint:
        after = replace(after, fingerprint=result.fingerprint, read_since=now)
    since = after.failing_since
    if result.outcome is Outcome.FAIL and since is not None and at < since + sustained:
        # It has not failed for long enough, regardless of the count.
        return replace(after, reason=before.reason, message=before.message)
    if not before.answered and before.state is HealthState.UNHEALTHY and result.outcome in _NO_FAILURE:
        # It counted as Unknown (`reach`), and from Unknown one success is enough.
        after = replace(after, state=HealthState.UNKNOWN)
    state = _state(after, result.outcome, failure_threshold=failure_threshold, success_threshold=success_threshold)
    changed = state is not before.state
    after = replace(after, state=state, since=now if changed else before.since)
    # Between transitions reason and message explain the present state, not a single deviating result.
    if changed or result.outcome is _EXPLAINED_BY.get(state, result.outcome):
        return replace(after, reason=result.reason, message=result.message)
    return after


def _counted(before: Fold, result: CheckResult, *, failure_threshold: int, at: datetime) -> Fold:
    """The fold with this result counted in its rows, and with the values that it measured."""
    outcome, is_conclusive = result.outcome, result.outcome is not Outcome.INCONCLUSIVE
    inconclusive = 0 if is_conclusive else before.inconclusive + 1

    def row(count: int, goes_on: bool) -> int:
        return (count + 1 if goes_on else 0) if is_conclusive else count

    return replace(
        before,
        passes=row(before.passes, outcome in _NO_FAILURE),
        clean=row(before.clean, outcome is Outcome.PASS),
        unclean=row(before.unclean, outcome is not Outcome.PASS),
        failures=row(before.failures, outcome is Outcome.FAIL),
        failing_since=(before.failing_since or at if outcome is Outcome.FAIL else None)
        if is_conclusive
        else before.failing_since,
        measured_at=result.measured_at or before.measured_at,
        inconclusive=inconclusive,
        silent=inconclusive >= failure_threshold,
        ever_passed=before.ever_passed or outcome in _NO_FAILURE,
        answered=before.answered or (is_conclusive and result.answered),
        latency_seconds=result.latency_seconds,
        components=result.components if is_conclusive else before.components,
        dead_letters=result.dead_letters if is_conclusive else before.dead_letters,
        figure=result.figure if result.figure is not None else before.figure,
        replication_lag=before.replication_lag if result.replication_lag is None else result.replication_lag,
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


# States in which a target works.
WELL = (HealthState.HEALTHY, HealthState.WARNING)
_NO_FAILURE = (Outcome.PASS, Outcome.WARN)
# The result that explains a state; Unknown is explained by the last result of any kind.
_EXPLAINED_BY = {
    HealthState.HEALTHY: Outcome.PASS,
    HealthState.WARNING: Outcome.WARN,
    HealthState.UNHEALTHY: Outcome.FAIL,
}

_BADNESS = {HealthState.HEALTHY: 0, HealthState.UNKNOWN: 1, HealthState.WARNING: 2, HealthState.UNHEALTHY: 3}


def worst(states: list[HealthState]) -> HealthState:
    """The worst state: Unhealthy, then Warning, then Unknown, then Healthy; Unknown when there are no states."""
    return max(states, key=_BADNESS.__getitem__, default=HealthState.UNKNOWN)


def over_pods(name: str, folds: dict[str, Fold], *, now: datetime) -> CheckState:
    """State of a Pod-scope check: the state of the worst pod, with a message that says how many pods share it."""
    if not folds:
        return CheckState(name, HealthState.UNKNOWN, "NoPods", "no pod to check", now, None)
    # A pod that has never passed is starting. It does not count while other pods have passed.
    counting = [pod_fold for pod_fold in folds.values() if pod_fold.ever_passed] or list(folds.values())
    state = worst([pod_fold.state for pod_fold in counting])
    agreeing = [pod_fold for pod_fold in counting if pod_fold.state is state]
    first = min(agreeing, key=lambda pod_fold: pod_fold.since)
    ever_passed = any(pod_fold.ever_passed for pod_fold in folds.values())
    message = (
        first.message if state is HealthState.HEALTHY else f"{len(agreeing)} of {len(folds)} pods: {first.message}"
    )
    latencies = [pod_fold.latency_seconds for pod_fold in folds.values() if pod_fold.latency_seconds is not None]
    whole = CheckState(
        name=name,
        state=state,
        reason=first.reason,
        message=message,
        since=first.since,
        latency_seconds=max(latencies, default=None),
        by_pod={uid: pod_fold.state for uid, pod_fold in folds.items()},
        passes_by_pod={uid: pod_fold.passes for uid, pod_fold in folds.items()},
        messages_by_pod={
            uid: pod_fold.message for uid, pod_fold in folds.items() if pod_fold.state is HealthState.UNHEALTHY
        },
        failed=sum(pod_fold.failed for pod_fold in folds.values()),
        components=first.components,
        silent=all(pod_fold.silent for pod_fold in folds.values() if pod_fold.state is HealthState.UNKNOWN),
        settled_since=max(pod_fold.since for pod_fold in folds.values()),
        ever_passed=ever_passed,
    )
    return whole if any(pod_fold.answered for pod_fold in folds.values()) else reach.unreachable(whole)


def of_service(name: str, folded: Fold) -> CheckState:
    """State of a check that has one target."""
    state = CheckState(
        name,
        folded.state,
        folded.reason,
        folded.message,
        folded.since,
        folded.latency_seconds,
        silent=folded.silent,
        passes=folded.passes_in_row,
        failures=folded.failures,
        components=folded.components,
        fingerprint=folded.fingerprint,
        read_since=folded.read_since,
        failed=folded.failed,
        reconnects=folded.reconnects,
        dead_letters=folded.dead_letters,
        figure=folded.figure,
        replication_lag=folded.replication_lag,
        failing_since=folded.failing_since,
        ever_passed=folded.ever_passed,
    )
    return state if folded.answered else reach.unreachable(state)
