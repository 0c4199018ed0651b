"""Runs health checks from one due-time heap with bounded concurrency, and folds their results where they arise.

Only transitions wake a reconcile. No check is repeated: one run, one result.
"""

import asyncio
import heapq
import itertools
import random
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import structlog

from resilience.core.health import thresholds
from resilience.core.model.check_state import CheckState
from resilience.core.model.observation import Key
from resilience.core.model.probes import CheckTarget, PostgresProbe, Probe, RedisPlace, RedisProbe, RedisStreamProbe
from resilience.ports import Checker, Clock, Metrics

log = structlog.get_logger(__name__)

Id = tuple[Key, str, str]
# Equal questions, asked equally often, are one run.
_Question = tuple[Probe, timedelta, timedelta]
# While a dependency is down it is asked less often: at most so many times its interval, and so long.
_BACK_OFF_TIMES: Final = 4
_BACK_OFF_MOST: Final = timedelta(seconds=30)
# Seconds. Checks that are due within it go together: a wake-up of the loop for each costs more than most checks.
_TICK: Final = 0.05
_DEPENDENCIES: Final = (PostgresProbe, RedisProbe, RedisStreamProbe)


@dataclass(slots=True)
class _Entry:
    """One target with its state."""

    target: CheckTarget
    fold: thresholds.Fold


@dataclass(slots=True)
class _Run:
    """One question and everybody who waits for its answer; `due` tells stale heap entries from the live one."""

    entries: dict[Id, _Entry] = field(default_factory=dict)
    running: bool = False
    due: float = 0.0
    failures: int = 0


