"""A limit on orders, shared through Redis, by this pod alone without it: a limiter must never be why nothing works."""

import time
from typing import Final

from .store import Store

WINDOW_SECONDS: Final = 1


class Limiter:
    """At most `most` a second in all pods together; 0 for no limit."""

    def __init__(self, *, store: Store, most: int) -> None:
        self._store = store
        self._most = most
        self._window = 0
        self._count = 0

    async def allows(self) -> bool:
        """Whether one more may pass. Without Redis every pod counts by itself, and so more may pass than should."""
        if not self._most:
            return True
        window = int(time.time()) // WINDOW_SECONDS
        if window != self._window:
            self._window, self._count = window, 0
        self._count += 1
        shared = await self._store.count(key=f"orders:{window}", seconds=2 * WINDOW_SECONDS)
        return (self._count if shared is None else shared) <= self._most
