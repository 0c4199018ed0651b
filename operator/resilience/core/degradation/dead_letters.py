"""Replay of dead letters to their stream when the service's dependencies work: by request, or automatically.

A pass moves one batch. An entry that is replayed and fails again returns as a dead letter; automatic replays then wait
longer each time, so that a poisoned entry does not circulate for ever.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from resilience.api.checks import Scope
from resilience.api.dependency_checks import Replay as When
from resilience.api.reasons import Reason, Request
from resilience.api.status import HistoryEntry, Status
from resilience.api.status_flags import ReplayStatus
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.health import dependencies
from resilience.core.health.thresholds import WELL
from resilience.core.model import history, requests, wrong_parts
from resilience.core.model.context import Context
from resilience.core.model.decision import SOON, Event, Replay, StepResult, earliest
from resilience.core.model.destinations import DeadLetters
from resilience.core.model.observation import Observation
from resilience.core.model.replays import Replayed

FIRST_PAUSE: Final = timedelta(minutes=1)
LONGEST_PAUSE: Final = timedelta(hours=1)
# No event reports that the wait of a replay is over, but checks wake the key.
LOOK_AGAIN: Final = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class _StreamStep:
    """Outcome of a pass for one stream."""

    entry: ReplayStatus | None
    events: tuple[Event, ...] = ()
    action: Replay | None = None
    wait: timedelta | None = None
    ended: HistoryEntry | None = None


def reconcile(context: Context) -> StepResult:
    """Begin, continue and end replays. While a flag is on, nothing is replayed.

    Nothing begins, moves or ends while a check of a dependency cannot be read, for it may be that of the stream.
    """
    spec, status, observation, now = context.spec, context.status, context.observation, context.now
    if spec.suspend or wrong_parts.hidden_dependencies(context.resource):
        return StepResult(status)
    is_running = any(entry.finished_at is None for entry in status.replays)
    # A request that arrives during a replay is about the dead letters that have arrived since.
    request = requests.pending(context.resource.annotations, status, Request.REPLAY) if not is_running else None
    streams = list(_streams(spec, namespace=context.namespace))
    events: list[Event] = []
    if request is not None:
        note = "begun" if streams else "no redisStream check has a deadLetter"
        status = requests.handle(status, Request.REPLAY, request, now=now, note=note)
        if not streams:
            events.append(Event(Reason.REQUEST_IGNORED, f"replay: {note}"))
    before = {entry.check: entry for entry in status.replays}
    blocked = _blocked(spec, observation, status)
    steps = [
        _stream(name, when, letters, before.get(name), observation, request or "", blocked, now)
        for name, when, letters in streams
    ]
    past = list(status.history)
    for step in steps:
        if step.ended is not None:
            past = history.remember(past, step.ended, now)
    entries = [step.entry for step in steps if step.entry is not None]
    events.extend(event for step in steps for event in step.events)
    actions = tuple(step.action for step in steps if step.action is not None)
    wait = earliest(*(step.wait for step in steps))
    return StepResult(
        status.model_copy(update={"replays": entries, "history": past}),
        actions,
        tuple(events),
        requeue_after=SOON if wait is None and actions else wait,
    )


def _streams(spec: ResilientServiceSpec, *, namespace: str) -> Iterator[tuple[str, When, DeadLetters]]:
    for check in spec.health.checks:
        if check.redis_stream is None or check.redis_stream.dead_letter is None:
            continue
        letters = dependencies.dead_letters(check.redis_stream, spec, namespace=namespace)
        if letters is not None:
            yield check.name, check.redis_stream.dead_letter.replay, letters


def _blocked(spec: ResilientServiceSpec, observation: Observation, status: Status) -> str:
    """The reason to wait: dependencies not known to work and flags that are on; empty when there are none."""
    names = [check.name for check in spec.health.checks if check.scope is Scope.DEPENDENCY]
    bad = [name for name in names if name not in observation.checks or observation.checks[name].state not in WELL]
    bad += [f"flag {flag.name}" for flag in status.degradation if flag.on]
    return f"waits for {', '.join(bad)}" if bad else ""


def _stream(
    name: str,
    when: When,
    letters: DeadLetters,
    before: ReplayStatus | None,
    observation: Observation,
    request: str,
    blocked: str,
    now: datetime,
) -> _StreamStep:
    if before is not None and before.finished_at is None:
        return _continue(name, letters, before, observation.replays.get(name), blocked, now)
    check = observation.checks.get(name)
    count = check.dead_letters if check is not None else None
    if request:
        return _begin(name, letters, ReplayStatus(check=name, request=request, started_at=now), blocked)
    # Entries that were too old stay, and are no reason to begin again.
    stays = before.left if before is not None else 0
    if when is not When.AUTOMATIC or not count or count <= stays or blocked:
        return _StreamStep(before)
    returns, due = 0, now
    if before is not None and before.finished_at is not None:
        pause = min(FIRST_PAUSE * 2**before.returns, LONGEST_PAUSE)
        due = before.finished_at + pause
        returns = min(before.returns + 1, 10) if now < due + pause else 0
    if now < due:
        return _StreamStep(before, wait=due - now)
    return _begin(name, letters, ReplayStatus(check=name, started_at=now, returns=returns), blocked)


def _begin(name: str, letters: DeadLetters, entry: ReplayStatus, blocked: str) -> _StreamStep:
    words = f"replay of dead letters from {letters.dead_letter} to {letters.stream} ({name})"
    event = Event(Reason.REPLAY_STARTED, f"{words} {blocked or 'began'}")
    # Status is written first: the next pass moves the first batch.
    return _StreamStep(entry.model_copy(update={"message": blocked}), (event,), wait=timedelta())


def _continue(
    name: str, letters: DeadLetters, entry: ReplayStatus, done: Replayed | None, blocked: str, now: datetime
) -> _StreamStep:
    if done is not None and done.started != entry.started_at:
        done = None
    if done is not None:
        entry = entry.model_copy(update={"replayed": done.count, "left": done.left})
        if not done.more:
            return _end(name, entry, now, uncounted=done.uncounted)
    if blocked:
        return _StreamStep(entry.model_copy(update={"message": blocked}), wait=LOOK_AGAIN)
    action = Replay(name, letters, entry.started_at, entry.replayed)
    trouble = done.trouble if done is not None else ""
    return _StreamStep(
        entry.model_copy(update={"message": trouble}), action=action, wait=LOOK_AGAIN if trouble else None
    )


def _end(name: str, entry: ReplayStatus, now: datetime, *, uncounted: bool) -> _StreamStep:
    kept = f", {entry.left} older than maxAge stay" if entry.left else ""
    least = "at least " if uncounted else ""
    words = f"{least}{entry.replayed} dead letters of {name} were put back{kept}"
    ended = entry.model_copy(update={"finished_at": now, "message": words})
    past = HistoryEntry(at=now, kind="Replay", result="Succeeded", message=words, duration=now - entry.started_at)
    return _StreamStep(ended, (Event(Reason.REPLAY_ENDED, words),), ended=past)
