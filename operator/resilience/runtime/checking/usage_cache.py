"""Requests the usage of pods once for a namespace and period, however many services want it.

A failed answer is cached as long as a good one: a missing metrics-server must not get a thousand requests.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from resilience.core.model.usage import PodUsage
from resilience.ports import Unavailable, Usage

_FORGOTTEN_AFTER: Final = timedelta(minutes=5)

# A failure is kept as its text, not as an exception, which would collect the traceback of every caller that gets it.
Answer = Mapping[str, PodUsage] | str


@dataclass(slots=True)
class _Entry:
    """The request for the usage of a namespace, or its answer; times are seconds of the cache's clock."""

    answer: asyncio.Task[Answer]
    begun: float
    wanted: float


class UsageCache:
    """Implements `ports.Usage` over another one. `monotonic` gives seconds; answers are at most `period` old."""

    def __init__(
        self, *, usage: Usage, monotonic: Callable[[], float], period: timedelta = timedelta(seconds=15)
    ) -> None:
        self._usage = usage
        self._monotonic = monotonic
        self._period = period.total_seconds()
        self._entries: dict[str, _Entry] = {}

    async def pods(self, namespace: str) -> Mapping[str, PodUsage]:
        """Usage by name of the pod. Raises Unavailable; all callers in the same period get the same result."""
        now = self._monotonic()
        entry = self._entries.get(namespace)
        if entry is None or (entry.answer.done() and now - entry.begun >= self._period):
            self._forget(now)
            request = asyncio.create_task(self._request(namespace), name=f"usage of {namespace}")
            entry = self._entries[namespace] = _Entry(request, begun=now, wanted=now)
        entry.wanted = now
        # Shielded: a caller that stops waiting must not cancel the request for the others.
        answer = await asyncio.shield(entry.answer)
        if isinstance(answer, str):
            raise Unavailable(answer)
        return answer

    async def _request(self, namespace: str) -> Answer:
        try:
            return await self._usage.pods(namespace)
        except Unavailable as error:
            return str(error)

    def _forget(self, now: float) -> None:
        """Drops the namespaces that no caller wants any more."""
        kept = _FORGOTTEN_AFTER.total_seconds()
        self._entries = {name: entry for name, entry in self._entries.items() if now - entry.wanted < kept}
