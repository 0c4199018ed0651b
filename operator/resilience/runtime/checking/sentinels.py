"""Listens to the Sentinels of every Redis that a flag depends on: they may know of a lost master before the checks do.

It passes on what they say, once, and must not judge. All Sentinels are listened to, for the one that is asked may be
cut off together with the master.
"""

import asyncio
import random
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from typing import Final

import structlog

from resilience.core.model.probes import RedisKind, RedisPlace
from resilience.ports import MasterLost, PortError, Sentinels

log = structlog.get_logger(__name__)

# All Sentinels tell of the same event.
SAME: Final = 10.0
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0

_Ear = tuple[RedisPlace, tuple[str, int]]


@dataclass(slots=True)
class SentinelWatch:
    """`on_lost` is called with the place, a reason and a message; `monotonic` gives seconds."""

    sentinels: Sentinels
    on_lost: Callable[[RedisPlace, str, str], None]
    monotonic: Callable[[], float]
    _ears: "dict[_Ear, asyncio.Task[None]]" = field(default_factory=dict)
    _told: dict[tuple[RedisPlace, str], float] = field(default_factory=dict)

    def sync(self, places: Set[RedisPlace]) -> None:
        """These, and only these, are listened to from now on."""
        wanted = {
            (place, address) for place in places if place.kind is RedisKind.SENTINEL for address in place.addresses
        }
        for ear in self._ears.keys() - wanted:
            self._ears.pop(ear).cancel()
        for ear in wanted - self._ears.keys():
            self._ears[ear] = asyncio.create_task(self._listen(*ear), name=f"sentinel {ear[1]}")
        self._told = {key: at for key, at in self._told.items() if key[0] in places}

    async def close(self) -> None:
        """Ends all of it."""
        ears = tuple(self._ears.values())
        self.sync(frozenset())
        await asyncio.gather(*ears, return_exceptions=True)

    async def _listen(self, place: RedisPlace, sentinel: tuple[str, int]) -> None:
        failures = 0
        while True:
            try:
                async for said in self.sentinels.listen(place, sentinel):
                    failures = 0
                    if said is not None:
                        self._tell(place, said)
            except PortError as error:
                failures += 1
                if failures == 1:
                    log.warning("a Sentinel cannot be heard", master=place.master_name, why=str(error))
            # Full jitter: all of them come back at once after the network was away.
            await asyncio.sleep(random.uniform(0, min(_FIRST_PAUSE * 2 ** min(failures, 8), _LONGEST_PAUSE)))

    def _tell(self, place: RedisPlace, said: MasterLost) -> None:
        now, key = self.monotonic(), (place, said.reason)
        if now < self._told.get(key, -SAME) + SAME:
            return
        self._told[key] = now
        log.warning("a master is lost", master=place.master_name, why=said.message)
        self.on_lost(place, said.reason, said.message)
