"""Where orders are kept: in Redis if there is one, always in memory too, so that losing Redis costs no request.

A lost Redis must not cost time either: after a failure it is asked again once a second, by one request alone.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

TIMEOUT: Final = timedelta(milliseconds=500)
ASK_AGAIN: Final = timedelta(seconds=1)
TIME_TO_LIVE: Final = timedelta(minutes=5)
MAX_IN_MEMORY: Final = 1000


class Store:
    """Orders by id, and where each answer came from: "redis" or "memory"; `taken` counts them, repeated ones too."""

    def __init__(self, *, url: str) -> None:
        """`url`: a redis:// address, or empty for memory alone."""
        self.taken = 0
        self._memory: OrderedDict[str, str] = OrderedDict()
        self._redis: Redis | None = None
        if url:
            self._redis = Redis.from_url(
                url,
                decode_responses=True,
                socket_timeout=TIMEOUT.total_seconds(),
                socket_connect_timeout=TIMEOUT.total_seconds(),
                retry=Retry(NoBackoff(), 0),
            )
        self._ask_again_at: float | None = None

    async def put(self, *, order: str, value: str) -> str:
        """Store an order in both places; returns the best one that has it."""
        self.taken += 1
        self._memory[order] = value
        self._memory.move_to_end(order)
        if len(self._memory) > MAX_IN_MEMORY:
            self._memory.popitem(last=False)
        stored = await self._ask(lambda redis: redis.set(f"order:{order}", value, ex=TIME_TO_LIVE))
        return "redis" if stored else "memory"

    async def get(self, *, order: str) -> tuple[str | None, str]:
        """The order's value, None if nobody knows it, and where it came from."""
        value = await self._ask(lambda redis: redis.get(f"order:{order}"))
        if isinstance(value, str):
            return value, "redis"
        return self._memory.get(order), "memory"

    async def ping(self) -> str:
        """What is wrong with Redis; empty if nothing is, or if there is none to be wrong."""
        if self._redis is None:
            return ""
        try:
            await self._redis.ping()
        except (RedisError, OSError) as error:
            return str(error) or type(error).__name__
        return ""

    async def close(self) -> None:
        """Give the connections back."""
        if self._redis is not None:
            await self._redis.aclose()

    async def _ask(self, command: Callable[[Redis], Awaitable[object]]) -> object:
        now = time.monotonic()
        if self._redis is None or (self._ask_again_at is not None and now < self._ask_again_at):
            return None
        if self._ask_again_at is not None:
            self._ask_again_at = now + ASK_AGAIN.total_seconds()
        try:
            answer = await command(self._redis)
        except (RedisError, OSError):
            self._ask_again_at = time.monotonic() + ASK_AGAIN.total_seconds()
            return None
        self._ask_again_at = None
        return answer
