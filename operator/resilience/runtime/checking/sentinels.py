"""Listens to the Sentinels of every Redis that a flag depends on: they may know of a lost master before the checks do.

It forwards each report once, and must not judge it. It listens to all Sentinels, because the one that a check uses may
be cut off together with the master; if there are too many in all, to as many of each Redis as of every other.
"""

import asyncio
import itertools
import random
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from typing import Final

import structlog

from resilience.core.model.probes import RedisKind, RedisPlace
from resilience.ports import MasterLost, PortError, Sentinels

log = structlog.get_logger(__name__)

# Connections in all, for they are never idle long enough to be closed, and resources name as many as they like.
MOST: Final = 256
# Seconds within which reports of the same loss are one event: all Sentinels report it.
SAME: Final = 10.0
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0

_Listener = tuple[RedisPlace, tuple[str, int]]


@dataclass(slots=True)
class SentinelWatch:
    """`on_lost` is called with the place, a reason and a message; `monotonic` gives seconds."""

    sentinels: Sentinels
    on_lost: Callable[[RedisPlace, str, str], None]
    monotonic: Callable[[], float]
    _listeners: "dict[_Listener, asyncio.Task[None]]" = field(default_factory=dict)
    _reported: dict[tuple[RedisPlace, str], float] = field(default_factory=dict)

    def sync(self, places: Set[RedisPlace]) -> None:
        """Listens to the Sentinels of these places, and only these, from now on."""
        wanted = self._chosen(places)
        for listener in self._listeners.keys() - wanted:
            self._listeners.pop(listener).cancel()
        for listener in wanted - self._listeners.keys():
            self._listeners[listener] = asyncio.create_task(self._listen(*listener), name=f"sentinel {listener[1]}")
        self._reported = {key: at for key, at in self._reported.items() if key[0] in places}

    def _chosen(self, places: Set[RedisPlace]) -> set[_Listener]:
        """One Sentinel of every place, then a second one, and so on; places listened to already come first."""
        known = {place for place, _ in self._listeners}
        groups = [place for place in places if place.kind is RedisKind.SENTINEL]
        groups.sort(key=lambda place: place not in known)
        turns = itertools.zip_longest(*([(place, address) for address in place.addresses] for place in groups))
        wanted = [listener for turn in turns for listener in turn if listener is not None]
        if len(wanted) > MOST:
            log.warning("not every Sentinel is listened to", left_out=len(wanted) - MOST)
        return set(wanted[:MOST])

    async def close(self) -> None:
        """Stops all listeners."""
        listeners = tuple(self._listeners.values())
        self.sync(frozenset())
        await asyncio.gather(*listeners, return_exceptions=True)

    async def _listen(self, place: RedisPlace, sentinel: tuple[str, int]) -> None:
        failures = 0
        while True:
            try:
                async for report in self.sentinels.listen(place, sentinel):
                    failures = 0
                    if report is not None:
                        self._forward(place, report)
            except PortError as error:
                failures += 1
                if failures == 1:
                    log.warning("a Sentinel cannot be heard", master=place.master_name, why=str(error))
            # Full jitter: after a network outage all of them come back at once.
            await asyncio.sleep(random.uniform(0, min(_FIRST_PAUSE * 2 ** min(failures, 8), _LONGEST_PAUSE)))

    def _forward(self, place: RedisPlace, report: MasterLost) -> None:
        now, key = self.monotonic(), (place, report.reason)
        if now < self._reported.get(key, -SAME) + SAME:
            return
        self._reported[key] = now
        log.warning("a master is lost", master=place.master_name, why=report.message)
        self.on_lost(place, report.reason, report.message)
