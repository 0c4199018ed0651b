"""Measures the service for clients while pods are replaced: requests through the Service, each on a new connection.

The rate is set by the resource and capped for the whole operator, in equal shares by namespace. No request is repeated.
"""

import asyncio
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final

from resilience.core.model.destinations import VerifyTarget
from resilience.core.model.observation import Key
from resilience.core.model.traffic import Traffic
from resilience.ports import PortError, Prober
from resilience.runtime.namespace_slots import NamespaceTurns

_SAMPLES: Final = 2000
# Requests without an answer yet: of one service, and of all.
_IN_FLIGHT: Final = 50
_IN_FLIGHT_OF_ALL: Final = 200
_LONGEST_FAILURE: Final = 200


@dataclass(slots=True)
class _Meter:
    """Counts of one service, and the task that collects them."""

    target: VerifyTarget
    task: asyncio.Task[None] | None = None
    sent: int = 0
    failed: int = 0
    failed_in_row: int = 0
    failure: str = ""
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_SAMPLES))


class TrafficMeter:
    """One meter for each service that is being changed. `cap` is the total of requests per second."""

    def __init__(self, *, prober: Prober, cap: int) -> None:
        self._prober = prober
        self._cap = cap
        self._turns = NamespaceTurns(_IN_FLIGHT_OF_ALL)
        self._meters: dict[Key, _Meter] = {}

    def forget(self, key: Key) -> None:
        """Stops the measurement of a resource that is gone."""
        self.sync(key, None)

    def sync(self, key: Key, target: VerifyTarget | None) -> None:
        """Measures this target from now on; None stops the measurement."""
        meter = self._meters.get(key)
        if target is None:
            if meter is not None:
                self._stop(key)
            return
        if meter is None:
            meter = _Meter(target, sent=target.already_sent, failed=target.already_failed)
            self._meters[key] = meter
            meter.task = asyncio.create_task(self._run(key.namespace, meter), name=f"traffic {key}")
        meter.target = target

    def result(self, key: Key) -> Traffic | None:
        """Counts so far; None when nothing is measured."""
        meter = self._meters.get(key)
        if meter is None:
            return None
        ranked = sorted(meter.seconds)
        p99 = ranked[min(len(ranked) - 1, len(ranked) * 99 // 100)] if ranked else None
        return Traffic(meter.sent, meter.failed, p99, meter.failed_in_row, meter.failure)

    async def close(self) -> None:
        """Stops all meters."""
        for key in list(self._meters):
            self._stop(key)

    def _stop(self, key: Key) -> None:
        task = self._meters.pop(key).task
        if task is not None:
            task.cancel()

    def _share(self, namespace: str) -> float:
        """Requests per second that a service of this namespace may send."""
        namespaces = Counter(key.namespace for key in self._meters)
        return self._cap / max(len(namespaces), 1) / max(namespaces[namespace], 1)

    async def _run(self, namespace: str, meter: _Meter) -> None:
        """Sends on a fixed schedule, so that a slow answer does not hide the requests it would have delayed."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        async with asyncio.TaskGroup() as group:
            slots = asyncio.Semaphore(_IN_FLIGHT)
            while True:
                await slots.acquire()
                group.create_task(self._one(namespace, meter, slots))
                share = min(meter.target.requests_per_second, self._share(namespace))
                due = max(due + 1 / share, loop.time() - 1)
                await asyncio.sleep(max(due - loop.time(), 0))

    async def _one(self, namespace: str, meter: _Meter, slots: asyncio.Semaphore) -> None:
        try:
            async with self._turns.taken(namespace):
                seconds = await self._prober.request(meter.target.target)
        except PortError as error:
            meter.failed += 1
            meter.failed_in_row += 1
            meter.failure = str(error)[:_LONGEST_FAILURE]
        else:
            meter.failed_in_row, meter.failure = 0, ""
            meter.seconds.append(seconds)
        finally:
            slots.release()
        meter.sent += 1
