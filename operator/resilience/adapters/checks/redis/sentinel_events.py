"""Events that a Sentinel publishes about a master: enough Sentinels consider it down, or another server is master now.

This module reads messages and must not judge them. A message that cannot be read is no event.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from resilience.adapters.checks.redis.answers import PING, Command, LoginRefused, Reply, ServerError, Verdict
from resilience.adapters.checks.redis.connections import RedisConnections
from resilience.adapters.checks.redis.deadline import Deadline
from resilience.adapters.checks.redis.node import Node
from resilience.adapters.net.failures import NetworkFailure
from resilience.core.model.probes import RedisPlace
from resilience.ports import MasterLost, Unavailable

if TYPE_CHECKING:
    from resilience.adapters.checks.redis.link import Link

DOWN: Final = "+odown"
SWITCHED: Final = "+switch-master"
_SUBSCRIBE: Final[tuple[Command, ...]] = (("SUBSCRIBE", DOWN), ("SUBSCRIBE", SWITCHED))
# A Sentinel that is silent for so many seconds gets a PING, and has as long to answer.
QUIET: Final = 5.0
_TIMEOUT: Final = timedelta(seconds=2)
# The limit for a message, in bytes.
_LONGEST: Final = 512


class SentinelEvents:
    """Implements ports.Sentinels over connections of its own."""

    def __init__(self, *, connections: RedisConnections) -> None:
        self._connections = connections

    async def listen(self, place: RedisPlace, sentinel: tuple[str, int]) -> AsyncIterator[MasterLost | None]:
        """See `ports.Sentinels`."""
        node = Node(*sentinel, password=place.sentinel_password, trust=place.trust)
        await self._connections.load()
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


async def _replies(link: "Link") -> AsyncIterator[Reply]:
    """Messages of the Sentinel, among them replies to PING. Raises TimeoutError when it does not reply to a PING."""
    reading = asyncio.ensure_future(link.hear())
    try:
        is_ping_sent = False
        while True:
            # A pending read is not cancelled after a pause: half a message read means a lost connection.
            done, _ = await asyncio.wait({reading}, timeout=QUIET)
            if done:
                yield reading.result()
                is_ping_sent, reading = False, asyncio.ensure_future(link.hear())
            elif is_ping_sent:
                raise TimeoutError
            else:
                is_ping_sent = True
                await link.say(PING)
    finally:
        reading.cancel()


def event(reply: Reply, *, master: str) -> MasterLost | None:
    """The event that a message of a subscription reports about this master; None when it reports none."""
    match reply:
        case [b"message", bytes() as raw, bytes() as payload] if len(payload) <= _LONGEST:
            channel, text = raw.decode("utf-8", "replace"), payload.decode("utf-8", "replace")
        case _:
            return None
    words = text.split()
    if channel == DOWN and words[:2] == ["master", master]:
        return MasterLost("MasterDown", f"Sentinels agree that {master} is down")
    if channel == SWITCHED and len(words) == 5 and words[0] == master:
        old, new = f"{words[1]}:{words[2]}", f"{words[3]}:{words[4]}"
        return MasterLost("MasterSwitched", f"Sentinel made {new} the master instead of {old}")
    return None
