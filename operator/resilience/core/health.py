"""Folding of check results with thresholds, and of many states into one.

Unknown is not Unhealthy: an inconclusive result changes nothing by itself, it only ends in Unknown when it persists.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from resilience.api.reasons import HealthState
from resilience.core.observation import CheckState

# Reason of a state before the first result.
NOT_RUN_YET = "NotRunYet"


class Outcome(StrEnum):
    """Result of one run of a check."""

    PASS = "Pass"
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


@dataclass(frozen=True, slots=True)
class Fold:
    """State of one check target with its counts of consecutive results."""

    state: HealthState
    since: datetime
    passes: int = 0
    failures: int = 0
    inconclusive: int = 0
    # Whether the last runs, as many as a verdict takes, could not say anything.
    silent: bool = False
    # Whether it has passed at least once since it is known.
    ever_passed: bool = False
    reason: str = ""
    message: str = ""
    latency_seconds: float | None = None


def initial(*, now: datetime) -> Fold:
    """Nothing is known yet."""
    return Fold(state=HealthState.UNKNOWN, since=now, reason=NOT_RUN_YET, message="has not run yet")


def fold(before: Fold, result: CheckResult, *, failure_threshold: int, success_threshold: int, now: datetime) -> Fold:
    """The state after one more result.

    From Unknown one pass is enough (as a kubelet probe's first success is); back from Unhealthy it takes
    `success_threshold` passes in a row. Failures and inconclusive results need `failure_threshold` in a row; an
    inconclusive result breaks no row of the others, as the kubelet's probes have it.
    """
    said = result.outcome is not Outcome.INCONCLUSIVE
    passes = (before.passes + 1 if result.outcome is Outcome.PASS else 0) if said else before.passes
    failures = (before.failures + 1 if result.outcome is Outcome.FAIL else 0) if said else before.failures
    inconclusive = before.inconclusive + 1 if result.outcome is Outcome.INCONCLUSIVE else 0
    state = before.state
    if result.outcome is Outcome.PASS and (state is not HealthState.UNHEALTHY or passes >= success_threshold):
        state = HealthState.HEALTHY
    elif result.outcome is Outcome.FAIL and failures >= failure_threshold:
        state = HealthState.UNHEALTHY
    elif inconclusive >= failure_threshold:
        state = HealthState.UNKNOWN
    changed = state is not before.state
    after = Fold(
        state=state,
        since=now if changed else before.since,
        passes=passes,
        failures=failures,
        inconclusive=inconclusive,
        silent=inconclusive >= failure_threshold,
        ever_passed=before.ever_passed or result.outcome is Outcome.PASS,
        reason=result.reason,
        message=result.message,
        latency_seconds=result.latency_seconds,
    )
    # Between transitions the words belong to the state that holds, not to a single odd result.
    if changed or result.outcome is _SPEAKS.get(state, result.outcome):
        return after
    return replace(after, reason=before.reason, message=before.message)


# Which result explains a state; Unknown is explained by whatever was seen last.
_SPEAKS = {HealthState.HEALTHY: Outcome.PASS, HealthState.UNHEALTHY: Outcome.FAIL}


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
    )
