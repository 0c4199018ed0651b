"""Connects to Redis, by its address or through Sentinels. Loaded by shops that use Redis only."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

TIMEOUT: Final = timedelta(milliseconds=500)
# All that a lost Redis can raise.
ERRORS: Final = (RedisError, OSError)


def connect(url: str, sentinels: Sequence[tuple[str, int]], master: str) -> Redis:
    """A client that asks once and does not wait for long. `sentinels` go before `url`."""
    seconds = TIMEOUT.total_seconds()
    options: dict[str, Any] = {
        "decode_responses": True,
        "socket_timeout": seconds,
        "socket_connect_timeout": seconds,
        "retry": Retry(NoBackoff(), 0),
    }
    if sentinels:
        group = Sentinel(list(sentinels), sentinel_kwargs=options)  # type: ignore[no-untyped-call]
        client: Redis = group.master_for(master, **options)
        return client
    return Redis.from_url(url, **options)
