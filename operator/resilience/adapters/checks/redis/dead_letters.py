"""Moves dead letters back into their stream, once each: the server moves a batch as a whole or not at all.

This module reads nothing of an entry.
"""

from datetime import timedelta
from typing import Final

from resilience.adapters.checks.redis.answers import Command, Verdict, items, number, required
from resilience.adapters.checks.redis.connections import RedisConnections
from resilience.adapters.checks.redis.master import Run, find_master
from resilience.adapters.net.failures import NetworkFailure
from resilience.core.model.destinations import DeadLetters
from resilience.ports import Batch, Refused, Unavailable

_TIMEOUT: Final = timedelta(seconds=5)
# Ids begin with the time of their entry in milliseconds, by the server's clock.
_MOVE: Final = """
local time = redis.call('TIME')
local from = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[2]
from = string.format('%.0f-0', math.max(from, 0))
local found = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', ARGV[1])
for _, entry in ipairs(found) do
  redis.call('XADD', KEYS[2], '*', unpack(entry[2]))
  redis.call('XDEL', KEYS[1], entry[1])
end
local more = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 1)
return {#found, redis.call('XLEN', KEYS[1]), #more}
"""


class RedisDeadLetters:
    """Implements ports.DeadLetterReplayer over kept connections."""

    def __init__(self, *, connections: RedisConnections) -> None:
        self._connections = connections

    async def replay(self, letters: DeadLetters) -> Batch:
        """See `ports.DeadLetterReplayer`."""
        run = await Run.begin(self._connections, _TIMEOUT)
        age = letters.max_age // timedelta(milliseconds=1)
        move: Command = ("EVAL", _MOVE, 2, letters.dead_letter, letters.stream, letters.batch, age)
        try:
            node, _ = await find_master(letters.place, run)
            answer = await run.ask(node, move)
            moved, left, more = (number(value) for value in items(required(answer.replies, move, node=node)))
        except NetworkFailure as failure:
            raise Unavailable(str(failure)) from failure
        except Verdict as verdict:
            raise Refused(str(verdict)) from verdict
        return Batch(moved, left, bool(more))
