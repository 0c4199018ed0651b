"""Runs health checks from one due-time heap with bounded concurrency, and folds each result where it arises.

Namespaces get the slots in turn, so that one whose checks are never answered holds up no other's.
Only transitions cause a reconcile. No check is repeated: one run, one result.
"""

import asyncio
import contextlib
import heapq
import itertools
import random
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

import structlog

from resilience.core.health import bounds, thresholds
from resilience.core.model.check_state import CheckState
from resilience.core.model.observation import Key
from resilience.core.model.probes import (
    CheckTarget,
    ContentProbe,
    PostgresProbe,
    Probe,
    RedisPlace,
    RedisProbe,
    RedisStreamProbe,
)
from resilience.core.restarts.content import CONTENT_CHECK
from resilience.ports import Checker, Clock, Metrics
from resilience.ports.on_behalf import on_behalf_of
from resilience.runtime.namespace_slots import NamespaceSlots

log = structlog.get_logger(__name__)

Id = tuple[Key, str, str]
# Equal probes with the same interval and timeout share one run.
_RunKey = tuple[Probe, timedelta, timedelta]
# A dependency that is down is checked less often: after at most so many times the usual interval, and so long.
_BACK_OFF_TIMES: Final = 4
_BACK_OFF_MAX: Final = timedelta(seconds=30)
# Seconds. Checks that are due within it run together: one wake-up of the loop costs more than most checks.
_TICK: Final = 0.05
_DEPENDENCIES: Final = (PostgresProbe, RedisProbe, RedisStreamProbe)


@dataclass(slots=True)
class _Entry:
    """One target with its state."""

    target: CheckTarget
    fold: thresholds.Fold


@dataclass(slots=True)
class _Run:
    """One probe and all targets that wait for its result; `due` distinguishes the live heap entry from stale ones."""

    entries: dict[Id, _Entry] = field(default_factory=dict)
    running: bool = False
    # Namespaces in whose lines it waits for a slot: the first whose turn comes has it run for all.
    lines: set[str] = field(default_factory=set)
    due: float = 0.0
    failures: int = 0


