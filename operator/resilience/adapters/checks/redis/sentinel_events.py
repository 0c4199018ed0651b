"""What a Sentinel announces of a master: that enough of them take it for down, and that another one is master now.

It reads what comes and must not judge; what cannot be read is no event.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

from resilience.adapters.checks.redis.answers import PING, Command, LoginRefused, Reply, ServerError, Verdict
from resilience.adapters.checks.redis.connections import Node, RedisConnections
from resilience.adapters.checks.redis.link import Deadline, Link
from resilience.adapters.net.failures import NetworkFailure
from resilience.core.model.probes import RedisPlace
from resilience.ports import MasterLost, Unavailable

DOWN: Final = "+odown"
SWITCHED: Final = "+switch-master"
_SUBSCRIBE: Final[tuple[Command, ...]] = (("SUBSCRIBE", DOWN), ("SUBSCRIBE", SWITCHED))
# A Sentinel that is silent for so long is asked whether it is there, and has as long to answer.
QUIET: Final = 5.0
_TIMEOUT: Final = timedelta(seconds=2)
# Of a message, in bytes.
_LONGEST: Final = 512


class SentinelEvents:
    """`ports.Sentinels` over connections of its own."""

    def __init__(self, *, connections: RedisConnections) -> None:
        self._connections = connections

    async def listen(self, place: RedisPlace, sentinel: tuple[str, int]) -> AsyncIterator[MasterLost | None]:
        """See `ports.Sentinels`."""
        node = Node(*sentinel, password=place.sentinel_password, trust=place.trust)
        try:
            link = await self._connections.open(node, deadline=Deadline.after(_TIMEOUT), fresh=True)
            try:
                async with asyncio.timeout(_TIMEOUT.total_seconds()):
                    await link.ask(_SUBSCRIBE)
                yield None
                async for reply in _replies(link):
                    yield event(reply, master=place.master_name)
            finally:
                link.abort()
        except (NetworkFailure, Verdict, LoginRefused, ServerError) as error:
            words = str(error) if isinstance(error, NetworkFailure | Verdict) else "it refuses the subscription"
            raise Unavailable(f"Sentinel {node}: {words}") from error
        except TimeoutError as error:
            raise Unavailable(f"Sentinel {node} does not answer") from error


async def _replies(link: Link) -> AsyncIterator[Reply]:
    """What comes, answers to a call for a sign of life among it. Raises TimeoutError when it gives none."""
    reading = asyncio.ensure_future(link.hear())
    try:
        asked = False
        while True:
            # Never cut off: half a message read is a connection lost.
            done, _ = await asyncio.wait({reading}, timeout=QUIET)
            if done:
                yield reading.result()
                asked, reading = False, asyncio.ensure_future(link.hear())
            elif asked:
                raise TimeoutError
            else:
                asked = True
                await link.say(PING)
    finally:
        reading.cancel()


def event(reply: Reply, *, master: str) -> MasterLost | None:
    """What a message of a subscription says of this master; None when that is nothing."""
    match reply:
        case [b"message", bytes() as raw, bytes() as said] if len(said) <= _LONGEST:
            channel, text = raw.decode("utf-8", "replace"), said.decode("utf-8", "replace")
        case _:
            return None
    words = text.split()
    if channel == DOWN and words[:2] == ["master", master]:
        return MasterLost("MasterDown", f"Sentinels agree that {master} is down")
    if channel == SWITCHED and len(words) == 5 and words[0] == master:
        old, new = f"{words[1]}:{words[2]}", f"{words[3]}:{words[4]}"
        return MasterLost("MasterSwitched", f"Sentinel made {new} the master instead of {old}")
    return None
