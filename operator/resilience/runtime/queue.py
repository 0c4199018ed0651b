"""The queue of keys: each waits at most once, at most one worker works on it, and urgent keys come first.

Of equally urgent keys each namespace has one taken in turn, and none occupies all workers. The queue contains no data:
a worker that takes a key reads the current state.
"""

import asyncio
import heapq
import itertools
import random
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from enum import IntEnum
from typing import Final

from resilience.core.model.observation import Key
from resilience.runtime.namespace_slots import NamespaceSlots

# Seconds from the end of a pass to the next one over the same key: events that come meanwhile share it.
GAP: Final = 0.2
# Seconds after a pass in which an urgent event is a further step of the same work: it waits its turn behind those who
# wait for their first action.
_STEP: Final = 5.0
# Timers may fire a little early.
_TICK: Final = 0.001
_FIRST_BACKOFF: Final = 0.5
_LONGEST_BACKOFF: Final = 60.0


class Priority(IntEnum):
    """Priority of a key; the lower value comes first."""

    FAILOVER = 0
    NORMAL = 1
    RESYNC = 2


class KeyQueue:
    """Deduplicates waiting keys, allows one in flight per key, delays keys, and backs off exponentially with jitter.

    Bounded by the number of existing keys: a key is in each of its structures at most once. `workers` is the number of
    those that take keys.
    """

    def __init__(self, *, monotonic: Callable[[], float], workers: int, jitter: random.Random | None = None) -> None:
        self._monotonic = monotonic
        self._random = jitter or random.Random()
        self._count = itertools.count()
        self._slots: NamespaceSlots[Key] = NamespaceSlots(workers)
        # Priority of each waiting key, which is its line in the slots.
        self._waiting: dict[Key, Priority] = {}
        # Monotonic time since which each waiting key is requested; `_in_flight` keeps that of a key in flight.
        self._since: dict[Key, float] = {}
        # Due time of each delayed key; the heap may contain stale entries, this map is authoritative.
        self._later: dict[Key, float] = {}
        self._later_heap: list[tuple[float, int, Key]] = []
        self._in_flight: dict[Key, float] = {}
        self._again: dict[Key, tuple[Priority, float]] = {}
        # Events that came right after a pass, and the time at which the next one may begin.
        self._late: dict[Key, tuple[Priority, float]] = {}
        # End of each key's last pass, the oldest first; those of long ago are dropped.
        self._ended: OrderedDict[Key, float] = OrderedDict()
        self._failures: dict[Key, int] = {}
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, key: Key, priority: Priority = Priority.NORMAL) -> None:
        """Queues the key for a pass soon: not while one is under way, and not right after one."""
        self._add(key, priority, self._monotonic())

    def requested_at(self, key: Key) -> float:
        """Monotonic time since which the pass that is under way was requested."""
        return self._in_flight.get(key, self._monotonic())

    def _add(self, key: Key, priority: Priority, since: float) -> None:
        if key in self._in_flight:
            before, at = self._again.get(key, (priority, since))
            self._again[key] = min(priority, before), min(since, at)
            return
        rested = self._ended.get(key, -GAP) + GAP
        if self._monotonic() + _TICK < rested and key not in self._waiting:
            self._put_off(key, rested, priority, since)
            return
        if priority is Priority.FAILOVER and key in self._ended and self._monotonic() < self._ended[key] + _STEP:
            priority = Priority.NORMAL
        self._since[key] = min(since, self._since.get(key, since))
        if self._waiting.get(key, Priority.RESYNC + 1) <= priority:
            return
        self._leave_line(key)
        self._waiting[key] = priority
        self._slots.wait(key.namespace, key, urgency=priority)
        self._wake.set()

    def _put_off(self, key: Key, due: float, priority: Priority, since: float) -> None:
        """Keeps the key until a pass may begin; it then counts as requested since the first event."""
        before, at = self._late.get(key, (priority, since))
        self._late[key] = min(priority, before), min(since, at)
        self._schedule(key, due)

    def _leave_line(self, key: Key) -> None:
        before = self._waiting.pop(key, None)
        if before is not None:
            self._slots.drop(key.namespace, key, urgency=before)

    def add_after(self, key: Key, delay: timedelta) -> None:
        """Queues the key for a pass no later than after this delay; an earlier due time stands."""
        self._schedule(key, self._monotonic() + delay.total_seconds())

    def _schedule(self, key: Key, due: float) -> None:
        if self._later.get(key, float("inf")) <= due:
            return
        self._later[key] = due
        heapq.heappush(self._later_heap, (due, next(self._count), key))
        self._compact()
        self._wake.set()

    async def take(self) -> Key:
        """The next key; it is in flight until `done`."""
        while True:
            self._move_due()
            taken = self._slots.take()
            if taken is not None:
                _, key = taken
                del self._waiting[key]
                # The pass that begins now replaces the delayed one.
                self._later.pop(key, None)
                self._late.pop(key, None)
                self._in_flight[key] = self._since.pop(key)
                return key
            await self._sleep()

    def done(self, key: Key) -> None:
        """Ends the pass over the key."""
        self._in_flight.pop(key, None)
        self._note_end(key, self._monotonic())
        self._slots.give_back(key.namespace)
        if key in self._again:
            self._add(key, *self._again.pop(key))
        if self._waiting:
            self._wake.set()

    def _note_end(self, key: Key, now: float) -> None:
        self._ended.pop(key, None)
        self._ended[key] = now
        while next(iter(self._ended.values())) + _STEP < now:
            self._ended.popitem(last=False)

    def failed(self, key: Key) -> timedelta:
        """Requeues the key and returns the delay: exponential, at most a minute, ± 25 %."""
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        base = min(_FIRST_BACKOFF * 2 ** min(count, 16), _LONGEST_BACKOFF)
        delay = timedelta(seconds=base * self._random.uniform(0.75, 1.25))
        self.add_after(key, delay)
        return delay

    def succeeded(self, key: Key) -> None:
        """Resets the back-off: the next failure counts as the first."""
        self._failures.pop(key, None)

    def forget(self, key: Key) -> None:
        """Drops a key whose resource is gone."""
        self._failures.pop(key, None)
        self._later.pop(key, None)
        self._late.pop(key, None)
        self._ended.pop(key, None)
        self._leave_line(key)
        self._since.pop(key, None)

    def _compact(self) -> None:
        """Drops replaced entries when they are the majority: late ones would stay for long."""
        if len(self._later_heap) > 2 * len(self._later) + 16:
            self._later_heap = [(due, next(self._count), key) for key, due in self._later.items()]
            heapq.heapify(self._later_heap)

    def _move_due(self) -> None:
        now = self._monotonic() + _TICK
        while self._later_heap and self._later_heap[0][0] <= now:
            due, _, key = heapq.heappop(self._later_heap)
            if self._later.get(key) == due:
                del self._later[key]
                self._add(key, *self._late.pop(key, (Priority.NORMAL, due)))

    async def _sleep(self) -> None:
        self._wake.clear()
        timeout = self._later_heap[0][0] - self._monotonic() if self._later_heap else None
        try:
            async with asyncio.timeout(None if timeout is None else max(timeout, 0)):
                await self._wake.wait()
        except TimeoutError:
            return
