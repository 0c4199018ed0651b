"""A rollout in status: its beginning, its steps with their times, and its result.

Must not decide anything: the observation shows what is in flight, and status only remembers it for people.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from resilience.api.reasons import FailureClass, Reason, ReleaseStep, RolloutOutcome, RolloutStage
from resilience.api.status import HistoryEntry, Status
from resilience.api.status_base import Requests
from resilience.api.status_rollout import (
    FailedBefore,
    FailureStatus,
    RolloutResult,
    RolloutStatus,
    StepDuration,
    StepTime,
    Version,
)
from resilience.core.failures.classify import Failure
from resilience.core.model import trace_ids
from resilience.core.model.decision import Event, StepResult
from resilience.core.model.history import remember
from resilience.core.model.traffic import Traffic
from resilience.core.rollouts.description import describe_rollout, name_of

_REASONS = {
    RolloutOutcome.SUCCEEDED: Reason.RELEASE_SUCCEEDED,
    RolloutOutcome.ROLLED_BACK: Reason.RELEASE_FAILED,
    RolloutOutcome.PAUSED: Reason.RELEASE_FAILED,
    RolloutOutcome.FAILED: Reason.RELEASE_FAILED,
    RolloutOutcome.ABORTED: Reason.RELEASE_ABORTED,
    RolloutOutcome.SUPERSEDED: Reason.RELEASE_SUPERSEDED,
}
# A resource that was created again knows the mark on the Deployment, but not what was observed then.
_FAILED_BEFORE = Failure(
    kind=FailureClass.UNKNOWN,
    reason="FailedBefore",
    message="this template failed before this resource knew it",
    advice="change the template, or request it again: resilience.dev/retry-requested-at",
)
_DRAINING = (RolloutStage.DRAINING, RolloutStage.DRAINING_GREEN, RolloutStage.DISCARDING)


@dataclass(frozen=True, slots=True)
class Progress:
    """The rollout that is in flight now; none is when `candidate` is None."""

    serving: Version | None
    candidate: Version | None
    # Name of the step, for people.
    step: str
    percent: int = 0
    message: str = ""
    failure: Failure | None = None
    # Fingerprint of the template that is known to have failed; empty when none is.
    failed: str = ""
    # The version that the user wants, when it is the one that failed.
    unwanted: Version | None = None
    # True when the user no longer wants the failed version: going back to the one that serves is enough.
    cleared: bool = False
    kept_connections: int | None = None
    pins_lost: int = 0
    # Field manager that resumed the target in this release, or "somebody"; empty when it is not resumed.
    resumed_by: str = ""
    # Old pods that the Deployment controller has ended by itself meanwhile, as far as it shows now.
    pods_ended: int = 0
    traffic: Traffic | None = None
    # Failures as long as the candidate has no traffic; None when those that status holds stay.
    failed_before: FailedBefore | None = None
    # Outcome of a failure that is not rolled back.
    stays: RolloutOutcome | None = None


def update_status(status: Status, progress: Progress, *, uid: str, now: datetime) -> StepResult:
    """Records the beginning, the progress and the end of the rollout in status."""
    events: list[Event] = []
    running = status.rollout
    if running.candidate is not None and not _is_same(running.candidate, progress.candidate):
        status, ended = _end(status, progress, now)
        events.append(ended)
    if progress.candidate is not None and status.rollout.candidate is None:
        status, began = _begin(status, progress, uid=uid, now=now)
        events.append(began)
    rollout, more = _follow(status.rollout, progress, now)
    return StepResult(status.model_copy(update={"rollout": rollout}), events=(*events, *more))


def _is_same(one: Version, other: Version | None) -> bool:
    return other is not None and one.hash == other.hash


def _begin(status: Status, progress: Progress, *, uid: str, now: datetime) -> tuple[Status, Event]:
    assert progress.candidate is not None
    trace = trace_ids.new(uid, now)
    rollout = RolloutStatus(step=progress.step, started_at=now, trace_id=trace, candidate=progress.candidate)
    previous = f" in place of {name_of(progress.serving)}" if progress.serving is not None else ""
    message = f"release of {name_of(progress.candidate)}{previous} began (trace {trace})"
    return status.model_copy(update={"rollout": rollout}), Event(Reason.RELEASE_STARTED, message)


def _follow(running: RolloutStatus, progress: Progress, now: datetime) -> tuple[RolloutStatus, list[Event]]:
    events: list[Event] = []
    failure = running.failure
    if (
        progress.failure is not None
        and progress.candidate is not None
        and (failure is None or failure.version.hash != progress.candidate.hash)
    ):
        failure = _failure_status(progress.failure, progress.candidate, now)
        message = f"{name_of(progress.candidate)}: {failure.class_}: {failure.message}. {failure.advice}"
        if progress.failure.kind is not FailureClass.ABORTED:
            logs_of = progress.failure.pod if progress.failure.kind is FailureClass.UNKNOWN else ""
            events.append(Event(Reason.RELEASE_FAILED, f"{message} (trace {running.trace_id})", True, logs_of))
    is_gone = failure is not None and failure.version.hash != progress.failed
    if progress.candidate is None and (is_gone or progress.cleared):
        failure = None
    if progress.candidate is None and failure is None and progress.unwanted is not None:
        failure = _failure_status(_FAILED_BEFORE, progress.unwanted, now)
    if progress.pins_lost:
        message = f"{progress.pins_lost} Services lost the pin of a release; they are pinned again"
        events.append(Event(Reason.PIN_LOST, message, warning=True))
    if progress.candidate is not None and progress.resumed_by and not running.resumed_by:
        events.append(_resumed(progress))
    last_step = running.steps[-1] if running.steps else None
    steps = running.steps if progress.candidate is not None else []
    cut_connections = running.kept_connections_cut
    if progress.candidate is not None and (last_step is None or last_step.name != progress.step):
        steps = [*steps, StepTime(name=progress.step, since=now)][-32:]
        if (
            last_step is not None
            and _cuts_connections(last_step.name, progress.step)
            and running.kept_connections is not None
        ):
            cut_connections = (cut_connections or 0) + running.kept_connections
    # Within a step progress only rises.
    is_same_step = last_step is not None and last_step.name == progress.step and progress.candidate is not None
    kept_connections = progress.kept_connections
    if kept_connections is None and is_same_step and progress.step in _DRAINING:
        # Pods that end are not queried any more; the number that they last reported is the number that is cut.
        kept_connections = running.kept_connections
    return running.model_copy(
        update={
            "step": progress.step,
            "progress": max(progress.percent, running.progress) if is_same_step else progress.percent,
            "message": progress.message[:1024],
            "serving": progress.serving,
            "candidate": progress.candidate,
            "failure": failure,
            "steps": steps,
            "pins_lost": running.pins_lost + progress.pins_lost if progress.candidate is not None else 0,
            "resumed_by": _resumed_by(running, progress),
            "pods_ended": max(running.pods_ended, progress.pods_ended) if progress.candidate is not None else 0,
            "kept_connections": kept_connections,
            "kept_connections_cut": cut_connections if progress.candidate is not None else None,
            "requests": _requests(running, progress),
            "failed_before": _failed_before(running, progress),
            "trace_id": running.trace_id if progress.candidate is not None else None,
            "started_at": running.started_at if progress.candidate is not None else None,
            "aborted": running.aborted and progress.candidate is not None,
        }
    ), events


def _resumed(progress: Progress) -> Event:
    message = (
        f"{progress.resumed_by} resumed the Deployment at step {progress.step}; its controller may end old pods by"
        " itself, and pods without a preStop hook lose requests: do not resume it during a release"
    )
    return Event(Reason.DEPLOYMENT_RESUMED, message, warning=True)


def _resumed_by(running: RolloutStatus, progress: Progress) -> str | None:
    if progress.candidate is None:
        return None
    return running.resumed_by or progress.resumed_by or None


def _cuts_connections(step: str, next_step: str) -> bool:
    """The next step cuts the connections that clients still kept at this step."""
    return step in _DRAINING and next_step != ReleaseStep.REVERTING


def _failure_status(failure: Failure, version: Version, now: datetime) -> FailureStatus:
    return FailureStatus(
        class_=failure.kind,
        reason=failure.reason,
        message=failure.message[:1024],
        advice=failure.advice[:1024],
        version=version,
        at=now,
    )


def _failed_before(running: RolloutStatus, progress: Progress) -> FailedBefore | None:
    if progress.candidate is None:
        return None
    failed = running.failed_before if progress.failed_before is None else progress.failed_before
    return failed if failed is not None and (failed.requests or failed.checks) else None


def _requests(running: RolloutStatus, progress: Progress) -> Requests | None:
    if progress.candidate is None:
        return None
    if progress.traffic is None:
        return running.requests
    return progress.traffic.in_status()


def _end(status: Status, progress: Progress, now: datetime) -> tuple[Status, Event]:
    running = status.rollout
    candidate = running.candidate
    assert candidate is not None
    result = _outcome(running, progress)
    failure = running.failure if running.failure and running.failure.version.hash == candidate.hash else None
    if running.kept_connections is not None and running.steps and running.steps[-1].name in _DRAINING:
        cut: int | None = (running.kept_connections_cut or 0) + running.kept_connections
    else:
        cut = running.kept_connections_cut
    started = running.started_at or now
    ended = RolloutResult(
        result=result,
        trace_id=running.trace_id or "",
        from_=running.serving,
        to=candidate,
        reason=failure.reason if failure is not None else "",
        message=failure.message if failure is not None else "",
        pods_ended=running.pods_ended,
        started_at=started,
        duration=now - started,
        requests=running.requests,
        kept_connections_cut=cut,
        steps=_durations(running.steps, now),
    )
    message = describe_rollout(ended)
    entry = HistoryEntry(
        at=now,
        kind="Release",
        result=result,
        message=message[:1024],
        trace_id=ended.trace_id,
        duration=ended.duration,
        steps=ended.steps,
    )
    at_rest = RolloutStatus(failure=running.failure, serving=running.serving)
    updated = status.model_copy(
        update={"rollout": at_rest, "last_rollout": ended, "history": remember(status.history, entry, now)}
    )
    is_failure = result in (RolloutOutcome.ROLLED_BACK, RolloutOutcome.PAUSED, RolloutOutcome.FAILED)
    return updated, Event(_REASONS[result], f"{message} (trace {ended.trace_id})", warning=is_failure)


def _outcome(running: RolloutStatus, progress: Progress) -> RolloutOutcome:
    candidate = running.candidate
    assert candidate is not None
    failed = progress.failed == candidate.hash or (
        running.failure is not None and running.failure.version.hash == candidate.hash
    )
    if running.aborted and failed:
        return RolloutOutcome.ABORTED
    if progress.serving is not None and progress.serving.hash == candidate.hash and progress.failed != candidate.hash:
        # Whatever failure was recorded on its way, the version recovered and was accepted.
        return RolloutOutcome.SUCCEEDED
    if failed:
        return progress.stays or RolloutOutcome.ROLLED_BACK
    return RolloutOutcome.SUPERSEDED


def _durations(steps: list[StepTime], now: datetime) -> list[StepDuration]:
    ends = [*(step.since for step in steps[1:]), *([now] if steps else [])]
    return [
        StepDuration(name=step.name, duration=max(end - step.since, timedelta()))
        for step, end in zip(steps, ends, strict=True)
    ]
