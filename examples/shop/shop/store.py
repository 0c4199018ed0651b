"""Where orders are kept: in Redis if there is one, always in memory too, so that losing Redis costs no request.

A lost Redis must not cost time either: after a failure it is asked again once a second, by one request alone, and while
the flag says that it is lost it is not asked at all. When it is back, what it missed is written to it.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

TIMEOUT: Final = timedelta(milliseconds=500)
ASK_AGAIN: Final = timedelta(seconds=1)
TIME_TO_LIVE: Final = timedelta(minutes=5)
MAX_IN_MEMORY: Final = 1000
# Orders written back at once, so that a Redis that has just come up is not run over.
BATCH: Final = 50


class Store:
    """Orders by id, and where each answer came from: "redis" or "memory"; `taken` counts them, repeated ones too."""

    def __init__(self, *, url: str, sentinels: Sequence[tuple[str, int]] = (), master: str = "mymaster") -> None:
        """`url`: a redis:// address, or empty; `sentinels` tell where `master` is. Without both: memory alone."""
        self.taken = 0
        self.degraded = False
        self.served = {"redis": 0, "memory": 0}
        self.refilled = 0
        self._memory: OrderedDict[str, str] = OrderedDict()
        self._redis = _connect(url, sentinels, master)
        self._ask_again_at: float | None = None

    async def put(self, *, order: str, value: str) -> str:
        """Store an order in both places; returns the best one that has it."""
        self.taken += 1
        self._memory[order] = value
        self._memory.move_to_end(order)
        if len(self._memory) > MAX_IN_MEMORY:
            self._memory.popitem(last=False)
        stored = await self._ask(lambda redis: redis.set(f"order:{order}", value, ex=TIME_TO_LIVE))
        return self._from("redis" if stored else "memory")

    async def get(self, *, order: str) -> tuple[str | None, str]:
        """The order's value, None if nobody knows it, and where it came from."""
        value = await self._ask(lambda redis: redis.get(f"order:{order}"))
        if isinstance(value, str):
            return value, self._from("redis")
        return self._memory.get(order), self._from("memory")

    async def count(self, *, key: str, seconds: int) -> int | None:
        """How often this was asked for the key, in all pods together; None when nobody can tell."""

        async def increment(redis: Redis) -> object:
            async with redis.pipeline() as pipe:
                pipe.incr(key)
                pipe.expire(key, seconds)
                found: list[int] = await pipe.execute()
            return found[0]

        found = await self._ask(increment)
        return found if isinstance(found, int) else None

    async def refill(self) -> None:
        """Write what is in memory to Redis, a few at a time: other pods shall find it there."""
        orders = list(self._memory.items())
        for start in range(0, len(orders), BATCH):
            batch = orders[start : start + BATCH]

            async def write(redis: Redis, batch: list[tuple[str, str]] = batch) -> object:
                async with redis.pipeline(transaction=False) as pipe:
                    for order, value in batch:
                        pipe.set(f"order:{order}", value, ex=TIME_TO_LIVE)
                    return await pipe.execute()

            if await self._ask(write) is None:
                return
            self.refilled += len(batch)

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

    def _from(self, source: str) -> str:
        self.served[source] += 1
        return source

    async def _ask(self, command: Callable[[Redis], Awaitable[object]]) -> object:
        now = time.monotonic()
        if self._redis is None or self.degraded or (self._ask_again_at is not None and now < self._ask_again_at):
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


def _connect(url: str, sentinels: Sequence[tuple[str, int]], master: str) -> Redis | None:
    """A client that asks once and does not wait for long."""
    seconds = TIMEOUT.total_seconds()
    options: dict[str, Any] = {
        "decode_responses": True,
        "socket_timeout": seconds,
        "socket_connect_timeout": seconds,
        "retry": Retry(NoBackoff(), 0),
    }
    if sentinels:
        known = Sentinel(list(sentinels), sentinel_kwargs=options)  # type: ignore[no-untyped-call]
        found: Redis = known.master_for(master, **options)
        return found
    return Redis.from_url(url, **options) if url else None