@dataclass(slots=True)
class CheckRunner:
    """`on_transition` is called with the key whenever a folded state, or what was read, changes."""

    checker: Checker
    metrics: Metrics
    clock: Clock
    on_transition: Callable[[Key], None]
    concurrency: int
    # Hears of each Redis that a flag depends on, whenever one of them came or went.
    on_places: Callable[[Set[RedisPlace]], None] = lambda _: None
    _runs: dict[_Question, _Run] = field(default_factory=dict)
    _of_key: dict[Key, tuple[CheckTarget, ...]] = field(default_factory=dict)
    _heap: list[tuple[float, int, _Question]] = field(default_factory=list)
    _count: "itertools.count[int]" = field(default_factory=itertools.count)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def sync(self, key: Key, targets: Sequence[CheckTarget]) -> None:
        """These, and only these, are the targets of the key from now on; what stays keeps its state."""
        wanted = tuple(targets)
        before = self._of_key.get(key, ())
        if wanted == before:
            return
        kept = {_id(key, target): self._leave(key, target) for target in before}
        for target in wanted:
            identity = _id(key, target)
            entry = kept.get(identity)
            if entry is None or _asks_something_else(entry.target, target):
                entry = _Entry(target, thresholds.initial(now=self.clock.now(), assumed=target.assumed))
            entry.target = target
            self._join(identity, entry)
        for target in before:
            if (run := self._runs.get(_question(target))) is not None and not run.entries:
                del self._runs[_question(target)]
        if wanted:
            self._of_key[key] = wanted
        else:
            self._of_key.pop(key, None)
        if any(target.rows and isinstance(target.probe, RedisProbe) for target in (*before, *wanted)):
            self.on_places(self._places())

    def _leave(self, key: Key, target: CheckTarget) -> _Entry:
        return self._runs[_question(target)].entries.pop(_id(key, target))

    def _join(self, identity: Id, entry: _Entry) -> None:
        question = _question(entry.target)
        run = self._runs.get(question)
        if run is None:
            run = self._runs[question] = _Run()
            self._schedule(question, run, self.clock.monotonic())
        run.entries[identity] = entry

    def states(self, key: Key) -> Mapping[str, CheckState]:
        """The folded state of each check of the key."""
        by_check: dict[str, dict[str, thresholds.Fold]] = {}
        for target in self._of_key.get(key, ()):
            fold = self._runs[_question(target)].entries[_id(key, target)].fold
            by_check.setdefault(target.check, {})[target.pod_uid] = fold
        now = self.clock.now()
        return {
            name: thresholds.of_service(name, folds[""]) if "" in folds else thresholds.over_pods(name, folds, now=now)
            for name, folds in by_check.items()
        }

    def lost(self, place: RedisPlace, reason: str, message: str) -> None:
        """Somebody who knows says that this Redis is lost: flags that depend on it need not wait for checks to fail."""
        now = self.clock.now()
        for question, run in self._runs.items():
            if not isinstance(question[0], RedisProbe) or question[0].place != place:
                continue
            for (key, _, _), entry in run.entries.items():
                if entry.target.rows:
                    entry.fold = thresholds.struck(entry.fold, reason=reason, message=message, now=now)
                    self.on_transition(key)
            if not run.running:
                self._schedule(question, run, self.clock.monotonic())

    def _places(self) -> set[RedisPlace]:
        return {
            question[0].place
            for question, run in self._runs.items()
            if isinstance(question[0], RedisProbe) and any(each.target.rows for each in run.entries.values())
        }

    async def run(self) -> None:
        """Runs checks until cancelled."""
        slots = asyncio.Semaphore(self.concurrency)
        async with asyncio.TaskGroup() as group:
            while True:
                question = await self._next()
                await slots.acquire()
                run = self._runs.get(question)
                if run is None or run.running:
                    slots.release()
                    continue
                run.running = True
                group.create_task(self._check(question, run, slots))

    async def _next(self) -> _Question:
        while True:
            now = self.clock.monotonic()
            while self._heap and self._heap[0][0] <= now:
                due, _, question = heapq.heappop(self._heap)
                run = self._runs.get(question)
                if run is not None and run.due == due:
                    return question
            self._wake.clear()
            wait = self._heap[0][0] - now if self._heap else None
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _check(self, question: _Question, run: _Run, slots: asyncio.Semaphore) -> None:
        probe, interval, timeout = question
        began = self.clock.monotonic()
        try:
            result = await self.checker.check(probe, timeout=timeout)
        except Exception as error:
            # What a server of one service answers must not end the checks of all.
            log.exception("check failed to run", probe=type(probe).__name__)
            words = f"the operator could not make anything of it ({type(error).__name__}); please report that"
            result = thresholds.CheckResult(thresholds.Outcome.INCONCLUSIVE, "CheckError", words)
        finally:
            run.running = False
            slots.release()
        if self._runs.get(question) is not run:
            return
        run.failures = run.failures + 1 if result.outcome is thresholds.Outcome.FAIL else 0
        for identity, entry in list(run.entries.items()):
            self._fold(identity[0], entry, result)
        # Spread by ± 5 %, so that checks born together do not stay together.
        pause = _pause(run, probe, interval).total_seconds() * random.uniform(0.95, 1.05)
        # From its beginning: an answer that times out is no reason to ask less often.
        due = max(began + pause, self.clock.monotonic())
        self._schedule(question, run, round(due / _TICK) * _TICK)

    def _fold(self, key: Key, entry: _Entry, result: thresholds.CheckResult) -> None:
        target, before = entry.target, entry.fold
        now = self.clock.now()
        self.metrics.checked(
            key=key, check=target.check, outcome=result.outcome, seconds=result.latency_seconds, at=now.timestamp()
        )
        entry.fold = thresholds.fold(
            before,
            result,
            failure_threshold=target.failure_threshold,
            success_threshold=target.success_threshold,
            now=now,
            sustained=target.sustained,
        )
        if entry.fold.differs(before, rows=target.rows):
            self.on_transition(key)

    def _schedule(self, question: _Question, run: _Run, due: float) -> None:
        run.due = due
        heapq.heappush(self._heap, (due, next(self._count), question))
        self._wake.set()


def _asks_something_else(before: CheckTarget, after: CheckTarget) -> bool:
    """Whether what is known says nothing about the new question: other thresholds, or other lines for the same pod."""
    thresholds = (before.failure_threshold, before.sustained) != (after.failure_threshold, after.sustained)
    return thresholds or (bool(after.pod_uid) and before.probe != after.probe)


def _pause(run: _Run, probe: Probe, interval: timedelta) -> timedelta:
    """Time to the next run: for a dependency that everybody knows to be down, longer each time."""
    if not isinstance(probe, _DEPENDENCIES):
        return interval
    beyond = run.failures - max((each.target.failure_threshold for each in run.entries.values()), default=0)
    if beyond <= 0:
        return interval
    return max(min(interval * min(1 << min(beyond, 8), _BACK_OFF_TIMES), _BACK_OFF_MOST), interval)


def _question(target: CheckTarget) -> _Question:
    return target.probe, target.interval, target.timeout


def _id(key: Key, target: CheckTarget) -> Id:
    return key, target.check, target.pod_uid
