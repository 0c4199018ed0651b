"""Listens to the Sentinels of every Redis that a flag depends on: they may know of a lost master before the checks do.

It forwards each report once, and must not judge it. It listens to all Sentinels, because the one that a check uses may
be cut off together with the master. Only where there are too many of them it listens to a part, and leaves the rest to
the checks.
"""

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from typing import Final, TypeVar

import structlog

from resilience.core.model.probes import RedisKind, RedisPlace
from resilience.ports import MasterLost, PortError, Sentinels

log = structlog.get_logger(__name__)

# Seconds within which reports of the same loss are one event: all Sentinels report it.
SAME: Final = 10.0
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0
# Each is listened to on a connection of its own, and a process usually has 1024.
_MOST: Final = 256

_Listener = tuple[RedisPlace, tuple[str, int]]
_T = TypeVar("_T")


@dataclass(slots=True)
class SentinelWatch:
    """`on_lost` is called with the place, a reason and a message; `monotonic` gives seconds."""

    sentinels: Sentinels
    on_lost: Callable[[RedisPlace, str, str], None]
    monotonic: Callable[[], float]
    _listeners: "dict[_Listener, asyncio.Task[None]]" = field(default_factory=dict)
    _reported: dict[tuple[RedisPlace, str], float] = field(default_factory=dict)

    def sync(self, places: Mapping[str, Set[RedisPlace]]) -> None:
        """Listens to the Sentinels of these places, by namespace, and only these, from now on."""
        asked = dict.fromkeys(_in_turn([_sentinels_of(those) for those in places.values()]))
        if len(asked) > _MOST:
            log.warning("not every Sentinel is listened to; checks see the loss of those masters", asked=len(asked))
        wanted = set(islice(asked, _MOST))
        for listener in self._listeners.keys() - wanted:
            self._listeners.pop(listener).cancel()
        for listener in wanted - self._listeners.keys():
            self._listeners[listener] = asyncio.create_task(self._listen(*listener), name=f"sentinel {listener[1]}")
        known = {place for place, _ in asked}
        self._reported = {key: at for key, at in self._reported.items() if key[0] in known}

    async def close(self) -> None:
        """Stops all listeners."""
        listeners = tuple(self._listeners.values())
        self.sync({})
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


def _sentinels_of(places: Set[RedisPlace]) -> list[_Listener]:
    """The Sentinels of these places: the first of each place, then the second of each; always in the same order."""
    groups = [place for place in sorted(places, key=str) if place.kind is RedisKind.SENTINEL]
    return list(_in_turn([[(place, address) for address in place.addresses] for place in groups]))


def _in_turn(lines: Sequence[Sequence[_T]]) -> Iterator[_T]:
    """One of each line, then the next of each."""
    return (entry for turn in zip_longest(*lines) for entry in turn if entry is not None)