@dataclass(slots=True)
class CheckRunner:
    """Runs checks. `on_transition` is called with the key whenever a folded state, or what was read, changes."""

    checker: Checker
    metrics: Metrics
    clock: Clock
    on_transition: Callable[[Key], None]
    concurrency: int
    # Called with every Redis that a flag depends on, by namespace, whenever one of them is added or removed.
    on_places: Callable[[Mapping[str, Set[RedisPlace]]], None] = lambda _: None
    _runs: dict[_RunKey, _Run] = field(default_factory=dict)
    _of_key: dict[Key, tuple[CheckTarget, ...]] = field(default_factory=dict)
    _heap: list[tuple[float, int, _RunKey]] = field(default_factory=list)
    _count: "itertools.count[int]" = field(default_factory=itertools.count)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _slots: NamespaceSlots[_RunKey] = field(init=False)

    def __post_init__(self) -> None:
        self._slots = NamespaceSlots(self.concurrency)

    def forget(self, key: Key) -> None:
        """Stops the checks of a resource that is gone."""
        self.sync(key, ())

    def sync(self, key: Key, targets: Sequence[CheckTarget]) -> None:
        """Makes these the only targets of the key; a target that stays keeps its state."""
        wanted = tuple(targets)
        before = self._of_key.get(key, ())
        if wanted == before:
            return
        kept = {_id(key, target): self._leave(key, target) for target in before}
        for target in wanted:
            identity = _id(key, target)
            entry = kept.get(identity)
            if entry is None or _invalidates_state(entry.target, target):
                fold = thresholds.initial(now=self.clock.now(), assumed=target.assumed, answered=target.proven)
                entry = _Entry(target, fold)
            elif target.proven and not entry.fold.answered:
                entry.fold = replace(entry.fold, answered=True)
            entry.target = target
            self._join(identity, entry)
        for target in before:
            if (run := self._runs.get(_run_key(target))) is not None and not run.entries:
                self._leave_lines(_run_key(target), run)
                del self._runs[_run_key(target)]
        if wanted:
            self._of_key[key] = wanted
        else:
            self._of_key.pop(key, None)
        if any(target.rows and isinstance(target.probe, RedisProbe) for target in (*before, *wanted)):
            self.on_places(self._places())

    def _leave(self, key: Key, target: CheckTarget) -> _Entry:
        return self._runs[_run_key(target)].entries.pop(_id(key, target))

    def _join(self, identity: Id, entry: _Entry) -> None:
        run_key = _run_key(entry.target)
        run = self._runs.get(run_key)
        if run is None:
            run = self._runs[run_key] = _Run()
            self._schedule(run_key, run, self.clock.monotonic())
        run.entries[identity] = entry
        if run.lines:
            self._line_up(run_key, run)
            self._wake.set()

    def _line_up(self, run_key: _RunKey, run: _Run) -> None:
        """The run waits for a slot, in the line of every namespace that has asked for it."""
        run.lines |= {key.namespace for key, _, _ in run.entries}
        for namespace in run.lines:
            self._slots.wait(namespace, run_key)

    def _leave_lines(self, run_key: _RunKey, run: _Run) -> None:
        for namespace in run.lines:
            self._slots.drop(namespace, run_key)
        run.lines.clear()

    def states(self, key: Key) -> Mapping[str, CheckState]:
        """Folded state of each check of the key, by name."""
        by_check: dict[str, dict[str, thresholds.Fold]] = {}
        probes: dict[str, dict[str, Probe]] = {}
        questions: dict[str, str] = {}
        for target in self._of_key.get(key, ()):
            fold = self._runs[_run_key(target)].entries[_id(key, target)].fold
            by_check.setdefault(target.check, {})[target.pod_uid] = fold
            probes.setdefault(target.check, {})[target.pod_uid] = target.probe
            questions[target.check] = target.question
        now = self.clock.now()
        return {
            name: replace(thresholds.of_service(name, folds[""]), question=questions[name])
            if "" in folds
            else replace(
                thresholds.over_pods(name, folds, now=now), probes_by_pod=probes[name], question=questions[name]
            )
            for name, folds in by_check.items()
        }

    def lost(self, place: RedisPlace, reason: str, message: str) -> None:
        """Records a report that this Redis is lost: flags that depend on it need not wait for checks to fail."""
        now = self.clock.now()
        for run_key, run in self._runs.items():
            if not isinstance(run_key[0], RedisProbe) or run_key[0].place != place:
                continue
            for (key, _, _), entry in run.entries.items():
                if entry.target.rows:
                    entry.fold = thresholds.mark_lost(entry.fold, reason=reason, message=message, now=now)
                    self.on_transition(key)
            if not run.running:
                self._schedule(run_key, run, self.clock.monotonic())

    def _places(self) -> dict[str, set[RedisPlace]]:
        places: dict[str, set[RedisPlace]] = {}
        for (probe, _, _), run in self._runs.items():
            for (key, _, _), entry in run.entries.items():
                if isinstance(probe, RedisProbe) and entry.target.rows:
                    places.setdefault(key.namespace, set()).add(probe.place)
        return places

    async def run(self) -> None:
        """Runs checks until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                wait = self._move_due()
                while (taken := self._slots.take()) is not None:
                    namespace, run_key = taken
                    run = self._runs[run_key]
                    self._leave_lines(run_key, run)
                    run.running = True
                    group.create_task(self._check(run_key, run, namespace))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._wake.wait()

    def _move_due(self) -> float | None:
        """Lines up the runs that are due; returns the seconds until the next one is, None when there is none."""
        now = self.clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            due, _, run_key = heapq.heappop(self._heap)
            run = self._runs.get(run_key)
            if run is not None and run.due == due and not run.running:
                self._line_up(run_key, run)
        return self._heap[0][0] - now if self._heap else None

    async def _check(self, run_key: _RunKey, run: _Run, namespace: str) -> None:
        probe, interval, timeout = run_key
        began = self.clock.monotonic()
        try:
            with on_behalf_of(key.namespace for key, _, _ in run.entries):
                result = await self.checker.check(probe, timeout=timeout)
        except Exception as error:
            # The answer of one service's server must not end all checks.
            log.exception("check failed to run", probe=type(probe).__name__)
            message = f"the operator could not interpret the answer ({type(error).__name__}); please report that"
            result = thresholds.CheckResult(thresholds.Outcome.INCONCLUSIVE, "CheckError", message)
        finally:
            run.running = False
            self._slots.give_back(namespace)
            self._wake.set()
        if self._runs.get(run_key) is not run:
            return
        run.failures = run.failures + 1 if result.outcome is thresholds.Outcome.FAIL else 0
        for identity, entry in list(run.entries.items()):
            self._fold(identity[0], entry, result)
        # Spread by ± 5 %, so that checks that begin together do not stay together.
        pause = _pause(run, probe, interval).total_seconds() * random.uniform(0.95, 1.05)
        # Counted from the beginning of the run: a timeout is no reason to check less often.
        due = max(began + pause, self.clock.monotonic())
        self._schedule(run_key, run, round(due / _TICK) * _TICK)

    def _fold(self, key: Key, entry: _Entry, result: thresholds.CheckResult) -> None:
        target, before = entry.target, entry.fold
        now = self.clock.now()
        judged = bounds.in_time(result, target.latency)
        self.metrics.checked(
            key=key,
            check=CONTENT_CHECK if isinstance(target.probe, ContentProbe) else target.check,
            outcome=judged.outcome,
            seconds=judged.latency_seconds,
            at=now.timestamp(),
        )
        entry.fold = thresholds.fold(
            before,
            judged,
            failure_threshold=target.failure_threshold,
            success_threshold=target.success_threshold,
            now=now,
            sustained=target.sustained,
        )
        if entry.fold.differs(before, rows=target.rows):
            self.on_transition(key)

    def _schedule(self, run_key: _RunKey, run: _Run, due: float) -> None:
        run.due = due
        heapq.heappush(self._heap, (due, next(self._count), run_key))
        self._wake.set()


def _invalidates_state(before: CheckTarget, after: CheckTarget) -> bool:
    """The known state does not apply to `after`: thresholds differ, or the spec asks for another thing than before.

    A Service may get another address without that; a pod does not.
    """
    is_edited = (before.failure_threshold, before.sustained, before.question) != (
        after.failure_threshold,
        after.sustained,
        after.question,
    )
    return is_edited or (bool(after.pod_uid) and before.probe != after.probe)


def _pause(run: _Run, probe: Probe, interval: timedelta) -> timedelta:
    """Time to the next run: longer after each failure of a dependency that every target counts as down.

    A check that sets its own interval keeps it.
    """
    if not isinstance(probe, _DEPENDENCIES) or any(entry.target.fixed for entry in run.entries.values()):
        return interval
    beyond = run.failures - max((entry.target.failure_threshold for entry in run.entries.values()), default=0)
    if beyond <= 0:
        return interval
    return max(min(interval * min(1 << min(beyond, 8), _BACK_OFF_TIMES), _BACK_OFF_MAX), interval)


def _run_key(target: CheckTarget) -> _RunKey:
    return target.probe, target.interval, target.timeout


def _id(key: Key, target: CheckTarget) -> Id:
    return key, target.check, target.pod_uid
