"""Runs health checks from one due-time heap with bounded concurrency, and folds their results where they arise.

Only transitions wake a reconcile. No check is repeated: one run, one result.
"""

import asyncio
import heapq
import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from resilience.core import health
from resilience.core.decision import CheckTarget
from resilience.core.observation import CheckState, Key
from resilience.ports import Checker, Clock, Metrics

Id = tuple[Key, str, str]


@dataclass(slots=True)
class _Entry:
    """One target with its state; `version` tells stale heap entries from the live one."""

    target: CheckTarget
    fold: health.Fold
    running: bool = False
    due: float = 0.0


@dataclass(slots=True)
class CheckRunner:
    """`on_transition` is called with the key whenever a folded state changes."""

    checker: Checker
    metrics: Metrics
    clock: Clock
    on_transition: Callable[[Key], None]
    concurrency: int
    _entries: dict[Id, _Entry] = field(default_factory=dict)
    _of_key: dict[Key, tuple[CheckTarget, ...]] = field(default_factory=dict)
    _heap: list[tuple[float, int, Id]] = field(default_factory=list)
    _count: "itertools.count[int]" = field(default_factory=itertools.count)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def sync(self, key: Key, targets: Sequence[CheckTarget]) -> None:
        """These, and only these, are the targets of the key from now on; what stays keeps its state."""
        wanted = tuple(targets)
        before = self._of_key.get(key, ())
        if wanted == before:
            return
        known = {_id(key, target) for target in before}
        for target in wanted:
            identity = _id(key, target)
            entry = self._entries.get(identity)
            if entry is None:
                entry = _Entry(target, health.initial(now=self.clock.now()))
                self._entries[identity] = entry
                self._schedule(identity, entry, self.clock.monotonic())
            entry.target = target
            known.discard(identity)
        for identity in known:
            del self._entries[identity]
        if wanted:
            self._of_key[key] = wanted
        else:
            self._of_key.pop(key, None)

    def states(self, key: Key) -> Mapping[str, CheckState]:
        """The folded state of each check of the key."""
        by_check: dict[str, dict[str, health.Fold]] = {}
        for target in self._of_key.get(key, ()):
            by_check.setdefault(target.check, {})[target.pod_uid] = self._entries[_id(key, target)].fold
        now = self.clock.now()
        return {
            name: health.of_service(name, folds[""]) if "" in folds else health.over_pods(name, folds, now=now)
            for name, folds in by_check.items()
        }

    async def run(self) -> None:
        """Runs checks until cancelled."""
        slots = asyncio.Semaphore(self.concurrency)
        async with asyncio.TaskGroup() as group:
            while True:
                identity = await self._next()
                await slots.acquire()
                entry = self._entries.get(identity)
                if entry is None or entry.running:
                    slots.release()
                    continue
                entry.running = True
                group.create_task(self._check(identity, entry, slots))

    async def _next(self) -> Id:
        while True:
            now = self.clock.monotonic()
            while self._heap and self._heap[0][0] <= now:
                due, _, identity = heapq.heappop(self._heap)
                entry = self._entries.get(identity)
                if entry is not None and entry.due == due:
                    return identity
            self._wake.clear()
            wait = self._heap[0][0] - now if self._heap else None
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _check(self, identity: Id, entry: _Entry, slots: asyncio.Semaphore) -> None:
        key, target = identity[0], entry.target
        try:
            result = await self.checker.check(target.probe, timeout=target.timeout)
        finally:
            entry.running = False
            slots.release()
        if self._entries.get(identity) is not entry:
            return
        self.metrics.checked(key=key, check=target.check, outcome=result.outcome, seconds=result.latency_seconds)
        before = entry.fold
        entry.fold = health.fold(
            before,
            result,
            failure_threshold=target.failure_threshold,
            success_threshold=target.success_threshold,
            now=self.clock.now(),
        )
        # Spread by ± 5 %, so that checks born together do not stay together.
        pause = target.interval.total_seconds() * random.uniform(0.95, 1.05)
        self._schedule(identity, entry, self.clock.monotonic() + pause)
        if entry.fold.state is not before.state:
            self.on_transition(key)

    def _schedule(self, identity: Id, entry: _Entry, due: float) -> None:
        entry.due = due
        heapq.heappush(self._heap, (due, next(self._count), identity))
        self._wake.set()


def _id(key: Key, target: CheckTarget) -> Id:
    return key, target.check, target.pod_uid
